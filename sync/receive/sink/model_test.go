package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/receive"
)

var errCrash = errors.New("crash")

// A fakeDisk is a disk in memory that fails or dies within an operation, which is then done in part.
type fakeDisk struct {
	t     *rapid.T
	files map[string][]byte
	left  int  // operations until it goes wrong; < 0 = never
	dies  bool // going wrong is always a crash: nothing works from then on
	dead  bool
}

// wrong reports whether the operation that is about to be done goes wrong.
func (d *fakeDisk) wrong() bool {
	if d.left < 0 {
		return false
	}
	d.left--
	if d.left >= 0 {
		return false
	}
	d.dead = d.dies || rapid.Bool().Draw(d.t, "dies")
	d.left = rapid.IntRange(-1, 5).Draw(d.t, "next error in")
	return true
}

func (d *fakeDisk) Names() (map[string]int64, error) {
	if d.dead {
		return nil, errCrash
	}
	names := map[string]int64{}
	for n, b := range d.files {
		names[n] = int64(len(b))
	}
	return names, nil
}

func (d *fakeDisk) Read(name string, from, n int64) ([]byte, error) {
	if d.dead {
		return nil, errCrash
	}
	b := d.files[name]
	if from+n > int64(len(b)) {
		return nil, fmt.Errorf("read %s: %d bytes at %d of %d", name, n, from, len(b))
	}
	return slices.Clone(b[from : from+n]), nil
}

func (d *fakeDisk) Write(name string, at int64, b []byte) error {
	if d.dead {
		return errCrash
	}
	old, there := d.files[name]
	if int64(len(old)) < at {
		d.t.Fatalf("write to %s at %d, it has %d bytes", name, at, len(old))
	}
	if !d.wrong() {
		d.files[name] = append(slices.Clone(old[:at]), b...)
		return nil
	}
	if !there && rapid.Bool().Draw(d.t, "file not made") {
		return errCrash
	}
	torn := slices.Clone(old[:at])
	if rapid.Bool().Draw(d.t, "cut") {
		n := rapid.IntRange(0, len(b)).Draw(d.t, "bytes written")
		torn = append(torn, b[:n]...)
		torn = append(torn, make([]byte, rapid.IntRange(0, len(b)-n).Draw(d.t, "zeros"))...)
		if m := len(torn) - len(old[:at]); rapid.Bool().Draw(d.t, "blocks out of order") && m > 0 {
			torn = append(torn, b[m:]...) // what comes last is there, what comes before is not
		}
	} else {
		torn = slices.Clone(old)
	}
	d.files[name] = torn
	return errCrash
}

func (d *fakeDisk) Remove(name string) error {
	if d.dead {
		return errCrash
	}
	if d.wrong() {
		if rapid.Bool().Draw(d.t, "removed") {
			delete(d.files, name)
		}
		return errCrash
	}
	delete(d.files, name)
	return nil
}

// A stock is a set of records by their identity.
type stock map[string]int

func id(k receive.Key, n uint64) string { return fmt.Sprintf("%s %s %d", k.Gateway, k.Epoch, n) }

// linesOf counts the readings in the files of d, by record.
func linesOf(t *rapid.T, d *fakeDisk) stock {
	found := stock{}
	for _, n := range slices.Sorted(maps.Keys(d.files)) {
		if !bytes.HasPrefix([]byte(n), []byte("readings-")) {
			continue
		}
		text := d.files[n]
		if len(text) > 0 && text[len(text)-1] != '\n' {
			t.Fatalf("%s does not end with a line feed", n)
		}
		for line := range bytes.Lines(text) {
			var x struct {
				Gw, Ep  string
				Seq     uint64
				Channel string
			}
			if err := json.Unmarshal(line, &x); err != nil {
				t.Fatalf("%s: %q: %v", n, line, err)
			}
			found[id(receive.Key{Gateway: x.Gw, Epoch: x.Ep}, x.Seq)]++
		}
	}
	return found
}

// TestModel writes random batches to a disk that fails and crashes within any operation, and checks after each start that what
// was taken is there, all of it once, and that the ledger says exactly what is there.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &fakeDisk{t: t, files: map[string][]byte{}, left: -1}
		sent, taken := stock{}, stock{} // record -> readings
		next := map[receive.Key]uint64{}
		for range rapid.IntRange(1, 6).Draw(t, "lives") {
			life(t, d, sent, taken, next)
		}
		d.dead, d.left = false, -1
		s := newNDJSON(d, NDJSONOptions{}, nil)
		ledger, err := s.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		judge(t, d, ledger, sent, taken)
	})
}

// judge compares files, ledger and what was taken.
func judge(t *rapid.T, d *fakeDisk, ledger *receive.Ledger, sent, taken stock) {
	found := linesOf(t, d)
	for k, n := range taken {
		if found[k] != n {
			t.Fatalf("record %s was taken with %d readings, %d are there", k, n, found[k])
		}
	}
	var records, readings uint64
	for k, n := range found {
		if n != sent[k] {
			t.Fatalf("record %s: %d readings are there, %d were sent", k, n, sent[k])
		}
		records++
		readings += uint64(n)
	}
	for _, g := range ledger.Gateways() {
		for _, k := range ledger.Keys(g) {
			row := ledger.Row(k)
			records -= row.Records
			readings -= row.Readings
			for _, x := range row.Stored.Ranges {
				for n := x.First; n <= x.Last; n++ {
					if found[id(k, n)] == 0 {
						t.Fatalf("the ledger says %s is stored, it is not", id(k, n))
					}
				}
			}
		}
	}
	if records != 0 || readings != 0 {
		t.Fatalf("%d records and %d readings are there that the ledger does not count", int64(records), int64(readings))
	}
}

// life is the life of one process: it loads, writes batches of records that the ledger has not, retries what failed, and ends.
func life(t *rapid.T, d *fakeDisk, sent, taken stock, next map[receive.Key]uint64) {
	d.dead, d.dies, d.left = false, true, rapid.IntRange(-1, 12).Draw(t, "crash in")
	s := newNDJSON(d, NDJSONOptions{MaxBytes: rapid.Int64Range(1, 2000).Draw(t, "max bytes")}, nil)
	s.compact = rapid.Int64Range(1, 3000).Draw(t, "compact at")
	ledger, err := s.Load(context.Background())
	if errors.Is(err, errCrash) {
		return
	}
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	judge(t, d, ledger, sent, taken)
	if d.left < 0 { // no crash in Load: errors now, of which one may be a crash
		d.dies, d.left = false, rapid.IntRange(-1, 12).Draw(t, "error in")
	}
	for range rapid.IntRange(0, 8).Draw(t, "batches") {
		b := drawBatch(t, ledger, sent, next)
		err := s.Write(context.Background(), b)
		for try := 0; err != nil && !d.dead && try < 3; try++ {
			s.options.MaxBytes = rapid.Int64Range(1, 2000).Draw(t, "max bytes now") // as if time had made it due
			err = s.Write(context.Background(), b)
		}
		if err != nil {
			return
		}
		ledger.Apply(b.Changes, len(b.Refused))
		for i := range b.Records {
			taken[id(b.Records[i].Key, b.Records[i].Record.Number)] = len(b.Records[i].Record.Readings)
		}
	}
}

// drawBatch draws records that the ledger has not: new ones, and those that were sent and not taken.
func drawBatch(t *rapid.T, ledger *receive.Ledger, sent stock, next map[receive.Key]uint64) receive.Batch {
	var b receive.Batch
	for range rapid.IntRange(0, 3).Draw(t, "rows") {
		k := receive.Key{
			Gateway: rapid.SampledFrom([]string{"g1", "g2"}).Draw(t, "gateway"), Epoch: rapid.SampledFrom([]string{"e1", "e2"}).Draw(t, "epoch"),
		}
		if slices.ContainsFunc(b.Changes, func(c receive.Change) bool { return c.Key == k }) {
			continue
		}
		c := receive.Change{Key: k, Duplicates: rapid.Uint64Range(0, 2).Draw(t, "duplicates")}
		for n := uint64(1); n <= next[k]+3; n++ {
			if row := ledger.Row(k); row != nil && row.Stored.Contains(n) || !rapid.Bool().Draw(t, "send") {
				continue
			}
			count := sent[id(k, n)]
			if count == 0 {
				count = rapid.IntRange(1, 4).Draw(t, "readings")
			}
			sent[id(k, n)] = count
			next[k] = max(next[k], n)
			rec := tidegate.Record{Number: n, Time: time.Unix(1792000000, 0), Readings: make([]tidegate.Reading, count)}
			b.Records = append(b.Records, receive.Stored{Key: k, Lane: "data", Record: rec})
			c.Stored.Add(tidegate.Range{First: n, Last: n})
			c.Records++
			c.Readings += uint64(count)
		}
		b.Changes = append(b.Changes, c)
	}
	if rapid.IntRange(0, 4).Draw(t, "refused") == 0 {
		b.Refused = append(b.Refused, receive.Refusal{Topic: "t", Why: "w", Body: []byte("b"), Size: 1})
	}
	return b
}
