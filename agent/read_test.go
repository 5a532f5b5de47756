package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

const oneUplink = "uplink: {url: \"mqtt://broker.test\", confirm: receipt}\n"

// TestScheduleKeepsToItsGrid has Reads that take longer than the interval: what was missed is left out, and never made up for in a burst.
func TestScheduleKeepsToItsGrid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlay()
		takes := map[int]time.Duration{3: 3500 * time.Millisecond, 6: 1200 * time.Millisecond, 9: 2 * time.Second, 11: 999 * time.Millisecond}
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			time.Sleep(takes[n])
			return one(n), nil
		}
		g := newBed(t, nil, p.driver("slow", time.Second)).start("devices: [{name: a, driver: slow}]\n")
		time.Sleep(14*time.Second + 500*time.Millisecond)
		g.end()
		want := "[0s 1s 2s 6s 7s 8s 9.2s 10s 11s 13s 14s]"
		if got := fmt.Sprint(p.times()); got != want {
			t.Errorf("Reads began at %s, want %s", got, want)
		}
	})
}

// TestReadUnderWayIsKept stops gateways during a Read: what the device answers within half a second is delivered, and a Read is told to end then; a
// talker's is at once.
func TestReadUnderWayIsKept(t *testing.T) {
	for name, tt := range map[string]struct {
		every, takes, ends time.Duration
		values             int
	}{
		"answers":            {time.Second, 450 * time.Millisecond, 450 * time.Millisecond, 2},
		"does not answer":    {time.Second, time.Hour, 500 * time.Millisecond, 1},
		"talks, or does not": {0, time.Hour, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPlay()
				ended := make(chan time.Time, 2) // of the second Read; a third one is wrong
				p.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
					if n < 2 {
						return one(n), nil
					}
					defer func() { ended <- time.Now() }()
					select {
					case <-time.After(tt.takes):
						return one(n), nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}
				b := newBroker(t)
				f := newFar(t, b)
				g := newBed(t, b, p.driver("slow", tt.every)).start("devices: [{name: a, driver: slow}]\n" + oneUplink)
				time.Sleep(time.Second)
				synctest.Wait()
				stop := time.Now()
				g.end()
				if took := (<-ended).Sub(stop); took != tt.ends || len(p.times()) != 2 {
					t.Errorf("the Read ended %v behind the stop, and %d were begun; want %v and 2", took, len(p.times()), tt.ends)
				}
				f.wantCounts(t, "a", tt.values)
			})
		})
	}
}

// TestOneDeadUnitOf32 has 32 meters on one line, of which one does not answer: it takes at most 5 % of the line's time, and each of the others
// keeps at least 95 % of its cadence.
func TestOneDeadUnitOf32(t *testing.T) {
	const d = 30 * time.Minute
	alive, reads := busyLine(t, time.Second, d, 0)
	for _, timeout := range []time.Duration{time.Second, 5 * time.Second} {
		t.Run(timeout.String(), func(t *testing.T) {
			busy, beside := busyLine(t, timeout, d, 7)
			share := float64(busy-alive) / float64(d)
			t.Logf("line is busy for %v with all alive, %v with one dead: it takes %.1f %%", alive, busy, 100*share)
			if share <= 0.01 || share > 0.05 {
				t.Errorf("the dead unit takes %.1f %% of the line, want at most 5, and that it is asked at all", 100*share)
			}
			for u := range reads {
				if u+1 != 7 && float64(beside[u]) < 0.95*float64(reads[u]) {
					t.Errorf("unit %d was read %d times beside the dead one, %d times without", u+1, beside[u], reads[u])
				}
			}
		})
	}
}

// busyLine runs 32 units on a line of 19,200 baud, but one, for d; it returns how long the line was in use, and how often each was read.
func busyLine(t *testing.T, timeout, d time.Duration, dead byte) (busy time.Duration, reads [32]uint64) {
	t.Helper()
	bubble(t, func(t *testing.T) {
		s := &slave.Slave{Values: func(_ slave.Request, out []uint16) slave.Exception {
			clear(out)
			return slave.NoException
		}}
		var text strings.Builder
		text.WriteString("devices:\n")
		for u := byte(1); u <= 32; u++ {
			if u != dead {
				s.Units = append(s.Units, u)
			}
			fmt.Fprintf(&text, "  - {name: m%d, driver: modbus, every: 20s, address: 'rtu:///dev/bus', unit: %d, timeout: %v, registers: [{channel: v, address: 0}]}\n",
				u, u, timeout)
		}
		open, far := drivertest.Pipes()
		x := newBed(t, nil)
		x.host.Ports = map[string]drivertest.Opener{"/dev/bus": open}
		ctx, stop := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() {
			err := s.ServeRTU(ctx, <-far)
			served <- err
		}()
		g := x.start(text.String())
		time.Sleep(time.Millisecond)
		bus, err := x.host.Serial(ctx, x.host.Settings("/dev/bus"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(d)
		busy = bus.Busy()
		for u := range reads {
			reads[u] = g.device(fmt.Sprint("m", u+1)).Reads
		}
		if state := g.device("m7").State; (state == "fault") != (dead == 7) {
			t.Errorf("state of unit 7 is %s", state)
		}
		g.end()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return busy, reads
}

// TestSoleDevice has a unit that does not answer for half an hour, alone on its connection or with another: alone it is asked again soon and
// so read again soon, as that costs nobody anything.
func TestSoleDevice(t *testing.T) {
	const away, back = 30 * time.Minute, 6100 * time.Millisecond
	for name, tt := range map[string]struct {
		units       int
		least, most int // requests to it while it is away
	}{
		"alone":          {1, 250, 400},
		"beside another": {2, 60, 100},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				began := time.Now()
				var asked atomic.Int32
				s := &slave.Slave{
					Units: []byte{1, 2}, Values: func(_ slave.Request, out []uint16) slave.Exception { clear(out); return slave.NoException },
					Fault: func(q slave.Request) slave.Fault {
						if d := time.Since(began); q.Unit == 1 && d > time.Minute && d < time.Minute+away {
							asked.Add(1)
							return slave.Fault{Kind: slave.Silent}
						}
						return slave.Fault{}
					},
				}
				x := newBed(t, nil)
				var served sync.WaitGroup
				x.host.Ports = map[string]drivertest.Opener{"tcp://far.test:502": func(context.Context) (drivers.Port, error) {
					near, far := net.Pipe()
					served.Go(func() { _ = s.ServeTCP(context.Background(), far) }) // ends with the pipe
					return near, nil
				}}
				text := "devices:\n"
				for u := range tt.units {
					text += fmt.Sprintf("  - {name: m%d, driver: modbus, every: 1s, address: 'tcp://far.test', unit: %d, registers: [{channel: v, address: 0}]}\n", u+1, u+1)
				}
				g := x.start(text)
				time.Sleep(time.Minute + away + back)
				if n := int(asked.Load()); n < tt.least || n > tt.most {
					t.Errorf("asked %d times in %v, want %d to %d", n, away, tt.least, tt.most)
				}
				if state := g.device("m1").State; tt.units == 1 && state != "ok" {
					t.Errorf("%v after it is back it is %s", back, state)
				}
				g.end()
				served.Wait()
			})
		})
	}
}

// TestGoneDeviceIsReadAgain plugs devices out and in again: they are read within 3 s after they are back.
func TestGoneDeviceIsReadAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		every time.Duration // 0 = Read waits
		away  time.Duration
	}{
		"polled, back at once":        {time.Second, 0},
		"polled, away for a minute":   {time.Second, time.Minute},
		"polled, away for 10 min":     {time.Second, 10 * time.Minute},
		"talker, back at once":        {0, 0},
		"talker, away for a minute":   {0, time.Minute},
		"talker, away for 3 min":      {0, 3 * time.Minute},
		"once a minute, for 10 min":   {time.Minute, 10 * time.Minute},
		"once a minute, back at once": {time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPlay()
				gone, back := 5*time.Minute, 5*time.Minute+tt.away
				away := func() bool { d := time.Since(p.began); return d >= gone && d < back }
				p.open = func(context.Context) error {
					if away() {
						return errors.New("no such port")
					}
					return nil
				}
				fell := false
				p.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
					if !fell {
						if tt.every == 0 || time.Since(p.began) >= gone {
							time.Sleep(gone - time.Since(p.began)) // a talker that has nothing to say for long
							fell = true
							return nil, fmt.Errorf("read port: %w", drivers.ErrGone)
						}
					} else if tt.every == 0 {
						select {
						case <-time.After(time.Second):
						case <-ctx.Done():
							return nil, ctx.Err()
						}
					}
					return one(n), nil
				}
				g := newBed(t, nil, p.driver("plug", tt.every)).start("devices: [{name: a, driver: plug}]\n")
				time.Sleep(back + 3*time.Second - time.Millisecond)
				if s := g.device("a"); s.State != "ok" {
					t.Errorf("3 s after the device came back: %+v", s)
				}
				if c := g.conditions(); c != "" {
					t.Errorf("conditions are %s", c)
				}
				opens := p.opened()
				if n := len(opens); tt.away > 0 && (n < int(tt.away/time.Second)*9/10 || n > int(tt.away/time.Second)+20) {
					t.Errorf("opened %d times while it was away for %v, want about one a second", n, tt.away)
				}
				g.end()
			})
		})
	}
}

// TestTalkerThatFails waits half a minute for each line, none of which is any good: the port is not left alone for that.
func TestTalkerThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlay()
		p.read = func(ctx context.Context, _ int) ([]tidegate.Reading, error) {
			select {
			case <-time.After(30 * time.Second):
				return nil, errors.New("wrong checksum")
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		g := newBed(t, nil, p.driver("talker", 0)).start("devices: [{name: a, driver: talker}]\n")
		time.Sleep(10*time.Minute + time.Second)
		g.end()
		if n := len(p.times()); n != 20 {
			t.Errorf("read %d times in 10 min, want 20", n)
		}
	})
}

// TestPanicBecomesFault has drivers that panic everywhere: a fault is reported, the device comes back, and the others notice nothing.
func TestPanicBecomesFault(t *testing.T) {
	for name, tt := range map[string]struct {
		from, to time.Duration
		where    string
		fault    string
	}{
		"in Read, once":             {time.Minute, time.Minute + time.Millisecond, "read", "driver panicked: boom: gone"},
		"in Open, for 10 s":         {time.Minute, time.Minute + 10*time.Second, "open", "driver panicked: boom: gone"},
		"in Close":                  {time.Minute, time.Minute + 10*time.Second, "close", "driver panicked: boom: gone"},
		"in Read, for 10 min":       {time.Minute, 11 * time.Minute, "read", "driver panicked: boom: gone"},
		"by an index out of bounds": {time.Minute, 2 * time.Minute, "index", "driver panicked: runtime error: index out of range [7] with length 0: gone"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				p := newPlay()
				boom := func(where string) {
					if d := time.Since(p.began); d < tt.from || d >= tt.to || where != tt.where {
						return
					}
					if where == "index" {
						_ = make([]int, 0)[len(tt.where)+2]
					}
					panic("boom")
				}
				p.open = func(context.Context) error { boom("open"); return nil }
				p.close = func() error { boom("close"); return nil }
				p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
					boom("read")
					boom("index")
					if tt.where != "read" && time.Since(p.began) >= tt.from && time.Since(p.began) < tt.from+time.Second {
						return nil, fmt.Errorf("unplugged: %w", drivers.ErrGone)
					}
					return one(n), nil
				}
				g := newBed(t, b, p.driver("bomb", time.Second)).start("devices: [{name: a, driver: bomb}, {name: b, driver: sim}]\n" + oneUplink)
				time.Sleep(tt.to + time.Second)
				attempts := len(p.opened())
				if most := 10 + int(tt.to-tt.from)/int(40*time.Second); attempts > most {
					t.Errorf("opened %d times in %v, want at most %d: a driver that panics is to be left alone", attempts, tt.to-tt.from, most)
				}
				end := tt.to.Truncate(time.Second) + 70*time.Second
				time.Sleep(end + 500*time.Millisecond - time.Since(p.began))
				if s := g.device("a"); s.State != "ok" {
					t.Errorf("device is %+v, want it read again", s)
				}
				g.end()
				f.check(t, 0)
				if n := f.texts("a", "_device")[tt.fault]; n < 1 || n > 2+int((tt.to-tt.from)/time.Minute) {
					t.Errorf("fault %q arrived %d times; faults are %v", tt.fault, n, f.texts("a", "_device"))
				}
				f.wantCounts(t, "b", int(end/time.Second)+1)
			})
		})
	}
}

// TestFaultIsReported when it begins, when it changes, once a minute while it lasts, and when it begins again.
func TestFaultIsReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPlay()
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			switch d := time.Since(p.began); {
			case d >= time.Minute && d < 6*time.Minute+30*time.Second:
				return nil, errors.New("no reply")
			case d >= time.Minute && d < 8*time.Minute:
				return nil, errors.New("wrong CRC")
			case d >= 9*time.Minute && d < 9*time.Minute+30*time.Second:
				return nil, errors.New("wrong CRC")
			}
			return one(n), nil
		}
		g := newBed(t, b, p.driver("ill", time.Second)).start("devices: [{name: a, driver: ill}]\n" + oneUplink)
		time.Sleep(5*time.Minute + 500*time.Millisecond)
		if s := g.device("a"); s.State != "fault" || s.LastError != "no reply" || time.Since(s.LastRead.Time) < 4*time.Minute || s.Reads != 60 {
			t.Errorf("device is %+v, want it faulty since it was last read, 4 min ago", s)
		}
		if c := g.Status().Conditions; len(c) != 1 || c[0].Code != "device_fault:a" || c[0].Detail != "no reply" ||
			c[0].Since.Sub(p.began) != time.Minute {
			t.Errorf("conditions are %+v", c)
		}
		time.Sleep(5 * time.Minute)
		if c := g.conditions(); c != "" {
			t.Errorf("conditions are %s after the device was read again", c)
		}
		g.end()
		f.check(t, 0)
		var got []string
		for _, s := range f.records() {
			if r := s.Record.Readings[0]; r.Channel == "_device" {
				got = append(got, fmt.Sprintf("%v %s", s.Record.Time.Sub(p.began).Round(2*time.Second), r.Fault))
			}
		}
		want := []string{
			"1m0s no reply", "2m0s no reply", "3m0s no reply", "4m0s no reply", "5m0s no reply", "6m0s no reply",
			"6m30s wrong CRC", "7m30s wrong CRC", "9m0s wrong CRC",
		}
		if !slices.Equal(got, want) {
			t.Errorf("faults arrived:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// TestFaultIsLoggedWithItsBus: what went over the bus last stands in the log beside the error, decoded, and as often as the error does.
func TestFaultIsLoggedWithItsBus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := newBed(t, nil)
		var log bytes.Buffer
		x.parts.Log = slog.New(slog.NewTextHandler(&log, nil))
		x.host.Ports = map[string]drivertest.Opener{"/dev/bus": drivertest.Answers(func([]byte) []byte { return nil })}
		g := x.start("devices: [{name: m, driver: modbus, every: 1s, address: 'rtu:///dev/bus', unit: 7, timeout: 100ms, registers: [{channel: v, address: 0}]}]\n")
		time.Sleep(10 * time.Minute)
		g.end()
		reads := g.device("m").Faults
		n, dumps := strings.Count(log.String(), `msg="device cannot be read"`), strings.Count(log.String(), " bus=/dev/bus last=")
		if n < 10 || n > 14 || dumps != n || reads < 50 {
			t.Errorf("%d Reads failed, %d lines, %d with the bus:\n%s", reads, n, dumps, log.String())
		}
		if !strings.Contains(log.String(), " ago > 07 03 00 00 00 01 84 6c (request to unit 7: function 03, holding 0 (quantity 1), CRC right)") {
			t.Errorf("no request in\n%s", log.String())
		}
	})
}

// TestFaultOfChannelIsReported when it begins, when it changes, once a minute while it lasts, and when it begins again; the other channels of
// the Read with each. A talker's faults are told each.
func TestFaultOfChannelIsReported(t *testing.T) {
	for name, tt := range map[string]struct {
		every time.Duration
		want  string
	}{
		"polled": {time.Second, "1m0s refused, 2m0s refused, 3m0s refused, 3m30s other, 4m30s other, 5m10s other"},
		"talker": {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				p := newPlay()
				faults := 0
				p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
					if tt.every == 0 {
						time.Sleep(time.Second)
					}
					list := []tidegate.Reading{{Channel: "c"}, one(n)[0]}
					switch d := time.Since(p.began); {
					case d >= time.Minute && d < 3*time.Minute+30*time.Second:
						list[0].Fault = "refused"
					case d >= 3*time.Minute+30*time.Second && d < 5*time.Minute, d >= 5*time.Minute+10*time.Second && d < 5*time.Minute+20*time.Second:
						list[0].Fault = "other"
					default:
						list[0].Value = tidegate.Int(7)
						return list, nil
					}
					faults++
					return list, nil
				}
				g := newBed(t, b, p.driver("ill", tt.every)).start("devices: [{name: a, driver: ill}]\n" + oneUplink)
				time.Sleep(2*time.Minute + 30*time.Second)
				if s := g.device("a"); s.State != "fault" || s.LastError != "c: refused" || s.Values[0].Fault != "refused" {
					t.Errorf("device is %+v while its fault is not told", s)
				}
				time.Sleep(4 * time.Minute)
				g.end()
				f.check(t, 0)
				var got []string
				counts := 0
				for _, s := range f.records() {
					for _, r := range s.Record.Readings {
						if r.Channel == "n" {
							counts++
						} else if r.Fault != "" {
							got = append(got, fmt.Sprintf("%v %s", s.Record.Time.Sub(p.began).Truncate(time.Second), r.Fault))
						}
					}
				}
				if tt.every > 0 && strings.Join(got, ", ") != tt.want || tt.every == 0 && len(got) != faults {
					t.Errorf("faults arrived %d of %d times: %s\nwant %s", len(got), faults, strings.Join(got, ", "), tt.want)
				}
				if n := len(p.times()); counts < n-1 {
					t.Errorf("%d values of the other channel in %d Reads", counts, n)
				}
			})
		})
	}
}

// TestHangingDriver has drivers that do not return from a call: one gives up when it is told to, the others never do and are left behind. The
// fault is reported, the device is opened anew, five times at most; other devices go on, and the gateway stops in order.
func TestHangingDriver(t *testing.T) {
	const long = "the driver has not returned for more than 2m30s"
	anew := func(n int) string {
		return fmt.Sprintf("%s; it is left behind (calls that hang: %d), and the device opened anew", long, n)
	}
	for name, tt := range map[string]struct {
		every   time.Duration
		where   string // the call that hangs
		from    int    // the first such call to hang
		to      int    // and the last
		obeys   bool
		lasts   time.Duration
		faults  tally
		opens   int
		isFault bool // at the end
	}{
		"in Read, given up after 150 s": {time.Second, "read", 10, 10, true, 4 * time.Minute, tally{"no answer within 2m30s: context deadline exceeded": 1}, 1, false},
		"in Read, once":                 {time.Second, "read", 10, 10, false, 4 * time.Minute, tally{anew(1): 1}, 2, false},
		"in Open, once":                 {time.Second, "open", 1, 1, false, 4 * time.Minute, tally{anew(1): 1}, 2, false},
		"in Open of a talker, twice":    {0, "open", 1, 2, false, 8 * time.Minute, tally{anew(1): 1, anew(2): 1}, 3, false},
		"in Close": {time.Second, "close", 1, 1, false, 4 * time.Minute, tally{
			anew(1): 1,
		}, 2, false},
		"in Read, four times": {time.Second, "read", 10, 13, false, 12 * time.Minute, tally{anew(1): 1, anew(2): 1, anew(3): 1, anew(4): 1}, 5, false},
		"in Read, for ever": {time.Second, "read", 10, 1000, false, 16 * time.Minute, tally{
			anew(1): 1, anew(2): 1, anew(3): 1, anew(4): 1,
			long + ", for the 5th time; calls that hang, and cannot be ended: 5; the device is off, and tried again in 23h50m0s": 3,
		}, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				p := newPlay()
				release := make(chan struct{})
				hang := func(ctx context.Context, where string, n int) error {
					switch {
					case where != tt.where || n < tt.from || n > tt.to:
						return nil
					case tt.obeys:
						<-ctx.Done()
						return ctx.Err()
					}
					<-release
					return nil
				}
				p.open = func(ctx context.Context) error { return hang(ctx, "open", len(p.opened())) }
				closes := 0
				p.close = func() error { closes++; return hang(t.Context(), "close", closes) }
				p.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
					if tt.every == 0 {
						time.Sleep(time.Second)
					}
					if tt.where == "close" && n == 10 {
						return nil, fmt.Errorf("unplugged: %w", drivers.ErrGone)
					}
					if err := hang(ctx, "read", n); err != nil {
						return nil, err
					}
					return one(n), nil
				}
				x := newBed(t, b, p.driver("stuck", tt.every))
				g := x.start("devices: [{name: a, driver: stuck}, {name: b, driver: sim}]\n" + oneUplink)
				time.Sleep(tt.lasts + 500*time.Millisecond)
				if s := g.device("a"); (s.State == "off") != tt.isFault {
					t.Errorf("device is %+v", s)
				}
				if n := len(p.opened()); n != tt.opens {
					t.Errorf("opened %d times, want %d", n, tt.opens)
				}
				began := time.Now()
				g.end()
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("stopping took %v", d)
				}
				s := g.Status()
				close(release) // whatever it returns now goes nowhere
				time.Sleep(time.Second)
				f.check(t, 0)
				if got := f.texts("a", "_device"); fmt.Sprint(got) != fmt.Sprint(tt.faults) {
					t.Errorf("faults are %v, want %v", got, tt.faults)
				}
				f.wantCounts(t, "b", int(tt.lasts/time.Second)+1)
				if s.Account.Lost != 0 || s.Account.Buffered != 0 {
					t.Errorf("account is %+v", s.Account)
				}
			})
		})
	}
}

// TestSessionLeftBehind: what a call that was given up returns in the end is not taken, and its device's outputs are not the new one's.
func TestSessionLeftBehind(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPlay()
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			if n == 10 {
				time.Sleep(5 * time.Minute)
				return one(-1), nil
			}
			return one(n), nil
		}
		g := newBed(t, b, p.driver("stuck", time.Second)).start("devices: [{name: a, driver: stuck}]\n" +
			"rules: [{name: late, when: a.n > 300, do: [{set: {channel: a.relay, value: true}}]}]\n" + oneUplink)
		time.Sleep(8*time.Minute + 500*time.Millisecond)
		g.end()
		f.check(t, 0)
		for _, s := range f.records() {
			if r := s.Record.Readings[0]; r.Device == "a" && r.Value == tidegate.Int(-1) {
				t.Error("the value of the call that was given up arrived")
			}
		}
		if got := p.wasSet(); len(got) != 1 || !strings.HasSuffix(got[0], "relay=true") {
			t.Errorf("set %q, want the relay once after the first session has ended", got)
		}
	})
}

// TestLongReads cuts what is too long for one record, in order, and makes faults of values that are too long for any.
func TestLongReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPlay()
		long := func(n int) tidegate.Value { return tidegate.Text(strings.Repeat("x", n)) }
		p.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
			var out []tidegate.Reading
			switch n {
			case 1:
				out = readings(2500, 7)
			case 2:
				for i := range 40 {
					out = append(out, tidegate.Reading{Channel: fmt.Sprintf("c%d", i), Value: long(10_000)})
				}
			case 3:
				out = append(readings(3, 1), tidegate.Reading{Channel: "c3", Value: long(200_000), Unit: "Cel"})
				out = append(out, tidegate.Reading{Channel: "c4", Fault: strings.Repeat("f", 200_000)})
			default:
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return out, nil
		}
		g := newBed(t, b, p.driver("long", 0)).start("devices: [{name: a, driver: long}]\n" + oneUplink)
		time.Sleep(time.Minute)
		var longest int
		for _, v := range g.device("a").Values {
			longest = max(longest, len(v.Value)+len(v.Fault))
		}
		if longest > 20_000 {
			t.Errorf("status shows a value of %d bytes", longest)
		}
		g.end()
		f.check(t, 0)
		wantAccount(t, g.Status(), 2500+40+5)
		var sizes []int
		var order []string
		for _, s := range f.records() {
			sizes = append(sizes, len(s.Record.Readings))
			for _, r := range s.Record.Readings {
				order = append(order, r.Channel)
			}
		}
		if got := fmt.Sprint(sizes); got != "[1000 1000 500 10 7 11 12 2 1 1 1]" {
			t.Errorf("records have %s readings", got)
		}
		at := 0
		for _, n := range []int{2500, 40, 5} {
			for i := range n {
				if want := fmt.Sprintf("c%d", i); order[at] != want {
					t.Fatalf("reading %d is of %s, want %s", at, order[at], want)
				}
				at++
			}
		}
		for channel, want := range map[string]string{
			"c3": "value takes 200035 bytes, at most 131072 can be kept", "c4": "value takes 200031 bytes, at most 131072 can be kept",
		} {
			if f.texts("a", channel)[want] != 1 {
				t.Errorf("%s is %.200v, want the fault %q", channel, f.texts("a", channel), want)
			}
		}
	})
}
