package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// machine is a gateway's directories, and the times that it was started.
type machine struct {
	t interface {
		Helper()
		Fatal(...any)
		Errorf(string, ...any)
	}
	fast, slow string
	keeper     *Keeper
	trouble    atomic.Value // text
	old        []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := tmpfs.Dir(t)
	m := &machine{t: t, fast: filepath.Join(dir, "fast"), slow: filepath.Join(dir, "state", "memory")}
	m.start()
	return m
}

// start begins a new process.
func (m *machine) start() {
	m.keeper = Open(Options{Fast: m.fast, Slow: m.slow, Log: slog.New(slog.DiscardHandler), Trouble: func(err error) { m.trouble.Store(fmt.Sprint(err)) }})
}

// of returns the device's memory as its driver sees it.
func (m *machine) of(device string) drivers.Memory {
	return m.keeper.Host(nil, device, func(of time.Time) { m.old = append(m.old, device) }).Memory(context.Background())
}

func (m *machine) store(device, text string) {
	m.t.Helper()
	if err := m.of(device).Store([]byte(text)); err != nil {
		m.t.Fatal(err)
	}
}

// wants says what the device finds.
func (m *machine) wants(device, want string) {
	m.t.Helper()
	b, err := m.of(device).Load()
	if err != nil || string(b) != want {
		m.t.Errorf("%s loads %q, %v, want %q", device, b, err, want)
	}
}

// flush is what a minute does.
func (m *machine) flush() {
	m.t.Helper()
	m.keeper.disk.Lock()
	defer m.keeper.disk.Unlock()
	if err := m.keeper.flush(); err != nil {
		m.t.Fatal(err)
	}
}

// cutPower loses what is on tmpfs, and starts again.
func (m *machine) cutPower() {
	m.t.Helper()
	if err := os.RemoveAll(m.fast); err != nil {
		m.t.Fatal(err)
	}
	m.start()
}

func (m *machine) close() {
	m.t.Helper()
	if err := m.keeper.Close(); err != nil {
		m.t.Fatal(err)
	}
}

func TestKillLosesNothingThatWasStored(t *testing.T) {
	m := newMachine(t)
	m.wants("meter", "")
	for i := range 5 {
		m.store("meter", fmt.Sprint("count ", i))
		m.store("other", "x")
		m.start() // kill -9 leaves all files as they are
		m.wants("meter", fmt.Sprint("count ", i))
		m.wants("other", "x")
	}
	if len(m.old) > 0 {
		t.Errorf("said to be old: %v", m.old)
	}
}

// TestKillInTheMiddleOfAWrite tears what is written at every byte: the one before counts.
func TestKillInTheMiddleOfAWrite(t *testing.T) {
	m := newMachine(t)
	m.store("meter", "the one before, which is longer")
	m.store("meter", "torn")
	path := filepath.Join(m.fast, "meter~0") // the second
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		left := append(bytes.Clone(whole[:n]), bytes.Repeat([]byte{0xa5}, len(whole)-n)...)
		if err := os.WriteFile(path, left, 0o600); err != nil {
			t.Fatal(err)
		}
		m.start()
		m.wants("meter", "the one before, which is longer")
	}
	m.store("meter", "next") // in the place of the torn one
	m.start()
	m.wants("meter", "next")
}

// TestKillInTheFirstWrite: there was nothing before, and nothing is damaged.
func TestKillInTheFirstWrite(t *testing.T) {
	m := newMachine(t)
	m.store("meter", "first")
	path := filepath.Join(m.fast, "meter~1")
	whole, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, whole[:len(whole)-1], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.start()
	m.wants("meter", "")
	m.store("meter", "again")
	m.start()
	m.wants("meter", "again")
}

func TestPowerCutLosesAMinuteAtMostAndSaysSo(t *testing.T) {
	m := newMachine(t)
	m.store("meter", "one")
	m.flush()
	m.store("meter", "two")
	m.store("young", "began within the minute")
	m.cutPower()
	m.wants("meter", "one")
	m.wants("young", "")
	m.wants("new", "")
	if got := fmt.Sprint(m.old); got != "[meter]" {
		t.Errorf("said to be old: %s, want meter", got)
	}
	m.store("meter", "three")
	m.close()
	m.old = nil
	m.cutPower() // after a clean stop
	m.wants("meter", "three")
	if len(m.old) > 0 {
		t.Errorf("said to be old after a clean stop: %v", m.old)
	}
	m.cutPower() // it stored nothing, but might have
	m.wants("meter", "three")
	if got := fmt.Sprint(m.old); got != "[meter]" {
		t.Errorf("said to be old: %s, want meter", got)
	}
}

// TestOncePerMinute writes to the disk once a minute what changed, and nothing where nothing did.
func TestOncePerMinute(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.keeper.Run(ctx) }()
		written := map[uint64]bool{}
		time.Sleep(every / 120) // between two ticks
		for i := range 600 {
			if i < 300 {
				m.store("meter", fmt.Sprint(i))
			} else {
				m.store("meter", "stays")
			}
			time.Sleep(time.Second)
			synctest.Wait()
			raw, err := os.ReadFile(filepath.Join(m.slow, "meter~kept"))
			if errors.Is(err, os.ErrNotExist) && i < 60 {
				continue
			}
			g, err := decode(raw)
			if err != nil {
				t.Fatalf("after %d s: %v", i, err)
			}
			written[g.counter] = true
		}
		if len(written) != 6 {
			t.Errorf("written %d times, want 6: five that changed and the last", len(written))
		}
		before, err := os.Stat(filepath.Join(m.slow, "meter~kept"))
		if err != nil {
			t.Fatal(err)
		}
		stop()
		<-done
		m.close()
		if after, err := os.Stat(filepath.Join(m.slow, "meter~kept")); err != nil || !os.SameFile(before, after) {
			t.Errorf("written at the stop although nothing changed: %v", err)
		}
	})
}

func TestDamagedIsSetAsideAndSaid(t *testing.T) {
	m := newMachine(t)
	m.store("meter", "count")
	m.flush()
	slow := filepath.Join(m.slow, "meter~kept")
	spoil := func(path string) {
		t.Helper()
		b, err := os.ReadFile(path)
		if err == nil {
			b[len(b)-1] ^= 1
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	spoil(slow)
	m.start()
	m.wants("meter", "count") // from tmpfs
	if bad, _ := filepath.Glob(slow + "~bad-*"); len(bad) != 1 {
		t.Errorf("set aside: %v", bad)
	}
	m.flush()
	m.cutPower()
	spoil(slow)
	_, err := m.of("meter").Load()
	if err == nil || !strings.HasPrefix(err.Error(), "what the device kept is damaged and set aside as "+slow+"~bad-") ||
		!strings.Contains(err.Error(), ", it begins with nothing: "+slow+": CRC is 0x") {
		t.Errorf("error is %v", err)
	}
	if bad, _ := filepath.Glob(slow + "~bad-*"); len(bad) != 2 {
		t.Errorf("set aside: %v", bad)
	}
	m.wants("meter", "") // said once
	m.store("meter", "anew")
	m.close()
	m.cutPower()
	m.wants("meter", "anew")
}

func TestWhatCannotBeReadIsNotOverwritten(t *testing.T) {
	m := newMachine(t)
	if err := os.MkdirAll(filepath.Join(m.slow, "meter~kept"), 0o700); err != nil { // no file
		t.Fatal(err)
	}
	for range 2 {
		if _, err := m.of("meter").Load(); err == nil || !strings.Contains(err.Error(), "cannot be read: read "+m.slow+"/meter~kept: is a directory; give") {
			t.Errorf("Load: %v", err)
		}
		if err := m.of("meter").Store([]byte("x")); err == nil {
			t.Error("stored, although what stood there is not known")
		}
	}
}

func TestBounds(t *testing.T) {
	m := newMachine(t)
	most := strings.Repeat("x", drivers.MemoryMost)
	m.store("meter", most)
	if err := m.of("meter").Store([]byte(most + "x")); err == nil || err.Error() != "keep 4097 bytes: at most 4096 are kept for a device" {
		t.Errorf("got %v", err)
	}
	m.start()
	m.wants("meter", most)
	m.store("meter", "") // is something: not the same as nothing
	m.close()
	m.cutPower()
	if b, err := m.of("meter").Load(); b == nil || len(b) != 0 || err != nil {
		t.Errorf("got %v, %v, want no bytes, and not nil", b, err)
	}
	for _, name := range []string{".", "..", "a.b", "-"} {
		m.store(name, name)
	}
	m.close()
	m.cutPower()
	for _, name := range []string{".", "..", "a.b", "-"} {
		m.wants(name, name)
	}
}

// TestWithoutTmpfs keeps in memory, and on disk each minute.
func TestWithoutTmpfs(t *testing.T) {
	m := newMachine(t)
	m.fast = ""
	m.start()
	m.store("meter", "one")
	m.flush()
	m.store("meter", "two")
	m.wants("meter", "two")
	m.start() // kill -9
	m.wants("meter", "one")
	if got := fmt.Sprint(m.old); got != "[meter]" {
		t.Errorf("said to be old: %s, want meter", got)
	}
}

// TestTrouble says when the disk does not take what devices keep, and writes it once it does.
func TestTrouble(t *testing.T) {
	m := newMachine(t)
	parent := filepath.Dir(m.slow)
	m.wants("meter", "")
	if err := errors.Join(os.RemoveAll(m.slow), os.WriteFile(m.slow, nil, 0o600)); err != nil { // a file where the directory was
		t.Fatal(err)
	}
	m.store("meter", "x")
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.keeper.Run(ctx) }()
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if got := m.trouble.Load().(string); !strings.Contains(got, "write what device meter keeps: ") {
			t.Errorf("trouble is %s", got)
		}
		if err := os.Remove(m.slow); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := m.trouble.Load(); got != "<nil>" {
			t.Errorf("trouble is %s", got)
		}
		stop()
		<-done
	})
	m.close()
	if list, err := os.ReadDir(parent); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	m.cutPower()
	m.wants("meter", "x")
}

// TestHistories stores, kills, cuts the power, stops and damages at random: a device finds what it stored last, or what it had at the last
// minute when the power was cut since, and then it is told.
func TestHistories(t *testing.T) {
	dir := tmpfs.Dir(t)
	rounds := 0
	rapid.Check(t, func(t *rapid.T) {
		rounds++
		at := filepath.Join(dir, fmt.Sprint(rounds))
		m := &machine{t: t, fast: filepath.Join(at, "fast"), slow: filepath.Join(at, "state", "memory")}
		m.start()
		last, disk := "", ""
		check := func() {
			m.old = nil
			m.wants("meter", last)
		}
		t.Repeat(map[string]func(*rapid.T){
			"store": func(t *rapid.T) {
				last = rapid.StringN(1, 40, 40).Draw(t, "what")
				m.store("meter", last)
			},
			"minute": func(*rapid.T) { m.flush(); disk = last },
			"kill":   func(*rapid.T) { m.start(); check() },
			"stop":   func(*rapid.T) { m.close(); disk = last; m.start(); check() },
			"cut": func(t *rapid.T) {
				m.cutPower()
				last = disk
				check()
				if (len(m.old) > 0) != (disk != "") {
					t.Errorf("said to be old: %v, found %q", m.old, disk)
				}
			},
			"clean cut": func(t *rapid.T) {
				m.close()
				disk = last
				m.cutPower()
				check()
				if len(m.old) > 0 {
					t.Errorf("said to be old after a clean stop")
				}
			},
			"": func(*rapid.T) { m.wants("meter", last) },
		})
		_ = os.RemoveAll(at)
	})
}

func FuzzDecode(f *testing.F) {
	for _, g := range []generation{{}, {counter: 7, written: time.UnixMilli(1), body: []byte("count 1")}, {counter: 1 << 63, body: make([]byte, drivers.MemoryMost)}} {
		f.Add(encode(g))
		f.Add(append(encode(g), "left over"...))
	}
	f.Add([]byte("tgMm"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := decode(b)
		if err != nil {
			return
		}
		again := encode(g)
		if len(again) > len(b) || !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("encodes to %x, want %x", again, b)
		}
	})
}
