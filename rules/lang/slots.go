package lang

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/window"
)

// ErrState is wrapped by errors about a part that cannot be restored.
var ErrState = errors.New("stored part of a call")

// A slot is what a call keeps over time.
type slot interface {
	// push takes over a value that came at boot time at: a number, or where that is NaN any value. It reports whether the slot may say
	// something else now.
	push(at time.Duration, n float64, v tidegate.Value) (isNew bool)
	// advance lets time pass up to now, and returns when what the slot says changes next without a value.
	advance(now time.Duration) (next time.Duration, ok bool)
	stored
}

// stored is what is kept over restarts.
type stored interface {
	touch() // makes dirty tell all parts
	// dirty is window.Window.Dirty.
	dirty(b []byte) (part int, body []byte, ok bool)
	restore(part int, body []byte) error
}

// A slotSpec is what a call keeps over time, before it runs.
type slotSpec struct {
	make    func() slot
	inputs  uint64                  // a new value of any of these is one for the slot
	number  func(*Instance) float64 // which value; nil = that of the channel input, as it is
	input   int
	isPlain bool // number is that of the channel input
	// isNested: number asks slots before this one, which may not have heard of the time.
	isNested bool
}

// A wait is something that changes with time alone.
type wait struct {
	due func(*Instance) time.Duration // boot time of the change; what is not later than now has happened
}

// timeless is the part of a slot that time does not change.
type timeless struct{}

func (timeless) advance(time.Duration) (next time.Duration, ok bool) { return 0, false }

func wrongPart(part int, body []byte, want int) error {
	if part != 0 {
		return fmt.Errorf("%w: part %d, there is only part 0", ErrState, part)
	}
	if len(body) != want {
		return fmt.Errorf("%w: %d bytes long, want %d", ErrState, len(body), want)
	}
	if body[0] != partVersion {
		return fmt.Errorf("%w: version %d, want %d", ErrState, body[0], partVersion)
	}
	return nil
}

// partVersion is the first byte of each part that is not a window's own.
const partVersion = 1

// A windowSlot feeds a window: with the values, or with how far they went on. Part 0 is the value before, parts from 1 are the window's.
type windowSlot struct {
	counts bool // the window gets increases
	has    bool // counts: there is a value before
	isNew  bool // part 0 changed
	w      window.Window
	before float64 // counts: newest value
}

func (s *windowSlot) push(at time.Duration, n float64, _ tidegate.Value) (isNew bool) {
	if !s.counts {
		return s.w.Push(at, n)
	}
	step := n - s.before
	if step < 0 {
		step = n // it began at 0
	}
	had := s.has
	s.before, s.has, s.isNew = n, true, true
	return had && s.w.Push(at, step)
}

func (s *windowSlot) advance(now time.Duration) (next time.Duration, ok bool) {
	s.w.Advance(now)
	return s.w.Next()
}

func (s *windowSlot) touch() {
	s.isNew = s.has
	s.w.Touch()
}

func (s *windowSlot) dirty(b []byte) (part int, body []byte, ok bool) {
	if s.isNew {
		s.isNew = false
		return 0, appendFloats(b, s.before), true
	}
	part, body, ok = s.w.Dirty(b)
	return part + 1, body, ok
}

func (s *windowSlot) restore(part int, body []byte) error {
	if part > 0 {
		return s.w.Restore(part-1, body)
	}
	if err := wrongPart(part, body, 9); err != nil {
		return err
	}
	s.before, s.has = floatAt(body, 1), true
	return nil
}

// appendFloats encodes a part of numbers.
func appendFloats(b []byte, list ...float64) []byte {
	b = append(b, partVersion)
	for _, f := range list {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(f))
	}
	return b
}

func floatAt(body []byte, at int) float64 {
	return math.Float64frombits(binary.BigEndian.Uint64(body[at:]))
}

// A prevSlot keeps the newest number and the one before; NaN = there was none.
type prevSlot struct {
	timeless
	before, newest float64
	isNew          bool
}

func newPrevSlot() *prevSlot { return &prevSlot{before: math.NaN(), newest: math.NaN()} }

func (s *prevSlot) push(_ time.Duration, n float64, _ tidegate.Value) (isNew bool) {
	s.before, s.newest, s.isNew = s.newest, n, true
	return true
}

func (s *prevSlot) touch() { s.isNew = s.newest == s.newest }

func (s *prevSlot) dirty(b []byte) (part int, body []byte, ok bool) {
	if !s.isNew {
		return 0, nil, false
	}
	s.isNew = false
	return 0, appendFloats(b, s.before, s.newest), true
}

func (s *prevSlot) restore(part int, body []byte) error {
	if err := wrongPart(part, body, 17); err != nil {
		return err
	}
	s.before, s.newest = floatAt(body, 1), floatAt(body, 9)
	return nil
}

// A sameSlot keeps since when a value of any kind has been the same. Texts are told apart by a hash of 64 bits.
type sameSlot struct {
	timeless
	key   uint64        // of the newest value
	since time.Duration // boot time of the first that was the same
	last  time.Duration // boot time of the newest
	seen  uint8         // values, up to 2
	isNew bool          // the newest is another one than the one before
	dirt  bool
}

func keyOf(v tidegate.Value) uint64 {
	k, bits, text := v.Raw()
	h := fnv.New64a()
	var b [9]byte
	b[0] = byte(k)
	binary.BigEndian.PutUint64(b[1:], bits)
	h.Write(b[:])
	if text != "" {
		h.Write([]byte(text))
	}
	return h.Sum64()
}

func (s *sameSlot) push(at time.Duration, _ float64, v tidegate.Value) (isNew bool) {
	key := keyOf(v)
	s.isNew = s.seen > 0 && key != s.key
	if s.seen == 0 || s.isNew {
		s.since = at
	}
	s.key, s.last, s.seen, s.dirt = key, at, min(s.seen+1, 2), true
	return true
}

func (s *sameSlot) touch() { s.dirt = s.seen > 0 }

func (s *sameSlot) dirty(b []byte) (part int, body []byte, ok bool) {
	if !s.dirt {
		return 0, nil, false
	}
	s.dirt = false
	isNew := byte(0)
	if s.isNew {
		isNew = 1
	}
	b = append(b, partVersion, s.seen, isNew)
	b = binary.BigEndian.AppendUint64(b, s.key)
	b = binary.BigEndian.AppendUint64(b, uint64(s.since))
	return 0, binary.BigEndian.AppendUint64(b, uint64(s.last)), true
}

func (s *sameSlot) restore(part int, body []byte) error {
	if err := wrongPart(part, body, 27); err != nil {
		return err
	}
	s.seen, s.isNew = min(body[1], 2), body[2] == 1
	s.key = binary.BigEndian.Uint64(body[3:])
	s.since, s.last = time.Duration(binary.BigEndian.Uint64(body[11:])), time.Duration(binary.BigEndian.Uint64(body[19:]))
	return nil
}

// A sum is an area under values or a total of them.
type sum interface {
	Value() (v float64, ok bool)
	Touch()
	Dirty(b []byte) (part int, body []byte, ok bool)
	Restore(part int, body []byte) error
}

// A sumSlot keeps what only grows. Its part is that of window.
type sumSlot struct {
	timeless
	sum
	area  *window.Integral // one of the two is what sum is
	total *window.Total
}

func (s *sumSlot) push(at time.Duration, n float64, _ tidegate.Value) (isNew bool) {
	if s.area != nil {
		s.area.Push(at, n)
	} else {
		s.total.Push(n)
	}
	return true
}

func (s *sumSlot) touch()                                          { s.Touch() }
func (s *sumSlot) dirty(b []byte) (part int, body []byte, ok bool) { return s.Dirty(b) }

func (s *sumSlot) restore(part int, body []byte) error { return s.Restore(part, body) }
