// Package buffer keeps numbered frames on disk until every uplink has them: append, cursors, classes, retention. It is a queue's
// discipline over Badger. README.md says what is written where, in which order, and what each failure leaves.
package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate"
)

// Options say how a Queue is opened. All fields but Statfs and Log are required.
type Options struct {
	Dir      string        // the state directory; the store is in Dir/buffer
	MaxBytes int64         // limit of the store's frames, at least MinBytes
	Keep     time.Duration // how long delivered records stay while there is room
	Uplinks  []string      // names of the uplinks, each of which gets a cursor
	// Count returns how many readings stand in n records of body after skip records.
	Count func(body []byte, skip, n int) (int, error)
	// Cut returns n records of body after skip records as a body of their own.
	Cut func(body []byte, skip, n int) ([]byte, error)
	// Statfs returns the free and the total bytes of the file system that holds dir; nil = the kernel's answer.
	Statfs func(dir string) (free, total int64, err error)
	// Compactors is how many goroutines Badger compacts with, at least 2; 0 = none, for tests in fake time (its compactors poll).
	Compactors int
	Log        *slog.Logger
}

// MinBytes is the smallest limit: below it the fixed costs of the store outweigh what it keeps.
const MinBytes = 64_000_000

// ErrNoSpace means that the file system has less free space than the store needs to work safely. Nothing was written.
var ErrNoSpace = errors.New("no space")

// maxCommit bounds the frames of one transaction; Badger's own limit is 15 % of the memtable, 629,145 bytes.
const maxCommit = 560 << 10

// MaxFrame is the largest body of one frame.
const MaxFrame = 400 << 10

// tailBytes is how much of what is committed stays in memory for cursors that are not far behind.
const tailBytes = 1 << 20

// A Tally counts records and their readings.
type Tally struct {
	Records  uint64 `json:"records"`
	Readings uint64 `json:"readings"`
}

func (t *Tally) add(records, readings uint64) { t.Records += records; t.Readings += readings }

func (t *Tally) sub(x Tally) { t.Records -= x.Records; t.Readings -= x.Readings }

// classes in the order in which retention drops them; the index into Tallies is the class.
var dropOrder = [...]tidegate.Class{tidegate.ClassDebug, tidegate.ClassReading, tidegate.ClassAudit, tidegate.ClassAlarm}

// Tallies are counts by class; index = tidegate.Class.
type Tallies [5]Tally

// Device returns the counts of what devices reported: classes reading and debug.
func (t *Tallies) Device() Tally {
	r, d := t[tidegate.ClassReading], t[tidegate.ClassDebug]
	return Tally{r.Records + d.Records, r.Readings + d.Readings}
}

// A Queue is safe for concurrent use, but Commit, Retain and Close are called by one goroutine.
type Queue struct {
	o     Options
	db    *badger.DB
	limit int64         // MaxBytes, or less on a smaller file system
	moved chan struct{} // cap 1: a cursor moved
	hurt  hurt          // damaged frames that reading came upon

	mu       sync.Mutex // guards all below
	segments [5][]*segment
	tails    [5]tail
	counter  uint64 // of the newest segment
	cursors  []*Cursor
	epochs   map[uint32]Epoch
	dirty    map[uint32]bool   // epochs not on disk yet
	acked    map[uint32]bool   // epochs of which a record was acknowledged; stored with the cursors
	highest  map[uint32]uint64 // highest number seen by epoch
	rules    map[string][]byte
	position Position
	produced Tallies         // all that was committed or dropped before, by class
	gaps     uint64          // declarations committed
	requests []Declaration   // to be declared by the agent; see Requests
	asked    map[damage]bool // damaged frames that were asked for already
	failure  error           // of the last commit; nil = it went well
	unmark   []segmentName   // dropped segments whose index key is still there
}

// A Commit is what becomes durable in one transaction.
type Commit struct {
	Frames   []Frame // in the order of their numbers; their bodies are at most MaxFrame together
	Position Position
	Rules    map[string][]byte // changed rule state by rule; nil bytes = forget the rule
	Declared []Declaration     // of the gaps among Frames
}

// Position returns how far the store had followed the rings as of the last commit; its Time is 0 before the first one.
func (q *Queue) Position() Position {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.position
}

// Rules returns the state of all rules as of the last commit.
func (q *Queue) Rules() map[string][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.rules)
}

// An Epoch is a stretch of one line of numbers, known inside the gateway by its ordinal. Several may share a name: then they are one
// epoch to the far side, and their numbers rise from one to the next. Each start that cannot know whether it stands on a
// restored backup begins a new ordinal, so that it can be renamed as long as nothing of it was delivered.
type Epoch struct {
	ID    string // its name on the wire
	Start uint64 // its first number
}

// Epochs returns the epochs by ordinal.
func (q *Queue) Epochs() map[uint32]Epoch {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.epochs)
}

// AddEpoch makes the epoch with that ordinal known, under this name; it is stored with the next commit.
func (q *Queue) AddEpoch(ordinal uint32, e Epoch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.epochs[ordinal] != e {
		q.epochs[ordinal] = e
		q.dirty[ordinal] = true
	}
}

// Rename gives the epochs called old, as far as no record of them was ever acknowledged, the name id: the far side has other
// records under their numbers. It returns the ordinals, rising; their first Start is the lowest number of the new name.
func (q *Queue) Rename(old, id string) []uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []uint32
	for ordinal, e := range q.epochs {
		if e.ID != old || q.acked[ordinal] {
			continue
		}
		e.ID = id
		q.epochs[ordinal] = e
		q.dirty[ordinal] = true
		out = append(out, ordinal)
	}
	slices.Sort(out)
	q.wakeLocked()
	return out
}

// Put makes frames visible to cursors, in order within their class, each record once: before it is durable, or after the commit that
// made it so. Numbers rise within a class.
func (q *Queue) Put(frames ...Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range frames {
		q.tails[f.Class].push(f)
		q.highest[f.Epoch] = max(q.highest[f.Epoch], f.Last)
		for _, c := range q.cursors {
			c.buffered[f.Class].add(f.Records(), uint64(f.Count))
		}
	}
	q.wakeLocked()
}

func (q *Queue) wakeLocked() {
	for _, c := range q.cursors {
		c.signal()
	}
}

// Commit makes c durable: when it returns nil, all of c survives a power cut. Frames that were Put before are the same records; the
// caller Puts the others afterwards. An error wrapping ErrNoSpace means that nothing was written; after any other error it is not
// known whether c is durable, and the same Commit is to be tried again before any other.
func (q *Queue) Commit(c Commit) error {
	size := 0
	for i := range c.Frames {
		size += frameHeader + len(c.Frames[i].Body)
	}
	if size > maxCommit {
		return fmt.Errorf("commit of %d bytes, at most %d", size, maxCommit)
	}
	if err := q.room(int64(size)); err != nil {
		q.mu.Lock()
		q.failure = err
		q.mu.Unlock()
		return err
	}
	started := time.Now()
	q.mu.Lock()
	w := q.planLocked(&c)
	q.mu.Unlock()
	err := w.run(q.db)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failure = err
	if err != nil {
		return fmt.Errorf("commit records up to %d: %w", c.Position.Next, err)
	}
	q.applyLocked(&c, w)
	q.position.Slowest = max(q.position.Slowest*15/16, time.Since(started))
	return nil
}

// A write is a planned transaction.
type write struct {
	set      []pair
	del      [][]byte
	touched  map[segmentName]*segment // as they will be
	counter  uint64
	produced Tallies
	gaps     uint64
	cursors  []cursorState // as they will be, in the order of q.cursors
}

type pair struct{ key, value []byte }

func (w *write) put(key, value []byte) { w.set = append(w.set, pair{key, value}) }

func (w *write) run(db *badger.DB) error {
	return db.Update(func(txn *badger.Txn) error {
		for _, p := range w.set {
			if err := txn.Set(p.key, p.value); err != nil {
				return err
			}
		}
		for _, k := range w.del {
			if err := txn.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// planLocked works out the transaction of c. In memory it changes only what may be changed again in the same way: the cursors' done.
func (q *Queue) planLocked(c *Commit) *write {
	w := &write{touched: map[segmentName]*segment{}, counter: q.counter, produced: q.produced, gaps: q.gaps}
	for i := range c.Frames {
		f := &c.Frames[i]
		s := q.segmentFor(w, f)
		value := appendFrame(nil, f)
		next := s.add(f, len(value)+len(frameKey(s.segmentName, f.First)))
		next.closed = next.bytes >= q.segmentSize() || len(next.runs) >= maxRuns
		w.touched[s.segmentName] = &next
		w.put(frameKey(s.segmentName, f.First), value)
		w.produced[f.Class].add(f.Records(), uint64(f.Count))
	}
	for i := range c.Declared {
		q.declareLocked(w, &c.Declared[i])
	}
	for name, s := range w.touched {
		w.put(name.key(keyIndex), s.encode())
	}
	for _, name := range q.unmark {
		w.del = append(w.del, name.key(keyIndex))
	}
	for name, state := range c.Rules {
		if state == nil {
			w.del = append(w.del, metaKey("rule", name))
		} else {
			w.put(metaKey("rule", name), state)
		}
	}
	for e := range q.dirty {
		w.put(metaKey("epoch", string(binaryEpoch(e))), q.epochs[e].encode())
	}
	for _, cur := range q.cursors {
		state := cur.stateLocked()
		w.cursors = append(w.cursors, state)
		if cur.dirty {
			w.put(metaKey("cursor", cur.name), state.encode())
		}
	}
	p := c.Position
	p.Slowest = max(p.Slowest, q.position.Slowest)
	w.put(metaKey("pos"), p.encode())
	w.put(metaKey("totals"), encodeTotals(w.produced, w.gaps))
	return w
}

// segmentFor returns the segment that takes f: the open one of its class and epoch, or a new one.
func (q *Queue) segmentFor(w *write, f *Frame) *segment {
	var open *segment
	for _, s := range q.segments[f.Class] {
		if s.epoch == f.Epoch && !s.closed && !s.doomed {
			open = s
		}
	}
	for _, s := range w.touched {
		if s.class == f.Class && s.epoch == f.Epoch && (open == nil || s.counter >= open.counter) {
			open = s
		}
	}
	if open != nil && !open.closed {
		return open
	}
	w.counter++
	return &segment{segmentName: segmentName{f.Class, f.Epoch, w.counter}}
}

// declareLocked lets d take effect: the numbers are done for its uplinks, counted as declared or rejected.
func (q *Queue) declareLocked(w *write, d *Declaration) {
	w.gaps++
	if d.Cause == tidegate.CauseRingFull {
		w.produced[tidegate.ClassReading].add(d.Ranges.Len(), d.Count)
	}
	for _, cur := range q.cursors {
		if d.Uplink == "" || d.Uplink == cur.name {
			cur.declareLocked(d)
		}
	}
	if d.Cause == tidegate.CauseRejected {
		q.setAsideLocked(w, d)
	}
	if d.segment == (segmentName{}) {
		return
	}
	for _, s := range q.segments[d.segment.class] {
		if s.segmentName == d.segment {
			next := *s
			next.doomed, next.marked, next.closed = true, true, true
			w.touched[s.segmentName] = &next
		}
	}
}

// applyLocked makes what w wrote the state in memory.
func (q *Queue) applyLocked(c *Commit, w *write) {
	for name, next := range w.touched {
		list := q.segments[name.class]
		i := slices.IndexFunc(list, func(s *segment) bool { return s.segmentName == name })
		if i < 0 {
			q.segments[name.class] = append(list, next)
			sortSegments(q.segments[name.class])
			continue
		}
		*list[i] = *next
	}
	for i := range c.Frames {
		f := &c.Frames[i]
		q.highest[f.Epoch] = max(q.highest[f.Epoch], f.Last)
		q.tails[f.Class].committed(f.Epoch, f.Last)
	}
	q.counter, q.produced, q.gaps = w.counter, w.produced, w.gaps
	q.unmark = nil
	clear(q.dirty)
	for name, state := range c.Rules {
		if state == nil {
			delete(q.rules, name)
		} else {
			q.rules[name] = state
		}
	}
	for i, cur := range q.cursors {
		cur.committedLocked(w.cursors[i])
	}
	slowest := q.position.Slowest
	q.position = c.Position
	q.position.Slowest = max(slowest, c.Position.Slowest)
}

// Close closes the store. Nothing that was Put but not committed is kept by it; the rings keep that.
func (q *Queue) Close() error {
	if err := q.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

func (e Epoch) encode() []byte {
	w := packer{}
	w.uint(1) // version
	w.text(e.ID)
	w.uint(e.Start)
	return w.b
}

func decodeEpoch(b []byte) (e Epoch, err error) {
	u := unpacker{b: b}
	u.uint()
	e.ID, e.Start = u.text(), u.uint()
	return e, u.done("epoch")
}

func encodeTotals(t Tallies, gaps uint64) []byte {
	w := packer{}
	w.uint(1) // version
	for _, x := range t {
		w.uint(x.Records)
		w.uint(x.Readings)
	}
	w.uint(gaps)
	return w.b
}

func decodeTotals(b []byte) (t Tallies, gaps uint64, err error) {
	u := unpacker{b: b}
	u.uint()
	for i := range t {
		t[i].Records, t[i].Readings = u.uint(), u.uint()
	}
	gaps = u.uint()
	return t, gaps, u.done("totals")
}
