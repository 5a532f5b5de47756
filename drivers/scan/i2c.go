package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"periph.io/x/conn/v3/i2c"

	"github.com/tidegate-io/tidegate/drivers"
)

// An I2CBus is a bus and what answered there.
type I2CBus struct {
	Bus     string    `json:"bus"`               // the kernel's number, as in /dev/i2c-1
	Adapter string    `json:"adapter,omitempty"` // as the kernel calls it
	Problem string    `json:"problem,omitempty"` // why it was not looked at, or not to the end
	Parts   []I2CPart `json:"parts"`             // by address
	Skipped []Skipped `json:"skipped,omitempty"` // addresses that were left alone
}

// An I2CPart is an address that answered.
type I2CPart struct {
	Address string   `json:"address"`          // "0x76"
	Likely  []string `json:"likely,omitempty"` // parts that can have it, of those that there are drivers for
	IsSure  bool     `json:"sure,omitempty"`   // it has said so itself
	Kernel  string   `json:"kernel,omitempty"` // the kernel's driver that has it: leave it alone
	Block   string   `json:"block,omitempty"`  // for the configuration
}

// Skipped is an address that was left alone.
type Skipped struct {
	Address string `json:"address"`
	Why     string `json:"why"`
}

// alone are addresses at which even reading can change something.
func alone() map[uint16]string {
	return map[uint16]string{
		0x0c: "reading there acknowledges an SMBus alert",
		0x69: "clock generators of mainboards hang when they are read there",
	}
}

// foreign are words in names of adapters that belong to a mainboard or a monitor.
func foreign() []string { return []string{"SMBus", "DDC", "gmbus", "DPMST", "AUX", "HDMI", "NVIDIA"} }

// i2c looks at all buses.
func (m *Machine) i2c(ctx context.Context) []I2CBus {
	names, _ := fs.Glob(m.Host.Files(), "sys/class/i2c-dev/i2c-*") // its one error is of the pattern
	slices.SortFunc(names, natural)
	var out []I2CBus
	for _, name := range names {
		b := I2CBus{Bus: strings.TrimPrefix(path.Base(name), "i2c-"), Adapter: text(m.Host.Files(), path.Join(name, "name")), Parts: []I2CPart{}}
		isForeign := func(word string) bool { return strings.Contains(b.Adapter, word) }
		switch {
		case slices.ContainsFunc(foreign(), isForeign):
			b.Problem = "left alone: it belongs to the mainboard or a monitor"
		case !m.may("/dev/i2c-" + b.Bus):
			b.Problem = "permission denied; put this user into the group: sudo usermod -aG i2c USER, then log in again"
		default:
			m.doing("looking at I2C bus %s", b.Bus)
			m.look(ctx, &b)
		}
		out = append(out, b)
	}
	return out
}

// failuresMost is how many addresses in a row may fail otherwise than by not answering, before the bus is given up.
const failuresMost = 3

// look asks each address of b for one byte.
func (m *Machine) look(ctx context.Context, b *I2CBus) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bus, err := m.Host.I2C(ctx, b.Bus)
	if err != nil {
		b.Problem = err.Error()
		return
	}
	failures := 0
	for a := uint16(drivers.FirstI2C); a <= drivers.LastI2C && ctx.Err() == nil; a++ {
		if why, ok := alone()[a]; ok {
			b.Skipped = append(b.Skipped, Skipped{hex(a), why})
			continue
		}
		if kernel := m.kernelDriver(b.Bus, a); kernel != "" {
			b.Parts = append(b.Parts, I2CPart{Address: hex(a), Kernel: kernel})
			continue
		}
		err := bus.Tx(a, nil, make([]byte, 1))
		switch {
		case err == nil:
			failures = 0
			b.Parts = append(b.Parts, m.part(bus, b.Bus, a))
		case errors.Is(err, drivers.ErrNoAnswer):
			failures = 0
		default:
			if failures++; failures >= failuresMost {
				b.Problem = fmt.Sprintf("gave up at %s: %v; SDA or SCL may be held low, or lack a pull-up", hex(a), err)
				return
			}
		}
	}
}

// kernelDriver returns the kernel's driver that has the part at a; "" = none.
func (m *Machine) kernelDriver(bus string, a uint16) string {
	link, err := fs.ReadLink(m.Host.Files(), fmt.Sprintf("sys/bus/i2c/devices/%s-%04x/driver", bus, a))
	if err != nil {
		return ""
	}
	return path.Base(link)
}

// part says what is likely at a, where something answers.
func (m *Machine) part(bus i2c.Bus, name string, a uint16) I2CPart {
	p := I2CPart{Address: hex(a)}
	for _, d := range m.Drivers {
		for _, x := range d.Parts {
			if !slices.Contains(x.Addresses, a) {
				continue
			}
			if m.Identify && x.ID != nil {
				if !hasIdentity(bus, a, x) {
					continue
				}
				p.Likely, p.IsSure, p.Block = []string{x.Name}, true, i2cBlock(d.Name, name, a, x.Settings)
				return p
			}
			p.Likely = append(p.Likely, x.Name)
			if p.Block == "" {
				p.Block = i2cBlock(d.Name, name, a, x.Settings)
			}
		}
	}
	return p
}

func i2cBlock(driver, bus string, a uint16, more []string) string {
	b := block(driver, driver, [2]string{"bus", fmt.Sprintf("%q", bus)}, [2]string{"address", fmt.Sprintf("%q", hex(a))})
	for _, line := range more {
		b += "  " + line + "\n"
	}
	return b
}

// hasIdentity asks the part at a for its identity.
func hasIdentity(bus i2c.Bus, a uint16, x drivers.Part) bool {
	got := make([]byte, len(x.ID))
	if err := bus.Tx(a, []byte{x.Register}, got); err != nil {
		return false
	}
	for i := range x.Mask {
		got[i] &= x.Mask[i]
	}
	return bytes.Equal(got, x.ID)
}

func hex(a uint16) string { return fmt.Sprintf("0x%02x", a) }
