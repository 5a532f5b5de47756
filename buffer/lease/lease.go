// Package lease keeps on disk which record numbers may have been given: two slots of 4 KiB, each in a file of its own, overwritten
// in place in turn and fsynced, so that one of them is whole whenever the power fails. See buffer/README.md.
package lease

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/tidegate-io/tidegate"
)

// Block is how many numbers are leased at a time.
const Block = 65536

// A Cursor is how far one uplink had got, as of the slot's writing: everything below Number of the epoch is done.
type Cursor struct {
	Uplink string
	Epoch  uint32
	Number uint64
}

// A Lease is what a slot holds.
type Lease struct {
	Generation uint64   // rises with each write
	State      [16]byte // random id of the state directory
	Epoch      uint32   // ordinal of the current epoch, 1 and up
	EpochID    string   // its name on the wire
	Start      uint64   // the epoch's first number
	End        uint64   // no number of the epoch at or above it has been given
	Clean      bool     // the gateway stopped in order, and Last is the last number given
	Last       uint64   //
	Cursors    []Cursor // coarse; the exact ones are in the store
	Pending    [][]byte // gaps found at the start of the epoch that no commit may hold yet, opaque here; at most maxPending bytes
}

const (
	slotSize = 4096
	magic    = "tgnumber"
	version  = 1
	maxText  = 255
	// maxPending bounds Lease.Pending with its lengths.
	maxPending = 2048
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var slotNames = [...]string{"numbers.a", "numbers.b"}

// ErrUnreadable is wrapped by Open when slots exist and none of them is whole.
var ErrUnreadable = errors.New("both lease slots are unreadable")

// A File is the pair of slots. It is safe for concurrent use.
type File struct {
	mu    sync.Mutex // guards slots and last
	slots [2]*os.File
	last  Lease
	sync  func(*os.File) error
}

// Open opens the slots of the state directory dir and makes them where they are missing. found is false when there was no lease:
// a first start, or, with an error wrapping ErrUnreadable, damage; the File serves in both cases.
func Open(dir string) (f *File, last Lease, found bool, err error) {
	return open(dir, (*os.File).Sync)
}

// OpenUnsynced is Open for a directory on tmpfs, where there is nothing to sync: a disk that refuses to is no reason to stop.
func OpenUnsynced(dir string) (f *File, last Lease, found bool, err error) {
	return open(dir, func(*os.File) error { return nil })
}

func open(dir string, sync func(*os.File) error) (f *File, last Lease, found bool, err error) {
	f = &File{sync: sync}
	var damage []error
	present := false
	for i, name := range slotNames {
		s, existed, err := openSlot(filepath.Join(dir, name), sync)
		if err != nil {
			return nil, Lease{}, false, errors.Join(err, f.Close())
		}
		f.slots[i] = s
		if !existed {
			continue
		}
		l, empty, err := read(s)
		switch {
		case err != nil:
			present = true
			damage = append(damage, err)
		case empty:
		case !found || l.Generation > f.last.Generation:
			present, found, f.last = true, true, l
		}
	}
	if err := syncDir(dir, sync); err != nil {
		return nil, Lease{}, false, errors.Join(err, f.Close())
	}
	if present && !found {
		return f, Lease{}, false, fmt.Errorf("%w: %w", ErrUnreadable, errors.Join(damage...))
	}
	return f, f.last, found, nil
}

// Peek returns the newest lease in the directory, where a slot can be read, and changes nothing: for a disk that cannot be written.
func Peek(dir string) (last Lease, found bool) {
	for _, name := range slotNames {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		if l, err := Decode(b); err == nil && (!found || l.Generation > last.Generation) {
			last, found = l, true
		}
	}
	return last, found
}

// openSlot opens or preallocates one slot.
func openSlot(path string, sync func(*os.File) error) (s *os.File, existed bool, err error) {
	s, err = os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		s, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	} else {
		existed = err == nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open lease slot: %w", err)
	}
	st, err := s.Stat()
	if err == nil && st.Size() < slotSize {
		if _, err = s.WriteAt(make([]byte, slotSize-st.Size()), st.Size()); err == nil {
			err = sync(s)
		}
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("preallocate lease slot %s: %w", path, err), s.Close())
	}
	return s, existed, nil
}

func syncDir(dir string, sync func(*os.File) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open state directory: %w", err)
	}
	return errors.Join(sync(d), d.Close())
}

func read(s *os.File) (l Lease, empty bool, err error) {
	b := make([]byte, slotSize)
	if _, err := io.ReadFull(io.NewSectionReader(s, 0, slotSize), b); err != nil {
		return l, false, fmt.Errorf("read lease slot %s: %w", s.Name(), err)
	}
	if bytes.Equal(b, make([]byte, slotSize)) {
		return l, true, nil
	}
	if l, err = Decode(b); err != nil {
		return l, false, fmt.Errorf("lease slot %s: %w", s.Name(), err)
	}
	return l, false, nil
}

// Last returns what was written last, or found by Open.
func (f *File) Last() Lease {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Write makes l durable: when it returns nil, l is what Open finds after a power cut. The generation is set by it. On an error
// either l or the lease before may be found; nothing that depends on l may be done.
func (f *File) Write(l Lease) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.Generation = f.last.Generation + 1
	b, err := Encode(l)
	if err != nil {
		return err
	}
	s := f.slots[l.Generation%2]
	if _, err := s.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write lease slot: %w", err)
	}
	if err := f.sync(s); err != nil {
		return fmt.Errorf("sync lease slot: %w", err)
	}
	f.last = l
	return nil
}

// Close closes the files.
func (f *File) Close() error {
	var errs []error
	for _, s := range f.slots {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// Encode returns the 4,096 bytes of a slot:
//
//	0   "tgnumber"      8   version u32 = 1   12  CRC32C u32 over 16..4095
//	16  generation u64  24  state id [16]     40  epoch ordinal u32   44  clean u32 (0 or 1)
//	48  end u64         56  last u64          64  start u64   72  epoch name: length u8, bytes
//	    then pending count u16, and each: length u16, bytes
//	    then cursor count u16, and each: uplink length u8, bytes, epoch u32, number u64
//
// All integers are little-endian; the rest is zero. Cursors that no longer fit are left out, the last ones first.
func Encode(l Lease) ([]byte, error) {
	if len(l.EpochID) > maxText {
		return nil, fmt.Errorf("epoch name has %d bytes, at most %d", len(l.EpochID), maxText)
	}
	b := make([]byte, 72, slotSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], l.Generation)
	copy(b[24:], l.State[:])
	binary.LittleEndian.PutUint32(b[40:], l.Epoch)
	if l.Clean {
		binary.LittleEndian.PutUint32(b[44:], 1)
	}
	binary.LittleEndian.PutUint64(b[48:], l.End)
	binary.LittleEndian.PutUint64(b[56:], l.Last)
	binary.LittleEndian.PutUint64(b[64:], l.Start)
	b = append(append(b, byte(len(l.EpochID))), l.EpochID...)
	start := len(b)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(l.Pending)))
	for _, p := range l.Pending {
		if len(b)-start+2+len(p) > maxPending {
			return nil, fmt.Errorf("pending gaps take more than %d bytes", maxPending)
		}
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(p))), p...)
	}
	count := len(b)
	b = append(b, 0, 0)
	n := 0
	for _, c := range l.Cursors {
		if len(c.Uplink) > tidegate.MaxName {
			return nil, fmt.Errorf("uplink name has %d bytes, at most %d", len(c.Uplink), tidegate.MaxName)
		}
		if len(b)+1+len(c.Uplink)+12 > slotSize {
			break
		}
		b = append(append(b, byte(len(c.Uplink))), c.Uplink...)
		b = binary.LittleEndian.AppendUint32(b, c.Epoch)
		b = binary.LittleEndian.AppendUint64(b, c.Number)
		n++
	}
	binary.LittleEndian.PutUint16(b[count:], uint16(n))
	b = b[:slotSize]
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[16:], castagnoli))
	return b, nil
}

// Decode is the inverse of Encode; it refuses anything that Encode would not have made.
func Decode(b []byte) (l Lease, err error) {
	if len(b) != slotSize {
		return l, fmt.Errorf("slot has %d bytes, want %d", len(b), slotSize)
	}
	if string(b[:8]) != magic {
		return l, fmt.Errorf("magic is %q, want %q", b[:8], magic)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return l, fmt.Errorf("version is %d, want %d", v, version)
	}
	if got, want := binary.LittleEndian.Uint32(b[12:]), crc32.Checksum(b[16:], castagnoli); got != want {
		return l, fmt.Errorf("CRC is %#x, want %#x", got, want)
	}
	l.Generation = binary.LittleEndian.Uint64(b[16:])
	copy(l.State[:], b[24:])
	l.Epoch = binary.LittleEndian.Uint32(b[40:])
	l.Clean = binary.LittleEndian.Uint32(b[44:]) == 1
	l.End = binary.LittleEndian.Uint64(b[48:])
	l.Last = binary.LittleEndian.Uint64(b[56:])
	l.Start = binary.LittleEndian.Uint64(b[64:])
	rest := b[72:]
	text := func() string {
		if len(rest) < 1 || len(rest) < 1+int(rest[0]) {
			err = errors.New("text reaches beyond the slot")
			return ""
		}
		s := string(rest[1 : 1+int(rest[0])])
		rest = rest[1+len(s):]
		return s
	}
	l.EpochID = text()
	if err != nil || len(rest) < 2 {
		return Lease{}, errors.New("text reaches beyond the slot")
	}
	for range binary.LittleEndian.Uint16(rest) {
		if len(rest) < 4 || len(rest) < 4+int(binary.LittleEndian.Uint16(rest[2:])) {
			return Lease{}, errors.New("pending gap reaches beyond the slot")
		}
		p := rest[4 : 4+int(binary.LittleEndian.Uint16(rest[2:]))]
		l.Pending = append(l.Pending, append([]byte{}, p...))
		rest = rest[2+len(p):]
	}
	if rest = rest[2:]; len(rest) < 2 {
		return Lease{}, errors.New("pending gaps reach beyond the slot")
	}
	n := int(binary.LittleEndian.Uint16(rest))
	rest = rest[2:]
	for range n {
		c := Cursor{Uplink: text()}
		if err != nil || len(rest) < 12 {
			return Lease{}, fmt.Errorf("%d cursors reach beyond the slot", n)
		}
		c.Epoch = binary.LittleEndian.Uint32(rest)
		c.Number = binary.LittleEndian.Uint64(rest[4:])
		rest = rest[12:]
		l.Cursors = append(l.Cursors, c)
	}
	return l, nil
}
