package line

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/wear"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/hold"
	"github.com/tidegate-io/tidegate/rules/lang"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// nowhere is a queue that nobody sees.
type nowhere struct{}

func (nowhere) Put(...buffer.Frame) {}

func (nowhere) Refuses(tidegate.Class) bool { return false }

// owing returns a judge on a ring of 256 KiB that has taken 200,000 readings, what its log says, and what its ring holds.
func owing(t *testing.T) (j *judge, log *bytes.Buffer, held func() (recs []tidegate.Record, ledger Counts)) {
	t.Helper()
	rings, err := box.OpenPair(t.TempDir(), [16]byte{1}, box.Sizes{Read: 256 << 10, Judged: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rings.Close(); err != nil {
			t.Error(err)
		}
	})
	dec, err := frame.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	log = &bytes.Buffer{}
	none, err := rules.New(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	j = &judge{
		rules: none,
		read:  rings.Read, judged: rings.Judged, numbers: &numbers{next: 1, end: 1 << 30}, queue: nowhere{}, epochs: map[uint32]buffer.Epoch{},
		log: slog.New(slog.NewTextHandler(log, nil)), clock: func() clock.Stamp { return clock.Stamp{} }, urgent: func() {}, wake: make(chan struct{}, 1),
		sparing: sparing{pace: func() wear.Pace { return wear.Pace{} }},
		ledger:  ledger{now: Counts{Filtered: 150_000, Thinned: 50_000}},
	}
	held = func() (recs []tidegate.Record, now Counts) {
		for at := rings.Judged.Tail(); ; {
			payload, next, ok, err := rings.Judged.Next(at)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				rings.Judged.Release(at)
				return recs, now
			}
			e, err := decodeEntry(bytes.Clone(payload))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range e.runs {
				if recs, err = dec.Decode(recs, r.class, r.first, r.body); err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range e.rules {
				if s.Key != ledgerKey {
					continue
				}
				l, err := decodeLedger(s.Body)
				if err != nil {
					t.Fatal(err)
				}
				now = l.now
			}
			at = next
		}
	}
	return j, log, held
}

func given(n int, from time.Duration, text string) *rules.Outcome {
	out := &rules.Outcome{}
	for i := range n {
		at := from + time.Duration(i)*time.Millisecond
		out.Restored = append(out.Restored, rules.Restored{
			At: at, Thinned: i%4 == 0, Reading: tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Text(text), Time: time.UnixMilli(1_750_000_000_000).Add(at)},
		})
	}
	return out
}

// TestWhatIsOwedWaitsForRoom: what snapshots gave out goes in pieces, while ring 2 is half empty, each with the count of what it holds: what a kill
// takes of the rest stays filtered.
func TestWhatIsOwedWaitsForRoom(t *testing.T) {
	j, log, held := owing(t)
	const n = 40_000
	trigger := &tidegate.Record{Class: tidegate.ClassReading, Time: time.UnixMilli(1_750_000_060_000), Boot: time.Minute, Readings: []tidegate.Reading{{Device: "x"}}}
	j.owe(given(n, time.Second, ""), trigger)
	rounds, seen := 0, 0
	for len(j.owed.list) > 0 {
		if rounds++; rounds > 100 {
			t.Fatal("it does not end")
		}
		if err := j.pay(); err != nil {
			t.Fatal(err)
		}
		if used := j.judged.Used(); used > j.judged.Size()*3/4 {
			t.Fatalf("ring 2 has %d of %d bytes", used, j.judged.Size())
		}
		recs, now := held()
		if rounds == 1 && (seen != 0 || len(j.owed.list) == 0) {
			t.Fatal("all of it went at once")
		}
		for _, rec := range recs {
			if rec.Boot != -time.Minute || !rec.Time.Equal(trigger.Time) || !rec.IsRestored() {
				t.Fatalf("record of %v, boot %v", rec.Time, rec.Boot)
			}
			for _, rd := range rec.Readings {
				if want := time.UnixMilli(1_750_000_001_000 + int64(seen)); !rd.Time.Equal(want) || rd.Device != "d" || rd.Channel != "c" {
					t.Fatalf("reading %d: %v", seen, rd)
				}
				seen++
			}
		}
		if want := (Counts{Filtered: 150_000 - uint64(seen-(seen+3)/4), Thinned: 50_000 - uint64((seen+3)/4)}); now != want {
			t.Fatalf("behind %d readings the ledger says %v, want %v", seen, now, want)
		}
	}
	if seen != n || j.owed.readings != 0 || j.owed.bytes != 0 || j.judged.Dropped().Readings != 0 || log.Len() > 0 {
		t.Errorf("%d of %d came, %d readings of %d bytes are owed, %d dropped, log: %s", seen, n, j.owed.readings, j.owed.bytes, j.judged.Dropped().Readings, log)
	}
	j.owe(given(1, time.Second, ""), trigger)
	j.numbers.next = j.numbers.end - 100
	if err := j.pay(); err != nil || len(j.owed.list) == 0 {
		t.Errorf("with 100 numbers left: %v, %d owed", err, len(j.owed.list))
	}
	if !j.waits() {
		t.Error("a stop does not wait for it")
	}
}

// TestOwedIsBounded: while ring 2 is full, the oldest of what is owed stay filtered, and the log says so, once a minute.
func TestOwedIsBounded(t *testing.T) {
	j, log, _ := owing(t)
	trigger := &tidegate.Record{Boot: time.Hour}
	for range 3 {
		j.owe(given(hold.MaxReadings/2+1, 0, ""), trigger)
	}
	if j.owed.readings != hold.MaxReadings || len(j.owed.list) != 2 || len(j.owed.list[1].list) != hold.MaxReadings/2+1 || strings.Count(log.String(), "cut short") != 1 {
		t.Errorf("%d readings are owed, log: %s", j.owed.readings, log)
	}
	trigger.Boot += 2 * time.Minute
	j.owe(given(40, 0, strings.Repeat("x", 1<<20)), trigger)
	if j.owed.readings != 15 || j.owed.bytes > hold.MaxBytes || strings.Count(log.String(), "cut short") != 2 {
		t.Errorf("%d readings of %d bytes are owed, log: %s", j.owed.readings, j.owed.bytes, log)
	}
}

// TestGivenOutWithTheClockOfThen: a reading keeps its time, but where the clock was set since: then that of boot counts. A snapshot that was cut short is told of.
func TestGivenOutWithTheClockOfThen(t *testing.T) {
	j, log, held := owing(t)
	out := given(2, 5*time.Second, "")
	out.Restored[1].Quality = tidegate.TimeEstimated
	out.Restored[1].Time = time.UnixMilli(12)
	out.Given = []rules.Given{{Rule: "trip", Given: hold.Given{Cut: true, At: 10 * time.Second, Reach: 4 * time.Second}, Wanted: time.Second}}
	j.owe(out, &tidegate.Record{Time: time.UnixMilli(1_750_000_010_000).UTC(), Boot: 10 * time.Second})
	recs, _ := held()
	if err := j.pay(); err != nil || len(recs) > 0 {
		t.Fatal(err)
	}
	if recs, _ = held(); len(recs) != 1 || len(recs[0].Readings) != 2 {
		t.Fatal(recs)
	}
	for i, want := range []int64{1_750_000_005_000, 1_750_000_005_001} {
		if got := recs[0].Readings[i].Time.UnixMilli(); got != want {
			t.Errorf("reading %d is of %d, want %d", i, got, want)
		}
	}
	for _, want := range []string{"rule=trip", "from=2025-06-15T15:06:41", "reaches=2025-06-15T15:06:44"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %s: %s", want, log)
		}
	}
}

// TestSnapshotsGoWithWhatLedToThem: what a snapshot gives out stands in the entry of the record behind which it comes, or, where time alone led to it,
// in that of the alarm; with the state of the rule and the count.
func TestSnapshotsGoWithWhatLedToThem(t *testing.T) {
	for _, byTime := range []bool{false, true} {
		j, _, held := owing(t)
		when, faults := lang.Compile("d.trip == 1", lang.Condition, lang.Schema{Open: func(string) bool { return true }})
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		rule := rules.Rule{Name: "trip", When: when, Severity: rules.SeverityInfo, Text: "t", Snapshots: []rules.Snapshot{{Channels: []string{"d.c"}, Before: 5 * time.Second}}}
		if byTime {
			rule.For = 3 * time.Second
		}
		less := rules.Rule{Name: "less", Filters: []filter.Filter{{Do: filter.Thin, Channels: []string{"d.c"}, Every: time.Hour}}}
		var err error
		if j.rules, err = rules.New([]rules.Rule{less, rule}, 0); err != nil {
			t.Fatal(err)
		}
		if j.dec, err = frame.NewDecoder(); err != nil {
			t.Fatal(err)
		}
		j.ledger.now = Counts{}
		wall, boot := time.UnixMilli(1_750_000_000_000).UTC(), time.Duration(0)
		j.clock = func() clock.Stamp { return clock.Stamp{Wall: wall.Add(boot), Boot: boot, Synced: true} }
		read := func(trip int64) {
			boot += time.Second
			rec := tidegate.Record{Time: wall.Add(boot), Boot: boot, Readings: []tidegate.Reading{
				{Device: "d", Channel: "trip", Value: tidegate.Int(trip)}, {Device: "d", Channel: "c", Value: tidegate.Int(int64(boot / time.Second))},
			}}
			entry := frame.AppendRows([]byte{byte(tidegate.ClassReading)}, []tidegate.Record{rec})
			if err := j.take(entry, j.input+1); err != nil {
				t.Fatal(err)
			}
			j.input++
		}
		for range 10 {
			read(0)
		}
		if _, now := held(); now != (Counts{Thinned: 9}) {
			t.Fatalf("thinned: %v", now)
		}
		at := j.judged.Head()
		read(1)
		want, class, n := []int64{6, 7, 8, 9, 10}, tidegate.ClassReading, uint64(4)
		if byTime {
			if _, now := held(); now != (Counts{Thinned: 10}) {
				t.Fatalf("thinned: %v", now)
			}
			at = j.judged.Head()
			boot += 3*time.Second + 250*time.Millisecond // the rule became active at 14 s
			if err := j.elapse(); err != nil {
				t.Fatal(err)
			}
			want, class, n = []int64{9, 10, 11}, tidegate.ClassAlarm, 7
		}
		if _, next, _, _ := j.judged.Next(at); next != j.judged.Head() {
			t.Fatal("not one entry has it")
		}
		recs, now := held()
		if last := recs[len(recs)-1]; !last.IsRestored() || len(recs) < 2 || recs[len(recs)-2].Class != class || now != (Counts{Thinned: n}) {
			t.Fatalf("by time %v: %v, ledger %v", byTime, recs, now)
		} else {
			var got []int64
			for _, rd := range last.Readings {
				v, _ := rd.Value.Number()
				got = append(got, int64(v))
				if !rd.Time.Equal(wall.Add(time.Duration(v) * time.Second)) {
					t.Errorf("%v is of %v", v, rd.Time)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("by time %v: %v was given out, want %v", byTime, got, want)
			}
		}
	}
}

// TestWhatIsOwedGoesItsWay: what snapshots gave out goes where rules send readings of its channel, and carries their labels.
func TestWhatIsOwedGoesItsWay(t *testing.T) {
	j, _, held := owing(t)
	var err error
	j.rules, err = rules.New([]rules.Rule{{
		Name: "r", Routes: []rules.Route{{Channels: []string{"d.c"}, Uplink: "plant"}, {Channels: []string{"d.deep"}, Debug: true}},
		Labels: []rules.Label{{Channels: []string{"d.c"}, Labels: tidegate.Labels{"a": "b"}}},
	}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := given(5, time.Second, "")
	out.Restored[1].Channel, out.Restored[3].Channel, out.Restored[4].Channel = "deep", "deep", "other"
	j.owe(out, &tidegate.Record{Class: tidegate.ClassReading, Time: time.UnixMilli(1_750_000_060_000), Boot: time.Minute, Labels: "x"})
	if err := j.pay(); err != nil {
		t.Fatal(err)
	}
	recs, _ := held()
	var got []string
	for i := range recs {
		got = append(got, fmt.Sprintf("%s %q %s: %d", recs[i].Class, recs[i].For, recs[i].Labels, len(recs[i].Readings)))
	}
	if want := []string{`reading "plant" {"a":"b"}: 2`, `debug "" : 2`, `reading "" : 1`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
