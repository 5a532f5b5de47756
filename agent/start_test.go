package agent_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
)

const oneDevice = "devices: [{name: a, driver: sim, every: 100ms}]\n" + oneUplink

// TestStopAndStartAgain stops and starts a gateway in order, with and without a link, with and without a reboot between: everything
// arrives, numbers go on where they were, and nothing is declared.
func TestStopAndStartAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		total := 0
		for i, reboot := range []bool{false, true, false, false, true, true} {
			away := i%2 == 1
			if away {
				b.leave()
			}
			g := x.start(oneDevice)
			time.Sleep(10*time.Second + 50*time.Millisecond)
			_, next := g.numbers()
			g.end()
			if s := g.Status(); s.Account.Lost != 0 || away != (s.Account.Buffered == 5*101) {
				t.Errorf("run %d: account is %+v", i, s.Account)
			}
			l := readLease(t, x)
			if !l.Clean || l.Last < next-1 {
				t.Errorf("run %d: clean mark %v at number %d, next was %d", i, l.Clean, l.Last, next)
			}
			if reboot {
				if err := os.RemoveAll(x.rings); err != nil {
					t.Fatal(err)
				}
			}
			if away {
				b.come()
			}
			total += 101
		}
		g := x.start(strings.Replace(oneDevice, "100ms", "1h", 1))
		time.Sleep(10 * time.Second)
		g.end()
		wantAccount(t, g.Status(), uint64(5*(total+1)))
		f.check(t, 0)
		counts := f.counted(t, "a")
		if len(counts) != total+1 || slices.Max(counts) != 101 {
			t.Errorf("%d values of n arrived, the highest %d; want %d and 101", len(counts), slices.Max(counts), total+1)
		}
		epochs := f.receiver.Account().Gateways[0].Epochs
		if len(epochs) != 1 || epochs[0].Highest != uint64(total+1) {
			t.Errorf("epochs are %+v, want one with numbers up to %d", epochs, total+1)
		}
	})
}

// numbers returns the epoch and the number that the next record gets.
func (r *running) numbers() (epoch string, next uint64) {
	s := r.Status()
	return s.Epoch, s.NextRecord
}

// readLease reads the lease of a gateway that does not run.
func readLease(t *testing.T, x *bed) lease.Lease {
	t.Helper()
	file, l, found, err := lease.Open(x.dir)
	if err != nil || !found {
		t.Fatalf("lease: %v, found %v", err, found)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestStartOnFullDisk has no room for the store at first: Reads collect in ring 1, and nothing of them is lost, not even when the
// gateway is stopped meanwhile.
func TestStartOnFullDisk(t *testing.T) {
	for name, tt := range map[string]struct{ before, stops, made bool }{
		"the first time":                                                {},
		"the first time, stopped while it waits":                        {stops: true},
		"the first time, ended when it had made its store, and no more": {stops: true, made: true},
		"later":                         {before: true},
		"later, stopped while it waits": {before: true, stops: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				x := newBed(t, b)
				var free atomic.Int64
				x.parts.Statfs = func(string) (int64, int64, error) { return free.Load(), 100 << 30, nil }
				reads := 0
				if tt.before {
					free.Store(50 << 30)
					g := x.start(oneDevice)
					time.Sleep(5*time.Second + 50*time.Millisecond)
					g.end()
					free.Store(1 << 20)
					reads += 51
				}
				g := x.start(oneDevice)
				time.Sleep(30*time.Second + 50*time.Millisecond)
				if c := g.conditions(); c != "store_waits" {
					t.Errorf("conditions are %s", c)
				}
				if d := g.device("a"); d.State != "ok" || d.Reads != 301 {
					t.Errorf("device is %+v, want 301 Reads", d)
				}
				want := status.Account{Produced: 5 * 301, Buffered: 5 * 301}
				if s := g.Status(); s.Link.State != "down" || s.Link.Endpoint != "mqtt://broker.test" || s.Account != want ||
					s.Queue.Readings != 5*301 || s.Queue.Records != 301 || s.Queue.Bytes < 5*301 || len(s.Uplinks) != 1 || s.Uplinks[0].Account != want {
					t.Errorf("link is %+v, queue %+v, uplinks %+v", s.Link, s.Queue, s.Uplinks)
				}
				if err := g.Healthy(); err != nil {
					t.Errorf("a gateway that waits for room is healthy, got %v", err)
				}
				if err := g.Reload(g.ctx, x.load(oneDevice)); err == nil {
					t.Error("Reload while the store waits: no error")
				}
				reads += 301
				if tt.stops {
					g.end()
					if tt.made {
						makeStore(t, x.dir)
						free.Store(50 << 30)
					}
					g = x.start(oneDevice)
					time.Sleep(20*time.Second + 50*time.Millisecond)
					reads += 201
				}
				free.Store(50 << 30)
				time.Sleep(5 * time.Second)
				if c := g.conditions(); c != "" {
					t.Errorf("conditions are %s after space came back", c)
				}
				g.end()
				reads += 50
				wantAccount(t, g.Status(), uint64(5*reads))
				f.check(t, 0)
				if n := len(f.counted(t, "a")); n != reads {
					t.Errorf("%d Reads arrived, want %d", n, reads)
				}
			})
		})
	}
}

// makeStore makes a store in which nothing was committed.
func makeStore(t *testing.T, dir string) {
	t.Helper()
	q, err := buffer.Open(buffer.Options{
		Dir: dir, Limits: buffer.Limits{MaxBytes: buffer.MinBytes, Keep: time.Hour}, Uplinks: []string{"uplink"},
		Count: func([]byte, int, int) (int, error) { return 0, nil },
		Each:  func([]byte, func(string, int)) error { return nil },
		Cut:   func(b []byte, _, _ int) ([]byte, error) { return b, nil },
	})
	if err == nil {
		err = q.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestBeforeAnythingIsOpen: a gateway that waits for room for its very first file says what it is to do, and says once a minute why it does not.
func TestBeforeAnythingIsOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := newBed(t, nil)
		var log bytes.Buffer
		x.parts.Log = slog.New(slog.NewTextHandler(&log, nil))
		x.parts.Statfs = func(string) (int64, int64, error) { return 0, 100 << 30, nil }
		a, err := agent.New(x.load(oneDevice), x.parts)
		if err != nil {
			t.Fatal(err)
		}
		s := a.Status()
		if len(s.Devices) != 1 || s.Devices[0].Name != "a" || s.Devices[0].Driver != "sim" || s.Devices[0].State != "off" ||
			len(s.Uplinks) != 1 || s.Uplinks[0].Link.Endpoint != "mqtt://broker.test" || s.Link != s.Uplinks[0].Link || s.Link.LastError == "" {
			t.Errorf("before the start: %+v", s)
		}
		g := x.start(oneDevice)
		time.Sleep(2*time.Minute + 30*time.Second)
		g.end()
		if n := strings.Count(log.String(), "waiting for room on the disk"); n != 3 {
			t.Errorf("said %d times in 2.5 minutes that there is no room, want 3:\n%s", n, log.String())
		}
		if s := g.Status(); s.Queue.Readings != 0 || len(s.Devices) != 1 {
			t.Errorf("after the end: %+v", s)
		}
	})
}

// TestDiskFullForAWhile fills the disk while the gateway runs: live readings go on, what waits is committed once there is room again.
func TestDiskFullForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		var free atomic.Int64
		free.Store(50 << 30)
		x.parts.Statfs = func(string) (int64, int64, error) { return free.Load(), 100 << 30, nil }
		g := x.start(oneDevice)
		time.Sleep(10 * time.Second)
		free.Store(0)
		time.Sleep(60 * time.Second)
		if c := g.conditions(); c != "disk_full" {
			t.Errorf("conditions are %s", c)
		}
		if n := len(f.counted(t, "a")); n < 600 {
			t.Errorf("%d Reads arrived while the disk is full, want them live", n)
		}
		free.Store(50 << 30)
		time.Sleep(5*time.Second + 50*time.Millisecond)
		if c := g.conditions(); c != "" {
			t.Errorf("conditions are %s after space came back", c)
		}
		g.end()
		wantAccount(t, g.Status(), 5*751)
		f.check(t, 0)
		f.wantCounts(t, "a", 751)
	})
}

// TestKeep drops what was delivered and is older than buffer.keep.
func TestKeep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPlay()
		x := newBed(t, b, p.driver("bulky", time.Minute))
		p.read = bulky
		g := x.start("devices: [{name: a, driver: bulky}]\nbuffer: {max_bytes: 64MB, keep: 20m}\n" + oneUplink)
		time.Sleep(80*time.Minute + 30*time.Second)
		s := g.Status()
		oldest := s.Time
		for _, seg := range g.Segments() {
			if seg.From.Before(oldest) {
				oldest = seg.From
			}
		}
		if age := s.Time.Sub(oldest); age < 20*time.Minute || age > 45*time.Minute {
			t.Errorf("the oldest reading kept is %v old, want 20 min and what one segment holds", age)
		}
		if c, err := g.Check(t.Context()); err != nil || len(c.Faults) > 0 || c.Records < 20 || c.Records > 46 {
			t.Errorf("check: %+v, %v", c, err)
		}
		if v := g.device("a").Values[0].Value; len(v) != 403 {
			t.Errorf("status shows %d bytes of a picture, want its beginning", len(v))
		}
		g.end()
		wantAccount(t, g.Status(), 81)
		f.check(t, 0)
		if _, err := g.Check(t.Context()); err == nil || err.Error() != "the store is not open" {
			t.Errorf("check after the end: %v", err)
		}
	})
}

// TestRunRefuses says what makes no sense to start with.
func TestRunRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := newBed(t, nil)
		if _, err := agent.New(x.load(oneDevice), agent.Parts{}); err == nil || err.Error() != "agent: no Host" {
			t.Errorf("New without a Host: %v", err)
		}
		g := x.start("devices: []\n")
		time.Sleep(time.Second)
		second := x.start("devices: []\n")
		err := <-second.done
		want := fmt.Sprintf("claim state directory %s (process %d has it): another gateway runs on this state directory", x.dir, os.Getpid())
		if !errors.Is(err, place.ErrRunning) || err.Error() != want {
			t.Errorf("second gateway: %v, want %s", err, want)
		}
		if _, err := agent.OpenOffline(x.load(oneDevice), "test", x.parts.Log); !errors.Is(err, place.ErrRunning) {
			t.Errorf("OpenOffline beside a gateway: %v", err)
		}
		second.stop()
		g.end()
	})
}

// bulky returns 100 KB that cannot be compressed.
func bulky(_ context.Context, n int) ([]tidegate.Reading, error) {
	b := make([]byte, 100_000)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	return []tidegate.Reading{{Channel: "picture", Value: tidegate.Bytes(b)}}, nil
}

// TestOffline reads the buffer of a gateway that was stopped without a link.
func TestOffline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		g := x.start(oneDevice)
		time.Sleep(10 * time.Second)
		b.leave()
		time.Sleep(10*time.Second + 50*time.Millisecond)
		g.end()
		sent := len(f.records())
		q := g.Status().Queue
		if half := (q.Bytes + q.KeptBytes) / 2; q.Records != uint64(201-sent) || q.Bytes < half*8/10 || q.Bytes > half*12/10 {
			t.Errorf("queue is %+v after %d of 201 records went", q, sent)
		}
		o, err := agent.OpenOffline(x.load(oneDevice), "test", x.parts.Log)
		if err != nil {
			t.Fatal(err)
		}
		s, want := o.Status(), g.Status()
		if s.Account != want.Account || s.Account.Buffered == 0 || s.NextRecord != want.NextRecord || s.Epoch != want.Epoch {
			t.Errorf("account is %+v, next %d, epoch %s; want %+v, %d, %s", s.Account, s.NextRecord, s.Epoch, want.Account, want.NextRecord, want.Epoch)
		}
		if s.Queue.Bytes != q.Bytes || s.Queue.KeptBytes != q.KeptBytes {
			t.Errorf("offline the queue is %+v, it was %+v", s.Queue, q)
		}
		if c, err := o.Check(t.Context()); err != nil || len(c.Faults) > 0 || c.Records != 201 {
			t.Errorf("check: %+v, %v", c, err)
		}
		n := uint64(sent)
		err = o.Buffered(func(r tidegate.Record) error {
			if n++; r.Number != n {
				t.Errorf("record %d is buffered, want %d", r.Number, n)
			}
			return nil
		})
		if err != nil || n != 201 {
			t.Errorf("buffered up to %d, %v; want 201", n, err)
		}
		enough := errors.New("enough")
		if err := o.Buffered(func(tidegate.Record) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("Buffered: %v, want what the function returned", err)
		}
		if len(o.Segments()) == 0 {
			t.Error("no segments")
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}
