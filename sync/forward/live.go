package forward

import (
	"time"

	"github.com/tidegate-io/tidegate/buffer"
)

// fresh drops from the live lane what is older than a minute; the backlog comes to it later. It reports whether the place moved.
func (l *lane) fresh(now time.Time) (bool, error) {
	cutoff := now.Add(-liveAge)
	if !l.stale(cutoff) {
		return false, nil
	}
	for len(l.recs) > 0 && l.recs[0].Time.Before(cutoff) {
		l.ready -= len(l.recs[0].Readings)
		l.recs = l.recs[1:]
	}
	for len(l.recs) == 0 && len(l.pend) > 0 && l.pend[0].T0 < cutoff.UnixMilli() {
		p := &l.pend[0]
		l.bytes -= len(p.Body)
		l.count -= int(p.Count)
		l.pend[0] = pending{}
		l.pend = l.pend[1:]
	}
	if l.empty() {
		p, err := l.search(l.next, cutoff.UnixMilli())
		if err != nil {
			return false, err
		}
		l.rewind(p)
	}
	l.floor = l.place()
	return true, nil
}

// stale reports whether the first record of l is older than cutoff.
func (l *lane) stale(cutoff time.Time) bool {
	if len(l.recs) > 0 {
		return l.recs[0].Time.Before(cutoff)
	}
	return len(l.pend) > 0 && l.pend[0].T0 < cutoff.UnixMilli()
}

// search returns the first place at or after p from which on nothing is older than cutoff (Unix ms), the end if all is. Times rise
// with numbers but for steps of the clock, so it doubles its stride and then halves the rest: the frames between are not read.
func (l *lane) search(p buffer.Place, cutoff int64) (buffer.Place, error) {
	lo, stride := p, uint64(1)
	for {
		at := buffer.Place{Epoch: lo.Epoch, Number: lo.Number + stride - 1}
		if at.Number < lo.Number { // beyond the last number there can be
			return l.halve(lo, buffer.Place{Epoch: lo.Epoch, Number: ^uint64(0)}, cutoff)
		}
		old, err := l.old(at, cutoff)
		switch {
		case err != nil:
			return p, err
		case old == nil:
			return l.halve(lo, at, cutoff)
		case old.Epoch != lo.Epoch:
			lo, stride = *old, 1
		default:
			lo, stride = *old, stride*2
		}
	}
}

// halve returns the first place from lo to hi at which nothing old comes next; at hi nothing does.
func (l *lane) halve(lo, hi buffer.Place, cutoff int64) (buffer.Place, error) {
	for lo.Before(hi) {
		mid := buffer.Place{Epoch: lo.Epoch, Number: lo.Number + (hi.Number-lo.Number)/2}
		old, err := l.old(mid, cutoff)
		if err != nil {
			return lo, err
		}
		if old == nil {
			hi = mid
		} else {
			lo = *old
		}
	}
	return lo, nil
}

// old looks at the first frame at or after p: when it is older than cutoff it returns the place behind it, else nil.
func (l *lane) old(p buffer.Place, cutoff int64) (*buffer.Place, error) {
	looks, err := l.f.o.Source.Next(l.class, p, 1)
	if err != nil {
		return nil, halt("look at the queue", err)
	}
	if len(looks) == 0 || looks[0].T0 >= cutoff {
		return nil, nil
	}
	return &buffer.Place{Epoch: looks[0].Epoch, Number: looks[0].Last + 1}, nil
}
