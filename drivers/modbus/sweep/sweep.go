package sweep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// ErrMaster means that another master speaks on the line: nothing was sent there.
var ErrMaster = errors.New("another master speaks on this line")

// A Search looks for units on one serial port.
type Search struct {
	Host drivers.Host
	Plan Plan
	// IsWhole says that the search goes on over the whole plan when units were found. Else it ends with the last stage's units at the
	// settings of the first unit found: a line has one setting.
	IsWhole bool
	// Step is called ahead of each request, with how much is done and how long the rest takes at most; nil = nobody looks on.
	Step func(done, all int, left time.Duration)
	// Found is called for each unit as soon as it has answered; nil = nobody looks on.
	Found func(Found)

	began time.Time
	spent time.Duration // of the estimate: what is done
	done  int
	found []Found
}

// Run searches, and returns the units that answered, by number. An error says why the search ended early, with what was found until then:
// the port failed, ctx is done, or ErrMaster, with the units that were heard.
func (s *Search) Run(ctx context.Context) ([]Found, error) {
	s.began, s.spent, s.done, s.found = time.Now(), 0, 0, nil
	if err := s.listen(ctx); err != nil {
		return sortFound(s.found), err
	}
	for _, st := range s.Plan.stages {
		for _, line := range st.lines {
			if !s.wants(line, st) {
				continue
			}
			if err := s.turn(ctx, line, st.units); err != nil {
				return sortFound(s.found), err
			}
		}
	}
	return sortFound(s.found), nil
}

// wants reports whether line is still to be asked: once a unit was found, only low numbers at its settings are.
func (s *Search) wants(line drivers.Serial, st stage) bool {
	if s.IsWhole || len(s.found) == 0 {
		return true
	}
	return s.found[0].Serial == line && st.units[0] < 33
}

// listen listens at each of the settings that something is heard at all, and refuses to go on where frames are heard.
func (s *Search) listen(ctx context.Context) error {
	defer func() { s.spent += listenFor }()
	for i, line := range s.Plan.lines {
		heard, err := s.hear(ctx, line)
		if err != nil {
			return err
		}
		list := frames(heard)
		if len(list) >= 2 {
			for _, f := range list {
				s.found = append(s.found, Found{Unit: f.unit, Serial: line, Reply: "heard"})
			}
			return fmt.Errorf("%s: at %s frames of others are heard: %w", line.Port, line.Settings(), ErrMaster)
		}
		if i == 0 && len(heard) == 0 {
			return nil // bytes at other settings would be heard too, only not understood
		}
	}
	return nil
}

// hear returns what comes in on line within listenFor.
func (s *Search) hear(ctx context.Context, line drivers.Serial) (heard []byte, err error) {
	err = s.on(ctx, line, func(p drivers.Port) error {
		heard, err = collect(p, nil, time.Now().Add(listenFor), func([]byte) bool { return false })
		return err
	})
	return heard, err
}

// on calls f with the port set to line.
func (s *Search) on(ctx context.Context, line drivers.Serial, f func(p drivers.Port) error) error {
	ctx, cancel := context.WithCancel(ctx) // with its end the next settings may be another's
	defer cancel()
	bus, err := s.Host.Serial(ctx, line)
	if err != nil {
		return err
	}
	return bus.Do(ctx, f)
}

// turn asks units on line, one after another.
func (s *Search) turn(ctx context.Context, line drivers.Serial, units []byte) error {
	return s.on(ctx, line, func(p drivers.Port) error {
		var in []byte
		for i, u := range units {
			s.step()
			var err error
			if in, err = s.ask(ctx, p, line, u, units[:i+1], in); err != nil {
				return err
			}
			s.done++
			s.spent += wait(line)
		}
		in, err := collect(p, in, time.Now().Add(linger), func([]byte) bool { return false })
		s.spent += linger
		s.take(in, line, units)
		return err
	})
}

// step tells who looks on how far the search is. What is left is as much slower than planned as what is done was.
func (s *Search) step() {
	if s.Step == nil {
		return
	}
	left := s.Plan.Estimate() - s.spent
	if took := time.Since(s.began); s.spent > 0 && took > s.spent {
		left = time.Duration(float64(left) * float64(took) / float64(s.spent))
	}
	s.Step(s.done, s.Plan.Size(), max(0, left))
}

// ask asks unit and listens for its answer, or that of a slow one of asked. in is what came before and was not understood; it returns
// what of it can still become a frame.
func (s *Search) ask(ctx context.Context, p drivers.Port, line drivers.Serial, unit byte, asked, in []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return in, ctx.Err()
	}
	if err := pause(ctx, gap(line)); err != nil {
		return in, err
	}
	if err := p.SetWriteDeadline(time.Now().Add(writeMost)); err != nil {
		return in, err
	}
	if _, err := p.Write(appendRequest(nil, unit)); err != nil {
		return in, fmt.Errorf("ask unit %d: %w", unit, err)
	}
	in, err := collect(p, in, time.Now().Add(wait(line)-gap(line)), func(b []byte) bool {
		list := frames(b)
		return len(list) > 0 && list[len(list)-1].unit == unit && isAnswer(list[len(list)-1], asked)
	})
	s.take(in, line, asked)
	return in[max(0, len(in)-replyChars):], err
}

func isAnswer(f frame, asked []byte) bool {
	_, ok := answer(f, asked)
	return ok
}

// take notes the answers in b.
func (s *Search) take(b []byte, line drivers.Serial, asked []byte) {
	for _, f := range frames(b) {
		said, ok := answer(f, asked)
		if !ok || slices.ContainsFunc(s.found, func(x Found) bool { return x.Unit == f.unit && x.Serial == line }) {
			continue
		}
		x := Found{Unit: f.unit, Serial: line, Reply: said}
		s.found = append(s.found, x)
		if s.Found != nil {
			s.Found(x)
		}
	}
}

// heardMost is how much of what is heard is kept, in bytes.
const heardMost = 4 << 10

// collect appends to b what comes in until end, or until isEnough says so. Of a flood it keeps the end.
func collect(p drivers.Port, b []byte, end time.Time, isEnough func(b []byte) bool) ([]byte, error) {
	in := make([]byte, 256)
	if err := p.SetReadDeadline(end); err != nil {
		return b, err
	}
	for time.Now().Before(end) {
		n, err := p.Read(in)
		b = append(b, in[:n]...)
		if len(b) > heardMost {
			b = append(b[:0], b[len(b)-heardMost/2:]...)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return b, nil
		case err != nil:
			return b, err
		case isEnough(b):
			return b, nil
		}
	}
	return b, nil
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
