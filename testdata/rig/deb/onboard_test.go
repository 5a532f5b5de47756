package deb

import (
	"flag"
	"strconv"
	"strings"
	"testing"
	"time"
)

var arm64 = flag.Bool("arm64", false, "boot the package for arm64 too, on a board that is emulated: under an hour")

// TestWholeARM is the way of TestWhole to its first update kept, by the package for arm64 on an arm64 board with Debian's kernel and systemd: installed,
// in its sandbox, buffering while the broker is away, updated with the power cut in the download and in the trial, all delivered.
func TestWholeARM(t *testing.T) {
	if *bases == "" || !*arm64 {
		t.Log("without -bases and -arm64 no arm64 board is booted: make deb-test ARM64=1")
		return
	}
	t.Parallel()
	begin := time.Now()
	w := newWhole(t, boards["arm64"], []string{"v20"}, nil)
	w.install()
	w.sandboxed()
	w.broker.Stop()
	before := w.buffered(50)
	w.download()
	after := w.buffered(before)
	w.shown("broker away", "%d records are buffered, %d behind a power cut and a download", before, after)
	w.broker.Start()
	w.keep()
	w.says()
	w.settle()
	w.off()
	w.report("package-arm64", "make deb-test ARM64=1", time.Since(begin))
}

// sandboxed holds the service that runs against what its unit takes from it, as the kernel knows it.
func (w *whole) sandboxed() {
	w.Helper()
	const look = `p=$(systemctl show --property MainPID --value tidegate)
uname -m
dpkg --print-architecture
systemctl is-active tidegate
stat -c %U /proc/"$p"
grep -h '^CapEff\|^CapBnd\|^NoNewPrivs\|^Seccomp:' /proc/"$p"/status | tr -d '\t'
for d in /usr /etc; do nsenter -t "$p" -m touch "$d"/new 2>/dev/null && echo "$d can be written"; done
nsenter -t "$p" -m touch /var/lib/tidegate/new && rm /var/lib/tidegate/new && echo its state can be written
`
	const want = "aarch64\narm64\nactive\ntidegate\nCapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\nits state can be written\n"
	if got := w.run(look); got != want {
		w.Errorf("the service is\n%swant\n%s", got, want)
	}
	// "Overall exposure level for tidegate.service: 1.2 OK"
	got := w.run("systemd-analyze security --no-pager tidegate | grep -o 'exposure level.*: [0-9.]*' | grep -o '[0-9.]*$'")
	if exposure, err := strconv.ParseFloat(strings.TrimSpace(got), 64); err != nil || exposure > 1.5 {
		w.Errorf("systemd says of the service that runs that its exposure is %q, want at most 1.5", got)
	}
	w.shown("the service under systemd", "active as its own user, without capabilities, with seccomp; exposure %s", strings.TrimSpace(got))
}

// buffered waits until so many records are buffered at least, and returns how many are.
func (w *whole) buffered(least int) int {
	w.Helper()
	for begin := time.Now(); ; time.Sleep(time.Second) {
		out, _ := w.try(`tidegate status --json | tr -d ' \n' | sed 's/.*"queue":{"records":\([0-9]*\).*/\1/'`)
		if n, err := strconv.Atoi(strings.TrimSpace(out)); err == nil && n >= least {
			return n
		}
		if time.Since(begin) > slow {
			w.Fatalf("after %v the gateway says it has buffered %s, want %d records\n%s", slow, out, least, w.story())
		}
	}
}

// says asks for the state of updates, as a person does.
func (w *whole) says() {
	w.Helper()
	got := w.run("tidegate update status")
	for _, want := range []string{"in use   release 20, v20\n", "package  release 10, ", "slot a   release 20, v20: ", "trial    of release 20, v20: kept\n"} {
		if !strings.Contains(got, want) {
			w.Errorf("tidegate update status says %s, want %q", got, want)
		}
	}
	w.shown("tidegate update status", "release 20 in use, kept")
}
