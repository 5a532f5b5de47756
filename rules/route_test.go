package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
)

// TestRouteCheck: what no route can be is refused, with the reason.
func TestRouteCheck(t *testing.T) {
	for _, c := range []struct {
		r    Route
		want string
	}{
		{Route{Channels: []string{"a.b"}, Uplink: "plant"}, ""},
		{Route{Channels: []string{"a.b"}, Debug: true}, ""},
		{Route{Uplink: "plant"}, `rule "r": route names no channel`},
		{Route{Channels: []string{"a.b"}}, `rule "r": route leads to an uplink or to class debug, one of them (got uplink "", debug false)`},
		{Route{Channels: []string{"a.b"}, Uplink: "plant", Debug: true}, `rule "r": route leads to an uplink or to class debug, one of them (got uplink "plant", debug true)`},
	} {
		got := ""
		if _, err := New([]Rule{{Name: "r", Routes: []Route{c.r}}}, 0); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.r, got, c.want)
		}
	}
}

// ways says where the readings of an outcome went, "uplink class: channels", those that were derived in brackets.
func ways(out *Outcome) string {
	names := func(list []tidegate.Reading) string {
		var s []string
		for _, rd := range list {
			s = append(s, rd.Device+"."+rd.Channel)
		}
		return strings.Join(s, " ")
	}
	s := []string{names(out.Readings)}
	if len(out.Derived) > 0 {
		s = append(s, "("+names(out.Derived)+")")
	}
	for _, a := range out.Apart {
		where := strings.TrimSpace(a.Uplink + " " + a.Class.String())
		if a.Derived {
			s = append(s, fmt.Sprintf("%s: (%s)", where, names(a.Readings)))
		} else {
			s = append(s, fmt.Sprintf("%s: %s", where, names(a.Readings)))
		}
	}
	return strings.Join(s, "; ")
}

// TestRoute: the first rule that is active counts, filters come before, derived readings are routed too, and what the gateway says of itself never is.
func TestRoute(t *testing.T) {
	s, err := New([]Rule{
		{Name: "hot", When: must(t, "m.temp > 50"), Routes: []Route{{Channels: []string{"m.a*"}, Debug: true}}},
		{
			Name: "always", Derives: []Derive{{Device: "d", Channel: "x", Value: value(t, "m.temp * 2")}, {Device: "d", Channel: "a", Value: value(t, "m.temp * 3")}},
			Filters: []filter.Filter{{Do: filter.Drop, Channels: []string{"m.gone"}}},
			Routes: []Route{
				{Channels: []string{"m.a1", "*.gone", "*_*"}, Uplink: "plant"},
				{Channels: []string{"m.a*", "d.x"}, Uplink: "office"},
				{Channels: []string{"m.b"}, Uplink: "plant"},
			},
		},
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	read := func(boot time.Duration, temp float64) string {
		rec := &tidegate.Record{Class: tidegate.ClassReading, Time: time.Unix(0, 0).Add(boot), Boot: boot}
		for _, name := range []string{"temp", "a1", "_device", "b", "a2", "gone", "a3"} {
			rec.Readings = append(rec.Readings, tidegate.Reading{Device: "m", Channel: name, Value: tidegate.Float(temp)})
		}
		out := s.Apply(rec)
		if out.Filtered != 1 || out.Made != 2 {
			t.Errorf("%d filtered, %d made; want 1, 2", out.Filtered, out.Made)
		}
		return ways(&out)
	}
	if got, want := read(time.Second, 20), "m.temp m._device; (d.a); plant reading: m.a1 m.b; office reading: m.a2 m.a3; office reading: (d.x)"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got, want := read(2*time.Second, 60), "m.temp m._device; (d.a); debug: m.a1 m.a2 m.a3; plant reading: m.b; office reading: (d.x)"; got != want {
		t.Errorf("while hot: got %s\nwant %s", got, want)
	}
	for _, class := range []tidegate.Class{tidegate.ClassAlarm, tidegate.ClassAudit} {
		rec := &tidegate.Record{Class: class, Boot: 3 * time.Second, Readings: []tidegate.Reading{{Device: "m", Channel: "a1", Value: tidegate.Float(1)}}}
		if out := s.Apply(rec); len(out.Apart) > 0 || len(out.Readings) != 1 {
			t.Errorf("a record of class %s was routed: %s", class, ways(&out))
		}
	}
	if x, ok := s.Explain("always"); !ok || len(x.Rule.Routes) != 3 || x.Rule.Routes[1].String() != "send m.a*, d.x to uplink office only" {
		t.Errorf("explained as %+v", x.Rule.Routes)
	}
}

// TestRoutesAreAPartition: whatever rules are active, each reading goes one way, in order, and the way is the one of the first active rule that names it,
// with the labels of all that do.
func TestRoutesAreAPartition(t *testing.T) {
	patterns := []string{"m.c1", "m.c2", "m.c*", "*.c1", "m.*", "*", "n.c2", "m._*", "n.*3"}
	rapid.Check(t, func(rt *rapid.T) {
		var list []Rule
		limits := map[string]float64{}
		for i := range rapid.IntRange(1, 5).Draw(rt, "rules") {
			r := Rule{Name: fmt.Sprint("r", i)}
			if rapid.IntRange(0, 3).Draw(rt, "conditional") > 0 {
				limits[r.Name] = float64(rapid.IntRange(0, 9).Draw(rt, "limit"))
				r.When = must(t, fmt.Sprintf("s.level > %v", limits[r.Name]))
			}
			for range rapid.IntRange(0, 3).Draw(rt, "routes") {
				x := Route{Channels: rapid.SliceOfN(rapid.SampledFrom(patterns), 1, 3).Draw(rt, "channels")}
				if x.Uplink = rapid.SampledFrom([]string{"", "plant", "office"}).Draw(rt, "uplink"); x.Uplink == "" {
					x.Debug = true
				}
				r.Routes = append(r.Routes, x)
			}
			for range rapid.IntRange(0, 2).Draw(rt, "labels") {
				names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 2, rapid.ID).Draw(rt, "names")
				l := Label{Channels: rapid.SliceOfN(rapid.SampledFrom(patterns), 1, 2).Draw(rt, "labelled"), Labels: tidegate.Labels{}}
				for _, name := range names {
					l.Labels[name] = rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "text")
				}
				r.Labels = append(r.Labels, l)
			}
			if r.When == nil && len(r.Routes)+len(r.Labels) == 0 {
				continue
			}
			list = append(list, r)
		}
		s, err := New(list, 0)
		if err != nil {
			rt.Fatal(err)
		}
		active := map[string]bool{}
		for step := range rapid.IntRange(1, 20).Draw(rt, "steps") {
			level := float64(rapid.IntRange(0, 10).Draw(rt, "level"))
			rec := &tidegate.Record{Class: tidegate.ClassReading, Boot: time.Duration(step+1) * time.Second}
			rec.Time = time.Unix(0, 0).Add(rec.Boot)
			rec.Readings = append(rec.Readings, tidegate.Reading{Device: "s", Channel: "level", Value: tidegate.Float(level)})
			for i := range rapid.IntRange(0, 8).Draw(rt, "readings") {
				name := rapid.SampledFrom([]string{"c1", "c2", "c3", "_device", "_x"}).Draw(rt, "channel")
				rec.Readings = append(rec.Readings, tidegate.Reading{
					Device: rapid.SampledFrom([]string{"m", "n"}).Draw(rt, "device"), Channel: name, Value: tidegate.Int(int64(i)),
				})
			}
			for _, r := range list {
				active[r.Name] = r.When == nil || level > limits[r.Name]
			}
			want := map[string][]tidegate.Reading{}
			for _, rd := range rec.Readings {
				where := whereTo(list, active, rd) + labelsOf(list, active, rd)
				want[where] = append(want[where], rd)
			}
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				next, err := New(list, 0)
				if err == nil {
					_, err = next.Restore(s.State(), true)
				}
				if err != nil {
					rt.Fatal(err)
				}
				s = next
			}
			out := s.Apply(rec)
			got := map[string][]tidegate.Reading{}
			if len(out.Readings) > 0 {
				got["/reading"] = out.Readings
			}
			for _, a := range out.Apart {
				where := a.Uplink + "/" + a.Class.String() + a.Labels
				if _, twice := got[where]; twice || len(a.Readings) == 0 {
					rt.Fatalf("%s comes twice, or is empty", where)
				}
				got[where] = a.Readings
			}
			for where := range want {
				if !slices.Equal(got[where], want[where]) {
					rt.Fatalf("%q gets %v, want %v", where, got[where], want[where])
				}
			}
			if len(got) != len(want) {
				rt.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

// whereTo is where a reading goes by the words of README.md.
func whereTo(list []Rule, active map[string]bool, rd tidegate.Reading) string {
	if rd.Channel[0] == '_' {
		return "/reading"
	}
	for _, r := range list {
		for _, x := range r.Routes {
			for _, p := range x.Channels {
				if active[r.Name] && glob(p, rd.Device+"."+rd.Channel) {
					if x.Debug {
						return "/debug"
					}
					return x.Uplink + "/reading"
				}
			}
		}
	}
	return "/reading"
}

// labelsOf is what a reading carries by the words of README.md.
func labelsOf(list []Rule, active map[string]bool, rd tidegate.Reading) string {
	all := tidegate.Labels{}
	for _, r := range list {
		for _, l := range r.Labels {
			if !active[r.Name] || rd.Channel[0] == '_' || !slices.ContainsFunc(l.Channels, func(p string) bool { return glob(p, rd.Device+"."+rd.Channel) }) {
				continue
			}
			for name, text := range l.Labels {
				if _, has := all[name]; !has {
					all[name] = text
				}
			}
		}
	}
	return all.String()
}

// TestLabelRefusals: rules with labels that no record can carry are refused.
func TestLabelRefusals(t *testing.T) {
	many := func(from int) (list []Label) {
		for i := range 9 {
			list = append(list, Label{Channels: []string{"a.b"}, Labels: tidegate.Labels{fmt.Sprint("n", from+i): "x"}})
		}
		return list
	}
	for _, c := range []struct {
		labels [2][]Label
		want   string
	}{
		{[2][]Label{{{Labels: tidegate.Labels{"a": "x"}}}}, `rule "r0": label names no channel`},
		{[2][]Label{{{Channels: []string{"a.b"}}}}, `rule "r0": label has no labels`},
		{[2][]Label{{{Channels: []string{"a.b"}, Labels: tidegate.Labels{"a": ""}}}}, `rule "r0": label a: text is empty`},
		{[2][]Label{many(0), many(0)}, ""},
		{[2][]Label{many(0), many(9)}, "rules have labels of 18 names, at most 16 can be told apart"},
	} {
		var list []Rule
		for i, l := range c.labels {
			if l != nil {
				list = append(list, Rule{Name: fmt.Sprint("r", i), Labels: l})
			}
		}
		got := ""
		if _, err := New(list, 0); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// glob is filter.Match, slowly.
func glob(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		return glob(p[1:], s) || s != "" && glob(p, s[1:])
	}
	return s != "" && p[0] == s[0] && glob(p[1:], s[1:])
}

// TestRoutesOfManyChannels: beyond what is remembered, channels are routed all the same.
func TestRoutesOfManyChannels(t *testing.T) {
	s, err := New([]Rule{{Name: "r", Routes: []Route{{Channels: []string{"m.c*"}, Uplink: "plant"}}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKnown + 10 {
		rec := &tidegate.Record{Class: tidegate.ClassReading, Boot: time.Second, Readings: []tidegate.Reading{{Device: "m", Channel: fmt.Sprint("c", i)}}}
		if out := s.Apply(rec); len(out.Readings) > 0 || len(out.Apart) != 1 {
			t.Fatalf("channel %d went %s", i, ways(&out))
		}
	}
	if s.signs.n != maxKnown {
		t.Errorf("%d channels are remembered, want %d", s.signs.n, maxKnown)
	}
}
