package session

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Recorder is a drivers.Host that notes in a session file all bytes that go over the ports and buses of another. Pins and files
// are not recorded. Bytes stand in the file in the order in which they went, written out line by line.
//
// It uses the buses' one Trace.
type Recorder struct {
	drivers.Host

	start time.Time
	mu    sync.Mutex
	w     io.Writer // guarded by mu
	err   error     // guarded by mu; the first that w returned
}

// Record returns a Host like h whose traffic is written to w; remark becomes comment lines at its head.
func Record(h drivers.Host, w io.Writer, remark string) *Recorder {
	return &Recorder{Host: h, start: time.Now(), w: w, err: Write(w, remark, nil)}
}

// Err returns the first error of writing the file.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Recorder) note(port string, dir byte, b []byte) {
	if len(b) == 0 && dir != Gone {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	if _, err := fmt.Fprintln(r.w, Entry{At: time.Since(r.start).Truncate(time.Microsecond), Port: port, Dir: dir, Bytes: b}); err != nil {
		r.err = fmt.Errorf("write session: %w", err)
	}
}

// Serial returns the other Host's bus, traced.
func (r *Recorder) Serial(ctx context.Context, c drivers.Serial) (*drivers.Bus, error) {
	b, err := r.Host.Serial(ctx, c)
	return r.trace(c.Port, b, err)
}

// Dial returns the other Host's bus, traced.
func (r *Recorder) Dial(ctx context.Context, network, address string) (*drivers.Bus, error) {
	b, err := r.Host.Dial(ctx, network, address)
	return r.trace(network+"://"+address, b, err)
}

func (r *Recorder) trace(port string, b *drivers.Bus, err error) (*drivers.Bus, error) {
	if err != nil {
		return nil, err
	}
	b.Trace(func(out bool, p []byte) {
		if out {
			r.note(port, Out, p)
		} else {
			r.note(port, In, p)
		}
	})
	return b, nil
}

// transfer notes a transfer that has ended with err.
func (r *Recorder) transfer(port string, w, in []byte, err error) error {
	r.note(port, Out, w)
	if err != nil {
		r.note(port, Gone, nil)
	} else {
		r.note(port, In, in)
	}
	return err
}

// I2C returns the other Host's bus, recorded.
func (r *Recorder) I2C(ctx context.Context, bus string) (i2c.Bus, error) {
	b, err := r.Host.I2C(ctx, bus)
	if err != nil {
		return nil, err
	}
	return &recordedI2C{Bus: b, name: bus, r: r}, nil
}

// SPI returns the other Host's port, recorded.
func (r *Recorder) SPI(ctx context.Context, port string, f physic.Frequency, mode spi.Mode) (spi.Conn, error) {
	c, err := r.Host.SPI(ctx, port, f, mode)
	if err != nil {
		return nil, err
	}
	return &recordedSPI{Conn: c, name: port, r: r}, nil
}

// OneWire returns the other Host's bus, recorded. A search is recorded as its command (f0, or ec for alarms) and the addresses
// found, eight bytes each, lowest first as on the wire.
func (r *Recorder) OneWire(ctx context.Context, bus string) (onewire.Bus, error) {
	b, err := r.Host.OneWire(ctx, bus)
	if err != nil {
		return nil, err
	}
	return &recordedOneWire{Bus: b, name: bus, r: r}, nil
}

type (
	recordedI2C struct {
		i2c.Bus
		name string
		r    *Recorder
	}
	recordedSPI struct {
		spi.Conn
		name string
		r    *Recorder
	}
	recordedOneWire struct {
		onewire.Bus
		name string
		r    *Recorder
	}
)

func i2cPort(bus string, addr uint16) string { return fmt.Sprintf("i2c:%s:%02x", bus, addr) }

func (b *recordedI2C) Tx(addr uint16, w, r []byte) error {
	return b.r.transfer(i2cPort(b.name, addr), w, r, b.Bus.Tx(addr, w, r))
}

func (b *recordedSPI) Tx(w, r []byte) error {
	return b.r.transfer("spi:"+b.name, w, r, b.Conn.Tx(w, r))
}

func (b *recordedSPI) TxPackets(p []spi.Packet) error {
	err := b.Conn.TxPackets(p)
	for i := range p {
		_ = b.r.transfer("spi:"+b.name, p[i].W, p[i].R, err) // returns err, which is returned below
	}
	return err
}

func (b *recordedOneWire) Tx(w, r []byte, power onewire.Pullup) error {
	return b.r.transfer("onewire:"+b.name, w, r, b.Bus.Tx(w, r, power))
}

func (b *recordedOneWire) Search(alarmOnly bool) ([]onewire.Address, error) {
	found, err := b.Bus.Search(alarmOnly)
	var in []byte
	for _, a := range found {
		in = binary.LittleEndian.AppendUint64(in, uint64(a))
	}
	return found, b.r.transfer("onewire:"+b.name, searchCommand(alarmOnly), in, err)
}

// searchCommand returns the ROM command of a search (DS18B20 datasheet, "ROM commands").
func searchCommand(alarmOnly bool) []byte {
	if alarmOnly {
		return []byte{0xec}
	}
	return []byte{0xf0}
}
