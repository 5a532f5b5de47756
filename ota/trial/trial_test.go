package trial

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	settle = 2 * time.Minute
	window = 8 * time.Minute
)

// before is a gateway of which everything was healthy.
func before() Baseline {
	return Baseline{Devices: []string{"meter1", "pump"}, Uplinks: []string{"cloud"}, Rules: true, Memory: 30 << 20}
}

// well is what a release that does all it should sees of itself.
func well(up time.Duration) Sight {
	return Sight{
		Up: up, Reads: map[string]uint64{"meter1": 5, "pump": 1}, Kept: map[string]uint64{"cloud": 3}, Judged: 9,
		Memory: 30<<20 + int64(up/time.Second%7)<<20, // up and down, as garbage is collected
	}
}

// play lets a release be looked at each second until it is judged, or for an hour.
func play(b Baseline, see func(up time.Duration) Sight) (v Verdict, at time.Duration, why error) {
	j := New(b, settle, window)
	for at = 0; at < time.Hour; at += time.Second {
		if v, why = j.See(see(at)); v != Wait {
			return v, at, why
		}
	}
	return v, at, why
}

func TestVerdicts(t *testing.T) {
	late := func(after time.Duration, bad func(*Sight)) func(time.Duration) Sight {
		return func(up time.Duration) Sight {
			s := well(up)
			if up < after {
				bad(&s)
			}
			return s
		}
	}
	always := func(bad func(*Sight)) func(time.Duration) Sight { return late(time.Hour, bad) }
	for _, c := range []struct {
		name   string
		before Baseline
		see    func(time.Duration) Sight
		want   Verdict
		at     time.Duration
		why    error
		text   string
	}{
		{"all is well", before(), well, Keep, settle, nil, ""},
		{"nothing was healthy before", Baseline{}, func(up time.Duration) Sight { return Sight{Up: up, Memory: 1 << 20} }, Keep, settle, nil, ""},
		{"a network that was down before", Baseline{Devices: []string{"pump"}}, always(func(s *Sight) { s.Kept = nil }), Keep, settle, nil, ""},
		{"a device is lost", before(), always(func(s *Sight) { delete(s.Reads, "pump") }), GiveUp, window, ErrDevice, "pump"},
		{"a device comes late", before(), late(5*time.Minute, func(s *Sight) { delete(s.Reads, "pump") }), Keep, 5 * time.Minute, nil, ""},
		{"rules are silent", before(), always(func(s *Sight) { s.Judged = 0 }), GiveUp, window, ErrRules, ""},
		{"nothing is delivered", before(), always(func(s *Sight) { s.Kept["cloud"] = 0 }), GiveUp, window, ErrDelivery, "cloud"},
		{"it is in trouble", before(), always(func(s *Sight) { s.Trouble = "the judge hangs" }), GiveUp, window, ErrUnhealthy, "the judge hangs"},
		{"it leaks slowly", before(), func(up time.Duration) Sight {
			s := well(up)
			s.Memory += int64(up/time.Second) << 20 / 4
			return s
		}, GiveUp, 363 * time.Second, ErrMemory, "had 31457280"},
		{"it leaks 10 MB a second", before(), func(up time.Duration) Sight {
			s := well(up)
			s.Memory += int64(up/time.Second) * 10e6
			return s
		}, GiveUp, 10 * time.Second, ErrMemory, "had 31457280"},
		{"it needs more memory, and keeps it", before(), func(up time.Duration) Sight {
			s := well(up)
			s.Memory += 40 << 20
			return s
		}, Keep, settle, nil, ""},
		{"a large one that grows by a fifth", Baseline{Memory: 200 << 20}, func(up time.Duration) Sight {
			s := well(up)
			s.Memory += 170<<20 + int64(up/time.Second)<<20/3
			return s
		}, Keep, settle, nil, ""},
		{"a small one that grows by its own size", Baseline{Memory: 10 << 20}, func(up time.Duration) Sight {
			s := well(up)
			s.Memory = 10<<20 + int64(up/time.Second)<<20/12
			return s
		}, Keep, settle, nil, ""},
		{"a large one that needs twice as much", Baseline{Memory: 200 << 20}, func(up time.Duration) Sight {
			s := well(up)
			s.Memory += 400 << 20
			return s
		}, Keep, settle, nil, ""},
		{"one of which nothing was known", Baseline{}, func(up time.Duration) Sight {
			s := well(up)
			s.Memory += 400 << 20
			return s
		}, Keep, settle, nil, ""},
		{"it fills its caches while it starts", before(), func(up time.Duration) Sight {
			s := well(up)
			s.Memory += min(int64(up/time.Second), 30) << 20
			return s
		}, Keep, settle, nil, ""},
		{"many devices are lost", Baseline{Devices: strings.Fields("a b c d e f g")}, always(func(s *Sight) { s.Reads = nil }), GiveUp, window, ErrDevice, "a, b, c, d, e and 2 more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, at, why := play(c.before, c.see)
			if v != c.want || at != c.at || !errors.Is(why, c.why) || why != nil && !strings.Contains(why.Error(), c.text) {
				t.Errorf("got %d after %v: %v, want %d after %v: %v ... %s", v, at, why, c.want, c.at, c.why, c.text)
			}
		})
	}
}

// TestNeverKeptUnhealthy: whatever is seen when, a release is kept only while all is well, not before settle, and judged by window.
func TestNeverKeptUnhealthy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := before()
		var s Sight
		v, at, why := play(b, func(up time.Duration) Sight {
			s = well(up)
			switch rapid.IntRange(0, 6).Draw(t, "fault") {
			case 0:
				delete(s.Reads, "meter1")
			case 1:
				s.Judged = 0
			case 2:
				s.Kept = nil
			case 3:
				s.Trouble = "trouble"
			}
			return s
		})
		switch v {
		case Keep:
			if at < settle || len(s.Reads) != 2 || s.Judged == 0 || s.Kept == nil || s.Trouble != "" {
				t.Fatalf("kept after %v with %+v", at, s)
			}
		case GiveUp:
			if at < window || why == nil {
				t.Fatalf("given up after %v: %v", at, why)
			}
		case Wait:
			t.Fatal("never judged")
		}
	})
}

func TestBaselineBytes(t *testing.T) {
	for _, b := range []Baseline{{}, before()} {
		body, err := b.Encode()
		got, err2 := Decode(body)
		if err != nil || err2 != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("got %+v, %v, %v, want %+v", got, err, err2, b)
		}
	}
	many := Baseline{}
	for range 2000 {
		many.Devices = append(many.Devices, strings.Repeat("d", 64))
	}
	body, err := many.Encode()
	if got, err2 := Decode(body); err != nil || err2 != nil || len(body) > MaxBaseline || len(got.Devices) < 400 {
		t.Errorf("got %d bytes, %d devices, %v, %v", len(body), len(got.Devices), err, err2)
	}
	if got, err := Decode(nil); err != nil || !reflect.DeepEqual(got, Baseline{}) {
		t.Errorf("of nothing: got %+v, %v", got, err)
	}
	for _, bad := range []string{"{", `{"devices":1}`, `{"more":1}`, `{} {}`, "{}" + strings.Repeat(" ", MaxBaseline-1)} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%.40q: want an error", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	body, err := before().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"devices":null,"uplinks":["a"],"rules":true,"memory":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := Decode(body)
		if err != nil {
			return
		}
		again, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("%q became %q: %v", body, again, err)
		}
	})
}
