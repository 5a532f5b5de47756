package board

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board/tty"
)

// slowAdapter is from when on a log says how long an adapter holds back what it receives: a request and its reply at 9600 bit/s take
// some 20 ms.
const slowAdapter = 5 * time.Millisecond

// terminal is p as package tty wants it.
func (p *serialPort) terminal() tty.Terminal {
	return func(f func(fd int) error) error { return control(p.file, f) }
}

// arrange makes of p, which has just been opened, the port that c asks for: what the driver made of the settings is looked at, and its
// line is turned around and freed of echo. GPIO lines are asked for by pin. When it fails, p is closed.
func arrange(p *serialPort, c drivers.Serial, pin func(context.Context, string, drivers.PinConfig) (drivers.Pin, error)) (drivers.Port, error) {
	sw, err := prepare(p.terminal(), c, pin)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if sw == nil && !c.Echo {
		return p, nil
	}
	return tty.New(p, sw, tty.Char(c), c.Echo), nil
}

// prepare is arrange without the port: it returns what turns the line, nil where nobody has to.
func prepare(t tty.Terminal, c drivers.Serial, pin func(context.Context, string, drivers.PinConfig) (drivers.Pin, error)) (tty.Switch, error) {
	err := t(func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("ask for its identity: %w", err)
		}
		return tty.Verify(fd, c, isPTY(&st))
	})
	if err != nil {
		return nil, err
	}
	tty.Hurry(t)
	switch c.Direction {
	case "":
		return nil, nil
	case "kernel":
		return nil, tty.Kernel(t, c.Echo)
	case "rts", "rts-low":
		return tty.RTS(t, c.Direction == "rts-low")
	}
	line, err := pin(context.Background(), c.Direction, drivers.PinConfig{Output: true, AtEnd: new(false)}) // it lives as long as the port, which closes it
	if err != nil {
		return nil, fmt.Errorf("rs485=%s: %w", c.Direction, err)
	}
	return tty.Pin(t, line, c.Direction)
}

// tell logs that the port of c was opened, and what somebody may want to change about it. path is its name without a doubt, sys and dev
// are usually /sys and /dev/serial.
func (h *Host) tell(p *serialPort, c drivers.Serial, path, sys, dev string) {
	h.log.Info("serial port opened", "port", c.Port, "settings", c.Settings())
	if name := tty.LastingName(dev, path); name != "" {
		h.log.Warn("port may be another one after a replug; use its lasting name", "port", c.Port, "lasting", name)
	}
	var st unix.Stat_t
	if err := p.terminal()(func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return // gone already: the first use will say so
	}
	if d := tty.Latency(sys, uint64(st.Rdev)); d >= slowAdapter {
		h.log.Warn("adapter holds back what it receives; install 60-tidegate.rules to set its latency_timer to 1 ms", "port", c.Port, "for", d)
	}
}
