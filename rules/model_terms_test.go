package rules

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// plant is what conditions of the model know of channels: none by its kind.
var plant = lang.Schema{Channels: map[string]lang.Channel{
	"d.a": {Name: "d.a", Every: 2 * time.Second},
	"d.b": {Name: "d.b", Every: 2 * time.Second},
	"e.c": {Name: "e.c", Every: 2 * time.Second, Unit: "bar"},
}}

// A moment is a value of a channel, or its failure.
type moment struct {
	at, now time.Duration // when it was read, and when it was judged
	value   tidegate.Value
	number  float64 // NaN = it is none
	fault   bool
}

// A stamp is a value that a call has taken.
type stamp struct {
	at      time.Duration
	v       float64
	isFirst bool // after a reboot
}

// An amount is a part of a condition that gives a number; NaN = it is not known.
type amount struct {
	text  string
	at    []string // channels
	timed bool     // time alone may change what it says
	// halves: it is always a multiple of 0.5, and near 0, so that no rounding is between it and a limit.
	halves bool
	rough  bool                     // it may be 1 % beside what value says: it is only compared, with a limit that is further away
	limit  func(t *rapid.T) float64 // what it is compared with; nil = a small number
	value  func(m *model, now time.Duration) float64
	calls  []*amount // calls that keep values, those within others first
	of     *amount   // a call that keeps values: those of this
}

// A term is a condition, or a part of one: its text, and what it says at a time by the past of the channels.
type term struct {
	text    string
	at      []string
	timed   bool
	calls   []*amount
	verdict func(m *model, now time.Duration) (is, known bool)
}

func (c *term) String() string {
	if c == nil {
		return "none"
	}
	return c.text
}

func verdictsOf(v float64, is bool) (bool, bool) { return v == v && is, v == v }

// last returns the newest value of a channel that is no fault.
func (m *model) last(ch string) (v moment, ok bool) {
	for _, x := range slices.Backward(m.past[ch]) {
		if !x.fault {
			return x, true
		}
	}
	return v, false
}

// values returns all values of a channel that are no faults.
func (m *model) values(ch string) (list []moment) {
	for _, x := range m.past[ch] {
		if !x.fault {
			list = append(list, x)
		}
	}
	return list
}

// known returns v where all of the values that it is of are known: the infinite does not stand for what is not.
func known(v float64, of ...float64) float64 {
	for _, x := range of {
		if x != x {
			return x
		}
	}
	return v
}

// A windowView is a window over values.
type windowView struct {
	args  string
	shape string
	span  time.Duration
	n     int
}

// within returns the values of a window.
func (v windowView) within(all []stamp, now time.Duration) (list []stamp, known bool) {
	switch v.shape {
	case "last":
		return all[max(0, len(all)-v.n):], true
	case "tumbling":
		end := now / v.span * v.span
		for _, x := range all {
			known = known || x.at < end
			if x.at >= end-v.span && x.at < end {
				list = append(list, x)
			}
		}
		return list, known
	case "session":
		for i, x := range all {
			if i > 0 && x.at-all[i-1].at > v.span {
				list = nil
			}
			list = append(list, x)
		}
		if len(list) > 0 && now-list[len(list)-1].at > v.span {
			list = nil
		}
		return list, true
	}
	width := v.span / 60
	for _, x := range all {
		if (x.at/width+1)*width > now-v.span {
			list = append(list, x)
		}
	}
	return list, true
}

func drawView(t *rapid.T) windowView {
	v := windowView{shape: rapid.SampledFrom([]string{"sliding", "last", "tumbling", "session"}).Draw(t, "shape"), span: drawSpan(t)}
	switch v.shape {
	case "sliding":
		v.args = v.span.String()
	case "last":
		v.n = rapid.IntRange(1, 4).Draw(t, "values")
		v.args = fmt.Sprintf("%dx", v.n)
	default:
		v.args = v.span.String() + ", " + v.shape
	}
	return v
}

func drawSpan(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{6 * time.Second, 12 * time.Second}).Draw(t, "span")
}

func drawChannel(t *rapid.T) *amount {
	ch := rapid.SampledFrom([]string{"d.a", "d.b", "e.c"}).Draw(t, "channel")
	return &amount{text: ch, at: []string{ch}, halves: true, value: func(m *model, _ time.Duration) float64 {
		if x, ok := m.last(ch); ok {
			return x.number
		}
		return math.NaN()
	}}
}

// aggregates are the functions over windows, by what they make of the values of one; halves: they keep to halves.
var aggregates = []struct {
	name   string
	halves bool
	of     func(list []stamp) float64
}{
	{"avg", false, func(list []stamp) float64 { return total(list) / float64(len(list)) }},
	{"min", true, func(list []stamp) float64 { return sorted(list)[0] }},
	{"max", true, func(list []stamp) float64 { return sorted(list)[len(list)-1] }},
	{"sum", true, total},
	{"count", true, nil},
	{"p50", false, func(list []stamp) float64 { return quantile(list, 50) }},
	{"p95", false, func(list []stamp) float64 { return quantile(list, 95) }},
	{"p99", false, func(list []stamp) float64 { return quantile(list, 99) }},
	{"stddev", false, func(list []stamp) float64 {
		avg, squares := total(list)/float64(len(list)), 0.0
		for _, x := range list {
			squares += (x.v - avg) * (x.v - avg)
		}
		return math.Sqrt(squares / float64(len(list)-1)) // of one: 0/0
	}},
	{"delta", true, func(list []stamp) float64 { return list[len(list)-1].v - list[0].v }},
	{"rate", false, rateOf},
	{"increase", true, total},
}

func total(list []stamp) (sum float64) {
	for _, x := range list {
		sum += x.v
	}
	return sum
}

func sorted(list []stamp) (out []float64) {
	for _, x := range list {
		out = append(out, x.v)
	}
	slices.Sort(out)
	return out
}

func quantile(list []stamp, percent int) float64 {
	return sorted(list)[max((percent*len(list)+99)/100, 1)-1]
}

func rateOf(list []stamp) float64 {
	first, last := list[0], list[len(list)-1]
	if last.at <= first.at {
		return math.NaN()
	}
	return (last.v - first.v) / (last.at - first.at).Seconds()
}

// steps returns how far a counter went on, at each value but the first.
func steps(all []stamp) (list []stamp) {
	for i := 1; i < len(all); i++ {
		step := all[i].v - all[i-1].v
		if step < 0 {
			step = all[i].v
		}
		list = append(list, stamp{at: all[i].at, v: step})
	}
	return list
}

// keeping makes a call that keeps the values of an argument, all of them, and asks f for what it says of them.
func keeping(text string, of *amount, halves bool, f func(all []stamp, now time.Duration) float64) *amount {
	out := &amount{text: text, at: of.at, timed: true, halves: halves, of: of}
	out.calls = append(slices.Clone(of.calls), out)
	out.value = func(m *model, now time.Duration) float64 { return f(m.series[out], now) }
	return out
}

// drawAggregate draws a function over a window.
func drawAggregate(t *rapid.T) *amount {
	f := aggregates[rapid.IntRange(0, len(aggregates)-1).Draw(t, "aggregate")]
	of, v := drawArgument(t), drawView(t)
	isQuantile := f.name[0] == 'p'
	for isQuantile && !of.halves { // nothing but a half is that far from a limit
		of = drawChannel(t)
	}
	out := keeping(fmt.Sprintf("%s(%s, %s)", f.name, of.text, v.args), of, f.halves && of.halves, func(all []stamp, now time.Duration) float64 {
		if f.name == "increase" {
			all = steps(all)
		}
		list, known := v.within(all, now)
		switch {
		case f.of == nil && known:
			return float64(len(list))
		case !known || len(list) == 0:
			return math.NaN()
		}
		return f.of(list)
	})
	if out.rough = isQuantile; isQuantile {
		out.limit = func(t *rapid.T) float64 { return float64(rapid.IntRange(-6, 8).Draw(t, "limit"))/2 + 0.25 }
	}
	return out
}

// drawKeeping draws another call that keeps values.
func drawKeeping(t *rapid.T) *amount {
	of := drawArgument(t)
	switch rapid.IntRange(0, 3).Draw(t, "call") {
	case 0:
		return keeping("rate("+of.text+")", of, false, func(all []stamp, _ time.Duration) float64 {
			if len(all) == 0 {
				return math.NaN()
			}
			return rateOf(all[max(0, len(all)-2):])
		})
	case 1:
		return keeping("prev("+of.text+")", of, of.halves, func(all []stamp, _ time.Duration) float64 {
			if len(all) < 2 {
				return math.NaN()
			}
			return all[len(all)-2].v
		})
	case 2:
		return keeping("total("+of.text+")", of, of.halves, func(all []stamp, _ time.Duration) float64 {
			if len(all) == 0 {
				return math.NaN()
			}
			return total(all)
		})
	}
	bridge, args := lang.DefaultBridge, ""
	if rapid.Bool().Draw(t, "has bridge") {
		bridge = drawSpan(t)
		args = ", " + bridge.String()
	}
	return keeping("integral("+of.text+args+")", of, false, func(all []stamp, _ time.Duration) float64 {
		if len(all) == 0 {
			return math.NaN()
		}
		area := 0.0
		for i := 1; i < len(all); i++ {
			if gap := all[i].at - all[i-1].at; gap <= bridge && !all[i].isFirst {
				area += (all[i].v + all[i-1].v) / 2 * gap.Seconds()
			}
		}
		return area
	})
}

// drawArgument draws what a call takes: mostly a channel.
func drawArgument(t *rapid.T) *amount {
	switch rapid.IntRange(0, 11).Draw(t, "argument") {
	case 0, 1:
		return drawCalculation(t, drawChannel)
	case 2:
		return drawCalculation(t, drawKeeping)
	case 3:
		if out := drawCalculation(t, drawAggregate); !out.rough {
			return out
		}
	case 4:
		return join("(%s - %s)", drawCalendar(t), drawChannel(t), false, func(x, y float64) float64 { return x - y })
	}
	return drawChannel(t)
}

// join makes one number of two.
func join(format string, a, b *amount, halves bool, f func(x, y float64) float64) *amount {
	return &amount{
		text: fmt.Sprintf(format, a.text, b.text), at: slices.Concat(a.at, b.at), timed: a.timed || b.timed, halves: halves && a.halves && b.halves,
		calls: append(slices.Clone(a.calls), b.calls...),
		value: func(m *model, now time.Duration) float64 { return f(a.value(m, now), b.value(m, now)) },
	}
}

// drawCalculation draws a calculation with what draw draws.
func drawCalculation(t *rapid.T, draw func(*rapid.T) *amount) *amount {
	a := draw(t)
	if a.rough {
		return a
	}
	one := func(name string, halves bool, f func(float64) float64) *amount {
		out := *a
		out.text, out.halves, out.of, out.limit = name+"("+a.text+")", halves && a.halves, nil, nil
		out.value = func(m *model, now time.Duration) float64 { return f(a.value(m, now)) }
		return &out
	}
	switch rapid.IntRange(0, 12).Draw(t, "calculation") {
	case 0:
		return one("abs", true, math.Abs)
	case 1:
		return one("round", true, func(f float64) float64 { return math.Copysign(math.Floor(math.Abs(f)+0.5), f) })
	case 2:
		return one("floor", true, func(f float64) float64 { return -math.Ceil(-f) })
	case 3:
		return one("ceil", true, func(f float64) float64 { return -math.Floor(-f) })
	case 4:
		return one("sqrt", false, math.Sqrt)
	case 5:
		out := drawChannel(t)
		for out.text != "e.c" {
			out = drawChannel(t)
		}
		bar := out.value
		out.text, out.halves = `to(e.c, "kPa")`, false
		out.value = func(m *model, now time.Duration) float64 { return bar(m, now) * 100 }
		out.limit = func(t *rapid.T) float64 { return float64(rapid.IntRange(-4, 6).Draw(t, "limit")) * 50 }
		return out
	case 6:
		return join("min(%s, %s, 1)", a, drawChannel(t), true, func(x, y float64) float64 { return known(math.Min(1, math.Min(y, x)), x, y) })
	case 7:
		return join("max(%s, %s)", a, drawChannel(t), true, func(x, y float64) float64 { return known(math.Max(y, x), x, y) })
	case 8:
		return join("(%s - %s)", a, drawChannel(t), true, func(x, y float64) float64 { return x - y })
	case 9:
		return join("(%s / %s)", a, drawChannel(t), false, func(x, y float64) float64 {
			if y == 0 {
				return math.NaN()
			}
			return x / y
		})
	case 10:
		return join("(%s ?? %s)", a, drawChannel(t), true, func(x, y float64) float64 {
			if x != x {
				return y
			}
			return x
		})
	case 11:
		b, c := drawChannel(t), drawChannel(t)
		out := join("("+c.text+" > 1 ? %s : %s)", a, b, true, nil)
		out.at = append(out.at, c.at...)
		out.value = func(m *model, now time.Duration) float64 {
			switch v := c.value(m, now); {
			case v != v:
				return v
			case v > 1:
				return a.value(m, now)
			}
			return b.value(m, now)
		}
		return out
	}
	return a
}

// drawCalendar draws a part of the time of day.
func drawCalendar(t *rapid.T) *amount {
	parts := []struct {
		name        string
		least, most int
		of          func(time.Time) int
	}{
		{"hour", 0, 23, time.Time.Hour},
		{"minute", 0, 5, time.Time.Minute},
		{"weekday", 1, 7, func(t time.Time) int { return map[time.Weekday]int{time.Sunday: 7}[t.Weekday()] + int(t.Weekday()) }},
		{"day", 1, 31, time.Time.Day},
		{"month", 1, 12, func(t time.Time) int { return int(t.Month()) }},
	}
	c := parts[rapid.IntRange(0, len(parts)-1).Draw(t, "calendar")]
	return &amount{
		text: c.name + "()", timed: true,
		limit: func(t *rapid.T) float64 { return float64(rapid.IntRange(c.least, c.most).Draw(t, "limit")) },
		value: func(m *model, now time.Duration) float64 {
			if m.base.IsZero() {
				return math.NaN()
			}
			return float64(c.of(m.base.Add(now)))
		},
	}
}

func drawNumber(t *rapid.T) *amount {
	switch rapid.IntRange(0, 9).Draw(t, "number") {
	case 0, 1, 2, 3:
		return drawAggregate(t)
	case 4, 5:
		return drawKeeping(t)
	case 6:
		return drawCalculation(t, drawChannel)
	case 7:
		return drawCalculation(t, drawKeeping)
	case 8:
		return drawCalendar(t)
	}
	return drawChannel(t)
}

// drawComparison draws a number that is compared with a limit.
func drawComparison(t *rapid.T) *term {
	n := drawNumber(t)
	op := rapid.SampledFrom([]string{">", "<", ">=", "<=", "==", "!="}).Draw(t, "op")
	limit := 0.0
	switch {
	case n.limit != nil:
		limit = n.limit(t)
	case n.halves:
		limit = float64(rapid.IntRange(-2, 6).Draw(t, "limit")) / 2
	default: // nothing that can come out is just beside it
		limit = rapid.SampledFrom([]float64{0, 0.137, 1.137, -0.363, -1.363}).Draw(t, "limit")
	}
	return &term{
		text: fmt.Sprint(n.text, " ", op, " ", limit), at: n.at, timed: n.timed, calls: n.calls,
		verdict: func(m *model, now time.Duration) (bool, bool) {
			v := n.value(m, now)
			return verdictsOf(v, op == ">" && v > limit || op == "<" && v < limit || op == ">=" && v >= limit || op == "<=" && v <= limit ||
				op == "==" && v == limit || op == "!=" && v != limit)
		},
	}
}

// drawTerm draws a part of a condition.
func drawTerm(t *rapid.T) *term {
	ch := rapid.SampledFrom([]string{"d.a", "d.b", "e.c"}).Draw(t, "channel")
	out := &term{at: []string{ch}, timed: true}
	switch rapid.IntRange(0, 9).Draw(t, "term") {
	case 0:
		span := drawSpan(t)
		out.text = fmt.Sprintf("missing(%s, %v)", ch, span)
		if rapid.Bool().Draw(t, "by intervals") {
			span, out.text = 6*time.Second, fmt.Sprintf("missing(%s, 3x)", ch) // of two seconds
		}
		out.verdict = func(m *model, now time.Duration) (bool, bool) {
			x, ok := m.last(ch)
			switch {
			case now-max(m.start, x.at) >= span:
				return true, true
			case !ok, x.at < m.start && now-x.at >= span: // it may have been missing before the start
				return false, false
			}
			return false, true
		}
	case 1:
		out.text, out.timed = "fault("+ch+")", false
		out.verdict = func(m *model, _ time.Duration) (bool, bool) {
			list := m.past[ch]
			return len(list) > 0 && list[len(list)-1].fault, len(list) > 0
		}
	case 2:
		span := drawSpan(t)
		out.text = fmt.Sprintf("stuck(%s, %v)", ch, span)
		out.verdict = func(m *model, _ time.Duration) (bool, bool) {
			list := m.values(ch)
			if len(list) == 0 {
				return false, false
			}
			newest := list[len(list)-1]
			oldest := newest
			for len(list) > 0 && list[len(list)-1].value == newest.value {
				oldest, list = list[len(list)-1], list[:len(list)-1]
			}
			return newest.now-oldest.now >= span, true
		}
	case 3:
		out.text = "changed(" + ch + ")"
		out.verdict = func(m *model, _ time.Duration) (bool, bool) {
			list := m.values(ch)
			return len(list) > 1 && list[len(list)-1].value != list[len(list)-2].value, len(list) > 1
		}
	default:
		return drawComparison(t)
	}
	return out
}

// drawCondition draws a condition of one to three terms.
func drawCondition(t *rapid.T) *term {
	out := drawTerm(t)
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		a, b := out, drawTerm(t)
		both := rapid.Bool().Draw(t, "and")
		out = &term{
			text:  "(" + a.text + map[bool]string{true: " and ", false: " or "}[both] + b.text + ")",
			timed: a.timed || b.timed, at: slices.Concat(a.at, b.at), calls: slices.Concat(a.calls, b.calls),
			verdict: func(m *model, now time.Duration) (bool, bool) {
				v, known := a.verdict(m, now)
				w, known2 := b.verdict(m, now)
				if both {
					return v && w && known && known2, known && known2 || known && !v || known2 && !w
				}
				return known && v || known2 && w, known && known2 || known && v || known2 && w
			},
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "not") == 0 {
		a := *out
		out.text = "not (" + a.text + ")"
		out.verdict = func(m *model, now time.Duration) (bool, bool) {
			v, known := a.verdict(m, now)
			return known && !v, known
		}
	}
	return out
}

// TestModelDrawsEveryFunction: the model compares all functions of the language, those over windows in each of their shapes.
func TestModelDrawsEveryFunction(t *testing.T) {
	_, faults := lang.Compile("nosuch(d.a)", lang.Condition, plant)
	if len(faults) == 0 {
		t.Fatal("there is a function nosuch")
	}
	_, list, ok := strings.Cut(faults[0].Hint, "functions are ")
	names := strings.Split(list, ", ")
	if !ok || len(names) < 20 {
		t.Fatalf("functions are not told: %v", faults[0])
	}
	drawn := map[string]int{}
	call := regexp.MustCompile(`([a-z0-9]+)\(([^()]*)\)`)
	conditions := rapid.Custom(drawCondition)
	for seed := range 3000 {
		for _, x := range call.FindAllStringSubmatch(conditions.Example(seed).text, -1) {
			_, shape, _ := strings.Cut(x[2], ",")
			shape = regexp.MustCompile(`[0-9.]+`).ReplaceAllString(shape, "n")
			drawn[x[1]]++
			drawn[x[1]+shape]++
		}
	}
	for _, name := range names {
		if drawn[name] == 0 {
			t.Errorf("%s is never drawn", name)
		}
	}
	for _, f := range aggregates {
		for _, shape := range []string{" ns", " nx", " ns, tumbling", " ns, session"} {
			if drawn[f.name+shape] == 0 {
				t.Errorf("%s(x,%s) is never drawn", f.name, shape)
			}
		}
	}
}
