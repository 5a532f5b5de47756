package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/buffer"
)

// TestDamagedStore damages the store between two starts, with readings in it that nobody has: the gateway starts, goes on numbering, declares
// as one gap what cannot be read of it, and delivers the rest and what is new.
func TestDamagedStore(t *testing.T) {
	type file struct {
		name   string
		change func([]byte) []byte
	}
	for name, damaged := range map[string]file{
		"MANIFEST flipped": {"MANIFEST", func(b []byte) []byte { b[1] ^= 4; return b }},
		"table cut":        {"*.sst", func(b []byte) []byte { return b[:len(b)/2] }}, // the first half of its only block
		"table's end":      {"*.sst", func(b []byte) []byte { clear(b[len(b)-40:]); return b }},
	} {
		for _, how := range []struct {
			name          string
			cut, noRings  bool
			nothingBefore bool // the uplink never had anything
		}{
			{name: "stopped in order"},
			{name: "reboot", noRings: true},
			{name: "power cut", cut: true, noRings: true},
			{name: "killed", cut: true},
			{name: "stopped, nothing delivered", nothingBefore: true},
			{name: "reboot, nothing delivered", nothingBefore: true, noRings: true},
			{name: "power cut, nothing delivered", nothingBefore: true, noRings: true, cut: true},
		} {
			if how.nothingBefore && how.cut && damaged.name != "MANIFEST" {
				continue // there is no table yet
			}
			t.Run(name+", "+how.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := newBroker(t)
					f := newFar(t, b)
					x := newBed(t, b)
					before := 0
					if !how.nothingBefore {
						g := x.start(oneDevice)
						time.Sleep(10*time.Second + 50*time.Millisecond)
						g.end()
						before = 101
					}
					b.leave()
					g := x.start(oneDevice)
					time.Sleep(10*time.Second + 50*time.Millisecond)
					epoch, next := g.numbers()
					saved := filepath.Join(filepath.Dir(x.dir), "saved")
					if how.cut {
						copyDir(t, filepath.Join(saved, "state"), x.dir)
						copyDir(t, filepath.Join(saved, "rings"), x.rings)
					}
					g.end()
					if how.cut {
						copyDir(t, x.dir, filepath.Join(saved, "state"))
						copyDir(t, x.rings, filepath.Join(saved, "rings"))
					}
					if how.noRings {
						if err := os.RemoveAll(x.rings); err != nil {
							t.Fatal(err)
						}
					}
					damage(t, filepath.Join(x.dir, "buffer", damaged.name), damaged.change)
					if damaged.name != "MANIFEST" { // an Open that fails leaves goroutines
						_, err := agent.OpenOffline(x.load(oneDevice), x.parts.Version, x.parts.Log)
						if bad, _ := filepath.Glob(x.dir + "/buffer.bad-*"); !errors.Is(err, buffer.ErrDamaged) || len(bad) > 0 {
							t.Errorf("looking at the store: got %v, set aside %q; want ErrDamaged and nothing", err, bad)
						}
					}
					b.come()
					g = x.start(oneDevice)
					time.Sleep(20*time.Second + 50*time.Millisecond)
					again, now := g.numbers()
					if again != epoch || now < next+200 {
						t.Errorf("numbers are at %d of %s, want those of %s above %d", now, again, epoch, next+200)
					}
					s := g.Status()
					if len(s.Conditions) != 1 || s.Conditions[0].Code != "store_damaged" || !strings.Contains(s.Conditions[0].Detail, x.dir+"/buffer.bad-") {
						t.Errorf("conditions are %+v, want store_damaged with the path", s.Conditions)
					}
					g.end()
					gaps := 0
					if how.cut && how.noRings {
						gaps = 1
					}
					if name == "table cut" { // what it held may have been delivered
						gaps = min(1, len(f.receiver.Account().Gateways[0].Epochs[0].Gaps))
					}
					f.check(t, gaps) // no hole: what did not arrive is in the gap
					missing := before + 101 + 201 - len(f.counted(t, "a"))
					most := 0 // all of it verifies, and was salvaged
					switch {
					case name == "table cut":
						most = 101
					case how.cut && how.noRings:
						most = 20 // what no commit held
					}
					if missing > most {
						t.Errorf("%d Reads are missing, want at most %d", missing, most)
					}
					e := f.receiver.Account().Gateways[0].Epochs[0]
					if len(e.Gaps) == 0 {
						return
					}
					if g := e.Gaps[0]; g.Cause != tidegate.CauseDamaged || g.AtMost < int64(5*missing) || missing > 101 {
						t.Errorf("%d Reads of 5 readings are missing, the gap is %+v; next was %d", missing, g, next)
					}
				})
			})
		}
	}
}

// damage changes the first file of that name. Those that Badger refuses by itself are in buffer: an Open that fails leaves goroutines.
func damage(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	list, err := filepath.Glob(name)
	if err != nil || len(list) == 0 {
		t.Fatalf("no %s (%v)", name, err)
	}
	b, err := os.ReadFile(list[0])
	if err == nil {
		err = os.WriteFile(list[0], change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// copyDir puts a copy of from in place of to.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	err := os.RemoveAll(to)
	if err == nil {
		err = os.CopyFS(to, os.DirFS(from))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLimitShrunkFollows has others hold the disk for a while: the condition comes and goes with them.
func TestLimitShrunkFollows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		newFar(t, b) // without receipts the uplink would come and go
		x := newBed(t, b)
		var free atomic.Int64
		x.parts.Statfs = func(string) (int64, int64, error) { return free.Load(), 100 << 30, nil }
		g := x.start(oneDevice)
		for _, s := range []struct {
			free int64
			want string
		}{{120 << 20, "limit_shrunk"}, {50 << 30, ""}, {120 << 20, "limit_shrunk"}, {50 << 30, ""}} {
			free.Store(s.free)
			time.Sleep(2 * time.Minute)
			if c := g.conditions(); c != s.want {
				t.Errorf("%d bytes are free, conditions are %q, want %q", s.free, c, s.want)
			}
		}
		g.end()
	})
}
