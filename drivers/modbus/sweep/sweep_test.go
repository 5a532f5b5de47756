package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

const port = "/dev/ttyUSB0"

// A unit is one slave on a line that keeps its settings: at others it hears nothing that makes sense.
type unit struct {
	number byte
	line   drivers.Serial
	delay  time.Duration
	lack   bool // it has no holding registers: an exception answers
}

// lineOf returns a machine with a line on which the units are, and say is heard every pause; "" = nothing.
func lineOf(say []byte, sayAt drivers.Serial, units ...unit) *drivertest.Host {
	h := &drivertest.Host{}
	h.Ports = map[string]drivertest.Opener{port: func(context.Context) (drivers.Port, error) {
		near, far := net.Pipe()
		at := h.Settings(port)
		s := &slave.Slave{
			Values: func(q slave.Request, out []uint16) slave.Exception {
				for _, u := range units {
					if u.number == q.Unit && u.lack {
						return slave.IllegalAddress
					}
				}
				return slave.NoException
			},
			Fault: func(q slave.Request) slave.Fault {
				for _, u := range units {
					if u.number == q.Unit {
						return slave.Fault{Delay: u.delay}
					}
				}
				return slave.Fault{}
			},
		}
		for _, u := range units {
			if u.line == at {
				s.Units = append(s.Units, u.number)
			}
		}
		if say != nil {
			go talk(far, say, sayAt == at)
		}
		line := &roomy{Conn: far, out: make(chan []byte, 64)}
		go line.pass()
		go func() {
			_ = s.ServeRTU(context.Background(), line) // ends with the pipe
			close(line.out)
		}()
		return near, nil
	}}
	return h
}

// roomy is a far end whose Write does not wait until it is read, as on a real line.
type roomy struct {
	net.Conn
	out chan []byte
}

func (r *roomy) Write(b []byte) (int, error) {
	r.out <- bytes.Clone(b)
	return len(b), nil
}

func (r *roomy) pass() {
	for b := range r.out {
		_, _ = r.Conn.Write(b) // to nobody, once the line is closed
	}
}

// talk writes b every 300 ms until the line is closed, or noise where it cannot be understood.
func talk(far io.Writer, b []byte, isUnderstood bool) {
	if !isUnderstood {
		b = bytes.Repeat([]byte{0xf8, 0x00, 0x1f}, len(b)/3+1)
	}
	for {
		if _, err := far.Write(b); err != nil {
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func at(baud int, parity string) drivers.Serial {
	return drivers.Serial{Port: port, Baud: baud, DataBits: 8, Parity: parity, StopBits: "1"}
}

// TestUnknownUnit: one unit of which nothing is known, address 1 to 32, one of the four usual settings, a reply within 5 to 150 ms: found
// within a minute, 20 times.
func TestUnknownUnit(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	worst := time.Duration(0)
	for range 20 {
		u := unit{
			number: byte(1 + r.IntN(32)), delay: time.Duration(5+r.IntN(146)) * time.Millisecond, lack: r.IntN(2) == 0,
			line: at([]int{9600, 19200}[r.IntN(2)], []string{"none", "even"}[r.IntN(2)]),
		}
		synctest.Test(t, func(t *testing.T) {
			start, found := time.Now(), time.Duration(0)
			s := Search{Host: lineOf(nil, drivers.Serial{}, u), Plan: NewPlan(port), Found: func(Found) { found = time.Since(start) }}
			list, err := s.Run(t.Context())
			if err != nil || len(list) != 1 || list[0].Unit != u.number || list[0].Serial != u.line {
				t.Fatalf("unit %+v: found %+v, %v", u, list, err)
			}
			worst = max(worst, found)
			if found >= time.Minute {
				t.Errorf("unit %+v: found after %v, want less than a minute", u, found)
			}
			if all := time.Since(start); all > 4*time.Minute {
				t.Errorf("unit %+v: the search went on for %v after it", u, all-found)
			}
		})
	}
	t.Logf("found after at most %v", worst)
}

// TestEstimate: the time said beforehand for the whole plan is right within a fifth, on an empty line and on one with units on it; what is
// said to be left never rises by more than that.
func TestEstimate(t *testing.T) {
	for _, units := range [][]unit{nil, {{number: 17, line: at(19200, "even"), delay: 40 * time.Millisecond}, {number: 200, line: at(9600, "none")}}} {
		synctest.Test(t, func(t *testing.T) {
			plan := NewPlan(port)
			start, steps := time.Now(), 0
			said := map[int]time.Duration{} // by steps: when it will be over
			s := Search{Host: lineOf(nil, drivers.Serial{}, units...), Plan: plan, IsWhole: true, Step: func(done, all int, left time.Duration) {
				if all != plan.Size() || done != steps {
					t.Fatalf("step %d of %d, want %d of %d", done, all, steps, plan.Size())
				}
				said[done] = time.Since(start) + left
				steps++
			}}
			found, err := s.Run(t.Context())
			if err != nil || len(found) != len(units) {
				t.Fatalf("found %+v, %v", found, err)
			}
			took := time.Since(start)
			if ratio := took.Seconds() / plan.Estimate().Seconds(); ratio < 0.8 || ratio > 1.2 {
				t.Errorf("took %v, said %v beforehand", took, plan.Estimate())
			}
			for n, end := range said {
				if ratio := took.Seconds() / end.Seconds(); ratio < 0.8 || ratio > 1.2 {
					t.Fatalf("took %v, said %v at request %d", took, end, n)
				}
			}
			if steps != plan.Size() {
				t.Errorf("%d requests of %d", steps, plan.Size())
			}
			t.Logf("took %v, said %v, %d requests", took, plan.Estimate(), steps)
		})
	}
}

// TestMaster: where another master speaks nothing is sent, and what was heard is named.
func TestMaster(t *testing.T) {
	traffic := slices.Concat(request(7), reply(7, 0x1234), request(9), reply(9, 5))
	for _, line := range []drivers.Serial{at(9600, "none"), at(19200, "even"), at(115200, "none")} {
		synctest.Test(t, func(t *testing.T) {
			h := lineOf(traffic, line)
			sent := 0
			h.Wrap = func(p drivers.Port) drivers.Port { return &counting{p, &sent} }
			list, err := (&Search{Host: h, Plan: NewPlan(port)}).Run(t.Context())
			if !errors.Is(err, ErrMaster) || sent != 0 {
				t.Fatalf("%v: got %v, %d bytes sent; want ErrMaster and nothing sent", line, err, sent)
			}
			if len(list) != 2 || list[0].Unit != 7 || list[1].Unit != 9 || list[0].Serial != line {
				t.Errorf("heard %+v, want units 7 and 9 at %s", list, line.Settings())
			}
			time.Sleep(time.Second) // the talker sees that the line is closed
		})
	}
}

type counting struct {
	drivers.Port
	sent *int
}

func (c *counting) Write(b []byte) (int, error) {
	*c.sent += len(b)
	return c.Port.Write(b)
}

// TestSlowUnit: a unit that answers after its request was given up is known by its number.
func TestSlowUnit(t *testing.T) {
	for _, u := range []unit{
		{number: 5, line: at(9600, "even"), delay: 300 * time.Millisecond},
		{number: 5, line: at(9600, "even"), delay: 600 * time.Millisecond},
		{number: 10, line: at(9600, "even"), delay: 600 * time.Millisecond}, // the last before the settings change
	} {
		synctest.Test(t, func(t *testing.T) {
			list, err := (&Search{Host: lineOf(nil, drivers.Serial{}, u), Plan: NewPlan(port)}).Run(t.Context())
			if err != nil || len(list) != 1 || list[0].Unit != u.number {
				t.Errorf("%+v: found %+v, %v", u, list, err)
			}
		})
	}
}

// TestSeveralUnits: once one is found, the other low numbers at its settings are too, and the rest is left out.
func TestSeveralUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := at(19200, "none")
		h := lineOf(nil, drivers.Serial{}, unit{number: 3, line: line}, unit{number: 4, line: line}, unit{number: 31, line: line, lack: true})
		list, err := (&Search{Host: h, Plan: NewPlan(port)}).Run(t.Context())
		if got := fmt.Sprint(numbers(list)); err != nil || got != "[3 4 31]" {
			t.Errorf("found %s, %v", got, err)
		}
	})
}

// TestNoUnit: a line that gives back what is sent has no units by that, nor has one on which a unit speaks that was not asked, or says
// something else.
func TestNoUnit(t *testing.T) {
	for name, answer := range map[string]func(b []byte) []byte{
		"echo":            func(b []byte) []byte { return b },
		"another unit":    func([]byte) []byte { return reply(99, 1) },
		"two registers":   func(b []byte) []byte { return sealed(b[0], 3, 4, 0, 1, 0, 2) },
		"wrong CRC":       func(b []byte) []byte { return append(reply(b[0], 1)[:6], 0) },
		"other exception": func(b []byte) []byte { return sealed(b[0], 0x84, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &drivertest.Host{Ports: map[string]drivertest.Opener{port: drivertest.Answers(answer)}}
				list, err := (&Search{Host: h, Plan: NewPlanOf(port, []byte{1, 2, 3}, []int{9600}, nil)}).Run(t.Context())
				if err != nil || len(list) != 0 {
					t.Errorf("found %+v, %v", list, err)
				}
			})
		})
	}
}

// TestGone: a port that is unplugged ends the search with what was found; so does ctx.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := unit{number: 1, line: at(9600, "none")}
		h := lineOf(nil, drivers.Serial{}, u)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := Search{Host: h, Plan: NewPlan(port), IsWhole: true, Found: func(Found) { time.AfterFunc(time.Second, cancel) }}
		start := time.Now()
		list, err := s.Run(ctx)
		if !errors.Is(err, context.Canceled) || len(list) != 1 || time.Since(start) > 5*time.Second {
			t.Errorf("after %v: found %+v, %v", time.Since(start), list, err)
		}
		delete(h.Ports, port)
		if list, err := s.Run(t.Context()); err == nil || len(list) != 0 {
			t.Errorf("without a port: found %+v, %v", list, err)
		}
	})
}

// TestPlan: the whole plan asks each unit at each setting once, and never unit 0.
func TestPlan(t *testing.T) {
	p := NewPlan(port)
	seen := map[string]int{}
	for _, st := range p.stages {
		for _, line := range st.lines {
			for _, u := range st.units {
				seen[fmt.Sprint(u, line)]++
				if u == 0 || u > LastUnit {
					t.Errorf("asks unit %d", u)
				}
			}
		}
	}
	if len(seen) != p.Size() || p.Size() != LastUnit*len(p.lines) {
		t.Errorf("%d requests for %d places, want %d", p.Size(), len(seen), LastUnit*len(p.lines))
	}
	if q := NewPlanOf(port, []byte{3, 40}, []int{19200}, []string{"even"}); q.Size() != 2 {
		t.Errorf("units 3 and 40 at 19200 even: %d requests, want 2", q.Size())
	}
	if q := NewPlanOf(port, nil, []int{31250}, nil); q.Size() != 0 {
		t.Errorf("31250 bit/s is no usual setting, but there are %d requests", q.Size())
	}
}

func TestHear(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"two", slices.Concat(request(3), reply(3, 1)), "Modbus RTU, another master asks unit 3"},
		{"several between noise", slices.Concat([]byte{0, 0xff}, request(3), []byte{1}, request(12), reply(12, 1)), "Modbus RTU, another master asks unit 3, 12"},
		{"one alone", request(3), ""},
		{"text", []byte("T=20.5 N=17\r\nT=20.5 N=18\r\n"), ""},
		{"nothing", nil, ""},
	} {
		if got := Hear(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNoiseIsNoFrame: in noise two frames are found less than once in a thousand stretches of 4 KiB.
func TestNoiseIsNoFrame(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	heard := 0
	b := make([]byte, heardMost)
	for range 200 {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if Hear(b) != "" {
			heard++
		}
	}
	if heard > 1 {
		t.Errorf("%d of 200 stretches of noise were taken for Modbus", heard)
	}
}

// TestFramesKeepsOrder: whatever noise lies between, frames come out as they went in, unless the noise swallowed one.
func TestFramesKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var in []byte
		var want []byte
		for _, u := range rapid.SliceOfN(rapid.ByteRange(1, 247), 0, 6).Draw(t, "units") {
			in = append(in, bytes.Repeat([]byte{0xff}, rapid.IntRange(0, 9).Draw(t, "noise"))...)
			in = append(in, request(u)...)
			want = append(want, u)
		}
		var got []byte
		for _, f := range frames(in) {
			got = append(got, f.unit)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got units %v, want %v of % x", got, want, in)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(request(3), reply(3, 1)))
	f.Add([]byte{1, 3, 0xff})
	f.Add([]byte{0, 16, 0, 0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for _, x := range frames(b) {
			n += 3 + len(x.pdu)
		}
		if n > len(b) {
			t.Fatalf("%d bytes of frames in %d", n, len(b))
		}
		Hear(b)
	})
}

func request(unit byte) []byte { return appendRequest(nil, unit) }

func reply(unit byte, value uint16) []byte {
	return sealed(unit, 3, 2, byte(value>>8), byte(value))
}

// sealed returns b with its CRC.
func sealed(b ...byte) []byte {
	c := link.CRC(b)
	return append(b, byte(c), byte(c>>8))
}

func numbers(list []Found) (out []byte) {
	for _, f := range list {
		out = append(out, f.Unit)
	}
	return out
}
