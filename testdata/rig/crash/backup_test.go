package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestRestoredBackup: a copy of the state directory is put back in place of what the gateway has written since. Numbers that the gateway has
// given since must not name other records: the far end would take those for duplicates and drop them.
func TestRestoredBackup(t *testing.T) {
	measure(t, faultBackup, len(backups), one(func(t *testing.T) *outcome {
		var mu sync.Mutex
		sum := &outcome{}
		t.Run("all", func(t *testing.T) { // together
			for i := range backups {
				t.Run(backups[i].confirm+", "+backups[i].name, func(t *testing.T) {
					t.Parallel()
					o := backups[i].judge(t)
					mu.Lock()
					defer mu.Unlock()
					sum.add(o)
				})
			}
		})
		return sum
	}))
}

// A backup is a way for a copy to be taken and put back.
type backup struct {
	name    string
	confirm string
	running bool // the copy is taken of a gateway that runs, and what follows ends by kill -9
	reboot  bool // the rings are gone when the gateway starts on the copy
	alone   bool // the far end is out of reach until the gateway has given again all the numbers that the copy lacks
	epochs  int  // that the far end knows at last: a new one, unless numbers go on at the end of a lease
}

var backups = []backup{
	{"copy of a stopped gateway, same boot", "receipt", false, false, false, 2},
	{"copy of a stopped gateway, reboot", "receipt", false, true, false, 2},
	{"copy of a stopped gateway, reboot", "puback", false, true, false, 2},
	{"copy of a stopped gateway, reboot, far end out of reach", "receipt", false, true, true, 2},
	{"copy of a running gateway, same boot", "receipt", true, false, false, 2},
	{"copy of a running gateway, reboot", "receipt", true, true, false, 1},
}

func (c *backup) judge(t *testing.T) *outcome {
	b := newRestored(t, c.confirm)
	if c.running {
		b.live(100, func() {
			b.gateway.Signal(syscall.SIGSTOP)
			b.back()
			b.gateway.Signal(syscall.SIGCONT)
		})
		b.live(20, b.kill)
	} else {
		b.live(100, b.stop)
		b.back()
		b.live(20, b.stop)
	}
	before := b.meters.Given()
	b.restore(c.reboot)
	if c.alone {
		b.out("mqtt://127.0.0.1:1")
	}
	b.live(100, b.stop)
	b.live(100, b.stop)
	b.gateway.Drain(b.meters, bed.Toggle, b.broker.URL(), c.confirm, "")

	far := b.receiver.Finish()
	tally := bed.NewTally(b.meters)
	if err := bed.Stored(b.receiver.Out, tally.Add); err != nil {
		t.Fatal(err)
	}
	a := tally.Settle(far)
	for _, err := range tally.Said {
		t.Error(err)
	}
	a.Judge(t)
	if n := epochs(far); n != c.epochs {
		t.Errorf("the far end knows %d epochs, want %d", n, c.epochs)
	}
	if own := b.gateway.QueueStatus().Account; own.Lost != 0 || own.Buffered != 0 {
		t.Errorf("the gateway's own account: %+v", own)
	}
	fmt.Println(a.Line(fmt.Sprintf("| crash/backup | %s | %s, replies before %v, epochs %d |", c.confirm, c.name, before, epochs(far))))
	return &outcome{cases: 1, lost: a.Lost, wrong: a.Altered + a.Extra, twice: a.Doubled, unreported: holes(far)}
}

// restored is a gateway of whose state there is a copy.
type restored struct {
	t        *testing.T
	confirm  string
	copied   string
	meters   *bed.Meters
	broker   *bed.Broker
	receiver *bed.Receiver
	gateway  *bed.Gateway
}

func newRestored(t *testing.T, confirm string) *restored {
	dir := bed.Dir(t, false)
	b := &restored{t: t, confirm: confirm, copied: filepath.Join(dir, "copy"), meters: bed.NewMeters(t, 2, 4), broker: bed.NewBroker(t, dir)}
	b.broker.Start()
	b.receiver = bed.NewReceiver(t, programs, dir, b.broker.URL())
	b.gateway = bed.NewGateway(t, programs, dir)
	b.configure(b.meters.Devices(20*time.Millisecond), b.broker.URL())
	return b
}

func (b *restored) configure(devices, url string) {
	b.gateway.Configure(devices, bed.Toggle, url, b.confirm, "")
}

// live starts the gateway where it does not run, waits until meter 1 has given so many replies more and nearly nothing is buffered, and
// does end.
func (b *restored) live(replies uint32, end func()) {
	b.t.Helper()
	if b.gateway.Process == nil || b.gateway.Ended() {
		b.gateway.Run()
	}
	from := b.meters.Given()[0]
	bed.Wait(b.t, "delivery", 60*time.Second, func() bool {
		s, ok := b.gateway.Status()
		return ok && s.Link.State == "up" && b.meters.Given()[0] >= from+replies && s.Queue.Records < 20
	})
	end()
}

// out lets the gateway read for a while with its far end at a wrong address, and corrects that.
func (b *restored) out(url string) {
	b.t.Helper()
	b.configure(b.meters.Devices(20*time.Millisecond), url)
	b.gateway.Run()
	from := b.meters.Given()[0]
	bed.Wait(b.t, "readings", 60*time.Second, func() bool { return b.meters.Given()[0] >= from+100 })
	b.configure(b.meters.Devices(20*time.Millisecond), b.broker.URL())
	b.gateway.Signal(syscall.SIGHUP)
}

// What waits when a life ends is lost with the disk, whatever the gateway does: so nothing may.

func (b *restored) stop() {
	b.t.Helper()
	b.gateway.Terminate(60 * time.Second)
	b.meters.Stopped()
	if n := b.gateway.QueueStatus().Account.Buffered; n > 0 {
		b.t.Errorf("%d readings are buffered after a stop with a good broker and receiver", n)
	}
}

func (b *restored) kill() {
	b.t.Helper()
	b.configure(b.meters.Gone(), b.broker.URL())
	b.gateway.Signal(syscall.SIGHUP)
	bed.Wait(b.t, "delivery of all", 60*time.Second, func() bool {
		s, ok := b.gateway.Status()
		return ok && s.Queue.Records == 0 && s.Devices[0].State == "fault" && s.Devices[1].State == "fault"
	})
	b.gateway.Kill()
	b.meters.Stopped()
	b.configure(b.meters.Devices(20*time.Millisecond), b.broker.URL())
}

// back takes a copy of the state directory.
func (b *restored) back() { b.t.Helper(); copyTree(b.t, b.gateway.State, b.copied) }

// restore puts the copy in the state directory's place; a reboot takes the rings.
func (b *restored) restore(reboot bool) {
	b.t.Helper()
	if err := os.RemoveAll(b.gateway.State); err != nil {
		b.t.Fatal(err)
	}
	copyTree(b.t, b.copied, b.gateway.State)
	if reboot {
		b.gateway.FreshRings()
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command(bed.Need(t, "cp", "coreutils"), "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// epochs returns how many epochs the far end knows.
func epochs(far *receive.Account) (n int) {
	for _, g := range far.Gateways {
		n += len(g.Epochs)
	}
	return n
}
