package deb

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var bases = flag.String("bases", "", "folder with the systems that bases.sh has made: they are booted, and installed into under an emulator")

// bootMost is how long a machine may take from its start to its end, emulated, beside other work.
const bootMost = 25 * time.Minute

// image writes the system as an ext4 file system into a file.
func (s *system) image(path string) {
	s.t.Helper()
	const script = `mount --make-rprivate /
cd "$1"
` + overlay + `
PATH=$PATH:/usr/sbin:/sbin
mkfs.ext4 -q -d root -E lazy_itable_init=0 "$4" 1536M
`
	bed.Need(s.t, "mkfs.ext4", "e2fsprogs")
	c := exec.Command("/bin/sh", "-euc", script, "image", s.dir, s.base, s.alien, path)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("make an image: %v\n%s", err, out)
	}
}

// judge runs as a service of the machine when it is up. It says on the console what it sees, a line each, and switches the machine off.
const judge = `#!/bin/sh
exec >/dev/ttyS0 2>&1
say() { echo "@@ $*"; }
shows() { systemctl show --property "$2" --value "$1"; }
# within SECONDS COMMAND...: waits until it succeeds.
within() { n=$1; shift; while [ "$n" -gt 0 ]; do "$@" >/dev/null 2>&1 && return 0; n=$((n - 1)); sleep 1; done; return 1; }
journal() { journalctl -u "$1" -o cat --no-pager; }
pid() { shows tidegate MainPID; }
changed() { now=$(pid); [ "$now" != 0 ] && [ "$now" != "$1" ] && systemctl is-active tidegate; }

within 180 systemctl is-active tidegate
say "active $(systemctl is-active tidegate)"
say "status $(systemctl status tidegate --no-pager -n 0 | grep -c 'Active: active (running)')"
say "launched $(journal tidegate | grep -c 'tidegate-launch: starting .*, slot a, release 20 (update-20), on trial, start 1 of 3')"
p=$(pid)
say "user $(stat -c %U /proc/"$p")"
say "caps $(grep -h '^CapEff\|^CapBnd' /proc/"$p"/status | tr -d '\t\n')"
say "seccomp $(grep -c '^Seccomp:.2\|^NoNewPrivs:.1' /proc/"$p"/status)"
say "timer $(systemctl list-timers --no-pager --no-legend tidegate-expire.timer | grep -c tidegate-expire.service)"
say "devices $(shows tidegate DeviceAllow | sort | tr '\n' ';')"

# Half of its trial in good health, and the program keeps itself. TestWhole has one that does not, and that the timer ends.
kept() { journal tidegate | grep -c 'msg="release is kept"'; }
is_kept() { [ "$(kept)" = 1 ]; }
within 600 is_kept
say "kept $(kept)"
say "safe $(journal tidegate | grep -c 'tidegate: .* not brought to')"

# The configured port can be opened, the unit on it is silent; another one cannot, until it is allowed.
within 120 sh -c 'journalctl -u tidegate -o cat --no-pager | grep -q "m1"'
say "ttyS1 $(tidegate status 2>&1 | grep 'm1' | grep -c 'not permitted')"
sed -i 's#ttyS1#ttyS2#' /etc/tidegate/tidegate.yaml
systemctl restart tidegate
within 120 sh -c 'tidegate status 2>&1 | grep -q "not permitted"'
say "ttyS2 $(tidegate status 2>&1 | grep -q 'not permitted; the service.s sandbox' && echo refused)"
tidegate devices --write >/dev/null && systemctl daemon-reload && systemctl restart tidegate
within 30 false
say "allowed $(tidegate status 2>&1 | grep -c 'not permitted')"

# The watchdog is fed: 60 s would have been over. Then nobody feeds it.
p=$(pid)
within 75 false
say "fed $([ "$(pid)" = "$p" ] && echo yes)"
kill -STOP "$p"
within 180 changed "$p"
say "watchdog $(journal tidegate | grep -c 'tidegate.service: Watchdog timeout')"
say "again $(systemctl is-active tidegate)"
tidegate status >/root/status 2>&1
say "asked $?"
say "failed $(systemctl --failed --no-legend --plain | tr '\n' ' ')"
say "system $(systemctl is-system-running)"
journalctl -o short-monotonic --no-hostname --no-pager -u tidegate -u tidegate-expire | tail -n 120
cat /root/status
say "end"
systemctl poweroff
`

const judging = `[Unit]
After=multi-user.target
[Service]
ExecStart=/bin/sh /root/judge
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
`

// machineConfig reads this machine and a port that nobody answers on.
const machineConfig = `gateway: {id: rig}
devices:
  - {name: machine, driver: system, every: 1s}
  - {name: m1, driver: modbus, every: 1s, timeout: 200ms, address: "rtu:///dev/ttyS1?baud=9600", unit: 1, registers: [{channel: v, table: holding, address: 0, type: uint16}]}
uplink: {url: mqtt://127.0.0.1:1883}
`

// TestBoot boots the package with systemd as process 1: the service is up by its own word, in its sandbox, beside the timer that ends
// trials; what is on trial keeps itself; the watchdog bites.
func TestBoot(t *testing.T) {
	if *bases == "" {
		t.Log("without -bases nothing is booted: make deb-test")
		return
	}
	t.Parallel()
	base := filepath.Join(*bases, "amd64")
	s := newSystem(t, base, "amd64")
	s.run("dpkg -i " + s.made(build{version: "0~10-1", counter: 10}))
	s.configure(machineConfig)
	s.run("dpkg -i /root/tidegate_0~10-1.deb && install -d -o tidegate -g tidegate -m 750 /var/lib/tidegate")
	s.update(20, 100*time.Second)
	s.put("/root/judge", judge, 0o755)
	s.put("/etc/systemd/system/judge.service", judging, 0o644)
	s.put("/etc/fstab", "/dev/vda / ext4 defaults 0 1\n", 0o644)
	s.run("ln -s ../judge.service /etc/systemd/system/multi-user.target.wants/judge.service && rm -f /root/*.deb && systemctl mask --quiet serial-getty@ttyS0.service")
	image := filepath.Join(bed.Dir(t, false), "disk.img")
	s.image(image)

	said := boot(t, base, image)
	for name, want := range map[string]string{
		"active": "active", "status": "1", "launched": "1", "user": "tidegate", "caps": "CapEff:0000000000000000CapBnd:0000000000000000", "seccomp": "2", "timer": "1",
		"devices": "/dev/ttyS1 rw;char-rtc r;", "kept": "1", "safe": "0", "ttyS1": "0", "ttyS2": "refused", "allowed": "0", "fed": "yes", "watchdog": "1", "again": "active",
		"failed": "", "system": "running",
	} {
		if got, ok := said[name]; !ok || got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// boot runs a machine until it switches itself off, and returns what the judge has said.
func boot(t *testing.T, base, image string) map[string]string {
	t.Helper()
	b := boards["amd64"]
	args := b.start(t, base, "stdio", "-serial", "null", "-serial", "null", "-drive", "file="+image+",if=virtio,format=raw,cache=unsafe", "-nic", "none")
	c := exec.Command(args[0], args[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console := filepath.Join(filepath.Dir(image), "console.log")
	log, err := os.Create(console)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = log
	begin := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(bootMost, func() { _ = c.Process.Kill() }) // it may have ended by itself
	defer late.Stop()
	said := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(log, lines.Text())
		if _, text, ok := strings.Cut(strings.TrimRight(lines.Text(), "\r"), "@@ "); ok {
			name, value, _ := strings.Cut(text, " ")
			said[name] = strings.TrimSpace(value)
		}
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the machine: %v", err)
	}
	if _, ok := said["end"]; !ok {
		t.Errorf("the machine ended before it was judged, or took longer than %v", bootMost)
	}
	t.Logf("booted, judged and off in %v; console: %s", time.Since(begin).Round(time.Second), console)
	return said
}
