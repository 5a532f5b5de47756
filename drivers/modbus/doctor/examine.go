package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

const (
	lastUnit = 247 // "MODBUS over Serial Line V1.02" section 2.2
	// patience is how long another unit is waited for, once its request is out. Many answer within 50 ms.
	patience = 150 * time.Millisecond
	patient  = 4 // timeouts that the unit itself is waited for once
)

// A Trial is one attempt to get an answer from a line that is silent.
type Trial struct {
	Serial   drivers.Serial
	Unit     byte
	Answered bool
	Errors   uint64 // characters that the port has counted as damaged meanwhile; 0 also where it counts none
}

// String says what came of it.
func (t Trial) String() string {
	if t.Answered {
		return fmt.Sprintf("unit %d answers with %s", t.Unit, t.Serial.Settings())
	}
	return fmt.Sprintf("unit %d does not answer with %s", t.Unit, t.Serial.Settings())
}

// best returns the trial that was answered with the fewest errors; ok is false when none was.
func best(trials []Trial) (t Trial, ok bool) {
	for _, x := range trials {
		if x.Answered && (!ok || x.Errors < t.Errors) {
			t, ok = x, true
		}
	}
	return t, ok
}

// An Opener opens the port with other settings; what it opens is of use until ctx is done.
type Opener func(ctx context.Context, s drivers.Serial) (*drivers.Bus, error)

// Examine asks the line of a unit that is silent: the unit with more patience, then with other settings, then all other numbers with the
// settings that it should have, but those that are asked anyway. It ends at the first speed at which the unit answers. Nothing but a read
// is asked for, but the line must not be in use: units that are set otherwise see noise. It takes a timeout and a quarter of a second for
// each of some sixty settings, and at most a minute for the numbers.
func Examine(ctx context.Context, open Opener, c Case) ([]Trial, error) {
	ask := c.lastAsk()
	done, err := try(ctx, open, c.Serial, []byte{c.Unit}, ask, patient*c.Timeout)
	if err != nil {
		return done, err
	}
	baud := c.Serial.Baud
	for _, s := range c.settings() {
		if t, ok := best(done); ok && (t.Errors == 0 || s.Baud != baud) {
			return done, nil
		}
		baud = s.Baud
		t, err := try(ctx, open, s, []byte{c.Unit}, ask, c.Timeout)
		if done = append(done, t...); err != nil {
			return done, err
		}
	}
	if _, ok := best(done); ok {
		return done, nil
	}
	s := look(c)
	var units []byte
	for u := 1; u <= lastUnit; u++ {
		if b := byte(u); b != c.Unit && !slices.Contains(s.units, b) {
			units = append(units, b)
		}
	}
	t, err := try(ctx, open, c.Serial, units, ask, patience)
	return append(done, t...), err
}

// lastAsk returns the request that was made of the unit last, or that for one register.
func (c Case) lastAsk() []byte {
	for i := len(c.Traffic) - 1; i >= 0; i-- {
		if x := c.Traffic[i]; x.Out && wanted(x.Bytes) > 0 && x.Bytes[0] == c.Unit && x.Bytes[1] <= 4 {
			return slices.Clone(x.Bytes)
		}
	}
	return []byte{c.Unit, 3, 0, 0, 0, 1, 0, 0}
}

// settings returns those to try, likely ones first.
func (c Case) settings() []drivers.Serial {
	var list []drivers.Serial
	add := func(baud int, parity, stop string) {
		s := c.Serial
		s.Baud, s.Parity, s.StopBits = baud, parity, stop
		if s != c.Serial && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	frames := [][2]string{{c.Serial.Parity, c.Serial.StopBits}, {c.Serial.Parity, "2"}, {c.Serial.Parity, "1"}, {"even", "1"}, {"none", "2"}, {"none", "1"}, {"odd", "1"}}
	for _, f := range frames {
		add(c.Serial.Baud, f[0], f[1])
	}
	for _, baud := range []int{9600, 19200, 38400, 115200, 57600, 4800, 2400, 1200} {
		for _, f := range frames {
			add(baud, f[0], f[1])
		}
	}
	return list
}

// try asks units one after the other until one answers.
func try(ctx context.Context, open Opener, s drivers.Serial, units, ask []byte, timeout time.Duration) ([]Trial, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bus, err := open(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("examine with %s: %w", s.Settings(), err)
	}
	var done []Trial
	for _, u := range units {
		t := Trial{Serial: s, Unit: u}
		err := bus.Do(ctx, func(p drivers.Port) (err error) {
			before := damaged(bus)
			t.Answered, err = answers(p, Case{Unit: u, Serial: s, Timeout: timeout}, ask)
			t.Errors = damaged(bus) - before
			return err
		})
		if err != nil {
			return done, fmt.Errorf("examine unit %d with %s: %w", u, s.Settings(), err)
		}
		if done = append(done, t); t.Answered {
			break
		}
	}
	return done, nil
}

// damaged returns how many characters the port of bus has counted that were damaged; 0 where it counts none.
func damaged(bus *drivers.Bus) uint64 {
	e, err := bus.LineErrors()
	if err != nil {
		return 0
	}
	return e.Framing + e.Parity + e.Break
}

// answers reports whether c.Unit answers ask, which is made its own, by anything that has a right CRC.
func answers(p drivers.Port, c Case, ask []byte) (bool, error) {
	if err := drivers.Drop(p, max(c.wire(4), 5*time.Millisecond)); err != nil && !errors.Is(err, drivers.ErrGone) {
		return false, nil // a line that is never quiet: not the right settings
	} else if err != nil {
		return false, err
	}
	ask[0] = c.Unit
	crc := link.CRC(ask[:len(ask)-2])
	ask[len(ask)-2], ask[len(ask)-1] = byte(crc), byte(crc>>8)
	if _, err := p.Write(ask); err != nil {
		return false, err
	}
	e := exchange{at: time.Now(), ask: ask, want: wanted(ask)}
	if err := p.SetReadDeadline(c.deadline(&e)); err != nil {
		return false, err
	}
	for b := make([]byte, 256); len(e.in) < 4096; {
		n, err := p.Read(b)
		e.in = append(e.in, b[:n]...)
		e.when = append(e.when, make([]time.Time, n)...)
		got := exchange{ask: e.ask, want: e.want, in: e.in, when: e.when}
		got.read()
		for _, f := range got.frames {
			if f.isReplyTo(&got) {
				return true, nil
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}
