package crash

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var requeues = flag.Int("requeues", 8, "how often the gateway, or the command, is killed at a requeue")

// A picky is what stands between a gateway and its broker, and hangs up on payloads that hold certain records of meter 1, as long as it minds.
type picky struct {
	listen net.Listener
	minds  func(n uint32) bool
	hungUp atomic.Int64
	over   atomic.Bool // it does not mind any more
}

func newPicky(t *testing.T, m *bed.Meters, broker string, minds func(n uint32) bool) *picky {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &picky{listen: l, minds: minds}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c, broker) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return p
}

func (p *picky) serve(c net.Conn, broker string) {
	defer c.Close()
	b, err := net.Dial("tcp", broker)
	if err != nil {
		return
	}
	defer b.Close()
	var back sync.WaitGroup
	defer back.Wait()
	defer b.Close()
	back.Go(func() {
		defer c.Close()
		buf := make([]byte, 4096)
		for {
			n, err := b.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	for in := bufio.NewReader(c); ; {
		first, body, err := readPacket(in)
		if err != nil {
			return
		}
		if first>>4 == 3 && !p.over.Load() && p.refuses(body) {
			p.hungUp.Add(1)
			return
		}
		packet := []byte{first}
		for n := len(body); ; {
			d := byte(n & 0x7f)
			if n >>= 7; n > 0 {
				packet = append(packet, d|0x80)
				continue
			}
			packet = append(packet, d)
			break
		}
		if _, err := b.Write(append(packet, body...)); err != nil {
			return
		}
	}
}

func (p *picky) refuses(body []byte) bool {
	n := int(body[0])<<8 | int(body[1])
	topic := string(body[2 : 2+n])
	if !bed.IsPack(topic) {
		return false
	}
	recs, err := bed.Unpack(topic, body[4+n:])
	if err != nil {
		return false
	}
	for i := range recs {
		var at uint32
		if r := recs[i].Readings; len(r) > 0 && r[0].Device == "m1" && r[0].Channel == "n" {
			if c, _ := fmt.Sscan(r[0].Value, &at); c == 1 && p.minds(at) {
				return true
			}
		}
	}
	return false
}

// once fails the test unless the receiver has each reply of the meters once, and nothing is declared or missing in the end.
func once(t *testing.T, m *bed.Meters, out string, far *receive.Account, late uint64) {
	t.Helper()
	tally := bed.NewTally(m)
	if err := bed.Stored(out, tally.Add); err != nil {
		t.Fatal(err)
	}
	a := tally.Settle(far)
	if missing := fmt.Sprint(tally.Missing()); missing != "[[]]" {
		t.Errorf("missing at the receiver: %s", missing)
	}
	if a.Doubled != 0 || a.Altered != 0 || a.Extra != 0 {
		t.Errorf("doubled %d, altered %d, extra %d", a.Doubled, a.Altered, a.Extra)
	}
	got := uint64(0)
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			if len(e.Holes.Ranges) > 0 || e.GapCount != 0 {
				t.Errorf("at the receiver holes %v, %d readings in gaps, want none", e.Holes.Ranges, e.GapCount)
			}
			for _, gap := range e.Gaps {
				got += gap.LateReadings
				if len(gap.Open.Ranges)+len(gap.Again.Ranges) > 0 {
					t.Errorf("gap %+v is not closed", gap)
				}
			}
		}
	}
	if got != late {
		t.Errorf("%d readings came for declared gaps, want %d", got, late)
	}
	fmt.Printf("| crash/requeue | answered %d, delivered %d, doubled %d, lost %d, requeued %d |\n", a.Answered, a.Delivered, a.Doubled, a.Lost+a.Rejected, got)
}

// command runs a command of the gateway, which must end well.
func command(t *testing.T, g *bed.Gateway, args ...string) string {
	t.Helper()
	out, errs, code := g.Command(args...)
	if code != 0 {
		t.Fatalf("%v: exit status %d: %s %s", args, code, out, errs)
	}
	return out
}

// aside returns the readings that are set aside, by `queue rejected`.
func aside(t *testing.T, g *bed.Gateway) (records, readings uint64) {
	t.Helper()
	var list status.RejectedList
	if err := json.Unmarshal([]byte(command(t, g, "queue", "rejected", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Rejected {
		records, readings = records+r.Records, readings+r.Readings
	}
	return records, readings
}

// TestRefusedAndRequeued: a far side that hangs up on some records, until they are set aside; then it takes them. Each is there once.
func TestRefusedAndRequeued(t *testing.T) {
	for _, confirm := range []string{"receipt", "puback"} {
		t.Run(confirm, func(t *testing.T) {
			t.Parallel()
			dir := bed.Dir(t, false)
			broker := bed.NewBroker(t, dir)
			broker.Start()
			receiver := bed.NewReceiver(t, programs, dir, broker.URL())
			m := bed.NewMeters(t, 1, 2)
			p := newPicky(t, m, broker.Address, func(n uint32) bool { return n == 15 })
			g := bed.NewGateway(t, programs, dir)
			config := fmt.Sprintf("gateway: {id: rig}\nstate_dir: %s\ndevices:\n%sbuffer: {max_bytes: 64MB, sync: 200ms}\n"+
				"uplink: {url: mqtt://%s, confirm: %s, batch: {readings: 4, every: 100ms}}\n", g.State, m.Devices(200*time.Millisecond), p.listen.Addr(), confirm)
			if err := os.WriteFile(g.Config(), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			g.Run()
			bed.Wait(t, "a record that is set aside", 4*time.Minute, func() bool {
				s, ok := g.Status()
				return ok && s.Queue.Rejected > 0 && s.Account.Lost == 0
			})
			if records, readings := aside(t, g); records != 1 || readings != 4 {
				t.Fatalf("set aside: %d records, %d readings, want 1 and 4", records, readings)
			}
			p.over.Store(true)
			command(t, g, "queue", "requeue", "--all")
			bed.Wait(t, "the record at the far side", time.Minute, func() bool {
				s, ok := g.Status()
				return ok && s.Queue.Rejected == 0 && s.Queue.OldestAgeS < 5 && s.Account.Lost == 0
			})
			if records, _ := aside(t, g); records != 0 {
				t.Errorf("%d records are still set aside", records)
			}
			if _, errs, code := g.Command("queue", "requeue", "--all"); code != 1 {
				t.Errorf("a second requeue: exit status %d, %s", code, errs)
			}
			g.Terminate(time.Minute)
			m.Stopped()
			config = fmt.Sprintf("gateway: {id: rig}\nstate_dir: %s\ndevices:\n%sbuffer: {max_bytes: 64MB, sync: 200ms}\n"+
				"uplink: {url: mqtt://%s, confirm: %s}\n", g.State, m.Gone(), p.listen.Addr(), confirm)
			if err := os.WriteFile(g.Config(), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			g.Deliver()
			s := g.QueueStatus()
			if a := s.Account; a.Lost != 0 || a.Rejected != 0 || a.Buffered != 0 || a.DroppedDeclared != 0 {
				t.Errorf("account: %+v", a)
			}
			time.Sleep(time.Second) // what a broker has acknowledged the receiver gets in a moment
			once(t, m, receiver.Out, receiver.Finish(), 4)
		})
	}
}

// planted is how many records setAside sets aside: nobody has declared them, and a receipt names 64 holes.
const planted = 48

// setAside sets records aside, one of each step, that the gateway, which is stopped, has not delivered, as it does where a far side refuses them.
func setAside(t *testing.T, g *bed.Gateway) (step uint64) {
	t.Helper()
	dec, err := frame.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	spans, err := frame.NewSpans()
	if err != nil {
		t.Fatal(err)
	}
	q, err := buffer.Open(buffer.Options{
		Dir: g.State, Limits: buffer.Limits{MaxBytes: 128_000_000, Keep: time.Hour}, Uplinks: []string{"uplink"}, Compactors: 2, Count: frame.Count, Each: dec.Each, Span: spans.Of,
		Cut: func(body []byte, skip, n int) ([]byte, error) {
			recs, err := dec.Decode(nil, 0, 1, body)
			if err != nil {
				return nil, err
			}
			return frame.AppendRows(nil, recs[skip:skip+n]), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := q.Cursor("uplink")
	if err != nil {
		t.Fatal(err)
	}
	pos := q.Position()
	id := q.Epochs()[pos.Epoch].ID
	step = (pos.Next - 1) / planted
	for n := step; n <= planted*step; n += step {
		for at := n; ; at-- { // it may be of another class
			if q.Held(tidegate.ClassReading)[pos.Epoch].Contains(at) {
				if err := c.Reject(id, tidegate.Range{First: at, Last: at}, "planted"); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	if err := q.Commit(buffer.Commit{Position: pos, Declared: q.Requests()}); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return step
}

// TestKilledAtRequeue: kill -9 of the gateway, or of the command on a stopped gateway, while records that were set aside are made to go again: what is
// set aside and what is owed stay the same together, and in the end the receiver has each once.
func TestKilledAtRequeue(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	dir := bed.Dir(t, false)
	broker := bed.NewBroker(t, dir) // not started yet
	m := bed.NewMeters(t, 1, 2)
	g := bed.NewGateway(t, programs, dir)
	g.Configure(m.Devices(5*time.Millisecond), "", broker.URL(), "receipt", "")
	g.Run()
	bed.Wait(t, "records", time.Minute, func() bool { return g.Committed() > 600 })
	g.Terminate(time.Minute)
	m.Stopped()
	step := setAside(t, g)
	g.Configure(m.Gone(), "", broker.URL(), "receipt", "")
	check := func() (left uint64) {
		t.Helper()
		s := g.QueueStatus()
		records, readings := aside(t, g)
		if s.Account.Lost != 0 || s.Account.Rejected != readings || s.Account.Delivered != 0 {
			t.Fatalf("set aside: %d records, %d readings; the account: %+v", records, readings, s.Account)
		}
		return records
	}
	kills := min(*requeues, planted)
	if left := check(); left != planted {
		t.Fatalf("%d records are set aside, planted %d", left, planted)
	}
	killed, each := 0, uint64(planted/kills)*step
	for i := range uint64(kills) {
		from, to := fmt.Sprint(i*each+1), fmt.Sprint((i+1)*each)
		args := []string{"queue", "requeue", "--from", from, "--to", to, "--config", g.Config()}
		c := exec.Command(programs.Gateway, args...)
		c.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+g.Rings)
		running := i%2 == 0
		if running {
			g.Run()
			bed.Wait(t, "the gateway", time.Minute, func() bool { s, ok := g.Status(); return ok && s.Epoch != "" })
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if running {
			time.Sleep(between(draw, 0, 150*time.Millisecond))
			if g.Kill() {
				killed++
			}
		} else {
			time.Sleep(between(draw, 0, 400*time.Millisecond))
			if c.Process.Signal(syscall.SIGKILL) == nil {
				killed++
			}
		}
		_ = c.Wait()
		check()
	}
	broker.Start()
	receiver := bed.NewReceiver(t, programs, dir, broker.URL())
	left := check()
	if left > 0 {
		command(t, g, "queue", "requeue", "--all")
	}
	t.Logf("%d kills; %d of %d records were still set aside", killed, left, planted)
	g.Deliver()
	if s := g.QueueStatus(); s.Account.Lost != 0 || s.Account.Rejected != 0 || s.Account.Buffered != 0 {
		t.Errorf("account: %+v", s.Account)
	}
	once(t, m, receiver.Out, receiver.Finish(), 0) // nobody had declared them
}
