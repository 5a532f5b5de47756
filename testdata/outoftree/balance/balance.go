// Package balance reads balances and scales of Mettler-Toledo that have the Standard Interface Command Set MT-SICS, level 0, on an RS-232
// port or behind an adapter: command SI, the weight at once, be it stable or not. Wiring is the balance's RS-232 cable; in the balance's menu the
// interface is set to host (not print), 8 data bits, no parity, 1 stop bit, no handshake, end of line CR LF.
//
// Not served: tare and zero, which belong to whoever stands at the balance, and units other than mg, g, kg and t. An answer has no checksum: a
// digit that the line turns into another one is not noticed. A balance that is switched off says nothing; one in standby may answer S I.
//
// Sources: operating instructions of the New Classic balances, "MT-SICS interface commands and functions" (answers S S, S I, S +, S -; the
// whole set is in reference manual 11780711); for SI, S D, ES, ET and EL what InstrumentKit's driver mettler_toledo/mt_sics.py takes for an answer.
package balance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Driver reads the weight from balances that speak MT-SICS.
var Driver = drivers.Driver{
	Name: "balance",
	Doc: `Balances and scales of Mettler-Toledo that speak MT-SICS on a serial port (8N1): weight and whether it is stable.
Set the balance's interface to host mode, end of line CR LF. Does not tare and does not zero.`,
	Channels: []drivers.Channel{
		{Name: "weight", Kind: tidegate.KindFloat, Unit: "kg", Meaning: "net weight, whatever of mg, g, kg and t the balance shows"},
		{Name: "stable", Kind: tidegate.KindBool, Meaning: "the balance has come to rest"},
	},
	Every: time.Second,
	New:   func() drivers.Config { return &Config{Baud: 9600, Timeout: time.Second} },
	Sample: `- name: scale
  driver: balance
  port: /dev/serial/by-id/usb-FTDI_FT232R-if00-port0
`,
}

// Config is what the user sets for one balance.
type Config struct {
	Port    string        `yaml:"port" doc:"serial port, best by its lasting name under /dev/serial/by-id"`
	Baud    int           `yaml:"baud" doc:"speed in bit/s, as in the balance's menu: 1200 to 38400"`
	Timeout time.Duration `yaml:"timeout" doc:"how long to wait for an answer, 100ms to 10s"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() (out []drivers.FieldError) {
	if c.Port == "" {
		out = append(out, drivers.FieldError{Field: "port", Problem: "is empty", Hint: "see ls /dev/serial/by-id"})
	}
	if !slices.Contains([]int{1200, 2400, 4800, 9600, 19200, 38400}, c.Baud) {
		out = append(out, drivers.FieldError{Field: "baud", Got: strconv.Itoa(c.Baud), Problem: "want 1200, 2400, 4800, 9600, 19200 or 38400"})
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 10*time.Second {
		out = append(out, drivers.FieldError{Field: "timeout", Got: c.Timeout.String(), Problem: "want 100ms to 10s"})
	}
	return out
}

// Open asks for the port; the balance need not be there yet.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	bus, err := h.Serial(ctx, drivers.Serial{Port: c.Port, Baud: c.Baud, DataBits: 8, Parity: "none", StopBits: "1"})
	if err != nil {
		return nil, fmt.Errorf("open balance: %w", err)
	}
	return &device{bus: bus, timeout: c.Timeout}, nil
}

type device struct {
	bus      *drivers.Bus
	timeout  time.Duration
	isClosed bool
}

// Read asks for the weight once.
func (d *device) Read(ctx context.Context) (list []tidegate.Reading, err error) {
	if d.isClosed {
		return nil, errors.New("read balance: closed")
	}
	var line []byte
	err = d.bus.Do(ctx, func(p drivers.Port) (err error) {
		line, err = d.ask(p)
		return err
	})
	if err == nil {
		list, err = decode(string(line))
	}
	if err != nil {
		return nil, fmt.Errorf("read balance: %w", err)
	}
	return list, nil
}

// maxLine is more than any answer to SI has, in bytes.
const maxLine = 40

// ask sends SI and returns the answer without its end of line.
func (d *device) ask(p drivers.Port) ([]byte, error) {
	if err := drivers.Drop(p, time.Millisecond); err != nil { // an answer that came too late is not the one to this question
		return nil, err
	}
	if _, err := p.Write([]byte("SI\r\n")); err != nil {
		return nil, err
	}
	if err := p.SetReadDeadline(time.Now().Add(d.timeout)); err != nil {
		return nil, err
	}
	var line []byte
	for b := make([]byte, 1); !bytes.HasSuffix(line, []byte("\r\n")); line = append(line, b[0]) {
		if len(line) == maxLine {
			return nil, fmt.Errorf("answer has no end: %q; look at speed and end of line (CR LF) in the balance's menu", line)
		}
		if _, err := p.Read(b); err != nil {
			return nil, err
		}
	}
	return bytes.TrimSuffix(line, []byte("\r\n")), nil
}

// weighed is an answer with a weight: stable (S) or dynamic (D), the value behind as many spaces as it leaves free, the unit.
var weighed = regexp.MustCompile(`^S ([SD]) +(-?[0-9]{1,9}(?:\.[0-9]{1,9})?) ([A-Za-z%]{1,5})$`)

// perKilogram is how many of a unit are a kilogram.
var perKilogram = map[string]float64{"mg": 1e6, "g": 1e3, "kg": 1, "t": 1e-3}

// decode returns what the balance's answer to SI means.
func decode(line string) ([]tidegate.Reading, error) {
	weight, stable := tidegate.Reading{Channel: "weight", Unit: "kg"}, tidegate.Reading{Channel: "stable"}
	switch line {
	case "S +":
		weight.Fault = "overload: more is on the balance than it can weigh"
		stable.Fault = weight.Fault
		return []tidegate.Reading{weight, stable}, nil
	case "S -":
		weight.Fault = "underload: less than nothing is on the balance; is its pan in place?"
		stable.Fault = weight.Fault
		return []tidegate.Reading{weight, stable}, nil
	case "S I":
		return nil, errors.New("the balance cannot weigh now (got S I): it tares, adjusts itself or starts; wait, or look at its display")
	case "S L", "ES", "ET", "EL":
		return nil, fmt.Errorf("the balance refuses command SI (got %s): look at parity and speed, and whether it has MT-SICS", line)
	}
	m := weighed.FindStringSubmatch(line)
	if m == nil {
		return nil, fmt.Errorf("got %q, want S S or S D, a number and a unit", line)
	}
	stable.Value = tidegate.Bool(m[1] == "S")
	value, err := strconv.ParseFloat(m[2], 64)
	if err != nil {
		return nil, fmt.Errorf("decode weight: %w", err)
	}
	if per := perKilogram[m[3]]; per == 0 {
		weight.Fault = fmt.Sprintf("the balance weighs in %s, want mg, g, kg or t: set unit 1 in its menu", m[3])
	} else {
		weight.Value = tidegate.Float(value / per)
	}
	return []tidegate.Reading{weight, stable}, nil
}

// Close ends the use of the balance; the port is the Host's.
func (d *device) Close() error {
	d.isClosed = true
	return nil
}
