package deb

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestInstallARM installs the package for armhf into Debian's armhf, every program of it run by an emulator of the processor.
func TestInstallARM(t *testing.T) {
	if *bases == "" {
		t.Log("without -bases nothing is installed under an emulator: make deb-test")
		return
	}
	base := filepath.Join(*bases, "armhf")
	finish(t, base, "armhf")
	s := newSystem(t, base, "armhf")
	out := s.run("dpkg -i " + s.copied())
	if !strings.Contains(out, "now tell "+conf+" what to read") {
		t.Errorf("got %s", out)
	}
	s.checkInstalled("armhf")
	if got := s.run("dpkg --print-architecture; tidegate version; tidegate check"); !strings.HasPrefix(got, "armhf\n") || !strings.Contains(got, "linux/arm/v6") {
		t.Errorf("got %s", got)
	}
	s.configure(edited)
	s.run("dpkg -i /root/tidegate.deb")
	if got := s.get(dropIn); !strings.Contains(got, "char-ttyUSB") {
		t.Errorf("devices are %s", got)
	}
	s.run("dpkg -P tidegate")
	if out, code := s.try("getent passwd tidegate || test -e /etc/tidegate"); code == 0 {
		t.Errorf("purging left %s", out)
	}
}

// second is the second stage. It wants to see that device nodes can be made, which a user namespace does not let it, and then makes none. What takes an
// emulator many minutes and nobody needs is left out: the links to certificates, and in the initramfs all modules but those that find the disk.
const second = `set -e
mkdir -p /usr/local/sbin /etc/initramfs-tools/conf.d /usr/share/initramfs-tools/modules.d
printf 'MODULES=list\nCOMPRESS=gzip\n' >/etc/initramfs-tools/conf.d/rig
printf 'virtio_pci\nvirtio_blk\next4\n' >/usr/share/initramfs-tools/modules.d/rig
for p in mknod update-ca-certificates; do
	printf '#!/bin/sh\nexit 0\n' >/usr/local/sbin/$p
	chmod 755 /usr/local/sbin/$p
done
/debootstrap/debootstrap --second-stage
rm /usr/local/sbin/mknod /usr/local/sbin/update-ca-certificates
rm -f /var/cache/apt/archives/*.deb`

// secondMost is how long that may take, beside other work.
const secondMost = time.Hour

// finish has debootstrap do its second stage in base, with that base's own programs, unless it has done so.
func finish(t *testing.T, base, arch string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(base, "debootstrap")); err != nil {
		return
	}
	begin := time.Now()
	c := inside(format(t, arch), strings.Replace(enter, overlay, `mount --bind "$2" root`, 1), bed.Dir(t, false), base, second, false)
	if err := os.Mkdir(filepath.Join(c.Args[4], "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(secondMost, func() { _ = c.Process.Kill() }) // it may have ended by itself
	defer late.Stop()
	if err := c.Wait(); err != nil {
		t.Fatalf("second stage of debootstrap: %v\n%s", err, b.Bytes()[max(0, b.Len()-2000):])
	}
	t.Logf("second stage of debootstrap: %v", time.Since(begin).Round(time.Second))
}

// inside returns a process that runs script, which enters the system in dir above base and runs command there; alien is what binfmt_misc is told.
func inside(alien, script, dir, base, command string, booted bool) *exec.Cmd {
	runs := ""
	if booted {
		runs = "yes"
	}
	c := exec.Command("/bin/sh", "-euc", script, "enter", dir, base, alien, command, runs)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if alien != "" {
		// binfmt_misc is a user namespace's own since Linux 6.7: so nothing is left behind, and nothing changes for others.
		all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings, c.SysProcAttr.GidMappings = all, all
	}
	return c
}
