// Package stored is the form in which package buffer keeps things under Badger: keys, frames, and the small values beside them. Badger
// checks nothing of what it reads, so every value carries a CRC32C of its own. buffer/README.md lists them. It does no I/O.
package stored

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tidegate-io/tidegate"
)

// ErrDamaged is wrapped where stored bytes are not what was written.
var ErrDamaged = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const version = 1

// A packer appends values in the form that an unpacker reads: unsigned varints, and texts behind their length.
type packer struct{ b []byte }

func newPacker() *packer { return &packer{b: []byte{version}} }

func (p *packer) uint(v uint64) { p.b = binary.AppendUvarint(p.b, v) }
func (p *packer) int(v int64)   { p.b = binary.AppendVarint(p.b, v) }
func (p *packer) text(s string) { p.uint(uint64(len(s))); p.b = append(p.b, s...) }

func (p *packer) ranges(rs tidegate.Ranges) {
	p.uint(uint64(len(rs)))
	var at uint64
	for _, r := range rs {
		p.uint(r.First - at)
		p.uint(r.Last - r.First)
		at = r.Last
	}
}

// seal returns what was packed with its CRC behind it.
func (p *packer) seal() []byte {
	return binary.BigEndian.AppendUint32(p.b, crc32.Checksum(p.b, castagnoli))
}

// An unpacker reads what a packer wrote. After the first fault it returns zeros, and err says what it was.
type unpacker struct {
	what string
	b    []byte
	err  error
}

// unseal begins to read b, which is called what in errors.
func unseal(what string, b []byte) *unpacker {
	u := &unpacker{what: what}
	n := len(b) - 4
	if n < 1 {
		u.fail(fmt.Sprintf("%d bytes, at least 5", len(b)))
		return u
	}
	if got, want := binary.BigEndian.Uint32(b[n:]), crc32.Checksum(b[:n], castagnoli); got != want {
		u.fail(fmt.Sprintf("CRC is %#x, want %#x", got, want))
		return u
	}
	if b[0] != version {
		u.fail(fmt.Sprintf("version is %d, want %d", b[0], version))
		return u
	}
	u.b = b[1:n]
	return u
}

func (u *unpacker) fail(why string) {
	if u.err == nil {
		u.err = fmt.Errorf("%s: %s: %w", u.what, why, ErrDamaged)
	}
	u.b = nil
}

func (u *unpacker) uint() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.fail("number reaches beyond the value")
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) uint32() uint32 {
	v := u.uint()
	if v > 1<<32-1 {
		u.fail(fmt.Sprintf("got %d, at most %d", v, uint32(1<<32-1)))
		return 0
	}
	return uint32(v)
}

func (u *unpacker) class() tidegate.Class {
	v := u.uint()
	if v >= Classes {
		u.fail(fmt.Sprintf("class is %d, below %d", v, Classes))
		return 0
	}
	return tidegate.Class(v)
}

func (u *unpacker) int() int64 {
	v, n := binary.Varint(u.b)
	if n <= 0 {
		u.fail("number reaches beyond the value")
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) text() string {
	n := u.uint()
	if n > uint64(len(u.b)) {
		u.fail("text reaches beyond the value")
		return ""
	}
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}

// id reads 16 bytes.
func (u *unpacker) id() (id [16]byte) {
	s := u.text()
	if u.err == nil && len(s) != len(id) {
		u.fail(fmt.Sprintf("id has %d bytes, want %d", len(s), len(id)))
	}
	copy(id[:], s)
	return id
}

// count reads how many things follow, of at least one byte each.
func (u *unpacker) count() int {
	n := u.uint()
	if n > uint64(len(u.b)) {
		u.fail(fmt.Sprintf("list of %d reaches beyond the value", n))
		return 0
	}
	return int(n)
}

func (u *unpacker) ranges() tidegate.Ranges {
	var rs tidegate.Ranges
	var at uint64
	for i := range u.count() {
		first := at + u.uint()
		last := first + u.uint()
		if u.err != nil || first < at || last < first || i > 0 && first-at < 2 {
			u.fail("ranges do not rise")
			return nil
		}
		rs = append(rs, tidegate.Range{First: first, Last: last})
		at = last
	}
	return rs
}

// done reports the first fault, or bytes left over.
func (u *unpacker) done() error {
	if u.err == nil && len(u.b) > 0 {
		u.fail(fmt.Sprintf("%d bytes left over", len(u.b)))
	}
	return u.err
}

// Seal returns the stored form of bytes that mean nothing here, such as a rule's state.
func Seal(b []byte) []byte {
	p := newPacker()
	p.b = append(p.b, b...)
	return p.seal()
}

// Unseal is the inverse of Seal; what names the value in errors. The result is a copy.
func Unseal(what string, b []byte) ([]byte, error) {
	u := unseal(what, b)
	return append([]byte{}, u.b...), u.err
}

// Bind returns value, which is no frame, as it is stored under key: with the CRC32C of the key behind it. Badger keeps old versions of
// a value: a bit flipped in a key would make one of them the value of another key, whole as it is.
func Bind(key, value []byte) []byte {
	b := append(make([]byte, 0, len(value)+4), value...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(key, castagnoli))
}

// Unbind returns the value that was stored as b under key; the error wraps ErrDamaged. The result is a part of b.
func Unbind(key, b []byte) ([]byte, error) {
	n := len(b) - 4
	if n < 0 {
		return nil, fmt.Errorf("%d bytes under key %q, want 4 or more: %w", len(b), key, ErrDamaged)
	}
	if got, want := binary.BigEndian.Uint32(b[n:]), crc32.Checksum(key, castagnoli); got != want {
		return nil, fmt.Errorf("value of another key under %q: its CRC is 0x%08x, want 0x%08x: %w", key, want, got, ErrDamaged)
	}
	return b[:n], nil
}
