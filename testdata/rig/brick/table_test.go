package brick

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

// A counting is a test as parts of a table in RELIABILITY.md.
type counting struct {
	table   string
	columns []string // behind the scenario
	part    int      // which of the tests of that table it is
	of      int
}

var (
	endings = []string{"distinct calls", "kills", "power cuts", brick, half, lost, floor}
	byKill  = counting{"brick", endings, 0, 2}
	byPower = counting{"brick", endings, 1, 2}
	bySync  = counting{"brick-syncs", []string{"syncs", "files and folders with something to lose", "left out one at a time, and seen"}, 0, 1}
)

// eachScenario runs a test for each scenario, and keeps what all of one has counted for RELIABILITY.md. What was counted on this commit is not
// counted again.
func eachScenario(t *testing.T, by counting, f func(t *testing.T, s *scenario) map[string]int) {
	commit, err := table.Commit(bed.Root())
	if err != nil {
		t.Fatal(err)
	}
	for i := range scenarios {
		s := &scenarios[i]
		if !*all && (i+turn(fmt.Sprint(by.table, by.part), scenariosOf))%scenariosOf != 0 {
			continue
		}
		p := table.Part{
			Name: by.table, Commit: commit, Part: by.part*len(scenarios) + i, Of: by.of * len(scenarios), Command: "make brick",
			Columns: append([]string{"scenario"}, by.columns...),
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
			for _, c := range by.columns {
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
