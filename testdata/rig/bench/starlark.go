package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// What is built with Telegraf's package: main.go and rules.star in testdata/starlark, and the stream.
var (
	//go:embed testdata/starlark/main.go
	starlarkMain []byte
	//go:embed testdata/starlark/rules.star
	starlarkScript []byte
	//go:embed stream.go
	starlarkStream []byte
)

// buildStarlark builds the program with Telegraf's Starlark processor into dir and returns where it lies. Its module requires what Telegraf's
// does, and Telegraf.
func buildStarlark(ctx context.Context, dir string) (string, error) {
	m, err := fetchTelegraf(ctx)
	if err != nil {
		return "", err
	}
	mod, err1 := os.ReadFile(filepath.Join(m.Dir, "go.mod"))
	sum, err2 := os.ReadFile(filepath.Join(m.Dir, "go.sum"))
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	_, rest, ok := bytes.Cut(mod, []byte("\n"))
	if !ok || !bytes.HasPrefix(mod, []byte("module ")) {
		return "", fmt.Errorf("telegraf's go.mod does not begin with its module: %.40q", mod)
	}
	at := filepath.Join(dir, "starlark.src")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", err
	}
	for name, text := range map[string][]byte{
		"main.go": starlarkMain, "rules.star": starlarkScript, "stream.go": starlarkStream,
		"go.mod": fmt.Appendf(nil, "module starlark\n%s\nrequire github.com/influxdata/telegraf %s\n", rest, telegrafVersion),
		"go.sum": fmt.Appendf(sum, "github.com/influxdata/telegraf %s %s\ngithub.com/influxdata/telegraf %[1]s/go.mod %[3]s\n", telegrafVersion, m.Sum, m.GoModSum),
	} {
		if err := os.WriteFile(filepath.Join(at, name), text, 0o644); err != nil {
			return "", err
		}
	}
	program := filepath.Join(dir, "starlark")
	return program, goBuild(ctx, at, "-o", program, ".")
}

// ask lets a program judge s; argv is what it is started by.
func ask(ctx context.Context, argv []string, s stream) (a answer, err error) {
	cmd := exec.CommandContext(ctx, argv[0], slices.Concat(argv[1:], s.args())...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return a, fmt.Errorf("%s: %w", argv[0], err)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return a, fmt.Errorf("%s: %w", argv[0], err)
	}
	slices.SortFunc(a.Alarms, func(x, y told) int {
		return cmp.Or(cmp.Compare(x.Second, y.Second), cmp.Compare(x.Channel, y.Channel), cmp.Compare(x.Rule, y.Rule))
	})
	return a, nil
}

// differs says where two answers to one stream differ; nil = nowhere. Averages may do so by rounding: one of the two compensates it.
func differs(a, b answer) error {
	if a.Readings != b.Readings || len(a.Alarms) != len(b.Alarms) {
		return fmt.Errorf("one judged %d readings and told %d alarms, the other %d and %d", a.Readings, len(a.Alarms), b.Readings, len(b.Alarms))
	}
	for i, x := range a.Alarms {
		y := b.Alarms[i]
		if math.Abs(x.Value-y.Value) <= 1e-12*math.Abs(x.Value) {
			y.Value = x.Value
		}
		if x != y {
			return fmt.Errorf("alarm %d of %d is %+v of one and %+v of the other", i+1, len(a.Alarms), x, y)
		}
	}
	return nil
}

// judgedBy is what one program needs for one shape of records.
type judgedBy struct {
	Rate  float64 // readings per second of processor time
	Whole float64 // the same, with making the readings
	State float64 // bytes of changed state per reading
}

// side by side: for each size of records, what each run of Telegraf and of tidegate came to.
type versus struct {
	size               int
	telegraf, tidegate []judgedBy
	limits, averages   int // alarms raised and cleared in one run
}

// compare lets both judge the same stream in turn, p.judgeRuns times for each size of records, and compares what they say.
func compare(ctx context.Context, p plan, work string) (all []versus, err error) {
	starlark, err := buildStarlark(ctx, work)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for _, size := range []int{registers, 1} {
		v := versus{size: size}
		for i := range p.judgeRuns {
			s := stream{seed: p.seed + uint64(i), seconds: p.judgeSeconds, size: size}
			theirs, one, err := weigh(ctx, []string{starlark}, s)
			if err != nil {
				return nil, err
			}
			ours, other, err := weigh(ctx, []string{self, "judge"}, s)
			if err != nil {
				return nil, err
			}
			if err := differs(one, other); err != nil {
				return nil, fmt.Errorf("records of %d readings, seed %d: Telegraf and tidegate say different things: %w", size, s.seed, err)
			}
			v.limits, v.averages = counted(one)
			if v.limits == 0 || v.averages == 0 {
				return nil, fmt.Errorf("records of %d readings, seed %d: no alarm of each kind: nothing is compared", size, s.seed)
			}
			fmt.Fprintf(os.Stderr, "bench: records of %d readings, run %d of %d: Telegraf %+v, tidegate %+v\n", size, i+1, p.judgeRuns, theirs, ours)
			v.telegraf, v.tidegate = append(v.telegraf, theirs), append(v.tidegate, ours)
		}
		all = append(all, v)
	}
	return all, nil
}

// weigh lets a program judge s, and once more only make its readings: what that takes is not the judge's.
func weigh(ctx context.Context, argv []string, s stream) (j judgedBy, a answer, err error) {
	if a, err = ask(ctx, argv, s); err != nil {
		return j, a, err
	}
	s.bare = true
	bare, err := ask(ctx, argv, s)
	if err != nil {
		return j, a, err
	}
	n := float64(a.Readings)
	return judgedBy{Rate: n / (a.CPU - bare.CPU), Whole: n / a.CPU, State: float64(a.State) / n}, a, nil
}

// counted returns how many alarms there are of each rule.
func counted(a answer) (limits, averages int) {
	for _, t := range a.Alarms {
		if t.Rule == "limit" {
			limits++
		} else {
			averages++
		}
	}
	return limits, averages
}
