package stored

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/seal"
)

// A Frame is what the queue stores under one key: a run of consecutive records of one class. The body is bytes to it.
type Frame struct {
	Epoch  uint32 // ordinal of the epoch: rises by one with each new epoch of this state directory; see Queue.Epochs
	Class  tidegate.Class
	First  uint64  // number of its first record
	Last   uint64  // number of its last record
	Count  uint32  // readings in all its records
	T0, T1 int64   // earliest and latest time of its records, Unix milliseconds
	Apart  bool    // some of its records are meant for one uplink only
	Thin   bool    // its records stand for others that were thinned out
	Shares []Share // of those that are Apart, how much is meant for which; nil = not known. They are not stored
	Sealed seal.ID // what its body is sealed with in the store; 0 = it lies there in the clear. It is not stored by AppendFrame
	Body   []byte  // the records, as sync/wire/frame encodes them
}

// Records returns how many records f holds.
func (f *Frame) Records() uint64 { return f.Last - f.First + 1 }

// MaxFrame is the largest body of one frame, in bytes, but for one record that is larger.
const MaxFrame = 200 << 10

// HeaderSize is how many bytes stand before a stored frame's body.
const HeaderSize = 48

// Bits of a frame's mark.
const (
	markApart  = 1
	markSealed = 2
	markThin   = 4
	marks      = markApart | markSealed | markThin
)

// AppendFrame appends the stored form of f, in the clear, to dst. All integers are big-endian:
//
//	0   u8   version, 1        16  u64  last number
//	1   u8   class             24  u32  readings
//	2   u16  1 Apart,          28  i64  t0, Unix ms
//	         2 sealed, 4 Thin  36  i64  t1, Unix ms
//	4   u32  epoch ordinal     44  u32  CRC32C over bytes 0..43 and the body
//	8   u64  first number      48  ...  body
func AppendFrame(dst []byte, f *Frame) []byte {
	at := len(dst)
	dst = append(dst, version, byte(f.Class), 0, 0)
	if f.Apart {
		dst[at+3] |= markApart
	}
	if f.Thin {
		dst[at+3] |= markThin
	}
	dst = binary.BigEndian.AppendUint32(dst, f.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, f.First)
	dst = binary.BigEndian.AppendUint64(dst, f.Last)
	dst = binary.BigEndian.AppendUint32(dst, f.Count)
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.T0))
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.T1))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, f.Body...)
	sumFrame(dst[at:])
	return dst
}

// sumFrame puts the CRC into the frame b.
func sumFrame(b []byte) {
	binary.BigEndian.PutUint32(b[sumAt:], crc32.Update(crc32.Checksum(b[:sumAt], castagnoli), castagnoli, b[HeaderSize:]))
}

// sumAt is where a frame's CRC stands, behind all else of its header.
const sumAt = HeaderSize - 4

// ParseFrame is the inverse of AppendFrame; the body is b's memory, unless it was sealed. Errors wrap seal.ErrKey where keys lacks the key, else ErrDamaged.
func ParseFrame(b []byte, keys *seal.Keys) (f Frame, err error) {
	if len(b) < HeaderSize {
		return f, fmt.Errorf("frame has %d bytes, at least %d: %w", len(b), HeaderSize, ErrDamaged)
	}
	got := binary.BigEndian.Uint32(b[sumAt:])
	want := crc32.Update(crc32.Checksum(b[:sumAt], castagnoli), castagnoli, b[HeaderSize:])
	if got != want {
		return f, fmt.Errorf("frame has CRC %#x, want %#x: %w", got, want, ErrDamaged)
	}
	if b[0] != version || b[2] != 0 || b[3]&^marks != 0 {
		return f, fmt.Errorf("frame has version %d and mark %d, want %d and at most %d: %w", b[0], b[3], version, marks, ErrDamaged)
	}
	f = Frame{
		Class: tidegate.Class(b[1]),
		Epoch: binary.BigEndian.Uint32(b[4:]),
		First: binary.BigEndian.Uint64(b[8:]),
		Last:  binary.BigEndian.Uint64(b[16:]),
		Count: binary.BigEndian.Uint32(b[24:]),
		T0:    int64(binary.BigEndian.Uint64(b[28:])),
		T1:    int64(binary.BigEndian.Uint64(b[36:])),
		Apart: b[3]&markApart != 0,
		Thin:  b[3]&markThin != 0,
		Body:  b[HeaderSize:],
	}
	if f.First == 0 || f.Last < f.First || uint64(f.Class) >= Classes {
		return Frame{}, fmt.Errorf("frame of %s holds records %d to %d: %w", f.Class, f.First, f.Last, ErrDamaged)
	}
	if b[3]&markSealed == 0 {
		return f, nil
	}
	if f.Sealed, err = seal.SealedWith(f.Body); err == nil {
		f.Body, err = keys.Open(f.Body, b[:sumAt])
	}
	if err != nil {
		return Frame{}, fmt.Errorf("frame of %s with records %d to %d: %w", f.Class, f.First, f.Last, damagedUnless(err))
	}
	return f, nil
}
