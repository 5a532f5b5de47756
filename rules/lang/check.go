package lang

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang/spot"
)

// maxVisits bounds how many nodes are made of one expression.
const maxVisits = 4 * MaxNodes

// A checker turns a syntax tree into nodes, and gathers what is wrong.
type checker struct {
	table  []function
	src    *source
	schema Schema
	prog   *Program
	faults []*Fault
	visits int             // nodes that were made
	opaque bool            // something is not only compared with constants
	calls  map[string]node // by their text
}

// fault notes what is wrong with what stands at the character at of the rewritten text.
func (c *checker) fault(at int, problem, hint string) node {
	col := c.src.col(at)
	c.faults = append(c.faults, &Fault{Col: col, Problem: problem, Got: spot.Word(c.src.text, col), Hint: hint})
	return node{input: -1, at: at, end: at}
}

// node returns n ready to run; of kindNone when something is wrong with it.
func (c *checker) node(n ast.Node) node {
	at := n.Location().From
	if c.visits++; c.visits > maxVisits { // x in [a, b] looks at x twice, and so on with what is in x
		if c.visits == maxVisits+1 {
			c.faults = append(c.faults, &Fault{Col: 1, Problem: fmt.Sprintf("more than %d parts, lists written out", maxVisits), Got: c.src.text, Hint: "write several rules"})
		}
		return node{input: -1}
	}
	var out node
	switch n := n.(type) {
	case *ast.IntegerNode:
		out = constNumber(float64(n.Value))
	case *ast.FloatNode:
		out = constNumber(n.Value)
	case *ast.BoolNode:
		v := verdictOf(n.Value)
		out = node{kind: kindBool, isConst: true, input: -1, yes: func(*Instance) Verdict { return v }}
	case *ast.StringNode:
		v := n.Value
		out = node{kind: kindText, isConst: true, input: -1, text: func(*Instance) (string, bool) { return v, true }}
	case *ast.IdentifierNode:
		return c.name(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.choice(n)
	case *ast.CallNode:
		return c.call(n)
	case *ast.MemberNode:
		return c.fault(at, "not expected here", "write a channel as device.channel")
	default:
		return c.fault(at, "not expected here", "lists, variables and loops cannot be written")
	}
	out.at, out.end = at, n.Location().To
	return out
}

func constNumber(v float64) node {
	return node{kind: kindNumber, isConst: true, input: -1, number: func(*Instance) float64 { return v }}
}

// name is a marked name: a channel, a length of time or a count; or a bare word.
func (c *checker) name(n *ast.IdentifierNode) node {
	at, end := n.Location().From, n.Location().To
	rest, ok := strings.CutPrefix(n.Value, string(mark))
	if !ok {
		if n.Value == wordTumbling || n.Value == wordSession {
			return node{kind: kindWord, isConst: true, input: -1, at: at, end: end, atom: n.Value}
		}
		if r := []rune(c.src.rewritten); strings.ContainsAny(strings.TrimRight(string(r[max(0, at-2):at]), " "), "=<>!") {
			return c.fault(at, "not a value", `compare with a number, true, false or a "text"`)
		}
		return c.fault(at, "device and channel are wanted, with a dot between", "begin with device.channel, for instance meter1.temp > 80")
	}
	i, _ := strconv.Atoi(rest) // scan has written it
	lit := c.src.literals[i]
	var out node
	switch {
	case lit.span != 0:
		out = constNumber(lit.span.Seconds())
		out.unit, out.span = "s", lit.span
	case lit.times != 0:
		out = node{kind: kindTimes, isConst: true, input: -1, times: lit.times}
	default:
		return c.channel(lit, at, end)
	}
	out.at, out.end = at, end
	return out
}

// channel is the newest value of a channel.
func (c *checker) channel(lit literal, at, end int) node {
	ch := c.schema.Channels[lit.channel]
	if !lit.known && (c.schema.Open == nil || !c.schema.Open(lit.channel)) {
		c.faults = append(c.faults, &Fault{
			Col: c.src.col(at), Problem: "no device has this channel", Got: lit.channel, Hint: "name a channel that a device has", Channel: lit.channel,
		})
		return node{input: -1, at: at, end: end}
	}
	i := slices.IndexFunc(c.prog.Inputs, func(in Input) bool { return in.Channel == lit.channel })
	if i < 0 {
		i = len(c.prog.Inputs)
		if i == MaxInputs {
			return c.fault(at, fmt.Sprintf("more than %d channels", MaxInputs), "write several rules")
		}
		c.prog.Inputs = append(c.prog.Inputs, Input{Channel: lit.channel, Mark: ch.Mark})
	}
	out := node{unit: ch.Unit, inputs: 1 << i, input: i, isDirect: true, at: at, end: end, atom: lit.channel}
	switch ch.Kind {
	case tidegate.KindNone:
		out.kind = kindAny
	case tidegate.KindBool:
		out.kind = kindBool
	case tidegate.KindText:
		out.kind = kindText
	case tidegate.KindBytes:
		return c.fault(at, "channel is bytes, which cannot be judged", "name a channel with a number, yes or no, or a text")
	default:
		out.kind = kindNumber
	}
	out.number = func(x *Instance) float64 { return x.cells[i].number }
	out.yes = func(x *Instance) Verdict {
		v := x.cells[i].number
		if v != v {
			return Unknown
		}
		return verdictOf(v != 0)
	}
	out.text = func(x *Instance) (string, bool) {
		v := x.cells[i].Value
		if v.Kind() != tidegate.KindText {
			return "", false
		}
		return v.Text()
	}
	if !slices.ContainsFunc(c.prog.shown, func(s shown) bool { return s.input == i }) {
		c.prog.shown = append(c.prog.shown, shown{text: lit.channel, node: out, input: i})
	}
	c.atom(out, ch.Kind)
	return out
}

// condition returns n as yes or no.
func (c *checker) condition(n ast.Node) node {
	out := c.node(n)
	switch out.kind {
	case kindNone, kindBool:
		return out
	case kindAny:
		return out.asBool()
	}
	return c.fault(out.at, "is "+out.kind.String()+", where yes or no is wanted", c.compareIt(out))
}

// compareIt is the hint for what is to be yes or no, and is n.
func (c *checker) compareIt(n node) string {
	switch {
	case n.isConst:
		return "name a channel, for instance meter1.temp > 80"
	case n.kind == kindText:
		return "compare it, for instance " + c.show(n) + ` == "auto"`
	}
	return "compare it, for instance " + c.show(n) + " > 80"
}

// numeric returns n as a number.
func (c *checker) numeric(n ast.Node) node {
	out := c.node(n)
	switch out.kind {
	case kindNone, kindNumber:
	case kindAny, kindBool:
		out.unit = map[bool]string{true: out.unit}[out.kind == kindAny]
		return out.asNumber()
	default:
		return c.fault(out.at, "is "+out.kind.String()+", where a number is wanted", "write a number, or a channel that is one")
	}
	return out
}

// show returns the part of the text that n is.
func (c *checker) show(n node) string {
	if n.atom != "" && n.input >= 0 {
		return n.atom
	}
	return c.src.cut(n.at, n.end)
}

func (c *checker) unary(n *ast.UnaryNode) node {
	at := n.Location().From
	if n.Operator == "not" || n.Operator == "!" {
		in := c.condition(n.Node)
		if in.kind == kindNone {
			return in
		}
		yes := in.yes
		out := node{kind: kindBool, at: at, end: in.end, yes: func(x *Instance) Verdict {
			switch yes(x) {
			case Yes:
				return No
			case No:
				return Yes
			}
			return Unknown
		}}
		return out.with(in, in)
	}
	in := c.numeric(n.Node)
	if in.kind == kindNone || n.Operator == "+" {
		return in
	}
	if !in.isConst {
		c.opaque = true
	}
	number := in.number
	out := node{kind: kindNumber, unit: in.unit, at: at, end: in.end, number: func(x *Instance) float64 { return -number(x) }}
	return out.with(in, in)
}

func (c *checker) binary(n *ast.BinaryNode) node {
	switch n.Operator {
	case "and", "&&", "or", "||":
		return c.logic(n)
	case "==", "!=", "<", "<=", ">", ">=":
		return c.comparison(n)
	case "contains", "startsWith", "endsWith", "matches":
		return c.textual(n)
	case "in":
		return c.member(n)
	case "??":
		return c.otherwise(n)
	case "+", "-", "*", "/", "%", "**", "^":
		return c.arithmetic(n)
	}
	return c.fault(n.Location().From, "not expected here", "operators are + - * / % **, comparisons, and, or, not, in, contains, startsWith, endsWith, matches")
}

// logic is a chain of conditions with one operator between them, and or or.
func (c *checker) logic(n *ast.BinaryNode) node {
	decides := Yes
	if n.Operator == "and" || n.Operator == "&&" {
		decides = No
	}
	var out node
	var chain []func(*Instance) Verdict
	ok := true
	for i, operand := range chained(n) {
		a := c.condition(operand)
		ok = ok && a.kind != kindNone
		if i == 0 {
			out = a
		}
		out.end, chain = a.end, append(chain, a.yes)
		out = out.with(out, a)
	}
	if !ok {
		return node{input: -1}
	}
	out = node{kind: kindBool, at: out.at, end: out.end}.with(out, out)
	out.yes = func(x *Instance) Verdict {
		all := Yes + No - decides
		for _, yes := range chain {
			switch yes(x) {
			case decides:
				return decides
			case Unknown:
				all = Unknown
			}
		}
		return all
	}
	return out
}

// chained returns the operands of n and of what stands left of it with the same operator, from left to right.
func chained(n *ast.BinaryNode) (out []ast.Node) {
	word := map[string]string{"&&": "and", "||": "or", "and": "and", "or": "or"}
	for at := n; ; {
		out = append(out, at.Right)
		left, ok := at.Left.(*ast.BinaryNode)
		if !ok || word[left.Operator] != word[n.Operator] {
			out = append(out, at.Left)
			slices.Reverse(out)
			return out
		}
		at = left
	}
}
