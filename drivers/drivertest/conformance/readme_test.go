package conformance

import (
	"bytes"
	"context"
	"fmt"
	"go/format"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// What follows is the driver that drivers/README.md writes: its code blocks stand here word for word.

// Driver reads ultrasonic level gauges of the kind that answers "R" with "R" and four digits.
var Driver = drivers.Driver{
	Name: "level",
	Doc: `Reads ultrasonic level gauges that answer "R" on a serial port (9600 8N1) with the distance in millimetres.
Needs a serial port of its own. Does not set the gauge's address.`,
	Channels: []drivers.Channel{
		{Name: "distance", Kind: tidegate.KindFloat, Unit: "m", Meaning: "from the gauge to the surface, 0.3 to 5"},
	},
	Every: time.Second,
	New:   func() drivers.Config { return &Config{Timeout: 500 * time.Millisecond} },
	Sample: `- name: tank
  driver: level
  port: /dev/serial/by-id/usb-FTDI_FT232R-if00-port0
`,
}

// Config is what the user sets for one gauge.
type Config struct {
	Port    string        `yaml:"port" doc:"serial port, best by its lasting name under /dev/serial/by-id"`
	Timeout time.Duration `yaml:"timeout" doc:"how long to wait for the answer, 50ms to 10s"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	var out []drivers.FieldError
	if c.Port == "" {
		out = append(out, drivers.FieldError{Field: "port", Problem: "is empty", Hint: "see ls /dev/serial/by-id"})
	}
	if c.Timeout < 50*time.Millisecond || c.Timeout > 10*time.Second {
		out = append(out, drivers.FieldError{Field: "timeout", Got: c.Timeout.String(), Problem: "want 50ms to 10s"})
	}
	return out
}

// Open asks for the port; the gauge need not be there yet.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	bus, err := h.Serial(ctx, drivers.Serial{Port: c.Port, Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"})
	if err != nil {
		return nil, fmt.Errorf("open level gauge: %w", err)
	}
	return &gauge{bus: bus, timeout: c.Timeout}, nil
}

type gauge struct {
	bus      *drivers.Bus
	timeout  time.Duration
	isClosed bool
}

// Read asks for the distance once.
func (g *gauge) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if g.isClosed {
		return nil, fmt.Errorf("read level gauge: closed")
	}
	var frame string
	err := g.bus.Do(ctx, func(p drivers.Port) (err error) {
		frame, err = g.ask(p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read level gauge: %w", err)
	}
	r := tidegate.Reading{Channel: "distance", Unit: "m"}
	var mm int
	if _, err := fmt.Sscanf(frame, "R%04d\r", &mm); err != nil || len(frame) != 6 {
		return nil, fmt.Errorf("read level gauge: got %q, want R and four digits", frame)
	}
	if mm < 300 || mm > 5000 { // data sheet, "Range": 9999 = no echo
		r.Fault = fmt.Sprintf("distance is %d mm, want 300 to 5000: no echo?", mm)
	} else {
		r.Value = tidegate.Float(float64(mm) / 1000)
	}
	return []tidegate.Reading{r}, nil
}

// ask returns the gauge's answer up to its carriage return.
func (g *gauge) ask(p drivers.Port) (string, error) {
	if err := drivers.Drop(p, time.Millisecond); err != nil {
		return "", err
	}
	if _, err := p.Write([]byte("R")); err != nil {
		return "", err
	}
	if err := p.SetReadDeadline(time.Now().Add(g.timeout)); err != nil {
		return "", err
	}
	var frame []byte
	for b := make([]byte, 1); !bytes.HasSuffix(frame, []byte("\r")); frame = append(frame, b[0]) {
		if len(frame) > 6 {
			return "", fmt.Errorf("answer has no end: %q", frame)
		}
		if _, err := p.Read(b); err != nil {
			return "", err
		}
	}
	return string(frame), nil
}

// Close ends the use of the gauge; the port is the Host's.
func (g *gauge) Close() error {
	g.isClosed = true
	return nil
}

func TestRead(t *testing.T) {
	for answer, want := range map[string]string{
		"R1234\r":  "distance=1.234 m",
		"R9999\r":  "distance!distance is 9999 mm, want 300 to 5000: no echo?",
		"1234\r":   `error: read level gauge: got "1234\r", want R and four digits`,
		"R1234567": `error: read level gauge: bus /dev/ttyUSB0: answer has no end: "R123456"`,
		"R12":      "error: read level gauge: bus /dev/ttyUSB0: i/o timeout",
	} {
		t.Run(answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &drivertest.Host{Ports: map[string]drivertest.Opener{
					"/dev/ttyUSB0": drivertest.Answers(func([]byte) []byte { return []byte(answer) }),
				}}
				c := Driver.New().(*Config)
				c.Port = "/dev/ttyUSB0"
				d, err := c.Open(t.Context(), h)
				if err != nil {
					t.Fatal(err)
				}
				if got := drivertest.Show(d.Read(t.Context())); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		})
	}
}

func TestConformance(t *testing.T) {
	Run(t, Driver, Options{
		IsUnchecked: true, // the gauge's answers have no checksum
		Far: func(h *drivertest.Host) {
			h.Ports = map[string]drivertest.Opener{
				drivertest.Any: drivertest.Answers(func([]byte) []byte { return []byte("R1234\r") }),
			}
		},
	})
}

// TestReadmeIsTrue finds every Go block of drivers/README.md in this file or in the one about I2C, but for one: the program out of tree, which
// is built and run where it stands. It finds every check in the list, too.
func TestReadmeIsTrue(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("../../../testdata/outoftree/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(readme, []byte("```go\n"+string(program)+"```\n")); n != 1 {
		t.Errorf("testdata/outoftree/main.go stands %d times in README, want once, whole", n)
	}
	ofI2C, err := os.ReadFile("readme_i2c_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) < 8 {
		t.Fatalf("%d Go blocks found, want at least 8", len(blocks))
	}
	for _, b := range blocks {
		if bytes.Equal(b[1], program) {
			continue
		}
		formatted, err := format.Source(b[1])
		if err != nil {
			t.Fatalf("%v: %s", err, b[1])
		}
		here := strings.NewReplacer("conformance.Run", "Run", "conformance.Options", "Options").Replace(string(formatted))
		if !bytes.Contains(source, []byte(here)) && !bytes.Contains(ofI2C, formatted) {
			t.Errorf("not in readme_test.go nor readme_i2c_test.go: %s", formatted)
		}
	}
	for _, c := range Checks() {
		if row := fmt.Sprintf("| %s | %s |\n", c.Name, c.Remedy); !bytes.Contains(readme, []byte(row)) {
			t.Errorf("README lacks, or has otherwise: %s", row)
		}
	}
}
