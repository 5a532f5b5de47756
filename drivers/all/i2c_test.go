package all

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"periph.io/x/conn/v3/i2c"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/session"
)

// on makes h a machine with the part p at addr of every I2C bus.
func on(h *drivertest.Host, addr uint16, p *drivertest.I2CPart) {
	h.I2CBuses = map[string]i2c.Bus{drivertest.Any: &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{addr: p}}}
}

// ads1115 has 2 V on all inputs at its usual range, and is done as soon as it is asked.
func ads1115(h *drivertest.Host) {
	on(h, 0x48, &drivertest.I2CPart{Held: map[byte][]byte{0: {0x3e, 0x80}, 1: {0x85, 0x83}}})
}

// bme280Part converts to 25.08 Cel, 1006.53 hPa and 47.91 %RH.
func bme280Part(h *drivertest.Host) {
	on(h, 0x76, &drivertest.I2CPart{
		Held: map[byte][]byte{
			0x88: {
				0x70, 0x6b, 0x43, 0x67, 0x18, 0xfc, 0x7d, 0x8e, 0x43, 0xd6, 0xd0, 0x0b, 0x27, 0x0b, 0x8c, 0x00, 0xf9, 0xff, 0x8c, 0x3c, 0xf8, 0xc6, 0x70, 0x17,
				0, 75,
			},
			0xd0: {0x60}, 0xe1: {0x6a, 0x01, 0x00, 0x14, 0x0d, 0x03, 0x1e},
			0xf2: {0}, 0xf3: {0}, 0xf4: {0}, 0xf5: {0}, 0xf7: {0x80, 0, 0, 0x80, 0, 0, 0x80, 0},
		},
		Wrote: func(p *drivertest.I2CPart, register byte, b []byte) {
			if register == 0xf4 && b[0]&3 == 1 {
				p.Held[0xf4] = []byte{b[0] &^ 3}
				p.Held[0xf7] = []byte{0x65, 0x5a, 0xc0, 0x7e, 0xed, 0x00, 0x75, 0x30}
			}
		},
	})
}

// tmp105 has 23.5 Cel.
func tmp105(h *drivertest.Host) {
	on(h, 0x48, &drivertest.I2CPart{Held: map[byte][]byte{0: {0x17, 0x80}, 1: {0}, 2: {0x4b, 0}, 3: {0x50, 0}}})
}

// ina219Part has 12 V and 123.4 mV on its shunt.
func ina219Part(h *drivertest.Host) {
	on(h, 0x40, &drivertest.I2CPart{Held: map[byte][]byte{0: {0x39, 0x9f}, 1: {0x30, 0x34}, 2: {0x5d, 0xc2}, 3: {0, 0}, 4: {0, 0}, 5: {0, 0}}})
}

// fakeRemark stands at the head of sessions that no hardware was part of.
const fakeRemark = `Driver %s, two Reads of its sample, and one with the part taken away.
NOT a recording of hardware: the far end is the fake part of drivers/all/i2c_test.go, written from the data sheet.
It shows what goes over the bus, and notices when that changes.`

// TestI2CSessions replays to the I2C drivers what was recorded of fake parts, and compares what they report and what they ask.
func TestI2CSessions(t *testing.T) {
	for name, want := range map[string]string{
		"ads1x15": "battery=11.4 V, level=0.75 m, bridge=0.125 V <nil>",
		"bme280":  "temperature=25.08 Cel, pressure=1006.53 hPa, humidity=47.91 %RH <nil>",
		"i2cmap":  "temperature=23.5 Cel <nil>",
		"ina219":  "voltage=12 V, current=1.234 A, power=14.808 W, shunt_voltage=0.1234 V <nil>",
	} {
		path := filepath.Join("../../testdata/sessions", name, "fake.session")
		if *record {
			synctest.Test(t, func(t *testing.T) { recordFake(t, name, path) })
		}
		synctest.Test(t, func(t *testing.T) {
			p, err := session.File(path)
			if err != nil {
				t.Fatal(err)
			}
			got := readSample(t, name, p.Host, func() {})
			if got[0] != want || got[1] != want || len(got[2]) < 2 || got[2][0] != ' ' {
				t.Errorf("got %q, want twice %q and an error", got, want)
			}
			if err := p.Close(); err != nil {
				t.Errorf("%v; if the driver now asks otherwise on purpose, record anew: go test ./drivers/all -run TestI2CSessions -record", err)
			}
		})
	}
}

// readSample reads the device of the driver's sample twice, and once after away was called.
func readSample(t *testing.T, name string, h drivers.Host, away func()) []string {
	t.Helper()
	var out []string
	for _, d := range Drivers() {
		if d.Name != name {
			continue
		}
		f, err := parser.ParseBytes([]byte(d.Sample), 0)
		if err != nil {
			t.Fatal(err)
		}
		block := f.Docs[0].Body.(*ast.MappingNode)
		block.Values = block.Values[2:] // name and driver are the agent's
		c := d.New()
		if err := yaml.NodeToValue(block, c); err != nil {
			t.Fatal(err)
		}
		dev, err := c.Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if i == 2 {
				away()
			}
			rs, err := dev.Read(t.Context())
			out = append(out, fmt.Sprintf("%s %v", show(rs), err))
			time.Sleep(d.Every)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
	return out
}

// recordFake writes the session file.
func recordFake(t *testing.T, name, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	h := &drivertest.Host{}
	machines()[name].Far(h)
	r := session.Record(h, f, fmt.Sprintf(fakeRemark, name))
	readSample(t, name, r, func() {
		clear(h.I2CBuses[drivertest.Any].(*drivertest.I2CBus).Parts)
	})
	if err := errors.Join(r.Err(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
