package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// thermo is a good driver: it asks "t?" and "h?", and gets "t21.5*SS", where SS is the sum of the bytes before the star.
// The flaws make a bad one of it.
type thermo struct {
	Port    string        `yaml:"port" doc:"serial port"`
	Timeout time.Duration `yaml:"timeout" doc:"how long to wait for an answer, 10ms to 1m"`
	List    []string      `yaml:"list" doc:"not used"`

	flaw *flaw
}

// A flaw is what a bad driver does otherwise.
type flaw struct {
	driver   func(d *drivers.Driver)
	validate func(c *thermo) []drivers.FieldError
	open     func(ctx context.Context, c *thermo, h drivers.Host, open func() (drivers.Device, error)) (drivers.Device, error)
	read     func(ctx context.Context, d *thermoDevice, read func() ([]tidegate.Reading, error)) ([]tidegate.Reading, error)
	ask      func(ctx context.Context, d *thermoDevice, what byte) (float64, error)
	set      func(d *thermoDevice, channel string, v tidegate.Value) error
	close    func(d *thermoDevice) error
	anyFrame func(reply string, what byte) (float64, error) // parses instead of parse
	isSetter bool
	noDrop   bool // leaves what stands in the line before it asks

	noDeadline bool // waits for the answer until ctx is done
}

func thermoDriver(f *flaw) drivers.Driver {
	d := drivers.Driver{
		Name: "thermo", Doc: "Reads thermometers that answer t? and h? on a serial line.", Every: time.Second,
		Channels: []drivers.Channel{
			{Name: "temp", Kind: tidegate.KindFloat, Unit: "Cel", Meaning: "temperature of the air"},
			{Name: "hum", Kind: tidegate.KindFloat, Unit: "%RH", Meaning: "humidity of the air"},
		},
		New:    func() drivers.Config { return &thermo{Port: "/dev/ttyUSB0", Timeout: time.Second, flaw: f} },
		Sample: "- name: hall\n  driver: thermo\n  every: 2s\n  port: /dev/ttyUSB0\n  timeout: 500ms\n",
	}
	if f.isSetter {
		d.Channels = append(d.Channels, drivers.Channel{Name: "relay", Kind: tidegate.KindBool, Meaning: "heating", Output: true})
	}
	if f.driver != nil {
		f.driver(&d)
	}
	return d
}

func (c *thermo) Validate() []drivers.FieldError {
	if c.flaw.validate != nil {
		return c.flaw.validate(c)
	}
	return c.problems()
}

func (c *thermo) problems() []drivers.FieldError {
	var out []drivers.FieldError
	if c.Port == "" {
		out = append(out, drivers.FieldError{Field: "port", Problem: "is empty"})
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > time.Minute {
		out = append(out, drivers.FieldError{Field: "timeout", Problem: "want 10ms to 1m", Got: c.Timeout.String()})
	}
	return out
}

type thermoDevice struct {
	c        *thermo
	bus      *drivers.Bus
	isClosed atomic.Bool
	relay    atomic.Bool
	note     any        // for flaws
	mu       sync.Mutex // for flaws
}

func (c *thermo) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	open := func() (drivers.Device, error) {
		b, err := h.Serial(ctx, drivers.Serial{Port: c.Port, Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"})
		if err != nil {
			return nil, err
		}
		d := &thermoDevice{c: c, bus: b}
		if c.flaw.isSetter {
			return &thermoSetter{d}, nil
		}
		return d, nil
	}
	if c.flaw.open != nil {
		return c.flaw.open(ctx, c, h, open)
	}
	return open()
}

type thermoSetter struct{ *thermoDevice }

func (d *thermoSetter) Set(_ context.Context, channel string, v tidegate.Value) error {
	if d.c.flaw.set != nil {
		return d.c.flaw.set(d.thermoDevice, channel, v)
	}
	return d.set(channel, v)
}

func (d *thermoDevice) set(channel string, v tidegate.Value) error {
	b, ok := v.Bool()
	switch {
	case channel != "relay":
		return fmt.Errorf("set %s: no such output", channel)
	case !ok:
		return fmt.Errorf("set relay: got %v, want yes/no", v.Kind())
	}
	d.relay.Store(b)
	return nil
}

func (d *thermoDevice) Close() error {
	if d.c.flaw.close != nil {
		return d.c.flaw.close(d)
	}
	d.isClosed.Store(true)
	return nil
}

func (d *thermoDevice) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.c.flaw.read != nil {
		return d.c.flaw.read(ctx, d, func() ([]tidegate.Reading, error) { return d.read(ctx) })
	}
	return d.read(ctx)
}

func (d *thermoDevice) read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.isClosed.Load() {
		return nil, errors.New("read thermometer: closed")
	}
	ask := d.ask
	if d.c.flaw.ask != nil {
		ask = func(ctx context.Context, what byte) (float64, error) { return d.c.flaw.ask(ctx, d, what) }
	}
	t, err := ask(ctx, 't')
	if err != nil {
		return nil, err
	}
	h, err := ask(ctx, 'h')
	if err != nil {
		return nil, err
	}
	out := []tidegate.Reading{{Channel: "temp", Value: tidegate.Float(t), Unit: "Cel"}, {Channel: "hum", Value: tidegate.Float(h), Unit: "%RH"}}
	if d.c.flaw.isSetter {
		out = append(out, tidegate.Reading{Channel: "relay", Value: tidegate.Bool(d.relay.Load())})
	}
	return out, nil
}

// ask asks for one value: it drops what is left in the line, writes the question, and reads up to the checksum.
func (d *thermoDevice) ask(ctx context.Context, what byte) (v float64, err error) {
	err = d.bus.Do(ctx, func(p drivers.Port) error {
		reply, err := d.exchange(p, what)
		if err != nil {
			return err
		}
		parse := parseReply
		if d.c.flaw.anyFrame != nil {
			parse = d.c.flaw.anyFrame
		}
		v, err = parse(reply, what)
		return err
	})
	return v, err
}

func (d *thermoDevice) exchange(p drivers.Port, what byte) (string, error) {
	if !d.c.flaw.noDrop {
		_ = p.SetReadDeadline(time.Now().Add(time.Millisecond))
		for n := 0; n < 1000; n++ {
			if _, err := p.Read(make([]byte, 256)); errors.Is(err, drivers.ErrGone) {
				return "", err
			} else if err != nil {
				break
			}
		}
	}
	_ = p.SetReadDeadline(time.Now().Add(d.c.Timeout))
	if d.c.flaw.noDeadline {
		_ = p.SetReadDeadline(time.Time{})
	}
	if _, err := p.Write([]byte{what, '?'}); err != nil {
		return "", err
	}
	var reply []byte
	b := make([]byte, 1)
	for len(reply) < 3 || reply[len(reply)-3] != '*' {
		if len(reply) > 32 {
			return "", errors.New("reply has no end")
		}
		if _, err := io.ReadFull(p, b); err != nil {
			return "", err
		}
		reply = append(reply, b[0])
	}
	return string(reply), nil
}

func parseReply(reply string, what byte) (float64, error) {
	text, sum, _ := strings.Cut(reply, "*")
	if want := checksum(text); sum != want {
		return 0, fmt.Errorf("checksum is %q, want %q", sum, want)
	}
	if text == "" || text[0] != what {
		return 0, fmt.Errorf("reply is %q, want one that begins with %q", text, what)
	}
	return number(text[1:])
}

func number(s string) (float64, error) {
	if strings.Trim(s, "-0123456789.") != "" {
		return 0, fmt.Errorf("value is %q, want a number", s)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("value is %q, want a number", s)
	}
	return v, nil
}

func checksum(s string) string {
	var sum byte
	for _, c := range []byte(s) {
		sum = sum*31 + c
	}
	return fmt.Sprintf("%02x", sum)
}

// goodThermo is a machine with a thermometer.
func goodThermo(h *drivertest.Host) {
	h.Ports = map[string]drivertest.Opener{"/dev/ttyUSB0": drivertest.Answers(func(request []byte) []byte {
		switch {
		case bytes.Equal(request, []byte("t?")):
			return []byte("t21.5*" + checksum("t21.5"))
		case bytes.Equal(request, []byte("h?")):
			return []byte("h40.25*" + checksum("h40.25"))
		}
		return nil
	})}
}

func TestGoodDriverPasses(t *testing.T) {
	for name, f := range map[string]*flaw{"reader": {}, "setter": {isSetter: true}} {
		t.Run(name, func(t *testing.T) { Run(t, thermoDriver(f), Options{Far: goodThermo}) })
	}
}
