package sim

import (
	"cmp"
	"math"

	"github.com/tidegate-io/tidegate"
)

func (w *Wave) form() string  { return cmp.Or(w.Wave, "sine") }
func (w *Wave) period() int64 { return cmp.Or(w.Period, 60) }

func (w *Wave) kind() tidegate.Kind {
	switch w.Wave {
	case "counter":
		return tidegate.KindInt
	case "text":
		return tidegate.KindText
	}
	return tidegate.KindFloat
}

// value returns what channel number i says in Read n.
func (w *Wave) value(seed uint64, i int, n int64) tidegate.Value {
	turn := (n - 1) / w.period()
	phase := float64((n-1)%w.period()) / float64(w.period()) // 0 to just below 1
	lo, hi := w.Min, w.Max
	if lo == 0 && hi == 0 {
		hi = 1
	}
	var level float64 // from 0 = lo to 1 = hi
	switch w.form() {
	case "counter":
		return tidegate.Int(w.Start + cmp.Or(w.Step, 1)*(n-1))
	case "text":
		texts := w.Texts
		if len(texts) == 0 {
			texts = []string{"on", "off"}
		}
		return tidegate.Text(texts[turn%int64(len(texts))])
	case "constant":
		hi = w.Min
		lo = w.Min
	case "triangle":
		level = 1 - math.Abs(1-2*phase)
	case "square":
		if phase < 0.5 {
			level = 1
		}
	case "saw":
		level = phase
	case "random":
		level = chance(seed, 2*i, n)
	default:
		level = 0.5 + math.Sin(2*math.Pi*phase)/2
	}
	// The conversions keep processors from fusing operations, so that all of them get the same bits.
	v := float64(lo*(1-level)) + float64(hi*level)
	if w.Noise > 0 {
		v += float64(w.Noise * (2*chance(seed, 2*i+1, n) - 1))
	}
	return tidegate.Float(v)
}

// chance returns a number from 0 to just below 1 that looks random and is a function of its arguments.
func chance(seed uint64, stream int, n int64) float64 {
	return float64(mix(mix(seed)+mix(uint64(stream))+uint64(n))>>11) / (1 << 53)
}

// mix scatters the bits of x: the output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
// 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hits reports whether f concerns Read n.
func (f *Fault) hits(n int64) bool {
	return n >= f.From && (f.To == 0 || n <= f.To) && (f.Every == 0 || n%f.Every == 0)
}

func (f *Fault) text() string { return cmp.Or(f.Text, "simulated fault") }

// spoil does to one reading what f is for.
func (f *Fault) spoil(r *tidegate.Reading) {
	switch f.Kind {
	case faultChannel:
		r.Value, r.Fault = tidegate.Value{}, f.text()
	case faultUnit:
		r.Unit = cmp.Or(f.Unit, "K")
	case faultNaN:
		r.Value = tidegate.Float(math.NaN())
	case faultType:
		if _, isText := r.Value.Text(); isText {
			r.Value = tidegate.Int(0)
		} else {
			r.Value = tidegate.Text(r.Value.String())
		}
	}
}
