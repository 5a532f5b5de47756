package stored

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

// samples are one value of each form, with the bytes that other versions of the program must be able to read.
var samples = []struct {
	name   string
	value  any
	encode func(any) []byte
	decode func([]byte) (any, error)
	hex    string
}{
	{
		"frame",
		Frame{Epoch: 3, Class: 1, First: 10, Last: 12, Count: 30, T0: -1, T1: 1700000000000, Body: []byte("abc")},
		func(v any) []byte { f := v.(Frame); return AppendFrame(nil, &f) },
		func(b []byte) (any, error) { return ParseFrame(b, nil) },
		"0101000000000003000000000000000a000000000000000c0000001effffffffffffffff0000018bcfe56800f5bd21dc616263",
	},
	{
		"index",
		Index{Runs: tidegate.Ranges{{First: 5, Last: 9}, {First: 11, Last: 11}}, Records: 6, Readings: 60, Bytes: 900, T0: 1, T1: 2, Closed: true},
		func(v any) []byte { x := v.(Index); return x.Encode() },
		func(b []byte) (any, error) { return DecodeIndex(b) },
		"01013c840702040205040200f436782c",
	},
	{
		"index of what is gone, with shares",
		Index{Runs: tidegate.Ranges{{First: 5, Last: 9}, {First: 11, Last: 11}}, Records: 6, Readings: 60, Bytes: 900, T0: 1, T1: 2, Closed: true, Gone: true, Shares: []Share{
			{Uplink: "a", Tally: Tally{Records: 1, Readings: 10}}, {Uplink: "b", Tally: Tally{Records: 2, Readings: 20}},
		}},
		func(v any) []byte { x := v.(Index); return x.Encode() },
		func(b []byte) (any, error) { return DecodeIndex(b) },
		"01053c8407020402050402000161010a01620214e130e137",
	},
	{
		"index of summaries, with age",
		Index{Runs: tidegate.Ranges{{First: 5, Last: 9}}, Records: 5, Readings: 60, Bytes: 900, T0: 1, T1: 2, Thin: true, Lived: 3 * time.Hour},
		func(v any) []byte { x := v.(Index); return x.Encode() },
		func(b []byte) (any, error) { return DecodeIndex(b) },
		"013080c0a791a9ba023c84070204010504917f5b06",
	},
	{
		"index of sealed frames",
		Index{Runs: tidegate.Ranges{{First: 5, Last: 9}}, Records: 5, Readings: 60, Bytes: 900, T0: 1, T1: 2, Sealed: 0x0a0b0c0d, Frames: 2},
		func(v any) []byte { x := v.(Index); return x.Encode() },
		func(b []byte) (any, error) { return DecodeIndex(b) },
		"",
	},
	{
		"frame of summaries",
		Frame{Epoch: 3, Class: 1, First: 10, Last: 12, Count: 30, T0: -1, T1: 1700000000000, Apart: true, Thin: true, Body: []byte("abc")},
		func(v any) []byte { f := v.(Frame); return AppendFrame(nil, &f) },
		func(b []byte) (any, error) { return ParseFrame(b, nil) },
		"",
	},
	{
		"position",
		Position{
			Pair: [16]byte{1}, Ring: 2, Input: 3, Drops1: Drops{4, 5}, Drops2: Drops{6, 7}, Epoch: 8, Next: 9, LeaseEnd: 10,
			State: [16]byte{11}, Boot: [16]byte{12}, Rate: 13, Slowest: time.Second, Time: 14, Lived: 15, Uptime: 16,
		},
		func(v any) []byte { x := v.(Position); return x.Encode() },
		func(b []byte) (any, error) { return DecodePosition(b) },
		"", // long; the fields are covered by the round trip
	},
	{
		"totals",
		Totals{Produced: Tallies{1: {1, 2}, 4: {3, 4}}, Gaps: 5, Segment: 6, Digest: 7, Written: 500},
		func(v any) []byte { x := v.(Totals); return x.Encode() },
		func(b []byte) (any, error) { return DecodeTotals(b) },
		"0100000102000000000304050607f403991c5e6f",
	},
	{
		"epoch",
		Epoch{"0123456789abcdef", 70000},
		func(v any) []byte { x := v.(Epoch); return x.Encode() },
		func(b []byte) (any, error) { return DecodeEpoch(b) },
		"",
	},
	{
		"cursor",
		Cursor{
			Done:      map[Stream]tidegate.Ranges{{1, 2}: {{First: 1, Last: 7}}, {2, 1}: {{First: 3, Last: 3}}},
			Delivered: Tallies{1: {1, 1}}, Rejected: Tallies{2: {2, 2}}, Declared: Tallies{3: {3, 3}}, Before: Tallies{4: {4, 4}}, Acked: []uint32{1, 2}, Routed: Tallies{1: {5, 6}},
			Thinned: Tallies{1: {7, 8}},
		},
		func(v any) []byte { x := v.(Cursor); return x.Encode() },
		func(b []byte) (any, error) { return DecodeCursor(b) },
		"",
	},
	{
		"declaration",
		Declaration{
			Uplink: "a", Epoch: 1, Ranges: tidegate.Ranges{{First: 1, Last: 5}}, Count: 9, AtMost: 10, Cause: tidegate.CauseOverflow, T0: 3, T1: 4,
			Why: "w", Segment: Segment{1, 2, 3},
		},
		func(v any) []byte { x := v.(Declaration); return x.Encode() },
		func(b []byte) (any, error) { return DecodeDeclaration(b) },
		"",
	},
	{
		"aside",
		Aside{Uplink: "a", Epoch: 1, First: 5, Last: 6, Class: 1, Why: "w", Body: []byte("b"), Skip: 2},
		func(v any) []byte { x := v.(Aside); return x.Encode() },
		func(b []byte) (any, error) { return DecodeAside("a", 1, 5, b) },
		"",
	},
}

func TestValuesComeBackAndDamageIsFound(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			b := s.encode(s.value)
			if s.hex != "" && hex.EncodeToString(b) != s.hex {
				t.Errorf("encoded as %x, want %s", b, s.hex)
			}
			got, err := s.decode(b)
			if err != nil || !reflect.DeepEqual(got, s.value) {
				t.Fatalf("got %+v (%v), want %+v", got, err, s.value)
			}
			for i := range b {
				for bit := range 8 {
					b[i] ^= 1 << bit
					if _, err := s.decode(b); !errors.Is(err, ErrDamaged) {
						t.Fatalf("bit %d of byte %d flipped: got %v, want ErrDamaged", bit, i, err)
					}
					b[i] ^= 1 << bit
				}
			}
			for i := range b {
				if _, err := s.decode(b[:i]); !errors.Is(err, ErrDamaged) {
					t.Fatalf("cut to %d bytes: got %v, want ErrDamaged", i, err)
				}
			}
		})
	}
}

func TestKeysComeBack(t *testing.T) {
	n := Segment{tidegate.ClassAlarm, 1<<32 - 1, 1<<64 - 1}
	if got, err := ParseSegment(n.Key(KeyIndex)); err != nil || got != n {
		t.Errorf("got %v (%v), want %v", got, err, n)
	}
	for _, k := range [][]byte{nil, n.Key(KeyFrame), n.Key(KeyIndex)[:13], {KeyIndex, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if _, err := ParseSegment(k); !errors.Is(err, ErrDamaged) {
			t.Errorf("key %x: got %v, want ErrDamaged", k, err)
		}
	}
	// An ordinal may hold the byte that separates.
	word, name := ParseMeta(MetaKey(MetaEpoch, EpochName(0x7c7c7c7c)))
	if e, err := ParseEpochName(name); word != MetaEpoch || err != nil || e != 0x7c7c7c7c {
		t.Errorf("got %q, %x (%v)", word, e, err)
	}
	if word, name := ParseMeta(MetaKey(MetaPosition, "")); word != MetaPosition || name != "" {
		t.Errorf("got %q, %q", word, name)
	}
	if _, err := ParseEpochName("abc"); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

func TestRangesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rs tidegate.Ranges
		for range rapid.IntRange(0, 20).Draw(t, "ranges") {
			first := rapid.Uint64Range(1, 1<<63).Draw(t, "first")
			rs.Add(tidegate.Range{First: first, Last: first + rapid.Uint64Range(0, 1<<20).Draw(t, "length")})
		}
		d := Declaration{Ranges: rs}
		got, err := DecodeDeclaration(d.Encode())
		if err != nil || !reflect.DeepEqual(got, d) {
			t.Fatalf("got %+v (%v), want %+v", got, err, d)
		}
	})
}

// FuzzDecode gives any bytes, sealed and not, to each decoder: none may panic, and what is taken must come back the same.
func FuzzDecode(f *testing.F) {
	for _, s := range samples {
		b := s.encode(s.value)
		f.Add(b)
		f.Add(b[1 : len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, Seal(b)} {
			for _, s := range samples {
				v, err := s.decode(b)
				if err != nil {
					if !errors.Is(err, ErrDamaged) {
						t.Fatalf("%s: got %v, want ErrDamaged", s.name, err)
					}
					continue
				}
				again, err := s.decode(s.encode(v))
				if err != nil || !reflect.DeepEqual(again, v) {
					t.Fatalf("%s: %+v came back as %+v (%v)", s.name, v, again, err)
				}
			}
		}
	})
}

// TestCursorOfBeforeRoutes: a version that routed nothing stored cursors without that account.
func TestCursorOfBeforeRoutes(t *testing.T) {
	x := Cursor{Done: map[Stream]tidegate.Ranges{}, Delivered: Tallies{1: {1, 2}}, Acked: []uint32{7}}
	p := newPacker()
	b := x.Encode()
	p.b = b[:len(b)-4-2*int(Classes)]
	got, err := DecodeCursor(p.seal())
	if err != nil || got.Delivered != x.Delivered || got.Routed != (Tallies{}) || len(got.Acked) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}
