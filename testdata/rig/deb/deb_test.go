package deb

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// ours returns the package of an architecture that make deb has made last.
func ours(t *testing.T, arch string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(*debs, "tidegate_*_"+arch+".deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s has %q, want one package for %s: run make deb-check", *debs, found, arch)
	}
	return found[0]
}

// field returns a field of a package's control file.
func field(t *testing.T, deb, name string) string {
	t.Helper()
	return strings.TrimSpace(host(t, "dpkg-deb", "-f", deb, name))
}

// host runs a program on this machine.
func host(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// A build is another package made from one of ours: as if a release before or after it.
type build struct {
	version string
	counter uint64            // of release.json
	edit    map[string]string // text appended to files
}

// made unpacks the package and packs it again, changed. It returns the package's path in the system.
func (s *system) made(b build) string {
	s.t.Helper()
	dir := filepath.Join(bed.Dir(s.t, true), "p")
	host(s.t, "dpkg-deb", "-R", ours(s.t, s.arch), dir)
	change := func(name string, f func(string) string) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(f(string(text))), 0o644)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	change("DEBIAN/control", func(c string) string {
		return regexp.MustCompile(`(?m)^Version: .*$`).ReplaceAllString(c, "Version: "+b.version)
	})
	change("usr/lib/tidegate/release.json", func(c string) string {
		return regexp.MustCompile(`"counter":\d+`).ReplaceAllString(c, fmt.Sprintf(`"counter":%d`, b.counter))
	})
	for name, more := range b.edit {
		change(name, func(c string) string { return c + more })
	}
	to := "/root/tidegate_" + b.version + ".deb"
	if err := os.MkdirAll(filepath.Join(s.layer, "root"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	host(s.t, "dpkg-deb", "--root-owner-group", "-Znone", "-b", dir, filepath.Join(s.layer, to))
	return to
}

// copied puts our package into the system.
func (s *system) copied() string {
	s.t.Helper()
	b, err := os.ReadFile(ours(s.t, s.arch))
	if err != nil {
		s.t.Fatal(err)
	}
	s.put("/root/tidegate.deb", string(b), 0o644)
	return "/root/tidegate.deb"
}

const (
	conf   = "/etc/tidegate/tidegate.yaml"
	dropIn = "/etc/systemd/system/tidegate.service.d/devices.conf"
	edited = "devices:\n  - {name: m, driver: modbus, address: \"rtu:///dev/ttyUSB0?baud=9600\", unit: 1, registers: [{channel: v, table: holding, address: 0, type: uint16}]}\n" +
		"uplink: {url: mqtt://127.0.0.1:1883}\n"
	faulty = "devices:\n  - {name: m, driver: modbas}\nuplink: {url: mqtt://127.0.0.1:1883}\n"
)

// configure edits the configuration as a person does, who leaves owner and mode as they are.
func (s *system) configure(text string) {
	s.t.Helper()
	s.put("/root/edited", text, 0o644)
	s.run("cat /root/edited >" + conf)
}

// installed is what has to be where after an installation: mode, owner and group, path.
const installed = `d 750 root:tidegate /etc/tidegate
f 640 root:tidegate /etc/tidegate/tidegate.yaml
l 777 root:root /etc/systemd/system/multi-user.target.wants/tidegate.service
l 777 root:root /etc/systemd/system/timers.target.wants/tidegate-expire.timer
l 777 root:root /usr/bin/tidegate
d 755 root:root /usr/lib/tidegate
f 644 root:root /usr/lib/tidegate/release.json
f 755 root:root /usr/lib/tidegate/tidegate
f 755 root:root /usr/lib/tidegate/tidegate-launch
f 644 root:root /usr/lib/systemd/system/tidegate-expire.service
f 644 root:root /usr/lib/systemd/system/tidegate-expire.timer
f 644 root:root /usr/lib/systemd/system/tidegate.service
f 644 root:root /usr/lib/udev/rules.d/60-tidegate.rules
f 644 root:root /usr/share/bash-completion/completions/tidegate
f 644 root:root /usr/share/man/man1/tidegate.1.gz
f 644 root:root /usr/share/tidegate/tidegate.yaml
`

// checkInstalled checks all that an installation brings, whatever came before it.
func (s *system) checkInstalled(arch string) {
	s.t.Helper()
	var paths []string
	for line := range strings.Lines(installed) {
		paths = append(paths, strings.Fields(line)[3])
	}
	// find's letters are those of the list.
	got := s.run("for p in " + strings.Join(paths, " ") + `; do find $p -maxdepth 0 -printf '%y %m %u:%g %p\n'; done`)
	if got != installed {
		s.t.Errorf("got\n%swant\n%s", got, installed)
	}
	if got := s.run("readlink -f /usr/bin/tidegate; id -nG tidegate | tr ' ' '\\n' | sort | tr '\\n' ' '; getent passwd tidegate | cut -d: -f5-"); got !=
		"/usr/lib/tidegate/tidegate\ndialout gpio i2c tidegate Tidegate edge gateway,,,:/var/lib/tidegate:/usr/sbin/nologin\n" {
		s.t.Errorf("got program, groups and user %q", got)
	}
	// What root runs must not be for others to write, all the way up.
	if got := s.run("find /usr/bin/tidegate /usr/lib/tidegate /usr/lib /usr -maxdepth 0 -type d -perm /022; find /usr/lib/tidegate ! -user root -o -perm /022"); got != "" {
		s.t.Errorf("others than root can write %s", got)
	}
	var r struct {
		Counter         uint64
		Version, SHA256 string
		Length          int64
	}
	if err := json.Unmarshal([]byte(s.get("/usr/lib/tidegate/release.json")), &r); err != nil {
		s.t.Fatal(err)
	}
	program := s.get("/usr/lib/tidegate/tidegate")
	if sum := sha256.Sum256([]byte(program)); r.SHA256 != hex.EncodeToString(sum[:]) || r.Length != int64(len(program)) || r.Counter == 0 {
		s.t.Errorf("release.json says %+v of a program of %d bytes, SHA-256 %x", r, len(program), sum)
	}
	if got := s.run("tidegate version"); !strings.Contains(got, r.Version) || !strings.Contains(got, "linux/"+strings.TrimSuffix(arch, "hf")) {
		s.t.Errorf("got %q, want version %s for %s", got, r.Version, arch)
	}
	if got := s.run("dpkg -V tidegate"); got != "" && got != "??5?????? c "+conf+"\n" {
		s.t.Errorf("files are not the package's: %s", got)
	}
}

func TestInstall(t *testing.T) {
	t.Parallel()
	s := newSystem(t, *base, "amd64")
	b := s.boot("inactive")
	out, told := b.run("dpkg -i " + s.copied())
	s.checkInstalled("amd64")
	if got := starts(told); got != nil {
		t.Errorf("a configuration that nobody has looked at was started: %q", told)
	}
	for _, want := range []string{"daemon-reload", "restart tidegate-expire.timer", "udevadm control --reload"} {
		if !strings.Contains(told, want) {
			t.Errorf("systemd was told %q, want %s", told, want)
		}
	}
	if !strings.Contains(out, "now tell "+conf+" what to read") {
		t.Errorf("got %s, want what to do next", out)
	}
	if s.has(dropIn) {
		t.Error("devices are taken away from a service that is not configured yet")
	}
	// The same package again changes nothing.
	if _, told := b.run("dpkg -i /root/tidegate.deb"); starts(told) != nil {
		t.Errorf("installed again: %q", told)
	}
	s.checkInstalled("amd64")
	// A site's own group and mode stay.
	s.run("chgrp adm " + conf + " && chmod 600 " + conf + " && dpkg -i /root/tidegate.deb")
	if got := s.run("stat -c '%a %G' " + conf); got != "600 adm\n" {
		t.Errorf("got %q of a configuration with mode and group of its own, want 600 adm", got)
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := newSystem(t, *base, "amd64")
	s.run("dpkg -i " + s.made(build{version: "0~1-1", counter: 1}))
	ship := map[string]string{"etc/tidegate/tidegate.yaml": "# what a newer release says of it\n", "usr/share/tidegate/tidegate.yaml": "# what a newer release says of it\n"}
	second := s.made(build{version: "0~2-1", counter: 2, edit: ship})
	b := s.boot("active")

	// Nobody has edited it: the new sample comes, and it is still one that nobody has looked at.
	if _, told := b.run("dpkg -i " + second); starts(told) != nil || !strings.HasSuffix(s.get(conf), "newer release says of it\n") {
		t.Errorf("an unedited configuration: %q, %d bytes", told, len(s.get(conf)))
	}
	// Edited: it stays word for word, and the service starts anew within what it names.
	s.configure(edited)
	if _, told := b.run("dpkg -i --force-confold " + s.made(build{version: "0~3-1", counter: 3})); !slices.Equal(starts(told), []string{"restart"}) ||
		strings.LastIndex(told, "daemon-reload") > strings.Index(told, "restart tidegate.service") {
		t.Errorf("got %q, want a restart, of the new units", told)
	}
	if got := s.get(conf); got != edited {
		t.Errorf("the configuration is %q", got)
	}
	if got := s.get(dropIn); !strings.Contains(got, "\nDeviceAllow=\n") || !strings.HasSuffix(got, "\nDeviceAllow=char-ttyUSB rw\n") {
		t.Errorf("devices are %s", got)
	}
	// With faults: what runs goes on, and the installation is none that failed.
	s.configure(faulty)
	out, told := b.run("dpkg -i --force-confold " + s.made(build{version: "0~4-1", counter: 4}))
	if starts(told) != nil || !strings.Contains(out, "devices[0].driver") || !strings.Contains(out, "was not started anew") {
		t.Errorf("got %q, said %s", told, out)
	}
	if got := s.run("dpkg-query -W -f '${Status}' tidegate"); got != "install ok installed" {
		t.Errorf("got %s", got)
	}
	// Stopped by hand: it stays so.
	s.configure(edited)
	b = s.boot("inactive")
	if out, told := b.run("dpkg -i --force-confold " + s.made(build{version: "0~5-1", counter: 5})); starts(told) != nil || !strings.Contains(out, "was stopped, and stays so") {
		t.Errorf("got %q, said %s", told, out)
	}
	// Failed: a new release may be the remedy.
	b = s.boot("failed")
	if _, told := b.run("dpkg -i --force-confold " + s.made(build{version: "0~6-1", counter: 6})); !slices.Equal(starts(told), []string{"restart"}) {
		t.Errorf("got %q", told)
	}
	// Where the site forbids services (policy-rc.d) nothing starts.
	s.put("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
	if _, told := b.run("dpkg -i --force-confold " + s.made(build{version: "0~7-1", counter: 7})); starts(told) != nil {
		t.Errorf("got %q although policy-rc.d forbids it", told)
	}
	// Switched off by hand: it is not switched on again.
	s.run("rm /usr/sbin/policy-rc.d /usr/local/bin/systemctl && rm /etc/systemd/system/*.wants/tidegate* && dpkg -i --force-confold " +
		s.made(build{version: "0~8-1", counter: 8}))
	if s.has("/etc/systemd/system/multi-user.target.wants/tidegate.service") {
		t.Error("a service that was disabled is enabled again")
	}
}

func TestRemoveAndPurge(t *testing.T) {
	t.Parallel()
	s := newSystem(t, *base, "amd64")
	deb := s.copied()
	s.run("dpkg -i " + deb)
	s.configure(edited)
	s.run("dpkg -i " + deb)
	s.run("mkdir -p /var/lib/tidegate/buffer && echo readings >/var/lib/tidegate/buffer/x && chown -R tidegate: /var/lib/tidegate")
	b := s.boot("active")

	_, told := b.run("dpkg -r tidegate")
	if !slices.Equal(starts(told), []string{"stop"}) || !strings.Contains(told, "tidegate-expire.timer") {
		t.Errorf("systemd was told %q, want the service and the timer stopped", told)
	}
	if got := s.get(conf) + s.get("/var/lib/tidegate/buffer/x"); got != edited+"readings\n" || !s.has(conf) || !s.has("/var/lib/tidegate/buffer/x") {
		t.Errorf("removing left %q of configuration and readings", got)
	}
	for _, gone := range []string{"/usr/bin/tidegate", "/usr/lib/tidegate", "/usr/lib/systemd/system/tidegate.service", dropIn} {
		if s.has(gone) {
			t.Errorf("removing left %s", gone)
		}
	}
	s.run("getent passwd tidegate")

	// Installed again it goes on where it was. The removal has stopped it.
	b = s.boot("inactive")
	if _, told := b.run("dpkg -i " + deb); !slices.Equal(starts(told), []string{"restart"}) {
		t.Errorf("installed again: %q", told)
	}
	// That was once: stopped by hand before the package is removed, it stays so.
	if out, told := b.run("dpkg -r tidegate && dpkg -i " + deb); slices.Contains(starts(told), "restart") || !strings.Contains(out, "was stopped, and stays so") {
		t.Errorf("stopped, removed and installed again: %q, said %s", told, out)
	}
	s.checkInstalled("amd64")
	if got := s.get(conf); got != edited {
		t.Errorf("the configuration is %q", got)
	}

	b.run("dpkg -P tidegate")
	for _, gone := range []string{
		"/etc/tidegate", "/var/lib/tidegate", "/run/tidegate", "/usr/share/tidegate", "/etc/systemd/system/tidegate.service.d",
		"/etc/systemd/system/multi-user.target.wants/tidegate.service", "/etc/systemd/system/timers.target.wants/tidegate-expire.timer",
	} {
		if s.has(gone) {
			t.Errorf("purging left %s", gone)
		}
	}
	if out, code := s.try("getent passwd tidegate || getent group tidegate"); code == 0 {
		t.Errorf("purging left %s", out)
	}
	s.run("getent group dialout gpio i2c") // others may use them
	if got := s.run("dpkg-query -W tidegate 2>&1 || true"); !strings.Contains(got, "no packages found") {
		t.Errorf("dpkg knows %s", got)
	}

	// And once more, as if never there.
	if _, told := b.run("dpkg -i " + deb); starts(told) != nil {
		t.Errorf("fresh after purging: %q", told)
	}
	s.checkInstalled("amd64")
	if s.get(conf) == edited {
		t.Error("the configuration outlived its purging")
	}
}

// Beside an installation from a tarball the package's unit would never be seen: it says so.
func TestBesideTarball(t *testing.T) {
	t.Parallel()
	s := newSystem(t, *base, "amd64")
	s.put("/etc/systemd/system/tidegate.service", "[Service]\nExecStart=/usr/local/bin/tidegate run\n", 0o644)
	if out := s.run("dpkg -i " + s.copied()); !strings.Contains(out, "/etc/systemd/system/tidegate.service hides the service of this package") {
		t.Errorf("got %s", out)
	}
}

func TestLintian(t *testing.T) {
	t.Parallel()
	bed.Need(t, "lintian", "lintian")
	for _, arch := range []string{"amd64", "arm64", "armhf"} {
		out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", "--display-info", ours(t, arch)).CombinedOutput()
		if text := string(out); err != nil || strings.Contains(text, "unused-override") || strings.Contains(text, "mismatched-override") {
			t.Errorf("%s: %v\n%s", arch, err, text)
		}
	}
	list, err := os.ReadFile(filepath.Join(bed.Root(), "etc", "deb", "lintian-overrides"))
	if err != nil {
		t.Fatal(err)
	}
	before := ""
	for line := range strings.Lines(string(list)) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(before, "#") && !strings.HasPrefix(before, "tidegate: non-standard-dir-perm") {
			t.Errorf("override without a reason: %s", line)
		}
		before = line
	}
}

// The package for armhf runs on a Pi Zero, which is ARM v6.
func TestARMv6(t *testing.T) {
	t.Parallel()
	qemu := bed.Need(t, "qemu-arm-static", "qemu-user-static")
	deb := ours(t, "armhf")
	if got := field(t, deb, "Architecture"); got != "armhf" {
		t.Errorf("got architecture %s", got)
	}
	dir := bed.Dir(t, false)
	host(t, "dpkg-deb", "-x", deb, dir)
	if got := host(t, qemu, "-cpu", "arm1176", filepath.Join(dir, "usr/lib/tidegate/tidegate"), "version"); !strings.Contains(got, "linux/arm/v6") {
		t.Errorf("got %s, want linux/arm/v6", got)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	version := func(described string, seconds int) string {
		return strings.TrimSpace(host(t, "sh", filepath.Join(bed.Root(), "etc", "deb", "version.sh"), described, fmt.Sprint(seconds)))
	}
	rising := []struct {
		described string
		seconds   int
		want      string
	}{
		{"fffffff", 1_700_000_000, "0~20231114.221320.fffffff"},
		{"0000000", 1_700_000_001, "0~20231114.221321.0000000"},
		{"0000000-dirty", 1_700_000_001, "0~20231114.221321.0000000+dirty"},
		{"v0.1.0", 5, "0.1.0"},
		{"v1.2.3-alpha", 5, "1.2.3~alpha"},
		{"v1.2.3-rc.1", 5, "1.2.3~rc.1"},
		{"v1.2.3-rc.1-4-gabc1234", 5, "1.2.3~rc.1+4.gabc1234"},
		{"v1.2.3-rc.2", 5, "1.2.3~rc.2"},
		{"v1.2.3", 5, "1.2.3"},
		{"v1.2.3-4-gffffff1", 5, "1.2.3+4.gffffff1"},
		{"v1.2.3-12-gabc1234", 5, "1.2.3+12.gabc1234"},
		{"v1.2.3-12-gabc1234-dirty", 5, "1.2.3+12.gabc1234+dirty"},
		{"v1.2.4", 5, "1.2.4"},
		{"v1.10.0", 5, "1.10.0"},
	}
	before := ""
	for _, r := range rising {
		got := version(r.described, r.seconds)
		if got != r.want {
			t.Errorf("%s: got %s, want %s", r.described, got, r.want)
		}
		if before != "" {
			host(t, "dpkg", "--compare-versions", before+"-1", "lt", got+"-1")
		}
		before = got
	}
}

// Who builds packages for others puts a name of their own into them.
func TestMaintainer(t *testing.T) {
	t.Parallel()
	if got := field(t, ours(t, "amd64"), "Maintainer"); !regexp.MustCompile(`^\S.* <\S+@\S+>$`).MatchString(got) {
		t.Errorf("got maintainer %q, want a name and an address", got)
	}
	const other = "Plant North <gateways@north.example>"
	if got := host(t, "make", "-n", "-C", bed.Root(), "--no-print-directory", "deb-amd64", "MAINTAINER="+other); strings.Count(got, "'"+other+"'") != 2 || strings.Contains(got, "noreply") {
		t.Errorf("make deb would run %s, want the maintainer in the package and in its changelog, and no other", got)
	}
}

// The same tree in another folder, later, gives the same bytes.
func TestReproducible(t *testing.T) {
	t.Parallel()
	dir := bed.Dir(t, false)
	deb := ours(t, "amd64")
	copying := exec.Command("sh", "-euc", `git ls-files -co --exclude-standard -z | tar --null --ignore-failed-read -T - -cf - | tar -C "$1" -m -xf -`, "copy", dir)
	copying.Dir = bed.Root()
	if out, err := copying.CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v\n%s", err, out)
	}
	var made struct{ Version string }
	unpacked := bed.Dir(t, false)
	host(t, "dpkg-deb", "-x", deb, unpacked)
	b, err := os.ReadFile(filepath.Join(unpacked, "usr/lib/tidegate/release.json"))
	if err == nil {
		err = json.Unmarshal(b, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	line := host(t, filepath.Join(unpacked, "usr/lib/tidegate/tidegate"), "version")
	commit := regexp.MustCompile(`[0-9a-f]{40}`).FindString(line)
	if commit == "" {
		commit = "unknown"
	}
	epoch := host(t, "sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar --full-time --utc -tvf - ./usr/bin/tidegate`, "times", deb)
	at := regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`).FindString(epoch)
	seconds := strings.TrimSpace(host(t, "date", "-u", "-d", at, "+%s"))
	host(t, "make", "-C", dir, "--no-print-directory", "deb-amd64", "VERSION="+made.Version, "COMMIT="+commit, "EPOCH="+seconds)
	again, err := filepath.Glob(filepath.Join(dir, "dist", "tidegate_*_amd64.deb"))
	if err != nil || len(again) != 1 {
		t.Fatalf("made %q: %v", again, err)
	}
	if out, err := exec.Command("cmp", deb, again[0]).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
