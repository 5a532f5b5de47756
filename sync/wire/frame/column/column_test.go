package column

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

func floats(fs ...float64) []uint64 {
	out := make([]uint64, len(fs))
	for i, f := range fs {
		out[i] = math.Float64bits(f)
	}
	return out
}

// TestOrders wants the code that suits each kind of column, and the values back.
func TestOrders(t *testing.T) {
	single := func(f float64) float64 { return float64(float32(f)) }
	tests := []struct {
		name string
		kind tidegate.Kind
		in   []uint64
		code byte
		size int // with the code
	}{
		{"constant", tidegate.KindUint, []uint64{7, 7, 7, 7}, orderDelta, 5},
		{"one number", tidegate.KindUint, []uint64{4294967295}, orderDelta, 6},
		{"running number", tidegate.KindUint, []uint64{1000, 1017, 1034, 1051}, orderDelta2, 6},
		{"slow wave", tidegate.KindUint, []uint64{50000, 50003, 50001, 49998}, orderDelta, 7},
		{"random", tidegate.KindUint, []uint64{4e9, 17, 3e9, 2.5e9}, orderPlain, 18},
		{"signed random", tidegate.KindInt, []uint64{uint64(1<<64 - 2e9), 17, 1e9, uint64(1<<64 - 1e9)}, orderPlain, 18},
		{"around the end", tidegate.KindUint, []uint64{math.MaxUint64, 0, 1, 2}, orderDelta2, 5},
		{"decimals", tidegate.KindFloat, floats(21.5, 21.25, 21), orderDelta2 | 2<<2, 5},
		{"whole floats", tidegate.KindFloat, floats(3, -4, 5), orderDelta, 4},
		{"decimals of singles", tidegate.KindFloat, floats(single(230.1), single(230.2), single(230.3)), orderDelta2 | 1<<2 | codeSingle, 5},
		{"singles", tidegate.KindFloat, floats(single(math.Pi), single(math.Pi*1e-9)), orderXor | codeSingle, 9},
		{"doubles", tidegate.KindFloat, floats(1.0/3, 2.0/3), orderXor, 17},
		{"minus zero", tidegate.KindFloat, floats(math.Copysign(0, -1), 0), orderXor | codeSingle, 9},
		{"not a number", tidegate.KindFloat, []uint64{0x7ff0000000000001, 0xfff8000000000000}, orderXor, 17},
		{"infinite", tidegate.KindFloat, floats(math.Inf(1), 1), orderXor | codeSingle, 9},
		{"subnormal", tidegate.KindFloat, []uint64{1, 2, 3}, orderXor, 25},
		{"larger behind finer", tidegate.KindFloat, floats(9e15, 0.5), orderXor, 17},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := AppendNumbers(nil, []Numbers{{Kind: tt.kind, Values: slices.Clone(tt.in)}})
			if b[0] != tt.code || len(b) != tt.size {
				t.Errorf("got code %#02x, %d bytes, want %#02x, %d", b[0], len(b), tt.code, tt.size)
			}
			got := []Numbers{{Kind: tt.kind, Values: make([]uint64, len(tt.in))}}
			r := NewReader(b, 0)
			if r.Numbers(got); r.Err() != nil || r.Left() != 0 || !slices.Equal(got[0].Values, tt.in) {
				t.Errorf("got %x, %v, %d bytes left, want %x", got[0].Values, r.Err(), r.Left(), tt.in)
			}
		})
	}
}

// TestAnyNumbersComeBack writes any columns and wants them back bit by bit, and a fault when the last byte is missing.
func TestAnyNumbersComeBack(t *testing.T) {
	kinds := []tidegate.Kind{tidegate.KindFloat, tidegate.KindInt, tidegate.KindUint}
	rapid.Check(t, func(t *rapid.T) {
		in := make([]Numbers, rapid.IntRange(1, 4).Draw(t, "columns"))
		got := make([]Numbers, len(in))
		keep := make([][]uint64, len(in))
		for i := range in {
			in[i].Kind = rapid.SampledFrom(kinds).Draw(t, "kind")
			shift := rapid.IntRange(0, 63).Draw(t, "shift")
			scale := rapid.SampledFrom([]float64{0, 1, 10, 1e3, 1e9, 1e15, 1e16}).Draw(t, "scale")
			for range rapid.IntRange(1, 20).Draw(t, "values") {
				v := rapid.Uint64().Draw(t, "value") >> shift
				if in[i].Kind == tidegate.KindFloat && scale > 0 {
					f := float64(int32(v)) / scale
					if rapid.Bool().Draw(t, "single") {
						f = float64(float32(f))
					}
					v = math.Float64bits(f)
				}
				in[i].Values = append(in[i].Values, v)
			}
			keep[i] = slices.Clone(in[i].Values)
			got[i] = Numbers{Kind: in[i].Kind, Values: make([]uint64, len(keep[i]))}
		}
		b := AppendNumbers([]byte("x"), in)
		r := NewReader(b, 1)
		r.Numbers(got)
		if r.Err() != nil || r.Left() != 0 {
			t.Fatalf("got %v, %d bytes left", r.Err(), r.Left())
		}
		for i := range keep {
			if !slices.Equal(got[i].Values, keep[i]) {
				t.Fatalf("column %d: got %x, want %x", i, got[i].Values, keep[i])
			}
		}
		r = NewReader(b[:len(b)-1], 1)
		if r.Numbers(got); r.Err() == nil {
			t.Fatal("the last byte is missing, and no fault")
		}
	})
}
