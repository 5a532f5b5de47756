package bed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// Layout of a meter: n, its running number (uint32); phase (int32), see Phase; and values v0, v1, ... (uint32) that follow from
// unit and number, so that a reading that was altered or mixed up shows.
const fixedRegisters = 4

// Phase is the value that rules watch: it is positive in every other phase and bears the phase's number, so that each alarm names
// the phase that raised or cleared it.
func (m *Meters) Phase(n uint32) int32 {
	p := int32(n / m.PhaseLength)
	if p%2 == 1 {
		return p
	}
	return -p - 1
}

// value returns the i-th value of reply n of a unit (splitmix64).
func value(unit byte, n uint32, i int) uint32 {
	x := uint64(unit)<<56 + uint64(i)<<32 + uint64(n) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return uint32(x ^ x>>31)
}

// Meters are the far end of the bus. They count by running number what they answer, whether anybody keeps it or not.
type Meters struct {
	Units  int // 1 to 247
	Values int // 2 to 60
	// PhaseLength is how many replies a phase lasts; it may be set before the first of them.
	PhaseLength uint32

	t    testing.TB
	port *Port // nil = they are on a serial line

	mu    sync.Mutex // guards all below
	given []uint32   // running number of the last reply, by unit-1
	ends  [][]uint32 // given at each stop of the gateway
	times [][]time.Time
}

// NewMeters starts units on a free port of the loopback; they are there until the test ends.
func NewMeters(t testing.TB, units, values int) *Meters {
	t.Helper()
	m := &Meters{Units: units, Values: values, PhaseLength: 20, t: t, given: make([]uint32, units), times: make([][]time.Time, units)}
	s := &slave.Slave{Values: m.answer}
	for u := range units {
		s.Units = append(s.Units, byte(u+1))
	}
	m.port = NewPort(t, s)
	return m
}

// NewSerialMeter serves one unit with RTU frames on rw until the test ends.
func NewSerialMeter(t testing.TB, rw io.ReadWriteCloser, values int) *Meters {
	t.Helper()
	m := &Meters{Units: 1, Values: values, PhaseLength: 20, t: t, given: make([]uint32, 1), times: make([][]time.Time, 1)}
	s := &slave.Slave{Units: []byte{1}, Values: m.answer}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeRTU(ctx, rw) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return m
}

// registers returns how many registers a unit has.
func (m *Meters) registers() int { return fixedRegisters + 2*m.Values }

// Channels returns how many readings one reply makes.
func (m *Meters) Channels() int { return 2 + m.Values }

// answer fills one reply with the next running number. Only a request for all registers gets one; others are refused.
func (m *Meters) answer(q slave.Request, out []uint16) slave.Exception {
	if q.Table != slave.Holdings || q.Address != 0 || int(q.Quantity) != m.registers() {
		return slave.IllegalAddress
	}
	m.mu.Lock()
	m.given[q.Unit-1]++
	n := m.given[q.Unit-1]
	m.times[q.Unit-1] = append(m.times[q.Unit-1], time.Now())
	m.mu.Unlock()
	put := func(at int, v uint32) { out[at], out[at+1] = uint16(v>>16), uint16(v) }
	put(0, n)
	put(2, uint32(m.Phase(n)))
	for i := range m.Values {
		put(fixedRegisters+2*i, value(q.Unit, n, i))
	}
	return slave.NoException
}

// Devices returns the configuration of the meters as devices m1, m2, ...; a reply may take up to 20 s, because what is under test is no
// late slave but a gateway that ends.
func (m *Meters) Devices(every time.Duration) string {
	return m.devices(every, m.port.Address())
}

// Gone returns the same configuration at an address where nobody listens: for a gateway that is only to deliver what it has.
func (m *Meters) Gone() string { return m.devices(time.Hour, "tcp://127.0.0.1:1") }

// SerialDevice returns the configuration of the unit on a serial port as device m1.
func (m *Meters) SerialDevice(every time.Duration, port string) string {
	return m.devices(every, "rtu://"+port+"?baud=115200&parity=none")
}

func (m *Meters) devices(every time.Duration, address string) string {
	var b strings.Builder
	for u := 1; u <= m.Units; u++ {
		fmt.Fprintf(&b, `  - name: m%d
    driver: modbus
    every: %v
    address: %s
    unit: %d
    timeout: 20s
    registers:
      - {channel: n, table: holding, address: 0, type: uint32}
      - {channel: phase, table: holding, address: 2, type: int32}
      - {channel: v, table: holding, address: 4, type: uint32, count: %d}
`, u, every, address, u, m.Values)
	}
	return b.String()
}

// Stopped notes that the gateway's process has ended: the last reply of each unit may have been in flight. It waits until the requests that
// the process had sent are answered.
func (m *Meters) Stopped() {
	m.t.Helper()
	if m.port != nil {
		m.port.Stopped()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, slices.Clone(m.given))
}

// Follow takes the end of each connection as that of a process, from now on: for a gateway on a machine into which nobody sees.
func (m *Meters) Follow() {
	m.port.mu.Lock()
	defer m.port.mu.Unlock()
	m.port.gone = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ends = append(m.ends, slices.Clone(m.given))
	}
}

// Given returns the running number of each unit's last reply.
func (m *Meters) Given() []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.given)
}

// Answered returns when a unit gave reply n.
func (m *Meters) Answered(unit int, n uint32) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.times[unit-1][n-1]
}

// After returns when a unit gave its first reply after that time; zero = it has given none.
func (m *Meters) After(unit int, t time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.times[unit-1]
	i, _ := slices.BinarySearchFunc(list, t, time.Time.Compare)
	if i == len(list) {
		return time.Time{}
	}
	return list[i]
}

var errAltered = errors.New("altered")

// Check returns unit and running number of a record that holds a whole reply; the unit is 0 where the record is not from a meter.
func (m *Meters) Check(r *Record) (unit int, n uint32, err error) {
	if len(r.Readings) == 0 {
		return 0, 0, fmt.Errorf("record %d of %s has no reading: %w", r.Seq, r.Epoch, errAltered)
	}
	if c, _ := fmt.Sscanf(r.Readings[0].Device, "m%d", &unit); c != 1 || unit < 1 || unit > m.Units {
		return 0, 0, nil
	}
	if r.Readings[0].Fault != "" {
		return 0, 0, nil
	}
	if got, want := len(r.Readings), m.Channels(); got != want {
		return 0, 0, fmt.Errorf("record %d of %s has %d readings, want %d: %w", r.Seq, r.Epoch, got, want, errAltered)
	}
	f, err := strconv.ParseFloat(r.Readings[0].Value, 64)
	if n = uint32(f); err != nil || n == 0 || float64(n) != f {
		return 0, 0, fmt.Errorf("record %d of %s: number %q: %w", r.Seq, r.Epoch, r.Readings[0].Value, errAltered)
	}
	for i := range r.Readings {
		x := &r.Readings[i]
		channel, want := "n", float64(n)
		switch {
		case i == 1:
			channel, want = "phase", float64(m.Phase(n))
		case i > 1:
			channel, want = "v"+strconv.Itoa(i-2), float64(value(byte(unit), n, i-2))
		}
		got, err := strconv.ParseFloat(x.Value, 64)
		if err != nil || got != want || x.Device != r.Readings[0].Device || x.Channel != channel || x.Fault != "" {
			return 0, 0, fmt.Errorf("record %d of %s: got %s/%s = %q %s, want %s = %v: %w", r.Seq, r.Epoch, x.Device, x.Channel, x.Value, x.Fault, channel, want, errAltered)
		}
	}
	return unit, n, nil
}
