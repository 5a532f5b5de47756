package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

const (
	failuresLeast = 3                // Reads in a row that failed before the doctor is asked
	askAgain      = 30 * time.Second // how often, while they fail
	watchMost     = 4                // values that are watched
	watchEach     = 16               // of each, the newest
)

// A Patient is one unit over time: what is known of it beside what its bus keeps. It is not safe for concurrent use.
type Patient struct {
	about    Case
	bus      *drivers.Bus
	counted  bool // before has been set
	before   drivers.LineErrors
	failures int       // Reads in a row
	next     time.Time // when the doctor is asked again
	advice   string    // as given last
}

// NewPatient returns the unit on bus, a port with the settings serial, whose replies are waited for for timeout.
func NewPatient(bus *drivers.Bus, serial drivers.Serial, unit byte, timeout time.Duration) *Patient {
	return &Patient{about: Case{Unit: unit, Serial: serial, Timeout: timeout}, bus: bus}
}

// Watch makes p see a value. It returns its number for Saw; ok is false when p sees enough already.
func (p *Patient) Watch(v Value) (n int, ok bool) {
	if len(p.about.Values) == watchMost {
		return 0, false
	}
	p.about.Values = append(p.about.Values, v)
	return len(p.about.Values) - 1, true
}

// Saw keeps a copy of b, what value n held just now as it came over the wire.
func (p *Patient) Saw(n int, b []byte) {
	seen := &p.about.Values[n].Seen
	if len(*seen) < watchEach {
		*seen = append(*seen, append([]byte(nil), b...))
		return
	}
	oldest := (*seen)[0]
	copy(*seen, (*seen)[1:])
	(*seen)[watchEach-1] = append(oldest[:0], b...)
}

// Asked notes what the port has counted before the unit was asked for the first time. It is called with each request, within Bus.Do.
func (p *Patient) Asked() {
	if p.counted {
		return
	}
	p.counted = true
	if now, err := p.bus.LineErrors(); err == nil {
		p.before, p.about.Errors = now, &drivers.LineErrors{}
	}
}

// Answered notes that the unit has answered a request.
func (p *Patient) Answered() { p.about.Answered = true }

// Well notes that a Read went well.
func (p *Patient) Well() { p.failures = 0 }

// Ill notes that a Read failed as a whole with err, and returns err, with the doctor's sentence behind it once that happens again and again.
func (p *Patient) Ill(err error) error {
	if errors.Is(err, drivers.ErrGone) {
		return err // which is its own explanation
	}
	if p.failures++; p.failures < failuresLeast {
		return err
	}
	if now := time.Now(); p.failures == failuresLeast || !now.Before(p.next) {
		p.next = now.Add(askAgain)
		p.advice = Diagnose(p.Case()).String()
	}
	if p.advice == "" {
		return err
	}
	return fmt.Errorf("%w; probably %s", err, p.advice)
}

// Case returns all that is known.
func (p *Patient) Case() Case {
	c := p.about
	c.Traffic = p.bus.Recent()
	if now, err := p.bus.LineErrors(); err == nil && c.Errors != nil {
		c.Errors = &drivers.LineErrors{
			Framing: now.Framing - p.before.Framing, Parity: now.Parity - p.before.Parity,
			Overrun: now.Overrun - p.before.Overrun, Break: now.Break - p.before.Break,
		}
	} else {
		c.Errors = nil
	}
	return c
}

// Examine returns what is likely to be wrong with the unit, after Examine of its line if silence is all there is.
func (p *Patient) Examine(ctx context.Context, open Opener) (Diagnosis, error) {
	c := p.Case()
	d := Diagnose(c)
	if d.Code != Silent {
		return d, nil
	}
	trials, err := Examine(ctx, open, c)
	if err != nil {
		return d, err
	}
	c.Trials = trials
	return Diagnose(c), nil
}

// Say returns d in one line, with what was seen; "" where it is none.
func (d Diagnosis) Say() string {
	if d.Code == "" {
		return ""
	}
	return "probably " + d.String() + " (seen: " + d.Evidence + ")"
}
