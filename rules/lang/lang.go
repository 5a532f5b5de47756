// Package lang reads the expressions of rules: conditions such as `avg(meter1.temp, 5m) > 80 and pump.running`, and values.
//
// The syntax tree is that of expr-lang/expr; channels, kinds and units are checked here, and an expression becomes typed functions that
// neither box nor allocate. There are no loops, no assignments and nothing that reaches outside. An expression has at most MaxText
// characters and MaxNodes nodes, so that what one evaluation costs is bounded before it is armed.
//
// Logic has three values: what is not known (no value yet, a number that is not a number, a division by zero, a value of another kind)
// is neither yes nor no. `false and x` is no and `true or x` is yes, whatever x is.
package lang

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang/spot"
)

// Limits of one expression.
const (
	MaxText   = 4096    // characters
	MaxNodes  = 500     // of the syntax tree
	MaxInputs = 64      // channels
	MaxSlots  = 16      // calls that keep something over time
	MaxSteps  = 1 << 20 // bytes of text that one evaluation may look at, more than once where it is matched; see Instance.Over
)

// A Verdict is what a condition says.
type Verdict uint8

// The three values of logic.
const (
	Unknown Verdict = iota
	No
	Yes
)

// String returns "yes", "no" or "unknown".
func (v Verdict) String() string {
	switch v {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

func verdictOf(b bool) Verdict {
	if b {
		return Yes
	}
	return No
}

// A Channel is what is known of a channel before anything is read.
type Channel struct {
	Name  string        // "device.channel"
	Kind  tidegate.Kind // KindNone = not known beforehand
	Unit  string        // "" = none, or not known
	Every time.Duration // usual interval between its readings; 0 = the device speaks when it has something to say
	Mark  uint32        // what was kept of the channel when it had another one is not of the same kind or unit; 0 = it is as the device reports it
	// Slowest is the longest interval that a rule may bring, of a channel that has one.
	Slowest time.Duration
}

// A Schema says which channels there are.
type Schema struct {
	Channels map[string]Channel
	// Open reports whether a channel that is not listed may exist all the same, as its device does not say beforehand what it has; nil = no.
	Open func(name string) bool
}

// A Fault says what is wrong with the text of an expression.
type Fault struct {
	Col     int    // the character where it is wrong, counted from 1
	Problem string // what is wrong, lower case, no full stop
	Got     string // what stands there; "" = the end
	Hint    string // what to write instead
	Channel string // the channel that does not exist, if that is the fault
}

// Error returns "column N: problem (got X); hint".
func (f *Fault) Error() string {
	got := f.Got
	if got == "" {
		got = "nothing"
	}
	return fmt.Sprintf("column %d: %s (got %s); %s", f.Col, f.Problem, got, f.Hint)
}

// A Want says what an expression has to give.
type Want uint8

// What an expression can be wanted for.
const (
	Condition Want = iota // yes or no
	Value                 // a number, yes or no, or a text
)

// A Program is an expression that was read. It is never changed; New makes what runs.
type Program struct {
	Text   string
	Inputs []Input       // the channels it looks at, in the order in which they stand in Text
	Kind   tidegate.Kind // of what it gives: float, yes/no or text; KindNone = that of the channel it names
	Unit   string        // of a number; "" = none, or not known
	Clock  bool          // it looks at the time of day
	Doubts []*Fault      // what may hold though nothing is wrong; it runs all the same

	top   node
	slots []slotSpec
	waits []wait
	shown []shown
	atoms map[string]*atom // what is compared with constants; nil = not only that
	calls int
}

// An Input is a channel that a Program looks at.
type Input struct {
	Channel string
	Mark    uint32 // as in Channel
	Faults  bool   // its faults count too: fault(channel) stands somewhere
}

// Mark tells what p looks at: it is another one when that of a channel is; 0 = all are as devices report them.
func (p *Program) Mark() uint32 {
	h, isMarked := fnv.New32a(), false
	for _, in := range p.Inputs {
		fmt.Fprintf(h, "%08x", in.Mark) // a hash takes all bytes
		isMarked = isMarked || in.Mark != 0
	}
	if !isMarked {
		return 0
	}
	return h.Sum32() | 1
}

// Identity tells p from what would keep something else: its text, and the Mark where it has one.
func (p *Program) Identity() string {
	if m := p.Mark(); m != 0 {
		return fmt.Sprintf("%s\x00%08x", p.Text, m)
	}
	return p.Text
}

// Compile reads text. It returns all that is wrong with it, in the order of the text; then there is no Program.
func Compile(text string, want Want, schema Schema) (*Program, []*Fault) {
	src, fault := scan(text, schema)
	if fault != nil {
		return nil, []*Fault{fault}
	}
	config := conf.CreateNew()
	config.MaxNodes = MaxNodes
	config.DisableIfOperator = true
	for name := range config.Builtins {
		config.Disabled[name] = true
	}
	for i := range functions { // so that the parser takes sum and count for calls like all others
		config.Functions[functions[i].name] = &builtin.Function{Name: functions[i].name}
	}
	var p parser.Parser
	tree, err := p.Parse(src.rewritten, config)
	if err != nil {
		return nil, []*Fault{src.parseFault(err)}
	}
	c := &checker{table: functions[:], src: src, schema: schema, prog: &Program{Text: text, atoms: map[string]*atom{}}, calls: map[string]node{}}
	top := c.node(tree.Node)
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	c.finish(top, want)
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return c.prog, nil
}

// parseFault says what expr's parser could not read.
func (s *source) parseFault(err error) *Fault {
	var fe *file.Error
	if !errors.As(err, &fe) {
		return &Fault{Col: 1, Problem: err.Error(), Got: s.text, Hint: "see rules/README.md for what can be written"}
	}
	col := s.col(fe.From)
	switch {
	case strings.Contains(fe.Message, "maximum allowed nodes"):
		return &Fault{Col: 1, Problem: fmt.Sprintf("more than %d parts", MaxNodes), Got: s.text, Hint: "write several rules"}
	case strings.Contains(fe.Message, "EOF"):
		return s.incomplete()
	}
	got := spot.Word(s.text, col)
	before := strings.TrimRight(string([]rune(s.text)[:col-1]), " ")
	number := before != "" && before[len(before)-1] >= '0' && before[len(before)-1] <= '9'
	if i := len(before) - 1; i > 0 && before[i] == '%' && before[i-1] >= '0' && before[i-1] <= '9' {
		return s.percent(before)
	}
	problem, hint := "not expected here", "see what can be written in rules/README.md"
	switch {
	case got == ")" || got == "]":
		problem, hint = "nothing is open that this closes", "take it away, or open it where it begins"
	case got == "," && number:
		hint = "write a decimal point, for instance 80.5"
	case isNumberText(got) || strings.HasPrefix(got, `"`):
		hint = "write and, or, or a comparison between"
	case number && timeWords[got]:
		hint = "write lengths of time without a space, like 30s, 5m, 2h or 7d"
	case got == "for":
		hint = "for is a key of its own beside when: for: 30s"
	case number && strings.Trim(got, letters) == "":
		hint = aloneHint + "; and, or, not stand between conditions"
	}
	return &Fault{Col: col, Problem: problem, Got: got, Hint: hint}
}

// timeWords are what people write behind a number for a length of time.
var timeWords = map[string]bool{
	"ms": true, "s": true, "sec": true, "seconds": true, "m": true, "min": true, "minutes": true, "h": true, "hours": true, "d": true, "days": true,
}

// incomplete says why a text should go on where it ends.
func (s *source) incomplete() *Fault {
	if col, open := spot.Unclosed(s.text); col > 0 {
		return &Fault{Col: col, Problem: "what is opened here is not closed", Got: string(open), Hint: "write " + map[byte]string{'(': ")", '[': "]"}[open] + " where it ends"}
	}
	text := strings.TrimRight(s.text, " \t\n")
	if strings.HasSuffix(text, "%") {
		return s.percent(text)
	}
	return &Fault{Col: s.col(utf8.RuneCountInString(s.rewritten)) - 1, Problem: "it ends too early", Hint: "go on, or close what is open"}
}

// percent says that what text ends with is no number.
func (s *source) percent(text string) *Fault {
	return &Fault{Col: utf8.RuneCountInString(text), Problem: "more text behind the number", Got: "%", Hint: aloneHint}
}

// finish makes top what the Program gives.
func (c *checker) finish(top node, want Want) {
	p := c.prog
	if top.kind == kindTimes || top.kind == kindWord {
		c.fault(top.at, "is "+top.kind.String()+" and nothing else", "it belongs into a call, for instance missing(meter1.temp, 3x)")
		return
	}
	if want == Condition {
		if top.kind == kindNumber || top.kind == kindText {
			c.fault(top.at, "gives "+top.kind.String()+", not yes or no", c.compareIt(top))
			return
		}
		top = top.asBool()
	}
	p.top, p.Unit, p.Kind = top, top.unit, top.kind.valueKind()
	if want == Condition {
		c.judge()
	}
	for i := range p.Inputs {
		p.Inputs[i].Faults = p.Inputs[i].Faults || top.faults&(1<<i) != 0
	}
}

// Timed reports whether p may say something else although nothing was read.
func (p *Program) Timed() bool { return len(p.waits) > 0 || len(p.slots) > 0 }
