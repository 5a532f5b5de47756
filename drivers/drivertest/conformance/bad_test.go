package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// untagged is a configuration with a setting that says nothing of itself.
type untagged struct {
	Port    string        `yaml:"port" doc:"serial port"`
	Timeout time.Duration `yaml:"timeout" doc:"how long to wait"`
	Extra   int
}

func (c *untagged) thermo() *thermo { return &thermo{Port: c.Port, Timeout: c.Timeout, flaw: &flaw{}} }

func (c *untagged) Validate() []drivers.FieldError { return c.thermo().problems() }

func (c *untagged) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	return c.thermo().Open(ctx, h)
}

type (
	ask  = func(ctx context.Context, d *thermoDevice, what byte) (float64, error)
	read = func(ctx context.Context, d *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error)
)

// changed makes read's readings pass through f.
func changed(f func(r []tidegate.Reading) []tidegate.Reading) read {
	return func(_ context.Context, _ *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
		r, err := read()
		if err != nil {
			return nil, err
		}
		return f(r), nil
	}
}

// failing makes read's errors pass through f.
func failing(f func(ctx context.Context, err error) ([]tidegate.Reading, error)) read {
	return func(ctx context.Context, _ *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
		r, err := read()
		if err != nil {
			return f(ctx, err)
		}
		return r, nil
	}
}

func one(v float64) []tidegate.Reading {
	return []tidegate.Reading{{Channel: "temp", Value: tidegate.Float(v), Unit: "Cel"}}
}

// believing makes 42 of what stands in the line before the question, if it looks as isIt wants.
func believing(isIt func(b []byte) bool) ask {
	return func(ctx context.Context, d *thermoDevice, what byte) (float64, error) {
		b := make([]byte, 64)
		n := 0
		err := d.bus.Do(ctx, func(p drivers.Port) error {
			_ = p.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
			var err error
			if n, err = p.Read(b); errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
				return nil
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		if n > 16 && isIt(b[:n]) {
			return 42, nil
		}
		return d.ask(ctx, what)
	}
}

func all(c byte) func([]byte) bool {
	return func(b []byte) bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != c }) }
}

// raw asks without looking at what is left over, and hands what came to f, byte by byte with the time since the one before; done
// ends it. At the deadline f gets -1.
func raw(deadline time.Duration, f func(what byte, soFar []byte, b int, since time.Duration) (v float64, done bool, err error)) ask {
	return func(ctx context.Context, d *thermoDevice, what byte) (v float64, err error) {
		err = d.bus.Do(ctx, func(p drivers.Port) error {
			_ = p.SetReadDeadline(time.Now().Add(time.Millisecond))
			for {
				if _, err := p.Read(make([]byte, 256)); errors.Is(err, drivers.ErrGone) {
					return err
				} else if err != nil {
					break
				}
			}
			_ = p.SetReadDeadline(time.Now().Add(deadline))
			if _, err := p.Write([]byte{what, '?'}); err != nil {
				return err
			}
			var soFar []byte
			last, b := time.Now(), make([]byte, 1)
			for len(soFar) < 40 {
				n, err := p.Read(b)
				c := int(b[0])
				if n == 0 {
					if c = -1; !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
						return err
					}
				}
				var done bool
				if v, done, err = f(what, soFar, c, time.Since(last)); done || err != nil {
					return err
				}
				if c < 0 {
					return os.ErrDeadlineExceeded
				}
				soFar, last = append(soFar, b[0]), time.Now()
			}
			return errors.New("reply has no end")
		})
		return v, err
	}
}

func isWhole(reply []byte) bool { return len(reply) > 3 && reply[len(reply)-3] == '*' }

// badDrivers are the drivers that each have one thing wrong, by the name of the check that has to say so.
func badDrivers() map[string]*flaw {
	shared := []string{"x"}
	var current atomic.Pointer[thermoDevice]
	opens := map[drivers.Host]int{}
	var mu sync.Mutex
	return map[string]*flaw{
		"name": {driver: func(d *drivers.Driver) { d.Name, d.Sample = "Thermo", strings.Replace(d.Sample, "thermo", "Thermo", 1) }},
		"fresh-config": {driver: func(d *drivers.Driver) {
			fresh := d.New
			d.New = func() drivers.Config { c := fresh().(*thermo); c.List = shared; return c }
		}},
		"sample":   {driver: func(d *drivers.Driver) { d.Sample += "  tiemout: 1s\n" }},
		"texts":    {driver: func(d *drivers.Driver) { d.Channels[0].Meaning = "" }},
		"channels": {driver: func(d *drivers.Driver) { d.Channels = append(d.Channels, d.Channels[0]) }},
		"units": {driver: func(d *drivers.Driver) {
			d.Channels = append(d.Channels, drivers.Channel{Name: "way", Unit: "furlong", Meaning: "distance"})
		}},
		"settings": {driver: func(d *drivers.Driver) {
			d.New = func() drivers.Config { return &untagged{Port: "/dev/ttyUSB0", Timeout: time.Second} }
		}},
		"validate-pure": {validate: func(c *thermo) []drivers.FieldError {
			if c.Timeout == 0 {
				c.Timeout = time.Second
			}
			return c.problems()
		}},
		"field-errors": {validate: func(c *thermo) []drivers.FieldError {
			out := c.problems()
			for i := range out {
				out[i].Field = "tiemout"
			}
			return out
		}},
		"open-broken": {
			validate: func(*thermo) []drivers.FieldError { return nil },
			open: func(_ context.Context, c *thermo, _ drivers.Host, open func() (drivers.Device, error)) (drivers.Device, error) {
				if c.Timeout <= 0 {
					panic("time-out is not positive")
				}
				return open()
			},
		},
		"good-device": {read: func(ctx context.Context, _ *thermoDevice, _ func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, errors.New("no luck today")
		}},
		"outcome": {read: func(_ context.Context, _ *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
			r, err := read()
			if err == nil {
				err = errors.New("battery is low")
			}
			return r, err
		}},
		"declared":     {read: changed(func(r []tidegate.Reading) []tidegate.Reading { r[0].Unit = "K"; return r })},
		"kinds":        {read: changed(func(r []tidegate.Reading) []tidegate.Reading { r[0].Value = tidegate.Int(21); return r })},
		"finite":       {read: changed(func(r []tidegate.Reading) []tidegate.Reading { r[0].Value = tidegate.Float(math.NaN()); return r })},
		"device-blank": {read: changed(func(r []tidegate.Reading) []tidegate.Reading { r[0].Device = "hall"; return r })},
		"errors": {read: failing(func(_ context.Context, err error) ([]tidegate.Reading, error) {
			return nil, fmt.Errorf("failed to read thermometer: %w", err)
		})},
		"open-in-time": {open: func(_ context.Context, _ *thermo, _ drivers.Host, open func() (drivers.Device, error)) (drivers.Device, error) {
			<-time.After(15 * time.Second)
			return open()
		}},
		"open-done": {open: func(ctx context.Context, _ *thermo, _ drivers.Host, open func() (drivers.Device, error)) (drivers.Device, error) {
			if ctx.Err() != nil {
				panic("opened for nothing")
			}
			return open()
		}},
		"no-hardware": {read: failing(func(_ context.Context, err error) ([]tidegate.Reading, error) {
			if errors.Is(err, fs.ErrNotExist) {
				return one(0), nil
			}
			return nil, err
		})},
		"read-ends": {read: failing(func(ctx context.Context, err error) ([]tidegate.Reading, error) {
			if ctx.Err() != nil {
				return nil, errors.New("gave up")
			}
			return nil, err
		})},
		"read-done": {read: func(ctx context.Context, _ *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
			if ctx.Err() != nil {
				<-time.After(50 * time.Millisecond)
			}
			return read()
		}},
		"close-in-time": {close: func(*thermoDevice) error { <-time.After(time.Second); return nil }},
		"close-unread": {
			read: func(_ context.Context, d *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
				d.note = new(int)
				return read()
			},
			close: func(d *thermoDevice) error { *d.note.(*int)++; d.isClosed.Store(true); return nil },
		},
		"close-twice": {close: func(d *thermoDevice) error {
			if d.isClosed.Swap(true) {
				return errors.New("close thermometer: closed already")
			}
			return nil
		}},
		"read-after-close": {close: func(*thermoDevice) error { return nil }},
		"reopen": {open: func(_ context.Context, _ *thermo, h drivers.Host, open func() (drivers.Device, error)) (drivers.Device, error) {
			mu.Lock()
			defer mu.Unlock()
			if opens[h]++; opens[h] > 3 {
				return nil, errors.New("opened three times already")
			}
			return open()
		}},
		"goroutines": {open: func(ctx context.Context, _ *thermo, _ drivers.Host, open func() (drivers.Device, error)) (drivers.Device, error) {
			go func() { <-ctx.Done() }()
			return open()
		}},
		"quiet": {read: failing(func(_ context.Context, err error) ([]tidegate.Reading, error) {
			if strings.Contains(err.Error(), "no end") {
				log.Print("a bad driver writes a log")
			}
			return nil, err
		})},
		"two-devices": {
			open: func(_ context.Context, _ *thermo, _ drivers.Host, open func() (drivers.Device, error)) (drivers.Device, error) {
				d, err := open()
				if err == nil {
					current.Store(d.(*thermoDevice))
				}
				return d, err
			},
			ask: func(ctx context.Context, _ *thermoDevice, what byte) (float64, error) {
				return current.Load().ask(ctx, what)
			},
		},
		"setter": {isSetter: true, set: func(*thermoDevice, string, tidegate.Value) error { return nil }},
		"set-while-reading": {
			isSetter: true,
			read: func(_ context.Context, d *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
				d.mu.Lock()
				defer d.mu.Unlock()
				return read()
			},
			set: func(d *thermoDevice, channel string, v tidegate.Value) error {
				d.mu.Lock()
				defer d.mu.Unlock()
				return d.set(channel, v)
			},
		},
		"silence": {ask: func(ctx context.Context, d *thermoDevice, what byte) (float64, error) {
			if d.note == nil {
				seen := new(atomic.Bool)
				d.bus.Trace(func(out bool, _ []byte) {
					if !out {
						seen.Store(true)
					}
				})
				d.note = seen
			}
			v, err := d.ask(ctx, what)
			if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil && !d.note.(*atomic.Bool).Load() {
				return 0, nil
			}
			return v, err
		}},
		"garbage": {ask: believing(func(b []byte) bool {
			return slices.ContainsFunc(b, func(x byte) bool { return x > 0x7f }) && slices.ContainsFunc(b, func(x byte) bool { return x < 0x7f })
		})},
		"nul-bytes": {ask: believing(all(0))},
		"ff-bytes":  {ask: believing(all(0xff))},
		"flood":     {ask: keeping},
		"spin": {ask: func(ctx context.Context, d *thermoDevice, what byte) (v float64, err error) {
			err = d.bus.Do(ctx, func(p drivers.Port) error {
				if _, err := p.Write([]byte{what, '?'}); err != nil {
					return err
				}
				var reply []byte
				for b := make([]byte, 1); !isWhole(reply); {
					_ = p.SetReadDeadline(time.Now())
					n, err := p.Read(b)
					if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						return err
					}
					reply = append(reply, b[:n]...)
				}
				var err error
				v, err = parseReply(string(reply), what)
				return err
			})
			return v, err
		}},
		"half-frames": {ask: raw(500*time.Millisecond, func(what byte, soFar []byte, b int, _ time.Duration) (float64, bool, error) {
			if b < 0 && len(soFar) > 1 {
				v, err := number(string(soFar[1:]))
				return v, true, err
			}
			if b >= 0 && isWhole(append(soFar, byte(b))) {
				v, err := parseReply(string(append(soFar, byte(b))), what)
				return v, true, err
			}
			return 0, false, nil
		})},
		"split-reads": {ask: func(ctx context.Context, d *thermoDevice, what byte) (v float64, err error) {
			err = d.bus.Do(ctx, func(p drivers.Port) error {
				_ = p.SetReadDeadline(time.Now().Add(d.c.Timeout))
				if _, err := p.Write([]byte{what, '?'}); err != nil {
					return err
				}
				b := make([]byte, 64)
				n, err := p.Read(b)
				if err == nil {
					v, err = parseReply(string(b[:n]), what)
				}
				return err
			})
			return v, err
		}},
		"slow-bytes": {ask: raw(5*time.Second, func(what byte, soFar []byte, b int, since time.Duration) (float64, bool, error) {
			if b >= 0 && since > 600*time.Millisecond && len(soFar) > 1 {
				v, err := number(string(soFar[1:]))
				return v, true, err
			}
			if b >= 0 && isWhole(append(soFar, byte(b))) {
				v, err := parseReply(string(append(soFar, byte(b))), what)
				return v, true, err
			}
			return 0, false, nil
		})},
		"noise-before-frames": {ask: raw(500*time.Millisecond, func(what byte, soFar []byte, b int, _ time.Duration) (float64, bool, error) {
			if b < 0 || !isWhole(append(soFar, byte(b))) {
				return 0, false, nil
			}
			if soFar[0] == 0 && soFar[2] == 0xff {
				return float64(soFar[1]) + 1000, true, nil
			}
			v, err := parseReply(string(append(soFar, byte(b))), what)
			return v, true, err
		})},
		"flipped-bits": {anyFrame: func(reply string, what byte) (float64, error) {
			text, _, _ := strings.Cut(reply, "*")
			if text == "" || text[0] != what {
				return 0, errors.New("reply is of another kind")
			}
			return number(text[1:])
		}},
		"late-replies": {anyFrame: func(reply string, _ byte) (float64, error) {
			if reply[0] != 't' && reply[0] != 'h' {
				return 0, errors.New("reply is of another kind")
			}
			return parseReply(reply, reply[0])
		}},
		"double-frames": {ask: doubleFrames},
		"unplug": {read: failing(func(ctx context.Context, err error) ([]tidegate.Reading, error) {
			if errors.Is(err, drivers.ErrGone) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, err
		})},
		"recovery": {read: func(_ context.Context, d *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
			if d.note != nil {
				return nil, errors.New("reply was wrong once")
			}
			r, err := read()
			if err != nil && !errors.Is(err, drivers.ErrGone) {
				d.note = true
			}
			return r, err
		}},
		"replug": {read: func(_ context.Context, d *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
			if d.note != nil {
				return nil, errors.New("port is lost")
			}
			r, err := read()
			if errors.Is(err, drivers.ErrGone) {
				d.note = true
				return nil, errors.New("port is lost")
			}
			return r, err
		}},
	}
}

// keeping keeps all that ever came.
func keeping(ctx context.Context, d *thermoDevice, what byte) (float64, error) {
	kept, _ := d.note.([]byte)
	err := d.bus.Do(ctx, func(p drivers.Port) error {
		b := make([]byte, 4096)
		_ = p.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		for {
			n, err := p.Read(b)
			kept = append(kept, b[:n]...)
			if err != nil || ctx.Err() != nil {
				return err
			}
		}
	})
	d.note = kept
	if !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
		return 0, err
	}
	return d.ask(ctx, what)
}

// doubleFrames takes what stands in the line right after the last reply for the next one.
func doubleFrames(ctx context.Context, d *thermoDevice, what byte) (float64, error) {
	last, _ := d.note.(time.Time)
	if !last.IsZero() && time.Since(last) == 0 {
		b, n := make([]byte, 64), 0
		err := d.bus.Do(ctx, func(p drivers.Port) (err error) {
			_ = p.SetReadDeadline(time.Now().Add(time.Millisecond))
			if n, err = p.Read(b); errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
				return nil
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		if isWhole(b[:n]) {
			return parseReply(string(b[:n]), b[0])
		}
	}
	v, err := d.ask(ctx, what)
	d.note = time.Now()
	return v, err
}

// TestFurtherBadDrivers has what a check finds besides that of its bad driver above.
func TestFurtherBadDrivers(t *testing.T) {
	oneAnswer := func(ctx context.Context, d *thermoDevice, _ func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
		if d.isClosed.Load() {
			return nil, errors.New("read thermometer: closed")
		}
		v, err := d.ask(ctx, 't')
		if err != nil {
			return nil, err
		}
		return one(v), nil
	}
	for _, c := range []struct {
		what, check, want string
		bad               *flaw
	}{
		{
			"its one answer is left in the line", "late-replies", "has 1 values: those that it sent too late",
			&flaw{noDrop: true, read: oneAnswer},
		},
		{"no deadline", "silence", "Read waits for an answer until its ctx is done", &flaw{noDeadline: true}},
		{"neither", "kinds", "reading of temp has neither a Value nor a Fault", &flaw{read: changed(func(r []tidegate.Reading) []tidegate.Reading {
			r[0].Value = tidegate.Value{}
			return r
		})}},
		{
			"no device", "outcome", "Open returns no device and no error",
			&flaw{open: func(context.Context, *thermo, drivers.Host, func() (drivers.Device, error)) (drivers.Device, error) {
				return nil, nil
			}},
		},
		{"sleeps", "read-ends", "Read goes on for more than 151ms", &flaw{
			read: func(ctx context.Context, _ *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error) {
				r, err := read()
				if err == nil {
					<-time.After(200 * time.Millisecond)
				}
				return r, err
			},
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			x := examine(t, thermoDriver(c.bad), Options{Far: goodThermo})
			if len(x.found) != 1 || !strings.Contains(strings.Join(x.found[c.check], "; "), c.want) {
				t.Errorf("got %v, want %s of %s only", x.found, c.want, c.check)
			}
		})
	}
}

func TestEachBadDriverIsCaughtByItsCheck(t *testing.T) {
	bad := badDrivers()
	for _, c := range Checks() {
		f := bad[c.Name]
		if f == nil {
			t.Errorf("no bad driver proves check %s", c.Name)
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			x := examine(t, thermoDriver(f), Options{Far: goodThermo})
			if len(x.found) != 1 || len(x.found[c.Name]) == 0 {
				t.Errorf("got findings %v, want some of %s only", x.found, c.Name)
			}
		})
	}
}

// TestFindings compares the texts of a few findings: they are what an author works with.
func TestFindings(t *testing.T) {
	bad := badDrivers()
	for name, want := range map[string]string{
		"sample":     "decode sample:",
		"nul-bytes":  "temp is 42, and there is no device",
		"goroutines": "1 are left after Close",
		"kinds":      "during good-device: value of temp is a tidegate.Int, declared is KindFloat",
	} {
		x := examine(t, thermoDriver(bad[name]), Options{Far: goodThermo})
		if len(x.found[name]) == 0 || !strings.Contains(x.found[name][0], want) {
			t.Errorf("%s: got %v, want %q", name, x.found[name], want)
		}
	}
}
