package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	onlyRules    = "rules" // the value of -only
	rulesHeading = "\n## Rules"
)

// A yield is a line of rules' own benchmarks that the report has.
type yield struct {
	name  string // of the benchmark
	unit  string // as go test writes it
	what  string
	reach string
}

// yields are the lines, in the order of the report.
var yields = []yield{
	{"BenchmarkThresholds", "readings/s", "10 threshold rules on one channel, readings per second", ">= 1000000"},
	{"BenchmarkThresholds", "allocs/op", "- allocations per reading", "0"},
	{"BenchmarkMixed/reads=40", "readings/s", "100 mixed rules on 1,000 channels, Reads of 40 readings, readings per second", ">= 200000"},
	{"BenchmarkMixed/reads=40", "allocs/op", "- allocations per Read", ""},
	{"BenchmarkMixed/reads=1", "readings/s", "- the same, Reads of one reading, readings per second", ">= 200000"},
	{"BenchmarkMixed/reads=1", "allocs/op", "- allocations per Read", ""},
	{"BenchmarkState/threshold", "state-B", "state of a threshold rule on one channel, bytes", "<= 1000"},
	{"BenchmarkState/threshold", "state-B/reading", "- changed with each reading, bytes", ""},
	{"BenchmarkState/avg_5m", "state-B", "state of avg(d.c, 5m) > 80, bytes", ""},
	{"BenchmarkState/avg_5m", "state-B/reading", "- changed with each reading, bytes", ""},
	{"BenchmarkState/p95_5m", "state-B", "state of p95(d.c, 5m) > 80, bytes", ""},
	{"BenchmarkState/p95_5m", "state-B/reading", "- changed with each reading, bytes", ""},
	{"BenchmarkState/p95_1d", "state-B", "state of p95(d.c, 1d) > 80, bytes", ""},
	{"BenchmarkState/p95_1d", "state-B/reading", "- changed with each reading, bytes", ""},
	{"BenchmarkState/p95_session", "state-B", "state of p95(d.c, 30s, session) > 80, values from 1 to 10,000, bytes", ""},
	{"BenchmarkState/p95_session", "state-B/reading", "- changed with each reading, bytes", ""},
}

// judged measures rules and returns that part of the report.
func judged(ctx context.Context, root string, p plan, work string) (string, error) {
	from, err := origin(ctx, root, p)
	if err != nil {
		return "", err
	}
	all, err := compare(ctx, p, work)
	if err != nil {
		return "", err
	}
	own, err := benchmarks(ctx, root, p)
	if err != nil {
		return "", err
	}
	var reactions []reaction
	for i := range p.runs {
		r, err := react(ctx, p, filepath.Join(work, fmt.Sprintf("react-%d", i)))
		if err != nil {
			return "", fmt.Errorf("reading to output, run %d: %w", i+1, err)
		}
		fmt.Fprintf(os.Stderr, "bench: reading to output, run %d of %d: %+v\n", i+1, p.runs, r)
		reactions = append(reactions, r)
	}
	return rulesReport(from, p, all, own, reactions), nil
}

// benchmarks runs rules' own and returns what they say, by name and unit, for each of p.judgeRuns runs.
func benchmarks(ctx context.Context, root string, p plan) (map[[2]string][]float64, error) {
	names := map[string]bool{}
	for _, y := range yields {
		name, _, _ := strings.Cut(y.name, "/")
		names[name] = true
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^("+strings.Join(slices.Sorted(maps.Keys(names)), "|")+")$", "-cpu", "1",
		"-count", strconv.Itoa(p.judgeRuns), "-benchtime", p.benchTime.String(), "-timeout", "1h", "./rules")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("benchmarks of rules: %w: %s", err, out)
	}
	got := parseBenchmarks(string(out))
	for _, y := range yields {
		if n := len(got[[2]string{y.name, y.unit}]); n != p.judgeRuns {
			return nil, fmt.Errorf("benchmarks of rules: got %s of %s %d times, want %d: %s", y.unit, y.name, n, p.judgeRuns, out)
		}
	}
	return got, nil
}

// parseBenchmarks returns what go test wrote, by name and unit.
func parseBenchmarks(out string) map[[2]string][]float64 {
	got := map[[2]string][]float64{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				key := [2]string{f[0], f[i+1]}
				got[key] = append(got[key], v)
			}
		}
	}
	return got
}

// rulesReport returns the part of the report.
func rulesReport(from string, p plan, all []versus, own map[[2]string][]float64, reactions []reaction) string {
	var s strings.Builder
	fmt.Fprintf(&s, `%s

Written by the same, or alone by %s; %s

### Beside Telegraf's Starlark processor

The work, the same for both: %d channels, each read once a second for %d s of the stream's time; an alarm that is raised above %d and cleared below %d,
and one while the average of the last complete minute is above %v. Each program judges the stream in a process of its own, in turn, %d times,
and once more only makes the readings, which is taken off. Every alarm of the two is the same: time, channel, raised or cleared, the reading or the
average that decided. Readings per second of processor time, of all threads: median, lowest and highest.

| records of | Telegraf | tidegate | ratio | to reach | alarms, of the limit and the average | state, bytes per reading |
|---|---:|---:|---:|---|---:|---:|
`, rulesHeading, "`make bench BENCH=\"-only rules\"`", from, streamChannels, p.judgeSeconds, raiseAbove, clearBelow, averageLimit, p.judgeRuns)
	rate := func(j judgedBy) float64 { return j.Rate }
	for _, v := range all {
		a, _, _ := span(v.telegraf, rate)
		b, _, _ := span(v.tidegate, rate)
		fmt.Fprintf(&s, "| %d readings | %s | %s | %s | ratio >= 5 | %d, %d | %s |\n", v.size, cellOf(v.telegraf, rate), cellOf(v.tidegate, rate), number(b/a),
			v.limits, v.averages, cellOf(v.tidegate, func(j judgedBy) float64 { return j.State }))
	}
	fmt.Fprintf(&s, "\nThe rules of tidegate, for each channel:\n\n```yaml\n%s```\n\nThe script of Telegraf:\n\n```python\n%s```\n",
		fmt.Sprintf(streamRules, "d0", "r0", raiseAbove, clearBelow, averageLimit), starlarkScript)
	fmt.Fprintf(&s, `
### Rules alone

Benchmarks of package rules on one processor, %v each, %d times: median, lowest and highest. Mixed: each rule looks at 100 of the channels, 50 in
%s and 50 in %s, and is active, so that each reading concerns ten rules; a third of the rules follows windows of 1 and 5 minutes. What is read in one Read is looked at once.
State: of one rule on one channel that is read ten times a second, keys included, as it goes into ring 2; on disk it comes once a commit.

| | | to reach |
|---|---:|---|
`, p.benchTime, p.judgeRuns, "`when`", "`clear`")
	for _, y := range yields {
		fmt.Fprintf(&s, "| %s | %s | %s |\n", y.what, cellOf(own[[2]string{y.name, y.unit}], func(v float64) float64 { return v }), y.reach)
	}
	fmt.Fprintf(&s, `
### From a reading to an output

The gateway with %d devices of %d readings each %v, 100 rules: one a device that drives its output, %d of which raise alarms too, and one over a window of
5 minutes; state on an ext4 image of its own, everything published to mosquitto. From the end of the Read that carries the deciding reading to the
call of the driver's Set, both in the driver. After %v of warm-up %v, %d times: median, lowest and highest.

| figure | unit | | to reach |
|---|---|---:|---|
`, units, registers, reactEvery, reactAlarms, p.warm, p.measure, p.runs)
	for _, f := range []struct {
		name, unit string
		of         func(reaction) float64
		reach      string
	}{
		{"reading to output, p50", "ms", func(r reaction) float64 { return r.P50 }, ""},
		{"reading to output, p99", "ms", func(r reaction) float64 { return r.P99 }, "<= 5 ms"},
		{"reading to output, longest", "ms", func(r reaction) float64 { return r.P100 }, ""},
		{"outputs set", "", func(r reaction) float64 { return float64(r.Flips) }, ""},
		{"not set within 5 s", "", func(r reaction) float64 { return float64(r.Missing) }, "0"},
		{"readings", "per second", func(r reaction) float64 { return r.PerSecond }, strconv.Itoa(int(units * registers / reactEvery.Seconds()))},
		{"CPU", "% of a core", func(r reaction) float64 { return r.CPU }, ""},
	} {
		fmt.Fprintf(&s, "| %s | %s | %s | %s |\n", f.name, f.unit, cellOf(reactions, f.of), f.reach)
	}
	return s.String()
}
