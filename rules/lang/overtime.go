package lang

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/window"
)

func keepUnit(unit string) string { return unit }
func noUnit(string) string        { return "" }

// slotOf makes n a call that keeps something over time, fed by arg.
func (c *checker) slotOf(call *ast.CallNode, arg node, make func() slot, n node) node {
	if len(c.prog.slots) == MaxSlots {
		return c.fault(call.Location().From, fmt.Sprintf("more than %d calls that keep something over time", MaxSlots), "write several rules")
	}
	spec := slotSpec{make: make, inputs: arg.inputs, input: arg.input, isNested: arg.keeps}
	if arg.number != nil && (arg.kind == kindNumber || arg.kind == kindBool) {
		spec.number = arg.asNumber().number
		spec.isPlain = arg.input >= 0 && c.schema.Channels[c.prog.Inputs[arg.input].Channel].Kind != tidegate.KindBool
	}
	c.prog.slots = append(c.prog.slots, spec)
	n.kind = map[bool]kind{true: kindNumber, false: kindBool}[n.number != nil]
	n.atom = "call"
	n.inputs, n.faults, n.keeps = arg.inputs, arg.faults, true
	return n
}

// windowSpec reads the arguments behind the first of a call over a window.
func (c *checker) windowSpec(args []ast.Node, needs window.Needs) (spec window.Spec, ok bool) {
	spec = window.Spec{Shape: window.Sliding, Needs: needs}
	if len(args) == 0 || len(args) > 2 {
		return spec, false
	}
	length := c.node(args[0])
	switch {
	case length.kind == kindNone:
		return spec, false
	case length.times > 0:
		spec.Shape, spec.N = window.Last, length.times
	case length.span > 0:
		spec.Span = length.span
	default:
		c.fault(length.at, "a length of time or a count is wanted", "write it like 5m or 20x")
		return spec, false
	}
	if len(args) == 2 {
		word := c.node(args[1])
		switch {
		case word.kind == kindNone:
			return spec, false
		case word.kind != kindWord || spec.Shape == window.Last:
			c.fault(word.at, "not expected here", "a window over time is sliding, or tumbling, or session")
			return spec, false
		case word.atom == wordTumbling:
			spec.Shape = window.Tumbling
		default:
			spec.Shape = window.Session
		}
	}
	if _, err := window.New(spec); err != nil {
		c.fault(length.at, err.Error(), "choose another window")
		return spec, false
	}
	return spec, true
}

// overWindow makes a call that feeds a window and reads it.
func (c *checker) overWindow(call *ast.CallNode, arg node, spec window.Spec, counts bool, read func(*window.Window) (float64, bool)) node {
	k := len(c.prog.slots)
	make := func() slot {
		w, err := window.New(spec)
		if err != nil {
			panic(err) // windowSpec has tried it
		}
		return &windowSlot{counts: counts, w: *w}
	}
	return c.slotOf(call, arg, make, node{number: func(x *Instance) float64 {
		v, ok := read(&x.slots[k].slot.(*windowSlot).w)
		if !ok {
			return math.NaN()
		}
		return v
	}})
}

// aggregate makes the functions over a window.
func aggregate(needs window.Needs, read func(*window.Window) (float64, bool), unit func(string) string) func(*checker, *function, *ast.CallNode) node {
	return func(c *checker, _ *function, call *ast.CallNode) node {
		if len(call.Arguments) < 2 {
			return node{}
		}
		arg := c.numeric(call.Arguments[0])
		spec, ok := c.windowSpec(call.Arguments[1:], needs)
		if !ok || arg.kind == kindNone || !c.reads(arg) {
			return node{}
		}
		out := c.overWindow(call, arg, spec, false, read)
		out.unit = unit(arg.unit)
		return out
	}
}

func lesser(a, b float64) float64  { return min(a, b) }
func greater(a, b float64) float64 { return max(a, b) }

// reads notes a fault where arg looks at no channel: then there is nothing to follow.
func (c *checker) reads(arg node) bool {
	if arg.isConst || arg.inputs == 0 {
		c.fault(arg.at, "looks at no channel", "name a channel, for instance avg(meter1.temp, 5m)")
		return false
	}
	return true
}

// extreme makes min and max: over a window, or of numbers.
func extreme(needs window.Needs, read func(*window.Window) (float64, bool), pick func(a, b float64) float64) func(*checker, *function, *ast.CallNode) node {
	over := aggregate(needs, read, keepUnit)
	return func(c *checker, f *function, call *ast.CallNode) node {
		args := call.Arguments
		if len(args) < 2 {
			return node{}
		}
		if id, ok := args[1].(*ast.IdentifierNode); ok {
			var i int
			if _, err := fmt.Sscanf(id.Value, string(mark)+"%d", &i); err == nil && c.src.literals[i].channel == "" {
				return over(c, f, call)
			}
		}
		out := c.numeric(args[0])
		list := []func(*Instance) float64{out.number}
		for _, a := range args[1:] {
			next := c.numeric(a)
			if out.kind == kindNone || next.kind == kindNone || !c.sameUnit(out, next, "compared") {
				return node{}
			}
			list = append(list, next.number)
			out = node{kind: kindNumber, unit: out.unit}.with(out, next)
		}
		out.number = func(x *Instance) float64 {
			v := list[0](x)
			for _, number := range list[1:] {
				v = pick(v, number(x))
			}
			return v
		}
		return out
	}
}

func countOf(w *window.Window) (float64, bool) {
	n, ok := w.Count()
	return float64(n), ok
}

func quantile(p float64) func(*window.Window) (float64, bool) {
	return func(w *window.Window) (float64, bool) { return w.Quantile(p) }
}

func deltaOf(w *window.Window) (float64, bool) {
	first, last, ok := w.Ends()
	return last.Value - first.Value, ok
}

func rateOf(w *window.Window) (float64, bool) {
	first, last, ok := w.Ends()
	if !ok || last.At <= first.At {
		return 0, false
	}
	return (last.Value - first.Value) / (last.At - first.At).Seconds(), true
}

func perSecond(unit string) string {
	for each, sum := range overTime {
		if sum == unit && each != "Hz" {
			return each
		}
	}
	if unit == "" {
		return ""
	}
	return unit + "/s"
}

func rate(c *checker, _ *function, call *ast.CallNode) node {
	if len(call.Arguments) == 0 {
		return node{}
	}
	arg := c.numeric(call.Arguments[0])
	spec, ok := window.Spec{Shape: window.Last, N: 2, Needs: window.Ends}, true
	if len(call.Arguments) > 1 {
		spec, ok = c.windowSpec(call.Arguments[1:], window.Ends)
	}
	if !ok || arg.kind == kindNone || !c.reads(arg) {
		return node{}
	}
	out := c.overWindow(call, arg, spec, false, rateOf)
	out.unit = perSecond(arg.unit)
	return out
}

func increase(c *checker, _ *function, call *ast.CallNode) node {
	if len(call.Arguments) < 2 {
		return node{}
	}
	arg := c.numeric(call.Arguments[0])
	spec, ok := c.windowSpec(call.Arguments[1:], window.Sums)
	if !ok || arg.kind == kindNone || !c.reads(arg) {
		return node{}
	}
	out := c.overWindow(call, arg, spec, true, (*window.Window).Sum)
	out.unit = arg.unit
	return out
}

func prev(c *checker, _ *function, call *ast.CallNode) node {
	arg, ok := c.one(call)
	if !ok || !c.reads(arg) {
		return node{}
	}
	k := len(c.prog.slots)
	return c.slotOf(call, arg, func() slot { return newPrevSlot() }, node{unit: arg.unit, number: func(x *Instance) float64 { return x.slots[k].slot.(*prevSlot).before }})
}

func changed(c *checker, _ *function, call *ast.CallNode) node {
	ch, ok := c.channelArg(call, 1)
	if !ok {
		return node{}
	}
	ch.kind = kindAny // it is followed as it is, whatever it holds
	k := len(c.prog.slots)
	return c.slotOf(call, ch, func() slot { return new(sameSlot) }, node{yes: func(x *Instance) Verdict {
		s := x.slots[k].slot.(*sameSlot)
		if s.seen < 2 {
			return Unknown
		}
		return verdictOf(s.isNew)
	}})
}

func stuck(c *checker, _ *function, call *ast.CallNode) node {
	ch, ok := c.channelArg(call, 2)
	if !ok {
		return node{}
	}
	span, ok := c.spanArg(call.Arguments[1])
	if !ok {
		return node{}
	}
	ch.kind = kindAny
	k := len(c.prog.slots)
	return c.slotOf(call, ch, func() slot { return new(sameSlot) }, node{yes: func(x *Instance) Verdict {
		s := x.slots[k].slot.(*sameSlot)
		if s.seen == 0 {
			return Unknown
		}
		return verdictOf(s.last-s.since >= span)
	}})
}

func integral(c *checker, _ *function, call *ast.CallNode) node {
	if len(call.Arguments) == 0 || len(call.Arguments) > 2 {
		return node{}
	}
	arg := c.numeric(call.Arguments[0])
	bridge := DefaultBridge
	if len(call.Arguments) == 2 {
		span, ok := c.spanArg(call.Arguments[1])
		if !ok {
			return node{}
		}
		bridge = span
	}
	if arg.kind == kindNone || !c.reads(arg) {
		return node{}
	}
	k := len(c.prog.slots)
	if _, err := window.NewIntegral(bridge); err != nil {
		return c.fault(call.Arguments[1].Location().From, err.Error(), "choose another time")
	}
	make := func() slot {
		area, err := window.NewIntegral(bridge)
		if err != nil {
			panic(err) // it was tried above
		}
		return &sumSlot{sum: area, area: area}
	}
	out := c.slotOf(call, arg, make, node{number: sumOf(k)})
	out.unit = overTime[arg.unit]
	if out.unit == "" && arg.unit != "" {
		out.unit = arg.unit + "s"
	}
	return out
}

func total(c *checker, _ *function, call *ast.CallNode) node {
	arg, ok := c.one(call)
	if !ok || !c.reads(arg) {
		return node{}
	}
	k := len(c.prog.slots)
	make := func() slot {
		total := new(window.Total)
		return &sumSlot{sum: total, total: total}
	}
	return c.slotOf(call, arg, make, node{unit: arg.unit, number: sumOf(k)})
}

// sumOf reads the sumSlot k.
func sumOf(k int) func(*Instance) float64 {
	return func(x *Instance) float64 {
		v, ok := x.slots[k].slot.(*sumSlot).sum.Value()
		if !ok {
			return math.NaN()
		}
		return v
	}
}
