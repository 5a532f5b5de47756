package agent_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wornConfig is a gateway whose card may take 256 MB a day. Its rule raises an alarm each other time that n is a multiple of ten.
const wornConfig = `
devices: [{name: d, driver: sim, every: 1s}]
rules:
  - {name: often, when: d.n % 20 == 0, do: [{alarm: {severity: info, text: often}}]}
buffer: {written_per_day: 256MB}
` + oneUplink

// TestCardIsSpared has a card to which more and more is written, whatever the gateway does: commits come further apart, then readings are
// thinned, then dropped, and all that is told. No alarm is missing, and no reading is unaccounted for.
func TestCardIsSpared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		var rate, base atomic.Int64 // bytes a second
		began := time.Now()
		x.parts.Written = func() uint64 { return uint64(base.Load() + rate.Load()*int64(time.Since(began)/time.Second)) }
		g := x.start(wornConfig)
		time.Sleep(time.Hour)
		if c := g.conditions(); c != "" {
			t.Errorf("conditions below the limit: %s", c)
		}
		before := g.Status().Account
		if before.Thinned+before.DroppedDeclared != 0 {
			t.Errorf("below the limit: %+v", before)
		}
		rate.Store(3500) // 302 MB a day
		base.Store(-3500 * 3600)
		for _, want := range []string{"commits are 2s apart", "commits are 5s apart", "one reading in 10s is kept", "one reading in 1m0s is kept"} {
			time.Sleep(15 * time.Minute)
			if d := detail(g, "card_wear"); !strings.HasSuffix(d, want) {
				t.Errorf("card_wear says %q, want %q", d, want)
			}
		}
		thinned := g.Status().Account.Thinned
		if thinned < 5*800 {
			t.Errorf("%d readings were thinned out in a quarter of an hour at one in ten seconds, want 4,000 or more", thinned)
		}
		base.Add(300_000_000)
		time.Sleep(14 * time.Minute)
		if d := detail(g, "card_wear"); !strings.Contains(d, "dropped") {
			t.Errorf("card_wear says %q when the limit is reached", d)
		}
		s := g.Status()
		if n := s.Account.DroppedDeclared; n < 5*60*12 || s.Account.Lost != 0 {
			t.Errorf("%d readings were declared, %d are lost, in 14 minutes in which none was kept", n, s.Account.Lost)
		}
		if s.Queue.WrittenPerDayBytes < 256_000_000 || s.Queue.WrittenLimitBytes != 256_000_000 {
			t.Errorf("queue is %+v", s.Queue)
		}
		gaps := int(s.Queue.Gaps)
		if gaps < 10 || gaps > 16 {
			t.Errorf("%d gaps in 14 minutes, want one a minute", gaps)
		}
		g.end()                          // declares what it still holds back, for the next process to deliver,
		x.parts.RingDir = x.rings + "-2" // which runs after the next boot
		g = x.start(strings.Replace(wornConfig, "written_per_day: 256MB", "", 1))
		time.Sleep(time.Minute)
		if c := g.conditions(); c != "" {
			t.Errorf("conditions without a limit: %s", c)
		}
		g.end()
		s = g.Status()
		f.check(t, int(s.Queue.Gaps))
		if n := len(f.alarms(t, "often")); n < 370 {
			t.Errorf("%d alarms raised and cleared arrived, want 374 or so", n)
		}
		a := s.Account
		if all := 5 * uint64(time.Since(began)/time.Second); a.Lost != 0 || a.Produced+30 < all || a.Produced > all+30 ||
			a.Produced != a.Delivered+a.Buffered+a.Thinned+a.DroppedDeclared {
			t.Errorf("account is %+v, want all of %d", a, all)
		}
	})
}

// detail returns what the condition says.
func detail(g *running, code string) string {
	for _, c := range g.Status().Conditions {
		if c.Code == code {
			return c.Detail
		}
	}
	return ""
}
