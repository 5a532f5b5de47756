package hold

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

func kept(at time.Duration, name string, v tidegate.Value) Kept {
	device, channel, _ := strings.Cut(name, ".")
	return Kept{Reading: tidegate.Reading{Device: device, Channel: channel, Value: v}, At: at}
}

// TestBounds: the oldest fall out first, of whichever channels, and what comes out says so.
func TestBounds(t *testing.T) {
	for name, text := range map[string]string{"readings": "", "bytes": strings.Repeat("x", 1<<20)} {
		h := New(0)
		slow := h.View(Snapshot{Channels: []string{"a.slow"}, Before: 10 * time.Hour})
		fast := h.View(Snapshot{Channels: []string{"a.fast"}, Before: 10 * time.Hour})
		room := MaxReadings
		if text != "" {
			room = MaxBytes / (len(text) + readingBytes)
		}
		g := [2]*Group{h.Group("a.slow"), h.Group("a.fast")}
		now, fasts := time.Duration(0), 0
		for i := range room + 500 { // each tenth of the first half is slow
			now += time.Millisecond
			if i%10 == 0 && i < room/2 {
				g[0].Keep(now, kept(now, "a.slow", tidegate.Text(text)))
				continue
			}
			g[1].Keep(now, kept(now, "a.fast", tidegate.Text(text)))
			if i >= 500 {
				fasts++
			}
		}
		if h.readings != room || h.bytes > MaxBytes {
			t.Errorf("%s: %d readings of %d bytes are kept, want %d", name, h.readings, h.bytes, room)
		}
		if s := fast.Stand(now); s.Readings != fasts || !s.Cut || s.Reach != 500*time.Millisecond {
			t.Errorf("%s: %d readings of the fast channel, cut %v, since %v", name, s.Readings, s.Cut, s.Reach)
		}
		total := 0
		for _, v := range []*View{slow, fast} {
			v.Open(now)
			list, given := v.Give()
			total += len(list)
			if !given.Cut || given.Readings != len(list) || given.Reach > 500*time.Millisecond ||
				len(list) > 0 && (list[0].At <= given.Reach || given.Reach < 490*time.Millisecond) {
				t.Errorf("%s: given %d, %+v", name, len(list), given)
			}
		}
		if total != room || h.readings != 0 || h.bytes != 0 || g[0].list.n+g[1].list.n != 0 {
			t.Errorf("%s: %d came out, %d are still there, of %d bytes", name, total, h.readings, h.bytes)
		}
	}
}

// TestTime: readings go when the longest snapshot wants them no more, not those of others; nothing is cut short by that.
func TestTime(t *testing.T) {
	h := New(time.Second)
	long := h.View(Snapshot{Channels: []string{"a.*"}, Before: time.Hour})
	short := h.View(Snapshot{Channels: []string{"*.x"}, Before: time.Second, After: time.Second})
	if h.Group("c.y") != nil {
		t.Error("a group of what no snapshot wants")
	}
	both, alone := h.Group("a.x"), h.Group("b.x")
	if both == alone || h.Group("a.x") != both || h.Group("c.x") != alone || len(h.groups) != 2 {
		t.Errorf("%d groups", len(h.groups))
	}
	for i := range 100 {
		at := time.Duration(i+1) * time.Second
		both.Keep(at, kept(at, "a.x", tidegate.Int(int64(i))))
		alone.Keep(at, kept(at, "b.x", tidegate.Int(int64(i))))
	}
	if both.list.n != 100 || alone.list.n != 13 {
		t.Errorf("%d and %d are kept, want 100 and 13", both.list.n, alone.list.n)
	}
	if s := short.Stand(0); s.Readings != 4 || s.Cut || s.Reach != 99*time.Second || s.Until != -1 {
		t.Errorf("short: %+v", s)
	}
	short.Open(98*time.Second + 300*time.Nanosecond)
	list, given := short.Give()
	if len(list) != 6 || list[0].At != 97*time.Second || given != (Given{At: 98 * time.Second, Readings: 6, Reach: 97 * time.Second}) {
		t.Errorf("short gave %d, %+v", len(list), given)
	}
	if !alone.IsOpen(99*time.Second) || alone.IsOpen(99*time.Second+1) || !both.IsOpen(97*time.Second) || both.IsOpen(97*time.Second-1) {
		t.Error("open at the wrong time")
	}
	long.Open(100 * time.Second)
	list, given = long.Give() // without those that short gave out
	if len(list) != 97 || given.Reach != time.Second || given.Cut {
		t.Errorf("long gave %d, %+v", len(list), given)
	}
	if alone.list.n != 10 {
		t.Errorf("%d are left, want 10", alone.list.n)
	}
}

// TestTapeAgainstModel compares a tape with a slice, over random pushes, pops and cuts.
func TestTapeAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x tape
		var model []time.Duration
		next := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch n := rapid.IntRange(0, 150).Draw(t, "n"); rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				for range n {
					next++
					x.push(Kept{At: next})
					model = append(model, next)
				}
			case 1:
				for range min(n, len(model)) {
					x.pop()
					model = model[1:]
				}
			case 2:
				n = min(n, len(model))
				x.cut(n)
				model = model[:n]
			}
			got := make([]time.Duration, x.n)
			for i := range got {
				got[i] = x.at(i).At
			}
			if !slices.Equal(got, model) {
				t.Fatalf("got %v, want %v", got, model)
			}
			if most := (len(model)+block-1)/block + 1; len(x.blocks) > most {
				t.Fatalf("%d readings take %d blocks", len(model), len(x.blocks))
			}
			for i, b := range x.blocks { // nothing of what is gone stays in memory
				for j, k := range b {
					if at := i*block + j - x.first; (at < 0 || at >= x.n) && k.At != 0 {
						t.Fatalf("%v is gone and still there", k.At)
					}
				}
			}
		}
	})
}

func TestKeepingTakesLittle(t *testing.T) {
	h := New(0)
	h.View(Snapshot{Channels: []string{"a.x"}, Before: time.Second})
	g := h.Group("a.x")
	k, now := kept(0, "a.x", tidegate.Float(1)), time.Duration(0)
	if n := testing.AllocsPerRun(100, func() {
		for range 1000 {
			now += 10 * time.Millisecond
			k.At = now
			g.Keep(now, k)
		}
	}); n > 1000/block+10 {
		t.Errorf("%v allocations for 1000 readings, want one for %d", n, block)
	}
}

func TestWords(t *testing.T) {
	s := Snapshot{Channels: []string{"a.*", "b.x"}, Before: 30 * time.Second}
	if got := s.String(); got != "keep all of a.*, b.x from 30s before to 0s after" {
		t.Error(got)
	}
	if r := (Snapshot{Channels: []string{"a.*"}, Before: 30 * time.Second, After: 1}); r.Mark() == s.Mark() {
		t.Error("two have one mark")
	}
}

// FuzzRestore: whatever is stored, what is read of it is stored the same again.
func FuzzRestore(f *testing.F) {
	v := New(0).View(Snapshot{Channels: []string{"a.x"}, Before: time.Second})
	v.Open(time.Hour)
	f.Add(v.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v := New(0).View(Snapshot{})
		if err := v.Restore(b); err != nil {
			if !errors.Is(err, ErrState) || v.IsOpened() {
				t.Fatal(err)
			}
			return
		}
		again := New(0).View(Snapshot{})
		if err := again.Restore(v.Append(nil)); err != nil || fmt.Sprint(again.spans) != fmt.Sprint(v.spans) {
			t.Fatalf("%v became %v, %v", v.spans, again.spans, err)
		}
	})
}

func BenchmarkGive(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		h := New(0)
		v := h.View(Snapshot{Channels: []string{"a.*"}, Before: time.Hour})
		g := h.Group("a.x")
		for i := range MaxReadings {
			g.Keep(time.Duration(i), kept(time.Duration(i^8), "a.x", tidegate.Float(1)))
		}
		v.Open(time.Hour)
		b.StartTimer()
		if list, _ := v.Give(); len(list) != MaxReadings {
			b.Fatal(len(list))
		}
	}
}
