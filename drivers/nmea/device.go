package nmea

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// device is one receiver.
type device struct {
	talker  *talker.Talker
	parser  *parser
	silence time.Duration
	first   time.Time // dates before it are not believed

	now      epoch // what has come of it
	was      epoch // the one before, of whose time a late sentence may be
	seen     [quantities]sighting
	used     time.Time // when a sentence was used last, that nothing was used was last told, or the device was opened
	passed   int       // sentences since then
	out      []tidegate.Reading
	isClosed bool
}

// A sighting is when a quantity came last, and in which kind of sentence.
type sighting struct {
	at     time.Time // or when its absence was last told; zero = never came
	source string
}

// Read returns the readings of the next epoch, or what there is to report of sentences refused or of silence. The readings are valid until the
// next Read.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.isClosed {
		return nil, fmt.Errorf("read receiver: device is closed: %w", drivers.ErrGone)
	}
	for d.out = d.out[:0]; len(d.out) == 0; d.out = d.talker.Report(d.out, chanSentence) {
		h, err := d.talker.Next(ctx)
		if errors.Is(err, drivers.ErrGone) {
			d.now = epoch{} // its other sentences are lost with the port
		}
		if err != nil {
			return nil, fmt.Errorf("read receiver: %w", err)
		}
		switch h.What {
		case talker.Framed:
			d.sentence(h.Frame)
		case talker.Rested:
			d.finish()
		case talker.Silent:
			d.silent(h.Text)
		}
	}
	return d.out, nil
}

// Close lets further Reads fail; the port dies with the ctx of Open.
func (d *device) Close() error {
	d.isClosed = true
	return nil
}

// sentence takes up one line.
func (d *device) sentence(fr talker.Frame) {
	k, fields, stray, bad := d.parser.line(fr.Text)
	if fr.Torn && (bad != "" || stray != "") {
		bad, stray = "", "" // the port was opened in the middle of it
	}
	if stray != "" {
		d.talker.Refuse(stray)
	}
	var at time.Duration
	isTimed := false
	if k != nil && k.timedBy >= 0 && fields[k.timedBy] != "" {
		if at, isTimed = timeOfDay(fields[k.timedBy]); !isTimed {
			bad = talker.Refusal(fmt.Sprintf("%s: %s has %s for a time: %s", talker.NoMatch, k.name, excerpt(fields[k.timedBy]), talker.Excerpt(fr.Text)))
		}
	}
	if d.talker.Verdict(bad); bad != "" || k == nil {
		d.unused()
		return
	}
	// A sentence without a time says so of a receiver without a fix; of one epoch it has one of a kind.
	if isTimed && d.now.isTimed && at != d.now.at || k.timedBy >= 0 && !isTimed && d.now.kinds[k.name] {
		d.finish()
	}
	if d.now.kinds == nil {
		d.now.kinds = map[string]bool{}
	}
	d.now.kinds[k.name] = true
	if isTimed {
		d.now.isTimed, d.now.at = true, at
	}
	k.take(&d.now, k, fields)
}

// unused says that a sentence came that is of no use. Where there are no others, that is a fault.
func (d *device) unused() {
	d.passed++
	if now := time.Now(); now.Sub(d.used) >= d.silence {
		d.silent(fmt.Sprintf("%d sentences came in %v and none was of use: switch on RMC and GGA in the receiver", d.passed, d.silence))
	}
}

// finish appends the readings of the epoch to d.out and begins another.
func (d *device) finish() {
	e := &d.now
	if e.kinds == nil {
		return
	}
	if !e.hasDate && e.badDate == "" && e.isTimed && d.was.isTimed && e.at == d.was.at { // the rest of an epoch, after a pause
		e.hasDate, e.date, e.badDate = d.was.hasDate, d.was.date, d.was.badDate
	}
	now := time.Now()
	d.used, d.passed = now, 0
	at, badTime := e.instant(d.first)
	n := len(d.out)
	for q := range e.slots {
		s := &e.slots[q]
		r := tidegate.Reading{Channel: Driver.Channels[q].Name, Unit: Driver.Channels[q].Unit, Value: s.value, Fault: s.fault}
		switch {
		case s.rank == 0 && (d.seen[q].at.IsZero() || now.Sub(d.seen[q].at) < d.silence):
			continue
		case s.rank == 0 && q == course:
			continue // it stands still
		case s.rank == 0:
			r.Fault = fmt.Sprintf("the receiver has stopped sending it: no %s came for %v", d.seen[q].source, d.silence)
		case e.noFix != "" && q != satellites && q != fix:
			r.Fault = e.noFix
		case q == altitude && e.is2D && !e.is3D:
			r.Fault = "the fix is 2D by GSA: the altitude is held, not measured"
		}
		if r.Fault != "" {
			r.Value = tidegate.Value{}
		}
		d.seen[q].at = now
		if s.rank > 0 {
			d.seen[q].source = s.source
		}
		d.out = append(d.out, r)
	}
	if badTime != "" {
		d.out = append(d.out, tidegate.Reading{Channel: chanTime, Fault: badTime})
	}
	for i := range d.out[n:] {
		d.out[n+i].Time = at
	}
	d.was, d.now = *e, epoch{}
}

// silent appends a fault of all quantities that came before; of all, if none did.
func (d *device) silent(text string) {
	isNew := d.seen == [quantities]sighting{}
	for q := range d.seen {
		if isNew || !d.seen[q].at.IsZero() {
			d.out = append(d.out, tidegate.Reading{Channel: Driver.Channels[q].Name, Fault: text})
		}
	}
	d.used, d.passed = time.Now(), 0
}
