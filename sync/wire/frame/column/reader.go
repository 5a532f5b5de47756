// Package column reads and writes what the stored form of records is made of: varints and texts, and columns of numbers.
// ../README.md gives it byte by byte.
package column

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A Reader takes a body apart. Its first fault stays: after it every call returns zero values, so that a run of calls needs one
// look at Err. Callers loop over bounded counts only. What it returns of the body stays part of it.
type Reader struct {
	b   []byte
	at  int
	err error
}

// NewReader returns a Reader of body that begins at byte at.
func NewReader(body []byte, at int) Reader { return Reader{b: body, at: at} }

// Fail notes what is wrong, with the place, unless something was wrong before.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %s", r.at, fmt.Sprintf(format, args...))
		r.at = len(r.b)
	}
}

// FailAs takes over the fault of another Reader of the same body.
func (r *Reader) FailAs(other *Reader) {
	if r.err == nil {
		r.err = other.err
	}
}

// Err returns the first fault, or nil.
func (r *Reader) Err() error { return r.err }

// Wrap returns the fault, if any, behind what was being done.
func (r *Reader) Wrap(doing string) error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, r.err)
}

// Left returns how many bytes are left.
func (r *Reader) Left() int { return len(r.b) - r.at }

// At returns the place of the next byte.
func (r *Reader) At() int { return r.at }

// Skip goes on to the byte at the place to, unless it is further already.
func (r *Reader) Skip(to int) { r.at = max(r.at, min(to, len(r.b))) }

// Byte reads one byte.
func (r *Reader) Byte(what string) byte {
	if r.at >= len(r.b) {
		r.Fail("%s is cut off", what)
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

// Uvarint reads an unsigned LEB128 number of at most 64 bits.
func (r *Reader) Uvarint() uint64 {
	if r.at < len(r.b) {
		if c := r.b[r.at]; c < 0x80 {
			r.at++
			return uint64(c)
		}
	}
	return r.longUvarint()
}

func (r *Reader) longUvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.at:])
	switch {
	case n > 0:
		r.at += n
		return v
	case n == 0:
		r.Fail("number is cut off")
	default:
		r.Fail("number exceeds 64 bits")
	}
	return 0
}

// Svarint reads a signed number: zigzag, then LEB128.
func (r *Reader) Svarint() int64 { return unzigzag(r.Uvarint()) }

// Count reads a number that must not exceed most.
func (r *Reader) Count(most int, what string) int {
	v := r.Uvarint()
	if v > uint64(most) {
		r.Fail("%s: got %d, want at most %d", what, v, most)
		return 0
	}
	return int(v)
}

// Index reads a number that must be less than size.
func (r *Reader) Index(size int, what string) int {
	v := r.Uvarint()
	if v >= uint64(size) {
		r.Fail("%s: got index %d, want less than %d", what, v, size)
		return 0
	}
	return int(v)
}

// Take returns the next n bytes.
func (r *Reader) Take(n int, what string) []byte {
	if n > r.Left() {
		r.Fail("%s: got %d bytes, want %d", what, r.Left(), n)
		return nil
	}
	b := r.b[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

// Text reads a length and that many bytes.
func (r *Reader) Text(what string) []byte {
	return r.Take(r.Count(r.Left(), what), what)
}

// Zigzag returns v as AppendSvarint hands it to AppendUvarint: 0, -1, 1, -2 become 0, 1, 2, 3.
func Zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// AppendUvarint appends v as Uvarint reads it.
func AppendUvarint(dst []byte, v uint64) []byte {
	if v < 0x80 {
		return append(dst, byte(v))
	}
	return binary.AppendUvarint(dst, v)
}

// AppendSvarint appends v as Svarint reads it.
func AppendSvarint(dst []byte, v int64) []byte { return AppendUvarint(dst, Zigzag(v)) }

// AppendText appends s as Text reads it.
func AppendText(dst []byte, s string) []byte {
	return append(AppendUvarint(dst, uint64(len(s))), s...)
}

// uvarintLen returns how many bytes AppendUvarint adds for v.
func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
