package lang

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/tidegate-io/tidegate/rules/unit"
)

// comparison compares numbers, yes and no, or texts.
func (c *checker) comparison(n *ast.BinaryNode) node {
	if u, ok := n.Left.(*ast.UnaryNode); ok && (u.Operator == "not" || u.Operator == "!") {
		return c.fault(u.Location().From, "does not belong to the comparison, but to what stands next", "put the comparison into parentheses: not (meter1.temp > 80)")
	}
	a, b := c.node(n.Left), c.node(n.Right)
	if a.kind == kindNone || b.kind == kindNone {
		return node{input: -1}
	}
	for _, side := range []node{a, b} {
		if side.kind == kindTimes || side.kind == kindWord {
			return c.fault(side.at, "is "+side.kind.String()+", which is not compared", "it belongs into a call, for instance missing(meter1.temp, 3x)")
		}
	}
	order := n.Operator != "==" && n.Operator != "!="
	isText := a.kind == kindText || b.kind == kindText
	isBool := !isText && (a.kind == kindBool || b.kind == kindBool) && !(a.isConst && a.kind == kindNumber) && !(b.isConst && b.kind == kindNumber)
	switch {
	case isText && (a.kind != kindText && a.kind != kindAny || b.kind != kindText && b.kind != kindAny):
		return c.fault(a.at, fmt.Sprintf("%s is %s and never compares with %s", c.show(a), a.kind, b.kind), "compare with "+a.kind.String())
	case (isText || isBool) && order:
		return c.fault(n.Location().From, map[bool]string{true: "a text", false: "yes or no"}[isText]+" has no order", "compare with == or !=")
	}
	out := node{kind: kindBool, at: a.at, end: b.end}
	switch {
	case isText:
		out.yes = compareTexts(a.text, b.text, n.Operator == "==")
	case isBool:
		out.yes = compareBools(a.asBool().yes, b.asBool().yes, n.Operator == "==")
	default:
		if !c.sameUnit(a, b, "compared") {
			return node{input: -1}
		}
		out.yes = compareNumbers(a.asNumber(), b.asNumber(), n.Operator)
		c.calculated(a)
		c.calculated(b)
	}
	c.compared(a, b)
	return out.with(a, b)
}

// calculated has n, which is compared, shown to people, unless it is a channel or a call, whose value they are shown already.
func (c *checker) calculated(n node) {
	text := strings.TrimSpace(c.src.cut(n.at, n.end))
	if n.kind != kindNumber || n.isConst || slices.ContainsFunc(c.prog.shown, func(s shown) bool { return s.text == text }) {
		return
	}
	c.prog.shown = append(c.prog.shown, shown{text: text, node: n, input: -1})
}

// sameUnit reports whether the units of a and b do not differ, and says so where they do.
func (c *checker) sameUnit(a, b node, verb string) bool {
	if a.unit == "" || b.unit == "" || a.unit == b.unit {
		return true
	}
	hint := "name channels of one unit"
	if b.span != 0 {
		hint = "write the number alone, in " + a.unit
	} else if _, err := unit.Convert(b.unit, a.unit); err == nil {
		hint = fmt.Sprintf("write to(%s, %q)", c.show(b), a.unit)
	}
	c.fault(b.at, fmt.Sprintf("%s is in %s and is %s with %s in %s", c.show(a), a.unit, verb, c.show(b), b.unit), hint)
	return false
}

func compareTexts(a, b func(*Instance) (string, bool), equal bool) func(*Instance) Verdict {
	return func(x *Instance) Verdict {
		v, ok := a(x)
		w, ok2 := b(x)
		if !ok || !ok2 || !x.step(min(len(v), len(w))) {
			return Unknown
		}
		return verdictOf((v == w) == equal)
	}
}

func compareBools(a, b func(*Instance) Verdict, equal bool) func(*Instance) Verdict {
	return func(x *Instance) Verdict {
		v, w := a(x), b(x)
		if v == Unknown || w == Unknown {
			return Unknown
		}
		return verdictOf((v == w) == equal)
	}
}

// compareNumbers compares numbers as doubles. A channel against a constant, the most usual of all, is done without a call.
func compareNumbers(a, b node, op string) func(*Instance) Verdict {
	test := comparisons[op]
	if a.input >= 0 && b.isConst {
		i, w := a.input, b.number(nil)
		switch op {
		case ">":
			return func(x *Instance) Verdict {
				v := x.cells[i].number
				if v != v {
					return Unknown
				}
				return verdictOf(v > w)
			}
		case "<":
			return func(x *Instance) Verdict {
				v := x.cells[i].number
				if v != v {
					return Unknown
				}
				return verdictOf(v < w)
			}
		}
		return func(x *Instance) Verdict {
			v := x.cells[i].number
			if v != v {
				return Unknown
			}
			return verdictOf(test(v, w))
		}
	}
	l, r := a.number, b.number
	return func(x *Instance) Verdict {
		v, w := l(x), r(x)
		if v != v || w != w {
			return Unknown
		}
		return verdictOf(test(v, w))
	}
}

var comparisons = map[string]func(a, b float64) bool{
	">":  func(a, b float64) bool { return a > b },
	">=": func(a, b float64) bool { return a >= b },
	"<":  func(a, b float64) bool { return a < b },
	"<=": func(a, b float64) bool { return a <= b },
	"==": func(a, b float64) bool { return a == b },
	"!=": func(a, b float64) bool { return a != b },
}

// textual looks at a part of a text.
func (c *checker) textual(n *ast.BinaryNode) node {
	a, b := c.node(n.Left), c.node(n.Right)
	if a.kind == kindNone || b.kind == kindNone {
		return node{input: -1}
	}
	if a.kind != kindText && a.kind != kindAny {
		return c.fault(a.at, fmt.Sprintf("%s is %s, where a text is wanted", c.show(a), a.kind), "name a channel with a text")
	}
	if b.kind != kindText || !b.isConst {
		return c.fault(b.at, "a text in quotes is wanted behind "+n.Operator, `write it like "alarm"`)
	}
	c.opaque = true
	want, _ := b.text(nil)
	cost := 1
	test := map[string]func(s, want string) bool{"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix}[n.Operator]
	if n.Operator == "matches" {
		tree, err := syntax.Parse(want, syntax.Perl)
		if err != nil {
			return c.fault(b.at, "no regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "its syntax is that of RE2")
		}
		parts := partsOf(tree)
		if parts > maxPattern {
			return c.fault(b.at, fmt.Sprintf("regular expression of more than %d parts, repeats written out", maxPattern), "repeat less, or write several rules")
		}
		cost += parts / 4
		re := regexp.MustCompile(want) // it was parsed
		test = func(s, _ string) bool { return re.MatchString(s) }
	}
	text := a.text
	out := node{kind: kindBool, at: a.at, end: b.end, yes: func(x *Instance) Verdict {
		s, ok := text(x)
		if !ok || !x.step(cost*len(s)) {
			return Unknown
		}
		return verdictOf(test(s, want))
	}}
	return out.with(a, b)
}

// maxPattern is how many parts a regular expression may have: each costs memory, and time for each byte of text that it is matched with.
const maxPattern = 2000

// partsOf returns how many parts of a regular expression there are when its repeats are written out; at some point it stops counting.
func partsOf(re *syntax.Regexp) int {
	n := max(1, len(re.Rune))
	if re.Op == syntax.OpCharClass {
		n = 1
	}
	for _, sub := range re.Sub {
		n = min(n+partsOf(sub), maxPattern+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

// member is x in ["a", "b"], or x in 6..22.
func (c *checker) member(n *ast.BinaryNode) node {
	if r, ok := n.Right.(*ast.BinaryNode); ok && r.Operator == ".." {
		low, high := &ast.BinaryNode{Operator: ">=", Left: n.Left, Right: r.Left}, &ast.BinaryNode{Operator: "<=", Left: n.Left, Right: r.Right}
		low.SetLocation(n.Location())
		high.SetLocation(n.Location())
		return c.logic(&ast.BinaryNode{Operator: "and", Left: low, Right: high})
	}
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok || len(list.Nodes) == 0 {
		return c.fault(n.Right.Location().From, "a list is wanted behind in", `write ["auto", "manual"], [1, 2, 3] or 6..22`)
	}
	var any ast.Node
	for _, one := range list.Nodes {
		equal := &ast.BinaryNode{Operator: "==", Left: n.Left, Right: one}
		equal.SetLocation(n.Location())
		if any == nil {
			any = equal
		} else {
			any = &ast.BinaryNode{Operator: "or", Left: any, Right: equal}
		}
	}
	return c.node(any)
}
