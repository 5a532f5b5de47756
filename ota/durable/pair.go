package durable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// A Pair keeps a small body in two files in turn, so that one of them is whole whatever happens to the other: a power cut, a bad block, a
// file cut short by hand. Each is
//
//	8 bytes   "tgpair01"
//	uint64    generation, rises with each Write, big endian
//	uint32    length of the body, at most MaxPair
//	uint32    CRC32C of generation, length and body
//	body
//
// It is for one process at a time.
type Pair struct {
	path string
	next uint64 // generation of the next Write
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

// OpenPair reads path.0 and path.1 and returns the newer body that is whole; nil where there is none. With an error wrapping ErrDamaged the
// Pair serves as well: what it kept is lost. One damaged file beside a whole one is no error: whole is then false.
func OpenPair(path string) (p *Pair, body []byte, whole bool, err error) {
	p = &Pair{path: path, next: 1}
	whole = true
	var damage []error
	found := false
	for i := range uint64(2) {
		b, err := readBounded(p.file(i), int64(pairHead+MaxPair))
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
		if !found || generation >= p.next {
			body, p.next = one, generation+1
		}
		found = true
	}
	if len(damage) > 0 && !found {
		return p, nil, false, fmt.Errorf("%w: %w", ErrDamaged, errors.Join(damage...))
	}
	return p, body, len(damage) == 0, nil
}

func (p *Pair) file(generation uint64) string { return fmt.Sprintf("%s.%d", p.path, generation%2) }

// Write keeps body. What was kept before stays in the other file.
func (p *Pair) Write(body []byte) error {
	if len(body) > MaxPair {
		return fmt.Errorf("write %s: got %d bytes, want at most %d", p.path, len(body), MaxPair)
	}
	b := append(make([]byte, 0, pairHead+len(body)), pairMagic...)
	b = binary.BigEndian.AppendUint64(b, p.next)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, pairSum(b[len(pairMagic):], body))
	if err := WriteFile(p.file(p.next), append(b, body...), 0o600); err != nil {
		return err
	}
	p.next++
	return nil
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
	return binary.BigEndian.Uint64(head), body, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("got more than %d bytes", limit)
	}
	return b, errors.Join(err, f.Close())
}
