package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers"
)

// newBoiler is a device with a pressure of 250 kPa, a badge, a valve in kPa and a relay that goes off when it is stopped.
func newBoiler() (*play, drivers.Driver) {
	p := newPlay()
	p.limits = drivers.Limits{Safe: tidegate.Bool(false)}
	valve, relay := tidegate.Float(0), tidegate.Bool(false)
	p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return []tidegate.Reading{
			{Channel: "n", Value: tidegate.Int(int64(n))},
			{Channel: "relay", Value: relay},
			{Channel: "pressure", Value: tidegate.Int(250), Unit: "kPa"},
			{Channel: "badge", Value: tidegate.Text("A4711")},
			{Channel: "valve", Value: valve, Unit: "kPa"},
		}, nil
	}
	p.set = func(_ context.Context, v tidegate.Value) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if v.Kind() == tidegate.KindBool {
			relay = v
		} else {
			valve = v
		}
		return nil
	}
	d := p.driver("boiler", time.Second)
	d.Channels = append(d.Channels, drivers.Channel{Name: "pressure", Kind: tidegate.KindInt, Unit: "kPa"}, drivers.Channel{Name: "badge", Kind: tidegate.KindText},
		drivers.Channel{Name: "valve", Kind: tidegate.KindFloat, Unit: "kPa", Output: true})
	return p, d
}

// boilerConfig has a rule whose condition keeps values of an hour, and one that sets an output. %s is what becomes of the readings before.
const boilerConfig = `
devices: [{name: b, driver: boiler}]
rules:
  %s
  - {name: mean, when: 'avg(b.pressure, 1h) > 100', do: [{alarm: {severity: info, text: mean}}]}
  - {name: newest, when: 'b.pressure > 100 and b.n > 0', do: [{alarm: {severity: info, text: newest}}]}
  - {name: card, when: 'b.badge == "%s"', do: [{alarm: {severity: info, text: card}}]}
  - {name: "on", when: b.n > 0, do: [{set: {channel: b.relay, value: true}}]}
` + oneUplink

// TestConvertByReload: from a reload on, all that rules see is in the new unit. What they kept in the old one is forgotten, outputs stay as they
// are, and what is written to outputs is what it always was.
func TestConvertByReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, d := newBoiler()
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b, d)
		g := x.start(fmt.Sprintf(boilerConfig, "", "A4711"))
		time.Sleep(10*time.Second + 500*time.Millisecond)
		next := fmt.Sprintf(boilerConfig, `- {name: units, do: [{convert: {channels: [b.pressure, b.valve], unit: bar}}, {redact: {channels: [b.relay, b.bad*]}}]}`, "redacted")
		if err := g.Reload(g.ctx, x.load(next)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		for name, want := range map[string]string{
			"valve": `{"channel":"b.valve","value":42,"read_back":42,"agrees":true}`,
			"relay": `{"channel":"b.relay","value":true,"read_back":"redacted","agrees":true}`,
		} {
			s, err := g.Drive(t.Context(), "b."+name, map[string]string{"valve": "42", "relay": "true"}[name])
			if got, bad := json.Marshal(s); err != nil || bad != nil || string(got) != want {
				t.Errorf("got %s, %v, %v, want %s", got, err, bad, want)
			}
		}
		time.Sleep(5 * time.Second)
		rule, err := g.Explain(t.Context(), "units")
		if got := strings.Join(rule.Does, "; "); err != nil || rule.State != "active" || got != `convert b.pressure, b.valve to bar; redact b.relay, b.bad*: "redacted" stands there` {
			t.Errorf("explained as %s, %s; %v", rule.State, got, err)
		}
		for _, v := range g.device("b").Values {
			if want := map[string]string{"pressure": "2.5bar", "valve": "0.42bar", "relay": "redacted", "badge": "redacted"}[v.Channel]; want != "" && v.Value+v.Unit != want {
				t.Errorf("status has %s as %s %s, want %s", v.Channel, v.Value, v.Unit, want)
			}
		}
		p.mu.Lock()
		sets := strings.Join(p.sets, ", ")
		p.mu.Unlock()
		if before, after, ok := strings.Cut(sets, "relay=true"); !ok || strings.Contains(after, "false") || strings.Contains(before, "valve") || !strings.HasSuffix(sets, "valve=42") && !strings.HasSuffix(sets, "relay=true") {
			t.Errorf("set were %s", sets)
		}
		g.end()
		f.check(t, 0)
		var seen []string
		for _, s := range f.records() {
			for _, r := range s.Record.Readings {
				if text := fmt.Sprintf("%s %v %s", r.Channel, r.Value, r.Unit); r.Channel == "pressure" && (len(seen) == 0 || seen[len(seen)-1] != text) {
					seen = append(seen, text)
				}
			}
		}
		if got := strings.Join(seen, ", "); got != "pressure 250 kPa, pressure 2.5 bar" {
			t.Errorf("arrived: %s", got)
		}
		for _, name := range []string{"mean", "newest"} {
			if got := fmt.Sprint(f.alarms(t, name)); got != "[raised cleared]" {
				t.Errorf("alarms of %s are %s", name, got)
			}
		}
	})
}

// TestReplayOfHashes: what is stored is hashed already, and neither the armed rules nor tried ones are given the hash of a hash.
func TestReplayOfHashes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, d := newBoiler()
		b := newBroker(t)
		newFar(t, b)
		x := newBed(t, b, d)
		key := filepath.Join(filepath.Dir(x.dir), "key")
		if err := os.WriteFile(key, []byte("0123456789abcdef"), 0o600); err != nil {
			t.Fatal(err)
		}
		// printf 'text\0A4711' | openssl dgst -sha256 -hmac 0123456789abcdef
		const hash = "78a2a623f2a67c4e9fc8c4c656437504"
		hide := "- {name: hide, do: [{hash: {channels: [b.badge], key_file: " + key + "}}, {convert: {channels: [b.pressure], unit: bar}}]}"
		g := x.start(fmt.Sprintf(boilerConfig, hide, hash))
		time.Sleep(10 * time.Second)
		for name, rules := range map[string]string{
			"the armed":         "",
			"without":           "rules: [{name: card, when: 'b.badge == \"" + hash + "\" and b.pressure < 3', do: [{alarm: {severity: info, text: card}}]}]\n",
			"with another hash": "rules: [" + strings.TrimPrefix(strings.Replace(hide, key, "/nowhere", 1), "- ") + ", {name: card, when: 'b.badge == \"" + hash + "\"', do: [{alarm: {severity: info, text: card}}]}]\n",
		} {
			r, err := g.Replay(t.Context(), status.Trial{Rules: rules, Name: "t.yaml"})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, rule := range r.Rules {
				if rule.Name == "card" {
					found = rule.Would == 1 && rule.Armed == 1
				}
			}
			if !found {
				t.Errorf("%s: got %+v", name, r.Rules)
			}
		}
		g.end()
	})
}
