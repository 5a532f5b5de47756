package ota_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota"
	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/program/programtest"
	"github.com/tidegate-io/tidegate/ota/publish/publishtest"
	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/trust"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// An owner makes releases.
type owner struct {
	*testing.T
	*publishtest.Owner
}

func newOwner(t *testing.T) *owner {
	t.Helper()
	o, err := publishtest.New(filepath.Join(tmpfs.Dir(t), "repo"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &owner{t, o}
}

func (o *owner) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

// programOf returns the program of a release for this machine; those of neighbouring releases are alike.
func programOf(t *testing.T, counter uint64) *program.Program {
	t.Helper()
	body := make([]byte, 60_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body) // it never fails
	p, err := publishtest.Program(tmpfs.Dir(t), fmt.Appendf(body, "release %d", counter))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// release signs and publishes a release.
func (o *owner) release(counter uint64, change func(*release.File)) {
	o.Helper()
	f := release.File{Counter: counter, Version: fmt.Sprintf("v1.%d.0", counter), Stage: release.All}
	if change != nil {
		change(&f)
	}
	o.must(o.Release(publish.Release{Fields: f, Programs: []*program.Program{programOf(o.T, counter)}, Deltas: 3}))
}

func (o *owner) root() []byte {
	o.Helper()
	b, err := o.Root()
	o.must(err)
	return b
}

// A gateway runs release 1 as its package's own.
type gateway struct {
	*testing.T
	o ota.Options
}

func newGateway(t *testing.T, o *owner) *gateway {
	t.Helper()
	g := &gateway{T: t, o: ota.Options{
		Dir: filepath.Join(tmpfs.Dir(t), "ota"), Lib: tmpfs.Dir(t), Root: o.root(), Places: []string{o.Public()}, Log: slog.New(slog.DiscardHandler),
		Machine: release.Machine{Gateway: "gw-1", GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Hardware: []string{"acme,gate"}},
	}}
	p := programOf(t, 1)
	text, err := json.Marshal(slots.Program{Counter: 1, Version: "v1.1.0", SHA256: p.Digest.SHA256, Length: p.Digest.Length})
	if err := errors.Join(err, os.WriteFile(filepath.Join(g.o.Lib, "tidegate"), p.Body, 0o755), os.WriteFile(filepath.Join(g.o.Lib, "release.json"), text, 0o644)); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gateway) open() *ota.Updater {
	g.Helper()
	u, err := ota.Open(g.o)
	if err != nil {
		g.Fatal(err)
	}
	return u
}

// fetch fetches, and says the release or the reason.
func (g *gateway) fetch() string {
	g.Helper()
	r, err := g.open().Fetch(g.Context())
	switch {
	case err != nil:
		g.Log(err)
		return ota.Reason(err)
	case r == nil:
		return "nothing"
	}
	return r.Version
}

// keep starts the staged release and keeps it.
func (g *gateway) keep(counter uint64) {
	g.Helper()
	u := g.open()
	err := u.Slots().Switch(nil, time.Minute)
	u.Slots().Launch()
	if err := errors.Join(err, u.Confirm()); err != nil {
		g.Fatal(err)
	}
	if r := u.Running(); r.Counter != counter {
		g.Fatalf("release %d is in use, want %d", r.Counter, counter)
	}
	g.wantFloor(counter)
}

// wantFloor says that nothing below a release is taken any more.
func (g *gateway) wantFloor(counter uint64) {
	g.Helper()
	if tr, err := trust.Open(g.o.Dir, g.o.Root); err != nil || tr.Counter() != counter {
		g.Errorf("floor is %d (%v), want %d", tr.Counter(), err, counter)
	}
}

// wantProgram says that a slot holds the program of a release, byte by byte.
func (g *gateway) wantProgram(slot string, counter uint64) {
	g.Helper()
	b, err := os.ReadFile(filepath.Join(g.o.Dir, "slots", slot, "tidegate"))
	if err != nil || !bytes.Equal(b, programOf(g.T, counter).Body) {
		g.Errorf("slot %s holds %d bytes (%v), want the program of release %d", slot, len(b), err, counter)
	}
}

func TestReleases(t *testing.T) {
	o := newOwner(t)
	o.release(1, nil)
	g := newGateway(t, o)
	if got := g.fetch(); got != "nothing" {
		t.Errorf("got %s, want nothing newer than what runs", got)
	}
	o.release(2, nil)
	if got := g.fetch(); got != "v1.2.0" {
		t.Fatalf("got %s", got)
	}
	g.wantProgram("a", 2)
	if got := g.fetch(); got != "v1.2.0" {
		t.Errorf("again: got %s", got)
	}
	g.keep(2)
	o.release(3, nil)
	if got := g.fetch(); got != "v1.3.0" {
		t.Fatalf("got %s", got)
	}
	g.wantProgram("b", 3)
	g.wantProgram("a", 2)
	u := g.open()
	if err := errors.Join(u.Slots().Switch(nil, time.Minute), u.Slots().Fail("leaks")); err != nil {
		t.Fatal(err)
	}
	if got := g.fetch(); got != "known-bad" {
		t.Errorf("a release that failed: got %s", got)
	}
	o.release(4, nil)
	if got := g.fetch(); got != "v1.4.0" {
		t.Errorf("the one behind it: got %s", got)
	}
	g.wantProgram("b", 4)
	g.wantNoDownload()
	g.keep(4)
	o.release(5, nil)
	if got := g.fetch(); got != "v1.5.0" {
		t.Errorf("in the slot that is older: got %s", got)
	}
	g.wantProgram("a", 5)
	g.keep(5)
}

// wantNoDownload says that nothing is left of downloads.
func (g *gateway) wantNoDownload() {
	g.Helper()
	if left, err := os.ReadDir(filepath.Join(g.o.Dir, "download")); err != nil || len(left) > 0 {
		g.Errorf("left of downloads: %v, %v", left, err)
	}
}

// A server hands out what an owner has published, by way of serve, and knows which programs it was asked for.
type server struct {
	*httptest.Server
	asked []string
}

func (o *owner) server(serve func(files http.Handler, w http.ResponseWriter, r *http.Request)) *server {
	s, files := &server{}, http.FileServer(http.Dir(o.Public()))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".json") {
			files.ServeHTTP(w, r)
			return
		}
		s.asked = append(s.asked, r.URL.Path)
		serve(files, w, r)
	}))
	o.Cleanup(s.Close)
	return s
}

// all serves what is asked for.
func all(files http.Handler, w http.ResponseWriter, r *http.Request) { files.ServeHTTP(w, r) }

// TestNotAskedFor: what is staged, or has failed, is not fetched; another release is, also where one is staged.
func TestNotAskedFor(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	s := o.server(all)
	g.o.Places = []string{s.URL}
	want := func(what, release string, asked int) {
		t.Helper()
		if got := g.fetch(); got != release || len(s.asked) != asked {
			t.Fatalf("%s: got %s, asked for %q, want %s by %d", what, got, s.asked, release, asked)
		}
	}
	want("new", "v1.2.0", 1)
	want("staged", "v1.2.0", 1)
	o.release(3, nil)
	want("newer than what is staged", "v1.3.0", 2)
	g.wantProgram("a", 3)
	g.keep(3)
	o.release(4, nil)
	want("behind what was kept", "v1.4.0", 3)
	u := g.open()
	o.must(errors.Join(u.Slots().Switch(nil, time.Minute), u.Slots().Fail("leaks")))
	want("failed", "known-bad", 3)
	o.release(5, nil)
	want("behind what failed", "v1.5.0", 4)
	o.must(u.Slots().Switch(nil, time.Minute))
	o.release(6, nil)
	want("in a trial, of several files", "on-trial", 5)
}

// TestNoProgram: a program for another machine is signed for this one. It is found out before a switch, and not fetched again.
func TestNoProgram(t *testing.T) {
	o := newOwner(t)
	o.release(1, nil)
	g := newGateway(t, o)
	p := programOf(t, 2)
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	p.Body = programtest.Make("linux", other, "", p.Body)
	p.Digest = program.Digest(p.Body)
	o.must(o.Release(publish.Release{
		Fields: release.File{Counter: 2, Version: "v1.2.0", Stage: release.All}, Programs: []*program.Program{p}, Deltas: 3,
	}))
	s := o.server(all)
	g.o.Places = []string{s.URL}
	for _, want := range []string{"no-elf", "known-bad"} {
		if got := g.fetch(); got != want || len(s.asked) != 1 {
			t.Errorf("got %s, asked for %q, want %s by one file", got, s.asked, want)
		}
		g.wantNoDownload()
	}
	for _, c := range g.open().Slots().State().Slots {
		if c.State != "" && c.State != "empty" {
			t.Errorf("slot %s holds %+v", c.Slot, c)
		}
	}
}

// TestLeftOfUnpacking: what a kill has left of a program that was unpacked is no part of the next one.
func TestLeftOfUnpacking(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	dir := filepath.Join(g.o.Dir, "download")
	o.must(errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "program"), make([]byte, 64<<20), 0o600))) // more than a program has
	if got := g.fetch(); got != "v1.2.0" {
		t.Errorf("got %s", got)
	}
	g.wantProgram("a", 2)
	if _, err := os.Stat(filepath.Join(dir, "program")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was unpacked is still there (%v)", err)
	}
}

// TestStopped: who is stopped in the middle of one file of a release asks for no other, which would take away what came.
func TestStopped(t *testing.T) {
	o := newOwner(t)
	o.release(1, nil)
	o.release(2, nil)
	g := newGateway(t, o)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	parts := func() []string {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(g.o.Dir, "download", "*.part"))
		o.must(err)
		return list
	}
	const came = 20
	s := o.server(func(files http.Handler, w http.ResponseWriter, r *http.Request) {
		defer stop()
		sent := 0
		defer func() {
			_ = recover() // of cut: the connection stays
			for range 1000 {
				if list := parts(); len(list) == 1 {
					if i, err := os.Stat(list[0]); err == nil && i.Size() == came {
						return
					}
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		files.ServeHTTP(&cut{ResponseWriter: w, left: came, sent: &sent}, r)
	})
	g.o.Places = []string{s.URL}
	_, err := g.open().Fetch(ctx)
	if got := ota.Reason(err); got != "stopped" || len(s.asked) != 1 {
		t.Errorf("got %s (%v), asked for %q", got, err, s.asked)
	}
	list := parts()
	if len(list) != 1 {
		t.Fatalf("left of downloads: %q", list)
	}
	if i, err := os.Stat(list[0]); err != nil || i.Size() != came {
		t.Errorf("of the download %d bytes are left (%v), want %d", i.Size(), err, came)
	}
}

// TestCycle: one look takes so long and no longer.
func TestCycle(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	s := o.server(func(_ http.Handler, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	g.o.Places = []string{s.URL}
	u := g.open()
	u.SetCycle(200 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := u.Fetch(ctx); ota.Reason(err) != "out-of-time" || ctx.Err() != nil {
		t.Errorf("got %v, and %v", err, ctx.Err())
	}
}

// TestUnreadableHold: where nobody can read what is held back, nothing is taken.
func TestUnreadableHold(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	path := filepath.Join(o.Public(), "timestamp.json")
	body, err := os.ReadFile(path)
	o.must(err)
	m, err := new(meta.Timestamp).FromBytes(body)
	o.must(err)
	m.Signed.Version++
	m.Signed.UnrecognizedFields[release.HoldField] = "all of them"
	m.ClearSignatures()
	for _, k := range o.Online().Keys {
		if k.Role == keyfile.Timestamp {
			o.must(meta.Sign(m, k))
		}
	}
	body, err = meta.Render(m)
	o.must(err)
	o.must(errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, body, 0o600)))
	if got := g.fetch(); got != "bad-fields" {
		t.Errorf("got %s", got)
	}
}

// TestKeptWithoutRoot: who has root may start a release where there is no trust; it is a floor once there is.
func TestKeptWithoutRoot(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	if got := g.fetch(); got != "v1.2.0" {
		t.Fatalf("got %s", got)
	}
	root := g.o.Root
	g.o.Root = nil
	u := g.open()
	o.must(u.Slots().Switch(nil, time.Minute))
	u.Slots().Launch()
	o.must(u.Confirm())
	if r := u.Running(); r.Counter != 2 {
		t.Errorf("release %d is in use, want 2", r.Counter)
	}
	g.o.Root = root
	if got := g.fetch(); got != "nothing" {
		t.Errorf("got %s", got)
	}
	g.wantFloor(2)
}

// TestLeft: what a cut has left of a download that has done its work is taken away by the next look, whatever that finds.
func TestLeft(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	dir := filepath.Join(g.o.Dir, "download")
	look := func(want string) {
		t.Helper()
		if got := g.fetch(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left of downloads: %v, %v", want, left, err)
		}
		for _, name := range []string{"program", strings.Repeat("0", 64) + ".unverified", strings.Repeat("1", 64) + ".part"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("left"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	look("v1.2.0")
	look("v1.2.0") // it is staged
	g.keep(2)
	look("nothing")
	o.release(3, nil)
	look("v1.3.0")
	u := g.open()
	if err := errors.Join(u.Slots().Switch(nil, time.Minute), u.Slots().Fail("leaks")); err != nil {
		t.Fatal(err)
	}
	look("known-bad")
}

// TestDelta: where the program that it is made from is here, the delta is asked for and nothing else of the programs.
func TestDelta(t *testing.T) {
	o := newOwner(t)
	o.release(1, nil)
	o.release(2, nil)
	g := newGateway(t, o)
	s := o.server(all)
	g.o.Places = []string{s.URL}
	if got := g.fetch(); got != "v1.2.0" || len(s.asked) != 1 {
		t.Fatalf("got %s by %q", got, s.asked)
	}
	if i, err := os.Stat(filepath.Join(o.Public(), s.asked[0])); err != nil || i.Size() > 6_000 {
		t.Errorf("got a file of %d bytes, want a delta", i.Size())
	}
	g.wantProgram("a", 2)
}

// TestWhoIsRefused: each refusal by its name, with nothing in the slots, and the running version untouched.
func TestWhoIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		signed func(*release.File)
		change func(t *testing.T, o *owner, g *gateway)
		want   string
	}{
		{"no root", nil, func(_ *testing.T, _ *owner, g *gateway) { g.o.Root = nil }, "no-trust"},
		{"another owner's root", nil, func(t *testing.T, _ *owner, g *gateway) { g.o.Root = newOther(t) }, "bad-signature"},
		{"no place", nil, func(_ *testing.T, o *owner, g *gateway) { g.o.Places = []string{filepath.Join(o.Dir, "nowhere")} }, "unreachable"},
		{"a place without TLS", nil, func(_ *testing.T, _ *owner, g *gateway) { g.o.Places = []string{"http://192.0.2.1/"} }, "bad-place"},
		{"expired", nil, func(_ *testing.T, o *owner, g *gateway) { g.o.Built = o.Now.Add(publish.TargetsLife + time.Hour) }, "expired"},
		{"other hardware", func(f *release.File) { f.Hardware = []string{"acme,pump"} }, nil, "nothing"},
		{"this hardware", func(f *release.File) { f.Hardware = []string{"acme,pump", "acme,gate"} }, nil, "v1.2.0"},
		{"other tenant", func(f *release.File) { f.Tenant = "acme" }, nil, "nothing"},
		{"does not follow", func(f *release.File) { f.MinAgent = 2 }, nil, "does-not-follow"},
		{"not yet", func(f *release.File) { f.Stage = 0 }, nil, "nothing"},
		{"held back online", nil, func(_ *testing.T, o *owner, _ *gateway) {
			o.must(o.Do(func(r *publish.Repo) error { return r.Hold(o.Online(), 2, 0) }))
		}, "nothing"},
		{"another platform", nil, func(_ *testing.T, _ *owner, g *gateway) { g.o.Machine.GOARCH = "riscv64" }, "nothing"},
		{"a file that was changed", nil, func(_ *testing.T, o *owner, _ *gateway) {
			o.spoil(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "wrong-hash"},
		{"a file that is shorter", nil, func(_ *testing.T, o *owner, _ *gateway) { o.spoil(func(b []byte) []byte { return b[:len(b)-1] }) }, "wrong-length"},
		{"a file that is longer", nil, func(_ *testing.T, o *owner, _ *gateway) { o.spoil(func(b []byte) []byte { return append(b, 0) }) }, "wrong-length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOwner(t)
			o.release(2, c.signed)
			g := newGateway(t, o)
			if c.change != nil {
				c.change(t, o, g)
			}
			got := g.fetch()
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if why, ok := beside[c.name]; ok {
				if l, err := g.open().Look(t.Context()); err != nil || l.Best != nil || ota.Reason(l.Why()) != why {
					t.Errorf("a look: got %+v, %v, want why it is not taken: %s", l, err, why)
				}
			}
			for _, s := range g.open().Slots().State().Slots {
				if s.State == "staged" && !strings.HasPrefix(c.want, "v") {
					t.Errorf("slot %s holds %+v", s.Slot, s)
				}
			}
		})
	}
}

// beside is what people are told by a look of what is not for this gateway, or not yet, and no reason for alarm.
var beside = map[string]string{"other hardware": "other-hardware", "other tenant": "other-tenant", "not yet": "not-yet", "held back online": "halted"}

// TestLostProgram: a release that was kept and whose program is not what it was any more is fetched again, and started: nobody has to make a newer one.
func TestLostProgram(t *testing.T) {
	for name, lose := range map[string]func(g *gateway) error{
		"a byte": func(g *gateway) error {
			path := filepath.Join(g.o.Dir, "slots", "a", "tidegate")
			b, err := os.ReadFile(path)
			b[len(b)/2] ^= 1
			return errors.Join(err, os.Remove(path), os.WriteFile(path, b, 0o555))
		},
		"the program":   func(g *gateway) error { return os.Remove(filepath.Join(g.o.Dir, "slots", "a", "tidegate")) },
		"all the slots": func(g *gateway) error { return os.RemoveAll(filepath.Join(g.o.Dir, "slots")) },
	} {
		t.Run(name, func(t *testing.T) {
			o := newOwner(t)
			o.release(2, nil)
			g := newGateway(t, o)
			if got := g.fetch(); got != "v1.2.0" {
				t.Fatalf("got %s", got)
			}
			g.keep(2)
			o.must(lose(g))
			if c := g.open().Slots().Launch(); c.Slot != slots.Zero || !c.Safe {
				t.Fatalf("started %+v, want slot 0 in safe mode", c)
			}
			if r := g.open().Running(); r.Counter != 1 {
				t.Errorf("%+v is in use, want release 1", r)
			}
			if got := g.fetch(); got != "v1.2.0" {
				t.Fatalf("got %s, want it once more", got)
			}
			u := g.open()
			o.must(u.Slots().Switch(nil, time.Minute))
			if c := u.Slots().Launch(); c.Counter != 2 || c.Safe {
				t.Errorf("started %+v, want release 2", c)
			}
			if to := u.Slots().State().Current; to == slots.Zero {
				t.Error("the link leads to the package's program")
			}
		})
	}
}

func newOther(t *testing.T) []byte {
	o := newOwner(t)
	o.release(1, nil)
	return o.root()
}

// spoil changes all files of releases.
func (o *owner) spoil(how func([]byte) []byte) {
	list, err := os.ReadDir(o.Public())
	o.must(err)
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		path := filepath.Join(o.Public(), e.Name())
		b, err := os.ReadFile(path)
		o.must(err)
		o.must(errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, how(b), 0o600)))
	}
}

// TestPlaces: one place that is an attacker's, or away, keeps nobody from the good one.
func TestPlaces(t *testing.T) {
	good := newOwner(t)
	good.release(2, nil)
	bad := newOwner(t)
	bad.release(9, nil)
	g := newGateway(t, good)
	g.o.Places = []string{filepath.Join(tmpfs.Dir(t), "away"), bad.Public(), good.Public()}
	var log bytes.Buffer
	g.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	if got := g.fetch(); got != "v1.2.0" {
		t.Errorf("got %s", got)
	}
	g.wantProgram("a", 2)
	if n := strings.Count(log.String(), "passed over"); n != 2 {
		t.Errorf("%d places are said to have been passed over, want 2:\n%s", n, &log)
	}
}

// TestBadPlaceLast: a place whose metadata are not the owner's is asked for files when no other has them.
func TestBadPlaceLast(t *testing.T) {
	good, bad := newOwner(t), newOwner(t)
	good.release(2, nil)
	bad.release(9, nil)
	g := newGateway(t, good)
	attacker := bad.server(all)
	half := good.server(func(_ http.Handler, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	g.o.Places = []string{attacker.URL, half.URL, good.Public()}
	if got := g.fetch(); got != "v1.2.0" || len(half.asked) == 0 || len(attacker.asked) > 0 {
		t.Errorf("got %s, asked the attacker for %q, and one that has no files for %q", got, attacker.asked, half.asked)
	}
}

// TestNeverBack: what was trusted or kept once is a floor, whatever is served, and whatever becomes of the slots.
func TestNeverBack(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	old := filepath.Join(tmpfs.Dir(t), "old")
	o.must(os.CopyFS(old, os.DirFS(o.Public())))
	o.release(3, nil)
	g := newGateway(t, o)
	if got := g.fetch(); got != "v1.3.0" {
		t.Fatalf("got %s", got)
	}
	g.keep(3)
	g.o.Places = []string{old}
	if got := g.fetch(); got != "rollback" {
		t.Errorf("a server of the day before: got %s", got)
	}
	for _, lost := range []string{"slots", "trial.0", "trial.1"} {
		o.must(os.RemoveAll(filepath.Join(g.o.Dir, lost)))
	}
	if got := g.fetch(); got != "rollback" {
		t.Errorf("with slots lost: got %s", got)
	}
	o.must(os.RemoveAll(filepath.Join(g.o.Dir, "tuf")))
	if got := g.fetch(); got != "rollback" {
		t.Errorf("with slots and cache lost: got %s", got)
	}
	g.o.Places = []string{o.Public()}
	hold := func(stage release.Stage) {
		o.must(o.Do(func(r *publish.Repo) error { return r.Hold(o.Online(), 3, stage) }))
	}
	hold(0)
	if got := g.fetch(); got != "nothing" {
		t.Errorf("with slots lost, and what was kept held back: got %s, want not the one before", got)
	}
	hold(release.All)
	if got := g.fetch(); got != "v1.3.0" {
		t.Errorf("with slots lost, from the good server: got %s", got)
	}
}

// TestDamageIsSaid: what was damaged of what is trusted is made good in the same look, and stands in the log; a release that was kept stays a floor.
func TestDamageIsSaid(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	if got := g.fetch(); got != "v1.2.0" {
		t.Fatalf("got %s", got)
	}
	var log bytes.Buffer
	quiet, loud := g.o.Log, slog.New(slog.NewTextHandler(&log, nil))
	o.must(os.WriteFile(filepath.Join(g.o.Dir, "floors.0"), []byte("{"), 0o600))
	g.o.Log = loud
	g.keep(2)
	if !strings.Contains(log.String(), "floors were damaged") {
		t.Errorf("when a release is kept the log says nothing of the floors:\n%s", &log)
	}
	g.o.Log = quiet
	o.release(3, nil)
	u := g.open() // a trial that fails is the last one
	if got := g.fetch(); got != "v1.3.0" {
		t.Fatalf("got %s", got)
	}
	o.must(errors.Join(u.Slots().Switch(nil, time.Minute), u.Slots().Fail("leaks")))
	for _, spoilt := range []string{"tuf/timestamp.json", "floors.0", "floors.1"} {
		o.must(os.WriteFile(filepath.Join(g.o.Dir, spoilt), []byte("{"), 0o600))
	}
	log.Reset()
	g.o.Log = loud
	if got := g.fetch(); got != "known-bad" {
		t.Errorf("got %s", got)
	}
	for _, want := range []string{"cached metadata were damaged", "floors were damaged"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log says nothing of %s:\n%s", want, &log)
		}
	}
	g.wantFloor(2)
}

// TestResume: a download that is cut off goes on, in another process and from where it was.
func TestResume(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	stale := filepath.Join(g.o.Dir, "download", strings.Repeat("e", 64)+".part")
	o.must(errors.Join(os.MkdirAll(filepath.Dir(stale), 0o700), os.WriteFile(stale, []byte("x"), 0o600)))
	sent, gone := 0, false
	s := o.server(func(files http.Handler, w http.ResponseWriter, r *http.Request) {
		if gone {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		gone = true
		files.ServeHTTP(&cut{ResponseWriter: w, left: 20_000, sent: &sent}, r)
	})
	g.o.Places = []string{s.URL}
	got := ""
	for n := 0; n < 10 && got != "v1.2.0"; n++ {
		gone, got = false, g.fetch()
		if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a download of another file stays: %v", err)
		}
	}
	if got != "v1.2.0" || sent > 66_000 {
		t.Errorf("got %s with %d bytes sent, want it with little more than 60,000", got, sent)
	}
	g.wantProgram("a", 2)
}

// A cut breaks off behind so many bytes.
type cut struct {
	http.ResponseWriter
	left int
	sent *int
}

func (c *cut) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	c.left -= n
	*c.sent += n
	if c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// TestOneAtATime: two processes do not fetch beside each other.
func TestOneAtATime(t *testing.T) {
	o := newOwner(t)
	o.release(2, nil)
	g := newGateway(t, o)
	held, end := make(chan struct{}), make(chan struct{})
	files := http.FileServer(http.Dir(o.Public()))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "timestamp.json") {
			close(held)
			<-end
		}
		files.ServeHTTP(w, r)
	}))
	defer s.Close()
	first := *g
	first.o.Places = []string{s.URL}
	done := make(chan error, 1)
	u := first.open()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { _, err := u.Fetch(ctx); done <- err }()
	<-held
	if got := g.fetch(); got != "busy" {
		t.Errorf("got %s", got)
	}
	if _, err := g.open().Look(t.Context()); !errors.Is(err, ota.ErrBusy) {
		t.Errorf("a look: got %v, want %v", err, ota.ErrBusy)
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestOwn: the slot of a program is known also where the state directory is reached by a link.
func TestOwn(t *testing.T) {
	dir, link := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Symlink(dir, link)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, link} {
		// The package's own program is not known; the slots are, which is all that is asked for.
		u, err := ota.Open(ota.Options{Dir: filepath.Join(d, "ota"), Lib: t.TempDir()})
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for path, want := range map[string]slots.Slot{"ota/slots/a/tidegate": slots.A, "ota/slots/b/tidegate": slots.B, "lib/tidegate": slots.Zero} {
			if got := u.Own(filepath.Join(dir, path)); got != want {
				t.Errorf("%s from %s: got %s, want %s", path, d, got, want)
			}
		}
	}
}

// TestNoExec: from a disk on which nothing can be started nothing is asked for but what is trusted.
func TestNoExec(t *testing.T) {
	dir, isInside := tmpfs.Mounted(t)
	if !isInside {
		return
	}
	o := newOwner(t)
	o.release(2, nil)
	var asked []string // one request after the other
	files := http.FileServer(http.Dir(o.Public()))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, ".tidegate-") {
			asked = append(asked, r.URL.Path)
		}
		files.ServeHTTP(w, r)
	}))
	defer s.Close()
	g := newGateway(t, o)
	g.o.Dir, g.o.Places = filepath.Join(dir, "ota"), []string{s.URL}
	tmpfs.Remount(t, dir, syscall.MS_NOEXEC)
	if got := g.fetch(); got != "no-exec" || len(asked) > 0 {
		t.Errorf("got %s, and %q was asked for", got, asked)
	}
	tmpfs.Remount(t, dir, 0)
	if got := g.fetch(); got != "v1.2.0" || len(asked) != 1 {
		t.Errorf("mounted without noexec: got %s, and %q was asked for", got, asked)
	}
	g.keep(2)
}
