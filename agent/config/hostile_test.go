package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHostileFiles measures what files that were made to hurt cost: at most a second and 32 MB more of resident memory. One that keeps
// all limits and is read to its end may take 48 MB: honest files of that size do.
func TestHostileFiles(t *testing.T) {
	line := func(n int, s string) string { return strings.Repeat(s, n) }
	bomb, err := os.ReadFile(filepath.Join(casesDir, "yaml_alias_bomb_in_shape", "tidegate.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	layers := "gateway:\n  labels:\n    a0: &a0 [x]\n"
	for i := range 30 {
		layers += fmt.Sprintf("    a%d: &a%d [*a%d, *a%d, *a%d]\n", i+1, i+1, i, i, i)
	}
	for name, text := range map[string]string{
		"alias bomb in shape": string(bomb),
		"alias bomb":          layers,
		"50 MB":               line(50<<20/10, "# x x x x\n"),
		"much text":           "gateway: {id: \"" + line(512<<10-100, "x") + "\"}\n",
		"many words":          "gateway:\n  id: " + line(256<<10-100, "x ") + "\n",
		"brackets":            "devices: " + line(29_000, "["),
		"closed brackets":     "devices: " + line(14_500, "[") + line(14_500, "]"),
		"braces":              "devices: " + line(29_000, "{"),
		"dashes":              line(29_000, "- ") + "a",
		"indentation": func() (s string) {
			for i := range 900 {
				s += line(i, " ") + "a:\n"
			}
			return s
		}(),
		"keys":            "gateway:\n" + line(14_000, "  id: gw\n"),
		"keys below keys": line(48, "gateway:\n"+line(290, "  id: gw\n")),
		"documents":       line(9_000, "---\n"),
		"anchors":         "devices: [" + line(5_900, "&a b,") + "]",
		"aliases":         "devices: [&a b," + line(5_900, "*a,") + "]",
		"entries":         "devices:\n" + line(14_000, "- x\n"),
		"comments":        line(29_000, "# x\n"),
		"empty lines":     line(29_000, "\n"),
		"literals":        "devices:\n" + line(9_000, "- |\n  x\n"),
		"quotes":          line(14_000, "'a' "),
		"unknown keys": func() (s string) {
			for i := range 290 {
				s += fmt.Sprint("key", i, ": 1\n")
			}
			return s
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tidegate.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			debug.FreeOSMemory()
			resident(t) // which starts the measurement
			before := resident(t)
			start, cpu := time.Now(), processorTime(t)
			cfg, faults, err := Load(path, testDrivers())
			took, used := time.Since(start), processorTime(t)-cpu
			more := resident(t) - before
			if err == nil || cfg != nil || len(faults) == 0 || len(faults) > 101 {
				t.Errorf("accepted, or %d faults", len(faults))
			}
			t.Logf("%v, %v of a processor, %d kB more", took, used, more>>10)
			limit := int64(32 << 20)
			if name == "keys below keys" {
				limit = 48 << 20
			}
			if used > slowness*time.Second || more > slowness*limit {
				t.Errorf("took %v of a processor and %d kB, at most 1s and %d kB are allowed", used, more>>10, limit>>10)
			}
		})
	}
}

var reHighWater = regexp.MustCompile(`VmHWM:\s+([0-9]+) kB`)

// resident returns the most resident memory since the last call, in bytes (proc(5), clear_refs and VmHWM).
func resident(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	kB, err := strconv.ParseInt(reHighWater.FindStringSubmatch(string(status))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kB << 10
}

// processorTime returns the processor time that this process has used so far; others on the machine do not count.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
