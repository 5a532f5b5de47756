package session

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/spi"

	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// A Replay plays a recorded session to drivers. It is strict: a driver that writes other bytes than those recorded gets errors,
// and Close returns the first deviation.
type Replay struct {
	Host *drivertest.Host // the machine as it was recorded

	scripts   []*drivertest.Script
	transfers []*transfers
}

// File returns the Replay of the session file at path.
func File(path string) (*Replay, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	entries, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("replay %s: %w", path, err)
	}
	return NewReplay(entries), nil
}

// NewReplay returns the Replay of entries. On serial ports and connections, bytes arrive with the pauses with which they came,
// counted from the line of the same port before them: in a synctest bubble that costs no time. How writes and reads are cut into
// pieces does not matter there. Transfers on buses have to be the same, one by one, on each bus.
func NewReplay(entries []Entry) *Replay {
	r := &Replay{Host: &drivertest.Host{
		Ports:        map[string]drivertest.Opener{},
		I2CBuses:     map[string]i2c.Bus{},
		SPIPorts:     map[string]spi.Conn{},
		OneWireBuses: map[string]onewire.Bus{},
	}}
	exchanges := map[string][]drivertest.Exchange{}
	steps := map[string][]Entry{}
	last := map[string]time.Duration{}
	var ports, buses []string // in order of appearance
	for _, e := range entries {
		if bus, ok := busOf(e.Port); ok {
			if steps[bus] == nil {
				buses = append(buses, bus)
			}
			steps[bus] = append(steps[bus], e)
			continue
		}
		if exchanges[e.Port] == nil {
			ports = append(ports, e.Port)
		}
		exchanges[e.Port] = append(exchanges[e.Port], exchange(e, e.At-last[e.Port]))
		last[e.Port] = e.At
	}
	for _, port := range ports {
		s := drivertest.NewScript(port, exchanges[port]...)
		r.Host.Ports[port] = s.Open
		r.scripts = append(r.scripts, s)
	}
	for _, bus := range buses {
		r.addBus(bus, steps[bus])
	}
	return r
}

func exchange(e Entry, pause time.Duration) drivertest.Exchange {
	switch e.Dir {
	case Out:
		return drivertest.Exchange{Want: e.Bytes}
	case In:
		return drivertest.Exchange{Reply: e.Bytes, After: pause}
	}
	return drivertest.Exchange{Gone: true}
}

// busOf returns the bus that port, as it stands in a session file, is on: "i2c:1" for "i2c:1:76". ok is false when port is a
// serial port or connection.
func busOf(port string) (bus string, ok bool) {
	switch kind, name, _ := strings.Cut(port, ":"); kind {
	case "i2c":
		return "i2c:" + name[:max(strings.LastIndexByte(name, ':'), 0)], true
	case "spi", "onewire":
		return port, true
	}
	return "", false
}

// addBus makes bus, as busOf returns it, a part of the machine.
func (r *Replay) addBus(bus string, steps []Entry) {
	kind, name, _ := strings.Cut(bus, ":")
	t := &transfers{name: bus, steps: steps}
	r.transfers = append(r.transfers, t)
	switch kind {
	case "i2c":
		r.Host.I2CBuses[name] = &replayedI2C{t, name}
	case "spi":
		r.Host.SPIPorts[name] = &replayedSPI{t}
	case "onewire":
		r.Host.OneWireBuses[name] = &replayedOneWire{t}
	}
}

// Close returns what deviated from the session or was not used of it.
func (r *Replay) Close() error {
	var errs []error
	for _, s := range r.scripts {
		errs = append(errs, s.Close())
	}
	for _, t := range r.transfers {
		errs = append(errs, t.Close())
	}
	return errors.Join(errs...)
}
