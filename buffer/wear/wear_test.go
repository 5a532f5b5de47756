package wear

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const hour = time.Hour

// TestLastDay: what is written counts for 24 hours, and no longer.
func TestLastDay(t *testing.T) {
	w := New(5*hour, 0)
	total := uint64(0)
	for m := range 48 * 60 {
		total += 1000
		w.Written(5*hour+time.Duration(m)*time.Minute, total)
	}
	if got := w.LastDay(); got < 1_439_000 || got > 1_441_000 {
		t.Errorf("1,000 bytes a minute for two days: got %d in the last, want 1,440,000", got)
	}
	if got := w.Projected(); got != 1_440_000 {
		t.Errorf("projected %d, want 1,440,000", got)
	}
	w.Written(5*hour+72*hour, total)
	if got, ahead := w.LastDay(), w.Projected(); got != 0 || ahead != 0 {
		t.Errorf("a day without a write: got %d bytes, projected %d, want none", got, ahead)
	}
}

// TestKeptOverRestarts: an account is kept, also what was written behind it, and a machine that was started anew takes up its day where it was.
func TestKeptOverRestarts(t *testing.T) {
	for _, x := range []struct {
		name    string
		written time.Duration // boot time
		boot    time.Duration // at the restart
		lastDay int64
	}{
		{"the same boot", 10 * hour, 11 * hour, 1600},
		{"the same boot, a day later", 10 * hour, 35 * hour, 600},
		{"another boot", 10 * hour, time.Minute, 1600},
		{"another boot, a day ago", 10 * hour, 25 * hour, 1600}, // nobody knows it from the same boot, 15 hours later
		{"another boot, a day ago, as can be seen", 30 * hour, 25 * hour, 600},
	} {
		w := New(0, 0)
		w.Written(x.written, 1000)
		got, err := Restore(w.Encode(), x.boot, 1600, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got.LastDay() != x.lastDay || got.Total() != 1600 {
			t.Errorf("%s: %d bytes in the last day of %d in all, want %d of 1600", x.name, got.LastDay(), got.Total(), x.lastDay)
		}
	}
}

// TestDamagedBeginsAnew: what is no account is said, and costs nothing but what was known.
func TestDamagedBeginsAnew(t *testing.T) {
	b := New(0, 0).Encode()
	for _, x := range [][]byte{b[:len(b)-1], append(b[:len(b):len(b)], 0), append([]byte{version + 1}, b[1:]...)} {
		w, err := Restore(x, hour, 7, 0)
		if err == nil || w.LastDay() != 0 || w.Total() != 7 {
			t.Errorf("%d bytes: %v, %d bytes of the last day, %d in all, want an error, 0 and 7", len(x), err, w.LastDay(), w.Total())
		}
	}
}

// TestDayAgainstModel compares with a list of all that was written.
func TestDayAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Duration(rapid.Int64Range(0, int64(100*hour)).Draw(t, "boot"))
		w, total := New(now, 0), uint64(0)
		type write struct {
			at time.Duration
			n  uint64
		}
		var all []write
		for range rapid.IntRange(1, 60).Draw(t, "writes") {
			now += time.Duration(rapid.Int64Range(0, int64(3*hour)).Draw(t, "pause"))
			n := rapid.Uint64Range(0, 1<<40).Draw(t, "bytes")
			total += n
			w.Written(now, total)
			all = append(all, write{now, n})
			if rapid.Bool().Draw(t, "restart") {
				b := w.Encode()
				var err error
				if w, err = Restore(b, now, total, 0); err != nil {
					t.Fatal(err)
				}
				if got := w.Encode(); string(got) != string(b) {
					t.Fatalf("restored: got %x, want %x", got, b)
				}
			}
		}
		// A write that is between 23 h 45 and 24 h 15 old counts in part.
		var least, most uint64
		for _, x := range all {
			if age := now - x.at; age < 24*hour-quarter {
				least += x.n
				most += x.n
			} else if age < 24*hour+quarter {
				most += x.n
			}
		}
		if got := uint64(w.LastDay()); got < least || got > most {
			t.Errorf("got %d bytes in the last day, want %d to %d", got, least, most)
		}
	})
}

// A writer writes as it is told: a commit of two pages and its journal, and some bytes for each reading.
type writer struct {
	readings float64 // a second
	each     float64 // bytes of a reading
	channels float64
	sync     time.Duration
}

// bytes returns what a minute takes.
func (x *writer) bytes(p Pace) uint64 {
	commits := 60 / max(x.sync, p.Sync).Seconds()
	n := 60 * x.readings
	if p.Thin > 0 {
		n = min(n, 60*x.channels/p.Thin.Seconds())
	}
	if p.Drop {
		n, commits = 0, 1
	}
	return uint64(commits*12_000 + n*x.each)
}

// over is what a day may be over the limit: what is written while no readings are kept, and in a minute before.
const over = 24*60*12_000 + 4_000_000

// TestBrake: whatever comes in, a day is not over the limit by more than is written without readings, and no more is done about it than need be.
func TestBrake(t *testing.T) {
	for _, x := range []struct {
		name  string
		in    writer
		limit int64
		worst Pace // of the last of five days
	}{
		{"below the limit", writer{20, 20, 20, time.Second}, 2_000_000_000, Pace{}},
		{"commits are longer apart", writer{20, 20, 20, time.Second}, 700_000_000, Pace{Sync: 2 * time.Second}},
		{"as long as can be", writer{20, 20, 20, time.Second}, 400_000_000, Pace{Sync: MaxSync}},
		{"thinned", writer{20_000, 3, 2000, time.Second}, 1_000_000_000, Pace{Sync: MaxSync, Thin: 10 * time.Second}},
		{"dropped at last", writer{20_000, 3, 2000, time.Second}, 150_000_000, Pace{Sync: MaxSync, Drop: true}},
	} {
		w, total, worst := New(0, x.limit), uint64(0), 0
		for m := range 5 * 24 * 60 {
			total += x.in.bytes(w.Pace())
			w.Written(time.Duration(m+1)*time.Minute, total)
			if got := w.LastDay(); got > x.limit+over {
				t.Fatalf("%s: %d bytes a day after %d minutes, limit %d", x.name, got, m, x.limit)
			}
			if m > 4*24*60 {
				worst = max(worst, w.step)
			}
		}
		if got := steps[worst]; got != x.worst {
			t.Errorf("%s: at worst %+v, want %+v", x.name, got, x.worst)
		}
		if w.SetLimit(1 << 60); w.Pace().Drop {
			t.Errorf("%s: no readings are kept below a higher limit", x.name)
		}
		if w.SetLimit(0); w.Pace() != (Pace{}) {
			t.Errorf("%s: %+v without a limit", x.name, w.Pace())
		}
	}
}

// TestBrakeHoldsOverRestarts: a gateway that is started again every hour does not write a day's bytes each time.
func TestBrakeHoldsOverRestarts(t *testing.T) {
	const limit = 150_000_000
	in := writer{20_000, 3, 2000, time.Second}
	w, total := New(0, limit), uint64(0)
	for m := range 3 * 24 * 60 {
		total += in.bytes(w.Pace())
		w.Written(time.Duration(m+1)*time.Minute, total)
		if m%60 == 59 {
			var err error
			if w, err = Restore(w.Encode(), time.Duration(m+1)*time.Minute, total, limit); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.LastDay(); got > limit+over {
			t.Fatalf("%d bytes a day after %d minutes, limit %d", got, m, limit)
		}
	}
}

// A course is commits of so many days: the median and the span of one in a hundred.
type course struct {
	days         int
	median, tail time.Duration
}

func (x *course) run(w *Wear, now *time.Duration) {
	r := rand.New(rand.NewPCG(1, 1))
	for range x.days * 24 * 60 {
		*now += time.Minute
		d := x.median * time.Duration(900+r.IntN(200)) / 1000
		if r.IntN(60) == 0 {
			d = x.tail
		}
		w.Took(d)
		w.Written(*now, 0)
	}
}

// TestTrend: a card that becomes slow for days is told, one that is slow for a while or always was is not.
func TestTrend(t *testing.T) {
	const ms = time.Millisecond
	good := course{10, 20 * ms, 150 * ms}
	for _, x := range []struct {
		name string
		then []course
		slow bool
	}{
		{"a good card", []course{good, good}, false},
		{"slow from its first day", []course{{20, 300 * ms, 2000 * ms}}, false},
		{"a slow day", []course{good, {1, 200 * ms, 2000 * ms}, {2, 20 * ms, 150 * ms}}, false},
		{"two slow days", []course{good, {2, 200 * ms, 2000 * ms}}, false},
		{"three slow days", []course{good, {3, 200 * ms, 2000 * ms}}, true},
		{"slow for three days now and then", []course{good, {3, 20 * ms, 2000 * ms}}, true},
		{"faster than any card, and slower than before", []course{{10, ms, 5 * ms}, {5, 8 * ms, 60 * ms}}, false},
		{"slow for a month", []course{good, {35, 200 * ms, 2000 * ms}}, true},
		{"well again", []course{good, {5, 200 * ms, 2000 * ms}, {3, 20 * ms, 150 * ms}}, false},
		{"well again for two days", []course{good, {5, 200 * ms, 2000 * ms}, {2, 20 * ms, 150 * ms}}, true},
	} {
		w, now := New(0, 0), time.Duration(0)
		for _, c := range x.then {
			c.run(w, &now)
			var err error
			if w, err = Restore(w.Encode(), now, 0, 0); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.Trend(); got.Slow != x.slow {
			t.Errorf("%s: got %+v, want slow %v", x.name, got, x.slow)
		}
	}
}

// TestOneSlowCommit: it is in no median and in no p99.
func TestOneSlowCommit(t *testing.T) {
	w, now := New(0, 0), time.Duration(0)
	for range 20 {
		(&course{1, 20 * time.Millisecond, 30 * time.Millisecond}).run(w, &now)
		w.Took(time.Hour)
	}
	if got := w.Trend(); got.Slow || got.P99 > 50*time.Millisecond || got.UsualP99 == 0 {
		t.Errorf("one commit a day that took an hour: %+v", got)
	}
}

// TestSlots: a span is counted in a slot whose bounds are around it.
func TestSlots(t *testing.T) {
	for d := time.Duration(1 << firstBit); d < 100*time.Second; d += d/7 + 1 {
		if i := slot(d); upper(i) <= d || i > 0 && upper(i-1) > d {
			t.Fatalf("%v is in slot %d, up to %v, behind %v", d, i, upper(i), upper(max(i-1, 0)))
		}
	}
	if got := slot(1); got != 0 {
		t.Errorf("1 ns is in slot %d, want 0", got)
	}
	if got := slot(time.Hour); got != slots-1 {
		t.Errorf("an hour is in slot %d, want %d", got, slots-1)
	}
}

// TestCard: bytes are asked for once a second, and the account is stored with each quarter of an hour.
func TestCard(t *testing.T) {
	now, written := 10*time.Second, uint64(500) // before the store was opened
	c, err := NewCard(nil, 7000, 0, func() time.Duration { return now }, func() uint64 { return written })
	if err != nil {
		t.Fatal(err)
	}
	if _, b := c.Store(); b == nil {
		t.Error("a new account is not stored")
	}
	c.Stored()
	now, written = now+500*time.Millisecond, 1500
	if total, b := c.Store(); total != 7000 || b != nil {
		t.Errorf("half a second later: %d bytes, account %x, want 7000 and none", total, b)
	}
	now += 500 * time.Millisecond
	if total, b := c.Store(); total != 8000 || b != nil {
		t.Errorf("a second later: %d bytes, account %x, want 8000 and none", total, b)
	}
	now += quarter
	for range 2 { // a commit may fail
		if _, b := c.Store(); b == nil {
			t.Error("a quarter of an hour later the account is not stored")
		}
	}
	if s := c.Stand(); s.LastDay != 1000 || s.Projected != 96_000 {
		t.Errorf("got %+v, want 1000 bytes in the last day and 96000 a day", s)
	}
}

func FuzzRestore(f *testing.F) {
	w := New(hour, 0)
	w.Written(30*hour, 12345)
	w.Took(time.Second)
	f.Add(w.Encode(), int64(31*hour))
	f.Add([]byte{version}, int64(0))
	f.Fuzz(func(t *testing.T, b []byte, now int64) {
		w, err := Restore(b, time.Duration(max(now, 0)), 1<<20, 1<<30)
		if err != nil && (w.LastDay() != 0 || w.Trend() != Trend{}) {
			t.Errorf("%v, and %+v", err, w)
		}
		again, err := Restore(w.Encode(), time.Duration(max(now, 0)), w.Total(), 1<<30)
		if err != nil || again.LastDay() != w.LastDay() || again.Trend() != w.Trend() {
			t.Errorf("stored and restored: %v, %+v, want %+v", err, again, w)
		}
	})
}
