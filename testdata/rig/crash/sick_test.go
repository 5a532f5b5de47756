package crash

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestSyncFails has every few syncs fail, as a disk does whose sectors are reallocated, and cuts the power: what was acknowledged is there.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	measure(t, faultSyncOnce, 2, func(t *testing.T, draw *rand.Rand, n int) *outcome {
		p := newPower(t, draw)
		p.before = injecting(t, "msync", "error=EIO:when=9+7") // each thread's own count
		p.cutOff(n)
		p.before = nil
		return p.judge()
	})
}

// TestSyncFailsForEver: no sync goes well any more. The gateway says so within 30 s, does not spin, and goes on delivering what is new.
func TestSyncFailsForEver(t *testing.T) {
	t.Parallel()
	measure(t, faultSyncNever, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, false, injecting(t, "msync,fsync,fdatasync", "error=EIO:when=12+"))
		s.says("no sync goes well", 60*time.Second, true) // 12 syncs of each thread, and 30 s
		begin, spent := time.Now(), s.spent()
		s.goesOn(*faultFor)
		share := (s.spent() - spent).Seconds() / time.Since(begin).Seconds()
		t.Logf("%.1f %% of a processor", 100*share)
		if share > 0.25 { // 200 Reads a second, each sent at once, are part of it
			t.Errorf("it takes %.0f %% of a processor", 100*share)
		}
		return s.settle(true)
	}))
}

// TestSyncTakesLong: each sync takes 2 s. What is read meanwhile waits in bounded memory.
func TestSyncTakesLong(t *testing.T) {
	t.Parallel()
	measure(t, faultSyncSlow, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, true, injecting(t, "msync,fsync,fdatasync", "delay_enter=2000000"))
		s.goesOn(*faultFor)
		const most = 48 << 20
		if n := s.anonymous(); n > most {
			t.Errorf("RssAnon is %d bytes, at most %d", n, most)
		} else {
			t.Logf("RssAnon is %d bytes", n)
		}
		return s.settle(true)
	}))
}

// TestDiskTurnsReadOnly: the file system stops taking writes, as ext4 does when its journal fails. The same process says so and goes on delivering; on a
// disk that was mounted again it delivers all that it had.
func TestDiskTurnsReadOnly(t *testing.T) {
	t.Parallel()
	measure(t, faultReadOnly, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, false, nil)
		pid := s.gateway.Pid()
		s.disk.Abort()
		s.says("the disk is read-only", 30*time.Second, true)
		s.goesOn(*faultFor)
		if s.gateway.Pid() != pid {
			t.Errorf("the gateway was process %d, now %d", pid, s.gateway.Pid())
		}
		s.end()
		s.disk.Again()
		return s.settle(true)
	}))
}

// TestStateDeleted: the state directory goes while the gateway runs. Within 10 s it has one again, in this process or the next one; nothing that was
// delivered or read since is lost unsaid.
func TestStateDeleted(t *testing.T) {
	t.Parallel()
	measure(t, faultDeleted, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, false, nil)
		bed.Wait(t, "delivery", 60*time.Second, func() bool { x, ok := s.gateway.Status(); return ok && x.Delivered.Records > 50 })
		if err := os.RemoveAll(s.gateway.State); err != nil {
			t.Fatal(err)
		}
		starts := 0
		bed.Wait(t, "a state directory with a store, and a reading behind it", 10*time.Second, func() bool {
			if s.gateway.Ended() {
				if starts++; starts > 1 {
					t.Fatalf("it ended a second time:\n%s", s.gateway.Tail())
				}
				s.stopped()
				s.gateway.Run()
			}
			made, err := os.Stat(filepath.Join(s.gateway.State, "buffer", "MANIFEST"))
			return err == nil && !s.meters.After(1, made.ModTime()).IsZero()
		})
		time.Sleep(2 * time.Second)
		return s.settle(true)
	}))
}
