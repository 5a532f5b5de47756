package modbus

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// polls is how many polls TestPolls makes: TIDEGATE_LONG=1, as in make long, has a million.
func polls() int {
	if os.Getenv("TIDEGATE_LONG") != "" {
		return 1_000_000
	}
	return 20_000
}

// wire joins the driver's end of a net.Pipe with a slave's: bytes take their time at 19,200 bit/s, and wait, as in a kernel's buffer, while
// nobody reads them. It counts in rash the requests that were not preceded by the silence of 3.5 characters.
func wire(wg *sync.WaitGroup, rash *atomic.Int64) (near net.Conn, far *end) {
	const char = 11 * time.Second / 19200
	near, mid := net.Pipe()
	a, b := newLine()
	var quiet atomic.Int64 // since when the line has been
	pump := func(from io.Reader, to io.WriteCloser) {
		defer func() { _ = to.Close() }()
		buf := make([]byte, 300)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			if from == mid && time.Now().UnixNano()-quiet.Load() < int64(7*char/2) {
				rash.Add(1)
			}
			time.Sleep(time.Duration(n) * char)
			quiet.Store(time.Now().UnixNano())
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	wg.Go(func() { pump(mid, a) })
	wg.Go(func() { pump(a, mid) })
	return near, b
}

const tooLate = "after the timeout"

// mishaps are what happens to replies: of each twenty, one.
var mishaps = []struct {
	name  string
	fault func(r *rand.Rand) slave.Fault
}{
	{"wrong CRC", func(*rand.Rand) slave.Fault { return slave.Fault{Kind: slave.WrongCRC} }},
	{"one bit turned", func(*rand.Rand) slave.Fault { return slave.Fault{Kind: slave.WrongBit} }},
	{"truncated", func(*rand.Rand) slave.Fault { return slave.Fault{Kind: slave.Truncated} }},
	{tooLate, func(r *rand.Rand) slave.Fault {
		return slave.Fault{Delay: time.Duration(1050+r.IntN(2500)) * time.Millisecond}
	}},
	{"behind the next request", func(*rand.Rand) slave.Fault { return slave.Fault{Late: true} }},
	{"of another unit", func(*rand.Rand) slave.Fault { return slave.Fault{Kind: slave.ForeignUnit} }},
	{"of another unit, then the right one", func(*rand.Rand) slave.Fault { return slave.Fault{Kind: slave.ForeignFirst} }},
}

// TestPolls polls a unit on a line of net.Pipe in fake time, of whose replies 5 % have a wrong CRC, are cut, come late or are another
// unit's. Each reply holds the number of the request that it was made for, so a value that was made for an earlier one, or by another unit, is
// seen; that of another unit is its complement. No value is ever wrong, and a poll to which nothing happens is right, whatever happened to the one before: but where a unit is
// still busy with the one before, which is counted with it.
func TestPolls(t *testing.T) {
	n := polls()
	seed := rand.Uint64()
	t.Logf("%d polls, seed %d", n, seed)
	start := time.Now()
	var tally tally
	synctest.Test(t, func(t *testing.T) { tally = poll(t, n, seed) })
	t.Logf("%v of real time, %v of the line's: %v", time.Since(start).Round(time.Millisecond), tally.took, tally)
	if tally.wrong != 0 || tally.unexplained != 0 || tally.rash != 0 {
		t.Errorf("%d wrong values, %d polls that failed though nothing happened to them, %d requests without a silence ahead",
			tally.wrong, tally.unexplained, tally.rash)
	}
	if share := float64(tally.disturbed) / float64(tally.requests); share < 0.045 || share > 0.055 {
		t.Errorf("%.2f %% of the replies were disturbed, want 5", 100*share)
	}
	for i, m := range mishaps {
		if tally.by[i] == 0 {
			t.Errorf("nothing was ever %s", m.name)
		}
	}
}

// tally is what came of polls.
type tally struct {
	polls, right, failed, wrong, unexplained int
	requests, disturbed, rash                int64
	by                                       []int64 // as mishaps
	took                                     time.Duration
}

func (y tally) String() string {
	parts := make([]string, 0, len(mishaps))
	for i, m := range mishaps {
		parts = append(parts, fmt.Sprintf("%d %s", y.by[i], m.name))
	}
	return fmt.Sprintf("%d polls, %d requests, %d right, %d failed, %d wrong, %d failed without a cause; disturbed %d: %s",
		y.polls, y.requests, y.right, y.failed, y.wrong, y.unexplained, y.disturbed, strings.Join(parts, ", "))
}

func poll(t *testing.T, n int, seed uint64) tally {
	var made, requests, disturbed, busyUntil, rash atomic.Int64
	by, wasLate := make([]atomic.Int64, len(mishaps)), false
	r := rand.New(rand.NewPCG(seed, 1)) // the slave's
	s := &slave.Slave{
		Units: []byte{3},
		Values: func(q slave.Request, out []uint16) slave.Exception {
			v := uint32(made.Add(1))
			for i := 0; i+1 < len(out); i += 2 { // the same number everywhere, in registers of two
				out[i], out[i+1] = uint16(v>>16), uint16(v)
			}
			return slave.NoException
		},
		Fault: func(slave.Request) slave.Fault {
			requests.Add(1)
			if r.IntN(20) != 0 {
				wasLate = false
				return slave.Fault{}
			}
			i := r.IntN(len(mishaps))
			for mishaps[i].name == tooLate && wasLate { // two in a row would be later than the four timeouts that debts are kept for
				i = r.IntN(len(mishaps))
			}
			wasLate = mishaps[i].name == tooLate
			f := mishaps[i].fault(r)
			by[i].Add(1)
			disturbed.Add(1)
			busyUntil.Store(time.Now().Add(f.Delay).UnixNano())
			return f
		},
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	h := &fakeHost{open: func(context.Context) (drivers.Port, error) {
		near, far := wire(&wg, &rash)
		wg.Go(func() {
			if err := s.ServeRTU(ctx, far); err != nil {
				t.Error(err)
			}
		})
		return near, nil
	}}
	d := openDevice(t, config(false, Register{Channel: "r", Address: new(100), Type: "uint32", Count: new(3)}), h)
	pauses := rand.New(rand.NewPCG(seed, 2))
	var y tally
	began := time.Now()
	for range n {
		before, hurt, busy := made.Load(), disturbed.Load(), busyUntil.Load()
		isBusy := time.Now().UnixNano() < busy
		rs, err := d.Read(t.Context())
		y.polls++
		switch {
		case err == nil && faulty(rs) == "":
			y.right++
			for i := range rs {
				v, _ := rs[i].Value.Number()
				if int64(v) <= before || int64(v) > made.Load() {
					y.wrong++
					t.Errorf("poll %d: %s, but %d were made before it and %d after", y.polls, show(rs), before, made.Load())
				}
			}
		default:
			y.failed++
			if disturbed.Load() == hurt && !isBusy {
				y.unexplained++
				t.Errorf("poll %d: %s, %v, though nothing happened to it", y.polls, show(rs), err)
			}
		}
		if y.wrong+y.unexplained > 10 {
			break
		}
		time.Sleep(time.Duration(pauses.IntN(1000)) * time.Millisecond)
	}
	y.took = time.Since(began)
	stop()
	if err := h.bus.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	y.rash, y.requests, y.disturbed = rash.Load(), requests.Load(), disturbed.Load()
	for i := range by {
		y.by = append(y.by, by[i].Load())
	}
	return y
}
