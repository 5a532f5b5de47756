// Package box is the one thing between goroutines: a ring of checksummed entries in memory that is mapped from a file on tmpfs,
// so that a kill -9 loses nothing that was put into it, while no disk is touched. See buffer/README.md.
package box

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A Place is a position in a ring: bytes put into it since it was made. Places never repeat within one ring.
type Place = uint64

// ErrFull means that an entry does not fit; nothing was changed.
var ErrFull = errors.New("ring full")

// ErrInvalid is wrapped by Open where a ring file is not of this boot and state, or is damaged.
var ErrInvalid = errors.New("ring invalid")

// Identity says what a ring belongs to. A ring counts only while all of it agrees.
type Identity struct {
	Kind  uint32   // which of the rings it is
	State [16]byte // id of the state directory
	Boot  [16]byte // the kernel's boot id
	Pair  [16]byte // random, common to the rings that were made together
}

// Drops are the Reads that a ring had no room for, as totals since it was made.
type Drops struct {
	Reads    uint64
	Readings uint64
	First    int64  // Unix milliseconds of the first one not yet declared when it was counted
	Last     int64  // Unix milliseconds of the last one
	Input    uint64 // input position behind the last one, for a ring that is fed from another
}

const (
	magic      = 0x74674f49 // "tgOI"
	version    = 1
	headerSize = 4096
	entryHead  = 8 // length u32, CRC32C u32
	padMark    = 0xffffffff
	slotSize   = 64
	// minSize is the smallest ring: the reserve and an entry beside it.
	minSize = 4 * Reserve
)

// Reserve is how many bytes of a ring only entries put with urgent set may take.
const Reserve = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Offsets within the header page. Head, tail and mark are stored atomically; the drop slots carry a CRC and are written in turn.
const (
	offMagic   = 0
	offVersion = 4
	offKind    = 8
	offCRC     = 12 // over 0..12 and 16..88
	offSize    = 16
	offState   = 24
	offBoot    = 40
	offPair    = 56
	offHead    = 128
	offTail    = 192
	offMark    = 256  // highest record number given
	offMarkEp  = 320  // epoch ordinal of offMark
	offBegun   = 384  // epoch ordinal that Begin was told of
	offDrops   = 512  // two slots
	offUnsent  = 1024 // keys of uplinks on which nothing of offBegun was sent; 0 = free
	maxUnsent  = 64
)

// A Ring is safe for concurrent use. Put may be called by many; Next and Release by one reader.
type Ring struct {
	mem   []byte // header page and data
	size  uint64 // of data
	id    Identity
	where string
	free  func() error

	mu    sync.Mutex // guards head, drops and Put
	drops Drops
	gen   uint64 // of the last drop slot written

	wake chan struct{} // cap 1: something was put
}

// newRing makes an empty ring in mem, which is zeroed.
func newRing(mem []byte, id Identity, where string, free func() error) *Ring {
	r := &Ring{mem: mem, size: uint64(len(mem) - headerSize), id: id, where: where, free: free, wake: make(chan struct{}, 1)}
	h := mem[:headerSize]
	binary.LittleEndian.PutUint32(h[offMagic:], magic)
	binary.LittleEndian.PutUint32(h[offVersion:], version)
	binary.LittleEndian.PutUint32(h[offKind:], id.Kind)
	binary.LittleEndian.PutUint64(h[offSize:], r.size)
	copy(h[offState:], id.State[:])
	copy(h[offBoot:], id.Boot[:])
	copy(h[offPair:], id.Pair[:])
	binary.LittleEndian.PutUint32(h[offCRC:], headerCRC(h))
	return r
}

func headerCRC(h []byte) uint32 {
	return crc32.Update(crc32.Checksum(h[:offCRC], castagnoli), castagnoli, h[offSize:offPair+16])
}

// adopt takes over the ring that an earlier process left in mem, after checking all of it.
func adopt(mem []byte, want Identity, where string, free func() error) (*Ring, error) {
	h := mem[:headerSize]
	bad := func(format string, a ...any) (*Ring, error) {
		return nil, fmt.Errorf("ring %s: %s: %w", where, fmt.Sprintf(format, a...), ErrInvalid)
	}
	if got := binary.LittleEndian.Uint32(h[offMagic:]); got != magic {
		return bad("magic is %#x, want %#x", got, magic)
	}
	if got := binary.LittleEndian.Uint32(h[offVersion:]); got != version {
		return bad("version is %d, want %d", got, version)
	}
	if got, sum := binary.LittleEndian.Uint32(h[offCRC:]), headerCRC(h); got != sum {
		return bad("header CRC is %#x, want %#x", got, sum)
	}
	size := binary.LittleEndian.Uint64(h[offSize:])
	if size != uint64(len(mem)-headerSize) {
		return bad("size is %d, the file holds %d", size, len(mem)-headerSize)
	}
	id := Identity{Kind: binary.LittleEndian.Uint32(h[offKind:])}
	copy(id.State[:], h[offState:])
	copy(id.Boot[:], h[offBoot:])
	copy(id.Pair[:], h[offPair:])
	if id.Kind != want.Kind || id.State != want.State || id.Boot != want.Boot {
		return bad("it is of another state directory, boot or kind")
	}
	r := &Ring{mem: mem, size: size, id: id, where: where, free: free, wake: make(chan struct{}, 1)}
	head, tail := r.head().Load(), r.tail().Load()
	if head < tail || head-tail > size || head%8 != 0 || tail%8 != 0 {
		return bad("head is %d, tail %d, size %d", head, tail, size)
	}
	if err := r.readDrops(); err != nil {
		return bad("%v", err)
	}
	for at := tail; at < head; {
		_, next, err := r.entry(at, head)
		if err != nil {
			return bad("entry at %d: %v", at, err)
		}
		at = next
	}
	r.signal()
	return r, nil
}

// word returns the atomic 64-bit word at off of the header; the page is aligned, and all offsets are multiples of 8.
func (r *Ring) word(off int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&r.mem[off])) }
func (r *Ring) head() *atomic.Uint64        { return r.word(offHead) }
func (r *Ring) tail() *atomic.Uint64        { return r.word(offTail) }

// Pair returns the random id that the ring shares with the ones made together with it.
func (r *Ring) Pair() [16]byte { return r.id.Pair }

// Where names the ring for messages: its path, or "memory".
func (r *Ring) Where() string { return r.where }

// Size returns how many bytes of entries the ring holds.
func (r *Ring) Size() int { return int(r.size) }

// Head returns the place behind the last entry put.
func (r *Ring) Head() Place { return r.head().Load() }

// Tail returns the place of the oldest entry not released.
func (r *Ring) Tail() Place { return r.tail().Load() }

// Used returns how many bytes are taken by entries not yet released.
func (r *Ring) Used() int { return int(r.Head() - r.Tail()) }

// Wake is signalled when something was put since it was last received from.
func (r *Ring) Wake() <-chan struct{} { return r.wake }

func (r *Ring) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Put appends an entry, the concatenation of parts, and returns the place behind it. Once it has returned, the entry survives the
// process. Entries put without urgent leave Reserve bytes free. ErrFull: it does not fit now.
func (r *Ring) Put(urgent bool, parts ...[]byte) (Place, error) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	head, tail := r.head().Load(), r.tail().Load()
	need := uint64(entryHead+n+7) &^ 7
	at := head % r.size
	pad := uint64(0)
	if at+need > r.size {
		pad = r.size - at
	}
	limit := r.size
	if !urgent {
		limit -= Reserve
	}
	if head-tail+pad+need > limit {
		return 0, ErrFull
	}
	if pad > 0 {
		binary.LittleEndian.PutUint32(r.mem[headerSize+at:], padMark)
		head += pad
		at = 0
	}
	b := r.mem[headerSize+at : headerSize+at+need]
	b0 := entryHead
	for _, p := range parts {
		b0 += copy(b[b0:], p)
	}
	binary.LittleEndian.PutUint32(b, uint32(n))
	binary.LittleEndian.PutUint32(b[4:], entryCRC(head, b[entryHead:entryHead+n]))
	r.head().Store(head + need)
	r.signal()
	return head + need, nil
}

// entryCRC covers the place as well, so that an entry of an earlier round is not taken for one of this round.
func entryCRC(at Place, payload []byte) uint32 {
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], at)
	return crc32.Update(crc32.Checksum(p[:], castagnoli), castagnoli, payload)
}

// Next returns the entry at or behind place at, and the place behind it; ok is false when there is none yet. at is not below Tail.
// The entry's memory is the ring's: it is valid until Release.
func (r *Ring) Next(at Place) (entry []byte, next Place, ok bool, err error) {
	head := r.head().Load()
	if at >= head {
		return nil, at, false, nil
	}
	entry, next, err = r.entry(at, head)
	if err != nil {
		return nil, at, false, fmt.Errorf("ring %s: entry at %d: %w", r.where, at, err)
	}
	return entry, next, entry != nil, nil
}

// entry returns the entry at at; it is nil when only padding is left before head.
func (r *Ring) entry(at, head Place) ([]byte, Place, error) {
	off := at % r.size
	n := uint64(binary.LittleEndian.Uint32(r.mem[headerSize+off:]))
	if n == padMark {
		at += r.size - off
		off = 0
		if at >= head {
			return nil, at, nil
		}
		n = uint64(binary.LittleEndian.Uint32(r.mem[headerSize:]))
	}
	need := (entryHead + n + 7) &^ 7
	if off+need > r.size || at+need > head {
		return nil, at, fmt.Errorf("%d bytes reach beyond the head %d", n, head)
	}
	b := r.mem[headerSize+off : headerSize+off+need]
	payload := b[entryHead : entryHead+n : entryHead+n]
	if got, want := binary.LittleEndian.Uint32(b[4:]), entryCRC(at, payload); got != want {
		return nil, at, fmt.Errorf("CRC is %#x, want %#x", got, want)
	}
	return payload, at + need, nil
}

// Release gives the room below upto back. upto is a place that Put or Next returned.
func (r *Ring) Release(upto Place) {
	if upto > r.tail().Load() {
		r.tail().Store(upto)
	}
}

// Mark stores the highest record number given, of the epoch with that ordinal.
func (r *Ring) Mark(epoch uint32, number uint64) {
	r.word(offMark).Store(number)
	r.word(offMarkEp).Store(uint64(epoch))
}

// Marked returns what Mark stored last, 0, 0 at first.
func (r *Ring) Marked() (epoch uint32, number uint64) {
	return uint32(r.word(offMarkEp).Load()), r.word(offMark).Load()
}

// Drop counts a Read of so many readings that did not fit, at unixMS; input is the input position behind it (0 = none).
func (r *Ring) Drop(reads, readings int, unixMS int64, input uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.drops
	if d.First == 0 {
		d.First = unixMS
	}
	d.Reads += uint64(reads)
	d.Readings += uint64(readings)
	d.Last, d.Input = unixMS, input
	r.writeDrops(d)
	r.signal()
}

// Declared says that the drops up to and including the totals upto were declared: the next gap begins behind them. The totals stay.
func (r *Ring) Declared(upto Drops) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.drops
	d.First = 0
	if d.Reads > upto.Reads {
		d.First = upto.Last
	}
	r.writeDrops(d)
}

// Dropped returns the totals.
func (r *Ring) Dropped() Drops {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drops
}

func (r *Ring) writeDrops(d Drops) {
	r.gen++
	b := r.mem[offDrops+int(r.gen%2)*slotSize:][:slotSize]
	binary.LittleEndian.PutUint32(b[56:], 0) // while it is being written it is not valid
	binary.LittleEndian.PutUint64(b, r.gen)
	binary.LittleEndian.PutUint64(b[8:], d.Reads)
	binary.LittleEndian.PutUint64(b[16:], d.Readings)
	binary.LittleEndian.PutUint64(b[24:], uint64(d.First))
	binary.LittleEndian.PutUint64(b[32:], uint64(d.Last))
	binary.LittleEndian.PutUint64(b[40:], d.Input)
	binary.LittleEndian.PutUint32(b[56:], crc32.Checksum(b[:56], castagnoli)|1)
	r.drops = d
}

func (r *Ring) readDrops() error {
	empty := true
	for i := range 2 {
		b := r.mem[offDrops+i*slotSize:][:slotSize]
		gen := binary.LittleEndian.Uint64(b)
		if gen == 0 && binary.LittleEndian.Uint32(b[56:]) == 0 {
			continue
		}
		empty = false
		if binary.LittleEndian.Uint32(b[56:]) != crc32.Checksum(b[:56], castagnoli)|1 || gen < r.gen {
			continue
		}
		r.gen = gen
		r.drops = Drops{
			Reads: binary.LittleEndian.Uint64(b[8:]), Readings: binary.LittleEndian.Uint64(b[16:]),
			First: int64(binary.LittleEndian.Uint64(b[24:])), Last: int64(binary.LittleEndian.Uint64(b[32:])),
			Input: binary.LittleEndian.Uint64(b[40:]),
		}
	}
	if r.gen == 0 && !empty {
		return errors.New("both drop slots are damaged")
	}
	return nil
}

// Close unmaps the ring. Its file stays for the next process.
func (r *Ring) Close() error {
	if r.free == nil {
		return nil
	}
	f := r.free
	r.free = nil
	return f()
}
