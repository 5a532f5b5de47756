package doctor

import (
	"slices"
	"time"
)

// signs are what was seen of a line, as counts of exchanges unless said otherwise.
type signs struct {
	all, own   tally
	foreign    int // requests that are not ours
	stranger   int // replies of units that nobody asks
	strangerIs byte
	units      []byte // asked, without ours
	well       []byte // that answered, without ours
	wasWell    bool   // our unit has answered
	trailing   int    // exchanges with our unit at the end, without a byte
	cut        bool   // the last reply of our unit was a part of one, and since then there was silence
}

// tailMost is how many bytes a line without termination makes of its swing, at most.
const tailMost = 3

// tally counts exchanges, with our unit or with all.
type tally struct {
	asked   int
	good    int // a right reply in time
	late    int // a right reply, too late
	twice   int // two right replies
	silent  int // not a byte
	lone    int // nothing but a 0x00; or no more bytes than the request's, not the reply's, with one at their end; at once
	zeros   int // most bytes 0x00
	zeroed  int // of these, shorter than the reply
	part    int // the beginning of a reply
	garbled int // about as many bytes as a reply has, or more
	short   int // fewer, and not the beginning of one
	behind  int // of those where tail can be told
	tail    int // a few bytes right behind the request, and then the reply or nothing
	idle    int // bytes when nothing was asked any more
}

// bad returns how many had no right reply in time.
func (t tally) bad() int { return t.asked - t.good }

// share reports whether n are at least percent of those asked, and at least two.
func (t tally) share(n, percent int) bool { return n >= 2 && n*100 >= percent*t.asked }

// look counts.
func look(c Case) signs {
	var s signs
	list := split(c.Traffic)
	asks := map[string]bool{}
	asked := map[byte]bool{}
	for i := range list {
		asks[string(list[i].ask)] = true
		asked[list[i].unit()] = true
	}
	owes := map[byte]int{} // by unit: requests without a reply so far
	for i := range list {
		e := &list[i]
		for _, f := range e.frames {
			if f.asks && !f.isReplyTo(e) && (!asks[string(f.bytes)] || f.from > echoWithin) {
				s.foreign++
			}
		}
		if e.ask == nil {
			continue
		}
		isOwn := e.unit() == c.Unit
		one := c.one(e)
		for _, f := range e.frames {
			u := f.bytes[0]
			switch {
			case f.asks || f.isReplyTo(e):
			case owes[u] > 0: // another unit's, or of another shape: an older request's
				owes[u]--
				s.all.late++
				if u == c.Unit {
					s.own.late++
				}
			case !asked[u] && !e.when[f.from].After(c.deadline(e)):
				s.stranger++
				s.strangerIs = u
			}
		}
		if one.good == 0 {
			owes[e.unit()]++
		} else {
			owes[e.unit()] = 0
		}
		s.all.add(one)
		if isOwn {
			s.own.add(one)
			s.follow(one)
			continue
		}
		s.units = with(s.units, e.unit())
		if one.good > 0 {
			s.well = with(s.well, e.unit())
		}
	}
	return s
}

// with returns list with u in it.
func with(list []byte, u byte) []byte {
	if slices.Contains(list, u) {
		return list
	}
	return append(list, u)
}

// follow notes in which order our unit answered and was silent.
func (s *signs) follow(one tally) {
	switch {
	case one.silent > 0:
		s.trailing++
	case one.part > 0:
		s.trailing, s.cut = 0, true
	default:
		s.trailing, s.cut = 0, false
		s.wasWell = s.wasWell || one.good > 0
	}
}

func (t *tally) add(o tally) {
	t.asked += o.asked
	t.good += o.good
	t.late += o.late
	t.twice += o.twice
	t.silent += o.silent
	t.lone += o.lone
	t.zeros += o.zeros
	t.zeroed += o.zeroed
	t.part += o.part
	t.garbled += o.garbled
	t.short += o.short
	t.behind += o.behind
	t.tail += o.tail
	t.idle += o.idle
}

// one returns the counts of one exchange.
func (c Case) one(e *exchange) tally {
	t := tally{asked: 1}
	end := c.deadline(e)
	done := end // when nothing is expected any more
	replies := 0
	for _, f := range e.frames {
		if !f.isReplyTo(e) {
			continue
		}
		last := e.when[f.from+len(f.bytes)-1]
		switch replies++; {
		case last.After(end):
			t.late = 1
		case t.good == 0:
			t.good, done = 1, last
		}
	}
	if replies > 1 {
		t.twice = 1
	}
	c.window(e, &t, done)
	return t
}

// window judges the bytes that are of no frame.
func (c Case) window(e *exchange, t *tally, done time.Time) {
	var window []byte
	var last time.Time
	soon := e.at.Add(c.wire(len(e.ask)+4) + slack)
	first := len(e.in)
	if len(e.frames) > 0 {
		first = e.frames[0].from
	}
	early := 0
	for _, i := range e.junk {
		at := e.when[i]
		if at.After(done) || t.good > 0 && i > first {
			t.idle = 1
			continue
		}
		window, last = append(window, e.in[i]), at
		if i < first && !at.After(soon) {
			early++
		}
	}
	n := len(window)
	if n <= tailMost && (n == 0 || window[0] != e.unit()) {
		t.behind = 1
		t.tail = min(early, 1)
	}
	if len(e.frames) == 0 {
		c.spoilt(e, t, window, !last.After(soon))
	}
}

// spoilt judges what came instead of a frame, isSoon: at once.
func (c Case) spoilt(e *exchange, t *tally, window []byte, isSoon bool) {
	zeros := 0
	for _, b := range window {
		if b == 0 {
			zeros++
		}
	}
	n := len(window)
	switch {
	case n == 0:
		t.silent = 1
	case isSoon && window[n-1] == 0 && (n == 1 || n <= len(e.ask)+1 && zeros*2 <= n && window[0] != e.unit()):
		t.lone = 1
	case n >= 3 && zeros*10 >= n*6:
		t.zeros = 1
		t.zeroed = zeroed(window, e.want)
	case n < e.want && window[0] == e.unit() && (n < 3 || window[1] == e.ask[1]):
		t.part = 1
	case n >= e.want-1:
		t.garbled = 1
	case n >= 3:
		t.short = 1
	}
}

// zeroed returns 1 if window has the look of a reply whose characters were followed too closely: some are missing.
func zeroed(window []byte, want int) int {
	if len(window) < want-1 {
		return 1
	}
	return 0
}
