package update

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/publish/outcome"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

// outcome of each kind: the name of the reason, or one of those where the machine decides which comes first.
var reasons = map[string][]string{
	"exit":     {"crashed"},
	"crash":    {"crashed", "expired-trial"},
	"deadlock": {"expired-trial", "crashed"}, // where systemd ends it three times before
	"topic":    {"not-delivered"},
	"driver":   {"device-lost"},
	"leak":     {"leaks"},
	"sleep":    {"expired-trial", "crashed"},
	"watchdog": {"expired-trial"},
	"script":   {"no-elf"},
}

// late reports whether the launcher may have been faster than the release with its own reason: the machine was so busy that the release began to judge
// itself late.
func (p *plant) late(reason string) bool {
	for _, s := range p.super.all() {
		if s.release == 2 && s.attempt > 0 && reason == "expired-trial" && s.judging.Sub(s.began) > p.x.trial/20 {
			return true
		}
	}
	return false
}

// row is one line of the table in RELIABILITY.md.
type row struct {
	kind, reason string
	starts       int
	back, pause  time.Duration
	account      string
}

// TestBadReleases has gateways take a release that is no good by themselves, and a good one after it.
func TestBadReleases(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	var mu sync.Mutex
	var list []row
	t.Run("all", func(t *testing.T) {
		for _, kind := range kinds {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				r := badRelease(t, kind)
				mu.Lock()
				defer mu.Unlock()
				list = append(list, r)
			})
		}
	})
	report(t, list, time.Since(begin))
}

// report prints the table, and keeps it for RELIABILITY.md where the times were those of the field.
func report(t *testing.T, list []row, took time.Duration) {
	x := now()
	fmt.Printf("trial %v, expire each %v, SIGTERM to SIGKILL %v, or %v for a program that ends by itself, RestartSec %v: the bound is %v\n", x.trial, x.expire, grace, hardStop, x.restart, x.bound())
	slices.SortFunc(list, func(a, b row) int { return slices.Index(kinds, a.kind) - slices.Index(kinds, b.kind) })
	part := table.Part{
		Name: "bad-releases", Of: 1, Command: "go test ./testdata/rig/update -real", Took: int(took.Seconds()),
		Columns: []string{"bad release", "how it ended", "starts", "the old one read again after", "longest pause of reading", "in twice the interval and a restart", "account"},
	}
	for _, r := range list {
		back := "never stopped"
		if r.starts > 0 {
			back = fmt.Sprintf("%.1f s", r.back.Seconds())
		}
		pause := fmt.Sprintf("%.1f", r.pause.Seconds()/(2*every+x.restart).Seconds())
		part.Rows = append(part.Rows, table.Row{r.kind, r.reason, strconv.Itoa(r.starts), back, fmt.Sprintf("%.1f s", r.pause.Seconds()), pause, r.account})
	}
	keep(t, part, len(list) == len(kinds))
}

// keep prints a table, and keeps it where it is whole.
func keep(t *testing.T, part table.Part, isWhole bool) {
	t.Helper()
	for _, r := range append([]table.Row{part.Columns, slices.Repeat(table.Row{"---"}, len(part.Columns))}, part.Rows...) {
		fmt.Printf("| %s |\n", strings.Join(r, " | "))
	}
	if t.Failed() || !*isLong || !isWhole {
		return
	}
	var err error
	if part.Commit, err = table.Commit(bed.Root()); err != nil {
		t.Fatal(err)
	}
	part.At = time.Now()
	if err := part.Write(bed.Results()); err != nil {
		t.Error(err)
	}
}

func badRelease(t *testing.T, kind string) row {
	p := newPlant(t)
	stored := p.repo.publish(t, 2, built.bad[kind])
	p.super.run()
	r := row{kind: kind}
	var seen int // starts so far
	order := func(string) {}
	if kind == "script" {
		p.refused()
	} else {
		seen, order = p.tried(&r)
	}
	o := p.outcomes()
	p.known(stored, seen)

	// By hand, as that is faster here: by itself the gateway takes good ones in other tests.
	p.repo.publish(t, 3, built.good[0])
	p.must("update", "apply")
	good, _ := p.started("the start of a good release", seen, func(s start) bool { return s.release == 3 })
	if good.attempt != 1 {
		t.Errorf("release 3 was started as start %d of a trial, want 1", good.attempt)
	}
	if got := p.outcome(3); got.Result != "kept" || got.Version != "good-0" {
		t.Errorf("of release 3 the receiver was told %+v, want that it is kept", got)
	}
	r.pause = p.pause(1)
	r.account = p.settle()
	r.reason = p.ended(kind, o)
	p.counted(kind)
	order(r.reason)
	for i, s := range p.super.all() {
		if i >= seen && s.release == 2 {
			t.Errorf("start %d was of release 2 again\n%s", i+1, p.story())
		}
		if s.safe {
			t.Errorf("start %d was in safe mode", i+1)
		}
	}
	if t.Failed() {
		t.Log(p.story())
	}
	return r
}

// counted holds what `tidegate-release pause` counts in the receiver's own files against what there was.
func (p *plant) counted(kind string) {
	p.Helper()
	for counter, want := range map[uint64]outcome.Count{2: {Failed: 1}, 3: {Kept: 1}} {
		if counter == 2 && kind == "script" {
			want = outcome.Count{Refused: 1}
		}
		got := p.count(counter)
		if got.Kept != want.Kept || got.Failed != want.Failed || got.Refused != want.Refused || got.Other != 0 || got.Unreadable != 0 {
			p.Errorf("counted %+v of release %d, want %+v", got, counter, want)
		}
		if over := got.Over(0, 1); over != (got.Failed > 0) {
			p.Errorf("release %d is to be halted: %v, with %+v", counter, over, got)
		}
	}
}

// count reads all that the receiver has stored, as cron would.
func (p *plant) count(counter uint64) outcome.Count {
	p.Helper()
	files, err := filepath.Glob(filepath.Join(p.receiver.Out, "readings-*.ndjson"))
	var all []byte
	for _, path := range files {
		b, err2 := os.ReadFile(path)
		all, err = append(all, b...), errors.Join(err, err2)
	}
	c, err2 := outcome.Read(bytes.NewReader(all), counter)
	if err := errors.Join(err, err2); err != nil || len(files) == 0 {
		p.Fatalf("%d files of the receiver: %v", len(files), err)
	}
	return c
}

// tried watches a bad release come and go; it returns how many starts there were, and what judges the order in which things happened.
func (p *plant) tried(r *row) (seen int, order func(reason string)) {
	p.Helper()
	first, n := p.started("the start of the bad release", 0, func(s start) bool { return s.release == 2 })
	if first.attempt != 1 {
		p.Errorf("the bad release began with start %d of a trial", first.attempt)
	}
	old, seen := p.started("the start of the release before", n, func(s start) bool { return s.release == 1 })
	deadline := p.deadline()
	again := p.reads(old.began)
	list := p.super.all()[n-1 : seen-1]
	r.starts, r.back = len(list), again.Sub(first.began)
	for i, s := range list {
		if s.attempt != i+1 || s.slot == "0" {
			p.Errorf("start %d of release 2: got slot %s, start %d of its trial", i+1, s.slot, s.attempt)
		}
	}
	if r.starts > 3 {
		p.Errorf("the bad release was started %d times, want 3 at most", r.starts)
	}
	if old.slot != "0" {
		p.Errorf("the release before was started from slot %s, want 0", old.slot)
	}
	return seen, func(reason string) { p.order(reason, deadline, old) }
}

var gaveUp = regexp.MustCompile(`the trial of release 2 in slot . has ended: expired-trial`)

// order fails the test unless the first pass of the timer that began behind the trial's end gave it up, where nothing else had by then: with the time
// that such a pass may take to kill that is the bound.
func (p *plant) order(reason string, deadline int64, old start) {
	p.Helper()
	p.super.mu.Lock()
	defer p.super.mu.Unlock()
	behind := 0
	for _, pass := range p.super.passes {
		if pass.began >= deadline {
			behind++
		}
		switch gave := gaveUp.MatchString(pass.said); {
		case gave && pass.ended < deadline:
			p.Errorf("a pass up to %d ms gave up the trial, which was to end at %d ms", pass.ended, deadline)
		case gave && behind > 1:
			p.Errorf("the %dth pass behind the end of the trial gave it up, want the first", behind)
		case !gave && behind == 1 && pass.began >= deadline && pass.ended < old.boot && reason == "expired-trial" && !p.super.gaveBefore(pass):
			p.Errorf("the trial was to end at %d ms; the pass from %d to %d ms did nothing, and release 1 was started at %d ms", deadline, pass.began, pass.ended, old.boot)
		}
	}
}

// gaveBefore reports whether a pass before one had given up the trial: it may begin before its end, and wait for a lock.
func (s *supervisor) gaveBefore(one pass) bool {
	return slices.ContainsFunc(s.passes, func(x pass) bool { return x.began < one.began && gaveUp.MatchString(x.said) })
}

// deadline returns when the trial was to end, as the record of it says.
func (p *plant) deadline() (ms int64) {
	p.Helper()
	for _, name := range []string{"trial.0", "trial.1"} {
		b, err := os.ReadFile(filepath.Join(p.gateway.State, "ota", name))
		if err != nil {
			p.Fatal(err)
		}
		if m := regexp.MustCompile(`"deadline":(\d+)`).FindSubmatch(b); m != nil {
			n, _ := strconv.ParseInt(string(m[1]), 10, 64)
			ms = max(ms, n)
		}
	}
	return ms
}

// refused waits until the gateway has refused what is no program.
func (p *plant) refused() {
	p.Helper()
	p.wait("the refusal", func() bool {
		return slices.ContainsFunc(p.outcomes(), func(o bed.Outcome) bool { return o.Result == "refused" })
	})
}

// known has the gateway look for releases once more, after another start: it must not take the bad one again.
func (p *plant) known(stored string, seen int) {
	p.Helper()
	const want = "known-bad"
	asks := len(p.server.Of(stored))
	// A good release shall have its time, whatever else this machine does.
	p.again(func(s *settings) { s.trial = p.x.trial + time.Minute })
	p.wait("a look that takes nothing", func() bool {
		s, ok := p.gateway.Status()
		return ok && s.Update.Reason == want
	})
	if got := len(p.server.Of(stored)); got != asks {
		p.Errorf("the bad release was downloaded again: asked for %d times, before that %d times", got, asks)
	}
	for _, s := range p.super.all()[seen:] {
		if s.release != 1 {
			p.Errorf("release %d was started", s.release)
		}
	}
}

// ended judges what the receiver was told of the bad release in all, and returns the reason.
func (p *plant) ended(kind string, early []bed.Outcome) string {
	p.Helper()
	all := p.outcomes()
	if kind == "script" {
		for _, o := range all {
			if o.Counter == 2 && o.Result == "refused" && o.Reason == "no-elf" {
				return "refused before the switch: no-elf"
			}
		}
		p.Errorf("the receiver was told %+v, want that release 2 is refused: no-elf", all)
		return "?"
	}
	list := of(all, 2)
	if len(list) != 1 || list[0].Result != "failed" || list[0].Version != "bad-"+kind {
		p.Errorf("of release 2 the receiver was told %+v, want once that it failed (at first: %+v)", list, early)
		return "?"
	}
	if !slices.Contains(reasons[kind], list[0].Reason) && !p.late(list[0].Reason) {
		p.Errorf("the bad release was given up for %q (%s), want %s", list[0].Reason, list[0].Detail, strings.Join(reasons[kind], " or "))
	}
	return list[0].Reason
}
