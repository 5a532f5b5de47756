package filter

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"meter1.temp", "meter1.temp", true},
		{"meter1.temp", "meter1.temp2", false},
		{"meter1.*", "meter1.temp", true},
		{"meter1.*", "meter1.", true},
		{"meter1.*", "meter2.temp", false},
		{"*", "a.b", true},
		{"*.temp", "a.temp", true},
		{"*.temp", "a.temps", false},
		{"m*r1.t*p", "meter1.temp", true},
		{"m*m*p", "meter1.temp", true},
		{"a*a", "a", false},
		{"a*b*b", "aXb", false},
		{"a**b", "ab", true},
		{"", "", true},
	} {
		if got := Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// FuzzRestore: whatever is stored, a Lane that takes it over stores the same again, and lets readings through without a panic.
func FuzzRestore(f *testing.F) {
	deadband := &Filter{Do: Deadband, Channels: []string{"d.a"}, By: 1, Heartbeat: time.Minute}
	average := &Filter{Do: Thin, Channels: []string{"d.a"}, Every: time.Minute, As: Average}
	rd := tidegate.Reading{Device: "d", Channel: "a", Value: tidegate.Float(1.5)}
	for _, x := range []*Filter{deadband, average} {
		var l Lane
		l.Pass(x, 1, &rd, time.Hour)
		l.Pass(x, 1, &rd, time.Hour+time.Second)
		f.Add(l.Append(nil))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var l Lane
		if err := l.Restore(body); err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatal(err)
			}
			return
		}
		var again Lane
		stored := l.Append(nil)
		if err := again.Restore(stored); err != nil || !bytes.Equal(again.Append(nil), stored) {
			t.Fatalf("%x became %x, %v", body, stored, err)
		}
		for _, x := range []*Filter{deadband, average} {
			now := rd
			l.Pass(x, 1, &now, time.Hour)
		}
	})
}

// TestMeetAgainstMatch: two patterns meet when both match one of all names up to eight letters of two.
func TestMeetAgainstMatch(t *testing.T) {
	names := []string{""}
	for i := 0; len(names[i]) < 8; i++ {
		names = append(names, names[i]+"a", names[i]+"b")
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := rapid.StringOfN(rapid.SampledFrom([]rune("ab*")), 0, 4, 4)
		p, q := draw.Draw(t, "p"), draw.Draw(t, "q")
		want := slices.ContainsFunc(names, func(name string) bool { return Match(p, name) && Match(q, name) })
		if got := Meet(p, q); got != want {
			t.Fatalf("Meet(%q, %q) = %v", p, q, got)
		}
	})
}
