package external

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// The words of the setting `mode`.
const (
	modeTalk = "talk"
	modePoll = "poll"
	modeOnce = "once"
)

// The words of the setting `type`.
const (
	typeNumber  = "number"
	typeInteger = "integer"
	typeBool    = "bool"
	typeText    = "text"
)

// maxChannels keeps what one answer can hold within one record (tidegate.MaxReadings), line_fault included.
const maxChannels = 900

// Config is what the user sets for one program.
type Config struct {
	Command []string          `yaml:"command" doc:"the program and its arguments, one by one; no shell looks at them. The program has to have its path, as in /usr/bin/python3, or ./probe in dir"`
	Mode    string            `yaml:"mode" doc:"talk: it runs on and writes when it likes; poll: it runs on and answers when asked; once: it is started for each reading and ends"`
	Dir     string            `yaml:"dir" doc:"its working directory, where relative names in command begin; empty = the gateway's own"`
	Env     map[string]string `yaml:"env" doc:"its environment, beside PATH, LANG and PYTHONUNBUFFERED; of the gateway's own it sees nothing"`
	List    []Channel         `yaml:"channels" doc:"what it reports, and which of that can be set; at most 900"`
	Timeout time.Duration     `yaml:"timeout" doc:"it is killed when it writes nothing for so long (poll: does not answer, once: does not end); 100ms to 24h, 0 = never"`
	Grace   time.Duration     `yaml:"grace" doc:"time to end by itself when it is stopped, before it is killed; 0s to 1m"`
	Starts  int               `yaml:"starts" doc:"most starts within an hour, but with mode once; 1 to 1000"`
	Memory  int               `yaml:"memory" doc:"MiB that it, and each program that it starts, may allocate; 1 to 1048576, 0 = any"`
	Lines   int               `yaml:"lines" doc:"most lines a second that it may write, over ten seconds; 1 to 10000"`

	start starter // nil = the real one; tests have others
}

// Channel is what the user declares of one channel.
type Channel struct {
	Name    string         `yaml:"name" doc:"name of the channel, as the program writes it"`
	Type    string         `yaml:"type" doc:"number, integer (64 bits), bool or text"`
	Unit    string         `yaml:"unit" doc:"unit, for instance Cel; a line with another is a fault"`
	Meaning string         `yaml:"meaning" doc:"one line for the technician"`
	Output  bool           `yaml:"output" doc:"it can be set"`
	Min     float64        `yaml:"min" doc:"of an output: least number that may be set"`
	Max     float64        `yaml:"max" doc:"of an output: greatest number that may be set; min and max both 0 or left out = any"`
	Pause   time.Duration  `yaml:"pause" doc:"of an output: least time between two changes, 0s to 24h"`
	Safe    tidegate.Value `yaml:"safe" doc:"of an output: where it goes when the gateway stops or has died; left out = it stays"`
}

// Every returns the usual interval between two Reads: those of a talker wait for its lines. It is part of drivers.Paced.
func (c *Config) Every() time.Duration {
	if c.Mode == modeTalk {
		return 0
	}
	return 10 * time.Second
}

// Channels returns those that the user has declared.
func (c *Config) Channels() []drivers.Channel {
	out := make([]drivers.Channel, 0, len(c.List))
	for i := range c.List {
		ch := &c.List[i]
		d := drivers.Channel{
			Name: ch.Name, Kind: ch.kind(), Unit: ch.Unit, Meaning: cmp.Or(ch.Meaning, "what the program says of "+ch.Name), Output: ch.Output,
		}
		if ch.Output {
			d.Limits = drivers.Limits{Min: ch.Min, Max: ch.Max, Pause: ch.Pause}
			d.Limits.Safe, _ = ch.fit(ch.Safe) // Validate has said what is wrong with it
		}
		out = append(out, d)
	}
	return out
}

// Open makes the program ready to be started by the first Read or Set.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open program: %w", bad[0])
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open program: %w", err)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open program: find dir %q: %w", c.Dir, err)
	}
	d := newDevice(c, h, dir)
	if slices.ContainsFunc(c.List, func(ch Channel) bool { return ch.Output }) {
		return setter{d}, nil
	}
	return d, nil
}

// Validate returns what is wrong with c. Whether there is such a program is seen when it is started.
func (c *Config) Validate() []drivers.FieldError {
	errs := slices.Concat(c.checkCommand(), drivers.OneOf("mode", c.Mode, modeTalk, modePoll, modeOnce), c.checkEnv())
	if strings.ContainsRune(c.Dir, 0) {
		errs = append(errs, drivers.FieldError{Field: "dir", Got: strconv.Quote(c.Dir), Problem: "has a NUL"})
	}
	if c.Timeout != 0 && (c.Timeout < 100*time.Millisecond || c.Timeout > 24*time.Hour) {
		errs = append(errs, outOfRange("timeout", c.Timeout.String(), "100ms to 24h, or 0 for never"))
	}
	if c.Grace < 0 || c.Grace > time.Minute {
		errs = append(errs, outOfRange("grace", c.Grace.String(), "0s to 1m"))
	}
	for _, n := range []struct {
		field       string
		got, lo, hi int
	}{{"starts", c.Starts, 1, 1000}, {"memory", c.Memory, 0, 1 << 20}, {"lines", c.Lines, 1, 10_000}} {
		if n.got < n.lo || n.got > n.hi {
			errs = append(errs, outOfRange(n.field, strconv.Itoa(n.got), fmt.Sprintf("%d to %d", n.lo, n.hi)))
		}
	}
	return append(errs, c.checkChannels()...)
}

func (c *Config) checkCommand() []drivers.FieldError {
	if len(c.Command) == 0 {
		return []drivers.FieldError{{Field: "command", Problem: "is missing", Hint: "a list, as in [/usr/bin/python3, /etc/tidegate/probe.py]"}}
	}
	var errs []drivers.FieldError
	if program := c.Command[0]; !strings.Contains(program, "/") {
		errs = append(errs, drivers.FieldError{
			Field: "command[0]", Got: strconv.Quote(program), Problem: "has no path: programs are not searched for",
			Hint: "write /usr/bin/python3, or ./probe for one in dir; each argument is an entry of its own",
		})
	}
	total := 0
	for i, arg := range c.Command {
		if strings.ContainsRune(arg, 0) {
			errs = append(errs, drivers.FieldError{Field: fmt.Sprintf("command[%d]", i), Got: strconv.Quote(arg), Problem: "has a NUL"})
		}
		total += len(arg) + 1
	}
	if total > 64<<10 {
		errs = append(errs, outOfRange("command", fmt.Sprintf("%d bytes", total), "at most 64 KiB"))
	}
	return errs
}

func (c *Config) checkEnv() []drivers.FieldError {
	var errs []drivers.FieldError
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(c.Env[name], 0) {
			errs = append(errs, drivers.FieldError{
				Field: "env", Got: strconv.Quote(name + "=" + c.Env[name]), Problem: "is no variable", Hint: "a name without =, and no NUL",
			})
		}
	}
	return errs
}

func (c *Config) checkChannels() []drivers.FieldError {
	var errs []drivers.FieldError
	if len(c.List) == 0 || len(c.List) > maxChannels {
		errs = append(errs, outOfRange("channels", strconv.Itoa(len(c.List)), "declare 1 to 900, each as {name: temp, type: number, unit: Cel}"))
	}
	names := map[string]bool{chanFault: true}
	for i := range c.List {
		ch, field := &c.List[i], fmt.Sprintf("channels[%d]", i)
		if err := tidegate.CheckName(ch.Name); err != nil {
			errs = append(errs, drivers.FieldError{Field: field + ".name", Got: strconv.Quote(ch.Name), Problem: err.Error()})
		} else if names[ch.Name] {
			errs = append(errs, drivers.FieldError{Field: field + ".name", Got: ch.Name, Problem: "is taken already", Hint: "line_fault is the driver's own"})
		}
		names[ch.Name] = true
		errs = append(errs, drivers.OneOf(field+".type", ch.Type, typeNumber, typeInteger, typeBool, typeText)...)
		errs = append(errs, ch.checkOutput(field, c.Mode)...)
	}
	return errs
}

func (ch *Channel) checkOutput(field, mode string) []drivers.FieldError {
	hasRange := ch.Min != 0 || ch.Max != 0
	if !ch.Output {
		if hasRange || ch.Pause != 0 || ch.Safe.Kind() != tidegate.KindNone {
			return []drivers.FieldError{{Field: field, Problem: "has min, max, pause or safe and is no output", Hint: "set output: true, or leave them out"}}
		}
		return nil
	}
	var errs []drivers.FieldError
	if mode == modeOnce {
		errs = append(errs, drivers.FieldError{
			Field: field + ".output", Got: "true", Problem: "cannot be set with mode once: the program does not run", Hint: "use mode poll or talk",
		})
	}
	switch isNumber := ch.Type == typeNumber || ch.Type == typeInteger; {
	case hasRange && !isNumber:
		errs = append(errs, drivers.FieldError{Field: field, Problem: "has min or max, which are for numbers", Hint: "leave them out"})
	case hasRange && !(ch.Min <= ch.Max): // NaN included
		errs = append(errs, drivers.FieldError{
			Field: field + ".max", Got: strconv.FormatFloat(ch.Max, 'g', -1, 64), Problem: "is not min, " + strconv.FormatFloat(ch.Min, 'g', -1, 64) + ", or more",
		})
	}
	if ch.Pause < 0 || ch.Pause > 24*time.Hour {
		errs = append(errs, outOfRange(field+".pause", ch.Pause.String(), "0s to 24h"))
	}
	if ch.Safe.Kind() == tidegate.KindNone {
		return errs
	}
	safe, err := ch.fit(ch.Safe)
	if err != nil {
		return append(errs, drivers.FieldError{Field: field + ".safe", Got: ch.Safe.String(), Problem: err.Error()})
	}
	if f, ok := safe.Number(); ok && hasRange && (f < ch.Min || f > ch.Max) {
		errs = append(errs, outOfRange(field+".safe", safe.String(), "min to max"))
	}
	return errs
}

func outOfRange(field, got, want string) drivers.FieldError {
	return drivers.FieldError{Field: field, Got: got, Problem: "is out of range", Hint: want}
}
