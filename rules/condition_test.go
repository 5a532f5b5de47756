package rules

import (
	"math"
	"testing"

	"github.com/tidegate-io/tidegate"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"meter1.temp > 80":             "meter1.temp > 80",
		"  meter1.temp>=-80.50  ":      "meter1.temp >= -80.5",
		"a.b<1e3":                      "a.b < 1000",
		"a.b <= +5":                    "a.b <= 5",
		"a-1.b_2.c == true":            "a-1.b_2.c == true",
		"a.b != false":                 "a.b != false",
		`plc.mode != "auto or manual"`: `plc.mode != "auto or manual"`,
		`plc.mode == 'say "no"'`:       `plc.mode == 'say "no"'`,
		"a.b == 18446744073709551615":  "a.b == 1.8446744073709552e+19",
		"\tmeter1.temp\n\t>\n80":       "meter1.temp > 80",
	} {
		c, err := Parse(text)
		if err != nil || c.String() != want {
			t.Errorf("%q: got %q, %v; want %q", text, c, err, want)
		}
		again, err := Parse(c.String())
		if err != nil || again != c {
			t.Errorf("%q: reads back as %v, %v", text, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                      `column 1: a channel is wanted (got nothing); begin with device.channel, for instance meter1.temp > 80`,
		"> 80":                  `column 1: a channel is wanted (got >); begin with device.channel, for instance meter1.temp > 80`,
		"80 < meter1.temp":      `column 1: device and channel are wanted, with a dot between (got 80); begin with device.channel, for instance meter1.temp > 80`,
		"temp > 80":             `column 1: device and channel are wanted, with a dot between (got temp); begin with device.channel, for instance meter1.temp > 80`,
		"meter1. > 80":          `column 1: device and channel are wanted, with a dot between (got meter1.); begin with device.channel, for instance meter1.temp > 80`,
		"_gateway.gap > 1":      `column 1: the gateway's own channels are not judged (got _gateway.gap); begin with device.channel, for instance meter1.temp > 80`,
		"meter1.temp":           `column 12: a comparison is wanted (got nothing); comparisons are > >= < <= == !=`,
		"meter1.temp 80":        `column 13: a comparison is wanted (got 80); comparisons are > >= < <= == !=`,
		"meter1.temp = 80":      `column 13: not a comparison (got =); write ==`,
		"meter1.temp => 80":     `column 13: not a comparison (got =>); write >=`,
		"meter1.temp <> 80":     `column 13: not a comparison (got <>); write !=`,
		"meter1.temp ≥ 80":      `column 13: not a comparison (got ≥); write >=`,
		"meter1.temp is not 80": `column 13: not a comparison (got is not); write !=`,
		"meter1.temp >":         `column 14: a value is wanted (got nothing); compare with a number, true, false or a "text"`,
		"meter1.temp > warm":    `column 15: not a value (got warm); compare with a number, true, false or a "text"`,
		"meter1.temp > NaN":     `column 15: not a value (got NaN); compare with a number, true, false or a "text"`,
		"meter1.temp > 0x10":    `column 15: not a value (got 0x10); compare with a number, true, false or a "text"`,
		"meter1.temp > 1_000":   `column 15: not a value (got 1_000); compare with a number, true, false or a "text"`,
		"meter1.temp > 80,5":    `column 15: not a value (got 80,5); compare with a number, true, false or a "text"`,
		"meter1.temp > .5":      `column 15: not a value (got .5); compare with a number, true, false or a "text"`,
		"meter1.temp > １２":      `column 15: not a value (got １２); compare with a number, true, false or a "text"`,
		"meter1.temp > 1e999":   `column 15: number is too large for a double (got 1e999); write a number up to 1.8e308`,
		"meter1.temp > 80Cel":   `column 17: more text behind the number (got Cel); write the number alone, in the channel's unit`,
		"meter1.temp > 80 °C":   `column 18: more text behind the condition (got °C); write the number alone, in the channel's unit`,
		"door.open == yes":      `column 14: not a value (got yes); write true or false, or a text in quotes`,
		"door.open > true":      `column 11: yes/no has no order (got >); compare with == or !=`,
		"plc.mode >= 'a'":       `column 10: text has no order (got >=); compare with == or !=`,
		"plc.mode == 'a":        `column 13: the quote does not end (got 'a); close it with '`,
		"a.b > 1 and a.b < 2":   `column 9: more text behind the condition (got and); a condition is one comparison; write two rules`,
		"a.b == true ; reboot":  `column 13: more text behind the condition (got ;); end the condition here`,
	} {
		c, err := Parse(text)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v\nwant %s", text, c, err, want)
		}
	}
}

func TestConditionTest(t *testing.T) {
	n, b, s := tidegate.Float, tidegate.Bool, tidegate.Text
	for _, c := range []struct {
		text string
		v    tidegate.Value
		want verdict
	}{
		{"a.b > 80", n(80), no},
		{"a.b > 80", n(80.001), yes},
		{"a.b >= 80", n(80), yes},
		{"a.b < 80", n(80), no},
		{"a.b <= 80", tidegate.Int(80), yes},
		{"a.b == 80", tidegate.Uint(80), yes},
		{"a.b != 80", n(80), no},
		{"a.b < 80", n(math.Inf(-1)), yes},
		{"a.b != 80", n(math.NaN()), unknown},
		{"a.b == 1", b(true), yes},
		{"a.b == true", n(5), yes},
		{"a.b == true", n(0), no},
		{"a.b == false", n(0), yes},
		{"a.b != true", b(false), yes},
		{"a.b == 'x'", s("x"), yes},
		{"a.b == 'x'", s("y"), no},
		{"a.b != 'x'", s("y"), yes},
		{"a.b == 'x'", n(1), unknown},
		{"a.b == 'x'", tidegate.Bytes([]byte("x")), unknown},
		{"a.b == 1", s("1"), unknown},
		{"a.b == true", s("true"), unknown},
		{"a.b == 1", tidegate.Value{}, unknown},
	} {
		cond := must(t, c.text)
		if got := cond.test(c.v); got != c.want {
			t.Errorf("%s with %v %v: got %d, want %d", c.text, c.v.Kind(), c.v, got, c.want)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"m.t > 80", "m.t < 75", false},
		{"m.t > 80", "m.t <= 80", false},
		{"m.t >= 80", "m.t <= 80", true},
		{"m.t > 80", "m.t < 81", true},
		{"m.t > 80", "m.t > 90", true},
		{"m.t == 1", "m.t != 1", false},
		{"m.t == 1", "m.t != 2", true},
		{"m.t != 1", "m.t != 2", true},
		{"m.t > 80", "n.t > 80", false},
		{"m.t > 80", "", false},
		{"m.t == true", "m.t == false", false},
		{"m.t == true", "m.t != false", true},
		{"m.t == 'a'", "m.t != 'a'", false},
		{"m.t == 'a'", "m.t != 'b'", true},
		{"m.t == 'a'", "m.t == 1", false},
	} {
		if got := Overlap(must(t, c.a), must(t, c.b)); got != c.want {
			t.Errorf("%s and %s: got %v", c.a, c.b, got)
		}
	}
}

func TestSuits(t *testing.T) {
	for _, c := range []struct {
		text string
		k    tidegate.Kind
		want bool
	}{
		{"a.b > 1", tidegate.KindFloat, true},
		{"a.b > 1", tidegate.KindBool, true},
		{"a.b > 1", tidegate.KindText, false},
		{"a.b > 1", tidegate.KindNone, true},
		{"a.b == 'x'", tidegate.KindText, true},
		{"a.b == 'x'", tidegate.KindInt, false},
		{"a.b == 'x'", tidegate.KindBytes, false},
		{"a.b == true", tidegate.KindUint, true},
	} {
		if got := must(t, c.text).Suits(c.k); got != c.want {
			t.Errorf("%s with %v: got %v", c.text, c.k, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"meter1.temp > 80", "a.b=='x'", "a.b != true", "a.b ≥ 1", "a.b > 1e", "a.b < -.5", "a.b is not 'x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			if _, ok := err.(*SyntaxError); !ok {
				t.Fatalf("%q: %T", s, err)
			}
			return
		}
		again, err := Parse(c.String())
		if err != nil || again != c {
			t.Fatalf("%q: %q reads back as %v, %v", s, c, again, err)
		}
		if _, err := New([]Rule{{Name: "r", When: c}}); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte{1, 1, 0, 5, 0, 0, 0, 0, 8})
	f.Add([]byte{1, 2, 3, 0, 1, 2, 3, 4})
	f.Add([]byte{1, 3, 0, 1, 1, 2, 3, 4})
	f.Add([]byte{1, 4, 2, 1, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := decodeState(b)
		if err != nil {
			return
		}
		r := rule{phase: st.phase, raised: st.raised, fired: st.fired, mark: st.mark, since: st.since, isHeld: st.isHeld}
		again, err := decodeState(r.appendState(nil))
		if err != nil || again != st {
			t.Fatalf("%x: %+v reads back as %+v, %v", b, st, again, err)
		}
	})
}
