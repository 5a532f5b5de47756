package quota

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tidegate-io/tidegate"
	"pgregory.net/rapid"
)

const (
	reading = tidegate.ClassReading
	alarm   = tidegate.ClassAlarm
	audit   = tidegate.ClassAudit
	debug   = tidegate.ClassDebug
)

func TestYields(t *testing.T) {
	newest := Default()
	newest[reading].Overflow = DropNewest
	for _, c := range []struct {
		name string
		plan Plan
		used Sizes
		want string
	}{
		{"all fits", Default(), Sizes{reading: 1000}, "[]"},
		{"readings have borrowed everything, and an alarm comes", Default(), Sizes{reading: 1000, alarm: 1}, "[reading]"},
		{"debug goes before readings", Default(), Sizes{reading: 810, alarm: 90, debug: 101}, "[debug reading]"},
		{"readings within their share want what alarms have borrowed", Default(), Sizes{reading: 700, alarm: 301}, "[reading alarm]"},
		{"readings at half of their share want what alarms have borrowed", Default(), Sizes{reading: 400, alarm: 601}, "[alarm]"},
		{"audit keeps its share", Default(), Sizes{reading: 801, audit: 50, alarm: 150}, "[reading audit alarm]"},
		{"what drops its newest drops nothing", newest, Sizes{reading: 800, alarm: 150, debug: 51}, "[debug alarm]"},
	} {
		if got := fmt.Sprint(c.plan.Yields(&c.used, 1000)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestShares(t *testing.T) {
	p := Default()
	if got := p.Share(reading, 1000); got != 800 {
		t.Errorf("readings have %d of 1000 by default", got)
	}
	p[reading].Percent, p[alarm].Percent = 30, 20
	if a, b := p.Share(reading, 1000), p.Share(alarm, 1000); a != 300 || b != 200 {
		t.Errorf("readings have %d, want 300; alarms %d, want 200", a, b)
	}
	p[reading].Overflow = DropNewest
	for used, want := range map[int64]bool{300: false, 301: true} {
		if got := p.Refuses(reading, &Sizes{reading: used}, 1000); got != want {
			t.Errorf("with %d of 300, refused is %v", used, got)
		}
	}
	if p.Refuses(alarm, &Sizes{alarm: 900}, 1000) {
		t.Error("what drops its oldest is refused")
	}
}

// TestNoFloodPushesOut: whatever floods, a class that is at half of its share or less keeps all, alarms keep their whole share, and there is always somebody
// who yields.
func TestNoFloodPushesOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Plan{}
		left := 100
		for _, c := range Order() {
			if c != reading || rapid.Bool().Draw(t, "reading is set") {
				p[c].Percent = rapid.IntRange(1, max(min(left-5, 30), 1)).Draw(t, c.String())
				left -= p[c].Percent
			}
		}
		var used Sizes
		var total int64
		for _, c := range Order() {
			used[c] = rapid.Int64Range(0, 120_000).Draw(t, c.String()+" used")
			total += used[c]
		}
		list := p.Yields(&used, 100_000)
		if (total > 100_000) != (len(list) > 0) {
			t.Fatalf("%v take %d of 100000: %v yield", used, total, list)
		}
		for _, c := range Order() {
			share := p.Share(c, 100_000)
			if slices.Contains(list, c) && (used[c] <= share/2 || c == alarm && used[c] <= share) {
				t.Fatalf("%s has %d of %d and yields: %v", c, used[c], share, list)
			}
		}
		if i := slices.Index(list, alarm); i >= 0 && i != len(list)-1 {
			t.Fatalf("alarms yield before others: %v", list)
		}
	})
}
