package deb

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// A board is a machine that is emulated whole, of one architecture.
type board struct {
	arch    string // as Debian and Go call it
	qemu    string
	from    string   // the Debian package of qemu
	args    []string // of qemu: what it is
	line    string   // to its kernel: where that says what it has to say
	ear     string   // device of its second serial line
	second  []string // arguments of qemu: that line, which is qemu's own input and output
	trial   time.Duration
	masking string // units that would have the second line for themselves
}

// boards are all of them, by architecture.
var boards = map[string]board{
	"amd64": {
		arch: "amd64", qemu: "qemu-system-x86_64", from: "qemu-system-x86", args: []string{"-cpu", "max"}, line: "console=ttyS0 no_timer_check",
		ear: "/dev/ttyS1", second: []string{"-serial", "stdio"}, trial: 3 * time.Minute, masking: "serial-getty@ttyS0.service",
	},
	// Not cpu max: what that has to protect pointers takes an emulator most of its time. This board has one serial line.
	"arm64": {
		arch: "arm64", qemu: "qemu-system-aarch64", from: "qemu-system-arm", args: []string{"-M", "virt", "-cpu", "cortex-a72"}, line: "console=ttyAMA0",
		ear: "/dev/hvc0", second: []string{"-device", "virtio-serial-pci", "-chardev", "stdio,id=ear", "-device", "virtconsole,chardev=ear"},
		trial: 10 * time.Minute, masking: "serial-getty@ttyAMA0.service serial-getty@hvc0.service",
	},
}

// start returns how qemu is called to start the board into the system at base. What it says first goes to console, a character device of qemu.
func (b *board) start(t *testing.T, base, console string, more ...string) []string {
	t.Helper()
	return slices.Concat([]string{bed.Need(t, b.qemu, b.from)}, b.args, []string{
		// Not by KVM: what a machine inside a machine has of it is not always whole. Nothing is measured.
		"-accel", "tcg,thread=multi", "-smp", "2", "-m", "768", "-kernel", newest(t, base, "vmlinuz-*"), "-initrd", newest(t, base, "initrd.img-*"),
		"-append", "root=/dev/vda rw systemd.show_status=no loglevel=4 panic=-1 net.ifnames=1 " + b.line,
		"-display", "none", "-monitor", "none", "-no-reboot", "-serial", console,
	}, more)
}

// newest returns the newest file of that pattern in the system's /boot.
func newest(t *testing.T, base, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(base, "boot", pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s has no %s: run make deb-test", base, pattern)
	}
	return slices.Max(found)
}

// emulators run the programs of the architectures that this machine's processor does not run: how they are called, and class and machine of those
// programs' headers.
var emulators = map[string]struct{ program, class, machine string }{
	"arm64": {"qemu-aarch64-static", "2", "b7"},
	"armhf": {"qemu-arm-static", "1", "28"},
}

// format is what binfmt_misc has to know of such programs (admin-guide/binfmt-misc.rst), "" = nothing. F has the kernel open the emulator now,
// from outside the system.
func format(t *testing.T, arch string) string {
	t.Helper()
	e, ok := emulators[arch]
	if !ok {
		return ""
	}
	return fmt.Sprintf(`:tidegate:M::\x7fELF\x0%s\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x%s\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:F`,
		e.class, e.machine, bed.Need(t, e.program, "qemu-user-static"))
}
