// Package table keeps what rigs have measured, a file for each part of a table, until it is merged into RELIABILITY.md: a run that is interrupted goes
// on with the parts that are missing, and what was measured on another tree is not mixed in.
package table

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Part is one of the parts that a table is measured in, and what was measured. Parts belong together that have the name, commit, seed, command
// and columns in common.
type Part struct {
	Name    string    `json:"name"`   // of the table, between its markers: letters, digits and -
	Commit  string    `json:"commit"` // of the tree, see Commit
	Seed    uint64    `json:"seed"`   // that all that was drawn comes from; 0 = nothing is drawn
	Part    int       `json:"part"`   // which one, from 0
	Of      int       `json:"of"`     // how many there are
	Command string    `json:"command"`
	At      time.Time `json:"at"`   // of the end
	Took    int       `json:"took"` // seconds; of several parts, all of theirs
	Columns []string  `json:"columns"`
	Rows    []Row     `json:"rows"`
}

// A Row has its name in the first column, and a cell for each of the others. A cell of "" was not measured by this part; numbers of several parts are
// added, and of numbers with a unit, which are the worst of a part ("1.25 s", "83 %"), the greatest stays.
type Row []string

var names = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

func (p *Part) check() error {
	if !names.MatchString(p.Name) || p.Commit == "" || p.Command == "" || p.At.IsZero() || p.Of < 1 || p.Part < 0 || p.Part >= p.Of || len(p.Columns) == 0 {
		return fmt.Errorf("got part %d of %d of table %q of commit %q by %q at %v with %d columns: each must be there", p.Part, p.Of, p.Name, p.Commit, p.Command, p.At, len(p.Columns))
	}
	for _, r := range p.Rows {
		if len(r) != len(p.Columns) || r[0] == "" {
			return fmt.Errorf("got a row %q, want a name and in all %d cells", r, len(p.Columns))
		}
		for _, cell := range append(slices.Clone(p.Columns), r...) {
			if strings.ContainsAny(cell, "|\n\r") {
				return fmt.Errorf("got a cell %q, want it on one line, without |", cell)
			}
		}
	}
	return nil
}

func (p *Part) path(dir string) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%.12s-%d-%d-of-%d.json", p.Name, p.Commit, p.Seed, p.Part, p.Of))
}

// Commit returns the commit of the tree at root, with "-changed" behind it where files that are followed are not as in it. What RELIABILITY.md says
// changes nothing that is measured.
func Commit(root string) (string, error) {
	git := func(args ...string) (string, error) {
		// The tree may be another user's, as rigs run as root.
		out, err := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	changed, err2 := git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!RELIABILITY.md")
	if err := errors.Join(err, err2); err != nil {
		return "", fmt.Errorf("commit of %s: %w", root, err)
	}
	if changed != "" {
		commit += changedSuffix
	}
	return commit, nil
}

const changedSuffix = "-changed"

// Done returns whether dir has this part already, of this commit and seed: it need not be measured again. Of a tree that was changed nothing is done.
func (p *Part) Done(dir string) bool {
	if strings.HasSuffix(p.Commit, changedSuffix) {
		return false
	}
	was, err := read(p.path(dir))
	return err == nil && was.same(p) && was.Part == p.Part
}

// same reports whether two parts belong to one table.
func (p *Part) same(q *Part) bool {
	return p.Name == q.Name && p.Commit == q.Commit && p.Seed == q.Seed && p.Of == q.Of && p.Command == q.Command && slices.Equal(p.Columns, q.Columns)
}

// Write keeps a part in dir. A part is written when all of it went well.
func (p *Part) Write(dir string) error {
	if err := p.check(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	path := p.path(dir)
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(path+".new", append(b, '\n'), 0o644), os.Rename(path+".new", path))
}

func read(path string) (*Part, error) {
	b, err := os.ReadFile(path)
	p := &Part{}
	if err == nil {
		err = json.Unmarshal(b, p)
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Read returns the tables of which dir has all parts, of each name the newest, and says in missing what is not there of newer ones.
func Read(dir string) (whole []*Part, missing []string, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, nil, err
	}
	var groups [][]*Part
	for _, path := range paths {
		p, err := read(path)
		if err != nil {
			return nil, nil, err
		}
		if i := slices.IndexFunc(groups, func(g []*Part) bool { return g[0].same(p) }); i >= 0 {
			groups[i] = append(groups[i], p)
		} else {
			groups = append(groups, []*Part{p})
		}
	}
	newest := func(g []*Part) time.Time {
		return slices.MaxFunc(g, func(a, b *Part) int { return a.At.Compare(b.At) }).At
	}
	slices.SortFunc(groups, func(a, b []*Part) int {
		return cmp.Or(cmp.Compare(a[0].Name, b[0].Name), newest(b).Compare(newest(a)))
	})
	for _, g := range groups {
		switch name := g[0].Name; {
		case len(whole) > 0 && whole[len(whole)-1].Name == name: // there is a newer one
		case strings.HasSuffix(g[0].Commit, changedSuffix):
			missing = append(missing, fmt.Sprintf("%s: commit %.12s was changed: what is not committed cannot be looked up", name, g[0].Commit))
		case len(g) < g[0].Of:
			missing = append(missing, fmt.Sprintf("%s: commit %.12s has %d of %d parts: run again: %s", name, g[0].Commit, len(g), g[0].Of, g[0].Command))
		default:
			m, err := merge(g)
			if err != nil {
				return nil, nil, err
			}
			whole = append(whole, m)
		}
	}
	return whole, missing, nil
}

// merge makes one of parts that belong together.
func merge(parts []*Part) (*Part, error) {
	slices.SortFunc(parts, func(a, b *Part) int { return cmp.Compare(a.Part, b.Part) })
	out := *parts[0]
	out.Rows, out.Took = nil, 0
	for _, p := range parts {
		out.Took += p.Took
		if p.At.After(out.At) {
			out.At = p.At
		}
		for _, r := range p.Rows {
			i := slices.IndexFunc(out.Rows, func(o Row) bool { return o[0] == r[0] })
			if i < 0 {
				out.Rows = append(out.Rows, slices.Clone(r))
				continue
			}
			for c := 1; c < len(r); c++ {
				cell, err := add(out.Rows[i][c], r[c])
				if err != nil {
					return nil, fmt.Errorf("table %s, row %s, column %s: %w", p.Name, r[0], p.Columns[c], err)
				}
				out.Rows[i][c] = cell
			}
		}
	}
	return &out, nil
}

// add makes one cell of two.
func add(a, b string) (string, error) {
	x, err1 := strconv.ParseInt(a, 10, 64)
	y, err2 := strconv.ParseInt(b, 10, 64)
	switch {
	case err1 == nil && err2 == nil:
		return strconv.FormatInt(x+y, 10), nil
	case a == "" || a == b:
		return b, nil
	case b == "":
		return a, nil
	}
	if x, unit, ok := worst(a); ok {
		if y, other, ok := worst(b); ok && unit == other {
			return map[bool]string{true: a, false: b}[x >= y], nil
		}
	}
	return "", fmt.Errorf("got %q and %q, of which no one cell can be made", a, b)
}

// worst takes a cell apart that says a number with a unit.
func worst(cell string) (n float64, unit string, ok bool) {
	digits, unit, _ := strings.Cut(cell, " ")
	n, err := strconv.ParseFloat(digits, 64)
	return n, unit, err == nil && (unit == "s" || unit == "%")
}

// Put puts a table into text, between its markers, in the place of what is there.
func (p *Part) Put(text string) (string, error) {
	begin, end := fmt.Sprintf("<!-- table %s -->\n", p.Name), fmt.Sprintf("<!-- end %s -->\n", p.Name)
	before, rest, found := strings.Cut(text, begin)
	_, after, found2 := strings.Cut(rest, end)
	if !found || !found2 || strings.Contains(before+after, begin) || strings.Contains(after, end) {
		return "", fmt.Errorf("table %s: want the lines %q and %q once, in this order", p.Name, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	var b strings.Builder
	seed := ""
	if p.Seed != 0 {
		seed = fmt.Sprintf(", seed %d", p.Seed)
	}
	fmt.Fprintf(&b, "Commit %s, %s%s: `%s`, %v", p.Commit, p.At.UTC().Format("2006-01-02"), seed, p.Command, time.Duration(p.Took)*time.Second)
	if p.Of > 1 {
		fmt.Fprintf(&b, " in all of its %d parts, some at a time", p.Of)
	}
	b.WriteString(".\n\n")
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(p.Columns, " | "), strings.Repeat("---|", len(p.Columns)))
	for _, r := range p.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
	}
	return before + begin + b.String() + end + after, nil
}
