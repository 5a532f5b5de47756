package misuse

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// An adapter is a serial port with a unit behind it that can be pulled out and plugged in again. It comes back as another /dev/pts/N each
// time, as USB adapters do; what lasts is the link in a directory like /dev/serial/by-id.
type adapter struct {
	t    *testing.T
	link string
	unit *slave.Slave

	pair, next *pty.Pair // next waits with another number
	pull       func()
}

func newAdapter(t *testing.T, dir string) *adapter {
	t.Helper()
	a := &adapter{t: t, link: filepath.Join(dir, "by-id", "usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0")}
	a.unit = &slave.Slave{Units: []byte{1}, Values: func(_ slave.Request, out []uint16) slave.Exception { out[0] = 4711; return slave.NoException }}
	mkdir(t, filepath.Dir(a.link))
	a.next = openPair(t)
	return a
}

func openPair(t *testing.T) *pty.Pair {
	t.Helper()
	p, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // most are closed already
	return p
}

// plug plugs it in, as another port than before.
func (a *adapter) plug() {
	a.t.Helper()
	before := a.pair
	a.pair = a.next
	a.next = openPair(a.t)
	if before != nil && before.Path == a.pair.Path {
		a.t.Fatalf("it came back as %s, as before", a.pair.Path)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.unit.ServeRTU(ctx, a.pair.Master) }()
	a.pull = func() {
		cancel()
		if err := <-served; err != nil {
			a.t.Error(err)
		}
		_ = a.pair.Close() // its master is closed by the slave
	}
	if err := os.Symlink(a.pair.Path, a.link); err != nil {
		a.t.Fatal(err)
	}
}

// unplug pulls it out: first the name goes, then the device, as udev and the kernel do.
func (a *adapter) unplug() {
	a.t.Helper()
	if err := os.Remove(a.link); err != nil {
		a.t.Fatal(err)
	}
	a.pull()
}

func (a *adapter) answered() uint64 { return a.unit.Count(1).Requests }

// TestUnplug100Times (F-41): an adapter is pulled out and plugged in 100 times, and is another port each time. `tidegate run` reads again
// within 2 s though nobody touches it, keeps no descriptor, and takes less than 1 % of a processor while the adapter is out.
func TestUnplug100Times(t *testing.T) {
	const (
		rounds = 100
		most   = 2 * time.Second
	)
	g := bed.NewGateway(t, programs, bed.Dir(t, false))
	a := newAdapter(t, g.Dir)
	g.Configure("  - name: meter\n    driver: modbus\n    every: 100ms\n    address: rtu://"+a.link+"?baud=115200&parity=none\n    unit: 1\n    timeout: 500ms\n"+
		"    registers: [{channel: a, address: 0}]\n", "", nobody, "puback", "")
	a.plug()
	g.Run()
	reads := func(patience time.Duration) {
		t.Helper()
		before := a.answered()
		bed.Wait(t, "readings", patience, func() bool { return a.answered() > before+2 })
	}
	reads(60 * time.Second)
	before := kept(t, g.Pid())
	var slowest time.Duration
	back := func(out time.Duration) { // plugs it in after so long
		t.Helper()
		before := a.answered()
		a.plug()
		start := time.Now()
		bed.Wait(t, fmt.Sprintf("a reading after the adapter was out for %v", out), 20*time.Second, func() bool { return a.answered() > before })
		if d := time.Since(start); d > most {
			t.Errorf("out for %v, read again after %v, want %v at most", out, d, most)
		} else {
			slowest = max(slowest, d)
		}
	}
	for i := range rounds {
		a.unplug()
		pause := time.Duration(i%20) * 10 * time.Millisecond
		if i%20 == 19 { // long enough for the pause between tries to be at its longest
			pause = 2*time.Second + time.Duration(i*37%1000)*time.Millisecond
		}
		time.Sleep(pause)
		back(pause)
	}
	reads(20 * time.Second)
	if after := kept(t, g.Pid()); after != before {
		t.Errorf("descriptors %s, before %d rounds %s", after, rounds, before)
	}

	a.unplug()
	out := time.Now()
	time.Sleep(3 * time.Second)
	share := leastShare(t, g.Pid())
	if share >= 0.01 {
		t.Errorf("%.2f %% of a processor while the adapter is out, want less than 1 %%", 100*share)
	}
	s, ok := g.Status()
	if want := "plug the adapter in, or see ls /dev/serial/by-id"; !ok || !strings.Contains(condition(s, "device_fault:meter"), want) {
		t.Errorf("condition %q, want %q in it", condition(s, "device_fault:meter"), want)
	}
	back(time.Since(out).Round(time.Second))
	reads(20 * time.Second)
	g.Terminate(60 * time.Second)
	clean(t, g.Text())
	if n := strings.Count(g.Text(), "serial port opened"); n != rounds+2 {
		t.Errorf("the port was opened %d times, want %d", n, rounds+2)
	}
	if lost := g.QueueStatus().Account.Lost; lost != 0 {
		t.Errorf("%d readings lost", lost)
	}
	if t.Failed() {
		return
	}
	fmt.Printf("| misuse | adapter out and in again %d times, another port each time | read again after %v at most; descriptors %s; %.2f %% of a processor while out | passed |\n",
		rounds, slowest.Round(time.Millisecond), before, 100*share)
}

// kept says what a process has open beside files and sockets: terminals, pipes and the kernel's own.
func kept(t *testing.T, pid int) string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, e := range list {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		switch {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(to, "/dev/pts/"), strings.HasPrefix(to, "/dev/ptmx"):
			kinds["ports"]++
		case strings.HasPrefix(to, "pipe:"), strings.HasPrefix(to, "anon_inode:"):
			kinds["pipes and such"]++
		}
	}
	return fmt.Sprint(kinds)
}

// leastShare returns which part of a processor a process uses: the least of up to four times 5 s, as far as it takes to get below 1 %. All of
// a gateway is in it, and what else the machine does makes it dearer at times; what spins does so always.
func leastShare(t *testing.T, pid int) float64 {
	t.Helper()
	least := 1.0
	for i := 0; i < 4 && least >= 0.01; i++ {
		start, used := time.Now(), processor(t, pid)
		time.Sleep(5 * time.Second)
		least = min(least, (processor(t, pid)-used).Seconds()/time.Since(start).Seconds())
	}
	return least
}

// processor returns how much processor time a process has used: fields 14 and 15 of /proc/PID/stat (proc(5)), in hundredths of a second.
func processor(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // from field 3 on
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
