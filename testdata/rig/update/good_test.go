package update

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// said prints a line of the table.
func said(t *testing.T, what, account string) {
	if !t.Failed() {
		fmt.Printf("| update | %s | %s |\n", what, account)
	}
}

// TestKilled has all of a gateway killed in the middle of a download, in the middle of putting the program into its slot, and on trial.
func TestKilled(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.settings.trial += time.Minute
	p.configure()
	name := p.repo.publish(t, 2, built.good[0])
	have := p.killedInDownload(name)
	p.killedInStage()
	asks := p.server.Of(name)
	if len(asks) < 2 || !strings.HasPrefix(asks[1].Stretch, "bytes=") || strings.HasPrefix(asks[1].Stretch, "bytes=0-") {
		t.Errorf("%d bytes were there at the kill, and the server was asked for %+v; want that the download goes on", have, asks)
	}
	starts := p.killedOnTrial()
	if o := p.outcome(2); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that release 2 is kept", o)
	}
	account := p.settle()
	if list := of(p.outcomes(), 2); len(list) != 1 {
		t.Errorf("the receiver was told %+v of release 2, want one outcome", list)
	}
	for _, s := range p.super.all() {
		if s.safe {
			t.Error("there was a start in safe mode")
		}
	}
	length := built.good[0].digest.Length
	got := have // what the first gave; the next give the rest
	for _, a := range p.server.Of(name)[1:] {
		got += length
		var from int64
		if _, err := fmt.Sscanf(a.Stretch, "bytes=%d-", &from); err == nil {
			got -= from
		}
	}
	said(t, fmt.Sprintf("kill -9 in the download (%d of %d bytes there, %d taken in all), in the stage, on trial: kept after %d starts", have, length, got, starts), account)
	if t.Failed() {
		t.Log(p.story())
	}
}

// killedInDownload starts the gateway and kills it when half of a release is there; it returns how many bytes are.
func (p *plant) killedInDownload(name string) (have int64) {
	p.Helper()
	hold := p.server.Stand(name, built.good[0].digest.Length/2)
	p.super.run()
	p.wait("the middle of the download", func() bool { return isClosed(hold.Reached) })
	part := filepath.Join(p.gateway.State, "ota", "download", built.good[0].digest.SHA256+".part")
	p.wait("bytes on disk", func() bool { return p.size(part) > 0 })
	p.super.kill()
	p.started("the start after the kill", 1, func(s start) bool { return s.release == 1 })
	return p.size(part)
}

// killedInStage kills it when the program lies beside its place, and not in it.
func (p *plant) killedInStage() {
	p.Helper()
	killed := false
	p.often("the stage", func() bool {
		found, err := filepath.Glob(filepath.Join(p.gateway.State, "ota", "slots", "?", ".tidegate.new"))
		if err != nil {
			p.Fatal(err)
		}
		if len(found) > 0 {
			p.super.kill()
			killed = true
		}
		return killed
	})
}

// killedOnTrial kills it when the new program has read; it returns which start of the trial comes after that.
func (p *plant) killedOnTrial() (starts int) {
	p.Helper()
	first, n := p.started("the trial", 2, func(s start) bool { return s.release == 2 })
	p.reads(first.began)
	p.super.kill()
	second, _ := p.started("another start of the trial", n, func(s start) bool { return s.release == 2 })
	if first.attempt != 1 || second.attempt != 2 {
		p.Errorf("the starts of the trial are %d and %d, want 1 and 2", first.attempt, second.attempt)
	}
	return second.attempt
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *plant) size(path string) int64 {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		p.Error(err)
		return 0
	}
	return st.Size()
}

// often is wait for what lasts a moment only.
func (p *plant) often(what string, there func() bool) {
	p.Helper()
	for begin := time.Now(); !there(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > p.x.patience() {
			p.Fatalf("%s: not after %v\n%s", what, p.x.patience(), p.story())
		}
	}
}

// TestByHand imports a release from a directory and applies it: of a gateway that runs, and of one that is stopped.
func TestByHand(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.settings = settings{trial: p.x.trial + time.Minute}
	p.configure()
	p.super.run()
	first, n := p.started("the package's program", 0, func(s start) bool { return s.release == 1 })
	p.reads(first.began)

	p.repo.publish(t, 2, built.good[0])
	out := p.must("update", "import", p.repo.dir)
	if want := "release 2, good-0, is staged"; !strings.Contains(out, want) {
		t.Errorf("update import said %q, want %q", out, want)
	}
	if got := len(p.super.all()); got != n {
		t.Errorf("there were %d starts after the import, want %d: it starts nothing", got, n)
	}
	// What is healthy has to be known first: how it was is what the release is judged by.
	p.wait("that the gateway delivers", func() bool {
		s, ok := p.gateway.Status()
		return ok && s.Link.State == "up" && s.Delivered.Records > 20
	})
	p.must("update", "apply")
	_, n = p.started("the trial", n, func(s start) bool { return s.release == 2 && s.attempt == 1 })
	if o := p.outcome(2); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that release 2 is kept", o)
	}

	p.repo.publish(t, 3, built.good[1])
	p.super.end()
	p.must("update", "import", p.repo.dir)
	p.must("update", "apply")
	if got := len(p.super.all()); got != n {
		t.Errorf("there were %d starts, want %d: nothing runs", got, n)
	}
	p.super.run()
	p.started("the trial after a stop", n, func(s start) bool { return s.release == 3 && s.attempt == 1 })
	if o := p.outcome(3); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that release 3 is kept", o)
	}
	p.taken("topic", 4, "by-hand", func() {
		p.started("the trial of release 4", 0, func(s start) bool { return s.release == 4 })
		p.must("update", "rollback")
	})
	p.taken("exit", 5, "crashed", func() {})
	status := p.must("update", "status")
	for _, want := range []string{"in use   release 3, good-1\n", "slot a   release 5, bad-exit: failed\n", "slot b   release 3, good-1: confirmed\n", "failed: crashed\n"} {
		if !strings.Contains(status, want) {
			t.Errorf("update status says\n%s\nwant %q", status, want)
		}
	}
	said(t, "by hand from a directory, running and stopped: kept; a bad one taken back by hand, and one that crashes: slot to slot", p.settle())
	if t.Failed() {
		t.Log(p.story())
	}
}

// taken applies a bad release by hand to a gateway that runs release 3 in slot b, and waits until that runs again.
func (p *plant) taken(kind string, counter int, reason string, meanwhile func()) {
	p.Helper()
	p.repo.publish(p.T, counter, built.bad[kind])
	p.must("update", "import", p.repo.dir)
	n := len(p.super.all())
	p.must("update", "apply")
	meanwhile()
	old, _ := p.started("release 3 again", n, func(s start) bool { return s.release == 3 })
	p.reads(old.began)
	if old.slot != "b" || old.attempt != 0 || old.safe {
		p.Errorf("behind release %d came %+v, want release 3 from slot b", counter, old)
	}
	if o := p.outcome(counter); o.Result != "failed" || o.Reason != reason {
		p.Errorf("the receiver was told %+v, want that release %d failed: %s", o, counter, reason)
	}
}

// TestNoNetwork updates a gateway whose broker is away before, meanwhile and behind: by devices and rules alone.
func TestNoNetwork(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.broker.Stop()
	p.settings.from, p.settings.trial = p.repo.dir, p.x.trial+time.Minute
	p.configure()
	p.repo.publish(t, 2, built.good[0])
	p.super.run()
	p.started("the trial", 1, func(s start) bool { return s.release == 2 })
	p.wait("that the release is kept", func() bool {
		s, ok := p.gateway.Status()
		return ok && s.Update.LastResult == "kept good-0"
	})
	if got := p.outcomes(); len(got) > 0 {
		t.Errorf("the receiver was told %+v with no broker between", got)
	}
	p.broker.Start()
	p.receiver.Restart()
	if o := p.outcome(2); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that release 2 is kept", o)
	}
	account := p.settle()
	if list := of(p.outcomes(), 2); len(list) != 1 {
		t.Errorf("the receiver was told %+v of release 2, want one outcome", list)
	}
	said(t, "no broker before and on trial: kept by devices and rules", account)
	if t.Failed() {
		t.Log(p.story())
	}
}
