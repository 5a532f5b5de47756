package drivers_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

func TestAccept(t *testing.T) {
	level := drivers.Channel{Name: "level", Kind: tidegate.KindFloat, Output: true, Limits: drivers.Limits{Min: -5, Max: 100}}
	speed := drivers.Channel{Name: "speed", Kind: tidegate.KindUint, Output: true}
	step := drivers.Channel{Name: "step", Kind: tidegate.KindInt, Output: true, Limits: drivers.Limits{Min: -3, Max: 3}}
	relay := drivers.Channel{Name: "relay", Kind: tidegate.KindBool, Output: true, Limits: drivers.Limits{Safe: tidegate.Bool(false)}}
	text := drivers.Channel{Name: "text", Kind: tidegate.KindText, Output: true}
	open := drivers.Channel{Name: "open", Output: true}
	input := drivers.Channel{Name: "input", Kind: tidegate.KindFloat}
	for name, tt := range map[string]struct {
		c    drivers.Channel
		v    tidegate.Value
		want string
	}{
		"lowest":                 {level, tidegate.Float(-5), "<nil>"},
		"highest":                {level, tidegate.Int(100), "<nil>"},
		"just below":             {level, tidegate.Float(math.Nextafter(-5, -6)), "got -5.000000000000001, want a number from -5 to 100"},
		"too high":               {level, tidegate.Int(150), "got 150, want a number from -5 to 100"},
		"not a number":           {level, tidegate.Float(math.NaN()), "got NaN, want a finite number"},
		"infinite":               {level, tidegate.Float(math.Inf(-1)), "got -Inf, want a finite number"},
		"infinite, any kind":     {open, tidegate.Float(math.Inf(1)), "got +Inf, want a finite number"},
		"yes instead of number":  {level, tidegate.Bool(true), "got true, want a number from -5 to 100"},
		"text instead of number": {level, tidegate.Text("12"), `got "12", want a number from -5 to 100`},
		"long text":              {level, tidegate.Text(strings.Repeat("x", 99)), `got "` + strings.Repeat("x", 40) + `", want a number from -5 to 100`},
		"nothing":                {level, tidegate.Value{}, "got no value"},
		"number instead of yes":  {relay, tidegate.Int(1), "got 1, want true or false"},
		"yes":                    {relay, tidegate.Bool(true), "<nil>"},
		"no range":               {speed, tidegate.Uint(math.MaxUint64), "<nil>"},
		"negative":               {speed, tidegate.Int(-1), "got -1, want a whole number from 0"},
		"broken":                 {step, tidegate.Float(1.5), "got 1.5, want a whole number from -3 to 3"},
		"whole":                  {step, tidegate.Float(2), "<nil>"},
		"number instead of text": {text, tidegate.Int(1), "got 1, want a text"},
		"any kind":               {open, tidegate.Text("x"), "<nil>"},
		"an input":               {input, tidegate.Float(1), "it is no output"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(tt.c.Accept(tt.v)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
