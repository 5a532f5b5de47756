package crash

import (
	"cmp"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

var (
	all   = flag.Bool("all", false, "long: every kind in shards, each of which is kept for RELIABILITY.md and not done again on this commit")
	shard = flag.String("shard", "", "with -all: i/n = the i-th of n shards, from 1; /n or \"\" = all of n (10), one after the other")
)

// The tables of RELIABILITY.md, and their rows: each is one kind of thing that is done to a gateway, by one test.
var tables = []struct {
	name string
	rows []string
	word string // of `make crash` that says how much, and how much it says by itself
	size *int
	long int
}{
	{"crash-kills", []string{killedByReceipt, killedByPuback, killedWithRules, killedSlowly}, "KILLS", kills, 1000},
	{"crash-cuts", []string{cutByImage, cutInDrain, cutInCompaction}, "CUTS", cuts, 200},
	{"crash-guest", []string{cutOfGuest}, "GUEST", guestCuts, 50},
	{"crash-damages", damageRows(), "DAMAGES", damages, 500},
	{faultTable, faultRows, "FAULT", nil, 0}, // each is done once, in one of the shards
}

const (
	killedByReceipt = "kill -9 of a gateway under load, every 0 to 3 s, its broker stopped meanwhile"
	killedByPuback  = "the same, where a broker's word is enough"
	killedWithRules = "the same with rules of every kind: their alarms"
	killedSlowly    = "kill -9 every 5 to 20 s"
	cutByImage      = "power cut under load: only what was synced is there"
	cutInDrain      = "power cut while a backlog is delivered and dropped"
	cutInCompaction = "power cut of the store while it writes, merges and removes tables"
	cutOfGuest      = "power cut of a machine whose disk loses a random half of what was not flushed"
)

// columns of the tables, behind the row's name.
var columns = []string{
	"cases", "acknowledged readings lost", "silently wrong", "gaps unreported", "numbers given twice", "widest loss", "of what it may be", "slowest start",
}

// An outcome is what became of some cases of a kind.
type outcome struct {
	cases      int
	lost       int64         // readings that were acknowledged: by commit where power was cut or the disk damaged, else by a Read that returned
	wrong      int64         // readings that arrived and that nobody read so
	unreported int64         // numbers or readings that are neither there nor in a gap, or more than the gap says
	twice      int64         // records that are stored twice, numbers that name two records
	window     time.Duration // from when the oldest reading that is missing was answered to the end; 0 = none was missing
	limit      float64       // of the case in which it was most: window by sync and two commits
	start      time.Duration // slowest
	most       time.Duration // that a start may take; 0 = 10 s
	told       bool          // window is measured at all
}

// add adds other cases.
func (o *outcome) add(x *outcome) {
	o.cases += x.cases
	o.lost += x.lost
	o.wrong += x.wrong
	o.unreported += x.unreported
	o.twice += x.twice
	o.window, o.limit, o.start = max(o.window, x.window), max(o.limit, x.limit), max(o.start, x.start)
	o.told = o.told || x.told
}

// row returns it as cells.
func (o *outcome) row(name string) table.Row {
	n := func(x int64) string { return strconv.FormatInt(x, 10) }
	r := table.Row{name, n(int64(o.cases)), n(o.lost), n(o.wrong), n(o.unreported), n(o.twice), "", "", ""}
	if o.told {
		r[6], r[7] = fmt.Sprintf("%.2f s", o.window.Seconds()), fmt.Sprintf("%.0f %%", 100*o.limit)
	}
	if o.start > 0 {
		r[8] = fmt.Sprintf("%.2f s", o.start.Seconds())
	}
	return r
}

// judge fails the test unless all is 0 that has to be, and starts took at most 10 s.
func (o *outcome) judge(t *testing.T) {
	t.Helper()
	if o.lost != 0 || o.wrong != 0 || o.unreported != 0 || o.twice != 0 {
		t.Errorf("acknowledged readings lost %d, silently wrong %d, gaps unreported %d, numbers given twice %d: all must be 0", o.lost, o.wrong, o.unreported, o.twice)
	}
	if most := cmp.Or(o.most, 10*time.Second); o.start > most {
		t.Errorf("the slowest start took %v, at most %v", o.start, most)
	}
	if o.limit > 1 {
		t.Errorf("what is missing was answered up to %v before the end: %.0f %% of sync and two commits", o.window, 100*o.limit)
	}
}

// measure has f do n cases of a kind. Short, all at once and drawn anew each time; with -all in shards, by a seed that all of them share.
func measure(t *testing.T, name string, n int, f func(t *testing.T, draw *rand.Rand, n int) *outcome) {
	t.Helper()
	if i := slices.Index(faultRows, name); i >= faultsAlways && !*all && !*faults && i%faultTurns != turnOf(t, faultTurns) {
		t.Log("it is not the turn of this commit: -faults")
		return
	}
	if !*all {
		seed := *seedFlag
		if seed == 0 {
			seed = rand.Uint64()
		}
		t.Logf("-seed %d", seed)
		show(t, f(t, rand.New(rand.NewPCG(seed, 0)), n), name)
		return
	}
	p, index := partOf(t, name)
	first, of := shards(t)
	if once := p.Name == faultTable; once {
		if first >= 0 && index%of != first {
			return
		}
		first, of = -1, 1
	}
	for i := range of {
		if first >= 0 && i != first {
			continue
		}
		t.Run(fmt.Sprintf("%d of %d", i+1, of), func(t *testing.T) {
			p := p
			if p.Part, p.Of = index*of+i, rowsOf(p.Name)*of; p.Done(bed.Results()) {
				fmt.Printf("| %s | shard %d of %d was done on this commit |\n", name, i+1, of)
				return
			}
			h := fnv.New64()
			fmt.Fprint(h, name, i)
			begin, share := time.Now(), n*(i+1)/of-n*i/of
			o := &outcome{}
			if share > 0 {
				o = f(t, rand.New(rand.NewPCG(p.Seed, h.Sum64())), share)
			}
			show(t, o, name)
			if t.Failed() {
				return
			}
			p.Rows, p.At, p.Took = []table.Row{o.row(name)}, time.Now(), int(time.Since(begin).Seconds())
			if err := p.Write(bed.Results()); err != nil {
				t.Error(err)
			}
		})
	}
}

// faultTurns is in how many commits each fault has its turn once, in the short form.
const faultTurns = 5

// turnOf draws from what has n turns, by the commit.
func turnOf(t *testing.T, n uint32) int {
	commit, err := table.Commit(bed.Root())
	if err != nil {
		t.Fatal(err)
	}
	h := fnv.New32()
	fmt.Fprint(h, commit)
	return int(h.Sum32() % n)
}

// all that this run has done, by row.
var shown struct {
	mu    sync.Mutex // guards all below
	names []string
	sums  map[string]*outcome
}

// show notes what came of cases for the table, and judges.
func show(t *testing.T, o *outcome, name string) {
	t.Helper()
	shown.mu.Lock()
	if shown.sums == nil {
		shown.sums = map[string]*outcome{}
	}
	if shown.sums[name] == nil {
		shown.names = append(shown.names, name)
		shown.sums[name] = &outcome{}
	}
	shown.sums[name].add(o)
	shown.mu.Unlock()
	fmt.Printf("| crash | %s |\n", strings.Join(o.row(name), " | "))
	o.judge(t)
}

// showAll prints the table of this run.
func showAll() {
	if len(shown.names) == 0 {
		return
	}
	fmt.Printf("\n| what was done | %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)+1))
	for _, name := range shown.names {
		fmt.Printf("| %s |\n", strings.Join(shown.sums[name].row(name), " | "))
	}
}

// partOf returns the part of a row, and which row of its table it is. The command says the size: parts of other sizes are of another table.
func partOf(t *testing.T, name string) (table.Part, int) {
	t.Helper()
	commit, err := table.Commit(bed.Root())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tables {
		i := slices.Index(x.rows, name)
		if i < 0 {
			continue
		}
		p := table.Part{Name: x.name, Commit: commit, Seed: cmp.Or(*seedFlag, 1), Command: "make crash", Columns: append([]string{"what was done"}, columns...)}
		if x.size != nil && *x.size != x.long {
			p.Command += fmt.Sprintf(" %s=%d", x.word, *x.size)
		}
		return p, i
	}
	t.Fatalf("%q is in no table", name)
	return table.Part{}, 0
}

func rowsOf(name string) int {
	for _, x := range tables {
		if x.name == name {
			return len(x.rows)
		}
	}
	return 0
}

// shards returns which shard is to be done, from 0, -1 = all, and how many there are.
func shards(t *testing.T) (first, of int) {
	t.Helper()
	if *shard == "" {
		return -1, 10
	}
	a, b, _ := strings.Cut(*shard, "/")
	of, err := strconv.Atoi(b)
	first, err2 := strconv.Atoi(a)
	if a == "" {
		first, err2 = 0, nil
	}
	if err != nil || err2 != nil || of < 1 || of > 1000 || first < 0 || first > of || a != "" && first == 0 {
		t.Fatalf("-shard is %q, want i/n with i from 1 to n, or /n", *shard)
	}
	return first - 1, of
}
