// Package card holds what the gateway says of its card against what the block device counts: how many bytes it writes, and that a gateway without
// devices writes nothing and hardly wakes.
package card

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var (
	programs bed.Programs
	still    = flag.Duration("still", 45*time.Second, "how long a gateway without devices is watched, and the others")
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, &programs)) }

// settled is when all has come to the disk that was written at the start, the last of it after a minute, when the gateway notes that the store has not ended
// it: the kernel holds that back for half a minute, and ext4 for another one what it has in its journal.
const settled = 160 * time.Second

// most is how often an idle gateway may be woken a second.
const most = 250

// TestCard runs gateways of four kinds at once, each on a disk of its own.
func TestCard(t *testing.T) {
	var wg sync.WaitGroup
	for _, x := range []struct {
		name    string
		devices int
		every   time.Duration
		sync    string
		slack   float64 // how much the account may be off: where commits are as far apart as the journal's own, two may share one of those
	}{
		{"no device", 0, 0, "1s", 0},
		{"20 readings a second", 4, time.Second, "1s", 0.2},
		{"20 readings a second, commits 5 s apart", 4, time.Second, "5s", 0.35},
		{"5000 readings a second", 20, 20 * time.Millisecond, "1s", 0.2},
	} {
		g, disk := begin(t, x.devices, x.every, x.sync)
		wg.Go(func() {
			time.Sleep(settled)
			own, device, switches := g.own(t), disk.Written(), g.switches(t)
			time.Sleep(*still)
			own, device, switches = g.own(t)-own, disk.Written()-device, g.switches(t)-switches
			perSecond := float64(switches) / still.Seconds()
			t.Logf("%s, %v: %d bytes by its own account, %d to the device, %.0f context switches a second", x.name, *still, own, device, perSecond)
			if x.devices == 0 {
				if own != 0 || device != 0 || perSecond > most {
					t.Errorf("%s: got %d bytes, %d bytes, %.0f context switches a second, want 0, 0 and %d at most", x.name, own, device, perSecond, most)
				}
				return
			}
			if off := float64(own)/float64(device) - 1; off < -x.slack || off > x.slack || device == 0 {
				t.Errorf("%s: the account says %d bytes, the device %d: off by %.0f %%, at most %.0f %%", x.name, own, device, 100*off, 100*x.slack)
			}
		})
	}
	wg.Wait()
}

// A gateway is one with a disk for its state.
type gateway struct{ *bed.Gateway }

// begin starts a gateway with simulated devices of five channels on a disk whose journal is as ext4 has it.
func begin(t *testing.T, devices int, every time.Duration, sync string) (*gateway, *bed.Disk) {
	t.Helper()
	dir := bed.Dir(t, true) // the process's own account counts each line that it says in a file on disk
	disk := bed.NewDisk(t, dir, 512<<20)
	if out, err := exec.Command("mount", "-o", "remount,commit=5", disk.Mount).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	g := &gateway{bed.NewGateway(t, programs, dir)}
	g.State = filepath.Join(disk.Mount, "state")
	var list strings.Builder
	for i := range devices {
		fmt.Fprintf(&list, "  - {name: d%d, driver: sim, every: %v}\n", i, every)
	}
	text := fmt.Sprintf("gateway: {id: rig}\nstate_dir: %s\nbuffer: {sync: %s}\nuplink: {url: \"mqtt://127.0.0.1:1\"}\n", g.State, sync)
	if devices > 0 {
		text += "devices:\n" + list.String()
	}
	if err := os.WriteFile(g.Config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Run()
	t.Cleanup(func() { g.Terminate(60 * time.Second) })
	asked := func() bool { _, ok := g.Status(); return ok }
	bed.Wait(t, "the status", 60*time.Second, asked)
	time.Sleep(50 * time.Millisecond) // a socket notes on disk when it was first used, but not in the kernel's tick in which it was made
	bed.Wait(t, "the status", 60*time.Second, asked)
	return g, disk
}

// own returns what the gateway says that it has written.
func (g *gateway) own(t *testing.T) int64 {
	s, ok := g.Status()
	if !ok {
		t.Error("the gateway does not answer")
	}
	return s.Queue.WrittenPerDayBytes // it runs for less than a day
}

// switches returns how often the threads of the gateway have waited.
func (g *gateway) switches(t *testing.T) (n int64) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", g.Pid()))
	if err != nil || len(tasks) == 0 {
		t.Errorf("threads: %v, %v", tasks, err)
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // this thread has ended
		}
		_, rest, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		rest, _, _ = strings.Cut(rest, "\n")
		one, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		n += one
	}
	return n
}
