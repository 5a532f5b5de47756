package lang

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// plant is what the tests know of channels.
func plant() Schema {
	s := Schema{Channels: map[string]Channel{}, Open: func(name string) bool { return strings.HasPrefix(name, "ext.") }}
	for _, c := range []Channel{
		{Name: "meter1.temp", Kind: tidegate.KindFloat, Unit: "Cel", Every: time.Second},
		{Name: "meter1.power", Kind: tidegate.KindFloat, Unit: "W", Every: time.Second},
		{Name: "meter1.n", Kind: tidegate.KindUint, Every: time.Second},
		{Name: "pump-1.in", Kind: tidegate.KindFloat, Unit: "bar"},
		{Name: "pump-1.out", Kind: tidegate.KindFloat, Unit: "kPa"},
		{Name: "hall.door", Kind: tidegate.KindBool},
		{Name: "plc.mode", Kind: tidegate.KindText},
		{Name: "plc.raw", Kind: tidegate.KindBytes},
	} {
		s.Channels[c.Name] = c
	}
	return s
}

// rig runs one expression.
type rig struct {
	t     testing.TB
	p     *Program
	x     *Instance
	cells map[string]*Cell
}

func newRig(t testing.TB, text string, want Want) *rig {
	t.Helper()
	p, faults := Compile(text, want, plant())
	if len(faults) > 0 {
		t.Fatalf("%s: %v", text, faults[0])
	}
	r := &rig{t: t, p: p, cells: map[string]*Cell{}}
	var cells []*Cell
	for _, in := range p.Inputs {
		c := NewCell()
		r.cells[in.Channel] = c
		cells = append(cells, c)
	}
	r.x = p.New(new(Room), cells, 0)
	return r
}

// put gives the expression values by channel.
func (r *rig) put(at time.Duration, values map[string]any) {
	bits := uint64(0)
	for i, in := range r.p.Inputs {
		v, ok := values[in.Channel]
		if !ok {
			continue
		}
		bits |= 1 << i
		r.cells[in.Channel].Put(valueOf(v), at)
	}
	r.x.Took(bits, at, time.Time{})
}

func valueOf(v any) tidegate.Value {
	switch v := v.(type) {
	case float64:
		return tidegate.Float(v)
	case int:
		return tidegate.Int(int64(v))
	case bool:
		return tidegate.Bool(v)
	}
	return tidegate.Text(fmt.Sprint(v))
}

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		text   string
		values map[string]any
		want   Verdict
	}{
		{"meter1.temp > 80", map[string]any{"meter1.temp": 81.0}, Yes},
		{"meter1.temp > 80", map[string]any{"meter1.temp": 80.0}, No},
		{"meter1.temp > 80", nil, Unknown},
		{"meter1.temp > 80", map[string]any{"meter1.temp": "hot"}, Unknown},
		{"meter1.temp >= 80.5", map[string]any{"meter1.temp": 80.5}, Yes},
		{"meter1.temp<80", map[string]any{"meter1.temp": 79.0}, Yes},
		{"meter1.temp > -1e3", map[string]any{"meter1.temp": -999.0}, Yes},
		{"meter1.temp == .5", map[string]any{"meter1.temp": 0.5}, Yes},
		{"meter1.temp-10 > 70", map[string]any{"meter1.temp": 81.0}, Yes},
		{"meter1.temp - -10 > 90", map[string]any{"meter1.temp": 81.0}, Yes},
		{"80 < meter1.temp", map[string]any{"meter1.temp": 81.0}, Yes},
		{"70 < meter1.temp < 90", map[string]any{"meter1.temp": 81.0}, Yes},
		{"70 < meter1.temp < 80", map[string]any{"meter1.temp": 81.0}, No},
		{"hall.door", map[string]any{"hall.door": true}, Yes},
		{"not hall.door", map[string]any{"hall.door": true}, No},
		{"!hall.door", nil, Unknown},
		{"hall.door == true", map[string]any{"hall.door": true}, Yes},
		{"hall.door == false", map[string]any{"hall.door": 7}, No},
		{"hall.door == 1", map[string]any{"hall.door": true}, Yes},
		{"meter1.n == true", map[string]any{"meter1.n": 7}, Yes},
		{`plc.mode == "auto"`, map[string]any{"plc.mode": "auto"}, Yes},
		{`plc.mode != 'auto'`, map[string]any{"plc.mode": "auto"}, No},
		{`plc.mode == "auto"`, map[string]any{"plc.mode": 3}, Unknown},
		{`plc.mode in ["auto", "man"]`, map[string]any{"plc.mode": "man"}, Yes},
		{`plc.mode not in ["auto", "man"]`, map[string]any{"plc.mode": "man"}, No},
		{"meter1.n in 3..5", map[string]any{"meter1.n": 5}, Yes},
		{"meter1.n in [1, 2]", map[string]any{"meter1.n": 5}, No},
		{`plc.mode contains "ut"`, map[string]any{"plc.mode": "auto"}, Yes},
		{`plc.mode startsWith "au" and plc.mode endsWith "to"`, map[string]any{"plc.mode": "auto"}, Yes},
		{`plc.mode matches "^a.t"`, map[string]any{"plc.mode": "auto"}, Yes},
		{`ext.a == "x"`, map[string]any{"ext.a": "x"}, Yes},
		{"ext.a > 3", map[string]any{"ext.a": 4}, Yes},
		{"ext.a > ext.b", map[string]any{"ext.a": 4, "ext.b": 3}, Yes},
		{"ext.a-b > 3", map[string]any{"ext.a-b": 4}, Yes},
		// Logic of three values.
		{"meter1.temp > 80 and hall.door", map[string]any{"meter1.temp": 81.0}, Unknown},
		{"meter1.temp > 80 and hall.door", map[string]any{"meter1.temp": 79.0}, No},
		{"hall.door and meter1.temp > 80", map[string]any{"meter1.temp": 79.0}, No},
		{"meter1.temp > 80 or hall.door", map[string]any{"meter1.temp": 81.0}, Yes},
		{"hall.door or meter1.temp > 80", map[string]any{"meter1.temp": 81.0}, Yes},
		{"meter1.temp > 80 || hall.door", map[string]any{"meter1.temp": 79.0}, Unknown},
		{"meter1.temp > 80 && hall.door", map[string]any{"meter1.temp": 81.0, "hall.door": true}, Yes},
		// Numbers.
		{"meter1.temp / meter1.n > 1", map[string]any{"meter1.temp": 81.0, "meter1.n": 0}, Unknown},
		{"meter1.temp / meter1.n > 1", map[string]any{"meter1.temp": 81.0, "meter1.n": 2}, Yes},
		{"meter1.temp / meter1.n > 1", map[string]any{"meter1.temp": math.NaN(), "meter1.n": 2}, Unknown},
		{"(meter1.temp + 1) * 2 == 164", map[string]any{"meter1.temp": 81.0}, Yes},
		{"meter1.n % 2 == 1", map[string]any{"meter1.n": 7}, Yes},
		{"2 ** 3 == meter1.n", map[string]any{"meter1.n": 8}, Yes},
		{"abs(meter1.temp) > 5", map[string]any{"meter1.temp": -6.0}, Yes},
		{"sqrt(meter1.temp) > 5", map[string]any{"meter1.temp": -6.0}, Unknown},
		{"max(meter1.temp, meter1.n, 3) == 9", map[string]any{"meter1.temp": 1.0, "meter1.n": 9}, Yes},
		{"(meter1.temp ?? 20) > 15", nil, Yes},
		{"(hall.door ? meter1.temp : 0) > 15", map[string]any{"meter1.temp": 16.0, "hall.door": true}, Yes},
		{`to(pump-1.in, "kPa") > pump-1.out`, map[string]any{"pump-1.in": 3.0, "pump-1.out": 299.0}, Yes},
		{`to(meter1.temp, "degF") > 211.9`, map[string]any{"meter1.temp": 100.0}, Yes},
		{"pump-1.in-1 > 3", map[string]any{"pump-1.in": 5.0}, Yes},
		{"hour() in 0..5 or hour() == 23 or weekday() != 7", nil, Unknown},
		// Calls over time, on their first value.
		{"avg(meter1.temp, 5m) > 80", map[string]any{"meter1.temp": 81.0}, Yes},
		{"avg(meter1.temp, 20x) > 80 and max(meter1.temp, 5m) < 90", map[string]any{"meter1.temp": 81.0}, Yes},
		{"sum(meter1.temp, 1h30m, tumbling) > 80", map[string]any{"meter1.temp": 81.0}, Unknown},
		{"sum(meter1.temp, 1h30m, session) > 80", map[string]any{"meter1.temp": 81.0}, Yes},
		{"prev(meter1.temp) > 80", map[string]any{"meter1.temp": 81.0}, Unknown},
		{"changed(plc.mode)", map[string]any{"plc.mode": "x"}, Unknown},
		{"stuck(plc.mode, 5m)", map[string]any{"plc.mode": "x"}, No},
		{"missing(meter1.temp, 3x)", map[string]any{"meter1.temp": 81.0}, No},
		{"missing(meter1.temp, 3x)", nil, Yes},
		{"fault(meter1.temp)", map[string]any{"meter1.temp": 81.0}, No},
		{"fault(meter1.temp)", nil, Unknown},
	} {
		r := newRig(t, c.text, Condition)
		r.put(100*time.Second, c.values)
		if got := r.x.Test(100*time.Second, time.Time{}); got != c.want {
			t.Errorf("%s with %v: got %d, want %d", c.text, c.values, got, c.want)
		}
	}
}

// TestIncrease: a counter that begins at 0 anew has gone on by what it says then.
func TestIncrease(t *testing.T) {
	r := newRig(t, "increase(meter1.n, 1h) == 17", Condition)
	for i, n := range []int{100, 105, 105, 110, 3, 7} { // 5 + 0 + 5 + 3 + 4
		r.put(time.Duration(i)*time.Second, map[string]any{"meter1.n": n})
	}
	if got := r.x.Test(10*time.Second, time.Time{}); got != Yes {
		v := r.x.Show(10*time.Second, time.Time{})
		t.Errorf("got %v, %v", got, v)
	}
}

func number(v tidegate.Value) float64 {
	f, _ := v.Number()
	return f
}

// TestShown: people are shown channels, calls, and what was calculated of them before it was compared, each once.
func TestShown(t *testing.T) {
	r := newRig(t, `to(integral(meter1.power), "kWh") > 0.5 and meter1.power > 10 and meter1.power * 2 > 10 and 7 < meter1.power * 2`, Condition)
	r.put(0, map[string]any{"meter1.power": 360000.0})
	r.put(10*time.Second, map[string]any{"meter1.power": 360000.0})
	got := ""
	for _, s := range r.x.Show(10*time.Second, time.Time{}) {
		got += fmt.Sprintf("%s = %.6g %s\n", s.Text, number(s.Value), s.Unit)
	}
	const want = `meter1.power = 360000 W
integral(meter1.power) = 3.6e+06 J
to(integral(meter1.power), "kWh") = 1 kWh
meter1.power * 2 = 720000 W
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestMayHold: a condition certainly does not hold while a channel has a value only where no value of all else makes it hold.
func TestMayHold(t *testing.T) {
	for _, c := range []struct {
		text, channel string
		value         any
		want          bool
	}{
		{"hall.door and meter1.temp > 3", "hall.door", true, true},
		{"hall.door and meter1.temp > 3", "hall.door", false, false},
		{"not hall.door", "hall.door", true, false},
		{"meter1.temp > 3", "meter1.temp", 3.0, false},
		{"meter1.temp > 3", "meter1.temp", 4.0, true},
		{"meter1.temp > 3", "hall.door", false, true},
		{"avg(meter1.temp, 5m) > 3", "meter1.temp", 0.0, true},
		{"meter1.temp * 2 > 3", "meter1.temp", 0.0, true},
		{`plc.mode == "auto"`, "plc.mode", "manual", false},
		{`plc.mode == "auto"`, "plc.mode", "auto", true},
	} {
		p, faults := Compile(c.text, Condition, plant())
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		if got := p.MayHold(c.channel, valueOf(c.value)); got != c.want {
			t.Errorf("%s while %s is %v: got %v", c.text, c.channel, c.value, got)
		}
	}
}

// TestCallsWithinCalls: what a call takes of another call, or of the time of day, is that of the moment, also where the other call has heard
// nothing since.
func TestCallsWithinCalls(t *testing.T) {
	for _, text := range []string{"avg(meter1.temp, 1m) + meter1.n", "avg(meter1.temp, 1m) > 5 and meter1.n > 0"} {
		r := newRig(t, "count("+text+", 1h) == 0", Condition)
		r.put(0, map[string]any{"meter1.temp": 20.0})
		r.put(5*time.Minute, map[string]any{"meter1.n": 1}) // by then there is no average any more
		if got := r.x.Test(5*time.Minute, time.Time{}); got != Yes {
			t.Errorf("%s: an average of before was counted: %v", text, got)
		}
	}
	r := newRig(t, "max(meter1.n * hour(), 1h) == 70", Condition)
	r.cells["meter1.n"].Put(valueOf(10), 0)
	r.x.Took(1, 0, time.Date(2026, 1, 5, 7, 0, 0, 0, time.UTC))
	if got := r.x.Test(time.Minute, time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)); got != Yes {
		t.Errorf("10 at 7 o'clock is not 70: %v", got)
	}
}

// TestCallsOfYesAndNo: yes is 1 to a call, whatever number a channel of yes and no reports.
func TestCallsOfYesAndNo(t *testing.T) {
	r := newRig(t, "sum(hall.door, 1h) == 2", Condition)
	for i, v := range []any{true, false, 7} {
		r.put(time.Duration(i)*time.Minute, map[string]any{"hall.door": v})
	}
	if got := r.x.Test(2*time.Minute, time.Time{}); got != Yes {
		t.Errorf("yes, no and 7 are not 2: %v", got)
	}
}

func TestRefused(t *testing.T) {
	for _, c := range [][2]string{
		{"", "column 1: a condition is wanted (got nothing); begin with device.channel, for instance meter1.temp > 80"},
		{"meter1.temp", "column 1: gives a number, not yes or no (got meter1.temp); compare it, for instance meter1.temp > 80"},
		{"meter1.temp > ", "column 14: it ends too early (got nothing); go on, or close what is open"},
		{"meter1.temp 80", "column 13: not expected here (got 80); write and, or, or a comparison between"},
		{"meter1.temp > 80 Cel", "column 18: not expected here (got Cel); write the number alone, in the channel's unit; and, or, not stand between conditions"},
		{"meter1.temp > 80Cel", "column 17: more text behind the number (got Cel); write the number alone, in the channel's unit; lengths of time are 30s, 5m, 2h, 7d"},
		{"meter1.temp = 80", "column 13: not a comparison (got =); write =="},
		{"meter1.temp => 80", "column 13: not a comparison (got =>); write >="},
		{"meter1.temp ≥ 80", "column 13: not a comparison (got ≥); write >="},
		{"meter1.temp > 80 AND hall.door", "column 18: not expected here (got AND); write and"},
		{"hall.door is true", "column 11: not expected here (got is); write =="},
		{"temp > 80", "column 1: device and channel are wanted, with a dot between (got temp); begin with device.channel, for instance meter1.temp > 80"},
		{"meter1.tmp > 80", "column 1: no device has this channel (got meter1.tmp); name a channel that a device has"},
		{"plc.mode == auto", `column 13: not a value (got auto); compare with a number, true, false or a "text"`},
		{"meter2.a > 1 and meter3.b > 1", "column 1: no device has this channel (got meter2.a); name a channel that a device has"},
		{"_gateway.gap > 1", "column 1: the gateway's own channels are not judged (got _gateway.gap); name a channel of a device, for instance meter1.temp"},
		{`meter1.temp > "hot"`, `column 1: meter1.temp is a number and never compares with a text (got meter1.temp); compare with a number`},
		{`plc.mode > "a"`, "column 10: a text has no order (got >); compare with == or !="},
		{"not ext.a > 1", "column 1: does not belong to the comparison, but to what stands next (got not); put the comparison into parentheses: not (meter1.temp > 80)"},
		{"1x", "column 1: is a count (3x) and nothing else (got 1x); it belongs into a call, for instance missing(meter1.temp, 3x)"},
		{"tumbling", "column 1: is a word and nothing else (got tumbling); it belongs into a call, for instance missing(meter1.temp, 3x)"},
		{"meter1.n in [1,2] in [1,2]" + strings.Repeat(" in [1,2]", 20), "column 1: more than 2000 parts, lists written out (got meter1.n in [1,2] in [1,2]" + strings.Repeat(" in [1,2]", 20) + "); write several rules"},
		{"hall.door > true", "column 11: yes or no has no order (got >); compare with == or !="},
		{"plc.raw == 1", "column 1: channel is bytes, which cannot be judged (got plc.raw); name a channel with a number, yes or no, or a text"},
		{"pump-1.in > pump-1.out", `column 13: pump-1.in is in bar and is compared with pump-1.out in kPa (got pump-1.out); write to(pump-1.out, "bar")`},
		{"meter1.temp + pump-1.in > 3", "column 15: meter1.temp is in Cel and is added to or taken from that with pump-1.in in bar (got pump-1.in); name channels of one unit"},
		{"meter1.temp > 30s", "column 15: meter1.temp is in Cel and is compared with 30s in s (got 30s); write the number alone, in Cel"},
		{"meter1.temp > 3 or meter1.temp <= 3", "column 1: always holds (got meter1.temp); look at the numbers, and at and and or"},
		{"meter1.temp > 80 and meter1.temp < 70", "column 1: never holds (got meter1.temp); look at the numbers, and at and and or"},
		{"meter1.n >= 0", "column 1: always holds (got meter1.n); look at the numbers, and at and and or"},
		{"0 % 0 > 1", "column 1: is never known (got 0); name a channel, for instance meter1.temp > 80"},
		{"1 > 0", "column 1: always holds (got 1); name a channel, for instance meter1.temp > 80"},
		{"false", "column 1: never holds (got false); name a channel, for instance meter1.temp > 80"},
		{"meter1.temp / 0 > 1", "column 15: division by zero (got 0); divide by another number"},
		{"avg(meter1.temp) > 1", "column 1: avg wants number, time or 20x [, tumbling or session] (got avg(meter1.temp)); for instance avg(meter1.temp, 5m)"},
		{"avg(5, 5m) > 1", "column 5: looks at no channel (got 5); name a channel, for instance avg(meter1.temp, 5m)"},
		{"avg(meter1.temp, 5) > 1", "column 18: a length of time or a count is wanted (got 5); write it like 5m or 20x"},
		{"missing(hall.door, 3x)", "column 20: the device reports when it has something to say: it has no interval (got 3x); write a length of time, for instance 5m"},
		{"missing(meter1.temp + 1, 3s)", "column 9: a channel is wanted (got meter1.temp); name one, for instance meter1.temp"},
		{"median(meter1.temp, 5m) > 1", "column 1: there is no function median (got median(meter1.temp, 5m)); write p50, for instance p50(meter1.temp, 1h)"},
		{"AVG(meter1.temp, 5m) > 1", "column 1: there is no function AVG (got AVG(meter1.temp, 5m)); write avg, for instance avg(meter1.temp, 5m)"},
		{"smooth(meter1.temp, 5m) > 1", "column 1: there is no function smooth (got smooth(meter1.temp, 5m)); functions are abs, avg, ceil, changed, count, day, delta, fault, floor, hour, increase, integral, max, min, minute, missing, month, p50, p95, p99, prev, rate, round, sqrt, stddev, stuck, sum, to, total, weekday"},
		{"(meter1.temp > 80", "column 1: what is opened here is not closed (got (); write ) where it ends"},
		{`plc.mode in ["(", "b"`, "column 13: what is opened here is not closed (got [); write ] where it ends"},
		{"max(meter1.temp, (meter1.n) > 3", "column 4: what is opened here is not closed (got (); write ) where it ends"},
		{"meter1.temp > 80)", "column 17: nothing is open that this closes (got )); take it away, or open it where it begins"},
		{"meter1.temp > 80,5", "column 17: not expected here (got ,); write a decimal point, for instance 80.5"},
		{"meter1.temp > 80%", "column 17: more text behind the number (got %); write the number alone, in the channel's unit"},
		{"meter1.temp > 80% and hall.door", "column 17: more text behind the number (got %); write the number alone, in the channel's unit"},
		{"meter1.temp > 80°C", "column 17: more text behind the number (got °); write the number alone, in the channel's unit"},
		{"avg(meter1.temp, 5 min) > 80", "column 20: not expected here (got min); write lengths of time without a space, like 30s, 5m, 2h or 7d"},
		{"meter1.temp < 75 for 10s", "column 18: not expected here (got for); for is a key of its own beside when: for: 30s"},
		{"75", "column 1: gives a number, not yes or no (got 75); name a channel, for instance meter1.temp > 80"},
		{"plc.mode", `column 1: gives a text, not yes or no (got plc.mode); compare it, for instance plc.mode == "auto"`},
		{`plc.mode and hall.door`, `column 1: is a text, where yes or no is wanted (got plc.mode); compare it, for instance plc.mode == "auto"`},
		{`to(meter1.temp, "F") > 180`, `column 17: unit "F" is not known (got "F"); units are Cel, K, degF`},
		{`to(pump-1.in, "kpa") > 180`, `column 15: unit "kpa" is not known (got "kpa"); units are MPa, Pa, bar, hPa, kPa, mbar, psi`},
		{`avg(to(meter1.power, "K"), 5m) > 1`, `column 22: W is a power and K is a temperature (got "K"); units are MW, W, kW, mW`},
		{"weekday() == 0", "column 1: never holds (got weekday()); look at the numbers, and at and and or"},
		{"hour() == 24", "column 1: never holds (got hour()); look at the numbers, and at and and or"},
		{"hour() >= 0", "column 1: always holds (got hour()); look at the numbers, and at and and or"},
		{"month() < 12.5", "column 1: always holds (got month()); look at the numbers, and at and and or"},
		{`plc.mode matches "(("`, `column 18: no regular expression: missing closing ): ` + "`((` (got \"((\"); its syntax is that of RE2"},
		{"meter1.temp > 80 /* hot */", "column 18: not expected here (got /); see what can be written in rules/README.md"},
		{"let x = 1; x > 0", "column 1: not expected here (got let); there are no variables"},
		{`plc.mode == "auto`, `column 13: the quote does not end (got "auto); close it with "`},
		{"count(meter1.temp > 3, 5m, 1) > 1", "column 28: not expected here (got 1); a window over time is sliding, or tumbling, or session"},
		{"avg(meter1.temp, 1000y) > 3", "column 18: no length of time (got 1000y); lengths of time are longer than 0s, and at most 20y"},
		{"avg(meter1.temp, 50y) > 3", "column 18: no length of time (got 50y); lengths of time are longer than 0s, and at most 20y"},
	} {
		_, faults := Compile(c[0], Condition, plant())
		if len(faults) == 0 {
			t.Errorf("%s: taken", c[0])
			continue
		}
		if got := faults[0].Error(); got != c[1] {
			t.Errorf("%s:\ngot  %s\nwant %s", c[0], got, c[1])
		}
	}
}
