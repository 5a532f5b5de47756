package salvage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// maxSmall bounds the small values that are kept in memory while a stream is read, in bytes.
const maxSmall = 24 << 20

// batchBytes is how much of frames one transaction takes.
const batchBytes = 256 << 10

// Options say what a stream is brought into.
type Options struct {
	Store   *disk.Store // open, and used by nobody else meanwhile
	Segment int64       // bytes of a segment
	Until   time.Time   // when to leave it at that
	// Share says in a frame that is Apart how much of it is meant for which uplink.
	Share func(*stored.Frame)
	// Epochs are those that are known in any case, by ordinal. Frames of others, whose name cannot be read, stay where they are.
	Epochs map[uint32]stored.Epoch
	Keys   *seal.Keys // that open frames; nil = all are in the clear
}

// Found is what came of a stream.
type Found struct {
	Whole   bool   // all that verifies is in the store now
	Why     error  // why not
	Frames  uint64 // that are new in the store
	Records uint64
	Left    uint64 // frames whose epoch has no name
	Epochs  map[uint32]stored.Epoch
	Cursors map[string]stored.Cursor // by uplink, as of the newest version that can be read
}

// A lot is what goes into one segment after the other: a segment is sealed with one key.
type lot struct {
	stored.Stream
	key  seal.ID
	thin bool // summaries have segments of their own
}

// A salvor brings a stream into a store.
type salvor struct {
	o       Options
	found   Found
	held    map[stored.Stream]tidegate.Ranges // numbers in the store
	index   map[stored.Segment]*stored.Index
	digests map[stored.Segment]uint64 // as the totals on disk have them
	open    map[lot]stored.Segment    // that take frames
	totals  stored.Totals
	again   map[string]bool  // keys of what goes again, in the store
	small   map[string]piece // newest of each key
	bytes   int              // of small

	set     []disk.Pair
	size    int
	touched map[stored.Segment]bool
}

// Into brings what stream holds into the store: frames that it has not got, in segments of their own, and what was set aside; each
// transaction leaves a store that is whole. What else is small is returned. Only where the store fails, or
// a key is missing (seal.ErrKey), does it return an error.
func Into(stream io.Reader, o Options) (Found, error) {
	s := &salvor{
		o: o, held: map[stored.Stream]tidegate.Ranges{}, index: map[stored.Segment]*stored.Index{}, digests: map[stored.Segment]uint64{},
		open: map[lot]stored.Segment{}, again: map[string]bool{}, small: map[string]piece{}, touched: map[stored.Segment]bool{},
	}
	s.found.Epochs, s.found.Cursors = map[uint32]stored.Epoch{}, map[string]stored.Cursor{}
	if err := s.load(); err != nil {
		return s.found, err
	}
	if d, ok := stream.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = d.SetReadDeadline(o.Until) // else Until is looked at between two pieces
	}
	err := s.take(bufio.NewReaderSize(stream, 64<<10))
	return s.found, err
}

// load reads what the store holds already, of an earlier salvage or of its own.
func (s *salvor) load() error {
	err := s.o.Store.Each([]byte{stored.KeyIndex}, func(key, v []byte, _ uint64) error {
		name, err := stored.ParseSegment(key)
		if err != nil {
			return err
		}
		x, err := stored.DecodeIndex(v)
		if err != nil {
			return err
		}
		s.index[name], s.digests[name] = &x, x.Digest(name)
		held := s.held[stored.Stream{Class: name.Class, Epoch: name.Epoch}]
		held.AddAll(x.Runs)
		s.held[stored.Stream{Class: name.Class, Epoch: name.Epoch}] = held
		return nil
	})
	if err == nil {
		err = s.o.Store.Each(stored.MetaKey(stored.MetaTotals, ""), func(_, v []byte, _ uint64) (err error) {
			s.totals, err = stored.DecodeTotals(v)
			return err
		})
	}
	if err == nil {
		err = s.o.Store.Each(stored.MetaKey(stored.MetaAgain, ""), func(key, _ []byte, _ uint64) error {
			s.again[string(key)] = true
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("look at what the store holds: %w", err)
	}
	return nil
}

// take takes the pieces of r.
func (s *salvor) take(r io.Reader) error {
	small := true
	for {
		p, err := read(r)
		if err == nil && time.Now().After(s.o.Until) {
			err = errors.New("it takes too long")
		}
		if err == nil && (p.kind == kindFrame || p.kind == kindEnd) && small {
			small = false
			if err := s.takeSmall(); err != nil {
				return err
			}
		}
		if err == nil {
			switch p.kind {
			case kindSmall, kindGone:
				err = s.keep(p)
			case kindFrame:
				err = s.takeFrame(p)
			case kindEnd:
				s.found.Whole = true
				return s.flush()
			}
		}
		if errors.Is(err, errStore) || errors.Is(err, seal.ErrKey) {
			return err
		}
		if err != nil {
			s.found.Why = fmt.Errorf("salvage ends before its end: %w", err)
			if small { // cursors that can be read count, whatever follows
				err = s.takeSmall()
			} else {
				err = s.flush()
			}
			return err
		}
	}
}

// errStore is wrapped where the store that is brought into fails.
var errStore = errors.New("write salvaged records")

// keep remembers the newest of each small value.
func (s *salvor) keep(p piece) error {
	old, ok := s.small[string(p.key)]
	if ok && old.version > p.version {
		return nil
	}
	if s.bytes += len(p.value) - len(old.value); !ok {
		s.bytes += len(p.key)
	}
	if s.bytes > maxSmall {
		return fmt.Errorf("small values are more than %d bytes", maxSmall)
	}
	s.small[string(p.key)] = p
	return nil
}

// takeSmall takes epochs, cursors, what was set aside and what goes again; all else is of a store that is no more.
func (s *salvor) takeSmall() error {
	for key, p := range s.small {
		if p.kind == kindGone {
			continue
		}
		if key[0] == stored.KeyRejected {
			s.put([]byte(key), p.value)
			if s.size < batchBytes {
				continue
			}
			if err := s.flush(); err != nil {
				return err
			}
			continue
		}
		switch word, name := stored.ParseMeta([]byte(key)); word {
		case stored.MetaEpoch:
			if e, err := stored.ParseEpochName(name); err == nil {
				if x, err := stored.DecodeEpoch(p.value); err == nil {
					s.found.Epochs[e] = x
				}
			}
		case stored.MetaCursor:
			if c, err := stored.DecodeCursor(p.value); err == nil {
				s.found.Cursors[strings.Clone(name)] = c
			}
		case stored.MetaAgain: // else no far side is told, and its receipts settle what it has not got
			if _, err := stored.DecodeAgain(p.value); err == nil && !s.again[key] {
				s.put([]byte(key), p.value)
			}
		}
	}
	s.small = nil
	for e, x := range s.o.Epochs {
		s.found.Epochs[e] = x // a name that the lease has is the newest
	}
	return s.flush()
}

func (s *salvor) put(key, value []byte) {
	s.set = append(s.set, disk.Pair{Key: key, Value: value})
	s.size += len(key) + len(value)
}

// takeFrame puts a frame into a segment of its stream, unless a number of it is held already.
func (s *salvor) takeFrame(p piece) error {
	f, err := stored.ParseFrame(p.value, s.o.Keys)
	if errors.Is(err, seal.ErrKey) {
		return err
	}
	if err != nil {
		return nil // it does not open; and of what verifies a pipe changes nothing
	}
	if f.Sealed == 0 {
		f.Sealed = s.o.Keys.To() // Store.Write seals it
	}
	if _, ok := s.found.Epochs[f.Epoch]; !ok {
		s.found.Left++
		return nil
	}
	of, r := stored.Stream{Class: f.Class, Epoch: f.Epoch}, tidegate.Range{First: f.First, Last: f.Last}
	held := s.held[of]
	if len(held.Within(r)) > 0 {
		return nil
	}
	if free, _, err := s.o.Store.Free(); err != nil || free < int64(len(p.value)+batchBytes) {
		return errors.Join(fmt.Errorf("no room for it: %d bytes are free beyond the reserve", free), err)
	}
	name, ok := s.segmentFor(lot{of, f.Sealed, f.Thin}, r)
	if !ok {
		return nil
	}
	s.o.Share(&f)
	key := name.FrameKey(f.First)
	x := s.index[name].With(&f, len(key)+len(p.value))
	x.Closed = true // what is read from now on is not put behind it
	x.Shares = slices.Clone(x.Shares)
	for _, one := range f.Shares {
		x.AddShare(one.Uplink, one.Tally)
	}
	s.index[name] = &x
	s.touched[name] = true
	s.put(key, p.value)
	s.totals.Produced[f.Class].Add(stored.Tally{Records: f.Records(), Readings: uint64(f.Count)})
	held.Add(r)
	s.held[of] = held
	s.found.Frames++
	s.found.Records += f.Records()
	if s.size >= batchBytes {
		return s.flush()
	}
	return nil
}

// mostRuns bounds the runs of numbers in one index.
const mostRuns = 256

// segmentFor returns the segment of the stream that takes r: the one that has numbers on both sides of it, as segments lie one behind the other; or the one that
// took frames last, if r stands behind it and nothing between; or a new one. It returns false where the first cannot take it: then r stays behind, and is declared
// with what cannot be read.
func (s *salvor) segmentFor(of lot, r tidegate.Range) (stored.Segment, bool) {
	for name, x := range s.index {
		if name.Class == of.Class && name.Epoch == of.Epoch && len(x.Runs) > 0 && x.First() < r.First && r.Last < x.Last() {
			return name, x.Sealed == of.key && x.Thin == of.thin && len(x.Runs) < mostRuns
		}
	}
	name, ok := s.open[of]
	if ok {
		x := s.index[name]
		ok = x.Bytes < s.o.Segment && len(x.Runs) < mostRuns && r.First > x.Last()
		held := s.held[of.Stream]
		ok = ok && len(held.Within(tidegate.Range{First: x.Last() + 1, Last: r.First})) == 0
	}
	if !ok {
		s.totals.Segment++
		name = stored.Segment{Class: of.Class, Epoch: of.Epoch, Counter: s.totals.Segment}
		s.index[name], s.open[of] = &stored.Index{}, name
	}
	return name, true
}

// flush writes what was put, with what makes the store whole again.
func (s *salvor) flush() error {
	if len(s.set) == 0 {
		return nil
	}
	for name := range s.touched {
		x := s.index[name]
		s.put(name.Key(stored.KeyIndex), x.Encode())
		digest := x.Digest(name)
		s.totals.Digest ^= s.digests[name] ^ digest
		s.digests[name] = digest
	}
	if len(s.touched) > 0 {
		s.put(stored.MetaKey(stored.MetaTotals, ""), s.totals.Encode())
	}
	if err := s.o.Store.Write(s.set, nil); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	s.set, s.size = nil, 0
	clear(s.touched)
	return nil
}
