package pack

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// text makes payloads of about ten bytes a reading; a device named "bad" cannot be encoded.
func text(dst []byte, p *wire.Pack) ([]byte, error) {
	for _, r := range p.Records {
		dst = fmt.Appendf(dst, "#%d ", r.Number)
		for _, x := range r.Readings {
			if x.Device == "bad" {
				return nil, errors.New("name is bad")
			}
			dst = fmt.Appendf(dst, "%-10s", x.Device)
		}
	}
	return fmt.Appendf(dst, "skip %v part %v", p.Skip, p.Part), nil
}

// records makes n records of so many readings each.
func records(n, readings int) []tidegate.Record {
	recs := make([]tidegate.Record, n)
	for i := range recs {
		recs[i].Number = uint64(i + 1)
		for j := range readings {
			recs[i].Readings = append(recs[i].Readings, tidegate.Reading{Device: fmt.Sprint("d", j)})
		}
	}
	return recs
}

func TestPack(t *testing.T) {
	table := []struct {
		name    string
		recs    []tidegate.Record
		n       int
		limit   int
		max     int
		change  func(recs []tidegate.Record)
		took    int
		parts   int
		skipped uint64
		err     string
	}{
		{"all fit", records(10, 5), 10, 10000, 10000, nil, 10, 1, 0, ""},
		{"as many as fit", records(10, 5), 10, 300, 10000, nil, 5, 1, 0, ""},
		{"one that is over the limit but not over the far side's", records(2, 50), 2, 300, 10000, nil, 1, 1, 0, ""},
		{"one in parts", records(2, 50), 2, 10000, 200, nil, 1, 3, 0, ""},
		{"a reading that is too long", records(1, 3), 1, 10000, 100, func(r []tidegate.Record) {
			r[0].Readings[1].Device = strings.Repeat("x", 200)
		}, 1, 0, 0, "record cannot be sent: a reading alone is larger than the 100 bytes that the far side takes, or the 16777216 behind compression"},
		{
			"a record that cannot be encoded, alone", records(1, 3), 1, 10000, 100, func(r []tidegate.Record) { r[0].Readings[1].Device = "bad" },
			1, 0, 0, "record cannot be sent: name is bad",
		},
		{"a record that cannot be encoded, behind others", records(8, 3), 8, 10000, 1000, func(r []tidegate.Record) {
			r[5].Readings[1].Device = "bad"
		}, 4, 1, 0, ""},
		{"records for others", records(3, 2), 3, 10000, 1000, func(r []tidegate.Record) { r[1].For, r[2].For = "other", "me" }, 3, 1, 1, ""},
	}
	for _, c := range table {
		for _, zip := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, ", gzip ", zip), func(t *testing.T) {
				if zip && c.max < 1000 {
					return // it would fit
				}
				if c.change != nil {
					c.change(c.recs)
				}
				p := Packer{Gateway: "gw", Uplink: "me", Gzip: zip, MaxPayload: c.max, Encode: text}
				pl, took, err := p.Pack("ep", c.recs, nil, c.n, c.limit)
				if c.err != "" {
					if err == nil || err.Error() != c.err || !errors.Is(err, ErrUnsendable) || took != c.took {
						t.Errorf("took %d: %v, want %d: %s", took, err, c.took, c.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if !zip && took != c.took || len(pl.Parts) != c.parts || pl.Skipped != c.skipped {
					t.Errorf("took %d in %d parts, skipped %d; want %d, %d, %d", took, len(pl.Parts), pl.Skipped, c.took, c.parts, c.skipped)
				}
				if pl.Numbers.Len() != uint64(took) || !pl.Numbers.Covers(tidegate.Range{First: 1, Last: uint64(took)}) {
					t.Errorf("numbers %v, want 1 to %d", pl.Numbers, took)
				}
				for i, part := range pl.Parts {
					if len(part) > c.max {
						t.Errorf("part %d has %d bytes, want at most %d", i, len(part), c.max)
					}
				}
				if pl.Size() != len(bytes.Join(pl.Parts, nil)) {
					t.Errorf("size %d", pl.Size())
				}
				if zip {
					r, err := gzip.NewReader(bytes.NewReader(pl.Parts[0]))
					if err != nil {
						t.Fatal(err)
					}
					var b bytes.Buffer
					if _, err := b.ReadFrom(r); err != nil || !strings.HasPrefix(b.String(), "#1 ") {
						t.Errorf("%q: %v", b.String(), err)
					}
				}
			})
		}
	}
}

// TestAside: what stays on the gateway is told with the records behind it, in a bounded number of runs, and less of it where there is no room.
func TestAside(t *testing.T) {
	recs := records(5, 2)
	for i := range recs {
		recs[i].Number = uint64(10 * (i + 1))
	}
	recs[3].For = "other"
	var aside tidegate.Ranges
	for n := uint64(1); n < 60; n += 2 {
		aside.Add(tidegate.Range{First: n, Last: n})
	}
	aside.Add(tidegate.Range{First: 39, Last: 39})
	var told tidegate.Ranges
	p := Packer{Gateway: "gw", Uplink: "me", MaxPayload: 10_000, Encode: func(dst []byte, pk *wire.Pack) ([]byte, error) {
		told = pk.Skip.Clone()
		return text(append(dst, make([]byte, 20*len(pk.Skip))...), pk)
	}}
	pl, n, err := p.Pack("ep", recs, aside, 4, 10_000)
	if err != nil || n != 4 || pl.Skipped != 21 || told.Len() != 21 || told.Contains(41) || !told.Covers(tidegate.Range{First: 39, Last: 40}) {
		t.Errorf("took %d, skips %v (%d), %v; want 4, the odd numbers below 40 and 40", n, told, pl.Skipped, err)
	}
	if want := told.Len() + 3; pl.Numbers.Len() != want {
		t.Errorf("numbers %v, want %d", pl.Numbers, want)
	}
	p.MaxPayload = 200
	pl, n, err = p.Pack("ep", recs[4:], aside, 1, 200)
	if err != nil || n != 1 || len(pl.Parts) != 1 || len(told) == 0 || len(told) > 9 || told[0].First != 1 || pl.Numbers.Len() != told.Len()+1 {
		t.Errorf("where there is little room: took %d in %d parts, skips %v, numbers %v, %v", n, len(pl.Parts), told, pl.Numbers, err)
	}
	big := records(1, 40)
	big[0].Number = 50
	pl, _, err = p.Pack("ep", big, tidegate.Ranges{{First: 7, Last: 7}, {First: 9, Last: 9}}, 1, 200)
	if err != nil || len(pl.Parts) < 3 || len(told) != 2 || pl.Numbers.Len() != 3 {
		t.Errorf("with a record in parts: %d parts, skips %v, numbers %v, %v; want both", len(pl.Parts), told, pl.Numbers, err)
	}
	aside = nil
	for n := range uint64(5000) {
		aside.Add(tidegate.Range{First: 2*n + 1, Last: 2*n + 1})
	}
	recs[0].Number, p.MaxPayload = 20_000, 1<<20
	if _, _, err := p.Pack("ep", recs[:1], aside, 1, 1<<20); err != nil || len(told) != maxAside {
		t.Errorf("skips %d runs, %v; want %d", len(told), err, maxAside)
	}
}

// TestPartsHoldEverythingOnce whatever the sizes are.
func TestPartsHoldEverythingOnce(t *testing.T) {
	for readings := 2; readings < 200; readings += 7 {
		p := Packer{MaxPayload: 150, Encode: text}
		pl, _, err := p.Pack("ep", records(1, readings), nil, 1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		all := string(bytes.Join(pl.Parts, nil))
		for j := range readings {
			if n := strings.Count(all, fmt.Sprintf("%-10s", fmt.Sprint("d", j))); n != 1 {
				t.Fatalf("reading %d of %d stands there %d times", j, readings, n)
			}
		}
		if len(pl.Parts) > 1 && !strings.HasSuffix(all, fmt.Sprintf("part {%d %d}", len(pl.Parts), len(pl.Parts))) {
			t.Fatalf("%d parts end with %q", len(pl.Parts), all[len(all)-20:])
		}
	}
}

// TestDecompressedSize: what compresses well must not be larger behind compression than the far side takes.
func TestDecompressedSize(t *testing.T) {
	long := func(n, readings int) []tidegate.Record {
		recs := records(n, readings)
		for i := range recs {
			for j := range recs[i].Readings {
				recs[i].Readings[j].Device = strings.Repeat("x", 1<<20)
			}
		}
		return recs
	}
	for name, c := range map[string]struct {
		recs        []tidegate.Record
		took, parts int
	}{
		"records":           {long(40, 1), 15, 1},
		"a record":          {long(2, 20), 1, 2},
		"just small enough": {long(15, 1), 15, 1},
	} {
		p := Packer{MaxPayload: 255 << 10, Gzip: true, Encode: text}
		pl, n, err := p.Pack("ep", c.recs, nil, len(c.recs), 1<<20)
		if err != nil || n != c.took || len(pl.Parts) != c.parts {
			t.Fatalf("%s: took %d in %d parts, %v; want %d and %d", name, n, len(pl.Parts), err, c.took, c.parts)
		}
		for _, b := range pl.Parts {
			z, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if size, err := io.Copy(io.Discard, z); err != nil || size > wire.MaxBody {
				t.Errorf("%s: a payload has %d bytes behind compression, %v; want at most %d", name, size, err, wire.MaxBody)
			}
		}
	}
}

func TestFits(t *testing.T) {
	p := Packer{MaxPayload: 10000, Encode: text}
	recs := records(100, 10)
	if n := p.Fits(recs, 95, 10); n != 9 {
		t.Errorf("%d records fit into 95 readings, want 9", n)
	}
	if n := p.Fits(recs, 5, 10); n != 1 {
		t.Errorf("%d records, want one at least", n)
	}
	if _, _, err := p.Pack("ep", recs, nil, 20, 10000); err != nil {
		t.Fatal(err)
	}
	if n := p.Fits(recs, 1000, 1100); n < 9 || n > 10 {
		t.Errorf("%d records fit into 1100 bytes, want about 10", n)
	}
	if n := p.Fits(records(300, 1000), 1e6, 1<<30); n != 200 {
		t.Errorf("%d records of 1000 readings fit, want the 200,000 readings that the far side takes", n)
	}
	if p.Typical() < 2000 || p.Typical() > 2300 {
		t.Errorf("typical payload %d", p.Typical())
	}
}
