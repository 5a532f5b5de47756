package update

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota"
	"github.com/tidegate-io/tidegate/ota/publish/publishtest"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
)

// TestDisk: what the gateway is told of its slots, by the package's own program, from one trial to the next.
func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ota")
	u, err := ota.Open(ota.Options{Dir: dir, Lib: t.TempDir()}) // the package's own program is not known: it is older than all
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	d := NewDisk(u, "/usr/lib/tidegate/tidegate", time.Minute)
	stageOne := func(counter uint64, version string) {
		t.Helper()
		p, err := publishtest.Program(t.TempDir(), []byte(version))
		if err != nil {
			t.Fatal(err)
		}
		rel := slots.Release{Counter: counter, Version: version, Length: p.Digest.Length, SHA256: p.Digest.SHA256, SHA512: p.Digest.SHA512}
		if err := stage.Stage(t.Context(), u.Slots(), bytes.NewReader(p.Body), rel); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what, current string, staged uint64, trial bool, last Outcome) {
		t.Helper()
		s, err := d.State()
		got := Outcome{}
		if s.Last != nil {
			got = *s.Last
		}
		if err != nil || s.Slot != "package" || s.Current != current || (s.Staged != nil) != (staged > 0) || staged > 0 && s.Staged.Counter != staged ||
			(s.Trial != nil) != trial || got != last {
			t.Errorf("%s: got %+v, last %+v, %v", what, s, got, err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want("nothing", "package", 0, false, Outcome{})
	stageOne(2, "v1.2.0")
	want("staged", "package", 2, false, Outcome{})
	must(d.Switch([]byte("{}")))
	want("another program is on trial", "a", 0, false, Outcome{})
	must(d.Finish("device-lost: not read: meter1"))
	failed := Outcome{Release: Release{2, "v1.2.0"}, Result: "failed", Reason: "device-lost", Detail: "not read: meter1", Slot: "a"}
	want("failed", "package", 0, false, failed)
	must(d.Told())
	if s, err := d.State(); err != nil || !s.IsTold {
		t.Errorf("told: got %+v, %v", s, err)
	}
	stageOne(3, "v1.3.0")
	want("the next one is staged", "package", 3, false, failed)
	must(d.Switch(nil))
	u.Slots().Launch()
	must(d.Finish(""))
	want("kept", "a", 0, false, Outcome{Release: Release{3, "v1.3.0"}, Result: "kept", Slot: "a"})
}
