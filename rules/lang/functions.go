package lang

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/unit"
	"github.com/tidegate-io/tidegate/rules/window"
)

// Words that stand in the place of an argument.
const (
	wordTumbling = "tumbling"
	wordSession  = "session"
)

// A function is one that expressions can call. The table functions is also the reference in rules/README.md.
type function struct {
	name    string
	args    string // what it wants, for people
	gives   string // what it gives, for people
	doc     string
	example string
	make    func(c *checker, f *function, call *ast.CallNode) node
}

// functions are all there are.
var functions = [...]function{
	// Over time. What they say of the past is kept over restarts.
	{"avg", windowArgs, "number", "average", "avg(meter1.temp, 5m)", aggregate(window.Sums, (*window.Window).Avg, keepUnit)},
	{"min", windowArgs + ", or two and more numbers", "number", "least", "min(meter1.temp, 5m)", extreme(window.Extremes, (*window.Window).Min, lesser)},
	{"max", windowArgs + ", or two and more numbers", "number", "greatest", "max(meter1.temp, 20x)", extreme(window.Extremes, (*window.Window).Max, greater)},
	{"sum", windowArgs, "number", "sum", "sum(counter.pulses, 1h, tumbling)", aggregate(window.Sums, (*window.Window).Sum, keepUnit)},
	{"count", windowArgs, "number", "how many values came; 0 when none did", "count(door.open, 1h) > 20", aggregate(window.Sums, countOf, noUnit)},
	{"p50", windowArgs, "number", "median, within 1 % of its value", "p50(meter1.temp, 1h)", aggregate(window.Quantiles, quantile(0.50), keepUnit)},
	{"p95", windowArgs, "number", "95th percentile, within 1 % of its value", "p95(meter1.power, 15m)", aggregate(window.Quantiles, quantile(0.95), keepUnit)},
	{"p99", windowArgs, "number", "99th percentile, within 1 % of its value", "p99(meter1.power, 1d)", aggregate(window.Quantiles, quantile(0.99), keepUnit)},
	{"stddev", windowArgs, "number", "standard deviation of the sample; not known below two values", "stddev(meter1.temp, 10m)", aggregate(window.Spread, (*window.Window).Stddev, keepUnit)},
	{"delta", windowArgs, "number", "newest value minus the oldest one", "delta(tank.level, 1h)", aggregate(window.Ends, deltaOf, keepUnit)},
	{"rate", "number, or " + windowArgs, "number per second", "change per second: from the value before, or over a window from its oldest value; not known below two values", "rate(tank.level, 10m) < -0.01", rate},
	{"increase", windowArgs, "number", "how far a counter went on: a value below the one before means that it began at 0", "increase(pump.pulses, 1h)", increase},
	{"prev", "number", "number", "value before the newest one", "meter1.temp - prev(meter1.temp) > 5", prev},
	{"changed", "channel", "yes or no", "the newest value is another one than the value before", "changed(plc.mode)", changed},
	{"stuck", "channel, time", "yes or no", "values have come for so long and were all the same", "stuck(meter1.temp, 10m)", stuck},
	{"missing", "channel, time or 3x", "yes or no", "no value has come for so long, or for so many of the device's own intervals; faults are no values", "missing(meter1.temp, 3x)", missing},
	{"fault", "channel", "yes or no", "the newest reading is a fault", "fault(meter1.temp)", faulty},
	{"integral", "number, or number, time", "number times seconds", "sum of value times time (W becomes J) since the rule is there; values further apart than the time, 10m where none is given, add nothing", `to(integral(meter1.power), "kWh")`, integral},
	{"total", "number", "number", "sum of all values since the rule is there", "total(counter.pulses)", total},

	// Numbers.
	{"abs", "number", "number", "value without its sign", "abs(meter1.current) > 10", numeric1(math.Abs)},
	{"round", "number", "number", "nearest whole number, halves away from 0", "round(meter1.temp)", numeric1(math.Round)},
	{"floor", "number", "number", "greatest whole number that is not above", "floor(meter1.temp)", numeric1(math.Floor)},
	{"ceil", "number", "number", "least whole number that is not below", "ceil(meter1.temp)", numeric1(math.Ceil)},
	{"sqrt", "number", "number", "square root; not known below 0", "sqrt(flow.dp)", sqrt},
	{"to", "number, unit", "number", "the number in another unit of the same kind", `to(boiler.pressure, "bar") > 3`, convert},

	// Time of day, by the gateway's wall clock in its own zone; not known while the clock is not set.
	{"hour", "", "0 to 23", "hour", "hour() >= 22 or hour() < 6", calendar(0, 23, time.Time.Hour)},
	{"minute", "", "0 to 59", "minute of the hour", "minute() == 0", calendar(0, 59, time.Time.Minute)},
	{"weekday", "", "1 to 7", "day of the week, Monday is 1", "weekday() >= 6", calendar(1, 7, func(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 })},
	{"day", "", "1 to 31", "day of the month", "day() == 1", calendar(1, 31, time.Time.Day)},
	{"month", "", "1 to 12", "month", "month() in 6..8", calendar(1, 12, func(t time.Time) int { return int(t.Month()) })},
}

// windowArgs is what functions over a window want.
const windowArgs = "number, time or 20x [, tumbling or session]"

// names returns the names of all functions.
func (c *checker) names() string {
	names := make([]string, len(c.table))
	for i := range c.table {
		names[i] = c.table[i].name
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// DefaultBridge is how far apart two values may be for integral to count what is between.
const DefaultBridge = 10 * time.Minute

// one returns the only argument, as a number.
func (c *checker) one(call *ast.CallNode) (arg node, ok bool) {
	if len(call.Arguments) != 1 {
		return arg, false
	}
	arg = c.numeric(call.Arguments[0])
	return arg, arg.kind != kindNone
}

// channelArg returns the first argument, which has to be a channel.
func (c *checker) channelArg(call *ast.CallNode, args int) (ch node, ok bool) {
	if len(call.Arguments) != args {
		return ch, false
	}
	ch = c.node(call.Arguments[0])
	if ch.kind == kindNone {
		return ch, false
	}
	if ch.input < 0 {
		c.fault(ch.at, "a channel is wanted", "name one, for instance meter1.temp")
		return ch, false
	}
	return ch, true
}

// spanArg returns an argument that is a length of time.
func (c *checker) spanArg(n ast.Node) (span time.Duration, ok bool) {
	arg := c.node(n)
	if arg.kind == kindNone {
		return 0, false
	}
	if arg.span == 0 {
		c.fault(arg.at, "a length of time is wanted", "write it like 30s, 5m, 2h or 7d")
	}
	return arg.span, arg.span > 0
}

// missing and faulty look at a channel, and keep nothing.
func missing(c *checker, _ *function, call *ast.CallNode) node {
	ch, ok := c.channelArg(call, 2)
	if !ok {
		return node{}
	}
	arg := c.node(call.Arguments[1])
	span := arg.span
	if arg.times > 0 {
		of := c.schema.Channels[c.prog.Inputs[ch.input].Channel]
		if of.Every == 0 {
			return c.fault(arg.at, "the device reports when it has something to say: it has no interval", "write a length of time, for instance 5m")
		}
		if span = time.Duration(arg.times) * of.Every; of.Slowest >= span {
			c.prog.Doubts = append(c.prog.Doubts, &Fault{
				Col: c.src.col(arg.at), Got: strconv.Itoa(arg.times) + "x", Hint: "write a longer time, or a higher count",
				Problem: fmt.Sprintf("that is %v of the device's own interval, and a rule has it read every %v", span, of.Slowest),
			})
		}
	}
	if arg.kind != kindNone && span == 0 {
		return c.fault(arg.at, "a length of time or a count is wanted", "write it like 30s or 3x")
	}
	i := ch.input
	due := func(x *Instance) time.Duration {
		last := x.start
		if cell := x.cells[i]; cell.Value.Kind() != tidegate.KindNone {
			last = max(last, cell.At)
		}
		return last + span
	}
	c.prog.waits = append(c.prog.waits, wait{due})
	// Where x has begun to look since the last value, it may have been missing before: then that is not over because x counts anew.
	out := node{kind: kindBool, atom: "call", yes: func(x *Instance) Verdict {
		cell := x.cells[i]
		switch {
		case x.now >= due(x):
			return Yes
		case cell.Value.Kind() == tidegate.KindNone, cell.At < x.start && x.now >= cell.At+span:
			return Unknown
		}
		return No
	}}
	return out.with(ch, ch)
}

func faulty(c *checker, _ *function, call *ast.CallNode) node {
	ch, ok := c.channelArg(call, 1)
	if !ok {
		return node{}
	}
	i := ch.input
	out := node{kind: kindBool, atom: "call", yes: func(x *Instance) Verdict {
		switch cell := x.cells[i]; {
		case cell.Fault != "":
			return Yes
		case cell.Value.Kind() == tidegate.KindNone:
			return Unknown
		}
		return No
	}}
	out = out.with(ch, ch)
	out.faults |= 1 << i
	return out
}

// numeric1 makes a function of one number.
func numeric1(f func(float64) float64) func(*checker, *function, *ast.CallNode) node {
	return func(c *checker, _ *function, call *ast.CallNode) node {
		arg, ok := c.one(call)
		if !ok {
			return node{}
		}
		number := arg.number
		out := node{kind: kindNumber, unit: arg.unit, number: func(x *Instance) float64 { return f(number(x)) }}
		return out.with(arg, arg)
	}
}

func sqrt(c *checker, f *function, call *ast.CallNode) node {
	out := numeric1(math.Sqrt)(c, f, call)
	out.unit = ""
	return out
}

// kinHint says which units a number in the unit from can be converted to.
func kinHint(from string) string {
	if kin := unit.Kin(from); len(kin) > 0 {
		return "units are " + strings.Join(kin, ", ")
	}
	return "calculate with numbers instead"
}

func convert(c *checker, _ *function, call *ast.CallNode) node {
	if len(call.Arguments) != 2 {
		return node{}
	}
	arg, into := c.numeric(call.Arguments[0]), c.node(call.Arguments[1])
	if arg.kind == kindNone || into.kind == kindNone {
		return node{}
	}
	if into.kind != kindText || !into.isConst {
		return c.fault(into.at, "a unit in quotes is wanted", `write it like to(boiler.pressure, "bar")`)
	}
	to, _ := into.text(nil)
	if arg.unit == "" {
		return c.fault(arg.at, "unit of "+c.show(arg)+" is not known", "calculate with numbers instead")
	}
	m, err := unit.Convert(arg.unit, to)
	if err != nil {
		return c.fault(into.at, err.Error(), kinHint(arg.unit))
	}
	number := arg.number
	out := node{kind: kindNumber, unit: to, number: func(x *Instance) float64 { return m.Of(number(x)) }}
	return out.with(arg, arg)
}

// calendar makes a function that looks at the time of day, and gives whole numbers from low to high.
func calendar(low, high float64, f func(time.Time) int) func(*checker, *function, *ast.CallNode) node {
	return func(c *checker, _ *function, call *ast.CallNode) node {
		if len(call.Arguments) != 0 {
			return node{}
		}
		if !c.prog.Clock {
			c.prog.Clock = true
			c.prog.waits = append(c.prog.waits, wait{func(x *Instance) time.Duration {
				if x.wall.IsZero() {
					return x.now + time.Minute
				}
				return x.now + time.Minute - time.Duration(x.wall.Second())*time.Second - time.Duration(x.wall.Nanosecond())
			}})
		}
		return node{kind: kindNumber, atom: "call", input: -1, low: low, high: high, number: func(x *Instance) float64 {
			if x.wall.IsZero() {
				return math.NaN()
			}
			return float64(f(x.wall))
		}}
	}
}
