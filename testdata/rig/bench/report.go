package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A figure is one line of the report.
type figure struct {
	name  string
	unit  string
	of    func(result) float64
	reach string // what is to be reached
	ratio bool   // a ratio says something
}

// figures are the lines of the report, in its order.
var figures = []figure{
	{"readings delivered", "of those answered", func(r result) float64 { return 100 * r.Delivered }, ">= 99.9 %", false},
	{"readings delivered", "per second", func(r result) float64 { return r.PerSecond }, "", false},
	{"CPU", "s per million readings", func(r result) float64 { return r.CPU }, "ratio <= 0.7", true},
	{"memory, most of RssAnon + RssShmem, steady and outage", "MB", func(r result) float64 { return r.Memory }, "ratio <= 1.0", true},
	{"- of it before the outage", "MB", func(r result) float64 { return r.Steady }, "", true},
	{"VmHWM", "MB", func(r result) float64 { return r.HWM }, "", true},
	{"written to the device, journal included", "bytes per reading", func(r result) float64 { return r.Disk }, "ratio <= 0.1", true},
	{"written by the process (write_bytes)", "bytes per reading", func(r result) float64 { return r.Written }, "", true},
	{"sync calls", "per second", func(r result) float64 { return r.Syncs }, "<= 3", true},
	{"flushes of the device", "per second", func(r result) float64 { return r.Flushes }, "", true},
	{"wire, to the broker", "bytes per reading", func(r result) float64 { return r.Up }, "ratio <= 0.5", true},
	{"wire, from the broker", "bytes per reading", func(r result) float64 { return r.Down }, "", true},
	{"read to broker, p50", "s", func(r result) float64 { return r.P50 }, "", true},
	{"read to broker, p99", "s", func(r result) float64 { return r.P99 }, "<= 0.5 s", true},
	{"catching up after the outage", "readings per second", func(r result) float64 { return r.Catch }, "ratio >= 2", true},
	{"- first arrival after the broker's return", "s", func(r result) float64 { return r.Wait }, "", true},
	{"- backlog delivered after the broker's return", "s", func(r result) float64 { return r.Caught }, "", true},
	{"- of the backlog not delivered before the next outage", "readings", func(r result) float64 { return float64(r.Behind) }, "0", false},
	{"lost by kill -9 in mid-outage, without those in flight", "readings", func(r result) float64 { return float64(r.LostKill) }, "0", false},
	{"lost otherwise", "readings", func(r result) float64 { return float64(r.LostElse) }, "0", false},
	{"delivered again", "readings", func(r result) float64 { return float64(r.Duplicates) }, "", false},
	{"wrong, incomplete or unreadable", "", func(r result) float64 { return float64(r.Wrong) }, "0", false},
}

// span returns the median of the runs, and the lowest and highest.
func span[R any](rs []R, of func(R) float64) (median, low, high float64) {
	if len(rs) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	var v []float64
	for _, r := range rs {
		v = append(v, of(r))
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		median = (v[n/2-1] + v[n/2]) / 2
	} else {
		median = v[n/2]
	}
	return median, v[0], v[len(v)-1]
}

// number writes x with three digits that count.
func number(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "-"
	case a >= 100 || x == math.Trunc(x):
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

// cellOf returns the median of the runs, and the lowest and highest where they differ.
func cellOf[R any](rs []R, of func(R) float64) string {
	m, low, high := span(rs, of)
	if low == high || len(rs) < 2 {
		return number(m)
	}
	return fmt.Sprintf("%s (%s to %s)", number(m), number(low), number(high))
}

// table returns the comparison as Markdown. There are no ratios unless both sides delivered 99.9 % of what was answered in every run.
func table(results map[string][]result) string {
	a, b := results["telegraf"], results["tidegate"]
	_, lowA, _ := span(a, figures[0].of)
	_, lowB, _ := span(b, figures[0].of)
	fair := lowA >= 99.9 && lowB >= 99.9
	var s strings.Builder
	s.WriteString("| figure | unit | Telegraf | tidegate | ratio | to reach |\n|---|---|---:|---:|---:|---|\n")
	for _, f := range figures {
		ratio := ""
		if f.ratio {
			x, _, _ := span(a, f.of)
			y, _, _ := span(b, f.of)
			if ratio = "-"; fair && x != 0 {
				ratio = number(y / x)
			}
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s |\n", f.name, f.unit, cellOf(a, f.of), cellOf(b, f.of), ratio, f.reach)
	}
	if !fair {
		s.WriteString("\nNo ratios: at least one side delivered less than 99.9 % of what the slave answered, or did not run.\n")
	}
	return s.String()
}

// origin says when, where and of what figures are.
func origin(ctx context.Context, root string, p plan) (string, error) {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...)
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return "", fmt.Errorf("name the commit: %w", err)
	}
	dirty, err := git("status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return "", fmt.Errorf("name the commit: %w", err)
	}
	if dirty != "" {
		commit += ", with changes that are not committed"
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	kernel, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-") // what follows names a distribution or a machine
	return fmt.Sprintf("%s, commit %s, %s, Linux %s, %d processors, seed %d.",
		time.Now().UTC().Format(time.DateOnly), commit, runtime.Version(), kernel, runtime.NumCPU(), p.seed), nil
}

// isPart reports whether the value of -only is a part of the report.
func isPart(only string) bool { return only == onlyIdle || only == onlyRules || only == onlyBuffer }

// withPart returns the report text with part in place of what it has under the same heading, or else at its end.
func withPart(text, part string) string {
	heading, _, _ := strings.Cut(part[1:], "\n")
	before, old, ok := strings.Cut(text, "\n"+heading+"\n")
	if !ok {
		return text + part
	}
	if i := strings.Index(old, "\n## "); i >= 0 {
		part += old[i:]
	}
	return before + part
}

// report returns BENCHMARKS.md but for its parts.
func report(ctx context.Context, root string, p plan, results map[string][]result) (string, error) {
	from, err := origin(ctx, root, p)
	if err != nil {
		return "", err
	}
	sample := places{bus: "127.0.0.1:5020", broker: "127.0.0.1:1883", state: "/state"}
	var s strings.Builder
	fmt.Fprintf(&s, "# Benchmarks\n\nWritten by `make bench`; do not edit. %s\n\n", from)
	fmt.Fprintf(&s, `The work, the same for both: %d Modbus TCP units of %d uint32 registers at 10 Hz = %d readings a second, buffered on disk and
published at QoS 1 to mosquitto. In each unit one register is a running number, one the time of the answer, %d are slow counters, %d slow
waveforms and one is random. The slave, a process of its own, counts what it answers; a subscriber keeps what arrives, and every value is
compared with the slave's. State lies on an ext4 image of its own on a loop device; tidegate's rings on tmpfs count as its memory.

Each run: %v warm-up, %v measured, %v without broker, catching up, a second outage with kill -9 after %v, then a fresh start with the
broker back. %d runs a side in turn; medians, in brackets the lowest and highest. Sync calls are counted by strace in a run of their own.
Both sides are allowed one reply in flight per unit at the kill. "Read to broker" runs from the slave's answer to the subscriber behind the broker.

`, units, registers, units*registers*10, regWave-2, regRandom-regWave, p.warm, p.measure, p.outage, p.kill, p.runs)
	s.WriteString(table(results))
	fmt.Fprintf(&s, "\nTelegraf %s is built from its Go module with tags `%s`; both sides with `CGO_ENABLED=0 -trimpath -ldflags '-s -w'`.\n", telegrafVersion, telegrafTags)
	fmt.Fprintf(&s, "\n## Configuration of Telegraf\n\nTen inputs like this one; addresses are those of the run.\n\n```toml\n%s```\n", shorten(telegrafConfig(sample)))
	fmt.Fprintf(&s, "\n## Configuration of tidegate\n\nFifty devices like this one.\n\n```yaml\n%s```\n", shorten(tidegateConfig(sample)))
	return s.String(), nil
}

// shorten leaves out what repeats: all but the first fields, requests, inputs and devices.
func shorten(config string) string {
	var s strings.Builder
	var fields, requests, devices int
	for line := range strings.Lines(config) {
		switch {
		case strings.Contains(line, "{address="):
			if fields++; fields > 2 {
				if fields == 3 {
					s.WriteString("      # ... to r39\n")
				}
				continue
			}
		case strings.Contains(line, "[[inputs.modbus.request]]"):
			if requests++; requests == 2 {
				s.WriteString("  # ... four more requests, nine more inputs\n")
				return s.String()
			}
		case strings.HasPrefix(line, "  - name: u"):
			if devices++; devices == 2 {
				s.WriteString("  # ... to u50\n")
				return s.String()
			}
		}
		s.WriteString(line)
	}
	return s.String()
}
