package rules

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestExplain: how a rule stands, at each turn of its life; asking changes nothing.
func TestExplain(t *testing.T) {
	s := newSet(t, overheat(t))
	if _, ok := s.Explain("other"); ok {
		t.Error("a rule that is not there is explained")
	}
	look := func() string {
		x, ok := s.Explain("overheat")
		if !ok || len(x.Parts) != 1 {
			t.Fatalf("got %+v, %v", x, ok)
		}
		return fmt.Sprint(x.Now, x.Active, x.Pending, x.Since, x.SinceKnown, x.Next, x.When, x.Clear, x.Parts[0].Value, x.Fired)
	}
	var got []string
	for _, c := range []struct {
		boot time.Duration
		v    float64
	}{{time.Second, 70}, {2 * time.Second, 90}, {time.Minute, 90}, {2 * time.Minute, 20}} {
		s.Apply(record(c.boot, temp(c.v)))
		got = append(got, look())
		if again := look(); again != got[len(got)-1] {
			t.Errorf("got %s, then %s", got[len(got)-1], again)
		}
	}
	want := []string{
		"1s false false 0s false 0s no yes 70 0",
		"2s false true 2s true 32s yes no 90 0",
		"1m0s true false 32s true 0s yes no 90 1",
		"2m0s false false 0s false 0s no yes 20 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r := s.rules[0]
	if x, _ := s.Explain("overheat"); x.Rule.Fingerprint() != s.Fingerprints()[0] || r.fired != 1 {
		t.Errorf("fired %d times", r.fired)
	}
	other := r.Rule
	other.For++
	if other.Fingerprint() == r.Fingerprint() {
		t.Error("a rule with another `for` has the same fingerprint")
	}
}
