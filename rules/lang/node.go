package lang

import (
	"math"
	"time"

	"github.com/tidegate-io/tidegate"
)

// A node is a part of an expression, ready to run. Which of the functions are set depends on its kind.
type node struct {
	kind   kind
	unit   string // of a number
	number func(*Instance) float64
	yes    func(*Instance) Verdict
	text   func(*Instance) (string, bool)

	inputs   uint64 // channels it looks at
	faults   uint64 // channels whose faults change what it says
	input    int    // it is this channel and nothing else; -1 = it is not
	isConst  bool
	isDirect bool          // it looks at a channel, not only at what a call keeps of it
	keeps    bool          // a call in it keeps something over time
	span     time.Duration // it is a length of time that stands there
	times    int           // it is `3x`
	at, end  int           // where it stands in the rewritten text, in characters
	atom     string        // what it is compared as; "" = it is no channel and no call
	call     int           // number of the call, where it is one
	low      float64       // of a call that gives whole numbers within limits: the least; low and high both 0 = any number
	high     float64
}

// kind says what a node gives.
type kind uint8

const (
	kindNone   kind = iota // a fault was found in it
	kindAny                // a channel whose kind is not known beforehand
	kindNumber             //
	kindBool
	kindText
	kindTimes // `3x`
	kindWord  // a bare word: tumbling, session
)

func (k kind) String() string {
	return [...]string{"nothing", "a value", "a number", "yes or no", "a text", "a count (3x)", "a word"}[k]
}

func (k kind) valueKind() tidegate.Kind {
	switch k {
	case kindNumber:
		return tidegate.KindFloat
	case kindBool:
		return tidegate.KindBool
	case kindText:
		return tidegate.KindText
	}
	return tidegate.KindNone
}

// value returns what n gives, as a Value.
func (n *node) value(x *Instance) tidegate.Value {
	if n.input >= 0 {
		return x.cells[n.input].Value
	}
	switch n.kind {
	case kindNumber:
		if f := n.number(x); !math.IsNaN(f) {
			return tidegate.Float(f)
		}
	case kindBool:
		if v := n.yes(x); v != Unknown {
			return tidegate.Bool(v == Yes)
		}
	case kindText:
		if s, ok := n.text(x); ok {
			return tidegate.Text(s)
		}
	}
	return tidegate.Value{}
}

// asNumber returns n as a number: yes is 1 and no is 0.
func (n node) asNumber() node {
	if n.kind == kindBool {
		yes := n.yes
		n.number = func(x *Instance) float64 {
			switch yes(x) {
			case Yes:
				return 1
			case No:
				return 0
			}
			return math.NaN()
		}
	}
	n.kind = kindNumber
	return n
}

// asBool returns n as yes or no: 0 is no, any other number yes.
func (n node) asBool() node {
	if n.kind != kindBool {
		number := n.number
		n.yes = func(x *Instance) Verdict {
			v := number(x)
			if v != v { // NaN: not known
				return Unknown
			}
			return verdictOf(v != 0)
		}
	}
	n.kind, n.unit = kindBool, ""
	return n
}

// with returns n with what a and b look at.
func (n node) with(a, b node) node {
	n.inputs, n.faults = n.inputs|a.inputs|b.inputs, n.faults|a.faults|b.faults
	n.isConst, n.keeps = a.isConst && b.isConst, n.keeps || a.keeps || b.keeps
	n.isDirect = n.isDirect || a.isDirect || b.isDirect
	n.input = -1
	return n
}

// A shown is a part that people are shown the value of.
type shown struct {
	text  string
	node  node
	input int // the channel; -1 = it is a call
}
