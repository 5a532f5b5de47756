package demo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// The simulated bus: a boiler's controller and two meters on one RS-485 line. Each reply of a meter carries a running number in its first two registers, so
// that the far end knows by number what it has answered.
const (
	units    = 3
	channels = 4 // n (uint32), temp, pressure, power: readings in one reply
)

// meters are the devices on the bus, by their units.
var meters = [units + 1]string{1: "boiler", 2: "meter2", 3: "meter3"}

// isMeter reports whether a device is one of the bus.
func isMeter(device string) bool { return device != "" && slices.Contains(meters[:], device) }

// deviceConfig is the configuration of the bus for the gateway: unit, port and name.
const deviceConfig = `
  - name: %[3]s
    driver: modbus
    every: 100ms
    address: rtu://%[2]s?baud=115200&parity=even
    unit: %[1]d
    timeout: 3s
    registers:
      - {channel: n, table: holding, address: 0, type: uint32}
      - {channel: temp, table: holding, address: 2, type: int16, scale: 0.1, unit: Cel}
      - {channel: pressure, table: holding, address: 3, type: uint16, scale: 0.01, unit: hPa}
      - {channel: power, table: holding, address: 4, type: float32, unit: W}
`

// A bus is the far end of the line, and keeps the truth.
type bus struct {
	pair *pty.Pair

	mu       sync.Mutex          // guards all below
	answered [units + 1]uint32   // running number of the last reply of each unit
	given    [units + 1]uint32   // running number in the reply under way
	marks    int                 // how often the mark was asked for
	ends     [units + 1][]uint32 // running number of the last reply when the gateway stopped, each time
}

// open makes the line.
func (b *bus) open() (err error) {
	b.pair, err = pty.Open()
	return err
}

// serve answers until ctx is done.
func (b *bus) serve(ctx context.Context) error {
	s := &slave.Slave{Units: []byte{1, 2, 3, markUnit}, Values: b.values, Answered: b.answer}
	return s.ServeRTU(ctx, b.pair.Master)
}

// close unplugs the line; serve may have closed its end already.
func (b *bus) close() error {
	if b.pair == nil {
		return nil
	}
	if err := b.pair.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// values fills the registers of one reply: running number, temperature in 0.1 degrees, pressure in 0.01 hPa, power as float32.
func (b *bus) values(q slave.Request, out []uint16) slave.Exception {
	if q.Unit == markUnit {
		b.mu.Lock()
		b.marks++
		b.mu.Unlock()
		return slave.IllegalAddress
	}
	if q.Table != slave.Holdings || int(q.Address)+int(q.Quantity) > 6 {
		return slave.IllegalAddress
	}
	b.mu.Lock()
	n := b.answered[q.Unit] + 1
	b.given[q.Unit] = n
	b.mu.Unlock()
	phase := float64(n)/200 + float64(q.Unit)
	power := math.Float32bits(float32(1500 + 400*math.Sin(phase*3)))
	temp := 650 + 200*math.Sin(float64(n)/50+float64(q.Unit)/2) // over 80 degrees for some seconds in each half minute
	regs := [6]uint16{
		uint16(n >> 16), uint16(n), uint16(int16(temp)), uint16(50000 + 1500*math.Sin(phase/5)),
		uint16(power >> 16), uint16(power),
	}
	copy(out, regs[q.Address:])
	return slave.NoException
}

func (b *bus) answer(q slave.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered[q.Unit] = b.given[q.Unit]
}

// markUnit is a unit that the gateway does not ask. mark asks it for one register (Serial Line V1.02, section 2.5.1; the CRC comes last).
const markUnit = 247

var mark = []byte{markUnit, 3, 0, 0, 0, 1, 0x90, 0x9c}

// stopped notes that the gateway has ended: the last reply of each unit may have been in flight. A request that it had sent may still wait
// at the far end, so the mark is sent behind it, until it gets through: half a request ahead of it would swallow it.
func (b *bus) stopped() error {
	before := b.marked()
	for end := time.Now().Add(markTime); b.marked() == before; <-time.After(markEvery) {
		if time.Now().After(end) {
			return fmt.Errorf("mark the end of what the gateway asked: the simulated bus has not answered for %v", markTime)
		}
		if err := b.pair.WritePort(mark); err != nil {
			return fmt.Errorf("mark the end of what the gateway asked: %w", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for u := 1; u <= units; u++ {
		b.ends[u] = append(b.ends[u], b.answered[u])
	}
	return nil
}

// marked returns how often the mark got through.
func (b *bus) marked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.marks
}

// How long stopped waits, and how often it asks: longer than the silence that ends a frame.
const (
	markTime  = 10 * time.Second
	markEvery = 20 * time.Millisecond
)

// truth returns how many replies each unit gave, and which of them may have been in flight.
func (b *bus) truth() (answered [units + 1]uint32, ends [units + 1][]uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answered, b.ends
}
