package external

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(*Config)
		want []string
	}{
		"good": {},
		"good with outputs": {set: func(c *Config) {
			c.Mode = modePoll
			c.List = append(c.List,
				Channel{Name: "relay", Type: typeBool, Output: true, Pause: time.Second, Safe: tidegate.Bool(false)},
				Channel{Name: "level", Type: typeNumber, Output: true, Min: -1, Max: 1, Safe: tidegate.Int(1)})
		}},
		"nothing set": {set: func(c *Config) { *c = Config{} }, want: []string{
			"command: is missing; a list, as in [/usr/bin/python3, /etc/tidegate/probe.py]",
			`mode: is not known (got ""); one of talk, poll, once`,
			"starts: is out of range (got 0); 1 to 1000",
			"lines: is out of range (got 0); 1 to 10000",
			"channels: is out of range (got 0); declare 1 to 900, each as {name: temp, type: number, unit: Cel}",
		}},
		"program without a path": {
			set:  func(c *Config) { c.Command = []string{"python3 probe.py"} },
			want: []string{`command[0]: has no path: programs are not searched for (got "python3 probe.py"); write /usr/bin/python3, or ./probe for one in dir; each argument is an entry of its own`},
		},
		"NULs": {
			set: func(c *Config) {
				c.Command, c.Dir, c.Env = []string{"/x\x00", "\x00"}, "\x00", map[string]string{"A": "\x00"}
			},
			want: []string{
				`command[0]: has a NUL (got "/x\x00")`, `command[1]: has a NUL (got "\x00")`,
				`env: is no variable (got "A=\x00"); a name without =, and no NUL`, `dir: has a NUL (got "\x00")`,
			},
		},
		"command too long": {
			set:  func(c *Config) { c.Command = []string{"/x", strings.Repeat("x", 64<<10)} },
			want: []string{"command: is out of range (got 65540 bytes); at most 64 KiB"},
		},
		"variables without a name": {
			set: func(c *Config) { c.Env = map[string]string{"": "x", "A=B": "y"} },
			want: []string{
				`env: is no variable (got "=x"); a name without =, and no NUL`, `env: is no variable (got "A=B=y"); a name without =, and no NUL`,
			},
		},
		"out of range": {
			set: func(c *Config) {
				c.Timeout, c.Grace, c.Starts, c.Memory, c.Lines = time.Millisecond, -1, 1001, -1, 10_001
			},
			want: []string{
				"timeout: is out of range (got 1ms); 100ms to 24h, or 0 for never", "grace: is out of range (got -1ns); 0s to 1m",
				"starts: is out of range (got 1001); 1 to 1000", "memory: is out of range (got -1); 0 to 1048576",
				"lines: is out of range (got 10001); 1 to 10000",
			},
		},
		"names": {
			set: func(c *Config) {
				c.List = []Channel{{Name: "a", Type: typeText}, {Name: "a", Type: "float"}, {Name: "line_fault", Type: typeText}, {Name: "ä", Type: typeText}}
			},
			want: []string{
				"channels[1].name: is taken already (got a); line_fault is the driver's own",
				`channels[1].type: is not known (got "float"); one of number, integer, bool, text`,
				"channels[2].name: is taken already (got line_fault); line_fault is the driver's own",
				`channels[3].name: name contains 'ä', allowed are A-Z a-z 0-9 . _ - (got "ä")`,
			},
		},
		"limits of what is no output": {
			set:  func(c *Config) { c.List = []Channel{{Name: "a", Type: typeNumber, Max: 1}} },
			want: []string{"channels[0]: has min, max, pause or safe and is no output; set output: true, or leave them out"},
		},
		"output of a program that does not run": {
			set:  func(c *Config) { c.Mode, c.List = modeOnce, []Channel{{Name: "a", Type: typeBool, Output: true}} },
			want: []string{"channels[0].output: cannot be set with mode once: the program does not run (got true); use mode poll or talk"},
		},
		"limits": {
			set: func(c *Config) {
				c.List = []Channel{
					{Name: "a", Type: typeBool, Output: true, Max: 1, Pause: -1, Safe: tidegate.Int(1)},
					{Name: "b", Type: typeNumber, Output: true, Min: 2, Max: 1},
					{Name: "c", Type: typeInteger, Output: true, Min: 1, Max: 2, Safe: tidegate.Float(3)},
					{Name: "d", Type: typeNumber, Output: true, Min: math.NaN(), Max: 1},
				}
			},
			want: []string{
				"channels[0]: has min or max, which are for numbers; leave them out", "channels[0].pause: is out of range (got -1ns); 0s to 24h",
				`channels[0].safe: is the number "1", want bool (got 1)`, "channels[1].max: is not min, 2, or more (got 1)",
				"channels[2].safe: is out of range (got 3); min to max", "channels[3].max: is not min, NaN, or more (got 1)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := Driver.New().(*Config)
			c.Command, c.List = []string{"/usr/bin/python3", "probe.py"}, []Channel{{Name: "temp", Type: typeNumber, Unit: "Cel"}}
			if tc.set != nil {
				tc.set(c)
			}
			var got []string
			for _, bad := range c.Validate() {
				got = append(got, bad.Error())
			}
			if g, w := strings.Join(got, "\n"), strings.Join(tc.want, "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
		})
	}
}

func TestChannels(t *testing.T) {
	c := &Config{Mode: modePoll, List: []Channel{
		{Name: "temp", Type: typeNumber, Unit: "Cel", Meaning: "of the boiler"},
		{Name: "valve", Type: typeInteger, Output: true, Min: 1, Max: 5, Pause: time.Second, Safe: tidegate.Float(2)},
	}}
	got := strings.ReplaceAll(fmt.Sprintf("%+v", c.Channels()), "  ", " ")
	want := "[{Name:temp Kind:number Unit:Cel Meaning:of the boiler Output:false Limits:{Min:0 Max:0 Pause:0s Safe:}} " +
		"{Name:valve Kind:number Unit: Meaning:what the program says of valve Output:true Limits:{Min:1 Max:5 Pause:1s Safe:2}}]"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if k := c.Channels()[1].Limits.Safe.Kind(); k != tidegate.KindInt {
		t.Errorf("safe is of kind %d, want that of its channel", k)
	}
}

func TestEvery(t *testing.T) {
	for mode, want := range map[string]time.Duration{modeTalk: 0, modePoll: 10 * time.Second, modeOnce: 10 * time.Second} {
		if got := (&Config{Mode: mode}).Every(); got != want {
			t.Errorf("mode %s: got %v, want %v", mode, got, want)
		}
	}
}
