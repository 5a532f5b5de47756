package forward

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

// lane is one stream of records on their way: looked at, then decoded, then taken into batches.
type lane struct {
	f     *Forwarder
	lane  Lane
	class tidegate.Class

	next  buffer.Place // where the next look begins
	floor buffer.Place // live lane: where the last jump landed
	more  bool         // a look may show something
	pend  []pending    // looked at, not decoded
	bytes int          // bodies in pend
	count int          // readings in pend, about
	recs  []tidegate.Record
	base  []tidegate.Record // the storage of recs
	ready int               // readings in recs
	epoch uint32            // of recs
	name  string            // of their epoch
	aside tidegate.Ranges   // of the epoch: numbers that the far side is to be told to skip beside them
	since time.Time         // when recs were looked at
	tail  uint64            // number of the first record of the frame decoded last
	seen  time.Time         // when that frame was looked at

	before  *lane // backlog: the live lane; only what lies before it is taken
	suspect int   // records at the front among which one is refused; 0 = none known
}

// pending is a frame that was looked at.
type pending struct {
	buffer.Look
	seen time.Time
}

// empty reports whether l has nothing to send for now.
func (l *lane) empty() bool { return len(l.pend) == 0 && len(l.recs) == 0 }

// readings returns about how many readings l can send now.
func (l *lane) readings() int { return l.ready + l.count }

// oldest returns when the first record that l can send was looked at.
func (l *lane) oldest() time.Time {
	if len(l.recs) > 0 {
		return l.since
	}
	return l.pend[0].seen
}

// idle reports whether nothing that l can send is meant for this uplink: there are only numbers to skip.
func (l *lane) idle() bool {
	return l.ready == 0 && !slices.ContainsFunc(l.pend, func(p pending) bool { return !p.Idle })
}

// due returns when l is to send what it has, whether it is full or not.
func (l *lane) due() time.Time {
	if l.idle() {
		return l.oldest().Add(max(l.f.o.Every, idleEvery))
	}
	return l.oldest().Add(l.f.o.Every)
}

// place returns where the first record lies that l did not take yet.
func (l *lane) place() buffer.Place {
	if len(l.recs) > 0 {
		return buffer.Place{Epoch: l.epoch, Number: l.recs[0].Number}
	}
	if len(l.pend) > 0 {
		return buffer.Place{Epoch: l.pend[0].Epoch, Number: l.pend[0].Want[0].First}
	}
	return l.next
}

// rewind makes l begin again at p.
func (l *lane) rewind(p buffer.Place) {
	l.next, l.more, l.suspect = p, true, 0
	l.clear()
}

// rewindBefore makes l begin again no later than p.
func (l *lane) rewindBefore(p buffer.Place) {
	if q := l.place(); q.Before(p) {
		p = q
	}
	l.rewind(p)
}

// clear forgets what was looked at.
func (l *lane) clear() {
	clear(l.pend)
	clear(l.base[:cap(l.base)])
	l.pend, l.bytes, l.count = l.pend[:0], 0, 0
	l.base = l.base[:0]
	l.recs, l.ready, l.aside = nil, 0, nil
}

// look fills l up to about so many readings; taken are the numbers that are on their way already.
func (l *lane) look(want int, c *conn) error {
	for l.more && l.readings() < want && l.bytes < holdBytes {
		looks, err := l.f.o.Source.Next(l.class, l.next, lookBytes)
		if err != nil {
			return halt("look at the queue", err)
		}
		if len(looks) == 0 {
			l.more = false
			return nil
		}
		for i := range looks {
			if !l.add(&looks[i], c) {
				return nil
			}
		}
	}
	return nil
}

// add puts one look behind the others, less what lies before the lane's place, is on its way, is held back, or is live while l is
// the backlog. It returns false when l has reached the live lane.
func (l *lane) add(k *buffer.Look, c *conn) bool {
	first, last := k.First, k.Last
	if k.Epoch == l.next.Epoch {
		first = max(first, l.next.Number)
	}
	end := false
	if l.before != nil {
		live := l.before.place()
		if !(buffer.Place{Epoch: k.Epoch, Number: first}).Before(live) {
			l.more = false
			return false
		}
		if k.Epoch == live.Epoch && last >= live.Number {
			last, end = live.Number-1, true
		}
	}
	l.next = buffer.Place{Epoch: k.Epoch, Number: last + 1}
	want := k.Want.Within(tidegate.Range{First: first, Last: last})
	for _, r := range c.flying(k.Epoch).Within(tidegate.Range{First: first, Last: last}) {
		want.Remove(r)
	}
	if held := l.f.poison.held(k.Epoch); held != nil {
		want.Remove(*held)
	}
	if len(want) > 0 {
		p := pending{Look: *k, seen: time.Now()}
		p.Count = uint32(uint64(k.Count) * want.Len() / max(k.Records(), 1))
		p.Count -= min(p.Count, uint32(uint64(k.Away)*want.Len()/k.Want.Len()))
		p.Want, p.Skip = want, k.Skip.Clone()
		if len(p.Skip) > 0 {
			for _, r := range c.flying(k.Epoch).Within(tidegate.Range{First: p.Skip[0].First, Last: k.Last}) {
				p.Skip.Remove(r)
			}
		}
		l.pend = append(l.pend, p)
		l.bytes += len(k.Body)
		l.count += int(p.Count)
	}
	if end {
		l.more = false
	}
	return !end
}

// decode makes records of pending frames until there are so many readings, as long as they are of one epoch. Frames whose body
// cannot be decoded are set aside.
func (l *lane) decode(want int) error {
	for l.ready < want && len(l.recs) < maxRecords && len(l.pend) > 0 {
		p := &l.pend[0]
		if len(l.recs) > 0 && p.Epoch != l.epoch {
			return nil
		}
		if p.Epoch != l.epoch {
			l.aside = nil
		}
		if len(l.recs) == 0 {
			l.base, l.epoch, l.name, l.since = l.base[:0], p.Epoch, p.EpochID, p.seen
		}
		if err := l.open(p); err != nil {
			return err
		}
		l.bytes -= len(p.Body)
		l.count -= int(p.Count)
		l.pend[0] = pending{}
		l.pend = l.pend[1:]
	}
	return nil
}

// open appends the wanted records of p to recs.
func (l *lane) open(p *pending) error {
	taken := len(l.base) - len(l.recs)
	if taken > len(l.recs) {
		n := copy(l.base, l.recs)
		clear(l.base[n:])
		l.base, taken = l.base[:n], 0
	}
	l.tail, l.seen = p.First, p.seen
	l.aside.AddAll(p.Skip)
	all, err := l.f.o.Decode(l.base, p.Class, p.First, p.Body)
	if err == nil {
		err = numbered(all[len(l.base):], p)
	}
	if err != nil {
		for _, r := range p.Want {
			l.f.o.Log.Error("frame cannot be decoded", "class", p.Class, "first", r.First, "last", r.Last, "cause", err)
			if err := l.f.reject(p.Epoch, p.EpochID, r, err.Error()); err != nil {
				return err
			}
		}
		return nil
	}
	keep := len(l.base)
	for i := keep; i < len(all); i++ {
		if p.Want.Contains(all[i].Number) {
			all[keep] = all[i]
			if !l.f.pack.IsFor(&all[keep]) {
				all[keep].Readings = nil // only its number is told
			}
			l.ready += len(all[keep].Readings)
			keep++
		}
	}
	clear(all[keep:])
	l.base = all[:keep]
	l.recs = l.base[taken:]
	return nil
}

// numbered checks that recs are the records that the frame says it holds.
func numbered(recs []tidegate.Record, p *pending) error {
	if n := p.Last - p.First + 1; uint64(len(recs)) != n {
		return fmt.Errorf("decode frame: got %d records, want %d", len(recs), n)
	}
	for i := range recs {
		if n := p.First + uint64(i); recs[i].Number != n {
			return fmt.Errorf("decode frame: got record %d, want %d", recs[i].Number, n)
		}
	}
	return nil
}

// told removes from what is to be told what was handed over.
func (l *lane) told(rs tidegate.Ranges) {
	for _, r := range rs {
		l.aside.Remove(r)
	}
}

// took removes the first n records, which were handed over or set aside.
func (l *lane) took(n int) {
	for i := range l.recs[:n] {
		l.ready -= len(l.recs[i].Readings)
	}
	l.recs = l.recs[n:]
	if len(l.recs) > 0 && l.recs[0].Number >= l.tail {
		l.since = l.seen
	}
	if l.suspect > 0 {
		l.suspect = max(0, l.suspect-n)
	}
}

// refused notes that a batch of the first n records was refused, so that the next ones are halves.
func (l *lane) refused(n int) { l.suspect = n }

// bound returns how many records the next batch may hold at most, for the sake of a record that is being isolated.
func (l *lane) bound(n int) int {
	if l.suspect > 1 {
		n = min(n, (l.suspect+1)/2)
	} else if l.suspect == 1 {
		n = 1
	}
	return n
}
