package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const twoMeters = `
devices:
  - {name: a, driver: meter, address: "192.0.2.7:502", registers: [{channel: temp}, {channel: relay, kind: bool, output: true}]}
  - {name: a.b, driver: meter, address: "192.0.2.7:502", registers: [{channel: level, output: true}]}
  - {name: t, driver: talker}
`

func TestOutput(t *testing.T) {
	cfg, faults, err := Parse("t.yaml", []byte("gateway: {id: gw}\n"+twoMeters), testDrivers())
	if err != nil {
		t.Fatal(faults)
	}
	if got := strings.Join(cfg.Outputs(), " "); got != "a.relay a.b.level" {
		t.Errorf("outputs are %s", got)
	}
	for name, want := range map[string]string{
		"a.relay":   "a relay",
		"a.b.level": "a.b level",
		"a.temp":    "a.temp is no output; outputs are a.relay, a.b.level",
		"a.rely":    `a.rely: no device has such an output; did you mean "a.relay"?`,
		"fan.relay": `fan.relay: no device has such an output; did you mean "a.relay"?`,
		"boiler":    "boiler: no device has such an output; outputs are a.relay, a.b.level",
		"t.x":       "t.x: no device has such an output; outputs are a.relay, a.b.level",
		"":          `"": no device has such an output; outputs are a.relay, a.b.level`,
	} {
		d, ch, err := cfg.Output(name)
		got := fmt.Sprint(err)
		if err == nil {
			got = d.Name + " " + ch.Name
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
	none := &Config{}
	if _, _, err := none.Output("a.b"); fmt.Sprint(err) != "a.b: no device has such an output; no device of the configuration has one" {
		t.Errorf("got %v", err)
	}
}

// TestLoadSound finds the devices that have no faults, whatever else is wrong with the file.
func TestLoadSound(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want string
	}{
		"all good":           {twoMeters, "a a.b t: 0"},
		"a rule is wrong":    {twoMeters + "rules: [{name: r, when: a.temp >, do: [{set: {channel: a.x, value: 1}}]}]\n", "a a.b t: 2"},
		"an unknown key":     {twoMeters + "buffers: {}\n", "a a.b t: 1"},
		"an unknown setting": {strings.Replace(twoMeters, "driver: talker", "driver: talker, prot: x", 1), "a a.b: 1"},
		"a wrong setting":    {strings.Replace(twoMeters, "registers: [{channel: level", "registers: [{address: 70000, channel: level", 1), "a t: 1"},
		"no such driver":     {strings.Replace(twoMeters, "driver: talker", "driver: tlaker", 1), "a a.b: 1"},
		"not YAML":           {twoMeters + "rules: [\n", "refused"},
		"empty":              {"", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "t.yaml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, faults, err := LoadSound(path, testDrivers())
			got := "refused"
			if err == nil {
				var names []string
				for _, d := range cfg.Devices {
					names = append(names, d.Name)
				}
				n := 0
				for _, f := range faults {
					if !f.Warning {
						n++
					}
				}
				got = fmt.Sprintf("%s: %d", strings.Join(names, " "), n)
				if cfg.StateDir == "" {
					t.Error("no state directory")
				}
			} else if !errors.Is(err, ErrRefused) || cfg != nil || len(faults) == 0 {
				t.Errorf("%v, %v, %v", cfg, faults, err)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s; %v", got, tt.want, faults)
			}
		})
	}
	if _, _, err := LoadSound("/does/not/exist", testDrivers()); !errors.Is(err, ErrRefused) {
		t.Errorf("no file: %v", err)
	}
}
