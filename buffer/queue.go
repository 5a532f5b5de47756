// Package buffer keeps numbered frames on disk until every uplink has them: append, cursors, classes, retention. It is a queue's
// discipline over Badger. README.md says what is written where, in which order, and what each failure leaves.
package buffer

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/quota"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
	"github.com/tidegate-io/tidegate/buffer/wear"
)

// Limits say how much is kept, and for how long. Time is that for which machines ran with the state directory (Position.Lived), whatever clocks say.
type Limits struct {
	MaxBytes int64         // limit of the store, at least MinBytes
	MaxShare int           // the same in percent of the file system, 1 to 100; 0 = all of it
	Keep     time.Duration // how long delivered records stay while there is room
	MaxAge   time.Duration // how long any stay; 0 = for ever
	Classes  quota.Plan    // what each class may take of the limit; zero = quota.Default
}

// Options say how a Queue is opened. All fields but NoSync, Bare, SetAside, Salvage, Verify, Epochs, Coarse, Statfs, Version, Log, Keys, WrittenPerDay, Boot and Written are required.
type Options struct {
	Dir string // the state directory; the store is in Dir/buffer
	Limits
	Uplinks  []string // names of the uplinks, each of which gets a cursor
	NoSync   bool     // Dir is on tmpfs: there is nothing to sync
	Bare     bool     // no files at all, but memory of this process
	SetAside bool     // a damaged store gives way to a new one: for who declares what was in it
	// Salvage returns what salvage.Write makes of the store in dir, see salvage.Child; nil = nothing is brought over from a damaged store.
	Salvage func(dir string) (io.ReadCloser, error)
	// Verify reads all of the store in a process of its own, see salvage.Verify; nil = no store is verified before it is opened.
	Verify func(stateDir string, within time.Duration) error
	Epochs map[uint32]Epoch // those that the lease knows, for what is salvaged
	Coarse []CoarseCursor   // those of the lease, for a store that knows of none
	// Count returns how many readings stand in n records of body after skip records.
	Count func(body []byte, skip, n int) (int, error)
	// Each calls f with every record of body: the only uplink it is meant for, "" = all, and its readings. It is called for frames that are Apart.
	Each func(body []byte, f func(uplink string, readings int)) error
	// Cut returns n records of body after skip records as a body of their own.
	Cut func(body []byte, skip, n int) ([]byte, error)
	// Span returns the earliest and the latest time of n records of body after skip records, Unix milliseconds; any goroutine calls it.
	// nil = of a frame only what its header says is known.
	Span func(body []byte, skip, n int) (t0, t1 int64, err error)
	// Statfs returns the free and the total bytes of the file system that holds dir; nil = the kernel's answer.
	Statfs func(dir string) (free, total int64, err error)
	// Compactors is how many goroutines Badger compacts with, at least 2; 0 = none, where Compact runs.
	Compactors int
	Version    string // of the program; the self-test of 32-bit machines is made once for each
	Log        *slog.Logger
	Keys       *seal.Keys // what frames, states of rules and what is set aside are sealed with, and what opens them; nil = they are in the clear
	// WrittenPerDay is how many bytes a day may go to the card, 0 = any; Pace says what is to be done about it.
	WrittenPerDay int64
	// Boot returns the boot time; nil = time since the queue was opened.
	Boot func() time.Duration
	// Written returns how many bytes this process has written to disk; nil = the kernel's answer, and what the file system adds.
	Written func() uint64

	sizes sizes
	slow  func() // waits as long as the disk of a test is slow; nil = it is not
}

// sizes are those that tests make small; 0 = as they should be.
type sizes struct {
	segment int64 // bytes of a segment
	budget  int64 // bytes of all frames
	tail    int   // bytes that stay in memory
}

// MinBytes is the smallest limit: below it the fixed costs of the store outweigh what it keeps.
const MinBytes = 64_000_000

// MaxFrame is the largest body of one frame, and of all frames of one Commit together.
const MaxFrame = stored.MaxFrame

// ErrNoSpace means that the file system has less free space than the store needs to work safely. Nothing was written.
var ErrNoSpace = disk.ErrNoSpace

// A Queue is safe for concurrent use, but Commit, Requests, Retain and Close are called by one goroutine.
// Nothing waits for the disk while it holds mu: a card may hang for seconds, and Put must not.
type Queue struct {
	o     Options
	disk  *disk.Store
	card  *wear.Card
	moved chan struct{} // cap 1: a cursor moved

	looked  time.Duration // when Retain last fitted the limit
	sealing sync.Mutex    // held by who writes: the key does not change meanwhile; taken before mu

	mu       sync.Mutex           // guards all below
	limit    int64                // Options.MaxBytes, or less on a smaller file system
	most     int64                // that the limit can be, free space aside
	refused  [stored.Classes]bool // of what nothing new is to be taken
	segments [stored.Classes][]*segment
	tails    [stored.Classes]tail
	cursors  []*Cursor // the list itself does not change
	epochs   map[uint32]Epoch
	dirty    map[uint32]bool   // epochs not on disk yet
	acked    map[uint32]bool   // epochs of which a record was acknowledged; stored with the cursors
	highest  map[uint32]uint64 // highest number seen by epoch
	rules    map[string][]byte
	position Position
	totals   stored.Totals             // of what is committed
	requests []Declaration             // to be declared by the agent; see Requests
	hurt     map[stored.Segment]bool   // segments in which reading missed records
	failure  error                     // of the last commit; nil = it went well
	unmark   [][]byte                  // keys to delete with the next commit: indexes of dropped segments, cursors of removed uplinks
	aside    int64                     // bytes set aside
	shelved  map[uint32]bool           // epochs of which something may be set aside: their names are kept
	toGo     map[string][]stored.Again // what goes again, as it was read at the start, by uplink
	keys     *seal.Keys
	stale    map[string]seal.ID // states of rules that are not sealed with the key of now, but with this one
	asideBy  map[seal.ID]int    // runs of records set aside, by key; more than there are where some were dropped since
	comeback *comeback          // what is to go again and is not known to be committed, before anything else is
	read     uint64             // digest of the position that was read
	apart    partition
	worn     []byte                   // account of the card that was read
	salvaged map[string]stored.Cursor // of damaged stores, by uplink; for the start
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

// Epochs returns the epochs by ordinal. Those of which nothing is stored any more are forgotten, but for the newest.
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
	for _, ordinal := range q.ordinalsLocked(old) {
		if q.acked[ordinal] {
			continue
		}
		e := q.epochs[ordinal]
		e.ID = id
		q.epochs[ordinal] = e
		q.dirty[ordinal] = true
		out = append(out, ordinal)
	}
	q.wakeLocked()
	return out
}

// ordinalsLocked returns the epochs called id, rising.
func (q *Queue) ordinalsLocked(id string) []uint32 {
	var out []uint32
	for e, x := range q.epochs {
		if x.ID == id {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out
}

// Put makes frames visible to cursors, in order within their class: before they are durable, or after the commit that made them so.
// Numbers rise within a class. The bodies are kept and must not change.
func (q *Queue) Put(frames ...Frame) {
	for i := range frames {
		q.shareOut(&frames[i])
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range frames {
		f := &frames[i]
		q.tails[f.Class].push(f)
		q.countLocked(f)
	}
	q.wakeLocked()
}

// countLocked counts those records of f that were not counted before as buffered.
func (q *Queue) countLocked(f *Frame) {
	t := &q.tails[f.Class]
	r := tidegate.Range{First: f.First, Last: f.Last}
	if f.Epoch == t.top.Epoch {
		r.First = max(r.First, t.top.Number)
	}
	if f.Epoch < t.top.Epoch || r.Len() == 0 {
		return
	}
	t.top = Place{f.Epoch, f.Last + 1}
	q.highest[f.Epoch] = max(q.highest[f.Epoch], f.Last)
	if !forUplinks(f.Class) {
		return
	}
	for _, c := range q.cursors {
		rest := c.done[stored.Stream{Class: f.Class, Epoch: f.Epoch}].Missing(r)
		var p part
		if err := c.countIn(&p, f, &rest); err != nil {
			q.o.Log.Error("count what was put", "err", err)
		}
		c.buffered[f.Class].Add(p.Tally)
	}
}

func (q *Queue) wakeLocked() {
	for _, c := range q.cursors {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Moved is signalled (capacity 1) when a cursor moved or something is to be declared, so that it can be committed some time after.
func (q *Queue) Moved() <-chan struct{} { return q.moved }

func (q *Queue) noteMoved() {
	select {
	case q.moved <- struct{}{}:
	default:
	}
}

// Dirty reports whether a cursor moved since the last commit, or something waits to be declared or to be sealed anew.
func (q *Queue) Dirty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.cursors {
		if c.changes != c.savedChanges {
			return true
		}
	}
	return len(q.requests)+len(q.hurt) > 0 || q.isStaleLocked()
}

// Compact keeps the store's reads fast and its writes going, until ctx is done; for a goroutine of its own.
func (q *Queue) Compact(ctx context.Context) error { return q.disk.Compact(ctx) }

// Pace returns how to write so that no more goes to the card a day than Options.WrittenPerDay.
func (q *Queue) Pace() wear.Pace { return q.card.Pace() }

// SetWrittenPerDay changes how many bytes a day may go to the card; 0 = any.
func (q *Queue) SetWrittenPerDay(bytes int64) { q.card.SetLimit(bytes) }

// Close closes the store. Nothing that was Put but not committed is kept by it; the rings keep that.
func (q *Queue) Close() error {
	err := q.disk.Close()
	if err == nil && q.o.SetAside {
		err = q.NoteSound()
	}
	return err
}
