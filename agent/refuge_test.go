package agent_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
)

// TestNoDisk starts where the state directory cannot be made: readings are sent all the same, and from memory; once it can be made the gateway goes there,
// and nothing is lost, doubled or declared.
func TestNoDisk(t *testing.T) {
	for _, how := range []string{"sent at once", "link down", "killed"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				x := newBed(t, b)
				if err := os.WriteFile(x.dir, []byte("no directory"), 0o600); err != nil {
					t.Fatal(err)
				}
				if how != "sent at once" {
					b.leave()
				}
				g := x.start(oneDevice)
				time.Sleep(30*time.Second + 50*time.Millisecond)
				want := "no_disk"
				if how != "sent at once" {
					want = "no_disk uplink_down:uplink"
				}
				if c := g.conditions(); c != want {
					t.Errorf("conditions are %q, want %q", c, want)
				}
				reads := 2100
				if how == "killed" {
					saved := filepath.Join(filepath.Dir(x.dir), "saved")
					copyDir(t, saved, x.rings)
					g.end()
					copyDir(t, x.rings, saved)
					g = x.start(oneDevice)
				}
				if err := os.Remove(x.dir); err != nil {
					t.Fatal(err)
				}
				if how != "sent at once" {
					time.Sleep(time.Minute)
					reads += 600
					if _, err := os.Stat(x.rings + "/no-disk"); err != nil {
						t.Errorf("with a backlog it left the memory: %v", err)
					}
					b.come()
				}
				time.Sleep(3*time.Minute + 50*time.Millisecond)
				if c := g.conditions(); c != "" {
					t.Errorf("conditions are %q, want none", c)
				}
				if _, err := os.Stat(x.dir + "/buffer/MANIFEST"); err != nil {
					t.Errorf("it did not go to the disk: %v", err)
				}
				if _, err := os.Stat(x.rings + "/no-disk"); err == nil {
					t.Error("the memory is kept")
				}
				g.end()
				f.check(t, 0)
				if n := len(f.counted(t, "a")); n < reads-40 || n > reads+20 {
					t.Errorf("%d Reads were delivered, want about %d", n, reads)
				}
			})
		})
	}
}

// TestDiskFailsForGood has the disk refuse everything from some time on, for a while: live readings and alarms go on, under another epoch, and all that
// was read is delivered in the end.
func TestDiskFailsForGood(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(map[bool]string{false: "link up", true: "link down"}[down], func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				x := newBed(t, b)
				var broken atomic.Bool
				x.parts.Statfs = func(string) (int64, int64, error) {
					if broken.Load() {
						return 0, 0, unix.EIO
					}
					return 100 << 30, 200 << 30, nil
				}
				g := x.start(oneDevice)
				time.Sleep(10 * time.Second)
				if down {
					b.leave()
				}
				before, _ := g.numbers()
				broken.Store(true)
				time.Sleep(10 * time.Second)
				if c := g.Status().Conditions; len(c) == 0 || c[0].Code != "store_failed" {
					t.Errorf("conditions are %+v, want store_failed", c)
				}
				time.Sleep(30 * time.Second)
				if c := g.Status().Conditions; len(c) == 0 || c[0].Code != "no_disk" {
					t.Errorf("conditions are %+v, want no_disk", c)
				}
				if e, _ := g.numbers(); e == before {
					t.Error("the epoch is the same without a disk to lease numbers on")
				}
				if down {
					b.come()
					time.Sleep(time.Minute)
				}
				sent := len(f.records())
				time.Sleep(20 * time.Second)
				if n := len(f.records()) - sent; n < 150 {
					t.Errorf("%d records were sent in 20 s without a disk, want 200", n)
				}
				broken.Store(false)
				time.Sleep(2 * time.Minute)
				if e, _ := g.numbers(); e != before {
					t.Errorf("the epoch is %s after the return, want %s", e, before)
				}
				if c := g.conditions(); c != "" {
					t.Errorf("conditions are %q, want none", c)
				}
				g.end()
				if !down { // else what the disk held comes after what waited in a ring when it failed
					f.check(t, 0)
				}
				seen := map[string]bool{}
				for _, s := range f.records() {
					id := fmt.Sprintf("%s/%d", s.Epoch, s.Record.Number)
					if seen[id] {
						t.Errorf("record %s is stored twice", id)
					}
					seen[id] = true
				}
				for _, e := range f.receiver.Account().Gateways[0].Epochs {
					if len(e.Gaps)+len(e.Holes.Ranges) > 0 {
						t.Errorf("epoch %s has gaps %v and holes %v", e.Epoch, e.Gaps, e.Holes.Ranges)
					}
				}
			})
		})
	}
}

// TestStateDeleted deletes the state directory of a running gateway that has a backlog: within 10 s a new epoch begins, and what is gone is declared.
func TestStateDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		g := x.start(oneDevice)
		time.Sleep(10 * time.Second)
		b.leave()
		time.Sleep(10 * time.Second)
		before, _ := g.numbers()
		if err := os.RemoveAll(x.dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if e, _ := g.numbers(); e == before {
			t.Error("10 s after its state directory was deleted it goes on as before")
		}
		b.come()
		time.Sleep(2 * time.Minute)
		g.end()
		e := f.receiver.Account().Gateways[0].Epochs
		if len(e) != 2 {
			t.Fatalf("%d epochs, want 2", len(e))
		}
		gaps := 0
		for i := range e {
			for _, x := range e[i].Gaps {
				gaps++
				if e[i].Epoch != before || x.Cause != tidegate.CauseDamaged || x.To-x.From > 200 {
					t.Errorf("gap %+v in epoch %s", x, e[i].Epoch)
				}
			}
			if len(e[i].Holes.Ranges) > 0 {
				t.Errorf("epoch %s has holes %v", e[i].Epoch, e[i].Holes)
			}
		}
		if gaps != 1 {
			t.Errorf("%d gaps, want 1", gaps)
		}
	})
}

// TestRulesMove has an alarm stand while the gateway goes into memory and back: it is raised once.
func TestRulesMove(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		var broken atomic.Bool
		x.parts.Statfs = func(string) (int64, int64, error) {
			if broken.Load() {
				return 0, 0, unix.EROFS
			}
			return 100 << 30, 200 << 30, nil
		}
		g := x.start(oneDevice + "rules:\n  - {name: counts, when: a.n >= 0, do: [{alarm: {severity: warning, text: it counts}}]}\n")
		time.Sleep(10 * time.Second)
		broken.Store(true)
		time.Sleep(time.Minute)
		if c := g.Status().Conditions; len(c) == 0 || c[0].Code != "no_disk" {
			t.Errorf("conditions are %+v, want no_disk", c)
		}
		broken.Store(false)
		time.Sleep(2 * time.Minute)
		if c := g.conditions(); c != "" {
			t.Errorf("conditions are %q, want none", c)
		}
		g.end()
		alarms := 0
		for _, s := range f.records() {
			if s.Lane == "alarm" {
				alarms++
			}
		}
		if alarms != 1 {
			t.Errorf("%d alarms arrived, want 1", alarms)
		}
	})
}

// TestScrub damages a record that nobody reads, as the link is down: it is found and declared within a day.
func TestScrub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		b.leave()
		g := x.start(oneDevice)
		time.Sleep(20*time.Second + 50*time.Millisecond)
		g.end()
		damage(t, filepath.Join(x.dir, "buffer", "*.sst"), func(b []byte) []byte {
			at := bytes.Index(b, []byte("f\x01\x00\x00\x00\x01")) // key of a frame of class reading
			if at < 0 {
				t.Fatal("the table holds no frame")
			}
			b[at+45] ^= 1 // of its header
			return b
		})
		g = x.start("devices: []\n" + oneUplink)
		time.Sleep(time.Minute)
		if s := g.Status().Queue; s.Gaps != 0 || s.Scrub.LastEnd != nil {
			t.Errorf("after a minute the queue is %+v", s)
		}
		time.Sleep(50 * time.Hour)
		s := g.Status().Queue
		if s.Gaps != 1 || s.Scrub.LastEnd == nil || s.Scrub.LastDamaged == 0 || s.Scrub.Of == 0 {
			t.Errorf("after two days the queue is %+v", s)
		}
		b.come()
		time.Sleep(5 * time.Minute)
		g.end()
		f.check(t, 1)
	})
}
