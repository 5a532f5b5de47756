package deb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// tarball unpacks the release for this machine into the system, as /root/release.
func (s *system) tarball() {
	s.t.Helper()
	if *release == "" {
		s.t.Fatal("no -tarball is given: run make deb-check")
	}
	dir := filepath.Join(s.layer, "root", "release")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	host(s.t, "tar", "-C", dir, "--strip-components=1", "-xf", *release)
}

// install.sh gives a tarball's installation what the package has: slot 0 that only root can write, the launcher, and units that differ from the
// package's in where these lie.
func TestTarball(t *testing.T) {
	t.Parallel()
	s := newSystem(t, *base, "amd64")
	s.tarball()
	// An installation of before there were slots.
	s.put("/usr/local/bin/tidegate", "#!/bin/sh\necho old\n", 0o755)
	b := s.boot("inactive")
	out, told := b.run("sh /root/release/install.sh")
	if starts(told) != nil || !strings.Contains(out, "now tell "+conf+" what to read") {
		t.Errorf("a configuration that nobody has looked at: %q, said %s", told, out)
	}
	const want = `f 640 root:tidegate /etc/tidegate/tidegate.yaml
l 777 root:root /usr/local/bin/tidegate
f 644 root:root /usr/local/lib/tidegate/release.json
f 755 root:root /usr/local/lib/tidegate/tidegate
f 755 root:root /usr/local/lib/tidegate/tidegate-launch
f 644 root:root /etc/systemd/system/tidegate-expire.service
f 644 root:root /etc/systemd/system/tidegate-expire.timer
f 644 root:root /etc/systemd/system/tidegate.service
`
	var paths []string
	for line := range strings.Lines(want) {
		paths = append(paths, strings.Fields(line)[3])
	}
	if got := s.run("for p in " + strings.Join(paths, " ") + `; do find $p -maxdepth 0 -printf '%y %m %u:%g %p\n'; done`); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := s.run("readlink -f $(command -v tidegate); tidegate version"); !strings.HasPrefix(got, "/usr/local/lib/tidegate/tidegate\ntidegate ") {
		t.Errorf("got %s", got)
	}
	for _, unit := range []string{"tidegate.service", "tidegate-expire.service", "tidegate-expire.timer"} {
		source, err := os.ReadFile(filepath.Join(bed.Root(), "etc", unit))
		if err != nil {
			t.Fatal(err)
		}
		here := s.get("/etc/systemd/system/" + unit)
		for line := range strings.Lines(here) {
			if strings.HasPrefix(line, "Exec") && strings.Contains(line, "/usr/lib/") {
				t.Errorf("%s: %s", unit, line)
			}
		}
		if strings.ReplaceAll(here, "/usr/local/lib/tidegate", "/usr/lib/tidegate") != strings.ReplaceAll(string(source), "/usr/local/lib/tidegate", "/usr/lib/tidegate") {
			t.Errorf("%s differs in more than its paths", unit)
		}
	}
	// Configured and brought up to date it starts anew, within what it names; with faults it does not.
	s.configure(edited)
	if _, told := b.run("sh /root/release/install.sh"); !slices.Equal(starts(told), []string{"restart"}) || !strings.Contains(s.get(dropIn), "char-ttyUSB") {
		t.Errorf("got %q", told)
	}
	s.configure(faulty)
	if out, told, code := b.try("sh /root/release/install.sh"); code == 0 || starts(told) != nil || !strings.Contains(out, "has faults") {
		t.Errorf("status %d, %q, said %s", code, told, out)
	}
	b.run("sh /root/release/install.sh uninstall")
	if !s.has(conf) || s.has("/usr/local/lib/tidegate") || s.has("/usr/local/bin/tidegate") || s.has("/etc/systemd/system/tidegate-expire.timer") || s.has(dropIn) {
		t.Error("uninstalling took the configuration, or left what is installed")
	}
	b.run("sh /root/release/install.sh purge")
	if s.has("/etc/tidegate") || s.has("/var/lib/tidegate") {
		t.Error("purging left configuration or state")
	}
	// Beside the package it does nothing.
	s.run("rm /usr/local/bin/systemctl && dpkg -i " + s.copied())
	if out, code := s.try("sh /root/release/install.sh"); code == 0 || !strings.Contains(out, "the package tidegate is installed") || s.has("/usr/local/lib/tidegate/tidegate") {
		t.Errorf("status %d, said %s", code, out)
	}
}
