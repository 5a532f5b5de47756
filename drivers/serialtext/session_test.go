package serialtext

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest/session"
)

var update = flag.Bool("update", false, "write what the sessions give instead of comparing it")

// TestSessions replays what was recorded on ports, with the pauses that there were, and compares all Reads and their times.
func TestSessions(t *testing.T) {
	const dir = "../../testdata/sessions/serialtext"
	for name, set := range map[string]func(*Config){
		"boiler": func(c *Config) { c.Ignore = `^(\*\*\*|self test)` },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := session.File(filepath.Join(dir, name+".session"))
				if err != nil {
					t.Fatal(err)
				}
				c := newConfig()
				c.Port, c.Line = "/dev/ttyX", `^T=(?<temp>\S+) N=(?<n>[0-9]+)$`
				c.Groups = map[string]Group{"temp": {Type: typeNumber, Unit: "Cel"}}
				set(c)
				d, err := c.Open(t.Context(), r.Host)
				if err != nil {
					t.Fatal(err)
				}
				got := readAll(t, d)
				if err := errors.Join(d.Close(), r.Close()); err != nil {
					t.Error(err)
				}
				compare(t, filepath.Join(dir, name+".want"), got)
			})
		})
	}
}

// readAll reads d until its port is gone and returns what it gave, a Read a line.
func readAll(t *testing.T, d drivers.Device) []byte {
	t.Helper()
	var got bytes.Buffer
	for start := time.Now(); ; {
		readings, err := d.Read(t.Context())
		var out []string
		for i := range readings {
			out = append(out, show(readings[i:i+1], "", false))
		}
		if err != nil {
			out = append(out, "error: "+err.Error())
		}
		fmt.Fprintf(&got, "%.3f %s\n", time.Since(start).Seconds(), strings.Join(out, " | "))
		switch {
		case errors.Is(err, drivers.ErrGone):
			return got.Bytes()
		case err != nil:
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s:%d: got %q, want %q", path, i+1, g[min(i, len(g)):], w[min(i, len(w)):])
		}
	}
}
