package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tidegate-io/tidegate"
)

// Prefixes of keys; see README.md.
const (
	keyFrame    = 'f'
	keyIndex    = 'i'
	keyMeta     = 'm'
	keyRejected = 'r'
)

const (
	frameVersion = 1
	frameHeader  = 48
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A segmentName is where a segment's frames stand.
type segmentName struct {
	class   tidegate.Class
	epoch   uint32
	counter uint64
}

func (n segmentName) key(prefix byte) []byte {
	b := make([]byte, 0, 22)
	b = append(b, prefix, byte(n.class))
	b = binary.BigEndian.AppendUint32(b, n.epoch)
	return binary.BigEndian.AppendUint64(b, n.counter)
}

func (n segmentName) String() string {
	return fmt.Sprintf("%s/%d/%d", n.class, n.epoch, n.counter)
}

func frameKey(n segmentName, first uint64) []byte {
	return binary.BigEndian.AppendUint64(n.key(keyFrame), first)
}

func metaKey(parts ...string) []byte {
	b := []byte{keyMeta}
	for _, p := range parts {
		b = append(append(b, '|'), p...)
	}
	return b
}

func rejectedKey(uplink string, epoch uint32, first uint64) []byte {
	b := append([]byte{keyRejected, '|'}, uplink...)
	b = append(b, '|')
	b = binary.BigEndian.AppendUint32(b, epoch)
	return binary.BigEndian.AppendUint64(b, first)
}

// appendFrame appends the stored form of f to dst.
func appendFrame(dst []byte, f *Frame) []byte {
	at := len(dst)
	dst = append(dst, frameVersion, byte(f.Class), 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, f.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, f.First)
	dst = binary.BigEndian.AppendUint64(dst, f.Last)
	dst = binary.BigEndian.AppendUint32(dst, f.Count)
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.T0))
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.T1))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, f.Body...)
	sum := crc32.Update(crc32.Checksum(dst[at:at+44], castagnoli), castagnoli, f.Body)
	binary.BigEndian.PutUint32(dst[at+44:], sum)
	return dst
}

// ErrDamaged is wrapped where stored bytes are not what was written.
var ErrDamaged = errors.New("damaged")

// parseFrame is the inverse of appendFrame; the body is b's memory.
func parseFrame(b []byte) (f Frame, err error) {
	if len(b) < frameHeader {
		return f, fmt.Errorf("frame has %d bytes, at least %d: %w", len(b), frameHeader, ErrDamaged)
	}
	if b[0] != frameVersion {
		return f, fmt.Errorf("frame has version %d, want %d: %w", b[0], frameVersion, ErrDamaged)
	}
	got := binary.BigEndian.Uint32(b[44:])
	want := crc32.Update(crc32.Checksum(b[:44], castagnoli), castagnoli, b[frameHeader:])
	if got != want {
		return f, fmt.Errorf("frame has CRC %#x, want %#x: %w", got, want, ErrDamaged)
	}
	f = Frame{
		Class: tidegate.Class(b[1]),
		Epoch: binary.BigEndian.Uint32(b[4:]),
		First: binary.BigEndian.Uint64(b[8:]),
		Last:  binary.BigEndian.Uint64(b[16:]),
		Count: binary.BigEndian.Uint32(b[24:]),
		T0:    int64(binary.BigEndian.Uint64(b[28:])),
		T1:    int64(binary.BigEndian.Uint64(b[36:])),
		Body:  b[frameHeader:],
	}
	if f.First == 0 || f.Last < f.First {
		return f, fmt.Errorf("frame holds records %d to %d: %w", f.First, f.Last, ErrDamaged)
	}
	return f, nil
}

// A packer appends values in the form that an unpacker reads: unsigned varints, and texts behind their length.
type packer struct{ b []byte }

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

// An unpacker reads what a packer wrote. After the first fault it returns zeros, and err says what it was.
type unpacker struct {
	b   []byte
	err error
}

func (u *unpacker) fail(what string) {
	if u.err == nil {
		u.err = fmt.Errorf("%s reaches beyond the value: %w", what, ErrDamaged)
	}
	u.b = nil
}

func (u *unpacker) uint() uint64 {
	v, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.fail("number")
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) int() int64 {
	v, n := binary.Varint(u.b)
	if n <= 0 {
		u.fail("number")
		return 0
	}
	u.b = u.b[n:]
	return v
}

func (u *unpacker) text() string {
	n := u.uint()
	if n > uint64(len(u.b)) {
		u.fail("text")
		return ""
	}
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}

func (u *unpacker) ranges() tidegate.Ranges {
	n := u.uint()
	if n > uint64(len(u.b)) {
		u.fail("list of ranges")
		return nil
	}
	var rs tidegate.Ranges
	var at uint64
	for range n {
		first := at + u.uint()
		last := first + u.uint()
		if u.err != nil || first < at || last < first {
			u.fail("range")
			return nil
		}
		rs = append(rs, tidegate.Range{First: first, Last: last})
		at = last
	}
	return rs
}

// done reports the first fault, or bytes left over.
func (u *unpacker) done(what string) error {
	if u.err == nil && len(u.b) > 0 {
		u.err = fmt.Errorf("%d bytes left over: %w", len(u.b), ErrDamaged)
	}
	if u.err != nil {
		return fmt.Errorf("%s: %w", what, u.err)
	}
	return nil
}
