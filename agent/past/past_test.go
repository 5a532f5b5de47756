package past

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/hold"
	"github.com/tidegate-io/tidegate/rules/lang"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// began is the wall clock of all tests when boot time was 0.
var began = time.Unix(1_750_000_000, 0)

func compile(t *testing.T, text string) *lang.Program {
	t.Helper()
	p, faults := lang.Compile(text, lang.Condition, lang.Schema{Open: func(string) bool { return true }})
	if len(faults) > 0 {
		t.Fatal(text, faults[0])
	}
	return p
}

// hot is a rule for meter.temp.
func hot(t *testing.T, when string, length time.Duration) rules.Rule {
	return rules.Rule{Name: "hot", When: compile(t, when), For: length, Severity: rules.SeverityError, Text: "too hot"}
}

// A shelf is a buffer with records.
type shelf struct {
	t     *testing.T
	q     *buffer.Queue
	place buffer.Place
	rules map[string][]byte
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	dec, err := frame.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	q, err := buffer.Open(buffer.Options{
		Dir: t.TempDir(), Limits: buffer.Limits{MaxBytes: buffer.MinBytes, Keep: time.Hour}, Uplinks: []string{"a"}, Count: frame.Count, Each: dec.Each, Log: slog.New(slog.DiscardHandler),
		Cut: func([]byte, int, int) ([]byte, error) { return nil, errors.New("not wanted here") },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &shelf{t: t, q: q}
	s.epoch(1, 1)
	return s
}

// epoch goes on with that ordinal and number.
func (s *shelf) epoch(ordinal uint32, next uint64) {
	s.place = buffer.Place{Epoch: ordinal, Number: next}
	s.q.AddEpoch(ordinal, buffer.Epoch{ID: "e", Start: 1})
}

// start notes that rules began anew at the next number.
func (s *shelf) start(x Start, list ...rules.Rule) {
	x.Place = s.place
	for _, r := range list {
		x.Armed = append(x.Armed, r.Fingerprint())
	}
	state := x.State()
	s.rules = map[string][]byte{state.Key: state.Body}
}

// put stores a record of class.
func (s *shelf) put(class tidegate.Class, boot time.Duration, list ...tidegate.Reading) {
	s.t.Helper()
	rec := tidegate.Record{Number: s.place.Number, Class: class, Time: began.Add(boot.Abs()), Boot: boot, Readings: list}
	f := buffer.Frame{
		Epoch: s.place.Epoch, Class: class, First: rec.Number, Last: rec.Number, Count: uint32(len(list)), T0: rec.Time.UnixMilli(), T1: rec.Time.UnixMilli(),
		Body: frame.AppendRows(nil, []tidegate.Record{rec}),
	}
	s.place.Number++
	err := s.q.Commit(buffer.Commit{
		Frames: []buffer.Frame{f}, Position: buffer.Position{Epoch: s.place.Epoch, Next: s.place.Number, Time: 1}, Rules: s.rules,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.rules = nil
}

// temp stores a reading of meter.temp.
func (s *shelf) temp(boot time.Duration, v float64) {
	s.t.Helper()
	s.put(tidegate.ClassReading, boot, tidegate.Reading{Device: "meter", Channel: "temp", Value: tidegate.Float(v)})
}

// alarm stores an alarm of the rule hot.
func (s *shelf) alarm(boot time.Duration, raised bool, v float64) {
	s.t.Helper()
	s.alarmOf(boot, &rules.Alarm{Rule: "hot", Raised: raised, Severity: rules.SeverityError, Text: "too hot", Channel: "meter.temp", Value: tidegate.Float(v)})
}

func (s *shelf) alarmOf(boot time.Duration, a *rules.Alarm) {
	s.t.Helper()
	rd, err := a.Reading()
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(tidegate.ClassAlarm, boot, rd)
}

func (s *shelf) replay(since time.Duration, armed []rules.Rule, tried ...rules.Rule) status.Replay {
	s.t.Helper()
	r, err := Replay(s.t.Context(), Options{Queue: s.q, Rules: tried, Armed: armed, Since: began.Add(since)})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// told says what became of a rule, in one line.
func told(r *status.RuleReplay) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d/%d same=%v", r.Would, r.Armed, r.Same)
	at := func(t status.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Sub(began).String()
	}
	for _, f := range r.Firings {
		fmt.Fprintf(&b, " [%s..%s would=%v armed=%v %s=%s #%d]", at(f.From), at(f.To), f.Would, f.Armed, f.Channel, f.Value, f.Record)
	}
	if r.More > 0 {
		fmt.Fprintf(&b, " +%d", r.More)
	}
	if r.Note != "" {
		b.WriteString(" (" + r.Note + ")")
	}
	return b.String()
}

func wantTold(t *testing.T, r *status.Replay, want ...string) {
	t.Helper()
	var got []string
	for i := range r.Rules {
		got = append(got, r.Rules[i].Name+" "+told(&r.Rules[i]))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func wantNotes(t *testing.T, r *status.Replay, want ...string) {
	t.Helper()
	if len(r.Notes) != len(want) {
		t.Fatalf("notes are %q, want %d", r.Notes, len(want))
	}
	for i, n := range r.Notes {
		if !strings.Contains(n, want[i]) {
			t.Errorf("note %d is %q, want %q in it", i, n, want[i])
		}
	}
}

// TestReplayTriesAnotherRule: what another threshold would have done, beside what the armed rule did; and nothing of before `since`.
func TestReplayTriesAnotherRule(t *testing.T) {
	armed := hot(t, "meter.temp > 80", 0)
	s := newShelf(t)
	s.start(Start{Fresh: true}, armed)
	for i, v := range []float64{70, 85, 70, 78, 90, 70, 76} {
		boot := time.Duration(i+1) * time.Second
		switch i {
		case 1, 4:
			s.alarm(boot, true, v)
		case 2, 5:
			s.alarm(boot, false, v)
		}
		s.temp(boot, v)
	}
	r := s.replay(0, []rules.Rule{armed}, armed)
	wantNotes(t, &r)
	wantTold(t, &r, "hot 2/2 same=true [2s..3s would=true armed=true meter.temp=85 #3] [5s..6s would=true armed=true meter.temp=90 #8]")
	if r.Records != 7 || r.Readings != 7 || r.Starts != 0 || r.From.Sub(began) != time.Second || r.To.Sub(began) != 7*time.Second {
		t.Errorf("got %+v", r)
	}
	lower := hot(t, "meter.temp > 75", 0)
	silent := lower
	silent.Name, silent.Severity = "silent", ""
	r = s.replay(2500*time.Millisecond, []rules.Rule{armed, silent}, lower, silent)
	wantTold(t, &r,
		"hot 2/1 same=false [-..3s would=true armed=true = #0] [4s..6s would=true armed=false meter.temp=78 #6] [5s..6s would=false armed=true meter.temp=90 #0] "+
			"[7s..- would=true armed=false meter.temp=76 #11] (the armed rule has another condition)",
		"silent 2/0 same=false [-..3s would=true armed=false = #0] [4s..6s would=true armed=false meter.temp=78 #6] [7s..- would=true armed=false meter.temp=76 #11] "+
			"(it raises no alarm: how often the armed rule fired is not stored)")
	other := armed
	other.Name = "other"
	r = s.replay(0, []rules.Rule{armed}, other)
	wantTold(t, &r,
		"other 2/0 same=false [2s..3s would=true armed=false meter.temp=85 #3] [5s..6s would=true armed=false meter.temp=90 #8] (no armed rule has this name)",
		"hot 0/2 same=false [2s..3s would=false armed=true meter.temp=85 #0] [5s..6s would=false armed=true meter.temp=90 #0] (it is not among the rules that are tried)")
}

// TestReplayDerivesAnew: what rules derived is stored behind what it came from; a replay works it out again and looks at it once. Other rules look at
// what is stored of it.
func TestReplayDerivesAnew(t *testing.T) {
	total, faults := lang.Compile("total(meter.temp)", lang.Value, lang.Schema{Open: func(string) bool { return true }})
	if len(faults) > 0 {
		t.Fatal(faults[0])
	}
	sum := rules.Rule{Name: "sum", Derives: []rules.Derive{{Device: "made", Channel: "sum", Value: total}}}
	often := hot(t, "count(made.sum, 20x) == 4", 0)
	s := newShelf(t)
	s.start(Start{Fresh: true}, sum, often)
	all := 0.0
	for i, v := range []float64{30, 30, 30, 30} {
		boot := time.Duration(i+1) * time.Second
		s.temp(boot, v)
		all += v
		s.put(tidegate.ClassReading, boot, tidegate.Reading{Device: "made", Channel: "sum", Value: tidegate.Float(all)})
	}
	r := s.replay(0, []rules.Rule{sum, often}, sum, often)
	wantTold(t, &r, "hot 1/0 same=false [4s..- would=true armed=false made.sum=120 #7]")
	wantNotes(t, &r)
	r = s.replay(0, []rules.Rule{sum, often}, often)
	wantTold(t, &r, "hot 1/0 same=false [4s..- would=true armed=false made.sum=120 #8]")
}

// TestReplayNamesWhatIsNotStoredWhole: channels of which an armed rule lets less through are named, where a tried rule looks at them; and
// what is stored is not filtered once more.
func TestReplayNamesWhatIsNotStoredWhole(t *testing.T) {
	less := rules.Rule{Name: "less", Filters: []filter.Filter{
		{Do: filter.Drop, Channels: []string{"meter.raw"}}, {Do: filter.Deadband, Channels: []string{"meter.t*"}, By: 5},
	}}
	armed := hot(t, "meter.temp > 80", 0)
	s := newShelf(t)
	s.start(Start{Fresh: true}, less, armed)
	s.temp(time.Second, 79)
	s.temp(2*time.Second, 81)
	r := s.replay(0, []rules.Rule{less, armed}, less, armed)
	wantNotes(t, &r, "stored of meter.temp (rule less) is not all")
	wantTold(t, &r, "hot 1/0 same=false [2s..- would=true armed=false meter.temp=81 #2]")
	r = s.replay(0, []rules.Rule{less}, hot(t, "meter.other > 80", 0))
	wantNotes(t, &r)
}

// TestReplayLeavesOutWhatSnapshotsGave: rules saw it when it was read, in its order; what is stored of it comes behind all that, and would be new to them. It
// counts as stored, and is no reboot.
func TestReplayLeavesOutWhatSnapshotsGave(t *testing.T) {
	armed := hot(t, "meter.temp > 80", 0)
	armed.Snapshots = []hold.Snapshot{{Channels: []string{"meter.temp"}, Before: 5 * time.Minute}}
	less := rules.Rule{Name: "less", Filters: []filter.Filter{{Do: filter.Deadband, Channels: []string{"meter.temp"}, By: 5}}}
	s := newShelf(t)
	s.start(Start{Fresh: true}, less, armed)
	s.temp(time.Second, 79)
	s.alarm(200*time.Second, true, 81)
	var list []tidegate.Reading
	for i, v := range []float64{79, 81, 90, 81} {
		list = append(list, tidegate.Reading{Device: "meter", Channel: "temp", Value: tidegate.Float(v), Time: began.Add(time.Duration(50*(i+1)-5) * time.Second)})
	}
	s.put(tidegate.ClassReading, -200*time.Second, list...)
	s.temp(201*time.Second, 70)
	r := s.replay(0, []rules.Rule{less, armed}, armed)
	wantTold(t, &r, "hot 0/1 same=false [3m20s..- would=false armed=true meter.temp=81 #0]")
	wantNotes(t, &r, "stored of meter.temp (rule less) is not all")
	if r.Records != 3 || r.Readings != 6 || r.Starts != 0 {
		t.Errorf("%d records of %d readings, %d starts", r.Records, r.Readings, r.Starts)
	}
}

// TestReplaySaysWhereItIsNotExact: each thing that makes it differ from what happened is told.
func TestReplaySaysWhereItIsNotExact(t *testing.T) {
	armed := hot(t, "meter.temp > 80", time.Minute)
	old := hot(t, "meter.temp > 90", time.Minute)
	t.Run("records are missing", func(t *testing.T) {
		s := newShelf(t)
		s.start(Start{Fresh: true}, armed)
		s.temp(time.Second, 1)
		s.place.Number += 5
		s.temp(2*time.Second, 1)
		s.epoch(2, 20)
		s.temp(3*time.Second, 1)
		r := s.replay(0, []rules.Rule{armed}, armed)
		wantNotes(t, &r, "17 record numbers are missing (2 to 6, 8 to 19)")
	})
	t.Run("the beginning is gone", func(t *testing.T) {
		s := newShelf(t)
		s.start(Start{Fresh: true}, armed)
		s.place.Number = 7
		s.temp(time.Second, 1)
		r := s.replay(0, []rules.Rule{armed}, armed)
		wantNotes(t, &r, "is not stored any more: rules begin here without what they knew")
	})
	t.Run("a start is not known", func(t *testing.T) {
		s := newShelf(t)
		s.start(Start{Fresh: true}, armed)
		s.temp(time.Second, 1)
		s.start(Start{Count: 2, SameBoot: true}, armed)
		s.temp(time.Second, 1)
		r := s.replay(0, []rules.Rule{armed}, armed)
		wantNotes(t, &r, "started 1 times of which nothing is kept")
	})
	t.Run("an older version stored it", func(t *testing.T) {
		s := newShelf(t)
		s.temp(time.Hour, 90) // pending
		s.temp(time.Second, 90)
		s.temp(30*time.Second, 90) // not for a minute since the reboot
		r := s.replay(0, []rules.Rule{armed}, armed)
		wantNotes(t, &r, "is not stored any more", "started 1 times of which nothing is kept")
		wantTold(t, &r, "hot 0/0 same=true")
	})
	t.Run("the rule was changed", func(t *testing.T) {
		s := newShelf(t)
		s.start(Start{Fresh: true}, old)
		s.temp(time.Second, 1)
		s.start(Start{Count: 1, SameBoot: true, Wall: began.Add(2 * time.Second)}, armed)
		s.temp(3*time.Second, 1)
		r := s.replay(0, []rules.Rule{armed}, armed)
		wantNotes(t, &r)
		wantTold(t, &r, "hot 0/0 same=true (armed as it is since "+began.Add(2*time.Second).Format(time.DateTime)+": before, another one was, or none)")
		r = s.replay(5*time.Second, []rules.Rule{armed}, armed)
		wantTold(t, &r, "hot 0/0 same=true")
	})
	t.Run("the clock was set", func(t *testing.T) {
		s := newShelf(t)
		s.start(Start{Fresh: true})
		s.temp(time.Second, 1)
		defer func(was time.Time) { began = was }(began)
		began = began.Add(2 * time.Hour)
		s.temp(2*time.Second, 1)
		r := s.replay(-3*time.Hour, nil, armed)
		wantNotes(t, &r)
		r = s.replay(-3*time.Hour, nil, hot(t, "meter.temp > 80 and hour() < 30", 0))
		wantNotes(t, &r, "the clock was set 1 times")
	})
	t.Run("nothing is stored", func(t *testing.T) {
		r := newShelf(t).replay(0, []rules.Rule{armed}, armed)
		wantNotes(t, &r, "no reading is stored")
	})
}

// TestReplayFollowsReboots: after a reboot `for` begins again, an alarm that stands goes on; both as the gateway does it.
func TestReplayFollowsReboots(t *testing.T) {
	armed := hot(t, "meter.temp > 80", time.Minute)
	s := newShelf(t)
	s.start(Start{Fresh: true, Boot: time.Hour}, armed)
	s.temp(time.Hour, 90)
	s.start(Start{Count: 1, Boot: time.Second}, armed) // reboot: what was pending is not
	s.temp(10*time.Second, 90)
	s.temp(50*time.Second, 90)
	s.start(Start{Count: 2, Boot: 55 * time.Second, SameBoot: true}, armed) // restart: what is pending waits for a reading
	s.alarm(80*time.Second, true, 90)
	s.temp(80*time.Second, 90)
	s.start(Start{Count: 3, Boot: time.Second}, armed) // reboot: the alarm stands
	s.alarm(5*time.Second, false, 20)
	s.temp(5*time.Second, 20)
	r := s.replay(0, []rules.Rule{armed}, armed)
	wantNotes(t, &r)
	if r.Starts != 3 || !r.Rules[0].Same || r.Rules[0].Would != 1 || r.Rules[0].Armed != 1 {
		t.Errorf("%d starts: %s", r.Starts, told(&r.Rules[0]))
	}
}

// TestReplayKeepsTheMoment has a rule end by the time of day, and a reading come behind it that says it is older: from then on another one waits, and what
// is read when it is due raises it. A replay that lags by less than a microsecond names another channel.
func TestReplayKeepsTheMoment(t *testing.T) {
	clock := rules.Rule{Name: "clock", When: compile(t, "minute() == 6 or minute() == 21 or minute() == 36 or minute() == 51"), Severity: rules.SeverityInfo, Text: "now"}
	armed := []rules.Rule{clock, hot(t, "door.open and meter.temp > 80", 2*time.Second)}
	s := newShelf(t)
	s.start(Start{Fresh: true}, armed...)
	s.alarmOf(0, &rules.Alarm{Rule: "clock", Raised: true, Severity: rules.SeverityInfo, Text: "now"})
	s.temp(15*time.Second, 90)
	full := 20 * time.Second // at which the minute is over, in any zone
	s.temp(full, 90)
	s.alarmOf(full, &rules.Alarm{Rule: "clock", Severity: rules.SeverityInfo, Text: "now"})
	s.put(tidegate.ClassReading, full+time.Second, tidegate.Reading{Device: "door", Channel: "open", Value: tidegate.Bool(true), Time: began.Add(17 * time.Second)})
	s.alarm(full+2*time.Second, true, 91)
	s.temp(full+2*time.Second, 91)
	s.temp(full+3*time.Second, 91)
	r := s.replay(0, armed, armed...)
	wantNotes(t, &r)
	for i := range r.Rules {
		if x := &r.Rules[i]; !x.Same || x.Armed != 1 {
			t.Errorf("%s: %s", x.Name, told(x))
		}
	}
}

// TestReplayIsBounded: the first firings are listed, all are counted and compared.
func TestReplayIsBounded(t *testing.T) {
	o := &Options{Rules: make([]rules.Rule, 10_000)}
	for i := range o.Rules {
		o.Rules[i] = rules.Rule{Name: fmt.Sprint("r", i), When: compile(t, "meter.temp > 80"), Severity: rules.SeverityInfo}
	}
	r := newReport(o)
	a := r.account("r5")
	for i := range 50 {
		for _, s := range []*side{&a.would, &a.armed} {
			if i == 30 && s == &a.armed {
				continue
			}
			boot := time.Duration(i) * time.Second
			r.note(s, true, spell{from: began.Add(boot), fromBoot: boot})
			r.note(s, false, spell{from: began.Add(boot + 1e6), fromBoot: boot + 1e6})
		}
	}
	list, more := a.firings()
	if len(list) != fewFirings || more != 40 || a.would.fired != 50 || a.armed.fired != 49 || a.would.sum == a.armed.sum {
		t.Errorf("%d firings are listed and %d not, of %d and %d", len(list), more, a.would.fired, a.armed.fired)
	}
	for _, f := range list {
		if !f.Would || !f.Armed || f.To.Sub(f.From.Time) != time.Millisecond {
			t.Errorf("got %+v", f)
		}
	}
}

// TestReplayEnds: it ends with its ctx, within a few frames.
func TestReplayEnds(t *testing.T) {
	s := newShelf(t)
	for i := range 20 {
		s.temp(time.Duration(i)*time.Second, 1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Replay(ctx, Options{Queue: s.q, Rules: []rules.Rule{hot(t, "meter.temp > 80", 0)}, Pause: func(context.Context, time.Duration) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestJudgeCatchesUp: what was due long before a Read ended has happened, though the Read tells of a time before that; and the hour is that of this
// machine's zone.
func TestJudgeCatchesUp(t *testing.T) {
	defer func(was *time.Location) { time.Local = was }(time.Local)
	time.Local = time.FixedZone("east", 5*3600)
	list := []rules.Rule{hot(t, "door.open", 5*time.Second), hot(t, "hour() == "+fmt.Sprint((began.UTC().Hour()+5)%24)+" and door.open", 0)}
	list[1].Name = "hour"
	set, err := rules.New(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	set.In(time.Local)
	var got []string
	judge := func(boot time.Duration, open bool, own time.Duration) {
		rec := tidegate.Record{Class: tidegate.ClassReading, Boot: boot, Time: began.Add(boot).UTC(), Readings: []tidegate.Reading{
			{Device: "door", Channel: "open", Value: tidegate.Bool(open), Time: began.Add(own).UTC()},
		}}
		if left := Judge(set, &rec, func(out rules.Outcome) {
			for _, a := range out.Alarms {
				got = append(got, fmt.Sprint(a.Rule, " ", a.Raised, " ", a.Boot))
			}
		}); len(left) != 1 {
			t.Errorf("%d readings are left, want 1", len(left))
		}
	}
	judge(10*time.Second, true, 10*time.Second)
	judge(16*time.Second, false, 14*time.Second) // due at 15 s
	if want := "[hour true 10s hot true 15s hot false 15s hour false 15s]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestReplayFollowsReloads: where other rules were armed, what was pending goes on by time alone, unless its channel had failed.
func TestReplayFollowsReloads(t *testing.T) {
	armed := hot(t, "meter.temp > 80", time.Minute)
	s := newShelf(t)
	s.start(Start{Fresh: true}, armed)
	s.temp(10*time.Second, 90)
	s.start(Start{Count: 1, Boot: 30 * time.Second, SameBoot: true, Reads: true}, armed)
	s.alarm(70*time.Second, true, 90)
	s.alarm(100*time.Second, false, 20)
	s.temp(100*time.Second, 20)
	s.temp(110*time.Second, 90)
	s.put(tidegate.ClassReading, 120*time.Second, tidegate.Reading{Device: "meter", Channel: "temp", Fault: "no reply"})
	s.start(Start{Count: 2, Boot: 130 * time.Second, SameBoot: true, Reads: true}, armed)
	s.temp(200*time.Second, 20)
	r := s.replay(0, []rules.Rule{armed}, armed)
	wantNotes(t, &r)
	if r.Starts != 2 || !r.Rules[0].Same || r.Rules[0].Would != 1 || r.Rules[0].Armed != 1 {
		t.Errorf("%d starts: %s", r.Starts, told(&r.Rules[0]))
	}
}

func TestStartIsKept(t *testing.T) {
	in := []Start{
		{Fresh: true, Place: buffer.Place{Epoch: 1, Number: 1}, Boot: time.Hour, Wall: time.UnixMilli(5), Armed: []uint32{1, 1 << 31}},
		{Count: 1, SameBoot: true, Reads: true, Place: buffer.Place{Epoch: 7, Number: 1 << 60}, Boot: -time.Second, Wall: time.UnixMilli(-5)},
		{Count: maxStarts, Wall: time.UnixMilli(1)}, // in the place of the first
	}
	stored := map[string][]byte{"hot": {1}, "/meter.temp": {2}, "//77": {9}}
	for i := range in {
		s := in[i].State()
		stored[s.Key] = s.Body
	}
	if out := Starts(stored); !reflect.DeepEqual(out, in[1:]) {
		t.Errorf("got %+v, want %+v", out, in[1:])
	}
	if len(stored) != 2 {
		t.Errorf("left: %v, want the rule and the channel", stored)
	}
	many := Start{Armed: make([]uint32, 2*maxArmed)}
	if s, err := decodeStart(many.State().Body); err != nil || len(s.Armed) != maxArmed {
		t.Errorf("%d fingerprints, %v", len(s.Armed), err)
	}
}

func FuzzDecodeStart(f *testing.F) {
	f.Add((&Start{Count: 300, Boot: time.Hour, Wall: time.UnixMilli(1e12), Armed: []uint32{1, 2}, SameBoot: true}).State().Body)
	f.Add([]byte{startVersion, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeStart(b)
		if err != nil {
			if !errors.Is(err, errStart) {
				t.Errorf("got %v, want it to wrap %v", err, errStart)
			}
			return
		}
		again, err := decodeStart(s.State().Body)
		if err != nil || !reflect.DeepEqual(s, again) || !bytes.Equal(s.State().Body, again.State().Body) {
			t.Errorf("%+v becomes %+v, %v", s, again, err)
		}
	})
}

// TestExplainedSnapshots: what snapshots have, and what they gave out, in words.
func TestExplainedSnapshots(t *testing.T) {
	shot := hold.Snapshot{Channels: []string{"pump.*"}, Before: 30 * time.Second, After: 10 * time.Second}
	zone := time.Local
	time.Local = time.UTC
	defer func() { time.Local = zone }()
	for want, x := range map[string]hold.Stand{
		"keep all of pump.* from 30s before to 10s after; it has 7 readings that filters took since 15:07:10": {Readings: 7, Reach: 30 * time.Second, Until: -1},
		"keep all of pump.* from 30s before to 10s after; it has 7 readings that filters took since 15:07:10, and no room for older ones; all go on until 15:07:45": {
			Readings: 7, Reach: 30 * time.Second, Until: 65 * time.Second, Cut: true,
		},
		"keep all of pump.* from 30s before to 10s after; it has 0 readings that filters took since 15:07:10; at 15:07:30 it gave out 9": {
			Reach: 30 * time.Second, Until: 59 * time.Second, Last: hold.Given{At: 50 * time.Second, Readings: 9, Reach: 20 * time.Second},
		},
		"keep all of pump.* from 30s before to 10s after; it has 0 readings that filters took since 15:07:10; at 15:07:30 it gave out 9 since 15:07:01, as there was no room for older ones": {
			Reach: 30 * time.Second, Until: 59 * time.Second, Last: hold.Given{At: 50 * time.Second, Readings: 9, Reach: 21 * time.Second, Cut: true},
		},
	} {
		x.Snapshot = shot
		s := Explained(&rules.Stand{Snapshots: []hold.Stand{x}}, began.Add(time.Minute), time.Minute)
		if len(s.Does) != 1 || s.Does[0] != want {
			t.Errorf("got  %q\nwant %q", s.Does, want)
		}
	}
}

// TestExplainedDoes: what a rule does stands there in words.
func TestExplainedDoes(t *testing.T) {
	rule := hot(t, "meter.temp > 80", 0)
	rule.Outputs = []rules.Output{{Device: "fan", Channel: "relay", Value: tidegate.Bool(true), OnClear: tidegate.Bool(false)}}
	rule.Intervals = []rules.Interval{{Device: "meter", Every: 100 * time.Millisecond}, {Device: "other", Every: time.Minute}}
	set, err := rules.New([]rules.Rule{rule}, 0)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := set.Explain("hot")
	const want = "alarm error: too hot; set fan.relay to true, and to false when it ends; read meter every 100ms; read other every 1m0s"
	if s := Explained(&x, began, 0); strings.Join(s.Does, "; ") != want {
		t.Errorf("got %q, want %s", s.Does, want)
	}
}
