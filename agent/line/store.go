package line

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/line/thin"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/wear"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// disk is what judge and store need of buffer.Queue, in parts.
type disk interface {
	visible
	committer
	thin.Frames
	epochs
}

// committer makes records durable.
type committer interface {
	Commit(c buffer.Commit) error
	Retain(lived time.Duration) error
	Requests() []buffer.Declaration
	Dirty() bool
}

// epochs knows the names of numbers.
type epochs interface {
	AddEpoch(ordinal uint32, e buffer.Epoch)
	Epochs() map[uint32]buffer.Epoch
	Rename(old, id string) []uint32
	Coarse() []buffer.CoarseCursor
}

// A store commits what stands in ring 2, once every `sync` while something waits, at once for an alarm or a gap. It runs in one goroutine.
type store struct {
	judged  *box.Ring
	disk    disk
	numbers *numbers
	declare func([]buffer.Declaration) // hands requests to the judge
	room    func()                     // tells the judge that ring 2 has room again
	moved   <-chan struct{}            // a cursor moved
	urgent  <-chan struct{}
	sync    *atomic.Int64    // nanoseconds; changes at a reload
	pace    func() wear.Pace // how to spare the card
	clock   func() clock.Stamp
	log     *slog.Logger
	trouble func(error)             // told of every commit: nil = it went well
	beat    *atomic.Int64           // when it last went round, Unix nanoseconds
	pulse   chan struct{}           // makes it go round
	wants   chan func(failed error) // run between two commits, told how the last one went

	enc  *frame.Encoder
	dec  *frame.Decoder
	recs []tidegate.Record // reused
	pos  buffer.Position   // as of the last commit, of these rings; its Ring is the place behind the last entry committed
	rate rate
	age  time.Duration // what boot time lacks to Position.Lived
	kept time.Duration // boot time at which it was last looked what is to be kept no longer

	nominal *atomic.Int64 // readings per second that the configuration asks for; changes at a reload
	window  *atomic.Int64 // what one summary is of, nanoseconds; changes at a reload
	jobs    []*thin.Job   // what is to be thinned out
	pieces  func([]thin.Piece)
	waiting func() int // pieces that no entry holds yet
}

const (
	// maxRaw is how many bytes of ring 2 one commit takes at most; they become a third or less as frames.
	maxRaw = 1 << 20
	// eager is how full ring 2 may get before `sync` is over.
	eager = 1 << 20
	// retryCommit is how long the store waits after a commit that did not go through.
	retryCommit = time.Second
)

// run commits until ctx is done and everything in ring 2 is on disk, or the disk refuses it once more after that.
func (s *store) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if !timer.Stop() {
		<-timer.C
	}
	armed := false
	var failed error
	for {
		s.beat.Store(time.Now().UnixNano())
		select {
		case <-ctx.Done():
			return s.finish()
		case <-s.pulse:
			if s.clock().Boot-s.kept >= retainEvery {
				s.retain()
			}
		case <-s.judged.Wake():
		case <-s.moved:
		case f := <-s.wants:
			f(failed)
			s.declare(s.disk.Requests())
		case <-s.urgent:
			if failed == nil {
				failed = s.commitAll()
				armed = arm(timer, armed, failed, s)
				continue
			}
		case <-timer.C:
			armed = false
			failed = s.commitAll()
			armed = arm(timer, armed, failed, s)
			continue
		}
		waits := s.judged.Head() != s.pos.Ring
		switch {
		case failed == nil && waits && int(s.judged.Head()-s.pos.Ring) >= eager:
			failed = s.commitAll()
			armed = arm(timer, armed, failed, s)
		case !armed && (waits || s.disk.Dirty()):
			timer.Reset(s.rest())
			armed = true
		}
	}
}

// rest returns how long what waits may wait for its commit.
func (s *store) rest() time.Duration { return max(time.Duration(s.sync.Load()), s.pace().Sync) }

// arm sets the timer after a commit: for the next try where it failed, else it is off until something waits.
func arm(timer *time.Timer, armed bool, failed error, s *store) bool {
	if armed && !timer.Stop() {
		select {
		case <-timer.C:
		default:
		}
	}
	switch {
	case failed != nil:
		timer.Reset(retryCommit)
	case s.judged.Head() != s.pos.Ring || s.disk.Dirty():
		timer.Reset(s.rest())
	default:
		return false
	}
	return true
}

// finish commits what is left at a stop.
func (s *store) finish() error {
	if err := s.commitAll(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if s.disk.Dirty() {
		return s.commitPiece(nil)
	}
	return nil
}

// commitAll commits everything that stands in ring 2 now, in pieces, and then the cursors where they moved alone.
func (s *store) commitAll() error {
	err := s.commitEntries()
	if err == nil && s.numbers.due() {
		err = s.numbers.renew(s.disk.Coarse())
	}
	if err == nil {
		s.retain() // before trouble is over, so that the limit is that of the room there is then
	}
	s.trouble(err)
	if err != nil {
		return err
	}
	s.room()
	return nil
}

// commitEntries commits the entries that stand in ring 2 now. What comes while it does so waits for the next time: readers that are as fast
// as the disk would otherwise make a transaction of every entry.
func (s *store) commitEntries() error {
	any := false
	end := s.judged.Head()
	for limit := maxRaw; ; {
		list, err := s.gather(limit, end)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			// Cursors that moved since ride in the next commit; alone they go only when nothing else did.
			if !any && s.disk.Dirty() {
				return s.commitPiece(nil)
			}
			return nil
		}
		err = s.commitPiece(list)
		any = any || err == nil
		switch {
		case errors.Is(err, errPiece) && len(list) > 1:
			limit = max(limit/2, 1)
		case err != nil:
			return err
		}
	}
}

// gather returns the entries from s.pos.Ring to end, at least one and about limit bytes of them; none where there are none.
func (s *store) gather(limit int, end box.Place) ([]found, error) {
	var list []found
	for at := s.pos.Ring; at < end && int(at-s.pos.Ring) < limit; {
		payload, next, ok, err := s.judged.Next(at)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		if !ok {
			break
		}
		e, err := decodeEntry(payload)
		if err != nil {
			return nil, fmt.Errorf("store: entry at %d: %w", at, err)
		}
		list = append(list, found{at: at, next: next, e: e})
		at = next
	}
	return list, nil
}

// errPiece means that the frames of a piece are too many bytes for one transaction.
var errPiece = errors.New("piece is too large")

// commitPiece commits list, or only the cursors where it is empty.
func (s *store) commitPiece(list []found) error {
	now := s.clock()
	c := buffer.Commit{Position: s.pos, Rules: map[string][]byte{}}
	frames, readings, err := s.frames(list)
	if err != nil {
		return err
	}
	c.Frames = frames
	epochs := s.disk.Epochs()
	for _, x := range list {
		e := x.e
		if _, known := epochs[e.epoch]; !known {
			s.disk.AddEpoch(e.epoch, buffer.Epoch{ID: e.epochID, Start: e.start})
		}
		for _, r := range e.rules {
			c.Rules[r.Key] = r.Body
		}
		c.Declared = append(c.Declared, e.declared...)
		if e.epoch != c.Position.Epoch {
			c.Position.Epoch, c.Position.Next = e.epoch, 1
		}
		c.Position.Next = max(c.Position.Next, e.highest()+1)
		c.Position.Ring, c.Position.Input = x.next, e.input
		c.Position.Drops1, c.Position.Drops2 = e.drops1, e.drops2
	}
	c.Position.LeaseEnd = s.numbers.leaseEnd()
	c.Position.Rate = max(s.rate.add(now.Boot, readings), uint32(min(s.nominal.Load(), math.MaxUint32))) // a start may know another configuration
	c.Position.Time = now.Wall.UnixMilli()
	c.Position.Lived, c.Position.Uptime = max(s.age+now.Boot, 1), now.Boot
	if err := s.disk.Commit(c); err != nil {
		return err
	}
	s.pos = c.Position
	if len(list) == 0 {
		return nil
	}
	s.numbers.keep(nil) // the first entry holds the gaps that were found at the start
	s.judged.Release(s.pos.Ring)
	for i := range c.Frames { // alarms and gaps are shown only now
		if f := c.Frames[i]; f.Class == tidegate.ClassAlarm || f.Class == tidegate.ClassAudit {
			s.disk.Put(f)
		}
	}
	return nil
}

// frames makes one frame of each stretch of consecutive records of one class.
func (s *store) frames(list []found) (out []buffer.Frame, readings uint64, err error) {
	var open []run
	var epoch uint32
	size := 0
	flush := func() error {
		if len(open) == 0 {
			return nil
		}
		f, err := s.merge(epoch, open)
		if errors.Is(err, frame.ErrTooLarge) && len(list) > 1 {
			return errPiece
		}
		if err != nil {
			return err
		}
		size += len(f.Body)
		if size > buffer.MaxFrame && len(list) > 1 {
			return errPiece
		}
		out = append(out, f)
		open = open[:0]
		return nil
	}
	for _, x := range list {
		for _, r := range x.e.runs {
			readings += uint64(r.readings)
			n := len(open)
			if n > 0 && (open[n-1].class != r.class || open[n-1].thin != r.thin || epoch != x.e.epoch || open[n-1].last()+1 != r.first) {
				if err := flush(); err != nil {
					return nil, 0, err
				}
			}
			epoch = x.e.epoch
			open = append(open, r)
		}
	}
	return out, readings, flush()
}

// merge makes one frame in columns of runs that follow each other.
func (s *store) merge(epoch uint32, runs []run) (buffer.Frame, error) {
	f := runs[0].frame(epoch)
	f.Count = 0
	s.recs = s.recs[:0]
	for i := range runs {
		r := &runs[i]
		var err error
		if s.recs, err = s.dec.Decode(s.recs, r.class, r.first, r.body); err != nil {
			return f, fmt.Errorf("decode records %d to %d: %w", r.first, r.last(), err)
		}
		f.Last, f.Count, f.Apart = r.last(), f.Count+uint32(r.readings), f.Apart || r.apart
		f.T0, f.T1 = min(f.T0, r.t0), max(f.T1, r.t1)
	}
	if got, want := uint64(len(s.recs)), f.Records(); got != want {
		return f, fmt.Errorf("records %d to %d: got %d, want %d", f.First, f.Last, got, want)
	}
	body, err := s.enc.AppendColumns(nil, s.recs)
	if err != nil {
		return f, fmt.Errorf("encode records %d to %d: %w", f.First, f.Last, err)
	}
	f.Body = body
	clear(s.recs)
	return f, nil
}

// rate measures the most readings per second of the last minute.
type rate struct {
	seconds [60]struct {
		at int64
		n  uint64
	}
}

// add counts n readings committed at boot time now and returns the peak.
func (r *rate) add(now time.Duration, n uint64) uint32 {
	sec := int64(now / time.Second)
	slot := &r.seconds[((sec%60)+60)%60]
	if slot.at != sec {
		slot.at, slot.n = sec, 0
	}
	slot.n += n
	var peak uint64
	for i := range r.seconds {
		if s := &r.seconds[i]; s.n > peak && sec-s.at < 60 {
			peak = s.n
		}
	}
	return uint32(min(peak, 1<<32-1))
}
