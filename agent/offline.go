package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/line"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// Offline is the buffer of a gateway that does not run. What stands in the rings and was not committed is not in it.
type Offline struct {
	agent *Agent
	line  *opened
}

// OpenOffline opens the buffer of cfg for a program of that version. It makes files there: only the user whose gateway it is may do so. An
// error wrapping place.ErrRunning means that the gateway runs: ask it instead.
func OpenOffline(cfg *config.Config, version string, log *slog.Logger) (*Offline, error) {
	a := &Agent{cfg: cfg, sits: sitting{dir: cfg.StateDir}, log: log, parts: Parts{Clock: new(clock.Clock).Now, Version: version}}
	a.board = newBoard(time.Now)
	l := &opened{}
	var err error
	if l.claim, err = place.Take(cfg.StateDir); err != nil {
		return nil, err
	}
	if err := a.openStore(l, false); errors.Is(err, buffer.ErrDamaged) {
		return nil, errors.Join(fmt.Errorf("%w; the gateway sets it aside when it starts, and begins a new one", err), l.claim.Release())
	} else if err != nil {
		return nil, errors.Join(err, l.claim.Release())
	}
	return &Offline{a, l}, nil
}

// Stopped returns the status of a gateway that does not run and of whose buffer nothing is known.
func Stopped(cfg *config.Config, version string) status.Status {
	return status.Status{
		Gateway: cfg.Gateway.ID, Labels: cfg.Gateway.Labels, Version: version, Time: time.Now(), Clock: status.Clock{Source: "none"},
		Link: status.Link{State: "down"}, Update: status.Update{Slot: "package", Version: version},
		Devices: []status.Device{}, Rules: []status.Rule{}, Conditions: []status.Condition{}, Uplinks: []status.Uplink{},
	}
}

// Status returns what the buffer says; devices, link and rules are unknown.
func (o *Offline) Status() status.Status {
	q := o.line.queue.Stats()
	p := o.line.queue.Position()
	s := Stopped(o.agent.cfg, o.agent.parts.Version)
	s.Epoch, s.NextRecord = q.EpochID, p.Next
	s.Queue = queueOf(&q)
	addCursors(&s, &q, o.agent.parts.Clock(), line.StoredCounts(o.line.queue.Rules()))
	return s
}

// Segments lists what is stored.
func (o *Offline) Segments() []status.Segment {
	q := o.line.queue.Stats()
	return segmentsOf(&q)
}

// Check reads everything that is stored.
func (o *Offline) Check(ctx context.Context) (status.Check, error) {
	return checkOf(ctx, o.line.queue, line.StoredCounts(o.line.queue.Rules()))
}

// Buffered calls f with every record of class reading that is meant for the first uplink, and that it has not got yet, in order, until f returns
// an error.
func (o *Offline) Buffered(f func(tidegate.Record) error) error {
	uplink := o.agent.cfg.Uplinks[0].Name
	c, err := o.line.queue.Cursor(uplink)
	if err != nil {
		return err
	}
	dec, err := frame.NewDecoder()
	if err != nil {
		return err
	}
	for at := (buffer.Place{}); ; {
		looks, err := c.Next(tidegate.ClassReading, at, 1<<20)
		if err != nil || len(looks) == 0 {
			return err
		}
		for i := range looks {
			l := &looks[i]
			recs, err := dec.Decode(nil, l.Class, l.First, l.Body)
			if err != nil {
				return fmt.Errorf("decode records %d to %d: %w", l.First, l.Last, err)
			}
			for _, r := range recs {
				if !l.Want.Contains(r.Number) || r.For != "" && r.For != uplink {
					continue
				}
				if err := f(r); err != nil {
					return err
				}
			}
			at = buffer.Place{Epoch: l.Epoch, Number: l.Last + 1}
		}
	}
}

// Close closes the buffer.
func (o *Offline) Close() error { return errors.Join(o.line.queue.Close(), o.line.claim.Release()) }
