package lang

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// FuzzCompile: any text is a condition or is refused with a column within it and a hint; a condition that is taken says the same of the same
// values twice, and is the same behind a restart.
func FuzzCompile(f *testing.F) {
	for _, fn := range functions {
		f.Add(fn.example, 1.5)
	}
	for _, text := range []string{
		"meter1.temp > 80 and not hall.door", `plc.mode in ["auto", "man"]`, "meter1.n in 3..5", "(meter1.temp ?? 20) > 15", "70 < meter1.temp < 90",
		"(hall.door ? meter1.temp : 0) > 15", `to(pump-1.in, "kPa") > pump-1.out`, `plc.mode matches "^a.t"`, strings.Repeat("(", 200), strings.Repeat("not ", 300),
		"avg(meter1.temp, 1h30m, tumbling) > 3x", "ŧ0 > 1", "'", `"\`, "1e999 > meter1.temp", "-9223372036854775808 == meter1.n", "meter1.temp | abs() > 1",
	} {
		f.Add(text, math.Inf(1))
	}
	schema := plant()
	f.Fuzz(func(t *testing.T, text string, v float64) {
		p, faults := Compile(text, Condition, schema)
		if (p == nil) != (len(faults) > 0) {
			t.Fatalf("program %v, faults %v", p, faults)
		}
		for _, fault := range faults {
			if n := utf8.RuneCountInString(text); fault.Col < 1 || fault.Col > n+1 || fault.Problem == "" || fault.Hint == "" {
				t.Fatalf("%d characters: %+v", n, *fault)
			}
		}
		if p == nil {
			return
		}
		run := func() (x, again *Instance) {
			var cells []*Cell
			for range p.Inputs {
				cells = append(cells, NewCell())
			}
			x = p.New(new(Room), cells, 0)
			for i := range 5 {
				at := time.Duration(i) * 10 * time.Second
				for j, c := range cells {
					c.Put(tidegate.Float(v+float64(i*j)), at)
				}
				x.Took(1<<len(cells)-1, at, time.Unix(int64(i), 0))
				x.Test(at, time.Unix(int64(i), 0))
			}
			again = p.New(new(Room), cells, 0)
			x.Touch()
			for slot, part, body, ok := x.Dirty(nil); ok; slot, part, body, ok = x.Dirty(nil) {
				if _, err := again.Restore(slot, part, body, true); err != nil {
					t.Fatalf("restore call %d, part %d: %v", slot, part, err)
				}
			}
			return x, again
		}
		x, again := run()
		at := time.Minute
		if got, want := again.Test(at, time.Time{}), x.Test(at, time.Time{}); got != want {
			t.Fatalf("restored it says %d, not %d", got, want)
		}
		if next, ok := x.Next(at); ok && next <= at {
			t.Fatalf("says that it changes at %v, which is not later than %v", next, at)
		}
	})
}
