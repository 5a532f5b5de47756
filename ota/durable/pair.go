package durable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
)

// A Pair keeps a small body in two files that say the same, so that one of them is whole whatever happens to the other: a power cut, a bad
// block, a file cut short or taken away by hand. A cut in the middle of a Write leaves the body before it in one of them. Each is
//
//	8 bytes   "tgpair01"
//	uint64    generation, rises with each Write, big endian, 1 to 2^64-2
//	uint32    length of the body, at most MaxPair
//	uint32    CRC32C of generation, length and body
//	body
//
// It is for one process at a time.
type Pair struct {
	disk Disk
	path string
	next uint64 // generation of the next Write
	last int    // which file holds the newest body: it is written over last
	harm error
}

// MaxPair is how long a body may be, in bytes.
const MaxPair = 64 << 10

const (
	pairMagic = "tgpair01"
	pairHead  = len(pairMagic) + 8 + 4 + 4
)

// ErrDamaged is wrapped by OpenPair where files exist and none of them is whole.
var ErrDamaged = errors.New("both generations are damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenPair is Disk.OpenPair of the zero Disk.
func OpenPair(path string) (p *Pair, body []byte, whole bool, err error) {
	return Disk{}.OpenPair(path)
}

// OpenPair reads path.0 and path.1 and returns the newer body that is whole; nil where there is none. With an error wrapping ErrDamaged the
// Pair serves as well: what it kept is lost. One file that is damaged, gone or older beside a whole one is no error: whole is then false, and
// the next Write makes it good; Damage tells what a cut has left from what it has not.
func (d Disk) OpenPair(path string) (p *Pair, body []byte, whole bool, err error) {
	p = &Pair{disk: d, path: path, next: 1, last: 1}
	var damage []error
	found, same := 0, false
	for i := range 2 {
		b, err := ReadFile(p.file(i), int64(pairHead+MaxPair))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var generation uint64
		var one []byte
		if err == nil {
			generation, one, err = decodePair(b)
		}
		if err != nil {
			damage = append(damage, fmt.Errorf("%s: %w", p.file(i), err))
			continue
		}
		same = found > 0 && generation+1 == p.next && bytes.Equal(one, body)
		if found == 0 || generation >= p.next {
			body, p.next, p.last = one, generation+1, i
		}
		found++
	}
	if len(damage) > 0 && found == 0 {
		return p, nil, false, fmt.Errorf("%w: %w", ErrDamaged, errors.Join(damage...))
	}
	if found == 1 && len(damage) == 0 && p.next > 2 { // the first Write of all may have been cut between the two
		damage = append(damage, fmt.Errorf("%s: %w", p.file(1-p.last), os.ErrNotExist))
	}
	p.harm = errors.Join(damage...)
	return p, body, found == 0 || same, nil
}

// Damage says what is wrong with the file that was not taken; nil where it is merely older, as a cut in a Write leaves it.
func (p *Pair) Damage() error { return p.harm }

func (p *Pair) file(i int) string { return fmt.Sprintf("%s.%d", p.path, i) }

// Files returns the names of both files and of what a cut may leave beside them.
func (p *Pair) Files() []string {
	return []string{p.file(0), p.file(1), Temporary(p.file(0)), Temporary(p.file(1))}
}

// Write keeps body in the place of what was kept. With an error either may be found afterwards.
func (p *Pair) Write(body []byte) error {
	if len(body) > MaxPair {
		return fmt.Errorf("write %s: got %d bytes, want at most %d", p.path, len(body), MaxPair)
	}
	b := append(make([]byte, 0, pairHead+len(body)), pairMagic...)
	b = binary.BigEndian.AppendUint64(b, p.next)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, pairSum(b[len(pairMagic):], body))
	b = append(b, body...)
	// Its name need not last yet: until the folder is synced behind the second file, the first holds what it held, or this.
	if err := p.disk.replace(p.file(1-p.last), b, 0o600); err != nil {
		return err
	}
	// From here on a later Write must have a generation of its own.
	p.next, p.last = p.next+1, 1-p.last
	return p.disk.WriteFile(p.file(1-p.last), b, 0o600)
}

// pairSum is the checksum of a head, from the generation on, and a body.
func pairSum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head[:12], castagnoli), castagnoli, body)
}

func decodePair(b []byte) (generation uint64, body []byte, err error) {
	if len(b) < pairHead || string(b[:len(pairMagic)]) != pairMagic {
		return 0, nil, fmt.Errorf("got %d bytes that are none of ours", len(b))
	}
	head, body := b[len(pairMagic):pairHead], b[pairHead:]
	if n := binary.BigEndian.Uint32(head[8:]); uint64(n) != uint64(len(body)) {
		return 0, nil, fmt.Errorf("got a body of %d bytes, want %d", len(body), n)
	}
	if got, want := binary.BigEndian.Uint32(head[12:]), pairSum(head, body); got != want {
		return 0, nil, fmt.Errorf("got checksum %08x, want %08x", got, want)
	}
	generation = binary.BigEndian.Uint64(head)
	if generation == 0 || generation == math.MaxUint64 {
		return 0, nil, fmt.Errorf("got generation %d, want 1 to 2^64-2", generation)
	}
	return generation, body, nil
}
