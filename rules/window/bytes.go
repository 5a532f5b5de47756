package window

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"time"
)

func appendCount(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

// appendFloat appends how many bytes follow and the double's bytes from the top, without the zeros at the end: short for round numbers.
func appendFloat(b []byte, v float64) []byte {
	u := math.Float64bits(v)
	n := 8 - bits.TrailingZeros64(u)/8
	b = binary.BigEndian.AppendUint64(append(b, byte(n)), u)
	return b[:len(b)-8+n]
}

// appendStamp appends a reading, its time as nanoseconds since another.
func appendStamp(b []byte, s Stamp, since time.Duration) []byte {
	return appendFloat(appendCount(b, uint64(s.At-since)), s.Value)
}

// A reader takes a part's body apart. After the first fault it returns zeros.
type reader struct {
	b    []byte
	part int
	err  error
}

func (r *reader) fault(text string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: part %d: %s", ErrState, r.part, fmt.Sprintf(text, args...))
	}
	r.b = nil
}

// end returns what was wrong, bytes left over included.
func (r *reader) end() error {
	if len(r.b) > 0 {
		r.fault("%d bytes too long", len(r.b))
	}
	return r.err
}

// take returns the next n bytes.
func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fault("cut short: got %d bytes, want %d more", len(r.b), n)
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) version() {
	if b := r.take(1); b != nil && b[0] != version {
		r.fault("got version %d, want %d", b[0], version)
	}
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// count returns a number from least to most.
func (r *reader) count(least, most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	switch {
	case r.err != nil:
		return 0
	case n <= 0:
		r.fault("cut short in a number: got %d bytes", len(r.b))
		return 0
	case v < least || v > most:
		r.fault("got a count of %d, want %d to %d", v, least, most)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// varint returns a number from -most to most.
func (r *reader) varint(most int64) int64 {
	v, n := binary.Varint(r.b)
	switch {
	case r.err != nil:
		return 0
	case n <= 0:
		r.fault("cut short in a number: got %d bytes", len(r.b))
		return 0
	case v < -most || v > most:
		r.fault("got %d, want %d to %d", v, -most, most)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// float returns a double, of any kind.
func (r *reader) float() float64 {
	l := r.take(1)
	if l == nil {
		return 0
	}
	if l[0] > 8 {
		r.fault("got a number of %d bytes, want at most 8", l[0])
		return 0
	}
	u := uint64(0)
	for i, x := range r.take(int(l[0])) {
		u |= uint64(x) << (56 - 8*i)
	}
	return math.Float64frombits(u)
}

// number returns a double that is a finite number.
func (r *reader) number() float64 {
	v := r.float()
	if v-v != 0 {
		r.fault("got the reading %v, want a number", v)
		return 0
	}
	return v
}

// stamp returns a reading, its time since another's.
func (r *reader) stamp(since time.Duration) Stamp {
	at := since + time.Duration(r.count(0, uint64(maxTime-since)))
	return Stamp{at, r.number()}
}
