package deb

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var (
	debs    = flag.String("debs", filepath.Join(bed.Root(), "dist"), "folder with the packages that make deb has made")
	release = flag.String("tarball", "", "the tarball for amd64 that make dist has made")
	base    = flag.String("base", "/", "the system to install into, which stays as it is")
)

// patience bounds one command in a system.
const patience = 5 * time.Minute

// A system is one that packages are installed into: a layer above base, which goes with the test.
type system struct {
	t     *testing.T
	base  string
	layer string // what differs from base
	dir   string
	arch  string
	alien string // what binfmt_misc has to know of the programs in it; "" = this machine's processor runs them
}

// newSystem returns a system of that architecture that has no trace of us.
func newSystem(t *testing.T, base, arch string) *system {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this rig installs packages into a system of its own: run it as root")
	}
	dir := bed.Dir(t, true) // what is above must not lie in the layer below
	s := &system{t: t, base: base, dir: dir, layer: filepath.Join(dir, "layer"), arch: arch, alien: format(t, arch)}
	for _, d := range []string{"layer", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := s.try("! getent passwd tidegate && ! test -e /etc/tidegate && ! test -e /var/lib/tidegate && ! dpkg -s tidegate 2>/dev/null"); code != 0 {
		t.Fatalf("%s has a Tidegate: take it away, or use another -base\n%s", base, out)
	}
	// A machine that builds images, as this may be, forbids services; one in the field does not. Nobody reads manuals here.
	s.run("rm -f /usr/sbin/policy-rc.d /var/lib/man-db/auto-update && echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/rig")
	return s
}

// overlay mounts the system. In a user namespace, which an emulator ($3) has, the marks of the layer are user attributes.
const overlay = `mount -t overlay overlay -o "lowerdir=$2,upperdir=layer,workdir=work${3:+,userxattr}" root`

// enter mounts the system and runs a shell command in it. It is process 1 of the namespaces: with it all ends and goes.
const enter = `mount --make-rprivate /
cd "$1"
` + overlay + `
mount -t proc proc root/proc
mount -t tmpfs -o mode=755 run root/run
mount -t tmpfs -o mode=755 dev root/dev
for n in null zero full random urandom; do : >root/dev/$n; mount --bind /dev/$n root/dev/$n; done
if [ -n "$3" ]; then
	mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
	printf '%s' "$3" >/proc/sys/fs/binfmt_misc/register
fi
if [ -n "$5" ]; then mkdir -p root/run/systemd/system; fi
exec chroot root /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	/bin/sh -c "$4"
`

// try runs a shell command in the system.
func (s *system) try(command string) (out string, code int) { return s.tryWith(command, false) }

// tryWith is try, where systemd seems to run.
func (s *system) tryWith(command string, booted bool) (out string, code int) {
	s.t.Helper()
	c := inside(s.alien, enter, s.dir, s.base, command, booted)
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = c.Process.Kill() }) // it may have ended by itself
	defer late.Stop()
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return b.String(), c.ProcessState.ExitCode()
}

// run is try, where it has to go well.
func (s *system) run(command string) string {
	s.t.Helper()
	out, code := s.try(command)
	if code != 0 {
		s.t.Fatalf("%s: status %d\n%s", command, code, out)
	}
	return out
}

// put writes a file of the system, which must not be there yet below the layer.
func (s *system) put(path, text string, mode os.FileMode) {
	s.t.Helper()
	name := filepath.Join(s.layer, path)
	_ = os.Remove(name) // it may not be there; or it is the mark of overlayfs that base's is not
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), mode), os.Chmod(name, mode)); err != nil {
		s.t.Fatal(err)
	}
}

// get returns a file of the system that our package or a test has put there.
func (s *system) get(path string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.layer, path))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// has reports whether there is such a file.
func (s *system) has(path string) bool {
	_, code := s.try("test -e " + path + " || test -L " + path)
	return code == 0
}

// manager plays systemctl and udevadm: it writes down what it is told, and says of the service what the test has it say.
const manager = `#!/bin/sh
echo "$(basename "$0") $*" >>/var/log/told
case "$*" in
*is-enabled*) echo enabled ;;
*" preset "*) exec /usr/bin/systemctl "$@" ;;
*ActiveState*) cat /var/log/state ;;
esac
`

// boot has systemd run in the system from now on, with the service in that state, as systemctl show has it.
func (s *system) boot(state string) *booted {
	s.put("/usr/local/bin/systemctl", manager, 0o755)
	s.put("/usr/local/bin/udevadm", manager, 0o755)
	s.put("/var/log/state", state+"\n", 0o644)
	return &booted{s}
}

// A booted system is one in which systemd runs.
type booted struct{ *system }

// try runs a command and returns what was said, and what systemd was told.
func (b *booted) try(command string) (out, told string, code int) {
	b.t.Helper()
	b.put("/var/log/told", "", 0o644)
	out, code = b.tryWith(command, true)
	return out, b.get("/var/log/told"), code
}

// run is try, where it has to go well.
func (b *booted) run(command string) (out, told string) {
	b.t.Helper()
	out, told, code := b.try(command)
	if code != 0 {
		b.t.Fatalf("%s: status %d\n%s", command, code, out)
	}
	return out, told
}

// starts returns what was said to systemd about starting and ending the service.
func starts(told string) (list []string) {
	for line := range strings.Lines(told) {
		f := strings.Fields(line)
		for _, word := range []string{"start", "restart", "stop", "try-restart", "reload"} {
			for i := range f {
				if f[i] == word && strings.Contains(line, "tidegate.service") || f[i] == word && strings.HasSuffix(line, " tidegate\n") {
					list = append(list, word)
				}
			}
		}
	}
	return list
}
