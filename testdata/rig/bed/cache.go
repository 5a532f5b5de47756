package bed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// A CacheDisk is a file that a machine has as its disk, over NBD (github.com/NetworkBlockDevice/nbd, doc/proto.md), with a write cache that a power cut
// takes: what was written since the last flush is there or not, sector by sector, as chance will have it.
type CacheDisk struct {
	Socket string // unix socket that the machine asks

	t      testing.TB
	listen net.Listener
	served sync.WaitGroup

	mu     sync.Mutex // guards all below
	file   *os.File
	size   int64
	cached map[int64][]byte // by sector: not on the file yet
	chance *rand.Rand
}

// NewCacheDisk serves the file at path, whose length is a multiple of 512, until the test ends; chance draws by the seed.
func NewCacheDisk(t testing.TB, path string, seed uint64) *CacheDisk {
	t.Helper()
	d := &CacheDisk{t: t, Socket: filepath.Join(filepath.Dir(path), "disk.sock"), cached: map[int64][]byte{}, chance: rand.New(rand.NewPCG(seed, seed))}
	var err error
	if d.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	st, err := d.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	d.size = st.Size()
	if d.listen, err = net.Listen("unix", d.Socket); err != nil {
		t.Fatal(err)
	}
	d.served.Go(d.accept)
	t.Cleanup(func() {
		_ = d.listen.Close() // nobody asks any more
		d.served.Wait()
		if err := d.file.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// accept serves one machine after the other.
func (d *CacheDisk) accept() {
	for {
		c, err := d.listen.Accept()
		if err != nil {
			return
		}
		err = d.serve(c)
		_ = c.Close()
		// A machine that is killed ends in the middle of anything.
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !isReset(err) {
			d.t.Errorf("disk: %v", err)
		}
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// Cut loses what was not flushed; it returns how many sectors that were, and how many of them chance has kept. The machine is gone.
func (d *CacheDisk) Cut() (unflushed, kept int) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	unflushed = len(d.cached)
	for n, b := range d.cached {
		if d.chance.IntN(2) == 0 {
			continue
		}
		kept++
		if _, err := d.file.WriteAt(b, n*sector); err != nil {
			d.t.Fatal(err)
		}
	}
	clear(d.cached)
	return unflushed, kept
}

// Unflushed returns how many sectors a cut would take or leave.
func (d *CacheDisk) Unflushed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.cached)
}

func (d *CacheDisk) read(b []byte, at int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.file.ReadAt(b, at); err != nil {
		return err
	}
	for i := 0; i < len(b); i += sector {
		if c := d.cached[(at+int64(i))/sector]; c != nil {
			copy(b[i:], c)
		}
	}
	return nil
}

func (d *CacheDisk) write(b []byte, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i < len(b); i += sector {
		d.cached[(at+int64(i))/sector] = b[i : i+sector]
	}
}

// flush has all that was written on the file.
func (d *CacheDisk) flush() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n, b := range d.cached {
		if _, err := d.file.WriteAt(b, n*sector); err != nil {
			return err
		}
	}
	clear(d.cached)
	return nil
}

// Numbers of the protocol.
const (
	nbdOption       = 0x49484156454F5054 // IHAVEOPT
	nbdOptionReply  = 0x3e889045565a9
	nbdRequest      = 0x25609513
	nbdReply        = 0x67446698
	optGo           = 7
	repAck          = 1
	repInfo         = 3
	repUnsupported  = 1<<31 + 1
	cmdRead         = 0
	cmdWrite        = 1
	cmdEnd          = 2
	cmdFlush        = 3
	hasFlags        = 1<<0 | 1<<2 // and takes flushes
	nbdMost         = 32 << 20    // bytes of one request
	errInvalid      = 22
	errInputOutput  = 5
	optionLongest   = 64 << 10
	handshakeClient = 4
)

// serve serves one connection.
func (d *CacheDisk) serve(c net.Conn) error {
	if _, err := c.Write(append([]byte("NBDMAGICIHAVEOPT"), 0, 1)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, handshakeClient)); err != nil {
		return err
	}
	for {
		isOver, err := d.option(c)
		if err != nil {
			return err
		}
		if isOver {
			break
		}
	}
	for {
		if done, err := d.request(c); done || err != nil {
			return err
		}
	}
}

// option answers one option of the handshake; it reports whether the handshake is over.
func (d *CacheDisk) option(c net.Conn) (over bool, err error) {
	var h struct {
		Magic       uint64
		Option, Len uint32
	}
	if err := binary.Read(c, binary.BigEndian, &h); err != nil {
		return false, err
	}
	if h.Magic != nbdOption || h.Len > optionLongest {
		return false, fmt.Errorf("option %+v is none", h)
	}
	if _, err := io.CopyN(io.Discard, c, int64(h.Len)); err != nil {
		return false, err
	}
	reply := func(kind uint32, body []byte) error {
		b := binary.BigEndian.AppendUint64(nil, nbdOptionReply)
		b = binary.BigEndian.AppendUint32(b, h.Option)
		b = binary.BigEndian.AppendUint32(b, kind)
		b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
		_, err := c.Write(append(b, body...))
		return err
	}
	if h.Option != optGo {
		return false, reply(repUnsupported, nil)
	}
	info := binary.BigEndian.AppendUint64([]byte{0, 0}, uint64(d.size)) // NBD_INFO_EXPORT
	info = binary.BigEndian.AppendUint16(info, hasFlags)
	return true, errors.Join(reply(repInfo, info), reply(repAck, nil))
}

// request answers one request; it reports whether it was the last one.
func (d *CacheDisk) request(c net.Conn) (done bool, err error) {
	var h struct {
		Magic       uint32
		Flags, Kind uint16
		Handle      uint64
		At          int64
		Len         uint32
	}
	if err := binary.Read(c, binary.BigEndian, &h); err != nil {
		return false, err
	}
	if h.Magic != nbdRequest || h.Len > nbdMost {
		return false, fmt.Errorf("request %+v is none", h)
	}
	var out []byte
	code := uint32(0)
	isWhole := h.At >= 0 && h.At%sector == 0 && h.Len%sector == 0 && h.At+int64(h.Len) <= d.size
	switch {
	case h.Kind == cmdEnd:
		return true, nil
	case h.Kind == cmdFlush:
		err = d.flush()
	case h.Kind == cmdRead && isWhole:
		out = make([]byte, h.Len)
		err = d.read(out, h.At)
	case h.Kind == cmdWrite:
		b := make([]byte, h.Len)
		if _, err := io.ReadFull(c, b); err != nil {
			return false, err
		}
		if !isWhole {
			code = errInvalid
			break
		}
		d.write(b, h.At)
	default:
		code = errInvalid
	}
	if err != nil {
		d.t.Errorf("disk: %v", err)
		code, out = errInputOutput, nil
	}
	b := binary.BigEndian.AppendUint32(nil, nbdReply)
	b = binary.BigEndian.AppendUint32(b, code)
	b = binary.BigEndian.AppendUint64(b, h.Handle)
	_, err = c.Write(append(b, out...))
	return false, err
}
