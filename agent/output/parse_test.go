package output

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

func TestParse(t *testing.T) {
	kind := func(k tidegate.Kind) drivers.Channel { return drivers.Channel{Kind: k, Output: true} }
	level := drivers.Channel{Kind: tidegate.KindFloat, Output: true, Limits: drivers.Limits{Max: 100}}
	for name, tt := range map[string]struct {
		c    drivers.Channel
		text string
		want string
	}{
		"yes":                       {kind(tidegate.KindBool), "true", "yes/no true"},
		"no":                        {kind(tidegate.KindBool), "false", "yes/no false"},
		"on":                        {kind(tidegate.KindBool), "on", `got "on", want true or false`},
		"one":                       {kind(tidegate.KindBool), "1", `got "1", want true or false`},
		"number":                    {kind(tidegate.KindFloat), "-2.5e-3", "number -0.0025"},
		"NaN":                       {kind(tidegate.KindFloat), "NaN", `got "NaN", want a number`},
		"infinite":                  {kind(tidegate.KindFloat), "+inf", `got "+inf", want a number`},
		"too large":                 {kind(tidegate.KindFloat), "1e999", `got "1e999", want a number`},
		"hexadecimal":               {kind(tidegate.KindFloat), "0x10", `got "0x10", want a number`},
		"full-width digits":         {kind(tidegate.KindFloat), "１２", `got "１２", want a number`},
		"comma":                     {kind(tidegate.KindFloat), "1,5", `got "1,5", want a number`},
		"space":                     {kind(tidegate.KindFloat), " 1", `got " 1", want a number`},
		"out of range":              {level, "150", "got 150, want a number from 0 to 100"},
		"no number in a range":      {level, "full", `got "full", want a number from 0 to 100`},
		"largest":                   {kind(tidegate.KindUint), "18446744073709551615", "number 18446744073709551615"},
		"negative":                  {kind(tidegate.KindUint), "-1", `got "-1", want a whole number from 0`},
		"broken":                    {kind(tidegate.KindInt), "1.5", `got "1.5", want a whole number`},
		"text":                      {kind(tidegate.KindText), "1.5", "text 1.5"},
		"no UTF-8":                  {kind(tidegate.KindText), "\xff", `got "\xff", want a text`},
		"bytes":                     {kind(tidegate.KindBytes), "00ff", "bytes 00ff"},
		"half a byte":               {kind(tidegate.KindBytes), "00f", `got "00f", want bytes in hexadecimal`},
		"of no fixed kind: yes":     {kind(tidegate.KindNone), "true", "yes/no true"},
		"of no fixed kind: number":  {kind(tidegate.KindNone), "7", "number 7"},
		"of no fixed kind: decimal": {kind(tidegate.KindNone), "7.5", "number 7.5"},
		"of no fixed kind: text":    {kind(tidegate.KindNone), "auto", "text auto"},
		"long":                      {kind(tidegate.KindBool), strings.Repeat("x", 99), `got "` + strings.Repeat("x", 40) + `", want true or false`},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := Parse(&tt.c, tt.text)
			got := fmt.Sprintf("%v %v", v.Kind(), v)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestWhatIsShownReadsBack: a value as it is shown is parsed to the same value.
func TestWhatIsShownReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(
			rapid.Map(rapid.Float64(), tidegate.Float), rapid.Map(rapid.Int64(), tidegate.Int), rapid.Map(rapid.Uint64(), tidegate.Uint),
			rapid.Map(rapid.Bool(), tidegate.Bool), rapid.Map(rapid.String(), tidegate.Text),
			rapid.Map(rapid.SliceOf(rapid.Byte()), tidegate.Bytes),
		).Draw(t, "value")
		c := drivers.Channel{Kind: v.Kind(), Output: true}
		got, err := Parse(&c, v.String())
		if f, _ := v.Number(); math.IsInf(f, 0) || math.IsNaN(f) {
			if err == nil {
				t.Errorf("%v is taken", v)
			}
		} else if err != nil || got != v {
			t.Errorf("%v %v: got %v, %v", v.Kind(), v, got, err)
		}
	})
}

func TestJSON(t *testing.T) {
	for want, v := range map[string]tidegate.Value{
		"null": {}, "true": tidegate.Bool(true), "-7": tidegate.Int(-7), "18446744073709551615": tidegate.Uint(math.MaxUint64), "0.1": tidegate.Float(0.1),
		"1e+300": tidegate.Float(1e300), `"NaN"`: tidegate.Float(math.NaN()), `"a\"b"`: tidegate.Text(`a"b`), `"00ff"`: tidegate.Bytes([]byte{0, 255}),
	} {
		if got := string(JSON(v)); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

func TestAgree(t *testing.T) {
	for name, tt := range map[string]struct {
		a, b tidegate.Value
		want bool
	}{
		"same":             {tidegate.Bool(true), tidegate.Bool(true), true},
		"other":            {tidegate.Bool(true), tidegate.Bool(false), false},
		"kinds of numbers": {tidegate.Int(7), tidegate.Float(7), true},
		"other number":     {tidegate.Float(21.37), tidegate.Float(21.4), false},
		"yes and one":      {tidegate.Bool(true), tidegate.Int(1), false},
		"texts":            {tidegate.Text("a"), tidegate.Text("b"), false},
		"nothing":          {tidegate.Bool(false), tidegate.Value{}, false},
	} {
		if got := Agree(tt.a, tt.b); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
