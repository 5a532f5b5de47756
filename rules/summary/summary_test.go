package summary

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"pgregory.net/rapid"
)

// show returns records in a form that can be read.
func show(recs []tidegate.Record) string {
	var b strings.Builder
	for _, r := range recs {
		fmt.Fprintf(&b, "%s q%d %q %s\n", r.Time.UTC().Format("15:04:05"), r.Quality, r.For, r.Labels)
		for _, x := range r.Readings {
			at := ""
			if !x.Time.IsZero() {
				at = x.Time.UTC().Format(" 15:04:05")
			}
			fmt.Fprintf(&b, "  %s/%s %v %s%s%s\n", x.Device, x.Channel, x.Value, x.Unit, x.Fault, at)
		}
	}
	return b.String()
}

func TestWhatReadingsBecome(t *testing.T) {
	base := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := New(time.Minute)
	add := func(second int, uplink, labels string, list ...tidegate.Reading) {
		s.Add(&tidegate.Record{Class: tidegate.ClassReading, Time: base.Add(time.Duration(second) * time.Second), Boot: time.Hour, For: uplink, Labels: labels, Readings: list})
	}
	of := func(channel string, v tidegate.Value) tidegate.Reading {
		return tidegate.Reading{Device: "d", Channel: channel, Value: v, Unit: "Cel"}
	}
	fault := func(text string) tidegate.Reading {
		return tidegate.Reading{Device: "d", Channel: "t", Unit: "Cel", Fault: text}
	}
	for i := range 8 {
		add(i*10, "", "", of("t", tidegate.Float(20+float64(i%5)/10)), of("on", tidegate.Bool(i%2 == 0)), of("slow", tidegate.Int(int64(i))))
	}
	add(50, "", `{"batch":"1"}`, of("t", tidegate.Int(1<<60)), of("t", tidegate.Int(1<<60+1)))
	add(51, "up2", "", fault("a"), fault("b"), fault("c"), of("t", tidegate.Float(math.NaN())))
	add(65, "", "", of("word", tidegate.Text("x")), of("word", tidegate.Text("y")))
	want := `12:00:00 q0 "" {"thinned":"1m0s"}
  d/t.min 20 Cel
  d/t.max 20.4 Cel
  d/t.mean 20.1667 Cel
  d/t.count 6 
  d/on.last false Cel
  d/on.count 6 
  d/slow.min 0 Cel
  d/slow.max 5 Cel
  d/slow.mean 2.5 Cel
  d/slow.count 6 
12:00:00 q0 "" {"batch":"1","thinned":"1m0s"}
  d/t 1152921504606846976 Cel 12:00:50
  d/t 1152921504606846977 Cel 12:00:50
12:00:00 q0 "up2" {"thinned":"1m0s"}
  d/t.faults 4 
  d/t NaN Celvalue is not a number 12:00:51
12:01:00 q0 "" {"thinned":"1m0s"}
  d/t 20.1 Cel
  d/t 20.2 Cel 12:01:10
  d/on true Cel
  d/on false Cel 12:01:10
  d/slow 6 Cel
  d/slow 7 Cel 12:01:10
  d/word x Cel 12:01:05
  d/word y Cel 12:01:05
`
	recs := s.Records()
	if got := show(recs); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	for _, r := range recs {
		if r.Boot != -time.Hour && r.Boot != -time.Hour+50*time.Second && r.Boot != -time.Hour+51*time.Second {
			t.Errorf("boot time is %v", r.Boot)
		}
		if !r.IsRestored() || r.Class != tidegate.ClassReading || r.Number != 0 {
			t.Errorf("record is %+v", r)
		}
	}
}

func TestName(t *testing.T) {
	long := strings.Repeat("x", 60)
	for _, c := range []struct{ channel, want string }{
		{"temp", "temp.count"},
		{long[:58], long[:58] + ".count"},
		{long + "y", long[:49] + "-" + Name(long+"y", Count)[50:58] + ".count"},
	} {
		got := Name(c.channel, Count)
		if err := tidegate.CheckName(got); got != c.want || err != nil {
			t.Errorf("got %q (%v), want %q", got, err, c.want)
		}
	}
	if Name(long+"y", Min) == Name(long+"z", Min) {
		t.Error("two long names become one")
	}
}

func TestMark(t *testing.T) {
	many := tidegate.Labels{}
	for i := range tidegate.MaxLabels {
		many[fmt.Sprintf("l%02d", i)] = "x"
	}
	got := mark(many.String(), time.Second)
	if !strings.HasSuffix(got, `"l14":"x","thinned":"1s"}`) {
		t.Errorf("got %s", got)
	}
}

// A tally is what readings of one channel in one window are, worked out anew.
type tally struct {
	numbers        []tidegate.Value
	others, faults int
	last           tidegate.Value
	lastFault      string
}

var extremes = []float64{0, -0.5, 1e308, -1e308, math.MaxFloat64, -math.MaxFloat64, 5e-324, math.Inf(1), math.Inf(-1), math.NaN(), 1 << 53}

func drawReading(t *rapid.T) tidegate.Reading {
	rd := tidegate.Reading{Device: rapid.SampledFrom([]string{"d", "e"}).Draw(t, "device"), Channel: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel")}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		rd.Fault = rapid.SampledFrom([]string{"f", "g"}).Draw(t, "fault")
	case 1:
		rd.Value = tidegate.Bool(rapid.Bool().Draw(t, "yes"))
	case 2:
		rd.Value = tidegate.Text(rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "text"))
	case 3:
		rd.Value = tidegate.Int(rapid.Int64().Draw(t, "int"))
	case 4:
		rd.Value = tidegate.Uint(rapid.Uint64().Draw(t, "uint"))
	case 5:
		rd.Value = tidegate.Float(rapid.SampledFrom(extremes).Draw(t, "extreme"))
	case 6: // none
	default:
		rd.Value = tidegate.Float(float64(rapid.IntRange(-1000, 1000).Draw(t, "float")) / 10)
	}
	return rd
}

// TestSummaryKeepsWhatItSays: whatever is read, each window keeps minimum and maximum of each channel, the mean lies between them, last values and faults are
// the last, and all counts together are all readings.
func TestSummaryKeepsWhatItSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(time.Minute)
		want := map[string]*tally{}
		total := 0
		for range rapid.IntRange(1, 12).Draw(t, "records") {
			rec := tidegate.Record{Time: time.Unix(int64(rapid.IntRange(-90, 90).Draw(t, "second")), 0), For: rapid.SampledFrom([]string{"", "u"}).Draw(t, "uplink")}
			for range rapid.IntRange(1, 12).Draw(t, "readings") {
				rd := drawReading(t)
				rec.Readings = append(rec.Readings, rd)
				total++
				key := fmt.Sprint(s.Window(rec.Time).Unix(), rec.For, rd.Device, "/", rd.Channel)
				x := want[key]
				if x == nil {
					x = &tally{}
					want[key] = x
				}
				number, isNumber := rd.Value.Number()
				switch {
				case rd.Fault != "" || rd.Value.Kind() == tidegate.KindNone || math.IsNaN(number) || math.IsInf(number, 0):
					x.faults++
					x.lastFault = rd.Fault
				case isNumber && rd.Value.Kind() != tidegate.KindBool:
					x.numbers = append(x.numbers, rd.Value)
				default:
					x.others++
					x.last = rd.Value
				}
			}
			s.Add(&rec)
		}
		counted := uint64(0)
		got := map[string]map[string][]tidegate.Reading{}
		for _, r := range s.Records() {
			if r.Time.Unix()%60 != 0 || !strings.Contains(r.Labels, `"thinned":"1m0s"`) || len(r.Readings) > tidegate.MaxReadings {
				t.Fatalf("record %+v", r)
			}
			for _, rd := range r.Readings {
				channel, what, _ := strings.Cut(rd.Channel, ".")
				key := fmt.Sprint(r.Time.Unix(), r.For, rd.Device, "/", channel)
				if got[key] == nil {
					got[key] = map[string][]tidegate.Reading{}
				}
				got[key][what] = append(got[key][what], rd)
				switch n, _ := rd.Value.Number(); {
				case what == "count" || what == "faults":
					counted += uint64(n)
				case what == "" && (rd.Fault == "" || len(got[key]["faults"]) == 0):
					counted++
				}
			}
		}
		if counted != uint64(total) {
			t.Fatalf("counts are %d together, want %d", counted, total)
		}
		for key, x := range want {
			compare(t, key, x, got[key])
		}
	})
}

func compare(t *rapid.T, key string, x *tally, got map[string][]tidegate.Reading) {
	number := func(what string) float64 {
		if len(got[what]) != 1 {
			t.Fatalf("%s: %d times .%s", key, len(got[what]), what)
		}
		f, _ := got[what][0].Value.Number()
		return f
	}
	if len(x.numbers) > FewNumbers {
		low, high, mean := math.Inf(1), math.Inf(-1), 0.0
		for _, v := range x.numbers {
			f, _ := v.Number()
			low, high, mean = min(low, f), max(high, f), mean+f/float64(len(x.numbers))
		}
		if a, b, c := number("min"), number("mean"), number("max"); a != low || c != high || !(a <= b && b <= c) || math.Abs(b-mean) > (high-low)/900+math.Abs(mean)*1e-9 && high-low < math.MaxFloat64 {
			t.Fatalf("%s: min %v, mean %v, max %v; want %v, %v, %v", key, a, b, c, low, mean, high)
		}
	}
	if x.others > FewOthers && got["last"][0].Value != x.last {
		t.Fatalf("%s: last is %v, want %v", key, got["last"][0].Value, x.last)
	}
	if x.faults > FewOthers {
		if f := got[""][len(got[""])-1].Fault; number("faults") != float64(x.faults) || x.lastFault != "" && f != x.lastFault {
			t.Fatalf("%s: %v faults, want %d; the last is %q, want %q", key, number("faults"), x.faults, f, x.lastFault)
		}
	}
}
