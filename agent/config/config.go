// Package config is the whole configuration of a gateway: one YAML file, read strictly, with all that is wrong said at once.
// README.md beside this file has the rules of the file for users.
package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// A Fault says what is wrong with a file, where, and what to do about it: `file:line:col: key: what is wrong (got X); hint`.
type Fault = strict.Fault

// Config is the configuration of one gateway. The tags are the file's documentation: package describe makes the sample file and the
// JSON Schema of them; package strict says what they mean.
type Config struct {
	Gateway  Gateway  `yaml:"gateway" doc:"who this gateway is"`
	StateDir string   `yaml:"state_dir" check:"filled" doc:"directory for the buffer and all else that must survive a power cut"`
	Listen   string   `yaml:"listen" doc:"host:port of the local page, API, /metrics and /healthz; empty = only the unix socket in state_dir"`
	Devices  []Device `yaml:"devices" doc:"what is read"`
	Rules    []Rule   `yaml:"rules" doc:"what the gateway decides by itself, with or without the far side"`
	// Interlocks hold whoever asks: rules, people, reloads.
	Interlocks []Interlock `yaml:"interlocks" doc:"what outputs keep to, whatever rule or command asks; rows are of one output, or of several of which one may be on"`
	Buffer     Buffer      `yaml:"buffer" doc:"the queue on disk"`
	Uplink     *Uplink     `yaml:"uplink" doc:"where readings go"` // nil after Load: it is the only one of Uplinks
	Uplinks    []Uplink    `yaml:"uplinks" doc:"instead of uplink: several, each with a name, a cursor and an account of its own"`
	Update     Update      `yaml:"update" doc:"where releases of the gateway itself come from, and when they are started"`
	given      *Config     // the rules are only tried on what a gateway with that configuration has stored; nil = they are its own
}

// Gateway says who a gateway is.
type Gateway struct {
	ID     string            `yaml:"id" doc:"name in topics and payloads; not set = the certificate's common name, else the machine's name"`
	Labels map[string]string `yaml:"labels" doc:"texts that go with the status, for instance {site: lab, owner: acme}"`
}

// Device is one device that is read.
type Device struct {
	Name   string        `yaml:"name" check:"required" doc:"name of the device, of A-Z a-z 0-9 . _ -, at most 64"`
	Driver string        `yaml:"driver" check:"required" doc:"what kind of device it is; tidegate drivers lists them"`
	Every  time.Duration `yaml:"every" check:"min=1ms max=168h" doc:"interval between reads, 1ms to 168h; not set = the driver's usual one"`
	// Settings are the driver's own keys, which stand beside these.
	Settings drivers.Config `yaml:"-"`
	// Channels are what it reports, as far as driver and settings say; set where there are no faults.
	Channels []drivers.Channel `yaml:"-"`
}

// Rule is one rule; package rules says what it means.
type Rule struct {
	Name  string        `yaml:"name" check:"required" doc:"name of the rule, of A-Z a-z 0-9 . _ -, at most 64; alarms carry it"`
	When  string        `yaml:"when" doc:"condition, for instance meter1.temp > 80; not needed where it only derives, drops, thins out or holds back"`
	For   time.Duration `yaml:"for" check:"max=168h" doc:"how long the condition must hold, 0s to 168h"`
	Clear string        `yaml:"clear" doc:"condition that ends it; not set = when the first one no longer holds"`
	Do    []Do          `yaml:"do" check:"required" doc:"what follows: at most one alarm, any number of the rest"`
}

// Do is one thing that follows from a rule: one of its fields is set.
type Do struct {
	Alarm    *Alarm    `yaml:"alarm" check:"alone" doc:"raises an alarm, cleared when the rule ends"`
	Set      *Set      `yaml:"set" check:"alone" doc:"sets an output"`
	Interval *Interval `yaml:"interval" check:"alone" doc:"reads a device at another interval, while the rule is active"`
	Derive   *Derive   `yaml:"derive" check:"alone" doc:"works out a channel from others while the rule is active; always, where it has no when"`
	Drop     *Drop     `yaml:"drop" check:"alone" doc:"readings that go no further, while the rule is active; rules judge them before"`
	Thin     *Thin     `yaml:"thin" check:"alone" doc:"one reading of each channel stands for those of a time, while the rule is active"`
	Deadband *Deadband `yaml:"deadband" check:"alone" doc:"readings go on when they are new, while the rule is active"`
	Snapshot *Snapshot `yaml:"snapshot" check:"alone" doc:"what drop, thin and deadband take around the time at which the rule becomes active goes on after all"`
	Label    *Label    `yaml:"label" check:"alone" doc:"labels that readings carry to the far side, while the rule is active"`
	Redact   *Redact   `yaml:"redact" check:"alone" doc:"a text in the place of values, before anything sees them; in a rule without when"`
	Hash     *Hash     `yaml:"hash" check:"alone" doc:"a keyed hash in the place of values, before anything sees them; in a rule without when"`
	Convert  *Convert  `yaml:"convert" check:"alone" doc:"numbers in another unit, before anything sees them; in a rule without when"`
	Route    *Route    `yaml:"route" check:"alone" doc:"readings go to one uplink, or stay on the gateway, while the rule is active; rules judge them before"`
}

// Alarm is the alarm of a rule.
type Alarm struct {
	Severity string `yaml:"severity" check:"required enum=info|warning|error" doc:"info, warning or error"`
	Text     string `yaml:"text" check:"required" doc:"what people read"`
}

// Set sets an output.
type Set struct {
	Channel string         `yaml:"channel" check:"required" doc:"device.channel of the output"`
	Value   tidegate.Value `yaml:"value" check:"required" doc:"its value while the rule is active"`
	OnClear tidegate.Value `yaml:"on_clear" doc:"its value when the rule ends; not set = it stays"`
	// Priority is nil where the rule is the only one that sets the output.
	Priority *int `yaml:"priority" check:"min=0 max=100" doc:"0 to 100, where several rules set one output: of those that are active the highest counts"`
}

// Interlock is one row of what outputs keep to: of Output, or of those in Exclusive.
type Interlock struct {
	Output    string        `yaml:"output" doc:"device.channel of the output that the next four are of"`
	MinOn     time.Duration `yaml:"min_on" check:"max=168h" doc:"once on it stays on for at least so long, 0s to 168h"`
	MinOff    time.Duration `yaml:"min_off" check:"max=168h" doc:"once off it stays off for at least so long, 0s to 168h"`
	MaxRise   float64       `yaml:"max_rise" doc:"a number rises by at most so much a second, in steps; 0 = as it likes"`
	MaxFall   float64       `yaml:"max_fall" doc:"a number falls by at most so much a second, in steps; 0 = as it likes"`
	Exclusive []string      `yaml:"exclusive" check:"alone" doc:"device.channel of outputs of which at most one is on, in a row without output"`
	Pause     time.Duration `yaml:"pause" check:"max=1h" doc:"of exclusive: for how long the others must have been off before one goes on, 0s to 1h"`
}

// Buffer is the queue on disk.
type Buffer struct {
	MaxBytes Size          `yaml:"max_bytes" check:"min=64MB" doc:"how large it may get, 64MB or more; then something goes, as classes says, and is declared"`
	MaxShare int           `yaml:"max_share" check:"min=1 max=100" doc:"percent of the file system that it may get at most, 1 to 100"`
	MaxAge   Span          `yaml:"max_age" doc:"what is older goes, delivered or not, and is declared; time counts while the machine runs, whatever its clock says; 0 = never"`
	Sync     time.Duration `yaml:"sync" check:"max=5s" doc:"longest time a reading may wait for the disk, 0s (every commit at once) to 5s"`
	Key      string        `yaml:"key" doc:"what readings are sealed with on disk: file with 32 random bytes, not readable by others, or credential:NAME of systemd; not set = they lie there in the clear"`
	OldKeys  []string      `yaml:"old_keys" doc:"keys that still open what was sealed with them, until nothing of that is left (tidegate queue status)"`
	Keep     Span          `yaml:"keep" doc:"how long delivered readings are kept while there is space, for replay and plots; time counts as for max_age"`
	Classes  Classes       `yaml:"classes" doc:"how it is shared out among alarms, the gateway's own words, readings and what stays on the gateway"`
	// WrittenPerDay is 0 where it is not set.
	WrittenPerDay Size `yaml:"written_per_day" check:"min=256MB" doc:"how much a day may be written to the card, 256MB or more; beyond it commits are up to 5 s apart, then readings are thinned, at last dropped and declared, alarms never; not set = as much as there is"`
}

// Uplink is one far side.
type Uplink struct {
	Name         string   `yaml:"name" doc:"name of the uplink, not set = uplink; of A-Z a-z 0-9 . _ -, at most 64"`
	URL          string   `yaml:"url" doc:"broker: mqtt://host:1883, mqtts://host:8883, ws://host/path or wss://host/path"`
	URLs         []string `yaml:"urls" doc:"instead of url: several ways to one far side, tried in order"`
	CA           string   `yaml:"ca" doc:"file with the certificates (PEM) that the broker's must come from; not set = the machine's"`
	Cert         string   `yaml:"cert" doc:"file with the gateway's certificate (PEM)"`
	Key          string   `yaml:"key" doc:"file with its private key (PEM), not readable by others"`
	Username     string   `yaml:"username" doc:"user name, where the broker wants one"`
	PasswordFile string   `yaml:"password_file" doc:"file with the password, not readable by others"`
	Profile      string   `yaml:"profile" doc:"topics, payload and limits of the far side"`
	Confirm      string   `yaml:"confirm" check:"enum=puback|receipt" doc:"what counts as delivered: puback (the broker has it) or receipt (the receiver has stored it)"`
	Batch        Batch    `yaml:"batch" doc:"how readings are put together"`
	Compress     string   `yaml:"compress" check:"enum=gzip|none" doc:"gzip or none"`
}

// Batch says how readings are put together: a batch goes when it is full or old enough.
type Batch struct {
	Readings int           `yaml:"readings" check:"min=1 max=20000" doc:"readings in one batch at most, 1 to 20000"`
	Every    time.Duration `yaml:"every" check:"min=10ms max=1h" doc:"longest time a reading may wait for others, 10ms to 1h"`
}

// Update says where releases of the gateway itself come from. Without Root there are none: what is not trusted is never taken.
type Update struct {
	Root      string        `yaml:"root" doc:"file with the root.json that releases are trusted by; not set = no updates"`
	From      []string      `yaml:"from" doc:"places of releases, tried in order: https://host/path of any static server, or a directory"`
	CA        string        `yaml:"ca" doc:"file with the certificates (PEM) that the servers' must come from; not set = the machine's"`
	Every     time.Duration `yaml:"every" check:"min=10s max=168h" doc:"interval between looks for a release, 10s to 168h"`
	Automatic bool          `yaml:"automatic" doc:"true = a release is started when it is there; false = tidegate update apply starts it"`
	Window    DayWindow     `yaml:"window" doc:"time of day in which a release may be started by itself, for instance 02:00-05:00; not set = any"`
	Rate      Size          `yaml:"rate" doc:"bytes a second that a download may take, for instance 64kB; 0B = as many as there are"`
	Trial     time.Duration `yaml:"trial" check:"min=10s max=1h" doc:"how long a new release has to show that it works before the old one runs again, 10s to 1h"`
	Settle    time.Duration `yaml:"settle" check:"min=5s max=1h" doc:"how long it must have run before it is kept, 5s to 1h, less than trial"`
	Hardware  []string      `yaml:"hardware" doc:"names that this hardware goes by in releases; not set = those of the device tree"`
	Tenant    string        `yaml:"tenant" doc:"whose gateway it is, for releases of one tenant"`
}

// Preset sets the defaults.
func (u *Uplink) Preset() {
	*u = Uplink{Profile: "generic", Confirm: "puback", Batch: Batch{Readings: 200, Every: time.Second}, Compress: "gzip"}
}

// Default returns the configuration of an empty file.
func Default() *Config {
	return &Config{StateDir: "/var/lib/tidegate", Buffer: Buffer{MaxBytes: 512_000_000, MaxShare: 100, Classes: defaultClasses(), Sync: time.Second, Keep: Span(7 * 24 * time.Hour)}, Update: Update{Every: time.Hour, Trial: 8 * time.Minute, Settle: 2 * time.Minute}}
}

// All returns the ways to the far side, URL or URLs.
func (u *Uplink) All() []string {
	if u.URL != "" {
		return []string{u.URL}
	}
	return u.URLs
}

// RuleSet returns the rules of a loaded configuration as package rules takes them, in the machine's time zone; start is the boot time from which on they look. Errors
// are those of package rules; Load has found them before.
func (c *Config) RuleSet(start time.Duration) (*rules.Set, error) {
	list, err := c.RuleList()
	if err != nil {
		return nil, err
	}
	set, err := rules.New(list, start)
	if err != nil {
		return nil, err
	}
	return set.In(time.Local), nil
}

// RuleList returns the rules of a loaded configuration, for rules.New.
func (c *Config) RuleList() ([]rules.Rule, error) {
	schema := c.schema(c.channels(), nil)
	derived := c.derived(schema)
	list := make([]rules.Rule, 0, len(c.Rules))
	for _, r := range c.Rules {
		rule := rules.Rule{Name: r.Name, For: r.For}
		var faults []*lang.Fault
		if r.When != "" {
			if rule.When, faults = lang.Compile(r.When, lang.Condition, schema); len(faults) > 0 {
				return nil, fmt.Errorf("rule %q: when: %w", r.Name, faults[0])
			}
		}
		if r.Clear != "" {
			if rule.Clear, faults = lang.Compile(r.Clear, lang.Condition, schema); len(faults) > 0 {
				return nil, fmt.Errorf("rule %q: clear: %w", r.Name, faults[0])
			}
		}
		for _, do := range r.Do {
			if s, ok := do.intake(); ok {
				rule.Intake = append(rule.Intake, s.String())
			}
			rule.Routes = do.routes(rule.Routes)
			if do.Label != nil {
				rule.Labels = append(rule.Labels, rules.Label{Channels: do.Label.Channels, Labels: do.Label.Labels})
			}
			if f, ok := do.filter(); ok {
				f.Intake = intakeMark(&f, schema)
				rule.Filters = append(rule.Filters, f)
			}
			if do.Snapshot != nil {
				rule.Snapshots = append(rule.Snapshots, do.Snapshot.running())
			}
			if do.Alarm != nil {
				rule.Severity, rule.Text = rules.Severity(do.Alarm.Severity), do.Alarm.Text
			}
			if x := do.Interval; x != nil {
				rule.Intervals = append(rule.Intervals, rules.Interval{Device: x.Device, Every: x.Every})
			}
			if do.Set != nil {
				device, channel := c.cut(do.Set.Channel)
				rule.Outputs = append(rule.Outputs, rules.Output{Device: device, Channel: channel, Value: do.Set.Value, OnClear: do.Set.OnClear})
				if p := do.Set.Priority; p != nil {
					rule.Outputs[len(rule.Outputs)-1].Priority = *p
				}
			}
		}
		list = append(list, rule)
	}
	for _, e := range derived {
		if len(e.faults) > 0 {
			return nil, fmt.Errorf("rule %q: derive %s: %w", list[e.rule].Name, e.of.Channel, e.faults[0])
		}
		list[e.rule].Derives = append(list[e.rule].Derives, e.derive())
	}
	return list, nil
}

// reported returns what is known of the channels that devices report: those that the drivers list, and any channel of a device of which not all are
// known.
func (c *Config) reported(channels map[string][]drivers.Channel, partly map[string]bool) lang.Schema {
	s := lang.Schema{Channels: map[string]lang.Channel{}, Open: func(name string) bool {
		device, _ := c.cut(name)
		list, ok := channels[device]
		return ok && len(list) == 0 || partly[device]
	}}
	bounds := c.Intervals()
	for i := range c.Devices {
		d := &c.Devices[i]
		for _, ch := range channels[d.Name] {
			name := d.Name + "." + ch.Name
			s.Channels[name] = lang.Channel{Name: name, Kind: ch.Kind, Unit: ch.Unit, Every: d.Every, Slowest: bounds[d.Name].Longest}
		}
	}
	return s
}

// cut cuts "device.channel" at the dot that leaves the name of a device, as both may contain dots; at the first where none does.
func (c *Config) cut(name string) (device, channel string) {
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		for _, d := range c.Devices {
			if d.Name == name[:i] {
				return name[:i], name[i+1:]
			}
		}
	}
	device, channel, _ = strings.Cut(name, ".")
	return device, channel
}

// Size is a number of bytes, written with a unit: 512MB (decimal), 64MiB (binary).
type Size int64

// sizeUnits are the units of Size, greatest first.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// UnmarshalText reads a size; its errors end in a hint.
func (s *Size) UnmarshalText(text []byte) error {
	const hint = "write a whole number and its unit, for instance 512MB (decimal) or 512MiB (binary)"
	str := string(text)
	end := 0
	for end < len(str) && str[end] >= '0' && str[end] <= '9' {
		end++
	}
	digits, unit := str[:end], str[end:]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || strings.HasPrefix(unit, ".") {
		return fmt.Errorf("a size is wanted; %s", hint)
	}
	if unit == "" {
		return fmt.Errorf("unit of size is missing; write %q or %q", digits+"MB", digits+"B")
	}
	for _, u := range sizeUnits {
		if unit == u.name {
			if n > (1<<62)/u.bytes {
				return fmt.Errorf("size is too large; %s", hint)
			}
			*s = Size(n * u.bytes)
			return nil
		}
	}
	for _, u := range sizeUnits {
		short := strings.TrimSuffix(u.name, "B")
		if got := strings.TrimSpace(unit); strings.EqualFold(got, u.name) || strings.EqualFold(got, short) {
			return fmt.Errorf("unknown unit of size; write %q", digits+u.name)
		}
	}
	return fmt.Errorf("unknown unit of size; %s", hint)
}

// Pattern returns the regular expression of sizes.
func (s Size) Pattern() string { return "^[0-9]+(B|kB|KiB|MB|MiB|GB|GiB|TB|TiB)$" }

// String returns s in the greatest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if n := int64(s); n != 0 && n%u.bytes == 0 && (n < 1000*u.bytes || u.bytes >= 1e12) {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Span is a duration that may be written in days (d) and weeks (w) too.
type Span time.Duration

// UnmarshalText reads a span; its errors end in a hint.
func (s *Span) UnmarshalText(text []byte) error {
	const hint = `write a number and its unit, for instance "12h", "7d" or "4w"`
	str := string(text)
	if n := len(str) - 1; n > 0 && (str[n] == 'd' || str[n] == 'w') {
		days, err := strconv.ParseFloat(str[:n], 64)
		if str[n] == 'w' {
			days *= 7
		}
		if err != nil || !(days >= 0 && days <= 36_500) {
			return fmt.Errorf("a duration of at most 100 years is wanted; %s", hint)
		}
		*s = Span(days * 24 * float64(time.Hour))
		return nil
	}
	if _, err := strconv.ParseFloat(str, 64); err == nil && str != "0" {
		return fmt.Errorf("unit of time is missing; write %q", str+"d")
	}
	d, err := time.ParseDuration(str)
	if err != nil || d < 0 {
		return fmt.Errorf("a duration is wanted; %s", hint)
	}
	*s = Span(d)
	return nil
}

// Pattern returns the regular expression of spans.
func (s Span) Pattern() string {
	return `^(0|[0-9]+(\.[0-9]+)?[dw]|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
}

// String returns s in days where it is whole days.
func (s Span) String() string {
	const day = Span(24 * time.Hour)
	if s != 0 && s%day == 0 {
		return strconv.FormatInt(int64(s/day), 10) + "d"
	}
	return time.Duration(s).String()
}
