package gpio

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

// TestTotalGoesOnOverRestarts has a stop, a kill, another start, and settings without the counter in between.
func TestTotalGoesOnOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "counter", Start: 100}, Line{Mode: "counter", PerUnit: 8, Unit: "m3"}).open()
		b.want("a=100count | b=0m3")
		b.pin("A").Change(20)
		b.pin("B").Change(2)
		b.close() // unread edges are counted
		b.pin("A").Change(50)
		b.open().want("a=110count | b=0.125m3") // nobody saw what came meanwhile
		time.AfterFunc(100*time.Millisecond, func() { b.pin("A").Change(2) })
		time.AfterFunc(1100*time.Millisecond, func() { b.pin("A").Change(20) })
		time.AfterFunc(1900*time.Millisecond, func() { b.pin("A").Change(200) })
		b.want("a=111count | b=0.125m3")
		time.Sleep(950 * time.Millisecond)
		b.want("a=221count | b=0.125m3")
		b.pin("A").Change(2)
		b.end() // killed: no Close
		synctest.Wait()
		b.open().want("a=221count | b=0.125m3")
		b.close()
		b.c.Lines[0].Start = 5
		b.open().want("a=5count | b=0.125m3")
		b.close()
	})
}

// TestTotalIsKeptOnceASecond: with reports an hour apart a kill costs a second of edges, not an hour.
func TestTotalIsKeptOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "counter"})
		b.c.Report = time.Hour
		b.open().want("a=0count")
		time.AfterFunc(time.Minute, func() { b.pin("A").Change(2000) })
		time.AfterFunc(time.Minute+300*time.Millisecond, func() { b.pin("A").Change(20) })
		time.AfterFunc(61*time.Minute, b.end)
		go func() { b.read(); b.read() }()
		time.Sleep(time.Minute + time.Second + gap)
		kept, err := b.h.Kept.Load()
		if err != nil {
			t.Fatal(err)
		}
		if list, err := decodeAccounts(kept); err != nil || len(list) != 1 || list[0].edges != 1010 {
			t.Errorf("kept %+v, %v", list, err)
		}
		time.Sleep(time.Hour)
	})
}

// TestMemoryFails: a total that cannot be told is a fault and never overwrites what is kept; one that cannot be kept is told, once.
func TestMemoryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "counter"}).open()
		b.want("a=0count")
		b.pin("A").Change(8)
		b.want("a=4count")
		b.close()
		b.h.Kept.Fail(errors.New("disk is gone"))
		b.open()
		const unknown = "a: total is not known: read what was kept before: disk is gone; %d edges were counted since"
		b.want(fmt.Sprintf(unknown, 0))
		b.pin("A").Change(2)
		b.want(fmt.Sprintf(unknown, 1))
		b.h.Kept.Fail(nil)
		b.want("a=5count")
		b.h.Kept.Fail(errors.New("disk is full"))
		b.pin("A").Change(2)
		b.want("a: total is not kept, and a restart would go back: disk is full | a=6count", "a=6count")
		b.h.Kept.Fail(nil)
		b.want("a=6count")
		b.h.Kept.Fail(errors.New("disk is full"))
		b.pin("A").Change(2)
		b.want("a: total is not kept, and a restart would go back: disk is full | a=7count")
		b.close()
		b.h.Kept.Fail(nil)
		b.open().want("a=6count")
		b.close()
		if err := b.h.Kept.Store([]byte("nonsense")); err != nil {
			t.Fatal(err)
		}
		b.open().want("a: total kept before is damaged, counting begins anew from start: checksum is 65736e65, want 8b44b59e | a=0count", "a=0count")
		b.close()
		b.open().want("a=0count")
		b.close()
	})
}

// TestUnreadTotalIsNotOverwritten has a memory that takes what is put, but does not tell what it holds.
func TestUnreadTotalIsNotOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "counter"}).open()
		b.pin("A").Change(200)
		b.close()
		b.unreadable = errors.New("permission denied")
		b.open().want("a: total is not known: read what was kept before: permission denied; 0 edges were counted since")
		b.pin("A").Change(2)
		b.want("a: total is not known: read what was kept before: permission denied; 1 edges were counted since")
		b.close()
		b.unreadable = nil
		b.open().want("a=100count")
		b.close()
	})
}

// An act is what happens to the counter of TestCounterAddsUp.
type act struct {
	kind string
	n    int // edges, or milliseconds
}

// TestCounterAddsUp is the account of a counter under bursts, pauses, restarts, kills and a memory that fails: total = edges seen + edges declared
// lost, over all its lives; a kill takes away only what was not reported.
func TestCounterAddsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) act {
			return act{rapid.SampledFrom([]string{"burst", "burst", "pause", "read", "read", "restart", "kill", "memory"}).Draw(rt, "act"), rapid.IntRange(0, 3000).Draw(rt, "n")}
		}), 1, 40).Draw(rt, "acts")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			failure = (&life{bed: newBed(t, Line{Mode: "counter", Edge: "both", Most: 100_000})}).play(acts)
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// A life is a counter and what is known of it.
type life struct {
	*bed
	truth     uint64 // edges that it has to have
	told      uint64 // newest total
	declared  uint64 // dropped edges that it said
	isBad     bool   // the memory fails
	wasKilled bool   // and what was kept is not known yet
}

// play returns what went wrong; "" = nothing.
func (l *life) play(acts []act) string {
	l.c.Report = 250 * time.Millisecond
	l.open()
	for i, a := range acts {
		if bad := l.act(a); bad != "" {
			return fmt.Sprintf("act %d: %s", i, bad)
		}
	}
	l.h.Kept.Fail(nil)
	l.isBad = false
	time.Sleep(2 * time.Second)
	for range 2 {
		if bad := l.look(); bad != "" {
			return "at the end: " + bad
		}
	}
	if l.told != l.truth || l.declared != l.pin("A").Dropped() {
		return fmt.Sprintf("told %d of %d, declared %d lost of %d", l.told, l.truth, l.declared, l.pin("A").Dropped())
	}
	l.close()
	return ""
}

func (l *life) act(a act) string {
	switch a.kind {
	case "burst":
		l.pin("A").Change(a.n / 2)
		l.truth += uint64(a.n / 2)
	case "pause":
		time.Sleep(time.Duration(a.n) * time.Millisecond)
	case "read":
		return l.look()
	case "restart", "kill":
		if l.isBad {
			return "" // a total that was told and could not be kept goes back: it was said
		}
		if a.kind == "restart" {
			l.close()
		} else {
			l.end()
			synctest.Wait()
			l.wasKilled = true
		}
		l.open()
		l.declared = l.pin("A").Dropped() // what Close found out, nobody reported
	case "memory":
		if l.isBad = !l.isBad; l.isBad {
			l.h.Kept.Fail(errors.New("disk is gone"))
			return ""
		}
		l.h.Kept.Fail(nil)
		return l.look() // keeps what was told meanwhile
	}
	return ""
}

// look reads once.
func (l *life) look() string {
	for s := range strings.SplitSeq(l.read(), " | ") {
		total, isTotal := strings.CutPrefix(s, "a=")
		n, err := strconv.ParseUint(strings.TrimSuffix(total, "count"), 10, 64)
		lost := regexp.MustCompile(`^a: (\d+) edges were dropped`).FindStringSubmatch(s)
		switch {
		case lost != nil:
			l.declared += uint64(atoi(l.t, lost[1]))
		case !isTotal && l.isBad && strings.Contains(s, "total is not known: "), !isTotal && strings.Contains(s, "total is not kept"):
		case !isTotal || err != nil:
			return "got " + s
		case n < l.told:
			return fmt.Sprintf("total goes back from %d to %d", l.told, n)
		case n > l.truth || n < l.truth && !l.wasKilled:
			return fmt.Sprintf("total is %d, want %d", n, l.truth)
		default:
			l.truth, l.told, l.wasKilled = n, n, false // what a kill took is gone
		}
	}
	return ""
}

// TestB18ChatterAt100kHz has lines that chatter at 100 kHz for ten seconds: what the driver takes of the processor, how often it looks, how much it reports, and
// that all of it adds up.
func TestB18ChatterAt100kHz(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "edge"}, Line{Mode: "counter", Edge: "both"}, Line{Mode: "frequency"}, Line{Mode: "input"}).open()
		defer b.close()
		b.read()
		const burst, pause, long = 100, time.Millisecond, 10 * time.Second
		var fake time.Duration // of the processor, for making the edges
		var chatter func()
		n := 0
		chatter = func() {
			before := processor(t)
			for _, name := range []string{"A", "B", "C"} {
				b.pin(name).Change(burst)
			}
			fake += processor(t) - before
			if n += burst; time.Duration(n/burst)*pause < long {
				time.AfterFunc(pause, chatter)
			}
		}
		time.AfterFunc(pause, chatter)
		before, reads, readings := processor(t), 0, 0
		sums := map[string]int{}
		number := regexp.MustCompile(`b=(\d+)count`)
		held := regexp.MustCompile(`a: \d+ changes within a second, at most 100 can be true: (\d+) are not|a: (\d+) changes were dropped`)
		for time.Since(b.began) < long+2*time.Second {
			got := b.read()
			reads++
			for _, s := range strings.Split(got, " | ") {
				readings++
				switch m := held.FindStringSubmatch(s); {
				case m != nil:
					sums["held"] += atoi(t, m[1]+m[2])
				case strings.HasPrefix(s, "a=") && strings.Contains(s, "@"):
					sums["a"]++
				case number.MatchString(s):
					sums["b"] = atoi(t, number.FindStringSubmatch(s)[1])
				case strings.HasPrefix(s, "b: 100"), strings.HasPrefix(s, "b: 99"), strings.HasPrefix(s, "c: 49"), strings.HasPrefix(s, "c: 50"):
					sums["chatter "+s[:1]]++
				}
			}
		}
		synctest.Wait() // for the race detector: the chatter has ended
		used := processor(t) - before - fake
		t.Logf("%d edges a line on three lines in %v: %v of the processor (%.2f %%), %d Reads, %d readings, %v", n, long, used,
			100*used.Seconds()/long.Seconds(), reads, readings, sums)
		if used > long/10*slowness {
			t.Errorf("takes %v of the processor in %v", used, long)
		}
		// Three lines, a hundred looks a second at each, and some for the reports.
		if looks := b.looks.Load(); looks < 2700 || looks > 3100 {
			t.Errorf("the lines are looked at %d times", looks)
		}
		if reads > 200 || readings > 1300 {
			t.Errorf("%d Reads with %d readings in %v: nothing holds it back", reads, readings, long)
		}
		// The last change held of each second is told as well, as where the line has come to.
		if got := sums["a"] + sums["held"]; got < n || got > n+12 {
			t.Errorf("%d of %d changes are accounted for", got, n)
		}
		if sums["b"] != n || sums["chatter b"] < 9 || sums["chatter c"] < 9 {
			t.Errorf("got %v, want a total of %d, and that it is said that the lines chatter", sums, n)
		}
	})
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// processor returns what this process has taken of it.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestDebounceIsTheKernels: what it drops is not seen here at all, so it has to be asked for it.
func TestDebounceIsTheKernels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "counter", Debounce: 5 * time.Millisecond}).open()
		defer b.close()
		if got := b.pin("A").Config().Debounce; got != 5*time.Millisecond {
			t.Errorf("asked for %v", got)
		}
	})
}

func TestNumbersGoRound(t *testing.T) {
	l := &line{seq: math.MaxUint32 - 1}
	for _, step := range []struct{ seq, lost uint32 }{{math.MaxUint32, 0}, {0, 0}, {5, 4}, {6, 0}} {
		if lost := l.follow(step.seq); lost != step.lost {
			t.Errorf("number %d: %d lost, want %d", step.seq, lost, step.lost)
		}
	}
	if lost := (&line{}).follow(3); lost != 2 {
		t.Errorf("first number 3: %d lost, want 2", lost)
	}
}

// TestFrequency has what edges a second come to, and silence.
func TestFrequency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, Line{Mode: "frequency", PerUnit: 2, Unit: "m/s"}, Line{Mode: "frequency", Most: 5, Stop: time.Minute})
		b.pin("A").Every = 2 * time.Second // a rising edge at 2 s, 6 s, ...
		b.open()
		defer b.close()
		b.want("a=0.125m/s") // 0.25 Hz: nothing is said before there are two edges
		if d := time.Since(b.began); d != 6*time.Second && d != 7*time.Second {
			t.Errorf("first frequency after %v", d)
		}
		b.pin("B").Change(14)
		b.want("b: 7 edges within a second, at most 5 can be true: the wire picks up noise; set debounce, or most", "a=0.125m/s")
		b.pin("B").Change(6) // at one time
		b.want("b: 2 edges within 0s by the kernel's stamps")
	})
}

func FuzzDecodeAccounts(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("nonsense"))
	f.Add(encodeAccounts(nil))
	f.Add(encodeAccounts([]*account{{channel: "energy", start: 1.5, edges: 1 << 40, lost: 7}, {channel: "", edges: math.MaxUint64}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeAccounts(b)
		if err != nil {
			if len(list) > 0 {
				t.Errorf("%d accounts and %v", len(list), err)
			}
			return
		}
		again := make([]*account, len(list))
		for i := range list {
			again[i] = &list[i]
		}
		if len(b) > 0 {
			back, err := decodeAccounts(encodeAccounts(again))
			if err != nil || len(back) != len(list) || len(list) > 0 && !equal(back, list) {
				t.Errorf("%+v comes back as %+v, %v", list, back, err)
			}
		}
	})
}

// equal compares bit by bit: start may be no number.
func equal(a, b []account) bool {
	for i := range a {
		x, y := a[i], b[i]
		if math.Float64bits(x.start) != math.Float64bits(y.start) {
			return false
		}
		x.start, y.start = 0, 0
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

func TestDamagedAccounts(t *testing.T) {
	good := encodeAccounts([]*account{{channel: "energy", edges: 300, lost: 1}})
	if len(encodeAccounts(worst())) != mostKept {
		t.Errorf("the most that is kept is %d bytes, not %d", len(encodeAccounts(worst())), mostKept)
	}
	for i := range good {
		for bit := range 8 {
			bad := append([]byte(nil), good...)
			bad[i] ^= 1 << bit
			if list, err := decodeAccounts(bad); err == nil {
				t.Errorf("byte %d, bit %d: %+v", i, bit, list)
			}
		}
		if _, err := decodeAccounts(good[:i]); err == nil && i > 0 {
			t.Errorf("%d of %d bytes are taken for all", i, len(good))
		}
	}
}

func worst() []*account {
	var out []*account
	for range maxLines {
		out = append(out, &account{channel: strings.Repeat("x", tidegate.MaxName), edges: math.MaxUint64, lost: math.MaxUint64})
	}
	return out
}
