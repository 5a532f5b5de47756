// Package sweep finds Modbus RTU units of which nothing is known, neither number nor settings of their line: it listens first, and only where
// nobody speaks it asks, one request that reads at a time, in order of likelihood. It never writes to a unit, and never asks where
// another master is heard.
//
// Sources: "MODBUS over Serial Line V1.02" (frames, silences, unit numbers), "MODBUS Application Protocol V1.1b3" (functions).
package sweep

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// Timings of a search.
const (
	// patience is how long after the end of a request the first byte of its reply may come. Most units answer within 50 ms; the reply of a
	// slower one is still known by its unit number while later requests wait for theirs.
	patience = 250 * time.Millisecond
	// linger is how long slow units are waited for before the settings change.
	linger = 500 * time.Millisecond
	// listenFor is how long a line is listened to before anything is sent: most masters ask at least once a second.
	listenFor = 1500 * time.Millisecond
	// writeMost is how long a request may take to go out: then the adapter hangs.
	writeMost = 5 * time.Second
	// bitsPerChar are those of start, 8 bits, parity or a second stop bit, stop.
	bitsPerChar = 11
	// requestChars and replyChars are the lengths of a request for one register and of its reply, in characters.
	requestChars, replyChars = 8, 7
)

// Units are numbers that a unit can have: "MODBUS over Serial Line V1.02" section 2.2.
const (
	FirstUnit = 1
	LastUnit  = 247
)

// A stage is a part of a search: these units on each of these lines.
type stage struct {
	units []byte
	lines []drivers.Serial
}

// A Plan says where units are looked for, likely places first.
type Plan struct {
	stages []stage
	lines  []drivers.Serial // all, likely first
}

// NewPlan returns the plan of a search on the serial port called port: all 247 units at 26 settings.
func NewPlan(port string) Plan {
	return newPlan(port, usual(), rare())
}

// NewPlanOf is NewPlan for units and settings of which some are known; an empty list means all.
func NewPlanOf(port string, units []byte, baud []int, parity []string) Plan {
	keep := func(in []drivers.Serial) []drivers.Serial {
		return slices.DeleteFunc(in, func(s drivers.Serial) bool {
			return len(baud) > 0 && !slices.Contains(baud, s.Baud) || len(parity) > 0 && !slices.Contains(parity, s.Parity)
		})
	}
	p := newPlan(port, keep(usual()), keep(rare()))
	if len(units) == 0 {
		return p
	}
	for i := range p.stages {
		p.stages[i].units = slices.DeleteFunc(p.stages[i].units, func(u byte) bool { return !slices.Contains(units, u) })
	}
	p.stages = slices.DeleteFunc(p.stages, func(s stage) bool { return len(s.units) == 0 })
	return p
}

// usual are the settings that most units leave their factory with.
func usual() []drivers.Serial { return settings([]int{9600, 19200}, "8N1", "8E1") }

// rare are the others, likely first. A unit set to two stop bits hears requests with one and is found by them, but not always.
func rare() []drivers.Serial {
	out := settings([]int{38400, 115200, 57600, 4800, 2400, 1200}, "8N1", "8E1")
	out = append(out, settings([]int{9600, 19200}, "8N2", "8O1")...)
	return append(out, settings([]int{38400, 115200, 57600, 4800, 2400, 1200}, "8O1")...)
}

// settings returns each speed with each form, speeds in turn.
func settings(baud []int, forms ...string) (out []drivers.Serial) {
	parity := map[byte]string{'N': "none", 'E': "even", 'O': "odd"}
	for _, form := range forms {
		for _, b := range baud {
			out = append(out, drivers.Serial{Baud: b, DataBits: 8, Parity: parity[form[1]], StopBits: form[2:]})
		}
	}
	return out
}

// newPlan puts units and lines in order: a unit is most likely number 1, then a low one; a line most likely has a usual setting.
func newPlan(port string, usual, rare []drivers.Serial) Plan {
	for _, list := range [][]drivers.Serial{usual, rare} {
		for i := range list {
			list[i].Port = port
		}
	}
	p := Plan{lines: slices.Concat(usual, rare), stages: []stage{
		{run(1, 1), usual},
		{run(2, 10), usual},
		{run(11, 32), usual},
		{run(1, 10), rare},
		{run(33, LastUnit), usual},
		{run(11, LastUnit), rare},
	}}
	p.stages = slices.DeleteFunc(p.stages, func(s stage) bool { return len(s.lines) == 0 })
	return p
}

// run returns the numbers from first to last.
func run(first, last int) (out []byte) {
	for u := first; u <= last; u++ {
		out = append(out, byte(u))
	}
	return out
}

// Size returns how many requests the whole plan makes.
func (p Plan) Size() (n int) {
	for _, s := range p.stages {
		n += len(s.units) * len(s.lines)
	}
	return n
}

// Estimate returns how long the whole plan takes where no unit answers and opening the port takes no time: an upper bound, for a unit that
// is found ends the search for its settings.
func (p Plan) Estimate() (d time.Duration) {
	d = listenFor
	for _, s := range p.stages {
		for _, line := range s.lines {
			d += time.Duration(len(s.units))*wait(line) + linger
		}
	}
	return d
}

// wait returns how long one request takes that nobody answers.
func wait(s drivers.Serial) time.Duration {
	return gap(s) + chars(s, requestChars+replyChars) + patience
}

// chars returns how long n characters take on the line.
func chars(s drivers.Serial, n int) time.Duration {
	return time.Duration(n) * bitsPerChar * time.Second / time.Duration(s.Baud)
}

// gap returns the silence between frames: 3.5 characters, "MODBUS over Serial Line V1.02" section 2.5.1.1.
func gap(s drivers.Serial) time.Duration {
	if s.Baud > 19200 {
		return 1750 * time.Microsecond
	}
	return chars(s, 7) / 2
}

// Found is a unit that answered, or was heard answering.
type Found struct {
	Unit   byte
	Serial drivers.Serial // its line
	Reply  string         // what it said, for instance "holding 0 = 17" or "exception 02"
}

// sortFound sorts by unit, and leaves one of each.
func sortFound(list []Found) []Found {
	slices.SortStableFunc(list, func(a, b Found) int { return cmp.Compare(a.Unit, b.Unit) })
	return slices.CompactFunc(list, func(a, b Found) bool { return a.Unit == b.Unit && a.Serial == b.Serial })
}
