package agent_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/buffer"
)

// writeKey writes a key of that byte, and returns its digits.
func writeKey(t *testing.T, path string, first byte) string {
	t.Helper()
	text := hex.EncodeToString(append([]byte{first}, bytes.Repeat([]byte{0xab, 0xcd, 0xef}, 11)[:31]...))
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return text
}

// logOf collects what a gateway says.
type logOf struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logOf) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logOf) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestBufferKeyIsMissing: without its key, or with another one, a gateway starts, reads, says what is missing, and loses nothing; once the key is there it goes on.
func TestBufferKeyIsMissing(t *testing.T) {
	for _, how := range []string{"gone", "another", "not named"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				x := newBed(t, b)
				key := filepath.Join(filepath.Dir(x.dir), "buffer.key")
				secret := writeKey(t, key, 1)
				var log logOf
				x.parts.Log = slog.New(slog.NewTextHandler(&log, nil))
				sealed := "buffer: {key: " + key + "}\n" + oneDevice
				b.leave()
				g := x.start(sealed)
				time.Sleep(10*time.Second + 50*time.Millisecond)
				g.end()

				text := sealed
				switch how {
				case "gone":
					if err := os.Remove(key); err != nil {
						t.Fatal(err)
					}
				case "another":
					writeKey(t, key, 2)
				default:
					text = oneDevice
				}
				if _, err := agent.OpenOffline(x.load(text), "test", x.parts.Log); !errors.Is(err, buffer.ErrKey) || !strings.Contains(err.Error(), "buffer.key") {
					t.Errorf("looking at the store: got %v, want ErrKey", err)
				}
				b.come()
				g = x.start(text)
				time.Sleep(10*time.Second + 50*time.Millisecond)
				s := g.Status()
				if len(s.Conditions) != 1 || s.Conditions[0].Code != "buffer_key" || !strings.Contains(s.Conditions[0].Detail, "key") {
					t.Errorf("conditions are %+v, want buffer_key", s.Conditions)
				}
				if d := g.device("a"); d.Reads < 100 || g.Healthy() != nil {
					t.Errorf("the device was read %d times, want 100; healthy: %v", d.Reads, g.Healthy())
				}
				if bad, _ := filepath.Glob(x.dir + "/buffer.bad-*"); len(bad) > 0 {
					t.Errorf("a store was set aside: %q", bad)
				}
				writeKey(t, key, 1)
				if how == "not named" {
					g.end()
					g = x.start(sealed)
					time.Sleep(50 * time.Millisecond)
				}
				time.Sleep(10 * time.Second)
				if c := g.conditions(); c != "" {
					t.Errorf("conditions are %q, want none", c)
				}
				g.end()
				f.check(t, 0)
				want := 101 + 201
				if how == "not named" {
					want++ // a Read at each start
				}
				if got := len(f.counted(t, "a")); got != want {
					t.Errorf("%d Reads arrived, want %d", got, want)
				}
				if strings.Contains(log.String(), secret[2:20]) {
					t.Errorf("the log holds a key: %s", log.String())
				}
			})
		})
	}
}

// TestBufferKeyIsLost: who moves the store away goes on with another key, and what was in it is declared.
func TestBufferKeyIsLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		key := filepath.Join(filepath.Dir(x.dir), "buffer.key")
		writeKey(t, key, 1)
		sealed := "buffer: {key: " + key + "}\n" + oneDevice
		g := x.start(sealed)
		time.Sleep(10*time.Second + 50*time.Millisecond)
		b.leave()
		time.Sleep(10 * time.Second)
		g.end()
		writeKey(t, key, 2)
		if err := os.Rename(filepath.Join(x.dir, "buffer"), filepath.Join(filepath.Dir(x.dir), "lost")); err != nil {
			t.Fatal(err)
		}
		b.come()
		g = x.start(sealed)
		time.Sleep(3 * time.Minute)
		if c := g.conditions(); c != "" {
			t.Errorf("conditions are %q, want none", c)
		}
		g.end()
		f.check(t, 1)
		e := f.receiver.Account().Gateways[0].Epochs[0]
		if len(e.Gaps) == 1 && (e.Gaps[0].Cause != tidegate.CauseDamaged || e.Gaps[0].To-e.Gaps[0].From < 90) {
			t.Errorf("the gap is %+v, want what was read in 10 s without a link", e.Gaps[0])
		}
	})
}

// TestBufferKeyRotates on a running gateway: the new key is taken over by a reload, an old one can go when nothing is sealed with it.
func TestBufferKeyRotates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		dir := filepath.Dir(x.dir)
		k1, k2 := filepath.Join(dir, "1.key"), filepath.Join(dir, "2.key")
		secrets := []string{writeKey(t, k1, 1), writeKey(t, k2, 2)}
		clear, first := oneDevice, "buffer: {key: "+k1+"}\n"+oneDevice
		both, second := "buffer: {key: "+k2+", old_keys: ["+k1+"]}\n"+oneDevice, "buffer: {key: "+k2+"}\n"+oneDevice
		off := "buffer: {old_keys: [" + k2 + "]}\n" + oneDevice
		b.leave()
		g := x.start(clear)
		wait := func() { time.Sleep(10 * time.Second) }
		time.Sleep(50 * time.Millisecond)
		wait()
		for i, text := range []string{first, both, off} {
			if i == 1 { // not without the old one: its frames are not delivered
				if err := g.Reload(g.ctx, x.load(second)); !errors.Is(err, buffer.ErrKey) || !strings.Contains(err.Error(), "frames") {
					t.Errorf("got %v, want ErrKey with what is left", err)
				}
			}
			if i == 2 {
				text = strings.Replace(text, "["+k2, "["+k1+", "+k2, 1)
			}
			if err := g.Reload(g.ctx, x.load(text)); err != nil {
				t.Fatal(err)
			}
			wait()
			s := g.Status()
			if len(s.Queue.Keys) != i+2 || !s.Queue.Keys[0].Seals || s.Queue.Keys[0].Readings == 0 || s.Queue.Keys[1].Rules != 0 {
				if i < 2 {
					t.Errorf("step %d: keys are %+v", i, s.Queue.Keys)
				}
			}
			js, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range secrets {
				if bytes.Contains(js, []byte(secret[2:20])) {
					t.Errorf("the status holds a key: %s", js)
				}
			}
		}
		c, err := g.Check(g.ctx)
		if err != nil || len(c.Faults) > 0 || len(c.Sealed) != 2 || c.Sealed[0].Frames == 0 {
			t.Errorf("check: %+v, %v, want frames of two keys", c, err)
		}
		b.come()
		time.Sleep(3 * time.Minute)
		g.end()
		wantAccount(t, g.Status(), 5*uint64(len(f.counted(t, "a"))))
		f.check(t, 0)
		o, err := agent.OpenOffline(x.load(strings.Replace(off, "["+k2, "["+k1+", "+k2, 1)), "test", x.parts.Log)
		if err != nil {
			t.Fatal(err)
		}
		if s := o.Status(); len(s.Queue.Keys) != 3 || s.Account.Lost != 0 {
			t.Errorf("offline: %+v", s.Queue)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
}
