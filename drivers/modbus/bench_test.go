package modbus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// plant listens on loopback, answers for units 1 to 50 and returns its address.
func plant(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &slave.Slave{Values: echoAddress}
	for unit := range 50 {
		s.Units = append(s.Units, byte(1+unit))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := s.ServeTCP(ctx, c); err != nil {
					b.Error(err)
				}
			})
		}
	})
	b.Cleanup(func() {
		cancel()
		if err := l.Close(); err != nil {
			b.Error(err)
		}
		wg.Wait()
	})
	return l.Addr().String()
}

// benchUnit returns a device of 40 uint32 values, as in the comparison with other gateways.
func benchUnit(b *testing.B, h drivers.Host, address string, unit int) drivers.Device {
	c := Driver.New().(*Config)
	c.Address, c.Unit = "tcp://"+address, unit
	c.Registers = []Register{{Channel: "r", Address: new(0), Type: "uint32", Count: new(40)}}
	d, err := c.Open(b.Context(), h)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkReadTCP reads 40 values of 80 registers a time over TCP on loopback; the slave runs in the same process.
func BenchmarkReadTCP(b *testing.B) {
	d := benchUnit(b, board.New(slog.New(slog.DiscardHandler)), plant(b), 1)
	b.ReportAllocs()
	for b.Loop() {
		if rs, err := d.Read(b.Context()); err != nil || len(rs) != 40 {
			b.Fatal(len(rs), err)
		}
	}
	b.ReportMetric(40*float64(b.N)/b.Elapsed().Seconds(), "values/s")
}

// BenchmarkFiftyUnits reads 50 units of 40 values at 10 Hz, 20,000 values/s, for five seconds; the processor time is that of driver
// and slave together.
func BenchmarkFiftyUnits(b *testing.B) {
	const span = 5 * time.Second
	h := board.New(slog.New(slog.DiscardHandler))
	address := plant(b)
	for b.Loop() {
		before, values := processorTime(b), 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for unit := 1; unit <= 50; unit++ {
			d := benchUnit(b, h, address, unit)
			wg.Go(func() {
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				n := 0
				for range int(span / (100 * time.Millisecond)) {
					<-tick.C
					rs, err := d.Read(b.Context())
					if err != nil {
						b.Error(err)
					}
					n += len(rs)
				}
				mu.Lock()
				values += n
				mu.Unlock()
			})
		}
		wg.Wait()
		b.ReportMetric(float64(values)/span.Seconds(), "values/s")
		b.ReportMetric(100*(processorTime(b)-before).Seconds()/span.Seconds(), "%core")
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// instant answers each request at once with zeros: what remains is the driver's own work.
type instant struct{ body [250]byte }

func (f *instant) Exchange(_ drivers.Port, q link.Request) ([]byte, error) {
	return f.body[:q.Bytes()], nil
}

func (*instant) Probe(link.Request, []link.Request) (link.Request, bool) {
	return link.Request{}, false
}

// BenchmarkDecode is a Read without line, connection and bus: readings are made of one reply of 125 registers, the largest there is, or of 120
// where a value has two. The figure to keep is 3 us, with link.BenchmarkScanRTU, and no allocation.
func BenchmarkDecode(b *testing.B) {
	for _, bm := range []struct {
		typ   string
		count int
		scale *float64
	}{{"uint16", 125, nil}, {"int16", 125, new(0.1)}, {"uint32", 60, nil}, {"float32", 60, nil}} {
		name := bm.typ
		if bm.scale != nil {
			name += "-scaled"
		}
		b.Run(name, func(b *testing.B) {
			r := Register{Channel: "r", Address: new(0), Type: bm.typ, Count: new(bm.count), Scale: bm.scale}
			values, errs := registers.Lay([]Register{r}, registers.Listed(), 125)
			if errs != nil {
				b.Fatal(errs)
			}
			d := newDevice("unit 1", nil, &instant{}, values, 0, 125)
			if len(d.plan) != 1 {
				b.Fatalf("%d requests", len(d.plan))
			}
			b.ReportAllocs()
			for b.Loop() {
				d.body, d.err = d.link.Exchange(nil, d.plan[0].Request)
				d.fill(&d.plan[0], d.body)
			}
		})
	}
}

// TestReadAllocatesNothing: but for what the bus needs for a turn.
func TestReadAllocatesNothing(t *testing.T) {
	near, _ := newLine()
	bus := drivers.NewBus("x", func(context.Context) (drivers.Port, error) { return near, nil })
	defer bus.Close()
	var values []registers.Value
	for i, r := range []Register{
		{Channel: "n", Address: new(0), Type: "uint32", Count: new(20)},
		{Channel: "f", Address: new(60), Type: "float32", Scale: new(0.1)},
		{Channel: "s", Address: new(70), Type: "string", Length: new(5)},
		{Channel: "c", Address: new(0), Table: "coil", Count: new(9)},
	} {
		vs, errs := r.Values(125)
		if errs != nil {
			t.Fatal(errs)
		}
		for j := range vs {
			vs[j].At = len(values) + j
			vs[j].Channel = fmt.Sprint(i, j)
		}
		values = append(values, vs...)
	}
	d := newDevice("unit 1", bus, &instant{}, values, 100, 125)
	turns := testing.AllocsPerRun(100, func() {
		for range d.plan {
			if err := bus.Do(t.Context(), func(drivers.Port) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	})
	var rs []tidegate.Reading
	reads := testing.AllocsPerRun(100, func() {
		var err error
		if rs, err = d.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if reads > turns || len(rs) != 31 {
		t.Errorf("a Read of %d values allocates %v times, the bus alone %v times", len(rs), reads, turns)
	}
}
