package gpio

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// a bed is a machine with lines A, B, ..., and a device on it.
type bed struct {
	t     *testing.T
	h     *drivertest.Host
	looks *atomic.Int64 // at edges
	// unreadable takes the place of the memory's Load; nil = it does not.
	unreadable error
	c          *Config
	began      time.Time
	dev        drivers.Device
	end        context.CancelFunc
}

// newBed makes line A of the first of lines, and so on; each is its own channel, a, b, ...
func newBed(t *testing.T, lines ...Line) *bed {
	b := &bed{t: t, h: &drivertest.Host{Pins: map[string]*drivertest.Pin{}, Kept: &drivertest.Memory{}}, c: Driver.New().(*Config), began: time.Now(), looks: new(atomic.Int64)}
	for i, l := range lines {
		l.Line, l.Channel = string(rune('A'+i)), string(rune('a'+i))
		b.h.Pins[l.Line] = &drivertest.Pin{}
		b.c.Lines = append(b.c.Lines, l)
	}
	return b
}

// countingHost counts how often edges are looked for.
type countingHost struct {
	drivers.Host
	looks      *atomic.Int64
	unreadable error
}

// unreadable is a Memory that can be written only.
type unreadable struct {
	drivers.Memory
	err error
}

func (m unreadable) Load() ([]byte, error) { return nil, m.err }

func (h countingHost) Memory(ctx context.Context) drivers.Memory {
	if h.unreadable != nil {
		return unreadable{h.Host.Memory(ctx), h.unreadable}
	}
	return h.Host.Memory(ctx)
}

type countingPin struct {
	drivers.Pin
	looks *atomic.Int64
}

func (h countingHost) Pin(ctx context.Context, line string, c drivers.PinConfig) (drivers.Pin, error) {
	p, err := h.Host.Pin(ctx, line, c)
	return countingPin{p, h.looks}, err
}

func (p countingPin) Edges(into []drivers.Edge) ([]drivers.Edge, error) {
	p.looks.Add(1)
	return p.Pin.Edges(into)
}

func (b *bed) pin(name string) *drivertest.Pin { return b.h.Pins[name] }

func (b *bed) open() *bed {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	dev, err := b.c.Open(ctx, countingHost{b.h, b.looks, b.unreadable})
	if err != nil {
		cancel()
		b.t.Fatal(err)
	}
	b.dev, b.end = dev, cancel
	return b
}

// close stops the device as the gateway does.
func (b *bed) close() {
	b.t.Helper()
	if err := b.dev.Close(); err != nil {
		b.t.Error(err)
	}
	b.end()
	synctest.Wait()
}

// read returns one Read as text: channels with value and unit or fault, and their own time since the bed was made.
func (b *bed) read() string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 48*time.Hour)
	defer cancel()
	list, err := b.dev.Read(ctx)
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, r := range list {
		s := r.Channel + "=" + r.Value.String() + r.Unit
		if r.Fault != "" {
			s = r.Channel + ": " + r.Fault
		}
		if !r.Time.IsZero() {
			s += fmt.Sprintf("@%v", r.Time.Sub(b.began.Round(0)))
		}
		out = append(out, s)
	}
	return strings.Join(out, " | ")
}

// want reads once for each of texts.
func (b *bed) want(texts ...string) {
	b.t.Helper()
	for _, w := range texts {
		if got := b.read(); got != w {
			b.t.Errorf("after %v\ngot  %s\nwant %s", time.Since(b.began), got, w)
		}
	}
}

func TestChannels(t *testing.T) {
	c := &Config{Lines: []Line{
		{Channel: "a", Line: "A", Mode: "input"},
		{Channel: "b", Line: "B", Mode: "edge", Edge: "falling", Meaning: "door"},
		{Channel: "c", Line: "C", Mode: "counter"},
		{Channel: "d", Line: "D", Mode: "counter", PerUnit: 1000, Unit: "kWh"},
		{Channel: "e", Line: "E", Mode: "frequency"},
		{Channel: "f", Line: "F", Mode: "frequency", PerUnit: 1.5, Unit: "m/s"},
		{Channel: "g", Line: "G", Mode: "output", Safe: "on", Pause: time.Second},
		{Channel: "h", Line: "H", Mode: "output"},
		{Channel: "i", Line: "I", Mode: "edge"},
	}}
	want := []string{
		"a yes/no  level of A", "b yes/no  door", "c number count pulses of C so far", "d number kWh total of D at 1000 pulses a unit",
		"e number Hz pulses a second of E", "f number m/s pulses a second of F divided by 1.5", "g yes/no  output G: what it was set to last",
		"h yes/no  output H: what it was set to last", "i yes/no  level of I, each change of it (both) at once",
	}
	for i, ch := range c.Channels() {
		if got := fmt.Sprint(ch.Name, " ", ch.Kind, " ", ch.Unit, " ", ch.Meaning); got != want[i] {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
		limits := drivers.Limits{}
		if ch.Name == "g" {
			limits = drivers.Limits{Pause: time.Second, Safe: tidegate.Bool(true)}
		}
		if ch.Limits != limits || ch.Output != (ch.Name == "g" || ch.Name == "h") {
			t.Errorf("%s: output %v, limits %+v", ch.Name, ch.Output, ch.Limits)
		}
	}
}

// TestRequests has how each mode asks for its line.
func TestRequests(t *testing.T) {
	yes, no := true, false
	for name, tt := range map[string]struct {
		line Line
		want drivers.PinConfig
	}{
		"input":     {Line{Mode: "input", Pull: "down"}, drivers.PinConfig{Pull: "down"}},
		"edge":      {Line{Mode: "edge", ActiveLow: true, Debounce: time.Second}, drivers.PinConfig{Edge: "both", ActiveLow: true, Debounce: time.Second}},
		"counter":   {Line{Mode: "counter"}, drivers.PinConfig{Edge: "rising"}},
		"frequency": {Line{Mode: "frequency", Edge: "falling"}, drivers.PinConfig{Edge: "falling"}},
		"safe on":   {Line{Mode: "output", Safe: "on"}, drivers.PinConfig{Output: true, Initial: true, AtEnd: &yes}},
		"safe off":  {Line{Mode: "output", Safe: "off"}, drivers.PinConfig{Output: true, AtEnd: &no}},
		"as it is":  {Line{Mode: "output", ActiveLow: true}, drivers.PinConfig{Output: true, ActiveLow: true, AsIs: true}},
	} {
		got := tt.line.request(nil)
		if end := got.AtEnd; end != nil && tt.want.AtEnd != nil && *end == *tt.want.AtEnd {
			got.AtEnd = tt.want.AtEnd
		}
		if got != tt.want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Line{Channel: "a", Line: "GPIO17", Mode: "input"}
	for want, change := range map[string]func(c *Config, l *Line){
		"": func(*Config, *Line) {},
		"report: is out of range (got 1ms); 10ms to 24h":                                                                      func(c *Config, _ *Line) { c.Report = time.Millisecond },
		"lines: is not 1 to 32 (got 0 lines); make further devices of the same driver for more lines":                         func(c *Config, _ *Line) { c.Lines = nil },
		`lines[0].channel: name contains ' ', allowed are A-Z a-z 0-9 . _ - (got "a b")`:                                      func(_ *Config, l *Line) { l.Channel = "a b" },
		"lines[0].line: is missing; a name as gpioinfo shows it, for instance GPIO17, or chip:line, for instance gpiochip2:5": func(_ *Config, l *Line) { l.Line = "" },
		`lines[0].line: is no line (got "gpiochip0:x"); a name as gpioinfo shows it, for instance GPIO17, or chip:line, for instance gpiochip2:5`: func(_ *Config, l *Line) {
			l.Line = "gpiochip0:x"
		},
		`lines[0].line: is no line (got "GPIO 17"); a name as gpioinfo shows it, for instance GPIO17, or chip:line, for instance gpiochip2:5`: func(_ *Config, l *Line) {
			l.Line = "GPIO 17"
		},
		`lines[1].channel: is that of lines[0] already (got "a") | lines[1].line: is that of lines[0] already (got "GPIO17")`: func(c *Config, _ *Line) {
			c.Lines = append(c.Lines, good)
		},
		`lines[0].mode: is not known (got "count"); one of input, edge, counter, frequency, output`: func(_ *Config, l *Line) { l.Mode = "count" },
		`lines[0].pull: is not known (got "weak"); one of up, down, none`:                           func(_ *Config, l *Line) { l.Pull = "weak" },
		"lines[0].pull: is of no use with mode output; leave it out; it is for input, edge, counter, frequency": func(_ *Config, l *Line) {
			l.Mode, l.Pull = "output", "up"
		},
		"lines[0].debounce: is of no use with mode input; leave it out; it is for edge, counter, frequency": func(_ *Config, l *Line) {
			l.Debounce = time.Millisecond
		},
		"lines[0].per_unit: is of no use with mode edge; leave it out; it is for counter, frequency": func(_ *Config, l *Line) {
			l.Mode, l.PerUnit = "edge", 2
		},
		"lines[0].edge: counts each pulse of a frequency twice (got both); rising or falling": func(_ *Config, l *Line) {
			l.Mode, l.Edge = "frequency", "both"
		},
		`lines[0].safe: is not known (got "maybe"); one of on, off`:                         func(_ *Config, l *Line) { l.Mode, l.Safe = "output", "maybe" },
		"lines[0].pause: is out of range (got -1s); 0 to 1h":                                func(_ *Config, l *Line) { l.Mode, l.Pause = "output", -time.Second },
		"lines[0].debounce: is out of range (got 11s); 1us to 10s, or 0 for none":           func(_ *Config, l *Line) { l.Mode, l.Debounce = "edge", 11*time.Second },
		"lines[0].stop: is out of range (got 2h0m0s); 10ms to 1h, or 0 for 10s":             func(_ *Config, l *Line) { l.Mode, l.Stop = "frequency", 2*time.Hour },
		"lines[0].most: is out of range (got 1001); 1 to 1000 with mode edge, or 0 for 100": func(_ *Config, l *Line) { l.Mode, l.Most = "edge", 1001 },
		"lines[0].per_unit: is out of range (got -1); 1e-9 to 1e9, or 0 to count pulses":    func(_ *Config, l *Line) { l.Mode, l.PerUnit = "counter", -1 },
		"lines[0].start: is out of range (got -1); 0 to 1e15":                               func(_ *Config, l *Line) { l.Mode, l.Start = "counter", -1 },
		"lines[0].start: is no whole number of pulses (got 1.5); set per_unit, or leave the fraction out": func(_ *Config, l *Line) {
			l.Mode, l.Start = "counter", 1.5
		},
		`lines[0].meaning: is more than one line (got "a\nb")`: func(_ *Config, l *Line) { l.Meaning = "a\nb" },
	} {
		c := Driver.New().(*Config)
		c.Lines = []Line{good}
		change(c, &c.Lines[0])
		var got []string
		for _, e := range c.Validate() {
			got = append(got, e.Error())
		}
		if g := strings.Join(got, " | "); g != want {
			t.Errorf("got  %s\nwant %s", g, want)
		}
	}
}

// TestModes has one line of each mode: all is reported at once, then each second, and an edge when it comes.
func TestModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t,
			Line{Mode: "input", ActiveLow: true}, Line{Mode: "edge"}, Line{Mode: "counter", PerUnit: 4, Unit: "kWh", Start: 10},
			Line{Mode: "frequency", Stop: 2 * time.Second}, Line{Mode: "output", Safe: "on"}, Line{Mode: "output"}).open()
		defer b.close()
		b.want("a=true | b=false | c=10kWh | e=true | f: output was not set since it was opened, and stands as it was: an output is not read back")
		time.AfterFunc(300*time.Millisecond, func() { b.pin("B").Change(1); b.pin("C").Change(7); b.pin("D").Change(1) })
		time.AfterFunc(500*time.Millisecond, func() { b.pin("A").Change(1) })
		time.AfterFunc(800*time.Millisecond, func() { b.pin("D").Change(8) })
		b.want("b=true@300ms", "a=false | b=true | c=11kWh | d=8Hz | e=true")
		if err := b.dev.(drivers.Setter).Set(t.Context(), "f", tidegate.Bool(true)); err != nil {
			t.Error(err)
		}
		b.want("f=true", "a=false | b=true | c=11kWh | e=true | f=true", "a=false | b=true | c=11kWh | d=0Hz | e=true | f=true")
		if d := time.Since(b.began); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// TestEdgesKeepTheirTime has changes while the reader is busy: they come in order, each with its own time, the first at once.
func TestEdgesKeepTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "edge"}, Line{Mode: "edge", Edge: "rising"}).open()
		defer b.close()
		b.want("a=false | b=false")
		for _, at := range []time.Duration{100, 101, 150} {
			time.AfterFunc(at*time.Millisecond, func() { b.pin("A").Change(1) })
		}
		time.AfterFunc(140*time.Millisecond, func() { b.pin("B").Change(3) })
		b.want("a=true@100ms")
		if d := time.Since(b.began); d != 100*time.Millisecond {
			t.Errorf("the first edge is told after %v", d)
		}
		time.Sleep(400 * time.Millisecond)
		b.want("a=false@101ms | a=true@150ms | b=true@140ms | b=true@140ms", "a=true | b=true")
	})
}

// TestBurstWhileTheReaderIsBusy: bursts of 1,000 edges while nobody reads lose nothing, longer ones say what they lost.
func TestBurstWhileTheReaderIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "counter", Edge: "both"}, Line{Mode: "edge", Most: 1000}).open()
		defer b.close()
		b.want("a=0count | b=false")
		for range 3 {
			b.pin("A").Change(1000)
			time.Sleep(time.Minute)
			b.read()
		}
		b.want("a=3000count | b=false")
		b.pin("A").Change(1100)
		b.pin("B").Change(1030)
		time.Sleep(5 * time.Second)
		got := b.read()
		n := strings.Count(got, "b=true@") + strings.Count(got, "b=false@")
		if n != 994 { // with the 6 that were dropped it is 1000 within the second
			t.Errorf("%d changes are told one by one, want 994", n)
		}
		const dropped = "a: 76 edges were dropped by the kernel, which keeps 1024 of a line; its numbers tell how many, and they are in the total (76 since counting began)"
		if !strings.Contains(got, dropped+" | a=4100count") {
			t.Errorf("got ...%s", got[max(0, len(got)-600):])
		}
		b.want("a=4100count | b: 6 changes were dropped by the kernel, which keeps 1024 of a line: they came faster than they could be taken | " +
			"b: 1030 changes within a second, at most 1000 can be true: 30 are not reported one by one; " +
			"the contact bounces or the wire picks up noise: set debounce, or most | b=false@3m1s | b=false")
	})
}

// TestRestOfASecondIsTold when the second is over, however long the next report is away.
func TestRestOfASecondIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "edge", Most: 2})
		b.c.Report = time.Hour
		b.open()
		defer b.close()
		b.want("a=false")
		time.AfterFunc(10*time.Second, func() { b.pin("A").Change(5) })
		b.want("a=true@10s | a=false@10s", "a: 5 changes within a second, at most 2 can be true: 3 are not reported one by one; "+
			"the contact bounces or the wire picks up noise: set debounce, or most | a=true@10s")
		if d := time.Since(b.began); d != 11*time.Second {
			t.Errorf("told after %v", d)
		}
	})
}

// TestSetRefuses has what an output does not take.
func TestSetRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "output", Safe: "off", ActiveLow: true}, Line{Mode: "input"}).open()
		s := b.dev.(drivers.Setter)
		done, cancel := context.WithCancel(t.Context())
		cancel()
		for want, err := range map[string]error{
			`set a: got text "on", want yes or no`:  s.Set(t.Context(), "a", tidegate.Text("on")),
			`set a: got number "2", want yes or no`: s.Set(t.Context(), "a", tidegate.Int(2)),
			"set b: no such output":                 s.Set(t.Context(), "b", tidegate.Bool(true)),
			"set a: context canceled":               s.Set(done, "a", tidegate.Bool(true)),
		} {
			if fmt.Sprint(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if err := errors.Join(s.Set(t.Context(), "a", tidegate.Uint(1)), s.Set(t.Context(), "a", tidegate.Bool(true))); err != nil {
			t.Error(err)
		}
		b.close()
		if got := fmt.Sprint(b.pin("A").Sets()); got != "[true true false]" {
			t.Errorf("set to %s, want the safe level at the end", got)
		}
		if err := s.Set(t.Context(), "a", tidegate.Bool(true)); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("set after Close: %v", err)
		}
	})
}

// TestSafeLevelWhenTheGatewayStops: the ctx of the device ends before its Close, and the output goes to its safe level all the same; one
// without stays.
func TestSafeLevelWhenTheGatewayStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "output", Safe: "on"}, Line{Mode: "output"}).open()
		s := b.dev.(drivers.Setter)
		if err := errors.Join(s.Set(t.Context(), "a", tidegate.Bool(false)), s.Set(t.Context(), "b", tidegate.Bool(true))); err != nil {
			t.Fatal(err)
		}
		b.end()
		synctest.Wait()
		if err := b.dev.Close(); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(b.pin("A").Sets(), b.pin("B").Sets()); got != "[false true] [true]" {
			t.Errorf("outputs were set to %s", got)
		}
	})
}

// TestSetWhileReadWaits is for the race detector, and for a Set that would wait for Read.
func TestSetWhileReadWaits(t *testing.T) {
	b := newBed(t, Line{Mode: "output", Safe: "off"}, Line{Mode: "counter"})
	b.pin("B").Every = 100 * time.Microsecond
	b.c.Report = 10 * time.Millisecond
	b.open()
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, _ = b.dev.Read(ctx)
		}
	}()
	start := time.Now()
	for i := range 200 {
		if err := b.dev.(drivers.Setter).Set(t.Context(), "a", tidegate.Bool(i%2 == 0)); err != nil {
			t.Error(err)
		}
		<-time.After(100 * time.Microsecond)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("200 Sets take %v", d)
	}
	cancel()
	<-ended
	if err := b.dev.Close(); err != nil {
		t.Error(err)
	}
	b.end()
}

func TestOpenRefusesAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "output", Safe: "off"}, Line{Mode: "input"})
		b.pin("B").Fail(errors.New("line is in use by \"pps\""))
		_, err := b.c.Open(t.Context(), b.h)
		if want := `open gpio line of channel b: open pin B: line is in use by "pps"`; fmt.Sprint(err) != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		b.pin("B").Fail(nil)
		b.open() // the first line was given back
		b.want("a=false | b=false")
		b.close()
	})
}

// TestF43LineGone has a chip that is removed: what was taken of other lines is told, then the device is gone at once, and opened anew it
// goes on where it was.
func TestF43LineGone(t *testing.T) {
	for name, mode := range map[string]Line{"edges": {Mode: "counter"}, "level": {Mode: "input"}, "output": {Mode: "output", Safe: "off"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, Line{Mode: "edge"}, Line{Mode: "counter"}, mode).open()
				b.read()
				b.pin("B").Change(10)
				time.AfterFunc(200*time.Millisecond, func() {
					b.pin("A").Change(1)
					b.pin("C").Fail(fmt.Errorf("chip removed: %w", drivers.ErrGone))
				})
				got := b.read()
				if !strings.HasPrefix(got, "a=true@200ms") {
					t.Errorf("got %s", got)
				}
				const want = "error: read gpio lines: chip removed: gone"
				if got = b.read(); strings.HasPrefix(got, "a=true") {
					got = b.read() // the level is looked at with the report
				}
				if got != want || time.Since(b.began) > time.Second+gap {
					t.Errorf("after %v: got %s", time.Since(b.began), got)
				}
				b.want(want)
				b.close()
				if _, err := b.c.Open(t.Context(), b.h); !errors.Is(err, drivers.ErrGone) {
					t.Errorf("opened while it is gone: %v", err)
				}
				b.pin("C").Fail(nil)
				b.open()
				if got = b.read(); !strings.Contains(got, "b=5count") {
					t.Errorf("opened anew: %s", got)
				}
				b.close()
			})
		})
	}
}

// TestOneLineFails has an error that is not the chip's end: a fault of this channel, once each report; the others go on.
func TestOneLineFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "counter"}, Line{Mode: "input"}, Line{Mode: "edge"}).open()
		defer b.close()
		b.want("a=0count | b=false | c=false")
		for _, name := range []string{"A", "B", "C"} {
			b.pin(name).Fail(errors.New("input/output error"))
		}
		all := "a: input/output error | b: input/output error | c: input/output error"
		b.want(all, all)
		if d := time.Since(b.began); d != 2*time.Second {
			t.Errorf("told twice within %v", d)
		}
		for _, name := range []string{"A", "B", "C"} {
			b.pin(name).Fail(nil)
		}
		b.want("a=0count | b=false | c=false")
	})
}

func TestReadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "edge"}).open()
		b.c.Report = time.Hour
		b.read()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := b.dev.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(b.began) != 50*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(b.began))
		}
		time.AfterFunc(time.Second/2, b.close)
		b.want("error: read gpio lines: device is closed: gone")
	})
}
