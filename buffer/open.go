package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/quota"
	"github.com/tidegate-io/tidegate/buffer/salvage"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
	"github.com/tidegate-io/tidegate/buffer/wear"
)

// most32 is the largest limit of a 32-bit process, which maps all tables into its address space.
const most32 = 1 << 30

// Open opens the queue of the state directory, or makes one. Errors wrapping ErrNoSpace mean that the file system is too full to open
// it safely even without the ballast: try again later. With SetAside a damaged store is set aside (BadStores) and a new one made in its
// place, else the error wraps ErrDamaged. An error wrapping ErrKey means that the store is sealed with a key that Options.Keys lacks: nothing was changed.
func Open(o Options) (*Queue, error) {
	if o.MaxBytes < MinBytes {
		return nil, fmt.Errorf("buffer limit is %d bytes, at least %d", o.MaxBytes, int64(MinBytes))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if began := time.Now(); o.Boot == nil {
		o.Boot = func() time.Duration { return time.Since(began) }
	}
	q, err := openNoted(&o)
	if !o.SetAside || !errors.Is(err, ErrDamaged) {
		return q, err
	}
	to, failed := disk.SetAside(o.Dir, o.MaxBytes, o.Log)
	if failed != nil {
		return nil, errors.Join(err, failed)
	}
	o.Log.Error("store is damaged: it was set aside, and a new one is made", "err", err, "path", to)
	if err := disk.NoteSound(o.Dir); err != nil { // the starts of the one before
		o.Log.Warn("starts are counted wrongly", "err", err)
	}
	return openNoted(&o)
}

// verifyFor is how long a start waits for the verification of a suspect store.
const verifyFor = 3 * time.Second

// openNoted opens the store, and notes that for the next start, should this process end by it. A suspect store is verified before.
func openNoted(o *Options) (*Queue, error) {
	if !o.SetAside {
		return openStore(o, nil)
	}
	suspect := o.Verify != nil && disk.IsSuspect(o.Dir)
	var tail *disk.Tail
	if suspect {
		found, err := disk.FindTail(o.Dir)
		if err != nil {
			return nil, err
		}
		tail = &found
		o.Log.Warn("processes ended while they used the store: it is verified")
		if err := o.Verify(o.Dir, verifyFor); err != nil {
			return nil, err
		}
	}
	noted := disk.NoteOpening(o.Dir, suspect)
	q, err := openStore(o, tail)
	if noted = errors.Join(noted, disk.NoteOpened(o.Dir, err == nil)); noted != nil {
		o.Log.Debug("starts are not counted", "err", noted)
	}
	return q, err
}

// NoteSound notes that the store was in use for a while: it is not to blame if the process ends now.
func (q *Queue) NoteSound() error { return disk.NoteSound(q.o.Dir) }

// salvage brings what can be read of stores that were set aside into the new one.
func (q *Queue) salvage() error {
	if q.o.Salvage == nil || !q.o.SetAside {
		return nil
	}
	found, err := salvage.All(q.o.Dir, q.o.Salvage, salvage.Options{Store: q.disk, Segment: q.segmentSize(tidegate.ClassReading), Share: q.shareOut, Epochs: q.o.Epochs, Keys: q.o.Keys}, q.o.Log)
	for e, x := range found.Epochs {
		q.epochs[e], q.dirty[e] = x, true
	}
	q.salvaged = found.Cursors
	return err
}

// openStore opens the store, whose logs were found so; nil = nobody has looked.
func openStore(o *Options, tail *disk.Tail) (*Queue, error) {
	d, err := disk.Open(disk.Options{Dir: o.Dir, Tail: tail, NoSync: o.NoSync, Bare: o.Bare, Statfs: o.Statfs, Limit: o.MaxBytes, Compactors: o.Compactors, Version: o.Version, Log: o.Log, Keys: o.Keys})
	if err != nil {
		return nil, err
	}
	q := newQueue(o, d)
	if err := q.salvage(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := q.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read store of %s: %w", o.Dir, err), d.Close())
	}
	if q.o.Written == nil {
		q.o.Written = d.Written
	}
	if q.card, err = wear.NewCard(q.worn, q.totals.Written, o.WrittenPerDay, o.Boot, q.o.Written); err != nil {
		o.Log.Warn("wear of the card", "err", err)
	}
	q.setLimit()
	q.measureLocked() // nobody else has q yet
	d.SetLogTime(d.Tail().At)
	return q, nil
}

// TailLost reports whether transactions that were acknowledged are gone from the end of the store, nobody knows how many, as far as it was not seen to be written
// to later than within behind the last commit that it has; after a clean stop it says nothing. A clock that steps between two commits deceives it, to either side.
func (q *Queue) TailLost(within time.Duration) bool {
	last, found := q.Position().Time, q.disk.Tail()
	return found.Lost || last != 0 && found.At.After(time.UnixMilli(last).Add(within))
}

// beside writes what is no commit, after which the log still says when the last one was.
func (q *Queue) beside(set []disk.Pair, del [][]byte) error {
	defer q.dateLog()
	return q.disk.Write(set, del)
}

// dateLog has the log say when the last commit was, of which TailLost knows.
func (q *Queue) dateLog() {
	if last := q.Position().Time; last != 0 {
		q.disk.SetLogTime(time.UnixMilli(last))
	}
}

// BadStores returns the paths of damaged stores that were set aside in the state directory, the oldest first.
func (q *Queue) BadStores() []string { return disk.BadStores(q.o.Dir) }

func newQueue(o *Options, d *disk.Store) *Queue {
	if o.Classes == (quota.Plan{}) {
		o.Classes = quota.Default()
	}
	q := &Queue{
		o: *o, disk: d, limit: o.MaxBytes, epochs: map[uint32]Epoch{}, dirty: map[uint32]bool{}, acked: map[uint32]bool{}, highest: map[uint32]uint64{},
		rules: map[string][]byte{}, hurt: map[stored.Segment]bool{}, moved: make(chan struct{}, 1),
		keys: o.Keys, shelved: map[uint32]bool{}, toGo: map[string][]stored.Again{},
		stale: map[string]seal.ID{}, asideBy: map[seal.ID]int{},
	}
	for class := range q.tails {
		q.tails[class].keep = tailBytes
		if o.sizes.tail > 0 {
			q.tails[class].keep = o.sizes.tail
		}
	}
	return q
}

// lookEvery is how often Retain fits the limit to the free space.
const lookEvery = time.Minute

// setLimit fits the limit to what the file system can hold beside the reserve and the ballast. It never shrinks below what is kept, so
// that nothing goes that had room: others may hold the space for a while only.
func (q *Queue) setLimit() {
	free, total, err := q.disk.Free()
	q.mu.Lock()
	defer q.mu.Unlock()
	most := q.o.MaxBytes
	if q.o.MaxShare > 0 && err == nil {
		most = min(most, total/100*int64(q.o.MaxShare))
	}
	q.most = most
	if bits.UintSize == 32 {
		most = min(most, most32)
	}
	if err != nil {
		q.o.Log.Warn("ask free space", "err", err)
		q.limit = most
		return
	}
	var own int64
	for class := range q.segments {
		for _, s := range q.segments[class] {
			own += s.kept()
		}
	}
	kept := min(q.limit, own+fixedBytes) // of the limit before, or on a small disk it would rise by what is over it
	q.limit = min(most, max(own+free, kept, 2*fixedBytes))
}

// Limit returns the limit in force, in bytes: Options.MaxBytes, or less where the file system is smaller or the machine has 32 bits.
func (q *Queue) Limit() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limit
}

// load reads indexes, position, cursors, epochs and rule state. Frames are read only where a cursor is done with a part of a segment.
func (q *Queue) load() error {
	cursors := map[string]stored.Cursor{}
	for _, prefix := range []byte{stored.KeyIndex, stored.KeyMeta} {
		err := q.disk.Each([]byte{prefix}, func(key, v []byte, _ uint64) error {
			if err := q.loadKey(key, v, cursors); err != nil {
				return fmt.Errorf("key %q: %w", key, err)
			}
			return nil
		})
		if err == nil && prefix == stored.KeyIndex {
			err = q.lookAtKeys()
		}
		if err != nil {
			return err
		}
	}
	if got := q.digestLocked(nil) ^ q.read; got != q.totals.Digest {
		return fmt.Errorf("indexes and position are not those of one commit: their digest is %016x, want %016x: %w", got, q.totals.Digest, ErrDamaged)
	}
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if s.Lived == 0 {
				s.Lived = q.position.Lived // of a version that knew no age: it counts from now on
			}
			q.highest[s.Epoch] = max(q.highest[s.Epoch], s.Last())
			q.totals.Segment = max(q.totals.Segment, s.Counter)
			q.tails[class].top = Place{s.Epoch, s.Last() + 1}
		}
	}
	q.highest[q.position.Epoch] = max(q.highest[q.position.Epoch], max(q.position.Next, 1)-1)
	if err := q.finishDrops(); err != nil {
		return err
	}
	for _, name := range q.o.Uplinks {
		st, known := cursors[name]
		delete(cursors, name)
		if !known {
			q.continueCursor(name, &st)
		}
		if err := q.loadCursor(name, &st, known); err != nil {
			return err
		}
	}
	if err := q.loadAside(); err != nil {
		return err
	}
	for name, st := range cursors {
		n, err := q.orphaned(name, st.Done)
		if err != nil {
			return err
		}
		q.o.Log.Warn("uplink was removed: its account is closed, and what only it was to get goes nowhere", "uplink", name, "readings", n.Readings)
		q.unmark = append(q.unmark, stored.MetaKey(stored.MetaCursor, name))
	}
	return nil
}

// continueCursor puts a cursor of a new store where the damaged one's was, or where the lease has it, with a new account.
func (q *Queue) continueCursor(name string, st *stored.Cursor) {
	if old, ok := q.salvaged[name]; ok {
		st.Done, st.Acked = old.Done, old.Acked
		return
	}
	st.Done = map[stored.Stream]tidegate.Ranges{}
	for _, c := range q.o.Coarse {
		for class := range q.segments {
			if c.Uplink == name && c.Number > 0 && len(q.segments[class]) > 0 {
				st.Done[stored.Stream{Class: tidegate.Class(class), Epoch: c.Epoch}] = tidegate.Ranges{{First: 1, Last: c.Number}}
			}
		}
	}
}

func (q *Queue) loadCursor(name string, st *stored.Cursor, known bool) error {
	c := &Cursor{
		q: q, name: name, wake: make(chan struct{}, 1), done: map[stored.Stream]tidegate.Ranges{}, saved: st.Done,
		hidden:    map[uint32]tidegate.Ranges{},
		delivered: st.Delivered, rejected: st.Rejected, declared: st.Declared, before: st.Before, routed: st.Routed, thinned: st.Thinned,
	}
	for s, r := range st.Done {
		if _, known := q.epochs[s.Epoch]; known { // else it was forgotten
			c.done[s] = r.Clone()
		} else {
			c.changes++
		}
	}
	for _, e := range st.Acked {
		q.acked[e] = true
	}
	q.cursors = append(q.cursors, c)
	q.wakeLocked()
	if err := c.countBuffered(); err != nil {
		return err
	}
	if !known { // a new uplink: what is gone by now was never its
		c.before = q.totals.Produced
		for class := range c.before {
			c.before[class].Sub(c.buffered[class])
		}
		c.changes++
	}
	return nil
}

// countBuffered counts what the store holds that is not done; for a start.
func (c *Cursor) countBuffered() error {
	for class := range c.q.segments {
		for _, s := range c.q.segments[class] {
			want := s.without(c.done[s.stream()], nil, 0)
			if len(want) == 0 {
				continue
			}
			var p part
			if err := c.findStored(&p, s, &want); err != nil {
				return err
			}
			c.buffered[class].Add(p.Tally)
		}
	}
	return nil
}

func (q *Queue) loadKey(key, v []byte, cursors map[string]stored.Cursor) (err error) {
	if key[0] == stored.KeyIndex {
		s := &segment{}
		if s.Segment, err = stored.ParseSegment(key); err != nil {
			return err
		}
		if s.Index, err = stored.DecodeIndex(v); err == nil {
			q.segments[s.Class] = append(q.segments[s.Class], s)
		}
		return err
	}
	switch word, name := stored.ParseMeta(key); word {
	case stored.MetaPosition:
		q.read = stored.DigestOf(v)
		q.position, err = stored.DecodePosition(v)
	case stored.MetaTotals:
		q.totals, err = stored.DecodeTotals(v)
	case stored.MetaEpoch:
		var e uint32
		if e, err = stored.ParseEpochName(name); err == nil {
			q.epochs[e], err = stored.DecodeEpoch(v)
		}
	case stored.MetaWear:
		q.worn, err = stored.Unseal("wear of the card", v)
	case stored.MetaRule:
		q.rules[name], err = stored.Unseal("state of rule "+name, v)
	case stored.MetaCursor:
		cursors[name], err = stored.DecodeCursor(v)
	case stored.MetaAgain:
		q.toGo[name], err = stored.DecodeAgain(v)
	}
	return err
}

// finishDrops drops the segments that were marked before the process ended.
func (q *Queue) finishDrops() error {
	var marked []*segment
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if s.Dropping && !s.Gone {
				marked = append(marked, s)
			}
		}
	}
	for _, s := range marked {
		if err := q.drop(s); err != nil {
			return err
		}
	}
	return nil
}
