package modbus

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

// drawValues draws values that do not overlap, sorted, with some bits of registers among them.
func drawValues(t *rapid.T) []registers.Value {
	var vs []registers.Value
	for _, tab := range []link.Table{link.Coil, link.Discrete, link.Holding, link.Input} {
		at := rapid.IntRange(0, 300).Draw(t, "start")
		for range rapid.IntRange(0, 25).Draw(t, "values") {
			at += rapid.SampledFrom([]int{0, 0, 0, 1, 2, 7, 8, 9, 100}).Draw(t, "gap")
			v := registers.Value{Table: tab, Address: at, Size: 1}
			if !tab.IsBits() {
				v.Size = rapid.SampledFrom([]int{1, 1, 2, 2, 4, 12}).Draw(t, "size")
			}
			if tab == link.Input && rapid.IntRange(0, 4).Draw(t, "bits") == 0 {
				v.Size = 1
				vs = append(vs, v, v) // two bits of one register
			}
			vs = append(vs, v)
			at += v.Size
		}
	}
	for i := range vs {
		vs[i].At = i
	}
	return vs
}

// checkPlan returns what is wrong with requests as a way to read vs.
func checkPlan(vs []registers.Value, requests []request, maxGap, maxQuantity int) string {
	next := 0
	for _, q := range requests {
		if q.from != next || q.to <= q.from {
			return fmt.Sprintf("%v fills values %d to %d, want from %d", q.Request, q.from, q.to, next)
		}
		next = q.to
		most := maxQuantity
		if q.Table.IsBits() {
			most = 16 * maxQuantity
		}
		if q.Quantity < 1 || q.Quantity > most {
			return fmt.Sprintf("%v asks for %d, at most %d", q.Request, q.Quantity, most)
		}
		needed := make([]bool, q.Quantity)
		for i := q.from; i < q.to; i++ {
			v := vs[i]
			if v.Table != q.Table || v.Address < q.Address || v.End() > q.Address+q.Quantity {
				return fmt.Sprintf("%v does not hold %v", q.Request, &v)
			}
			for a := v.Address; a < v.End(); a++ {
				needed[a-q.Address] = true
			}
		}
		idle := 0
		for i, n := range needed {
			if idle++; n {
				idle = 0
			}
			if idle > maxGap || idle > 0 && (i == 0 || i == len(needed)-1) {
				return fmt.Sprintf("%v reads %d in a row in vain", q.Request, idle)
			}
		}
	}
	if next != len(vs) {
		return fmt.Sprintf("%d of %d values are read", next, len(vs))
	}
	return ""
}

func TestPlanReadsEachValueOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := drawValues(t)
		maxGap := rapid.IntRange(0, 20).Draw(t, "maxGap")
		maxQuantity := rapid.IntRange(12, 125).Draw(t, "maxQuantity")
		requests := plan(vs, maxGap, maxQuantity)
		if s := checkPlan(vs, requests, maxGap, maxQuantity); s != "" {
			t.Fatal(s)
		}
		// No two neighbours could have been one.
		for i := 1; i < len(requests); i++ {
			a, b := requests[i-1], requests[i]
			most := maxQuantity
			if a.Table.IsBits() {
				most = 16 * maxQuantity
			}
			gap := b.Address - a.Address - a.Quantity
			first := vs[b.from].End() - a.Address
			if a.Table == b.Table && gap <= maxGap && first <= most {
				t.Fatalf("%v could have held %v too", a.Request, &vs[b.from])
			}
		}
	})
}

// TestCutEndsInSingleValues cuts until nothing can be cut any more.
func TestCutEndsInSingleValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := drawValues(t)
		requests := plan(vs, 20, 125)
		for i := 0; i < len(requests); {
			a, b, ok := cut(vs, &requests[i])
			if !ok {
				i++
				continue
			}
			if a.Quantity+b.Quantity > requests[i].Quantity {
				t.Fatalf("%v became %v and %v", requests[i].Request, a.Request, b.Request)
			}
			requests = append(requests[:i], append([]request{a, b}, requests[i+1:]...)...)
			if s := checkPlan(vs, requests, 20, 125); s != "" {
				t.Fatal(s)
			}
		}
		for _, q := range requests {
			for i := q.from + 1; i < q.to; i++ {
				if vs[i].Address != vs[q.from].Address {
					t.Fatalf("%v still reads %v and %v", q.Request, &vs[q.from], &vs[i])
				}
			}
		}
	})
}

func TestCutPrefersTheWidestGap(t *testing.T) {
	vs := []registers.Value{
		{Address: 0, Size: 1, Table: link.Holding},
		{Address: 1, Size: 1, Table: link.Holding},
		{Address: 5, Size: 2, Table: link.Holding},
		{Address: 8, Size: 1, Table: link.Holding},
	}
	q := cover(vs, 0, 4)
	a, b, ok := cut(vs, &q)
	if got := fmt.Sprint(q.Request, a.Request, b.Request, ok); got != "holding 0..8 holding 0..1 holding 5..8 true" {
		t.Errorf("got %s", got)
	}
	a, b, ok = cut(vs, &a)
	if got := fmt.Sprint(a.Request, b.Request, ok); got != "holding 0 holding 1 true" {
		t.Errorf("got %s", got)
	}
	if _, _, ok = cut(vs, &a); ok {
		t.Error("a single value was cut")
	}
}
