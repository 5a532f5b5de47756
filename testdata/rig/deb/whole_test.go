package deb

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

// A whole is a machine with the package, and all that is around it on this one: meters on the bus, a broker, a receiver, the owner of the releases
// and the server that hands them out.
type whole struct {
	*guest
	meters   *bed.Meters
	broker   *bed.Broker
	receiver *bed.Receiver
	owner    *owner
	server   *bed.Server
	built    releases
	cuts     []powerCut
	rows     []table.Row // what was shown, and the result
}

// A powerCut is one as the meters saw it.
type powerCut struct {
	last               uint32 // running number of the last reply before it
	unflushed, kept    int    // sectors of the disk
	missing, gapAtMost int64  // readings: lost by it, and what was declared
}

// Times of the gateway. An emulated machine takes its time; a trial is as long as the board has to have for a good release.
const (
	wholeSettle = 40 * time.Second
	wholeEvery  = time.Second // interval of the devices
)

// TestWhole updates a gateway that was installed from the package, on a machine that systemd runs, with nothing but what the package brings: over
// HTTPS, with the power cut in the download and in trials; and then the package above it.
func TestWhole(t *testing.T) {
	if *bases == "" {
		t.Log("without -bases nothing is booted: make deb-test")
		return
	}
	t.Parallel()
	begin := time.Now()
	w := newWhole(t, boards["amd64"], []string{"v20", "v60"}, []string{"driver", "watchdog", "exit"})
	w.install()
	w.download()
	w.keep()
	w.bad(30, "driver", "device-lost", true)
	w.bad(40, "watchdog", "expired-trial", false)
	w.bad(50, "exit", "crashed", false)
	w.next()
	w.upgrade()
	w.settle()
	w.remove()
	w.report("package", "make deb-test", time.Since(begin))
}

// report prints what was shown, and keeps it for RELIABILITY.md where all went well.
func (w *whole) report(name, command string, took time.Duration) {
	w.Helper()
	part := table.Part{Name: name, Of: 1, Command: command, Took: int(took.Seconds()), Columns: []string{"what", "result"}, Rows: w.rows}
	for _, r := range append([]table.Row{part.Columns, {"---", "---"}}, part.Rows...) {
		fmt.Printf("| %s |\n", strings.Join(r, " | "))
	}
	if w.Failed() {
		return
	}
	var err error
	if part.Commit, err = table.Commit(bed.Root()); err != nil {
		w.Fatal(err)
	}
	part.At = time.Now()
	if err := part.Write(bed.Results()); err != nil {
		w.Error(err)
	}
}

// shown notes a result.
func (w *whole) shown(what, format string, args ...any) {
	w.rows = append(w.rows, table.Row{what, fmt.Sprintf(format, args...)})
	w.Logf("%s: %s", what, w.rows[len(w.rows)-1][1])
}

// newWhole makes all of it for a board: not switched on, with releases to publish, of which 20 is.
func newWhole(t *testing.T, b board, good, bad []string) *whole {
	t.Helper()
	dir, base := bed.Dir(t, false), filepath.Join(*bases, b.arch)
	finish(t, base, b.arch)
	programs, err := bed.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(dir, "tidegate-release")
	if err := bed.Compile("./cmd/tidegate-release", tool); err != nil {
		t.Fatal(err)
	}
	w := &whole{meters: bed.NewMeters(t, 1, 2), built: newReleases(t, b.arch, dir, good, bad)}
	w.meters.Follow()
	w.owner = newOwner(t, filepath.Join(dir, "owner"), tool)
	w.server = bed.NewServer(t, w.owner.public(), dir, net.ParseIP(guestSees))
	w.broker = bed.NewBroker(t, dir)
	w.broker.Start()
	w.receiver = bed.NewReceiver(t, programs, dir, w.broker.URL())
	files := w.owner.publish(20, "v20", b.arch, w.built["v20"])
	if len(files) != 1 {
		t.Fatalf("release 20 has the files %q, want one", files)
	}

	s := newSystem(t, base, b.arch)
	s.repository([]build{{version: "0~10-1", counter: 10}, {version: "0~70-1", counter: 55}, {version: "0~90-1", counter: 100}})
	for to, from := range map[string]string{"/root/root.json": w.owner.root(), "/root/ca.pem": w.server.CA} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		s.put(to, string(text), 0o644)
	}
	s.put("/root/tidegate.yaml", w.config(w.meters.Devices(wholeEvery), b.trial), 0o644)
	s.put("/root/delivering.yaml", w.config(w.meters.Gone(), b.trial), 0o644)
	image := filepath.Join(dir, "disk.img")
	s.bootable(b, image)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed of the power cuts: %d", seed)
	w.guest = newGuest(t, b, base, image, seed)
	return w
}

// repository makes a place for apt of packages, which it sees one after the other: /srv/repo/Packages.1 lists the first, Packages.2 the second as well.
func (s *system) repository(list []build) {
	s.t.Helper()
	dir := filepath.Join(s.layer, "srv", "repo")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	index := ""
	for i, b := range list {
		path := filepath.Join(s.layer, s.made(b))
		body, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		name := filepath.Base(path)
		index += fmt.Sprintf("%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", host(s.t, "dpkg-deb", "-f", path), name, len(body), sha256.Sum256(body))
		if err := os.Rename(path, filepath.Join(dir, name)); err != nil {
			s.t.Fatal(err)
		}
		s.put(fmt.Sprintf("/srv/repo/Packages.%d", i+1), index, 0o644)
	}
	s.put("/etc/apt/sources.list.d/rig.list", "deb [trusted=yes] file:/srv/repo ./\n", 0o644)
}

// config is the gateway's configuration, as the guest sees this machine.
func (w *whole) config(devices string, trial time.Duration) string {
	text := fmt.Sprintf("gateway: {id: rig}\ndevices:\n%s  - {name: sim, driver: sim, every: 1s}\n%sbuffer: {max_bytes: 128MB, sync: 1s}\n"+
		"uplink: {url: %q, confirm: receipt, batch: {readings: 500, every: 500ms}}\n"+
		"update:\n  root: /etc/tidegate/update-root.json\n  ca: /etc/tidegate/update-ca.pem\n  from: [%q]\n  every: 10s\n  automatic: true\n  trial: %v\n  settle: %v\n",
		devices, bed.Toggle, w.broker.URL(), w.server.URL, trial, wholeSettle)
	return strings.ReplaceAll(text, "127.0.0.1:", guestSees+":")
}

// started is what the launcher said of its last start in this boot.
const started = `journalctl -b -u tidegate -o cat --no-pager | grep 'tidegate-launch: starting' | tail -n 1`

// starts returns how often the launcher has started something in this boot.
func (w *whole) starts() string {
	w.Helper()
	return strings.TrimSpace(w.run("journalctl -b -u tidegate -o cat --no-pager | grep -c 'tidegate-launch: starting'"))
}

// apt has apt see the first n packages, and runs it.
func (w *whole) apt(n int, command string) string {
	w.Helper()
	return w.run(fmt.Sprintf("cp /srv/repo/Packages.%d /srv/repo/Packages && apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y %s", n, command))
}

// reads waits for a reply of the meter to a request from now on.
func (w *whole) reads() {
	w.Helper()
	before := w.meters.Given()[0]
	bed.Wait(w.T, "a Read of the meter", slow, func() bool { return w.meters.Given()[0] > before+1 })
}

// install does what README.md says.
func (w *whole) install() {
	w.on()
	if out := w.apt(1, "install tidegate"); !strings.Contains(out, "now tell "+conf+" what to read") {
		w.Errorf("installing said %s", out)
	}
	if out := w.run("systemctl is-enabled tidegate tidegate-expire.timer; systemctl is-active tidegate-expire.timer; systemctl is-active tidegate || true"); out != "enabled\nenabled\nactive\ninactive\n" {
		w.Errorf("units are %q, want them enabled, the timer active, the service not started", out)
	}
	w.run("cat /root/tidegate.yaml >" + conf + " && install -m 644 /root/root.json /etc/tidegate/update-root.json && install -m 644 /root/ca.pem /etc/tidegate/update-ca.pem && tidegate check")
	w.run("tidegate devices --write && systemctl daemon-reload && systemctl start tidegate && sync")
	if got := w.run(started); !strings.Contains(got, "/usr/lib/tidegate/tidegate, slot 0, release 10") {
		w.Errorf("the launcher said %q", got)
	}
	w.reads()
	w.shown("installed by apt in a machine that runs systemd", "slot 0 reads")
}

// power cuts it, and switches the machine on again.
func (w *whole) power() {
	w.Helper()
	// A cut that takes nothing shows little: it comes while something is on its way to the disk.
	bed.Wait(w.T, "something that is not flushed", slow, func() bool { return w.disk.Unflushed() > 0 })
	c := powerCut{}
	c.unflushed, c.kept = w.cut()
	w.meters.Stopped()
	c.last = w.meters.Given()[0]
	w.cuts = append(w.cuts, c)
	w.on()
}

// download has the gateway find a release by itself, and cuts the power in the middle of its download.
func (w *whole) download() {
	whole, err := filepath.Glob(filepath.Join(w.owner.public(), "*.tidegate-20-*.zst"))
	if err != nil || len(whole) != 1 {
		w.Fatalf("release 20: %q, %v", whole, err)
	}
	name := filepath.Base(whole[0])
	st, err := os.Stat(whole[0])
	if err != nil {
		w.Fatal(err)
	}
	// It may have been quicker than the person who configures it: then it is asked for from its beginning once more, as the hold wants it.
	hold := w.server.Stand(name, st.Size()*2/3)
	select {
	case <-hold.Reached:
	case <-time.After(slow):
		w.Fatalf("release 20 is not downloaded\n%s", w.story())
	}
	w.until("part of the release", "stat -c %s /var/lib/tidegate/ota/download/*.part || true", "\n")
	time.Sleep(10 * time.Second) // for the sync of what has come
	have := strings.TrimSpace(w.run("stat -c %s /var/lib/tidegate/ota/download/*.part"))
	w.power()
	w.until("release 20 on trial", started, "slot a, release 20 (v20), on trial, start ")
	asks := w.server.Of(name)
	from := ""
	for _, a := range asks[1:] {
		if a.Stretch != "" && from == "" {
			from = a.Stretch
		}
	}
	var at int64
	if _, err := fmt.Sscanf(from, "bytes=%d-", &at); err != nil || at == 0 {
		w.Errorf("the server was asked %+v, want that the download goes on", asks)
	}
	w.shown("power cut in the download", "%s of %d bytes were there, it went on at %d", have, st.Size(), at)
}

// keep cuts the power in the trial, and sees the release kept behind it.
func (w *whole) keep() {
	w.until("the service on trial", "systemctl is-active tidegate", "active")
	w.reads()
	w.power()
	if got := w.until("release 20 on trial again", started, "release 20 (v20)"); !strings.Contains(got, "on trial, start 2 of 3") {
		w.Errorf("behind the cut the launcher said %q", got)
	}
	if o := w.outcome(20); o.Result != "kept" {
		w.Fatalf("the receiver was told %+v, want that release 20 is kept\n%s", o, w.story())
	}
	w.reads()
	w.shown("power cut in the trial", "start 2 of 3 behind it, kept")
}

// outcome waits until the receiver is told what became of a release.
func (w *whole) outcome(counter int) (o bed.Outcome) {
	w.Helper()
	for begin := time.Now(); ; time.Sleep(time.Second) {
		list, err := bed.Outcomes(w.receiver.Out)
		if err != nil {
			w.Fatal(err)
		}
		if i := slices.IndexFunc(list, func(o bed.Outcome) bool { return o.Counter == counter && o.Result != "refused" }); i >= 0 {
			return list[i]
		}
		if time.Since(begin) > slow+w.trial {
			w.Fatalf("the receiver was not told of release %d, but %+v\n%s", counter, list, w.story())
		}
	}
}

// bad releases a program that is no good: the one before runs again, with no help from it.
func (w *whole) bad(counter int, kind, reason string, isCut bool) {
	w.owner.publish(uint64(counter), "bad-"+kind, w.arch, w.built[kind])
	w.until("the bad release "+kind, "journalctl -b -u tidegate -o cat --no-pager", fmt.Sprintf("slot b, release %d (bad-%s), on trial, start 1 of 3", counter, kind))
	begin := time.Now()
	behind := ""
	if isCut {
		w.reads()
		w.power()
		behind = ", behind a power cut"
	}
	o := w.outcome(counter)
	if o.Result != "failed" || o.Reason != reason {
		w.Errorf("the receiver was told %+v, want that release %d failed: %s\n%s", o, counter, reason, w.story())
	}
	w.until("the release before", started, "slot a, release 20 (v20)")
	w.until("the service", "systemctl is-active tidegate", "active")
	w.reads()
	w.shown(fmt.Sprintf("bad release: %s", kind), "%s%s; the one before reads again %v after its start", reason, behind, time.Since(begin).Round(time.Second))
	if reason == "expired-trial" {
		want := fmt.Sprintf("the trial of release %d in slot b has ended: expired-trial; process ", counter)
		if got := w.run("journalctl -b -u tidegate-expire -o cat --no-pager"); !strings.Contains(got, want) {
			w.Errorf("the timer's service said %q, want %q", got, want)
		}
	}
}

// next keeps a good release behind the bad ones.
func (w *whole) next() {
	w.owner.publish(60, "v60", w.arch, w.built["v60"])
	w.until("release 60 on trial", started, "slot b, release 60 (v60), on trial, start 1 of 3")
	if o := w.outcome(60); o.Result != "kept" {
		w.Fatalf("the receiver was told %+v, want that release 60 is kept\n%s", o, w.story())
	}
	list, err := bed.Outcomes(w.receiver.Out)
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, o := range list {
		got = append(got, fmt.Sprintf("%d %s %s", o.Counter, o.Result, o.Reason))
	}
	want := []string{"20 kept ", "30 failed device-lost", "40 failed expired-trial", "50 failed crashed", "60 kept "}
	for _, x := range want {
		if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != x })); n != 1 {
			w.Errorf("the receiver was told %q %d times, want once: %q", x, n, got)
		}
	}
	w.healthy()
	w.shown("a good release behind them", "kept; each outcome was told once")
}

// healthy fails the test where systemd knows of a failed unit.
func (w *whole) healthy() {
	w.Helper()
	if got := w.run("systemctl --failed --no-legend --plain; systemctl is-system-running || true"); got != "running\n" {
		w.Errorf("systemd says %q", got)
	}
}

// upgrade brings packages while a release of an update runs.
func (w *whole) upgrade() {
	for _, step := range []struct {
		what, command, want string
		packages            int
	}{
		{"apt upgrade to a package older than the update", "upgrade", "slot b, release 60 (v60)", 2},
		{"apt upgrade to a newer one", "upgrade", "slot 0, release 100", 3},
		{"downgraded", "--allow-downgrades install tidegate=0~70-1", "slot b, release 60 (v60)", 3},
	} {
		before := w.starts()
		w.apt(step.packages, step.command)
		got := w.run(started)
		if !strings.Contains(got, step.want) || strings.Contains(got, "trial") || strings.Contains(got, "safe mode") || w.starts() == before {
			w.Errorf("%s: the launcher said %q, want %q", step.what, got, step.want)
		}
		w.reads()
		w.healthy()
		w.shown(step.what, "%s runs", step.want)
	}
}

// settle has all that is buffered delivered, and judges the account.
func (w *whole) settle() {
	w.run("cat /root/delivering.yaml >" + conf + " && systemctl restart tidegate")
	w.meters.Stopped()
	w.until("delivery of all that is buffered", `tidegate status --json | tr -d ' \n'`, `"queue":{"records":0`)
	w.run("systemctl stop tidegate")
	far := w.receiver.Finish()
	y := bed.NewTally(w.meters)
	if err := bed.Stored(w.receiver.Out, y.Add); err != nil {
		w.Fatal(err)
	}
	w.weigh(y, far)
	a := y.Settle(far)
	// Readings that a power cut cost are declared by at most so many; how many it were only the meter knows.
	a.DroppedDeclared, a.Lost = 0, int64(len(y.Missing()[0])*w.meters.Channels())
	for _, c := range w.cuts {
		a.DroppedDeclared += c.missing
		a.Lost -= c.missing
	}
	for _, err := range y.Said {
		w.Error(err)
	}
	a.Judge(w)
	if a.Rejected != 0 {
		w.Errorf("rejected %d, want 0", a.Rejected)
	}
	y.Alternate(w)
	w.shown("account", "answered %d, delivered %d, in flight %d, cost by %d power cuts and declared %d, rejected %d, lost %d, doubled %d",
		a.Answered, a.Delivered, a.InFlight, len(w.cuts), a.DroppedDeclared, a.Rejected, a.Lost, a.Doubled)
}

// weigh finds what each power cut cost: the last that was answered before it, and no more than its gap says.
func (w *whole) weigh(y *bed.Tally, far *receive.Account) {
	var gaps []receive.Gap
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			for _, gap := range e.Gaps {
				if gap.Cause != "power_cut" {
					w.Errorf("a gap of cause %s is declared: %+v", gap.Cause, gap)
					continue
				}
				gaps = append(gaps, gap)
			}
			if len(e.Holes.Ranges) > 0 {
				w.Errorf("numbers %v are neither stored nor declared", e.Holes)
			}
		}
	}
	slices.SortFunc(gaps, func(a, b receive.Gap) int { return int(int64(a.From) - int64(b.From)) })
	if len(gaps) != len(w.cuts) {
		w.Errorf("%d gaps of power cuts are declared, want %d: %+v", len(gaps), len(w.cuts), gaps)
		return
	}
	missing, low := y.Missing()[0], uint32(0)
	for i := range w.cuts {
		c := &w.cuts[i]
		list := slices.DeleteFunc(slices.Clone(missing), func(n uint32) bool { return n <= low || n > c.last })
		low, c.missing, c.gapAtMost = c.last, int64(len(list)*w.meters.Channels()), gaps[i].AtMost
		if n := len(list); n > 0 && (list[n-1]+1 < c.last || int(list[n-1]-list[0]) != n-1) || c.missing > c.gapAtMost {
			w.Errorf("power cut %d: the numbers %v are missing, the last that was answered is %d, the gap says %+v", i+1, list, c.last, gaps[i])
		}
		w.shown(fmt.Sprintf("power cut %d", i+1), "of %d sectors not flushed %d were there; %d readings are missing, at most %d declared", c.unflushed, c.kept, c.missing, c.gapAtMost)
	}
}

// remove takes the package away and brings it back, and purges it.
func (w *whole) remove() {
	w.run("systemctl start tidegate")
	w.apt(3, "remove tidegate")
	if got := w.run("cat " + conf + " | tail -n 1; ls -d /var/lib/tidegate/ota/slots/b/tidegate; systemctl is-active tidegate tidegate-expire.timer || true"); got != fmt.Sprintf("  settle: %v\n/var/lib/tidegate/ota/slots/b/tidegate\ninactive\ninactive\n", wholeSettle) {
		w.Errorf("removing left %q", got)
	}
	w.healthy()
	before := w.starts()
	w.apt(2, "install tidegate")
	if got := w.run(started + "; systemctl is-active tidegate"); w.starts() == before || !strings.Contains(got, "slot b, release 60 (v60)") || !strings.HasSuffix(got, "\nactive\n") {
		w.Errorf("installed again the launcher said %q at last, in all %s times, before that %s times", got, w.starts(), before)
	}
	w.apt(2, "purge tidegate")
	if out, code := w.try("ls -d /etc/tidegate /var/lib/tidegate /run/tidegate /etc/systemd/system/tidegate* /etc/systemd/system/*.wants/tidegate* /usr/lib/tidegate 2>/dev/null; getent passwd tidegate; ls -l /proc/[0-9]*/exe 2>/dev/null | grep tidegate"); out != "" {
		w.Errorf("purging left (status %d) %s", code, out)
	}
	w.healthy()
	w.off()
	w.shown("removed, installed again, purged", "release 60 of the update came back; nothing is left, nothing runs")
}
