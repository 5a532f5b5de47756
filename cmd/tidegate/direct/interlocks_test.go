package direct

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
)

// TestSafeKeepsToInterlocks: what is on in its safe state waits until all are off that exclude it, on whatever device, or stays as it is.
func TestSafeKeepsToInterlocks(t *testing.T) {
	for name, tt := range map[string]struct {
		motor func(context.Context) error
		want  string
	}{
		"others go off": {nil, "motor.relay false <nil>, motor.pump false <nil>, brake.relay false <nil>, brake.pump true <nil>; after 800ms"},
		"one does not": {fails("no reply"), "motor.relay false no reply, motor.pump false no reply, brake.relay false <nil>, " +
			"brake.pump true cannot be sure that motor.relay is off, which excludes it; after 300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				motor, brake := device("motor", &act{set: tt.motor}, time.Second), device("brake", &act{}, time.Second)
				motor.Settings.(*act).close = func(context.Context) error { time.Sleep(300 * time.Millisecond); return nil }
				brake.Channels[3].Limits.Safe = tidegate.Bool(true)
				cfg := &config.Config{Devices: []config.Device{motor, brake}, Interlocks: []config.Interlock{
					{Output: "motor.relay", MinOn: time.Hour},
					{Exclusive: []string{"motor.relay", "brake.pump"}, Pause: 500 * time.Millisecond},
				}}
				began := time.Now()
				var got []string
				for _, r := range Safe(t.Context(), nil, cfg) {
					got = append(got, fmt.Sprintf("%s %v %v", r.Output, r.Value, r.Err))
				}
				if tt.motor != nil {
					began = began.Add(500 * time.Millisecond) // the pause is kept all the same
				}
				if text := fmt.Sprintf("%s; after %v", strings.Join(got, ", "), time.Since(began)); text != tt.want {
					t.Errorf("got\n%s, want\n%s", text, tt.want)
				}
				said := strings.Join(brake.Settings.(*act).said, " ")
				if want := "relay=false close pump=true close"; tt.motor == nil && said != want || tt.motor != nil && said != "relay=false close" {
					t.Errorf("brake was told %s, want %s", said, want)
				}
				for _, ch := range cfg.Devices[1].Channels {
					if ch.Name == "" {
						t.Error("the configuration was changed")
					}
				}
			})
		})
	}
}

func TestCheckSet(t *testing.T) {
	cfg := &config.Config{Interlocks: []config.Interlock{{Output: "valve.level", MaxRise: 5}, {Exclusive: []string{"a.relay", "b.relay"}}}}
	const refused = "the configuration has interlocks for it; start the gateway, which keeps to them"
	for name, tt := range map[string]struct {
		v    tidegate.Value
		want string
	}{
		"a.relay":     {tidegate.Bool(true), refused + "; without it the output can be set to false"},
		"b.relay":     {tidegate.Bool(false), "<nil>"},
		"valve.level": {tidegate.Float(0), refused},
		"fan.relay":   {tidegate.Bool(true), "<nil>"},
	} {
		if got := fmt.Sprint(CheckSet(cfg, name, tt.v)); got != tt.want {
			t.Errorf("%s to %v: got %s, want %s", name, tt.v, got, tt.want)
		}
	}
}
