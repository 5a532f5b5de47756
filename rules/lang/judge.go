package lang

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
)

// maxTries bounds how many combinations of values judge and Overlap try.
const maxTries = 5000

// An atom is what a condition compares with constants: a channel or a call.
type atom struct {
	kind   tidegate.Kind // of the channel; KindNone = not known
	input  int           // -1 = it is a call
	call   int
	consts []float64
	texts  []string
	isText bool
	low    float64 // as of the node
	high   float64
}

// atom enters n, a channel or a call.
func (c *checker) atom(n node, k tidegate.Kind) {
	key := c.key(n)
	if c.prog.atoms[key] == nil {
		c.prog.atoms[key] = &atom{kind: k, input: n.input, call: n.call, consts: []float64{n.low}, low: n.low, high: n.high}
	}
}

// key returns what tells n from others: the text of a channel or a call.
func (c *checker) key(n node) string {
	if n.input >= 0 {
		return n.atom
	}
	return c.src.cut(n.at, n.end)
}

// compared notes that a is compared with b.
func (c *checker) compared(a, b node) {
	if a.isConst {
		a, b = b, a
	}
	if a.isConst {
		return
	}
	at := c.prog.atoms[c.key(a)]
	if a.atom == "" || at == nil || !b.isConst {
		c.opaque = true
		return
	}
	if b.kind == kindText {
		s, _ := b.text(nil)
		at.texts, at.isText = append(at.texts, s), true
		return
	}
	at.consts = append(at.consts, b.asNumber().number(nil))
}

// tries returns values that stand for all: every boundary is one of the constants.
func (a *atom) tries() (out []tidegate.Value) {
	if a.isText || a.kind == tidegate.KindText {
		longest := "_"
		for _, s := range a.texts {
			out = append(out, tidegate.Text(s))
			longest += s
		}
		return append(out, tidegate.Text(longest))
	}
	if a.kind == tidegate.KindBool {
		return []tidegate.Value{tidegate.Bool(false), tidegate.Bool(true)}
	}
	seen, limited := map[float64]bool{}, a.low < a.high
	add := func(f float64) {
		if a.kind == tidegate.KindUint && f < 0 || seen[f] || limited && (f < a.low || f > a.high) {
			return
		}
		seen[f] = true
		out = append(out, tidegate.Float(f))
	}
	for _, f := range a.consts {
		switch {
		case limited, a.kind == tidegate.KindInt, a.kind == tidegate.KindUint:
			for _, whole := range []float64{math.Floor(f), math.Ceil(f)} {
				add(whole)
				add(whole - 1)
				add(whole + 1)
			}
		default:
			add(f)
			add(math.Nextafter(f, math.Inf(1)))
			add(math.Nextafter(f, math.Inf(-1)))
		}
	}
	return out
}

// judge says so where a condition always or never holds.
func (c *checker) judge() {
	p := c.prog
	if p.top.isConst {
		word := map[Verdict]string{Yes: "always holds", No: "never holds", Unknown: "is never known"}[p.top.yes(nil)]
		c.fault(p.top.at, word, "name a channel, for instance meter1.temp > 80")
		return
	}
	if c.opaque {
		p.atoms = nil
		return
	}
	seen := map[Verdict]bool{}
	if !each([]*Program{p}, nil, func(v []Verdict) bool { seen[v[0]] = true; return len(seen) < 2 }) || len(seen) != 1 {
		return
	}
	word := map[bool]string{true: "always holds", false: "never holds"}[seen[Yes]]
	c.fault(p.top.at, word, "look at the numbers, and at and and or")
}

// each calls f with what the conditions say for each combination of values, until f returns false. fixed are values of channels that do not
// change. It reports whether it could: not where there are too many.
func each(progs []*Program, fixed map[string]tidegate.Value, f func([]Verdict) bool) bool {
	var keys []string
	values := map[string][]tidegate.Value{}
	for _, p := range progs {
		for _, key := range slices.Sorted(maps.Keys(p.atoms)) {
			if values[key] == nil {
				keys = append(keys, key)
			}
			if v, ok := fixed[key]; ok {
				values[key] = []tidegate.Value{v}
				continue
			}
			values[key] = append(values[key], p.atoms[key].tries()...)
		}
	}
	n := 1
	for _, key := range keys {
		if n *= len(values[key]); n > maxTries {
			return false
		}
	}
	verdicts := make([]Verdict, len(progs))
	for try := range n {
		at := map[string]tidegate.Value{}
		rest := try
		for _, key := range keys {
			at[key] = values[key][rest%len(values[key])]
			rest /= len(values[key])
		}
		for i, p := range progs {
			verdicts[i] = p.try(at)
		}
		if !f(verdicts) {
			return true
		}
	}
	return true
}

// try returns what the condition says when its channels and calls are as at says.
func (p *Program) try(at map[string]tidegate.Value) Verdict {
	x := &Instance{prog: p, stub: make([]float64, p.calls), wall: time.Unix(0, 0)}
	for range p.Inputs {
		x.cells = append(x.cells, NewCell())
	}
	for key, a := range p.atoms {
		v := at[key]
		if a.input >= 0 {
			x.cells[a.input].Put(v, 0)
		} else {
			x.stub[a.call], _ = v.Number()
		}
	}
	return p.top.yes(x)
}

// MayHold reports whether the condition may hold while channel is v. It is false only where that is certain: where the condition compares
// channels and calls with constants, and holds for none of their values.
func (p *Program) MayHold(channel string, v tidegate.Value) bool {
	if p.atoms == nil {
		return true
	}
	may := false
	tried := each([]*Program{p}, map[string]tidegate.Value{channel: v}, func(says []Verdict) bool { may = says[0] == Yes; return !may })
	return may || !tried
}

// Overlap reports whether both conditions can hold at once, so that a rule with the one as `when` and the other as `clear` would flap.
// It is found where both look at one and the same channel, or call, and compare it with constants; else it returns false.
func Overlap(a, b *Program) bool {
	if len(a.atoms) != 1 || len(b.atoms) != 1 {
		return false
	}
	for key := range a.atoms {
		if b.atoms[key] == nil {
			return false
		}
	}
	both := false
	each([]*Program{a, b}, nil, func(v []Verdict) bool { both = v[0] == Yes && v[1] == Yes; return !both })
	return both
}
