package memory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A generation is one copy of what a device keeps. Its bytes, numbers in little-endian order:
//
//	0   "tgMm"
//	4   version, 1
//	8   counter: grows with each Store that changes something
//	16  when it was stored, Unix milliseconds
//	24  length n of the body
//	28  the body
//	28+n  CRC32C of all before
//
// What stands behind is what a longer one has left.
type generation struct {
	counter uint64
	written time.Time
	body    []byte
}

const (
	magic    = "tgMm"
	version  = 1
	headSize = 28
	most     = headSize + drivers.MemoryMost + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(g generation) []byte {
	b := make([]byte, headSize, headSize+len(g.body)+4)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[4:], version)
	binary.LittleEndian.PutUint64(b[8:], g.counter)
	binary.LittleEndian.PutUint64(b[16:], uint64(g.written.UnixMilli()))
	binary.LittleEndian.PutUint32(b[24:], uint32(len(g.body)))
	b = append(b, g.body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decode(b []byte) (g generation, err error) {
	if len(b) < headSize+4 {
		return g, fmt.Errorf("got %d bytes, want at least %d", len(b), headSize+4)
	}
	if got := string(b[:4]); got != magic {
		return g, fmt.Errorf("begins with %q, want %q", got, magic)
	}
	if got := binary.LittleEndian.Uint32(b[4:]); got != version {
		return g, fmt.Errorf("version is %d, want %d", got, version)
	}
	n := uint64(binary.LittleEndian.Uint32(b[24:]))
	if room := uint64(len(b) - headSize - 4); n > drivers.MemoryMost || n > room {
		return g, fmt.Errorf("length is %d, want at most %d", n, min(room, drivers.MemoryMost))
	}
	end := headSize + int(n)
	if got, want := binary.LittleEndian.Uint32(b[end:]), crc32.Checksum(b[:end], castagnoli); got != want {
		return g, fmt.Errorf("CRC is %#x, want %#x", got, want)
	}
	return generation{
		counter: binary.LittleEndian.Uint64(b[8:]), written: time.UnixMilli(int64(binary.LittleEndian.Uint64(b[16:]))),
		body: append([]byte{}, b[headSize:end]...),
	}, nil
}

// read returns what the file at path holds, as far as a generation can be long.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// overwrite writes b to the start of the file at path, in place: its other generation stands meanwhile.
func overwrite(path string, b []byte) error {
	open := func() (*os.File, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	}
	f, err := open()
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f, err = open()
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Close())
}

// write puts b durably in the place of the file called name in dir, once dir is synced: whole, whenever it is interrupted.
func write(dir, name string, b []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+"~new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+"~new"))
	}
	return os.Rename(path+"~new", path)
}

// syncDir makes what was renamed in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
