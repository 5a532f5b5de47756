package agent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/sim"
)

const before = `
devices:
  - {name: stays, driver: sim}
  - {name: changes, driver: sim}
  - {name: leaves, driver: sim}
rules:
  - {name: old, when: stays.n >= 5, do: [{alarm: {severity: error, text: five}}]}
  - {name: both, when: stays.n >= 10, do: [{alarm: {severity: info, text: ten}}]}
` + oneUplink

const after = `
devices:
  - {name: stays, driver: sim}
  - {name: changes, driver: sim, every: 2s}
  - {name: comes, driver: sim}
rules:
  - {name: both, when: stays.n >= 10, do: [{alarm: {severity: info, text: ten}}]}
  - {name: new, when: comes.n >= 3, do: [{alarm: {severity: error, text: three}}]}
buffer: {sync: 500ms, keep: 1d}
` + oneUplink

// TestReload changes devices, rules and the buffer while everything runs.
func TestReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		g := x.start(before)
		time.Sleep(20*time.Second + 500*time.Millisecond)
		if err := g.Reload(g.ctx, x.load(after)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Second + 200*time.Millisecond)
		var names []string
		for _, d := range g.Status().Devices {
			names = append(names, fmt.Sprintf("%s %d", d.Name, d.Reads))
		}
		if got := strings.Join(names, ", "); got != "stays 41, changes 11, comes 21" {
			t.Errorf("devices and their Reads: %s", got)
		}
		g.end()
		wantAccount(t, g.Status(), 5*(41+21+11+21+21))
		f.check(t, 0)
		f.wantCounts(t, "stays", 41)
		f.wantCounts(t, "leaves", 21)
		f.wantCounts(t, "comes", 21)
		if got := fmt.Sprint(f.counted(t, "changes")); got != "[1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9 10 10 11 11 12 13 14 15 16 17 18 19 20 21]" {
			t.Errorf("changes counted %s, want to 21 and, opened anew, to 11", got)
		}
		for rule, want := range map[string]string{"old": "[raised cleared]", "both": "[raised]", "new": "[raised]"} {
			if got := fmt.Sprint(f.alarms(t, rule)); got != want {
				t.Errorf("alarms of rule %s are %s, want %s", rule, got, want)
			}
		}
	})
}

// TestReloadRefuses names what only a restart changes, and changes nothing at all then.
func TestReloadRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ change, to, want string }{
		"another state directory": {"state_dir: ", "state_dir: /other", "only a restart changes state_dir"},
		"listen":                  {"rules:", "listen: 127.0.0.1:8480\nrules:", "only a restart changes listen"},
		"id and listen":           {"gw-1}", "gw-2}\nlisten: 127.0.0.1:8480", "only a restart changes gateway.id, listen"},
		"another name of uplink":  {"uplink: {", "uplink: {name: other, ", "only a restart adds or removes an uplink (other, uplink)"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				newFar(t, b)
				x := newBed(t, b)
				g := x.start(before)
				time.Sleep(3 * time.Second)
				err := g.Reload(g.ctx, x.loadChanged(after, tt.change, tt.to))
				if err == nil || err.Error() != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				time.Sleep(3*time.Second + 500*time.Millisecond)
				var names []string
				for _, d := range g.Status().Devices {
					names = append(names, fmt.Sprintf("%s %d", d.Name, d.Reads))
				}
				if got := strings.Join(names, ", "); got != "stays 7, changes 7, leaves 7" {
					t.Errorf("devices and their Reads: %s", got)
				}
				g.end()
				if err := g.Reload(t.Context(), x.load(after)); err == nil || err.Error() != "the gateway is starting or stopping; try again" {
					t.Errorf("Reload after the end: %v", err)
				}
			})
		})
	}
}

// TestReloadKeepsOutputs: a device that is opened anew with other settings is set to what the rules demand.
func TestReloadKeepsOutputs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, onFrom(5*time.Second))
		g := x.start(switching)
		time.Sleep(10 * time.Second)
		changed := strings.Replace(switching, "driver: output}", "driver: output, part: other}", 1)
		if err := g.Reload(g.ctx, x.load(changed)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		g.end()
		s.wantSets(t, "0s relay=false", "5s relay=true", "10s relay=true")
	})
}

// TestRulesActWhileADeviceIsAway: what a rule demands while its output's device is stopped for a reload, which takes its time, is set when
// the device is there again.
func TestRulesActWhileADeviceIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, onFrom(10*time.Second))
		s.out.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
			if n > 1 {
				<-ctx.Done()
				time.Sleep(2 * time.Second) // a driver that is slow to return
			}
			return one(n), ctx.Err()
		}
		g := x.start(switching)
		time.Sleep(9500 * time.Millisecond)
		changed := strings.Replace(switching, "driver: output}", "driver: output, part: other}", 1)
		if err := g.Reload(g.ctx, x.load(changed)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		g.end()
		got := s.out.wasSet()
		if len(got) == 0 || !strings.HasSuffix(got[len(got)-1], "relay=true") {
			t.Errorf("sets are %v, want the last to be true", got)
		}
	})
}

// TestDevicesOfAReloadEndWithTheLine: where the judge cannot go on, a device that a reload started is closed like any other.
func TestDevicesOfAReloadEndWithTheLine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlay()
		var closed bool
		p.read = func(ctx context.Context, _ int) ([]tidegate.Reading, error) { <-ctx.Done(); return nil, ctx.Err() }
		p.close = func() error { closed = true; return nil }
		x := newBed(t, nil, p.driver("waits", 0))
		const one = "devices:\n  - {name: a, driver: sim}\n"
		g := x.start(one)
		time.Sleep(5500 * time.Millisecond)
		if err := g.Reload(g.ctx, x.load(one+"  - {name: b, driver: waits}\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		damageRing(t, filepath.Join(x.rings, "ring-1"))
		time.Sleep(2 * time.Second)
		select {
		case err := <-g.done:
			if err == nil || !strings.Contains(err.Error(), "judge: ring") {
				t.Errorf("Run returned %v, want what is wrong with the ring", err)
			}
		default:
			t.Error("Run goes on 2 s after the ring was damaged")
			g.stop()
			<-g.done
		}
		if !closed {
			t.Error("the device of the reload was not closed")
		}
	})
}

// damageRing makes the ring of that file hold an entry that never was one.
func damageRing(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const header, atHead = 4096, 128 // of agent/box
	var b [8]byte
	if _, err := f.ReadAt(b[:], atHead); err != nil {
		t.Fatal(err)
	}
	head := binary.NativeEndian.Uint64(b[:])
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xee}, 64), header+int64(head)); err != nil {
		t.Fatal(err)
	}
	binary.NativeEndian.PutUint64(b[:], head+64)
	if _, err := f.WriteAt(b[:], atHead); err != nil {
		t.Fatal(err)
	}
}

// TestReloadOfUplink changes the settings of an uplink: it goes on where it was, under the same epoch.
func TestReloadOfUplink(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		g := x.start(before)
		for range 5 {
			for _, compress := range []string{"none", "gzip"} {
				time.Sleep(10 * time.Second)
				if err := g.Reload(g.ctx, x.loadChanged(before, "confirm:", "compress: "+compress+", confirm:")); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(3*time.Second + 500*time.Millisecond)
		g.end()
		f.check(t, 0)
		f.wantCounts(t, "stays", 104)
		wantAccount(t, g.Status(), 3*5*104)
		if s := g.Status(); len(s.Uplinks) != 1 {
			t.Errorf("uplinks are %+v", s.Uplinks)
		}
		if e := f.receiver.Account().Gateways[0].Epochs; len(e) != 1 {
			t.Errorf("%d epochs arrived, want 1: %+v", len(e), e)
		}
	})
}

// TestReloadStopsUplinksTogether: three uplinks that wait for what is in flight hold up a reload as long as one.
func TestReloadStopsUplinksTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		brokers := map[string]*broker{"one.test:1883": newBroker(t), "two.test:1883": newBroker(t), "three.test:1883": newBroker(t)}
		x := newBed(t, nil)
		x.parts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return brokers[address].dial(ctx, network, address)
		}
		const three = "devices: [{name: a, driver: sim}]\nuplinks:\n" +
			"  - {name: one, url: \"mqtt://one.test\", compress: none}\n" +
			"  - {name: two, url: \"mqtt://two.test\", compress: none}\n" +
			"  - {name: three, url: \"mqtt://three.test\", compress: none}\n"
		g := x.start(three)
		time.Sleep(10 * time.Second)
		for _, b := range brokers {
			b.setDeaf(true)
		}
		time.Sleep(5 * time.Second)
		began := time.Now()
		if err := g.Reload(g.ctx, x.load(strings.ReplaceAll(three, "none", "gzip"))); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 4*time.Second || d > 6*time.Second {
			t.Errorf("reload took %v, want the 5s that each waits for what is in flight", d)
		}
		for _, b := range brokers {
			b.setDeaf(false)
			b.cut()
		}
		time.Sleep(time.Minute)
		g.end()
		if s := g.Status(); len(s.Uplinks) != 3 || s.Uplinks[2].Account.Buffered != 0 {
			t.Errorf("uplinks are %+v", s.Uplinks)
		}
	})
}

// TestReloadWhileStartingAndStopping reloads all the time, by two goroutines, while gateways start, run and stop: in real time, for the
// race detector.
func TestReloadWhileStartingAndStopping(t *testing.T) {
	x := newBed(t, nil, sim.Driver)
	x.parts.Dial = nil
	const head, tail = "devices:\n", "uplink: {url: \"mqtt://127.0.0.1:1\", batch: {every: 20ms}"
	one := x.load(head + "  - {name: a, driver: sim, every: 1ms}\n" + tail + "}\n")
	two := x.load(head + "  - {name: a, driver: sim, every: 2ms}\n  - {name: b, driver: sim, every: 1ms}\n" + tail + ", compress: none}\n")
	for i := range 8 {
		g := x.start(head + "  - {name: a, driver: sim, every: 1ms}\n" + tail + "}\n")
		var wg sync.WaitGroup
		quit := make(chan struct{})
		for range 2 {
			wg.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-quit:
						return
					default:
					}
					cfg := one
					if n%2 == 0 {
						cfg = two
					}
					if err := g.Reload(g.ctx, cfg); err != nil && err.Error() != "the gateway is starting or stopping; try again" {
						t.Error(err)
					}
					g.Status()
				}
			})
		}
		time.Sleep(time.Duration(i) * 15 * time.Millisecond)
		g.stop()
		if err := <-g.done; err != nil && !errors.Is(err, g.ctx.Err()) {
			t.Error(err)
		}
		close(quit)
		wg.Wait()
		if a := g.Status().Account; a.Lost != 0 {
			t.Errorf("account is %+v", a)
		}
	}
}
