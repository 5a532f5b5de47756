package deb

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// slow bounds what takes seconds on a machine: an emulated one beside other work is thirty times slower. Nothing is measured by it.
const slow = 20 * time.Minute

// guestSees is how a machine reaches the loopback of this one.
const guestSees = "10.0.2.2"

// ear runs what this machine says on the second serial line, its argument, a command a line, and says what came of it.
const ear = `#!/bin/sh
until [ -c "$1" ]; do sleep 1; done # its driver may be a module
exec <"$1" >"$1" 2>/dev/null
stty raw -echo
echo '@@up'
while read -r line; do
	printf %s "$line" | base64 -d >/run/told
	timeout 1000 sh /run/told >/run/said 2>&1 </dev/null
	echo "@@ $? $(base64 -w0 </run/said)"
done
`

const hearing = `[Service]
ExecStart=/bin/sh /root/ear %s
[Install]
WantedBy=multi-user.target
`

// network leads to this machine's loopback and nowhere else: there is no gateway.
const network = `[Match]
Name=en*
[Network]
Address=10.0.2.15/24
LinkLocalAddressing=no
IPv6AcceptRA=no
`

// bootable makes of the system one that guest boots: it listens, has a network and keeps its journal, and dpkg syncs as it does in the field.
func (s *system) bootable(b board, image string) {
	s.t.Helper()
	s.put("/root/ear", ear, 0o755)
	s.put("/etc/systemd/system/ear.service", fmt.Sprintf(hearing, b.ear), 0o644)
	s.put("/etc/systemd/network/10-rig.network", network, 0o644)
	s.put("/etc/fstab", "/dev/vda / ext4 defaults 0 1\n", 0o644)
	s.run(`ln -s ../ear.service /etc/systemd/system/multi-user.target.wants/ear.service
systemctl enable --quiet systemd-networkd
systemctl mask --quiet ` + b.masking + ` apt-daily.timer apt-daily-upgrade.timer systemd-networkd-wait-online.service
mkdir -p /var/log/journal && rm -f /etc/dpkg/dpkg.cfg.d/rig /etc/apt/sources.list && echo guest >/etc/hostname`)
	s.image(image)
}

// A guest is a machine that systemd runs, on a disk that can lose its power.
type guest struct {
	*testing.T
	board
	base  string // with its kernel
	disk  *bed.CacheDisk
	dir   string
	boots int

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	ended chan struct{} // closed when the machine is off
}

// newGuest returns the machine of an image, of a system above base. It is not switched on.
func newGuest(t *testing.T, b board, base, image string, seed uint64) *guest {
	t.Helper()
	return &guest{T: t, board: b, base: base, disk: bed.NewCacheDisk(t, image, seed), dir: filepath.Dir(image)}
}

// on switches the machine on and waits until it listens.
func (g *guest) on() {
	g.Helper()
	g.boots++
	args := g.start(g.T, g.base, "file:"+filepath.Join(g.dir, fmt.Sprintf("console-%d.log", g.boots)), append(g.second,
		"-drive", "file=nbd+unix:///?socket="+g.disk.Socket+",if=virtio,format=raw",
		"-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net")...)
	g.cmd = exec.Command(args[0], args[1:]...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(filepath.Join(g.dir, "qemu.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.Fatal(err)
	}
	defer log.Close() // qemu has its own descriptor
	g.cmd.Stderr = log
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		g.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		g.Fatal(err)
	}
	begin := time.Now()
	if err := g.cmd.Start(); err != nil {
		g.Fatal(err)
	}
	g.lines, g.ended = make(chan string, 100), make(chan struct{})
	go func(cmd *exec.Cmd, lines chan string, ended chan struct{}) {
		defer close(ended)
		defer close(lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				_ = cmd.Wait() // killed, or off
				return
			}
			lines <- strings.TrimSpace(line)
		}
	}(g.cmd, g.lines, g.ended)
	g.Cleanup(g.kill)
	g.hear("@@up")
	g.Logf("boot %d: it listens after %v", g.boots, time.Since(begin).Round(time.Second))
}

// kill ends the machine, as SIGKILL does.
func (g *guest) kill() {
	_ = g.cmd.Process.Kill() // it may be off
	for range g.lines {
	}
	<-g.ended
}

// cut takes the power away, and with it what the disk had not flushed.
func (g *guest) cut() (unflushed, kept int) {
	g.Helper()
	g.kill()
	unflushed, kept = g.disk.Cut()
	g.Logf("power cut: of %d sectors that were written and not flushed %d are there", unflushed, kept)
	return unflushed, kept
}

// off has the machine switch itself off.
func (g *guest) off() {
	g.Helper()
	if _, err := fmt.Fprintln(g.in, base64.StdEncoding.EncodeToString([]byte("systemctl poweroff"))); err != nil {
		g.Fatal(err)
	}
	late := time.After(slow)
	for {
		select {
		case _, ok := <-g.lines:
			if !ok {
				<-g.ended
				return
			}
		case <-late:
			g.Fatalf("the machine does not switch itself off within %v", slow)
		}
	}
}

// hear waits for a line that begins with mark and returns the rest of it.
func (g *guest) hear(mark string) string {
	g.Helper()
	late := time.After(slow)
	for {
		select {
		case line, ok := <-g.lines:
			if !ok {
				g.Fatalf("the machine has ended; its consoles: %s", g.dir)
			}
			if rest, ok := strings.CutPrefix(line, mark); ok {
				return strings.TrimSpace(rest)
			}
		case <-late:
			g.Fatalf("the machine says no %s within %v; its consoles: %s", mark, slow, g.dir)
		}
	}
}

// try runs a shell command on the machine.
func (g *guest) try(command string) (out string, code int) {
	g.Helper()
	if _, err := fmt.Fprintln(g.in, base64.StdEncoding.EncodeToString([]byte(command))); err != nil {
		g.Fatal(err)
	}
	status, text, _ := strings.Cut(g.hear("@@ "), " ")
	code, err := strconv.Atoi(status)
	b, err2 := base64.StdEncoding.DecodeString(text)
	if err != nil || err2 != nil {
		g.Fatalf("%s: the machine says %q %q", command, status, text)
	}
	return string(b), code
}

// run is try, where it has to go well.
func (g *guest) run(command string) string {
	g.Helper()
	out, code := g.try(command)
	if code != 0 {
		g.Fatalf("%s: status %d\n%s", command, code, out)
	}
	return out
}

// until waits until the command says what is wanted.
func (g *guest) until(what, command, want string) string {
	g.Helper()
	begin := time.Now()
	for {
		out, _ := g.try(command)
		if strings.Contains(out, want) {
			return out
		}
		if time.Since(begin) > slow {
			g.Fatalf("%s: not after %v: %s says\n%s\nwant %q\n%s", what, slow, command, out, want, g.story())
		}
		time.Sleep(time.Second)
	}
}

// story is what the units said at last.
func (g *guest) story() string {
	out, _ := g.try("journalctl -o short-monotonic --no-hostname --no-pager -u tidegate -u tidegate-expire -n 60; systemctl --no-pager status tidegate; tidegate-launch status 2>/dev/null || /usr/lib/tidegate/tidegate-launch status")
	return out
}
