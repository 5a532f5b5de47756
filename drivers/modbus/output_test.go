package modbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// plc is a unit with outputs that the test can disturb: it notes what is asked, "6:5+1" = function 06 for one register at 5.
type plc struct {
	slave.Bank
	mu    sync.Mutex
	asked []string
	fault func(q slave.Request) slave.Fault // nil = none
	keep  func(q slave.Request) bool        // whether a write is carried out; nil = always
}

func newPLC() *plc { return &plc{Bank: slave.Bank{Under: echoAddress}} }

func (p *plc) slave() *slave.Slave {
	return &slave.Slave{
		Units: []byte{3}, Values: p.Values,
		Write: func(q slave.Request, values []uint16) slave.Exception {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.keep != nil && !p.keep(q) {
				return slave.NoException
			}
			return p.Bank.Write(q, values)
		},
		Fault: func(q slave.Request) slave.Fault {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.asked = append(p.asked, fmt.Sprintf("%d:%d+%d", q.Function, q.Address, q.Quantity))
			if p.fault == nil {
				return slave.Fault{}
			}
			return p.fault(q)
		},
	}
}

// take returns what was asked since the last take.
func (p *plc) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.asked, " ")
	p.asked = nil
	return s
}

// isWrite reports whether q writes.
func isWrite(q slave.Request) bool { return q.Function > 4 }

// outlets are outputs of all kinds.
func outlets() []Register {
	return []Register{
		{Channel: "valve", Table: "coil", Address: new(5), Write: true},
		{Channel: "pump", Table: "coil", Address: new(6), Write: true, WriteWith: "multiple"},
		{Channel: "speed", Address: new(10), Write: true, Max: new(1500.0)},
		{Channel: "level", Address: new(11), Type: "int16", Scale: new(0.1), Write: true, WriteWith: "multiple"},
		{Channel: "mode", Address: new(12), Enum: map[int64]string{0: "off", 1: "auto", 12: "hand"}, Write: true},
		{Channel: "setpoint", Address: new(20), Type: "float32", Order: "CDAB", Write: true},
		{Channel: "total", Address: new(24), Type: "int64", Write: true},
		{Channel: "plain", Address: new(30)},
	}
}

// TestSet: each output is written by its function, once, between two reads of it, and holds the value then.
func TestSet(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		p := newPLC()
		h, _ := plug(t, p.slave(), onTCP)
		d := openDevice(t, config(onTCP, outlets()...), h)
		s, ok := d.(drivers.Setter)
		if !ok {
			t.Fatal("a device with outputs is no Setter")
		}
		for _, tt := range []struct {
			channel string
			value   tidegate.Value
			asked   string
		}{
			{"valve", tidegate.Bool(true), "1:5+1 5:5+1 1:5+1"},
			{"valve", tidegate.Bool(false), "1:5+1 5:5+1 1:5+1"},
			{"pump", tidegate.Bool(true), "1:6+1 15:6+1 1:6+1"},
			{"speed", tidegate.Int(1234), "3:10+1 6:10+1 3:10+1"},
			{"level", tidegate.Float(-21.3), "3:11+1 16:11+1 3:11+1"},
			{"mode", tidegate.Text("auto"), "3:12+1 6:12+1 3:12+1"},
			{"setpoint", tidegate.Float(-12.5), "3:20+2 16:20+2 3:20+2"},
			{"total", tidegate.Int(-9007199254740993), "3:24+4 16:24+4 3:24+4"},
		} {
			if err := s.Set(t.Context(), tt.channel, tt.value); err != nil {
				t.Errorf("%s: %v", tt.channel, err)
			}
			if got := p.take(); got != tt.asked {
				t.Errorf("%s: asked %s, want %s", tt.channel, got, tt.asked)
			}
		}
		rs, err := d.Read(t.Context())
		want := "valve=false pump=true speed=1234 level=-21.3 mode=auto setpoint=-12.5 total=-9007199254740993 plain=30"
		if got := show(rs); got != want || err != nil {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
	})
}

// TestSetRefuses what cannot be written, without asking the unit anything.
func TestSetRefuses(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		p := newPLC()
		h, _ := plug(t, p.slave(), onTCP)
		d := openDevice(t, config(onTCP, outlets()...), h)
		s := d.(drivers.Setter)
		where := map[bool]string{false: "unit 3 on /dev/ttyX: ", true: "unit 3 on meter:502: "}[onTCP]
		for want, tt := range map[string]struct {
			channel string
			value   tidegate.Value
		}{
			"set tank: there is no such channel":                                                {"tank", tidegate.Int(1)},
			"set plain: it is no output; write: true makes it one":                              {"plain", tidegate.Int(1)},
			"set valve: 1 is a number, want true or false":                                      {"valve", tidegate.Int(1)},
			"set speed: 1501 is above max 1500":                                                 {"speed", tidegate.Int(1501)},
			"set level: 21.35 is between two steps of the register, 21.3 and 21.4":              {"level", tidegate.Float(21.35)},
			`set mode: "on" is no text of enum, want one of ["auto" "hand" "off"]`:              {"mode", tidegate.Text("on")},
			"set level: 3276.8 is more than the register holds, -3276.8 to 3276.7":              {"level", tidegate.Float(3276.8)},
			"set setpoint: 1e+39 is more than the register holds, up to 3.4028234663852886e+38": {"setpoint", tidegate.Float(1e39)},
		} {
			if err := s.Set(t.Context(), tt.channel, tt.value); err == nil || err.Error() != where+want {
				t.Errorf("got  %v\nwant %s", err, where+want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Set(ctx, "valve", tidegate.Bool(true)); !errors.Is(err, context.Canceled) {
			t.Errorf("with a ctx that is done: %v", err)
		}
		if got := p.take(); got != "" {
			t.Errorf("asked %s", got)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Set(t.Context(), "valve", tidegate.Bool(true)); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestSetUnhappy disturbs the reply to the write, once: what Set says, and whether the write was made once only. Then all is well again.
func TestSetUnhappy(t *testing.T) {
	const (
		rtu = "unit 3 on /dev/ttyX: "
		tcp = "unit 3 on meter:502: "
	)
	tests := map[string]struct {
		onTCP   bool
		fault   slave.Fault
		ignored bool // the unit answers, but does not carry it out
		want    string
	}{
		"RTU/OK late reply, taken":       {fault: slave.Fault{Delay: 1900 * time.Millisecond}},
		"RTU/OK held back, taken":        {fault: slave.Fault{Late: true}},
		"RTU/OK lost reply, taken":       {fault: slave.Fault{Kind: slave.Silent}},
		"RTU/OK reply with wrong CRC":    {fault: slave.Fault{Kind: slave.WrongCRC}},
		"RTU/OK reply cut":               {fault: slave.Fault{Kind: slave.Truncated}},
		"RTU/OK reply of another unit":   {fault: slave.Fault{Kind: slave.ForeignUnit}},
		"RTU/OK reply twice":             {fault: slave.Fault{Kind: slave.Twice}},
		"RTU/OK another unit first":      {fault: slave.Fault{Kind: slave.ForeignFirst}},
		"RTU/OK another address":         {fault: slave.Fault{Kind: slave.LyingCount}},
		"RTU/refused":                    {fault: slave.Fault{Exception: 3}, want: "set speed: " + rtu + "write of holding 10: exception 03 (illegal data value: the unit does not take this quantity, or this value)"},
		"RTU/lost, not taken":            {fault: slave.Fault{Kind: slave.Silent}, ignored: true, want: "set speed: 7 was not taken, it holds 10: " + rtu + "no reply within 1s to write of holding 10"},
		"RTU/another address, not taken": {fault: slave.Fault{Kind: slave.LyingCount}, ignored: true, want: "set speed: 7 was not taken, it holds 10: " + rtu + "write of holding 10: a reply that repeats 02 0a 00 07 of the write, want 00 0a 00 07"},
		"RTU/answered, not carried out":  {ignored: true, want: "set speed: " + rtu + "write of holding 10: 7 was taken, but it holds 10"},
		"RTU/acknowledged, not done yet": {fault: slave.Fault{Exception: 5}, want: "set speed: 7 was not taken, it holds 10: " + rtu + "write of holding 10: exception 05 (acknowledge: the unit needs longer)"},
		"TCP/OK late reply, taken":       {onTCP: true, fault: slave.Fault{Delay: 1900 * time.Millisecond}},
		"TCP/OK lost reply, taken":       {onTCP: true, fault: slave.Fault{Kind: slave.Silent}},
		"TCP/OK reply cut":               {onTCP: true, fault: slave.Fault{Kind: slave.Truncated}},
		"TCP/OK out of step":             {onTCP: true, fault: slave.Fault{Kind: slave.LengthZero}},
		"TCP/OK other transaction":       {onTCP: true, fault: slave.Fault{Kind: slave.WrongID}},
		"TCP/OK of another unit":         {onTCP: true, fault: slave.Fault{Kind: slave.ForeignUnit}},
		"TCP/gateway misses the unit":    {onTCP: true, fault: slave.Fault{Exception: 0x0b}, want: "set speed: 7 was not taken, it holds 10: " + tcp + "write of holding 10: exception 0b (gateway target device does not respond)"},
		"TCP/answered, not carried out":  {onTCP: true, ignored: true, want: "set speed: " + tcp + "write of holding 10: 7 was taken, but it holds 10"},
		"TCP/cut, and not taken":         {onTCP: true, fault: slave.Fault{Kind: slave.Truncated}, ignored: true, want: "set speed: 7 was not taken, it holds 10: " + tcp + "write of holding 10: read: gone: a frame that does not end within 1s: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPLC()
				var writes atomic.Int32
				p.fault = func(q slave.Request) slave.Fault {
					if isWrite(q) && writes.Add(1) == 1 {
						return tt.fault
					}
					return slave.Fault{}
				}
				p.keep = func(slave.Request) bool { return !tt.ignored || writes.Load() > 1 }
				h, _ := plug(t, p.slave(), tt.onTCP)
				d := openDevice(t, config(tt.onTCP, outlets()...), h)
				s := d.(drivers.Setter)
				err := s.Set(t.Context(), "speed", tidegate.Int(7))
				if got := fmt.Sprint(err); tt.want == "" && err != nil || !strings.HasPrefix(got, tt.want) {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
				if n := writes.Load(); n != 1 {
					t.Errorf("written %d times, want once", n)
				}
				if err := s.Set(t.Context(), "speed", tidegate.Int(8)); err != nil {
					t.Errorf("the next Set: %v", err)
				}
				if rs, err := d.Read(t.Context()); err != nil || !strings.Contains(show(rs), "speed=8 ") {
					t.Errorf("the next Read: %s, %v", show(rs), err)
				}
			})
		})
	}
}

// TestSetOfSilentUnit: nothing goes out but the read ahead, so nothing is left open.
func TestSetOfSilentUnit(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		p := newPLC()
		p.fault = func(slave.Request) slave.Fault { return slave.Fault{Kind: slave.Silent} }
		h, _ := plug(t, p.slave(), onTCP)
		s := openDevice(t, config(onTCP, outlets()...), h).(drivers.Setter)
		err := s.Set(t.Context(), "valve", tidegate.Bool(true))
		if err == nil || !strings.HasPrefix(err.Error(), "set valve: nothing was written: unit 3 on ") {
			t.Errorf("got %v", err)
		}
		if got := p.take(); got != "1:5+1" {
			t.Errorf("asked %s", got)
		}
	})
}

// TestSetUnknownOutcome: neither the write nor the read behind it is answered.
func TestSetUnknownOutcome(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		p := newPLC()
		n := 0
		p.fault = func(slave.Request) slave.Fault {
			if n++; n > 1 {
				return slave.Fault{Kind: slave.Silent}
			}
			return slave.Fault{}
		}
		h, _ := plug(t, p.slave(), onTCP)
		s := openDevice(t, config(onTCP, outlets()...), h).(drivers.Setter)
		where := map[bool]string{false: "unit 3 on /dev/ttyX: ", true: "unit 3 on meter:502: "}[onTCP]
		want := "set valve: not known whether it holds true: " + where + "no reply within 1s to write of coil 5; " + where + "no reply within 1s to read of coil 5"
		if err := s.Set(t.Context(), "valve", tidegate.Bool(true)); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if got := p.take(); got != "1:5+1 5:5+1 1:5+1" {
			t.Errorf("asked %s", got)
		}
	})
}

// TestWriteIsNotTriedAgain: the unit hangs up instead of answering the write; a read would be made again on a new connection.
func TestWriteIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPLC()
		var near *end
		p.fault = func(q slave.Request) slave.Fault {
			if isWrite(q) {
				_ = near.Close()
				return slave.Fault{Kind: slave.Silent}
			}
			return slave.Fault{}
		}
		h, opened := plug(t, p.slave(), true)
		inner := h.open
		h.open = func(ctx context.Context) (drivers.Port, error) {
			port, err := inner(ctx)
			near = port.(*end)
			return port, err
		}
		s := openDevice(t, config(true, outlets()...), h).(drivers.Setter)
		if err := s.Set(t.Context(), "speed", tidegate.Int(7)); err != nil {
			t.Errorf("it was carried out, and reads so: %v", err)
		}
		if got := p.take(); got != "3:10+1 6:10+1 3:10+1" || *opened != 2 {
			t.Errorf("asked %s, opened %d times", got, *opened)
		}
	})
}

// TestSetWhileReadWaits: Set and Read share the line, and neither sees what the other got.
func TestSetWhileReadWaits(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		p := newPLC()
		p.fault = func(slave.Request) slave.Fault { return slave.Fault{Delay: 3 * time.Millisecond} }
		h, _ := plug(t, p.slave(), onTCP)
		d := openDevice(t, config(onTCP, outlets()...), h)
		s := d.(drivers.Setter)
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 200 {
				if err := s.Set(t.Context(), "total", tidegate.Int(int64(i))); err != nil {
					t.Errorf("Set %d: %v", i, err)
				}
				if err := s.Set(t.Context(), "valve", tidegate.Bool(i%2 == 0)); err != nil {
					t.Errorf("Set %d: %v", i, err)
				}
			}
		})
		last := 0.0
		for i := range 300 {
			rs, err := d.Read(t.Context())
			if err != nil || faulty(rs) != "" || rs[7].Value.String() != "30" || rs[2].Value.String() != "10" {
				t.Fatalf("Read %d: %s, %v", i, show(rs), err)
			}
			n, _ := rs[6].Value.Number()
			if n < last && last < 200 || n > 199 && n < 1000 {
				t.Fatalf("Read %d: total is %v after %v", i, n, last)
			}
			last = n
		}
		wg.Wait()
	})
}

// TestSetNeverLies lets everything go wrong in random order while outputs are set and read, and wants: when Set returns nil the unit holds
// the value, a Read returns what the unit held at some time of it, and when nothing goes wrong any more, Set works.
func TestSetNeverLies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		onTCP := rapid.Bool().Draw(rt, "onTCP")
		kinds := rapid.SampledFrom([]slave.Kind{
			slave.Intact, slave.Silent, slave.WrongCRC, slave.Truncated, slave.ForeignUnit, slave.WrongFunc, slave.LyingCount,
			slave.Echo, slave.EchoFirst, slave.Twice, slave.Noise, slave.ForeignFirst, slave.WrongID, slave.WrongIDFirst, slave.LengthMost,
		})
		var faults []slave.Fault
		behind := 3900 // milliseconds; a reply later than four timeouts may come after its debt was written off
		for range rapid.IntRange(1, 20).Draw(rt, "faults") {
			f := slave.Fault{Kind: kinds.Draw(rt, "kind"), Late: rapid.IntRange(0, 4).Draw(rt, "late") == 0}
			if rapid.IntRange(0, 2).Draw(rt, "delayed") == 0 {
				ms := rapid.IntRange(0, behind).Draw(rt, "delay")
				f.Delay = time.Duration(ms) * time.Millisecond
				behind -= ms
			}
			if rapid.IntRange(0, 5).Draw(rt, "refused") == 0 {
				f.Exception = rapid.SampledFrom([]slave.Exception{1, 2, 3, 4, 5, 6, 11}).Draw(rt, "exception")
			}
			faults = append(faults, f)
		}
		deaf := rapid.IntRange(0, 3).Draw(rt, "deaf")
		problem := ""
		synctest.Test(t, func(t *testing.T) { problem = lies(t, onTCP, faults, deaf) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// lies returns what is wrong, or "". Of the writes, the first deaf ones are answered but not carried out.
func lies(t *testing.T, onTCP bool, faults []slave.Fault, deaf int) string {
	p := newPLC()
	var asked, writes atomic.Int64
	p.fault = func(slave.Request) slave.Fault {
		if n := int(asked.Add(1)); n <= len(faults) {
			return faults[n-1]
		}
		return slave.Fault{}
	}
	p.keep = func(slave.Request) bool { return int(writes.Add(1)) > deaf }
	h, _ := plug(t, p.slave(), onTCP)
	d := openDevice(t, config(onTCP,
		Register{Channel: "single", Address: new(10), Write: true}, Register{Channel: "multiple", Address: new(20), Type: "uint32", Write: true}), h)
	s := d.(drivers.Setter)
	held := func(address uint16, n int) (v uint64) {
		out := make([]uint16, n)
		p.Values(slave.Request{Unit: 3, Table: slave.Holdings, Address: address, Quantity: uint16(n)}, out)
		for _, w := range out {
			v = v<<16 | uint64(w)
		}
		return v
	}
	good := 0
	for i := range 400 {
		want := uint64(1000 + i)
		for channel, at := range map[string]struct {
			address uint16
			n       int
		}{"single": {10, 1}, "multiple": {20, 2}} {
			err := s.Set(t.Context(), channel, tidegate.Uint(want))
			if err == nil && held(at.address, at.n) != want {
				return fmt.Sprintf("Set %d of %s to %d returned nil, the unit holds %d", i, channel, want, held(at.address, at.n))
			}
			if good++; err != nil {
				good = 0
			}
		}
		a, b := held(10, 1), held(20, 2)
		if rs, err := d.Read(t.Context()); err == nil {
			for j, v := range []uint64{a, b} {
				if rs[j].Fault == "" && rs[j].Value.String() != fmt.Sprint(v) {
					return fmt.Sprintf("Read %d: %s, the unit held %d and %d", i, show(rs), a, b)
				}
			}
		}
		if good >= 6 && int(asked.Load()) > len(faults) {
			return ""
		}
		time.Sleep(time.Second)
	}
	return fmt.Sprintf("no six good Sets in a row: %d faults, asked %d times", len(faults), asked.Load())
}

// garbled is a port on which the request that writes does not come back as it was sent.
type garbled struct{ drivers.Port }

func (p garbled) Write(b []byte) (int, error) {
	n, err := p.Port.Write(b)
	if b[1] == 6 && err == nil {
		err = fmt.Errorf("%w: byte 3 of 8", drivers.ErrEcho)
	}
	return n, err
}

// TestSetWhoseEchoIsWrong: the unit may have got the write all the same, and what it holds tells.
func TestSetWhoseEchoIsWrong(t *testing.T) {
	for _, isTaken := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := newPLC()
			p.keep = func(slave.Request) bool { return isTaken }
			h, _ := plug(t, p.slave(), false)
			inner := h.open
			h.open = func(ctx context.Context) (drivers.Port, error) {
				port, err := inner(ctx)
				return garbled{port}, err
			}
			s := openDevice(t, config(false, outlets()...), h).(drivers.Setter)
			err := s.Set(t.Context(), "speed", tidegate.Int(7))
			if isTaken != (err == nil) || !isTaken && !errors.Is(err, drivers.ErrEcho) {
				t.Errorf("taken %v: %v", isTaken, err)
			}
			if got := p.take(); got != "3:10+1 6:10+1 3:10+1" {
				t.Errorf("asked %s", got)
			}
		})
	}
}
