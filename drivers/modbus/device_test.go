package modbus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// unitFake is a unit of which the test decides what it answers and sees what it is asked.
type unitFake struct {
	mu     sync.Mutex
	asked  []string
	refuse func(q slave.Request) slave.Exception // nil = nothing
	silent func(q slave.Request) bool            // nil = never
}

func (u *unitFake) slave() *slave.Slave {
	return &slave.Slave{
		Units: []byte{3}, Values: echoAddress,
		Fault: func(q slave.Request) slave.Fault {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.asked = append(u.asked, fmt.Sprintf("%d:%d+%d", q.Table, q.Address, q.Quantity))
			f := slave.Fault{}
			if u.refuse != nil {
				f.Exception = u.refuse(q)
			}
			if u.silent != nil && u.silent(q) {
				f.Kind = slave.Silent
			}
			return f
		},
	}
}

// set changes what the unit does.
func (u *unitFake) set(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

// take returns what was asked since the last take.
func (u *unitFake) take() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := strings.Join(u.asked, " ")
	u.asked = nil
	return s
}

// holds reports whether q covers address.
func holds(q slave.Request, address int) bool {
	return int(q.Address) <= address && address < int(q.Address)+int(q.Quantity)
}

// faulty returns the channels that have a fault.
func faulty(rs []tidegate.Reading) string {
	var out []string
	for _, r := range rs {
		if r.Fault != "" {
			out = append(out, r.Channel)
		}
	}
	return strings.Join(out, " ")
}

// read reads d and wants these channels faulty and these requests asked.
func read(t *testing.T, u *unitFake, d drivers.Device, wantFaulty, wantAsked string) []tidegate.Reading {
	t.Helper()
	rs, err := d.Read(t.Context())
	if err != nil {
		t.Errorf("Read: %v", err)
	}
	if got := faulty(rs); got != wantFaulty {
		t.Errorf("faulty: got %q, want %q", got, wantFaulty)
	}
	if got := u.take(); got != wantAsked {
		t.Errorf("asked %q, want %q", got, wantAsked)
	}
	return rs
}

func eight(onTCP bool) *Config {
	return config(onTCP, Register{Channel: "r", Address: new(0), Count: new(8)})
}

func both(t *testing.T, f func(t *testing.T, onTCP bool)) {
	t.Run("RTU", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, false) }) })
	t.Run("TCP", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, true) }) })
}

// TestRefusedRegisterIsLeftAlone: one register of eight does not exist.
func TestRefusedRegisterIsLeftAlone(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		u := &unitFake{refuse: func(q slave.Request) slave.Exception {
			if holds(q, 5) {
				return 2
			}
			return 0
		}}
		h, _ := plug(t, u.slave(), onTCP)
		d := openDevice(t, eight(onTCP), h)
		rs := read(t, u, d, "r5", "3:0+8 3:0+4 3:4+4 3:4+2 3:4+1 3:5+1 3:6+2")
		where := map[bool]string{false: "/dev/ttyX", true: "meter:502"}[onTCP]
		want := "unit 3 on " + where + ": read of holding 5: exception 02 (illegal data address: the unit has no such register)"
		if rs[5].Fault != want {
			t.Errorf("got  %s\nwant %s", rs[5].Fault, want)
		}
		if rs[4].Value.String() != "4" || rs[7].Value.String() != "7" {
			t.Errorf("got %s", show(rs))
		}
		learned := "3:0+4 3:4+1 3:6+2"
		read(t, u, d, "r5", learned)
		for _, pause := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
			time.Sleep(pause - time.Second)
			read(t, u, d, "r5", learned)
			time.Sleep(time.Second)
			read(t, u, d, "r5", "3:0+4 3:4+1 3:5+1 3:6+2")
		}
		u.set(func() { u.refuse = nil }) // the register appears
		time.Sleep(80 * time.Second)
		read(t, u, d, "", "3:0+4 3:4+1 3:5+1 3:6+2")
		read(t, u, d, "", "3:0+4 3:4+1 3:5+1 3:6+2")
		time.Sleep(24 * time.Hour)
		read(t, u, d, "", "3:0+8")
	})
}

// TestGapIsRefused: the registers between are what does not exist.
func TestGapIsRefused(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		u := &unitFake{refuse: func(q slave.Request) slave.Exception {
			if holds(q, 3) {
				return 2
			}
			return 0
		}}
		h, _ := plug(t, u.slave(), onTCP)
		c := config(onTCP, Register{Channel: "a", Address: new(0), Type: "uint32"}, Register{Channel: "b", Address: new(5), Type: "int32"})
		c.MaxGap = 3
		d := openDevice(t, c, h)
		rs := read(t, u, d, "", "3:0+7 3:0+2 3:5+2")
		if got := show(rs); got != "a=1 b=327686" {
			t.Error(got)
		}
		read(t, u, d, "", "3:0+2 3:5+2")
	})
}

func TestMissingTableIsLeftAlone(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		u := &unitFake{refuse: func(q slave.Request) slave.Exception {
			if q.Table == slave.Coils {
				return 1
			}
			return 0
		}}
		h, _ := plug(t, u.slave(), onTCP)
		d := openDevice(t, config(onTCP, Register{Channel: "r", Address: new(0)}, Register{Channel: "c", Table: "coil", Address: new(0), Count: new(9)}), h)
		read(t, u, d, "c0 c1 c2 c3 c4 c5 c6 c7 c8", "1:0+9 3:0+1")
		read(t, u, d, "c0 c1 c2 c3 c4 c5 c6 c7 c8", "3:0+1")
	})
}

// TestAllRefused: a map that is all wrong costs at most cutsMost cuts a Read, and ends in faults, not in an error.
func TestAllRefused(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		u := &unitFake{refuse: func(slave.Request) slave.Exception { return 2 }}
		h, _ := plug(t, u.slave(), onTCP)
		d := openDevice(t, config(onTCP, Register{Channel: "r", Address: new(0), Count: new(60)}), h)
		for i, most := range []int{1 + 2*cutsMost, 120, 0} {
			rs, err := d.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n := len(strings.Fields(faulty(rs))); n != 60 {
				t.Errorf("Read %d: %d faults, want 60", i, n)
			}
			if n := len(strings.Fields(u.take())); n > most {
				t.Errorf("Read %d asked %d times, at most %d", i, n, most)
			}
		}
	})
}

// TestSilentUnitCostsOneTimeout: after the first Read a unit that is off is asked one request a Read, another one each time.
func TestSilentUnitCostsOneTimeout(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		off := true
		u := &unitFake{silent: func(slave.Request) bool { return off }}
		h, opened := plug(t, u.slave(), onTCP)
		c := config(onTCP, Register{Channel: "a", Address: new(0)}, Register{Channel: "b", Address: new(10), Count: new(2)},
			Register{Channel: "c", Address: new(20), Count: new(3)}, Register{Channel: "d", Address: new(30), Count: new(4)})
		d := openDevice(t, c, h)
		want := []string{"3:0+1 3:10+2", "3:20+3", "3:30+4", "3:0+1", "3:10+2", "3:20+3"}
		if !onTCP { // these shapes are owed: probes of other shapes
			want = []string{"3:0+1 3:10+2", "3:20+3", "3:30+4", "3:0+5", "3:10+6", "3:20+7"}
		}
		for i, w := range want {
			start := time.Now()
			_, err := d.Read(t.Context())
			configured := map[int]string{0: "0", 1: "20..22", 2: "30..33", 3: "0", 4: "10..11", 5: "20..22"}[i]
			if err == nil || !strings.Contains(err.Error(), "no reply within 1s to read of holding "+configured) {
				t.Errorf("Read %d: %v", i, err)
			}
			if took, most := time.Since(start), 1100*time.Millisecond; i > 0 && took > most || took > 2*most {
				t.Errorf("Read %d took %v", i, took)
			}
			if got := u.take(); got != w {
				t.Errorf("Read %d asked %q, want %q", i, got, w)
			}
			// A connection on which nothing answers is given up now and then: it may be dead.
			if isGone := errors.Is(err, drivers.ErrGone); isGone != (onTCP && i == 2) {
				t.Errorf("Read %d: %v", i, err)
			}
		}
		if want := map[bool]int{false: 1, true: 2}[onTCP]; *opened != want {
			t.Errorf("opened %d times, want %d", *opened, want)
		}
		u.set(func() { off = false })
		rs, err := d.Read(t.Context())
		if err != nil || faulty(rs) != "" {
			t.Errorf("after it was switched on: %s, %v", show(rs), err)
		}
	})
}

// TestDeafToOneRequest: a request that gets no reply though others do is cut after three Reads, then left alone.
func TestDeafToOneRequest(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		u := &unitFake{silent: func(q slave.Request) bool { return q.Table == slave.Inputs && holds(q, 1) }}
		h, _ := plug(t, u.slave(), onTCP)
		c := config(onTCP, Register{Channel: "i", Table: "input", Address: new(0), Count: new(2)}, Register{Channel: "h", Address: new(0)})
		d := openDevice(t, c, h)
		for range missesMost {
			rs, err := d.Read(t.Context())
			if err != nil || faulty(rs) != "i0 i1" {
				t.Fatalf("%s, %v", show(rs), err)
			}
		}
		u.take()
		for i := range missesMost { // the halves: one answers, one does not
			rs, err := d.Read(t.Context())
			if err != nil || faulty(rs) != "i1" {
				t.Fatalf("Read %d after the cut: %s, %v", i, show(rs), err)
			}
		}
		u.take()
		start := time.Now()
		rs := read(t, u, d, "i1", "3:0+1 4:0+1")
		if !strings.HasSuffix(rs[1].Fault, "no reply within 1s to read of input 1") || time.Since(start) > 100*time.Millisecond {
			t.Errorf("%q after %v", rs[1].Fault, time.Since(start))
		}
	})
}

// TestNoiseIsNoMissingRegister: a request that was answered before is asked again for longer; then it is taken for gone all the same.
func TestNoiseIsNoMissingRegister(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		deaf := false
		u := &unitFake{silent: func(q slave.Request) bool { return deaf && q.Table == slave.Inputs }}
		h, _ := plug(t, u.slave(), onTCP)
		d := openDevice(t, config(onTCP, Register{Channel: "i", Table: "input", Address: new(0)}, Register{Channel: "h", Address: new(0)}), h)
		read(t, u, d, "", "3:0+1 4:0+1")
		u.set(func() { deaf = true })
		for i := range missesWorked {
			start := time.Now()
			if rs, err := d.Read(t.Context()); err != nil || faulty(rs) != "i" || time.Since(start) < time.Second {
				t.Fatalf("Read %d: %s, %v after %v", i, show(rs), err, time.Since(start))
			}
		}
		u.take()
		read(t, u, d, "i", "3:0+1")
	})
}

// TestForgetsWhenUnitWasAway: another unit may have come in its place.
func TestForgetsWhenUnitWasAway(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		off := false
		u := &unitFake{
			refuse: func(q slave.Request) slave.Exception {
				if holds(q, 0) {
					return 2
				}
				return 0
			},
			silent: func(slave.Request) bool { return off },
		}
		h, _ := plug(t, u.slave(), onTCP)
		d := openDevice(t, config(onTCP, Register{Channel: "r", Address: new(0), Count: new(2)}), h)
		read(t, u, d, "r0", "3:0+2 3:0+1 3:1+1")
		u.set(func() { off = true })
		for range silentLong {
			if _, err := d.Read(t.Context()); err == nil {
				t.Error("a unit that is off was read")
			}
		}
		u.set(func() { off, u.refuse = false, nil })
		u.take()
		rs, err := d.Read(t.Context())
		if got := u.take(); err != nil || show(rs) != "r0=0 r1=1" || !strings.HasSuffix(got, "3:0+2") {
			t.Errorf("%s, %v, asked %s", show(rs), err, got)
		}
	})
}

// TestUnitsShareTheLine: the line is held for one request, so a unit with many does not keep the others waiting.
func TestUnitsShareTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []byte
		s := &slave.Slave{
			Units: []byte{3, 4}, Values: echoAddress,
			Fault: func(q slave.Request) slave.Fault {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, q.Unit)
				return slave.Fault{Delay: 10 * time.Millisecond}
			},
		}
		h, _ := plug(t, s, false)
		var wg sync.WaitGroup
		for _, unit := range []int{3, 4} {
			c := config(false)
			c.Unit = unit
			for i := range 6 {
				c.Registers = append(c.Registers, Register{Channel: fmt.Sprintf("r%d", i), Address: new(10 * i)})
			}
			d := openDevice(t, c, h)
			wg.Go(func() {
				rs, err := d.Read(t.Context())
				if err != nil || faulty(rs) != "" {
					t.Errorf("%s, %v", show(rs), err)
				}
			})
		}
		wg.Wait()
		run := 0
		for i := 1; i < len(order); i++ {
			if run++; order[i] != order[i-1] {
				run = 0
			}
			if run > 1 {
				t.Fatalf("order of units: %v", order)
			}
		}
	})
}

// TestIdleConnectionIsReopened: many units close a connection that is idle, and that is no fault.
func TestIdleConnectionIsReopened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unitFake{}
		var near *end
		s := u.slave()
		h, opened := plug(t, s, true)
		inner := h.open
		h.open = func(ctx context.Context) (drivers.Port, error) {
			p, err := inner(ctx)
			near = p.(*end)
			return p, err
		}
		d := openDevice(t, eight(true), h)
		read(t, u, d, "", "3:0+8")
		if err := near.Close(); err != nil {
			t.Fatal(err)
		}
		read(t, u, d, "", "3:0+8")
		if *opened != 2 {
			t.Errorf("opened %d times, want 2", *opened)
		}
	})
}

func TestErrorsOfThePort(t *testing.T) {
	broken := errors.New("permission denied")
	tests := map[string]struct {
		open func() (drivers.Port, error)
		want string
	}{
		"cannot be opened": {
			func() (drivers.Port, error) { return nil, broken },
			"unit 3 on meter:502: open meter:502: permission denied",
		},
		"hangs up each time": {
			func() (drivers.Port, error) { near, far := newLine(); return near, far.Close() },
			"unit 3 on meter:502: read of holding 0..7: write: gone: hung up before the reply: io: read/write on closed pipe",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &fakeHost{open: func(context.Context) (drivers.Port, error) { return tt.open() }}
				d := openDevice(t, eight(true), h)
				rs, err := d.Read(t.Context())
				if err == nil || err.Error() != tt.want || rs != nil {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
			})
		})
	}
}

// TestLineThatIsNeverSilent: another master, or noise.
func TestLineThatIsNeverSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newLine()
		h := &fakeHost{open: func(context.Context) (drivers.Port, error) { return near, nil }}
		d := openDevice(t, eight(false), h)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := far.Write([]byte{0x55}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Millisecond)
			}
		})
		start := time.Now()
		_, err := d.Read(t.Context())
		took := time.Since(start)
		cancel()
		wg.Wait()
		want := regexp.MustCompile(`^unit 3 on /dev/ttyX: read of holding 0..7: the line is not silent: 100[01] bytes in 1s that nobody asked for; another master, or a wrong baud rate$`)
		if err == nil || !want.MatchString(err.Error()) || took > 1100*time.Millisecond {
			t.Errorf("after %v\ngot  %v\nwant %s", took, err, want)
		}
	})
}

// TestFloodEnds: noise without end in answer to a request neither blocks nor grows.
func TestFloodEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newLine()
		h := &fakeHost{open: func(context.Context) (drivers.Port, error) { return near, nil }}
		d := openDevice(t, eight(false), h)
		var wg sync.WaitGroup
		wg.Go(func() {
			b := make([]byte, 64)
			if _, err := far.Read(b); err != nil {
				t.Error(err)
			}
			for range 2000 {
				if _, err := far.Write(slices.Repeat([]byte{3, 0xff, 0x42}, 30)); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		start := time.Now()
		_, err := d.Read(t.Context())
		if err == nil || time.Since(start) > 1200*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		wg.Wait()
	})
}

// TestReadingsAreFresh: what the agent wrote into the last readings is gone.
func TestReadingsAreFresh(t *testing.T) {
	both(t, func(t *testing.T, onTCP bool) {
		u := &unitFake{}
		h, _ := plug(t, u.slave(), onTCP)
		d := openDevice(t, config(onTCP, Register{Channel: "r", Address: new(1), Unit: "V"}, Register{Channel: "c", Table: "discrete", Address: new(9)}), h)
		for range 2 {
			rs, err := d.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := []tidegate.Reading{{Channel: "r", Unit: "V", Value: tidegate.Uint(1)}, {Channel: "c", Value: tidegate.Bool(true)}}
			if !slices.Equal(rs, want) {
				t.Errorf("got %+v", rs)
			}
			for i := range rs {
				rs[i] = tidegate.Reading{Device: "d", Channel: "x", Unit: "y", Fault: "z", Time: time.Now()}
			}
		}
	})
}

// TestRepliesTwice: the second copy of each reply comes 20 ms after the first, and is not the next request's.
func TestRepliesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := newLine()
		h := &fakeHost{open: func(context.Context) (drivers.Port, error) { return near, nil }}
		d := openDevice(t, config(false, Register{Channel: "a", Address: new(0)}, Register{Channel: "b", Address: new(10)}), h)
		s := &slave.Slave{Units: []byte{3}, Values: echoAddress}
		line, end := newLine() // between the slave and what doubles its replies
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.ServeRTU(ctx, end); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			b := make([]byte, 300)
			for {
				n, err := far.Read(b)
				if err != nil {
					return
				}
				if _, err = line.Write(b[:n]); err == nil {
					n, err = line.Read(b)
				}
				if err != nil {
					t.Error(err)
				}
				for range 2 {
					if _, err := far.Write(b[:n]); err != nil {
						return // the test is over
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
		for range 300 {
			if rs, err := d.Read(t.Context()); err != nil || show(rs) != "a=0 b=10" {
				t.Fatalf("%s, %v", show(rs), err)
			}
		}
		if err := near.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		wg.Wait()
	})
}

// TestClosed: a device that was closed is not read.
func TestClosed(t *testing.T) {
	h := &fakeHost{}
	d := openDevice(t, eight(true), h)
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Read(t.Context()); !errors.Is(err, drivers.ErrGone) || err.Error() != "unit 3 on meter:502: device is closed: gone" {
		t.Errorf("got %v", err)
	}
}

// owing is a framing that wants so many probes ahead of a request; each is refused.
type owing struct {
	left  int
	asked []link.Request
}

func (o *owing) Probe(link.Request, []link.Request) (p link.Request, ok bool) {
	return link.Request{Table: link.Holding, Address: 0, Quantity: 90 + o.left}, o.left > 0
}

func (o *owing) Exchange(_ drivers.Port, q link.Request) ([]byte, error) {
	o.asked = append(o.asked, q)
	if o.left--; o.left >= 0 {
		return nil, link.Exception(2)
	}
	return make([]byte, q.Bytes()), nil
}

// TestProbesUntilNothingIsOwed: a refusal settles one debt only.
func TestProbesUntilNothingIsOwed(t *testing.T) {
	near, _ := newLine()
	h := &fakeHost{open: func(context.Context) (drivers.Port, error) { return near, nil }}
	d := openDevice(t, eight(false), h)
	o := &owing{left: 3}
	d.(*device).link = o
	rs, err := d.Read(t.Context())
	if got := fmt.Sprint(o.asked); err != nil || faulty(rs) != "" || got != "[holding 0..92 holding 0..91 holding 0..90 holding 0..7]" {
		t.Errorf("%s, %v, asked %s", show(rs), err, got)
	}
}

// TestProbesEnd: a framing that wants probes for ever does not hold up the Read.
func TestProbesEnd(t *testing.T) {
	near, _ := newLine()
	h := &fakeHost{open: func(context.Context) (drivers.Port, error) { return near, nil }}
	d := openDevice(t, eight(false), h)
	o := &owing{left: 1000}
	d.(*device).link = o
	want := "unit 3 on /dev/ttyX: read of holding 0..7: not asked: late replies may be under way, and the unit refused 8 requests that would settle them"
	if _, err := d.Read(t.Context()); err == nil || err.Error() != want || len(o.asked) != requestsMost {
		t.Errorf("asked %d times\ngot  %v\nwant %s", len(o.asked), err, want)
	}
}

// TestOutageOfAnyLength: a unit of one register, which refuses to read more than that one, was off for some Reads. Whatever it
// owes by then, it is read with the second Read after it is back, and the line is not held up.
func TestOutageOfAnyLength(t *testing.T) {
	for n := range 31 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				off := true
				u := &unitFake{
					silent: func(slave.Request) bool { return off },
					refuse: func(q slave.Request) slave.Exception {
						if q.Quantity > 1 {
							return 2
						}
						return 0
					},
				}
				h, _ := plug(t, u.slave(), false)
				d := openDevice(t, config(false, Register{Channel: "a", Address: new(7)}), h)
				for range n {
					if _, err := d.Read(t.Context()); err == nil {
						t.Error("a unit that is off was read")
					}
				}
				u.set(func() { off = false })
				u.take()
				var rs []tidegate.Reading
				var err error
				for range 2 {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					rs, err = d.Read(ctx)
					cancel()
				}
				if show(rs) != "a=7" || err != nil {
					t.Errorf("second Read after the outage: %s, %v", show(rs), err)
				}
				if asked := strings.Fields(u.take()); len(asked) > requestsMost+1 {
					t.Errorf("asked %d times: %s", len(asked), asked)
				}
			})
		})
	}
}

// TestBlocksShareDebts: two blocks for one unit, or one that was opened anew while another device had the line, ask registers of one shape. The
// late reply to the one is never taken for the other's.
func TestBlocksShareDebts(t *testing.T) {
	for name, tt := range map[string]struct {
		delay time.Duration // of the reply to the first request
		waits bool          // the second block waits for the line when the first finds out that there is no reply
	}{
		"asked after it":           {1100 * time.Millisecond, false},
		"asked while it is late":   {1100 * time.Millisecond, true},
		"late by a timeout":        {2050 * time.Millisecond, true},
		"late by three timeouts":   {4040 * time.Millisecond, false},
		"late by three, it waited": {4040 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				s := &slave.Slave{Units: []byte{3}, Values: echoAddress, Fault: func(slave.Request) slave.Fault {
					if asked++; asked == 1 {
						return slave.Fault{Delay: tt.delay}
					}
					return slave.Fault{}
				}}
				h, _ := plug(t, s, false)
				fast := openDevice(t, config(false, Register{Channel: "f", Address: new(0), Count: new(2)}), h)
				other := config(false, Register{Channel: "s", Address: new(100), Count: new(2)})
				slow := openDevice(t, other, h)
				var wg sync.WaitGroup
				wg.Go(func() {
					if rs, err := fast.Read(t.Context()); err == nil {
						t.Errorf("first Read: %s, want no reply", show(rs))
					}
				})
				if time.Sleep(time.Millisecond); !tt.waits {
					wg.Wait()
					slow = openDevice(t, other, h) // as when the block was changed
				}
				reads := 0
				for range 6 {
					rs, err := slow.Read(t.Context())
					if err == nil {
						reads++
					}
					if err == nil && show(rs) != "s0=100 s1=101" {
						t.Errorf("got %s", show(rs))
					}
				}
				wg.Wait()
				if reads == 0 {
					t.Error("never read")
				}
			})
		})
	}
}

// TestEndOfContextLeavesTheLine: a Read that is ended while it listens for silence neither asks nor closes the port that others share.
func TestEndOfContextLeavesTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unitFake{}
		h, opened := plug(t, u.slave(), false)
		d := openDevice(t, eight(false), h)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		want := "unit 3 on /dev/ttyX: read of holding 0..7: bus /dev/ttyX: context deadline exceeded (listen: i/o timeout)"
		if _, err := d.Read(ctx); err == nil || err.Error() != want || errors.Is(err, drivers.ErrGone) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if got := u.take(); got != "" {
			t.Errorf("asked %q after the end", got)
		}
		read(t, u, d, "", "3:0+8")
		if *opened != 1 {
			t.Errorf("opened %d times, want once", *opened)
		}
	})
}

// TestProbesReadWhatIsConfigured: as long as there is a shape within what is read anyway, a probe touches no other register.
func TestProbesReadWhatIsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unitFake{silent: func(slave.Request) bool { return true }}
		h, _ := plug(t, u.slave(), false)
		d := openDevice(t, config(false,
			Register{Channel: "a", Address: new(7)}, Register{Channel: "b", Address: new(20), Count: new(5)},
			Register{Channel: "c", Table: "coil", Address: new(3), Count: new(30)}, Register{Channel: "d", Table: "coil", Address: new(90)}), h)
		for range 4 {
			if _, err := d.Read(t.Context()); err == nil {
				t.Error("a unit that is off was read")
			}
		}
		// Asked are both rows of coils, then a and b; then all is owed, and shapes within the longer rows are what is left.
		if got, want := u.take(), "1:3+30 1:90+1 3:7+1 3:20+5 1:3+9"; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
		_, _ = d.Read(t.Context())
		if got, want := u.take(), "1:3+17"; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
		_, _ = d.Read(t.Context())
		if got, want := u.take(), "3:20+2"; got != want {
			t.Errorf("asked %q for the sake of holding 7, want %q", got, want)
		}
	})
}
