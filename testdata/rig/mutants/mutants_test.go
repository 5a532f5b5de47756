package mutants

import (
	"flag"
	"go/parser"
	"go/token"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

var all = flag.Bool("all", false, "run all mutants, not the one that is this commit's turn, and keep what came of them for RELIABILITY.md")

// TestTables holds the tables against the source.
func TestTables(t *testing.T) {
	for _, a := range Areas() {
		names := map[string]bool{}
		for _, m := range a.Mutants {
			source, err := m.source(bed.Root())
			if err == nil {
				_, err = parser.ParseFile(token.NewFileSet(), m.File, source, parser.SkipObjectResolution)
			}
			if err != nil {
				t.Errorf("%s/%s: %v", a.Name, m.Name, err)
			}
			if m.Name == "" || names[m.Name] || strings.ContainsAny(m.Name, "/|\n") || !strings.HasPrefix(m.Test, "Test") && !strings.HasPrefix(m.Test, "Fuzz") || m.Old == m.New {
				t.Errorf("%s/%s: want a name of its own, a test, and a change", a.Name, m.Name)
			}
			names[m.Name] = true
		}
	}
}

// TestMutants runs the mutant that is this commit's turn; all with -all; those that are named with -run Mutants/AREA/NAME.
func TestMutants(t *testing.T) {
	b := &Bench{Root: bed.Root(), Patience: 2 * time.Minute}
	commit, err := table.Commit(b.Root)
	if err != nil {
		t.Fatal(err)
	}
	areas, isWhole := wanted(commit)
	passes := baselines(t, b, areas)
	for i, a := range areas {
		part := table.Part{
			Name: "mutants", Commit: commit, Part: i, Of: len(areas), Command: "go test ./testdata/rig/mutants -all",
			Columns: []string{"without", "in", "seen by"},
		}
		if isWhole && part.Done(bed.Results()) {
			t.Logf("%s: done before", a.Name)
			continue
		}
		begin := time.Now()
		part.Rows = make([]table.Row, len(a.Mutants))
		passed := t.Run(a.Name, func(t *testing.T) {
			for i, m := range a.Mutants {
				t.Run(m.Name, func(t *testing.T) {
					t.Parallel()
					begin := time.Now()
					if err := passes[m.pkg()](); err != nil {
						t.Fatal(err)
					}
					test, err := b.Try(t.Context(), &m)
					if err != nil {
						t.Fatal(err)
					}
					t.Logf("%s: %s, %.1f s", m.File, test, time.Since(begin).Seconds())
					part.Rows[i] = table.Row{a.Name + ": " + m.Name, m.File, strings.ReplaceAll(test, "|", "_")}
				})
			}
		})
		if isWhole && passed {
			part.At, part.Took = time.Now(), int(time.Since(begin).Seconds())
			if err := part.Write(bed.Results()); err != nil {
				t.Error(err)
			}
		}
	}
}

// wanted returns the mutants that are to be run, and whether these are all.
func wanted(commit string) (areas []Area, isWhole bool) {
	areas = Areas()
	if run := strings.Split(flag.Lookup("test.run").Value.String(), "/"); len(run) > 1 {
		area := regexp.MustCompile(run[1])
		return slices.DeleteFunc(areas, func(a Area) bool { return !area.MatchString(a.Name) }), false
	}
	if *all {
		return areas, true
	}
	n := 0
	for _, a := range areas {
		n += len(a.Mutants)
	}
	h := fnv.New32()
	_, _ = h.Write([]byte(commit))
	turn := int(uint64(h.Sum32()) % uint64(n))
	for _, a := range areas {
		if turn < len(a.Mutants) {
			return []Area{{a.Name, a.Mutants[turn : turn+1]}}, false
		}
		turn -= len(a.Mutants)
	}
	return nil, false // not reached: turn is below n
}

// baselines returns by package what wants the tests of mutants to pass on the source as it is. Each runs once.
func baselines(t *testing.T, b *Bench, areas []Area) map[string]func() error {
	tests := map[string][]string{}
	for _, a := range areas {
		for _, m := range a.Mutants {
			tests[m.pkg()] = append(tests[m.pkg()], m.Test)
		}
	}
	out := map[string]func() error{}
	for pkg, names := range tests {
		out[pkg] = sync.OnceValue(func() error { return b.Baseline(t.Context(), pkg, names...) })
	}
	return out
}
