package deb

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
)

// updates returns the slots of the system, as its gateway sees them.
func (s *system) updates() *slots.Slots {
	s.t.Helper()
	builtin, err := slots.ReadBuiltin(filepath.Join(s.layer, "usr/lib/tidegate"))
	if err == nil {
		var u *slots.Slots
		if u, err = slots.Open(filepath.Join(s.layer, "var/lib/tidegate/ota"), builtin); err == nil {
			return u
		}
	}
	s.t.Fatal(err)
	return nil
}

// update stages the package's own program as an update of that counter, and begins its trial.
func (s *system) update(counter uint64, window time.Duration) {
	s.t.Helper()
	program := []byte(s.get("/usr/lib/tidegate/tidegate"))
	short, long := sha256.Sum256(program), sha512.Sum512(program)
	u := s.updates()
	err := stage.Stage(s.t.Context(), u, bytes.NewReader(program), slots.Release{
		Counter: counter, Version: fmt.Sprintf("update-%d", counter), Length: int64(len(program)),
		SHA256: hex.EncodeToString(short[:]), SHA512: hex.EncodeToString(long[:]),
	})
	if err == nil {
		err = u.Switch(nil, window)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.run("chown -R tidegate: /var/lib/tidegate")
}

// launch starts what the unit starts, as the unit's user, with other words for the program, and returns what the launcher says of it.
func (s *system) launch(words string) string {
	s.t.Helper()
	line := ""
	for l := range strings.Lines(s.get("/usr/lib/systemd/system/tidegate.service")) {
		if cut, ok := strings.CutPrefix(l, "ExecStart="); ok {
			line, _, _ = strings.Cut(cut, " -- ")
		}
	}
	out := s.run("setpriv --reuid tidegate --regid tidegate --init-groups " + line + " -- " + words)
	said, rest, _ := strings.Cut(out, "\n")
	if !strings.HasPrefix(rest, "tidegate ") {
		s.t.Errorf("the program said %q", rest)
	}
	return said
}

// The launcher decides by counter which program runs, whatever the package does beside an update.
func TestUpgradeOverUpdate(t *testing.T) {
	t.Parallel()
	s := newSystem(t, *base, "amd64")
	s.run("dpkg -i " + s.made(build{version: "0~10-1", counter: 10}))
	wants := func(when, want string) {
		t.Helper()
		if got := s.launch("version"); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
	s.run("install -d -o tidegate -g tidegate -m 750 /var/lib/tidegate") // as StateDirectory= does
	wants("as installed", "slot 0, release 10")
	s.update(20, time.Hour)
	wants("on trial", "slot a, release 20 (update-20), on trial, start 1 of 3")
	if err := s.updates().Confirm(); err != nil {
		t.Fatal(err)
	}
	s.run("chown -R tidegate: /var/lib/tidegate")
	wants("kept", "slot a, release 20 (update-20)")
	// A package older than the update: that stays.
	s.run("dpkg -i " + s.made(build{version: "0~15-1", counter: 15}))
	wants("an older package", "slot a, release 20")
	// A newer one takes over, without a trial.
	s.run("dpkg -i " + s.made(build{version: "0~30-1", counter: 30}))
	wants("a newer package", "slot 0, release 30")
	// Downgraded below it: the update is the newest again.
	s.run("dpkg -i --force-downgrade /root/tidegate_0~15-1.deb")
	wants("downgraded", "slot a, release 20")
	if got := s.run("dpkg-query -W -f '${Version} ${Status}' tidegate"); got != "0~15-1 install ok installed" {
		t.Errorf("got %s", got)
	}
	// What root calls is the package's own, whatever runs.
	if got := s.run("readlink -f $(command -v tidegate)"); got != "/usr/lib/tidegate/tidegate\n" {
		t.Errorf("root would run %s", got)
	}
	// An update on trial when a newer package comes: no trial is left.
	s.update(25, time.Hour)
	s.run("dpkg -i /root/tidegate_0~30-1.deb")
	wants("a newer package in a trial", "slot 0, release 30")
	// Removed, all of it stays; purged, nothing does.
	s.run("dpkg -r tidegate")
	if !s.has("/var/lib/tidegate/ota/slots/a/tidegate") {
		t.Error("removing the package took the update")
	}
	s.run("dpkg -P tidegate")
	if s.has("/var/lib/tidegate") {
		t.Error("purging left the update")
	}
}

// A configuration that the package's own program finds faults in may be good for a newer program of an update: what runs goes on, and it is said.
func TestConfigurationOfUpdate(t *testing.T) {
	t.Parallel()
	s := newSystem(t, *base, "amd64")
	s.run("dpkg -i " + s.made(build{version: "0~10-1", counter: 10}))
	s.configure(edited)
	s.run("dpkg -i --force-confold /root/tidegate_0~10-1.deb && install -d -o tidegate -g tidegate -m 750 /var/lib/tidegate")
	allowed := s.get(dropIn)
	s.update(20, time.Hour)
	s.launch("version")
	if err := s.updates().Confirm(); err != nil {
		t.Fatal(err)
	}
	s.run("chown -R tidegate: /var/lib/tidegate")
	s.configure("later: true\n" + edited)
	b := s.boot("active")
	out, told := b.run("dpkg -i --force-confold " + s.made(build{version: "0~15-1", counter: 15}))
	if starts(told) != nil || !strings.Contains(out, "What runs is a newer one, slot a, release 20 update-20") || strings.Contains(out, "has faults") {
		t.Errorf("got %q, said %s", told, out)
	}
	if got := s.get(dropIn); got != allowed {
		t.Errorf("the service may use %s, before that %s", got, allowed)
	}
	if got := s.run("find /var/lib/tidegate ! -user tidegate"); got != "" {
		t.Errorf("others than the gateway's user own %s", got)
	}
	// A package that is newer than the update runs by itself: what it finds are faults.
	out, told = b.run("dpkg -i --force-confold " + s.made(build{version: "0~30-1", counter: 30}))
	if starts(told) != nil || !strings.Contains(out, conf+" has faults, see above") {
		t.Errorf("got %q, said %s", told, out)
	}
}
