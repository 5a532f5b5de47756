package frame

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A reader takes a body apart. Its first fault stays: after it every call returns zero values, so that a run of calls needs one
// check of err. Callers loop over bounded counts only.
type reader struct {
	b   []byte
	at  int
	err error
}

// fail notes what is wrong, with the place, unless something was wrong before.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %s", r.at, fmt.Sprintf(format, args...))
		r.at = len(r.b)
	}
}

// wrap returns the fault, if any, behind what was being done.
func (r *reader) wrap(doing string) error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, r.err)
}

// left returns how many bytes are left.
func (r *reader) left() int { return len(r.b) - r.at }

// uvarint reads an unsigned LEB128 number of at most 64 bits.
func (r *reader) uvarint() uint64 {
	if r.at < len(r.b) {
		if c := r.b[r.at]; c < 0x80 {
			r.at++
			return uint64(c)
		}
	}
	return r.longUvarint()
}

func (r *reader) longUvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.at:])
	switch {
	case n > 0:
		r.at += n
		return v
	case n == 0:
		r.fail("number is cut off")
	default:
		r.fail("number exceeds 64 bits")
	}
	return 0
}

// svarint reads a signed number: zigzag, then LEB128.
func (r *reader) svarint() int64 { return unzigzag(r.uvarint()) }

// count reads a number that must not exceed most.
func (r *reader) count(most int, what string) int {
	v := r.uvarint()
	if v > uint64(most) {
		r.fail("%s: got %d, want at most %d", what, v, most)
		return 0
	}
	return int(v)
}

// index reads a number that must be less than size.
func (r *reader) index(size int, what string) int {
	v := r.uvarint()
	if v >= uint64(size) {
		r.fail("%s: got index %d, want less than %d", what, v, size)
		return 0
	}
	return int(v)
}

// take returns the next n bytes, which stay part of the body.
func (r *reader) take(n int, what string) []byte {
	if n > r.left() {
		r.fail("%s: got %d bytes, want %d", what, r.left(), n)
		return nil
	}
	b := r.b[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

// text reads a length and that many bytes, which stay part of the body.
func (r *reader) text(what string) []byte {
	return r.take(r.count(r.left(), what), what)
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

func appendUvarint(dst []byte, v uint64) []byte {
	if v < 0x80 {
		return append(dst, byte(v))
	}
	return binary.AppendUvarint(dst, v)
}

func appendSvarint(dst []byte, v int64) []byte { return appendUvarint(dst, zigzag(v)) }

func appendText(dst []byte, s string) []byte {
	return append(appendUvarint(dst, uint64(len(s))), s...)
}

// uvarintLen returns how many bytes appendUvarint adds for v.
func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
