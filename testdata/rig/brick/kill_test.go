package brick

import (
	"fmt"
	"path/filepath"
	"testing"
)

// TestKill kills each command of each scenario before each of its calls that change something, and the buffer with it.
func TestKill(t *testing.T) {
	eachScenario(t, byKill, func(t *testing.T, s *scenario) map[string]int {
		w := newWorld(t, s)
		w.prepare()
		w.must(copyTo(w.state, w.own+"/start"))
		y, points, number := newTally(), 0, 0
		for c, argv := range s.commands(w) {
			w.must(copyTo(w.own+"/start", w.state))
			calls := w.calls(argv)
			w.must(copyTo(w.state, w.own+"/end"))
			points += distinct(calls)
			for n, at := range calls {
				if *show {
					fmt.Printf("%s: command %d, %s: %v\n", s.name, c+1, name(argv), at)
				}
				if number++; !s.tried(number) {
					continue
				}
				e := w.ended(argv, calls, n, func(int) {})
				e.allowed = s.may(c, false)
				stands, bad := w.judge(e)
				y.add(t, fmt.Sprintf("%s: %s killed before %v", s.name, name(argv), at), stands, bad)
			}
			w.must(copyTo(w.own+"/end", w.own+"/start"))
		}
		fmt.Printf("| brick/kill | %s | %d distinct calls, %d kills | %v found | %v |\n", s.name, points, y.tried, y.bad, y)
		return y.cells(map[string]int{"distinct calls": points, "kills": y.tried})
	})
}

// name is what a command is called.
func name(argv []string) string {
	text := filepath.Base(argv[0])
	if text == "tidegate" {
		text += " " + argv[1] + " " + argv[2]
	}
	return text
}

// ended runs a command from the start, and kills it before call n of its calls, with the buffer; there may be none, then it comes to its end. before is
// asked before each call that is made.
func (w *world) ended(argv []string, calls []point, n int, before func(i int)) *ending {
	w.t.Helper()
	for range 3 { // the disk may have been so slow that the download was synced once more
		w.must(copyTo(w.own+"/start", w.state))
		k, err := newKeeper(w.state)
		w.must(err)
		w.must(k.read())
		seen, same := 0, true
		killed := w.trace(argv, func(p point) verdict {
			if seen >= len(calls) || p != calls[seen] {
				same = false
				return kill
			}
			if seen == n {
				w.must(k.read())
				return kill
			}
			before(seen)
			seen++
			return pass
		})
		k.kill()
		if same && seen == n && killed == (n < len(calls)) {
			from := w.own + "/start"
			if !killed {
				from = w.own + "/end"
			}
			least, _ := w.on(from).floors()
			return &ending{least: least, readings: k.last}
		}
	}
	w.t.Fatalf("%s: %s: its calls are never the same again, up to %d of %d", w.s.name, name(argv), n, len(calls))
	return nil
}

// cells adds what was found to what was counted.
func (y *tally) cells(counted map[string]int) map[string]int {
	for _, kind := range []string{brick, half, lost, floor} {
		counted[kind] = y.bad[kind]
	}
	return counted
}
