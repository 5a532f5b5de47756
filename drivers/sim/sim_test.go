package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

func open(t *testing.T, c *Config) drivers.Device {
	t.Helper()
	d, err := c.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// read returns one Read as text.
func read(t *testing.T, d drivers.Device) string {
	t.Helper()
	got, err := d.Read(t.Context())
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, r := range got {
		s := r.Channel + "=" + r.Value.String() + r.Unit
		if r.Fault != "" {
			s = r.Channel + "!" + r.Fault
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestDefaultConfiguration(t *testing.T) {
	c := Driver.New().(*Config)
	if bad := c.Validate(); len(bad) > 0 {
		t.Fatal(bad)
	}
	d := open(t, c)
	for i := range 1000 {
		got, err := d.Read(t.Context())
		if err != nil || len(got) != 5 {
			t.Fatalf("Read %d: %v %v", i+1, got, err)
		}
		temp, _ := got[1].Value.Number()
		pressure, _ := got[2].Value.Number()
		if got[0].Value != tidegate.Int(int64(i+1)) || temp < 17.9 || temp > 24.1 || pressure < 990 || pressure > 1030 ||
			got[3].Value != tidegate.Int(int64(5*i)) || got[4].Channel != "relay" || got[4].Value != tidegate.Bool(false) {
			t.Fatalf("Read %d: %v", i+1, got)
		}
	}
}

func TestWaves(t *testing.T) {
	for wave, want := range map[shape]string{
		{"sine", 8, 10, 20}:     "15 18.5355 20 18.5355 15 11.4645 10 11.4645 15",
		{"", 4, 0, 0}:           "0.5 1 0.5 0 0.5 1 0.5 0 0.5",
		{"triangle", 8, 10, 20}: "10 12.5 15 17.5 20 17.5 15 12.5 10",
		{"square", 4, 10, 20}:   "20 20 10 10 20 20 10 10 20",
		{"saw", 4, 10, 20}:      "10 12.5 15 17.5 10 12.5 15 17.5 10",
		{"constant", 0, 7, 0}:   "7 7 7 7 7 7 7 7 7",
		{"text", 3, 0, 0}:       "on on on off off off on on on",
		{"text", 1, 0, 0}:       "on off on off on off on off on",
		{"counter", 0, 0, 0}:    "0 1 2 3 4 5 6 7 8",
	} {
		t.Run(fmt.Sprint(wave.wave, wave.period), func(t *testing.T) {
			w := Wave{Name: "x", Wave: wave.wave, Period: wave.period, Min: wave.min, Max: wave.max}
			var got []string
			for n := range int64(9) {
				v := w.value(1, 0, n+1)
				if v.Kind() != w.kind() {
					t.Fatalf("kind %v, want %v", v.Kind(), w.kind())
				}
				if f, ok := v.Number(); ok {
					got = append(got, fmt.Sprint(math.Round(f*1e4)/1e4))
					continue
				}
				got = append(got, v.String())
			}
			if g := strings.Join(got, " "); g != want {
				t.Errorf("got %s, want %s", g, want)
			}
		})
	}
}

// shape is what the table of TestWaves sets.
type shape struct {
	wave     string
	period   int64
	min, max float64
}

func TestCounterWrapsRound(t *testing.T) {
	w := Wave{Wave: "counter", Start: math.MaxInt64 - 1, Step: 2}
	if got := w.value(1, 0, 2); got != tidegate.Int(math.MinInt64) {
		t.Fatalf("got %v", got)
	}
	w = Wave{Wave: "counter", Start: 10, Step: -3}
	if got := w.value(1, 0, 5); got != tidegate.Int(-2) {
		t.Fatalf("got %v", got)
	}
}

// TestSameSeedSaysTheSame keeps values the same from release to release: these were computed once.
func TestSameSeedSaysTheSame(t *testing.T) {
	conf := func(seed uint64) *Config {
		return &Config{Seed: seed, Waves: []Wave{{Name: "a", Wave: "random"}, {Name: "b", Wave: "random", Min: -5, Max: 5}, {Name: "c", Wave: "constant", Min: 9, Noise: 1}}}
	}
	a, b, other := open(t, conf(7)), open(t, conf(7)), open(t, conf(8))
	for range 100 {
		x, y, z := read(t, a), read(t, b), read(t, other)
		if x != y || x == z {
			t.Fatalf("same seed: %s, %s; other seed: %s", x, y, z)
		}
	}
	if got := read(t, a); got != want101 {
		t.Fatalf("got %s, want %s", got, want101)
	}
}

const want101 = "n=101count a=0.775253721618029 b=2.6911634146387486 c=9.92329396243153 relay=false"

func TestValuesStayInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := Wave{
			Wave:   rapid.SampledFrom([]string{"sine", "triangle", "square", "saw", "constant", "random"}).Draw(t, "wave"),
			Period: rapid.Int64Range(2, 1<<40).Draw(t, "period"),
			Min:    rapid.Float64Range(-1e300, 0).Draw(t, "min"),
			Max:    rapid.Float64Range(0, 1e300).Draw(t, "max"),
			Noise:  rapid.Float64Range(0, 10).Draw(t, "noise"),
		}
		w.Name = "x"
		if bad := w.check("x"); len(bad) > 0 {
			t.Fatal(bad)
		}
		n := rapid.Int64Range(1, 1<<60).Draw(t, "n")
		got, ok := w.value(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 899).Draw(t, "channel"), n).Number()
		hi := w.Max
		if w.Min == 0 && w.Max == 0 {
			hi = 1
		}
		slack := w.Noise + 1e-9*math.Max(math.Abs(w.Min), math.Abs(hi))
		if !ok || got < w.Min-slack || got > hi+slack {
			t.Fatalf("%+v: Read %d gives %v", w, n, got)
		}
	})
}

func TestChanceIsEven(t *testing.T) {
	var buckets [10]int
	for n := range int64(100_000) {
		buckets[int(chance(1, 3, n)*10)]++
	}
	for i, k := range buckets {
		if k < 9_600 || k > 10_400 {
			t.Errorf("%d of 100000 in tenth %d", k, i)
		}
	}
}

func TestSchedule(t *testing.T) {
	for want, f := range map[string]Fault{
		"1 2 3 4 5 6 7 8 9 10 11 12": {},
		"5 10":                       {Every: 5},
		"4 5 6":                      {From: 4, To: 6},
		"11 12":                      {From: 11},
		"8 10":                       {Every: 2, From: 7, To: 11},
	} {
		var got []string
		for n := range int64(12) {
			if f.hits(n + 1) {
				got = append(got, fmt.Sprint(n+1))
			}
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%+v: got %s, want %s", f, g, want)
		}
	}
}

func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		f    Fault
		want string
	}{
		"none":                 {f: Fault{Kind: "error", From: 9}, want: "n=1count a=7Cel b=on relay=false level=0/100"},
		"of all channels":      {f: Fault{Kind: "fault"}, want: "n=1count a!simulated fault b!simulated fault relay!simulated fault level!simulated fault"},
		"of one channel":       {f: Fault{Kind: "fault", Channel: "a", Text: "probe broken"}, want: "n=1count a!probe broken b=on relay=false level=0/100"},
		"of the number":        {f: Fault{Kind: "fault", Channel: "n", Text: "x"}, want: "n!x a=7Cel b=on relay=false level=0/100"},
		"wrong unit":           {f: Fault{Kind: "unit", Channel: "a"}, want: "n=1count a=7K b=on relay=false level=0/100"},
		"wrong unit of choice": {f: Fault{Kind: "unit", Channel: "a", Unit: "m"}, want: "n=1count a=7m b=on relay=false level=0/100"},
		"not a number":         {f: Fault{Kind: "nan", Channel: "a"}, want: "n=1count a=NaNCel b=on relay=false level=0/100"},
		"other kind":           {f: Fault{Kind: "type", Channel: "b"}, want: "n=1count a=7Cel b=0 relay=false level=0/100"},
		"failing Read":         {f: Fault{Kind: "error", Text: "no answer"}, want: "error: read simulated device: no answer"},
		"refusing output":      {f: Fault{Kind: "refuse"}, want: "n=1count a=7Cel b=on relay=false level=0/100"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Config{Analog: true, Waves: []Wave{{Name: "a", Wave: "constant", Min: 7, Unit: "Cel"}, {Name: "b", Wave: "text"}}, Faults: []Fault{tc.f}}
			if got := read(t, open(t, c)); got != tc.want {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestOtherKindOfNumber(t *testing.T) {
	d := open(t, &Config{Waves: []Wave{{Name: "a", Wave: "constant", Min: 7}}, Faults: []Fault{{Kind: "type", Channel: "a"}}})
	got, err := d.Read(t.Context())
	if err != nil || got[1].Value != tidegate.Text("7") {
		t.Fatalf("%v %v", got, err)
	}
}

func TestGoneUntilOpenedAnew(t *testing.T) {
	c := &Config{Faults: []Fault{{Kind: "gone", From: 3, Text: "unplugged"}}}
	for range 2 {
		d := open(t, c)
		for _, want := range []string{
			"n=1count relay=false", "n=2count relay=false", "error: read simulated device: unplugged: gone",
			"error: read simulated device: unplugged: gone",
		} {
			if got := read(t, d); got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
		if _, err := d.Read(t.Context()); !errors.Is(err, drivers.ErrGone) {
			t.Fatal(err)
		}
	}
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, &Config{Faults: []Fault{{Kind: "hang", From: 2, To: 2, For: time.Minute}, {Kind: "hang", From: 3}}})
		start := time.Now()
		if got := read(t, d) + " " + read(t, d); got != "n=1count relay=false n=2count relay=false" || time.Since(start) != time.Minute {
			t.Fatalf("got %s after %v", got, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() {
			time.Sleep(time.Minute)
			if err := d.(drivers.Setter).Set(ctx, "relay", tidegate.Bool(true)); err != nil { // while Read waits
				t.Error(err)
			}
		}()
		start = time.Now()
		if _, err := d.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Hour {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		if _, err := d.Read(ctx); err == nil || err.Error() != "read simulated device: context deadline exceeded" {
			t.Fatal(err)
		}
	})
}

func TestSet(t *testing.T) {
	c := &Config{Analog: true, Faults: []Fault{{Kind: "refuse", From: 2, Channel: "level", Text: "fuse blown"}}}
	d := open(t, c)
	set := d.(drivers.Setter).Set
	for _, tc := range []struct {
		channel string
		v       tidegate.Value
		want    string
	}{
		{"relay", tidegate.Bool(true), ""},
		{"relay", tidegate.Int(0), ""},
		{"relay", tidegate.Float(1), ""},
		{"relay", tidegate.Int(2), `set relay: got number "2", want yes or no`},
		{"relay", tidegate.Text("on"), `set relay: got text "on", want yes or no`},
		{"relay", tidegate.Float(math.NaN()), `set relay: got number "NaN", want yes or no`},
		{"level", tidegate.Float(99.5), ""},
		{"level", tidegate.Uint(100), ""},
		{"level", tidegate.Float(math.Copysign(0, -1)), ""},
		{"level", tidegate.Int(42), ""},
		{"level", tidegate.Float(100.5), `set level: got number "100.5", want a number from 0 to 100`},
		{"level", tidegate.Float(math.NaN()), `set level: got number "NaN", want a number from 0 to 100`},
		{"level", tidegate.Text("5"), `set level: got text "5", want a number from 0 to 100`},
		{"n", tidegate.Int(1), "set n: no such output"},
	} {
		err := set(t.Context(), tc.channel, tc.v)
		if got := fmt.Sprint(err); err == nil && tc.want != "" || err != nil && got != tc.want {
			t.Errorf("%s %v: got %v, want %s", tc.channel, tc.v, err, tc.want)
		}
	}
	if got := read(t, d); got != "n=1count relay=true level=42/100" {
		t.Fatalf("read back %s", got)
	}
	read(t, d)
	if err := set(t.Context(), "level", tidegate.Int(1)); err == nil || err.Error() != "set level: fuse blown" {
		t.Fatal(err)
	}
	if err := set(t.Context(), "relay", tidegate.Bool(false)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := set(ctx, "relay", tidegate.Bool(true)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := set(t.Context(), "relay", tidegate.Bool(true)); err == nil || err.Error() != "set relay: device is closed: gone" {
		t.Fatal(err)
	}
	if got := read(t, d); got != "error: read simulated device: device is closed: gone" {
		t.Fatal(got)
	}
	plain := open(t, &Config{})
	if err := plain.(drivers.Setter).Set(t.Context(), "level", tidegate.Int(1)); err == nil || err.Error() != "set level: no such output" {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	const waves = "one of sine, triangle, square, saw, constant, random, counter, text"
	c := &Config{
		Waves: []Wave{
			{Name: "", Wave: "sin", Period: -1, Min: math.Inf(1), Noise: -1},
			{Name: "relay", Min: 2, Max: 1, Texts: []string{"x"}},
			{Name: "a", Period: 1, Noise: math.NaN()},
			{Name: "a", Wave: "constant", Min: 5},
			{Name: "text", Wave: "text", Period: 1, Texts: []string{"x"}},
		},
		Faults: []Fault{
			{Kind: "", Every: -1, From: -2, To: -3, For: -time.Second, Channel: "level"},
			{Kind: "hang", From: 5, To: 4},
			{Kind: "gone", Channel: "n"},
		},
	}
	want := []string{
		`channels[0].name: name is empty (got "")`,
		`channels[0].wave: is not known (got "sin"); ` + waves,
		"channels[0].period: is too short (got -1); 2 Reads or more; 1 is enough for texts",
		"channels[0].min: is no number from -1e300 to 1e300 (got +Inf)",
		"channels[0].max: is below min, +Inf (got 0)",
		"channels[0].noise: is below 0 (got -1)",
		"channels[1].name: is taken already (got relay); n, relay and level are the device's own",
		"channels[1].max: is below min, 2 (got 1)",
		"channels[1].texts: are for wave text only",
		"channels[2].period: is too short (got 1); 2 Reads or more; 1 is enough for texts",
		"channels[2].noise: is no number from -1e300 to 1e300 (got NaN)",
		"channels[3].name: is taken already (got a); n, relay and level are the device's own",
		`faults[0].kind: is not known (got ""); one of fault, unit, nan, type, error, gone, hang, refuse`,
		"faults[0].every: is below 0 (got -1)",
		"faults[0].from: is below 0 (got -2)",
		"faults[0].to: is below 0 (got -3)",
		"faults[0].for: is below 0 (got -1s)",
		"faults[0].to: is before from, -2 (got -3)",
		"faults[0].channel: is no channel of this device (got level); one of n, relay, , relay, a, a, text",
		"faults[1].to: is before from, 5 (got 4)",
	}
	var got []string
	for _, bad := range c.Validate() {
		got = append(got, bad.Error())
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if bad := (&Config{Waves: make([]Wave, 901)}).Validate(); bad[0].Error() != "channels: are too many (got 901); at most 900" {
		t.Error(bad[0])
	}
	if _, err := c.Open(t.Context(), nil); err == nil || err.Error() != `open simulated device: channels[0].name: name is empty (got "")` {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Config{}).Open(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestChannels(t *testing.T) {
	c := &Config{Analog: true, Waves: []Wave{{Name: "a", Unit: "V"}, {Name: "b", Wave: "counter"}, {Name: "c", Wave: "text"}}}
	var got []string
	for _, ch := range c.Channels() {
		got = append(got, fmt.Sprint(ch.Name, " ", ch.Kind, " ", ch.Unit, " ", ch.Meaning, " ", ch.Output))
	}
	want := "a number V simulated: sine false|b number  simulated: counter false|c text  simulated: text false|" +
		"level number /100 output: what it was last set to, 0 at first true"
	if g := strings.Join(got, "|"); g != want {
		t.Fatalf("got %s\nwant %s", g, want)
	}
}
