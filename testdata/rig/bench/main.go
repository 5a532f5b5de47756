// Command bench does the same work with Telegraf and with tidegate, one after the other, measures both and writes the
// comparison. It needs root (a loop-mounted ext4 image), mosquitto and strace; see README.md beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A plan says how long each phase lasts.
type plan struct {
	seed    uint64
	runs    int
	warm    time.Duration // before measuring
	measure time.Duration
	outage  time.Duration // without broker
	kill    time.Duration // from the begin of a second outage to kill -9
	after   time.Duration // at least, from the start after the kill to the end
	catchUp time.Duration // at most, from the return of the broker
	only    string        // name of the only side to run, or of a part of the report; "" = all

	idleRuns     int           // of each load of an idle gateway
	judgeRuns    int           // of rules beside Starlark, for each size of records
	judgeSeconds int           // of the stream that is judged
	benchTime    time.Duration // of each of rules' own benchmarks

	bufferWarm    time.Duration // longer than the kernel and the journal hold back what the start wrote
	bufferMeasure time.Duration // of the slow flows
	still         time.Duration // of the gateway without devices
	busy          time.Duration // of the fast flow
	storeBytes    int64         // of the store that is opened
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "slave":
			return slaveMain(os.Args[2:])
		case "judge":
			return judgeMain(os.Args[2:])
		case "gateway":
			os.Exit(runGateway(os.Args[2:]))
		case "fill":
			return fillMain(os.Args[2:])
		case "open":
			return openMain(os.Args[2:])
		}
	}
	seconds := flag.Int("seconds", 120, "length of the measured phase")
	runs := flag.Int("runs", 3, "runs a side, of which the medians count")
	short := flag.Bool("short", false, "seconds instead of minutes: shows that the rig works, figures are worth nothing")
	seed := flag.Uint64("seed", 0, "seed of the slave's values; 0 = from the clock")
	root := flag.String("root", ".", "tidegate's tree")
	out := flag.String("out", "", "file to write; empty = BENCHMARKS.md in the tree, standard output with -short")
	only := flag.String("only", "", "telegraf or tidegate: run this side only and print its figures; idle, rules or buffer: measure this part only and put it into the report")
	flag.Parse()
	p := plan{
		seed: *seed, runs: *runs, only: *only, warm: 30 * time.Second, measure: time.Duration(*seconds) * time.Second, outage: 60 * time.Second,
		kill: 30 * time.Second, after: 40 * time.Second, catchUp: 180 * time.Second,
		idleRuns: 2, judgeRuns: 5, judgeSeconds: 3600, benchTime: 2 * time.Second,
		bufferWarm: 160 * time.Second, bufferMeasure: 10 * time.Minute, still: 10 * time.Minute, busy: 10 * time.Minute,
		storeBytes: storeBytes,
	}
	if *short {
		p.runs, p.warm, p.measure, p.outage, p.kill, p.after, p.catchUp = 1, 5*time.Second, 15*time.Second, 15*time.Second, 5*time.Second, 15*time.Second, 60*time.Second
		p.idleRuns, p.judgeRuns, p.judgeSeconds, p.benchTime = 1, 1, 600, 300*time.Millisecond
		p.bufferMeasure, p.still, p.busy, p.storeBytes = 60*time.Second, 60*time.Second, 20*time.Second, storeBytes/4
	}
	if p.seed == 0 {
		p.seed = uint64(time.Now().Unix())
	}
	if *out == "" && !*short && (p.only == "" || isPart(p.only)) {
		*out = filepath.Join(*root, "BENCHMARKS.md")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	text, err := bench(ctx, *root, p)
	if err != nil {
		return err
	}
	if *out == "" {
		fmt.Print(text)
		return nil
	}
	if isPart(p.only) {
		old, err := os.ReadFile(*out)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		text = withPart(string(old), text)
	}
	return os.WriteFile(*out, []byte(text), 0o644)
}

// bench runs both sides in turn and returns the report.
func bench(ctx context.Context, root string, p plan) (string, error) {
	work, err := os.MkdirTemp("", "tidegate-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	fmt.Fprintf(os.Stderr, "bench: seed %d, %d runs a side; building\n", p.seed, p.runs)
	if p.only == onlyRules {
		return judged(ctx, root, p, work)
	}
	if p.only == onlyBuffer {
		return buffered(ctx, root, p, work)
	}
	sides, err := build(ctx, root, work, p.only)
	if err != nil {
		return "", err
	}
	if p.only == onlyIdle {
		return idle(ctx, root, sides, p, work)
	}
	results := map[string][]result{}
	for i := range p.runs {
		for _, s := range sides {
			began := time.Now()
			r, err := runSide(ctx, s, p, filepath.Join(work, fmt.Sprintf("%s-%d", s.name, i+1)))
			if err != nil {
				return "", fmt.Errorf("%s, run %d: %w", s.name, i+1, err)
			}
			fmt.Fprintf(os.Stderr, "bench: %s, run %d of %d, %.0f s: %+v\n", s.name, i+1, p.runs, time.Since(began).Seconds(), r)
			results[s.name] = append(results[s.name], r)
		}
	}
	for _, s := range sides {
		n, err := countSyncs(ctx, s, p, filepath.Join(work, s.name+"-syncs"))
		if err != nil {
			return "", fmt.Errorf("%s, syncs: %w", s.name, err)
		}
		for i := range results[s.name] {
			results[s.name][i].Syncs = n
		}
	}
	text, err := report(ctx, root, p, results)
	if err != nil || p.only != "" {
		return text, err
	}
	part, err := idle(ctx, root, sides, p, work)
	if err != nil {
		return "", err
	}
	text = withPart(text, part)
	if part, err = judged(ctx, root, p, work); err != nil {
		return "", err
	}
	text = withPart(text, part)
	part, err = buffered(ctx, root, p, work)
	return withPart(text, part), err
}

func slaveMain(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("slave: got %d arguments, want a seed", len(args))
	}
	seed, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return err
	}
	return runSlave(seed)
}

func judgeMain(args []string) error {
	s, err := parseStream(args)
	if err != nil {
		return err
	}
	j, err := newRuled(s.size)
	if err != nil {
		return err
	}
	return s.run(j)
}
