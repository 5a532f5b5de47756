package unit

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		x        float64
		from, to string
		want     float64
	}{
		{250, "kPa", "bar", 2.5},
		{1, "psi", "Pa", 6894.757293168361},
		{100, "Cel", "degF", 212},
		{-40, "degF", "Cel", -40},
		{0, "Cel", "K", 273.15},
		{3.6e6, "J", "kWh", 1},
		{90, "km/h", "m/s", 25},
		{1, "m3/h", "l/min", 1000.0 / 60},
		{50, "/100", "/", 0.5},
		{1500, "1/min", "Hz", 25},
	} {
		by, err := Convert(c.from, c.to)
		if got := by.Of(c.x); err != nil || math.Abs(got-c.want) > 1e-9*math.Max(1, math.Abs(c.want)) {
			t.Errorf("%v %s is %v %s, %v; want %v", c.x, c.from, got, c.to, err, c.want)
		}
	}
}

// TestThereAndBack: what is converted to another unit of its kind and back is what it was; between kinds nothing is.
func TestThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := rapid.SampledFrom(append(All(), "dBm")).Draw(t, "from"), rapid.SampledFrom(append(All(), "")).Draw(t, "to")
		there, err := Convert(from, to)
		if measures[from].dimension != measures[to].dimension || from == "dBm" || to == "" {
			if err == nil || !strings.Contains(err.Error(), from) && !strings.Contains(err.Error(), to) {
				t.Fatalf("%q to %q: %v", from, to, err)
			}
			return
		}
		back, err2 := Convert(to, from)
		x := rapid.Float64Range(-1e6, 1e6).Draw(t, "x")
		if got := back.Of(there.Of(x)); err != nil || err2 != nil || math.Abs(got-x) > 1e-6 {
			t.Fatalf("%v %s to %s and back is %v; %v, %v", x, from, to, got, err, err2)
		}
	})
}
