package drivers

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/tidegate-io/tidegate"
)

// Accept returns nil when c may be set to v; else why not: c is no output, v is of another kind, no finite number, not whole where whole
// numbers are wanted, or out of Limits. The error has what was got and what is wanted; it does not name the channel.
func (c *Channel) Accept(v tidegate.Value) error {
	f, _ := v.Number()
	kind := v.Kind()
	got := v.String()
	if kind == tidegate.KindText {
		got = strconv.Quote(got[:min(len(got), 40)])
	}
	switch {
	case !c.Output:
		return errors.New("it is no output")
	case kind == tidegate.KindNone:
		return errors.New("got no value")
	case c.Kind != tidegate.KindNone && kind.String() != c.Kind.String():
		return fmt.Errorf("got %s, want %s", got, c.Wants())
	case !isNumber(kind):
		return nil
	case math.IsNaN(f) || math.IsInf(f, 0):
		return fmt.Errorf("got %s, want a finite number", got)
	case (c.Kind == tidegate.KindInt || c.Kind == tidegate.KindUint) && f != math.Trunc(f), c.Kind == tidegate.KindUint && f < 0:
		return fmt.Errorf("got %s, want %s", got, c.Wants())
	case c.Limits.hasRange() && (f < c.Limits.Min || f > c.Limits.Max):
		return fmt.Errorf("got %s, want %s", got, c.Wants())
	}
	return nil
}

// Wants says in a few words what c can be set to, for instance "a number from 0 to 100".
func (c *Channel) Wants() string {
	text := ""
	switch c.Kind {
	case tidegate.KindBool:
		return "true or false"
	case tidegate.KindText:
		return "a text"
	case tidegate.KindBytes:
		return "bytes in hexadecimal"
	case tidegate.KindInt, tidegate.KindUint:
		text = "a whole number"
	case tidegate.KindFloat:
		text = "a number"
	default:
		text = "a value"
	}
	l := c.Limits
	switch {
	case l.hasRange():
		text += " from " + number(l.Min) + " to " + number(l.Max)
	case c.Kind == tidegate.KindUint:
		text += " from 0"
	}
	return text
}

// HasSafe reports whether the output goes anywhere when the gateway stops.
func (l Limits) HasSafe() bool { return l.Safe.Kind() != tidegate.KindNone }

func (l Limits) hasRange() bool { return l.Min != 0 || l.Max != 0 }

func isNumber(k tidegate.Kind) bool {
	return k == tidegate.KindFloat || k == tidegate.KindInt || k == tidegate.KindUint
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
