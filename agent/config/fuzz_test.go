package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzParse: whatever the text, loading ends with a configuration whose rules can be made, or with an error and its faults.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(casesDir, "*", "tidegate.yaml"))
	if err != nil || len(files) == 0 {
		f.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(text) < 4096 {
			f.Add(text)
		}
	}
	m := machine{drivers: testDrivers(), hostname: "bench", now: time.Unix(1_780_000_000, 0)}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, faults, err := parse("fuzz.yaml", text, m)
		if (cfg == nil) != (err != nil) || err != nil && len(faults) == 0 {
			t.Fatalf("config %v, faults %v, error %v", cfg, faults, err)
		}
		if cfg == nil {
			return
		}
		if _, err := cfg.RuleSet(0); err != nil {
			t.Fatalf("accepted, but: %v", err)
		}
		again, _, err := parse("fuzz.yaml", text, m)
		if err != nil {
			t.Fatalf("accepted once only: %v", err)
		}
		if ch, restart := Diff(cfg, again); !ch.None() || len(restart) > 0 {
			t.Fatalf("not the same as itself: %+v %v", ch, restart)
		}
	})
}
