package lang

import (
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
)

func (c *checker) arithmetic(n *ast.BinaryNode) node {
	a, b := c.numeric(n.Left), c.numeric(n.Right)
	if a.kind == kindNone || b.kind == kindNone {
		return node{input: -1}
	}
	out := node{kind: kindNumber, at: a.at, end: b.end}
	l, r := a.number, b.number
	switch n.Operator {
	case "+", "-":
		if !c.sameUnit(a, b, "added to or taken from that") {
			return node{input: -1}
		}
		out.unit = a.unit
		if a.unit == "" {
			out.unit = b.unit
		}
		if n.Operator == "+" {
			out.number = func(x *Instance) float64 { return l(x) + r(x) }
		} else {
			out.number = func(x *Instance) float64 { return l(x) - r(x) }
		}
	case "*":
		if a.isConst || b.isConst {
			out.unit = map[bool]string{true: b.unit, false: a.unit}[a.isConst]
		}
		out.number = func(x *Instance) float64 { return l(x) * r(x) }
	case "/":
		if b.isConst && b.unit == "" {
			out.unit = a.unit
		}
		if b.isConst && b.number(nil) == 0 {
			return c.fault(b.at, "division by zero", "divide by another number")
		}
		out.number = func(x *Instance) float64 {
			w := r(x)
			if w == 0 {
				return math.NaN()
			}
			return l(x) / w
		}
	case "%":
		out.unit = a.unit
		out.number = func(x *Instance) float64 { return math.Mod(l(x), r(x)) }
	default:
		out.number = func(x *Instance) float64 { return math.Pow(l(x), r(x)) }
	}
	out = out.with(a, b)
	if out.isConst {
		v := out.number(nil)
		out.number = func(*Instance) float64 { return v }
	} else {
		c.opaque = true
	}
	return out
}

// otherwise is a ?? b: b where a is not known.
func (c *checker) otherwise(n *ast.BinaryNode) node {
	a, b := c.numeric(n.Left), c.numeric(n.Right)
	if a.kind == kindNone || b.kind == kindNone || !c.sameUnit(a, b, "replaced") {
		return node{input: -1}
	}
	c.opaque = true
	l, r := a.number, b.number
	out := node{kind: kindNumber, unit: a.unit, at: a.at, end: b.end, number: func(x *Instance) float64 {
		if v := l(x); v == v {
			return v
		}
		return r(x)
	}}
	return out.with(a, b)
}

// choice is a ? b : c, of numbers.
func (c *checker) choice(n *ast.ConditionalNode) node {
	cond, a, b := c.condition(n.Cond), c.numeric(n.Exp1), c.numeric(n.Exp2)
	if cond.kind == kindNone || a.kind == kindNone || b.kind == kindNone || !c.sameUnit(a, b, "put in one place") {
		return node{input: -1}
	}
	c.opaque = true
	yes, l, r := cond.yes, a.number, b.number
	out := node{kind: kindNumber, unit: a.unit, at: cond.at, end: b.end, number: func(x *Instance) float64 {
		switch yes(x) {
		case Yes:
			return l(x)
		case No:
			return r(x)
		}
		return math.NaN()
	}}
	out = out.with(a, b)
	return out.with(out, cond)
}

// call is a call of one of functions.
func (c *checker) call(n *ast.CallNode) node {
	at := n.Location().From
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || strings.HasPrefix(callee.Value, string(mark)) {
		return c.fault(at, "cannot be called", "functions are "+c.names())
	}
	i := slices.IndexFunc(c.table, func(f function) bool { return f.name == callee.Value })
	if i < 0 {
		return c.fault(at, "there is no function "+callee.Value, c.otherCall(callee.Value))
	}
	f := &c.table[i]
	key := c.src.cut(at, c.closing(n))
	if done, ok := c.calls[key]; ok { // the same call once more
		return done
	}
	before, opaque, atoms := len(c.faults), c.opaque, maps.Clone(c.prog.atoms)
	out := f.make(c, f, n)
	if out.kind == kindNone {
		if len(c.faults) == before {
			c.fault(at, f.name+" wants "+f.args, "for instance "+f.example)
		}
		return out
	}
	out.at, out.end, out.input = at, c.closing(n), -1
	if len(out.atom) == 0 {
		c.opaque = c.opaque || !out.isConst
		return out
	}
	// What is compared inside is of no account: the call is what counts.
	c.opaque, c.prog.atoms = opaque, atoms
	out.call = c.prog.calls
	c.prog.calls++
	out = out.stubbed()
	c.prog.shown = append(c.prog.shown, shown{text: key, node: out, input: -1})
	c.atom(out, out.kind.valueKind())
	c.calls[key] = out
	return out
}

// elsewhere are functions by names that they have in other places.
var elsewhere = map[string]string{
	"average": "avg", "mean": "avg", "median": "p50", "minimum": "min", "maximum": "max", "std": "stddev", "stdev": "stddev", "convert": "to", "last": "prev",
}

// otherCall is the hint for a call of a function that there is not.
func (c *checker) otherCall(name string) string {
	name = strings.ToLower(name)
	if other, ok := elsewhere[name]; ok {
		name = other
	}
	if i := slices.IndexFunc(c.table, func(f function) bool { return f.name == name }); i >= 0 {
		return "write " + c.table[i].name + ", for instance " + c.table[i].example
	}
	return "functions are " + c.names()
}

// closing returns where a call ends: behind the parenthesis that closes it.
func (c *checker) closing(n *ast.CallNode) int {
	r := []rune(c.src.rewritten)
	depth, quote := 0, rune(0)
	for i := n.Location().From; i < len(r); i++ {
		switch {
		case quote != 0:
			if r[i] == '\\' {
				i++
			} else if r[i] == quote {
				quote = 0
			}
		case r[i] == '"' || r[i] == '\'':
			quote = r[i]
		case r[i] == '(':
			depth++
		case r[i] == ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return utf8.RuneCountInString(c.src.rewritten)
}

// stubbed returns n, a call, so that Instance.stub is given in its place where there is one.
func (n node) stubbed() node {
	k, number, yes := n.call, n.number, n.yes
	if n.kind == kindNumber {
		n.number = func(x *Instance) float64 {
			if x.stub != nil {
				return x.stub[k]
			}
			return number(x)
		}
		return n
	}
	n.yes = func(x *Instance) Verdict {
		if x.stub != nil {
			return verdictOf(x.stub[k] != 0)
		}
		return yes(x)
	}
	return n
}
