package brick

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

// columns are those of the table in RELIABILITY.md.
var columns = []string{"scenario", "distinct calls", "kills", "power cuts", brick, half, lost, floor, "syncs", "with something to lose", "left out, and seen"}

// The tests, as parts of the table.
const (
	byKill = iota
	byPower
	bySync
	tests
)

// eachScenario runs a test for each scenario, and keeps what all of one has counted for RELIABILITY.md. What was counted on this commit is not
// counted again.
func eachScenario(t *testing.T, test int, f func(t *testing.T, s *scenario) map[string]int) {
	commit, err := table.Commit(bed.Root())
	if err != nil {
		t.Fatal(err)
	}
	for i := range scenarios {
		s := &scenarios[i]
		if !*all && (i+turn("scenarios", scenariosOf)+test)%scenariosOf != 0 {
			continue
		}
		p := table.Part{
			Name: "brick", Commit: commit, Part: test*len(scenarios) + i, Of: tests * len(scenarios), Command: "make brick", Columns: columns,
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if *all && p.Done(bed.Results()) {
				fmt.Printf("| brick | %s | was done on this commit |\n", s.name)
				return
			}
			begin := time.Now()
			counted := f(t, s)
			if t.Failed() || !*all {
				return
			}
			row := table.Row{s.name}
			for _, c := range columns[1:] {
				cell := ""
				if n, ok := counted[c]; ok {
					cell = strconv.Itoa(n)
				}
				row = append(row, cell)
			}
			p.Rows, p.At, p.Took = []table.Row{row}, time.Now(), int(time.Since(begin).Seconds())
			if err := p.Write(bed.Results()); err != nil {
				t.Error(err)
			}
		})
	}
}
