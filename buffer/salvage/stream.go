// Package salvage brings what can be read of a store that does not open into a new one. The files are read by a process of its own, which
// may die of them, and which hands on what verifies; the frames keep their epoch and their numbers.
package salvage

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// Kinds of what a stream holds. A stream begins with small values, goes on with frames, and ends with kindEnd, without which it is not whole.
const (
	kindSmall byte = 's'
	kindGone  byte = 'd' // a small value that was deleted
	kindFrame byte = 'f'
	kindEnd   byte = 'e'
)

// Bounds of what a reader takes.
const (
	maxKey   = 1 << 10
	maxValue = disk.MaxWrite
)

// headSize is what stands before a key: kind u8, length of the key u16, of the value u32, version u64.
const headSize = 15

// Write reads the files of the store in dir, which nobody has open, and writes to w what of them verifies.
func Write(dir string, w io.Writer) error {
	out := bufio.NewWriterSize(w, 64<<10)
	err := disk.Scraps(dir, false, func(s disk.Scrap) error {
		switch {
		case s.Key[0] == stored.KeyIndex:
			return nil // made anew of the frames
		case s.Deleted:
			return write(out, kindGone, s.Version, s.Key, nil)
		}
		v, err := stored.Unbind(s.Key, s.Value)
		if err != nil {
			return nil
		}
		return write(out, kindSmall, s.Version, s.Key, v)
	})
	if err == nil {
		err = disk.Scraps(dir, true, func(s disk.Scrap) error {
			_, err := stored.ParseFrame(s.Value, nil)
			if s.Deleted || err != nil && !errors.Is(err, seal.ErrKey) || !isKeyOf(s.Key, s.Value) { // what is sealed is opened by who has the key
				return nil
			}
			return write(out, kindFrame, s.Version, s.Key, s.Value)
		})
	}
	if err == nil {
		err = write(out, kindEnd, 0, nil, nil)
	}
	return errors.Join(err, out.Flush())
}

// isKeyOf reports whether the key is that of frame b, in some segment.
func isKeyOf(key, b []byte) bool {
	return len(key) == 22 && key[1] == b[1] && bytes.Equal(key[2:6], b[4:8]) && bytes.Equal(key[14:], b[8:16])
}

func write(w io.Writer, kind byte, version uint64, key, value []byte) error {
	head := make([]byte, headSize, headSize+len(key))
	head[0] = kind
	binary.BigEndian.PutUint16(head[1:], uint16(len(key)))
	binary.BigEndian.PutUint32(head[3:], uint32(len(value)))
	binary.BigEndian.PutUint64(head[7:], version)
	_, err := w.Write(append(head, key...))
	if err == nil {
		_, err = w.Write(value)
	}
	if err != nil {
		return fmt.Errorf("hand on what verifies: %w", err)
	}
	return nil
}

// A piece is one thing in a stream.
type piece struct {
	kind       byte
	version    uint64
	key, value []byte
}

// read returns the next piece; key and value are its own.
func read(r io.Reader) (p piece, err error) {
	var head [headSize]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return p, err
	}
	p.kind, p.version = head[0], binary.BigEndian.Uint64(head[7:])
	k, v := int(binary.BigEndian.Uint16(head[1:])), binary.BigEndian.Uint32(head[3:])
	if k > maxKey || v > maxValue {
		return p, fmt.Errorf("a key of %d bytes with a value of %d, at most %d and %d", k, v, maxKey, maxValue)
	}
	b := make([]byte, k+int(v))
	if _, err = io.ReadFull(r, b); err != nil {
		return p, fmt.Errorf("read key and value: %w", err)
	}
	p.key, p.value = b[:k:k], b[k:]
	return p, nil
}
