package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestColdStart: a gateway that is started without network, name service and broker stores its first reading at most 2 s later, and
// delivers when the rest of the world is there. It runs in network and mount namespaces of its own, whose loopback is down and whose
// name servers are nobody.
func TestColdStart(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this rig makes network namespaces: run it as root")
	}
	pair, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pair.Close() }) // the meter has closed its end before
	meters := bed.NewSerialMeter(t, pair.Master, 2)
	dir := bed.Dir(t, false)
	broker := bed.NewBroker(t, dir)
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	write(t, hosts, "")
	write(t, resolv, "nameserver 127.0.0.1\n")
	url := "mqtt://" + strings.Replace(broker.Address, "127.0.0.1", "broker.invalid", 1)

	g := bed.NewGateway(t, programs, dir)
	g.Configure(meters.SerialDevice(100*time.Millisecond, pair.Path), bed.Toggle, url, "receipt", "")
	start := time.Now()
	g.Run(bed.Need(t, "unshare", "util-linux"), "--net", "--mount", "sh", "-c",
		fmt.Sprintf(`mount --bind %s /etc/hosts && mount --bind %s /etc/resolv.conf && exec "$@"`, hosts, resolv), "sh")
	bed.Wait(t, "the first reading on disk", 60*time.Second, func() bool {
		if g.Ended() {
			t.Fatalf("the gateway has ended:\n%s", g.Tail())
		}
		return g.Committed() > 0
	})
	stored := time.Since(start)
	if stored > 2*time.Second {
		t.Errorf("the first reading was on disk %v after the start, at most 2 s", stored)
	}
	time.Sleep(5 * time.Second)
	s, ok := g.Status()
	if !ok || s.Link.State != "down" || s.Delivered.Records != 0 || s.Queue.Records == 0 {
		t.Errorf("without network: link %+v, delivered %+v, queue %+v", s.Link, s.Delivered, s.Queue)
	}

	// The world comes back: loopback, then the broker, then its name.
	into := []string{bed.Need(t, "nsenter", "util-linux"), "-t", fmt.Sprint(g.Pid()), "-n"}
	up := bed.Start(t, "ip", filepath.Join(dir, "ip.log"), false, nil, append(into, bed.Need(t, "ip", "iproute2"), "link", "set", "lo", "up")...)
	if code := up.WaitExit(30 * time.Second); code != 0 {
		t.Fatalf("ip link: %s", up.Tail())
	}
	broker.Before = into
	broker.Launch()
	receiver := bed.NewReceiver(t, programs, dir, "mqtt://"+broker.Address, into...)
	write(t, hosts, "127.0.0.1 broker.invalid\n")
	bed.Wait(t, "delivery once the broker is there", 3*time.Minute, func() bool {
		s, ok := g.Status()
		return ok && s.Link.State == "up" && s.Delivered.Records > 20
	})
	delivered := time.Since(start)
	g.Terminate(60 * time.Second)
	meters.Stopped()
	a := settle(t, meters, receiver)
	if own := g.QueueStatus().Account; own.Buffered != 0 || own.Lost != 0 {
		t.Errorf("the gateway's own account: %+v", own)
	}
	a.Judge(t)
	fmt.Println(a.Line(fmt.Sprintf("| crash/cold | receipt | first reading on disk after %v, delivered after %v |", stored.Round(time.Millisecond), delivered.Round(time.Second))))
}

// settle stops the receiver and settles the account, single records included.
func settle(t *testing.T, m *bed.Meters, r *bed.Receiver) *bed.Account {
	t.Helper()
	far := r.Finish()
	tally := bed.NewTally(m)
	if err := bed.Stored(r.Out, tally.Add); err != nil {
		t.Fatal(err)
	}
	a := tally.Settle(far)
	for _, err := range tally.Said {
		t.Error(err)
	}
	return a
}

// write writes a file in place: a file that is mounted elsewhere stays the same file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
