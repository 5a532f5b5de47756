// Package scan finds what a machine has on its buses: serial ports and what talks there, I2C addresses and which parts are likely behind
// them, 1-Wire ids, GPIO lines; and on a Raspberry Pi what is switched off, and how it is switched on. It reads and listens, and never
// writes to a device. For Modbus units, which only speak when they are asked, see drivers/modbus/sweep.
package scan

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Machine is where to look. Host and Drivers are required.
type Machine struct {
	Host    drivers.Host
	Drivers []drivers.Driver
	// May reports whether this program may read and write the device file; nil = what Host says when it opens it.
	May func(path string) bool
	// Chips returns the GPIO chips with their lines; nil = the machine has none.
	Chips func() ([]Chip, error)
	// Doing is told what is looked at; nil = nobody looks on.
	Doing func(what string)
	// Identify says that parts on I2C may be asked for their identity. That sends the number of a register, which a few parts take for a
	// command: it is not done unless asked for.
	Identify bool
}

// A Report is what was found.
type Report struct {
	Serial  []Port    `json:"serial,omitempty"`
	I2C     []I2CBus  `json:"i2c,omitempty"`
	OneWire []OneWire `json:"onewire,omitempty"`
	GPIO    []Chip    `json:"gpio,omitempty"`
	Hints   []Hint    `json:"hints,omitempty"`
}

// A Chip is a GPIO chip.
type Chip struct {
	Name  string `json:"name"`            // "gpiochip0"
	Label string `json:"label,omitempty"` // what the kernel's driver calls it
	Lines []Line `json:"lines"`
}

// A Line is one GPIO line.
type Line struct {
	Offset   int    `json:"offset"`
	Name     string `json:"name,omitempty"` // "" = it has none: it goes by chip:offset
	User     string `json:"user,omitempty"` // who has it; "" = nobody
	IsOutput bool   `json:"output,omitempty"`
}

// A Hint is something that is switched off or out of reach, and what to do about it.
type Hint struct {
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

// Kinds are what can be looked for, in this order.
func Kinds() []string { return []string{"serial", "i2c", "onewire", "gpio"} }

// Run looks for what kinds name, all if there are none, until ctx is done; then it returns what it has found so far.
func (m *Machine) Run(ctx context.Context, kinds ...string) *Report {
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	r := &Report{}
	for _, kind := range kinds {
		if ctx.Err() != nil {
			return r
		}
		switch kind {
		case "serial":
			r.Serial = m.serial(ctx)
		case "i2c":
			r.I2C = m.i2c(ctx)
		case "onewire":
			r.OneWire = m.oneWire()
		case "gpio":
			m.gpio(r)
		}
	}
	r.Hints = append(r.Hints, m.hints(r, kinds)...)
	return r
}

// gpio lists the lines.
func (m *Machine) gpio(r *Report) {
	if m.Chips == nil {
		return
	}
	chips, err := m.Chips()
	r.GPIO = chips
	if err != nil {
		r.Hints = append(r.Hints, Hint{What: err.Error(), Remedy: "put this user into group gpio: sudo usermod -aG gpio USER, then log in again"})
	}
}

func (m *Machine) doing(format string, args ...any) {
	if m.Doing != nil {
		m.Doing(fmt.Sprintf(format, args...))
	}
}

// may reports whether path can be opened, as far as is known.
func (m *Machine) may(path string) bool { return m.May == nil || m.May(path) }

// block returns a configuration block for one device: name, driver, and settings, a key and its value each.
func block(name, driver string, settings ...[2]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- name: %s\n  driver: %s\n", name, driver)
	for _, s := range settings {
		fmt.Fprintf(&b, "  %s: %s\n", s[0], s[1])
	}
	return b.String()
}
