package table

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func part(n int, rows ...Row) *Part {
	return &Part{
		Name: "brick", Commit: "0123456789abcdef", Seed: 7, Part: n, Of: 2, Command: "make brick", Took: 90,
		At: time.Date(2026, 11, 28, 12, n, 0, 0, time.UTC), Columns: []string{"scenario", "kills", "how"}, Rows: rows,
	}
}

func write(t *testing.T, dir string, parts ...*Part) {
	t.Helper()
	for _, p := range parts {
		if err := p.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
}

const page = "before\n<!-- table brick -->\nold\n<!-- end brick -->\nbehind\n"

func TestMerge(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, part(0, Row{"whole", "3", "well"}, Row{"delta", "", "well"}), part(1, Row{"whole", "4", "well"}, Row{"delta", "5", ""}))
	whole, missing, err := Read(dir)
	if err != nil || len(missing) > 0 || len(whole) != 1 {
		t.Fatalf("got %v, missing %q, %v", whole, missing, err)
	}
	got, err := whole[0].Put(page)
	want := "before\n<!-- table brick -->\nCommit 0123456789abcdef, 2026-11-28, seed 7: `make brick`, 3m0s in all of its 2 parts, some at a time.\n\n" +
		"| scenario | kills | how |\n|---|---|---|\n| whole | 7 | well |\n| delta | 5 | well |\n<!-- end brick -->\nbehind\n"
	if err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if again, err := whole[0].Put(got); err != nil || again != got {
		t.Errorf("put once more: got %q, %v", again, err)
	}
}

// TestMergeWorst: of what is the worst of each part the worst is that of all; other texts are not put together.
func TestMergeWorst(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"9.50 s", "10.25 s", "10.25 s"},
		{"10.25 s", "9.50 s", "10.25 s"},
		{"83 %", "9 %", "83 %"},
		{"", "2.00 s", "2.00 s"},
		{"2.00 s", "", "2.00 s"},
		{"2.00 s", "3 %", ""},
		{"2 m", "3 m", ""},
		{"2.00 s", "3", ""},
	} {
		got, err := add(tt.a, tt.b)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q and %q: got %q, %v, want %q", tt.a, tt.b, got, err, tt.want)
		}
	}
}

// TestResumed: a part that is there need not be measured again, one of another tree, seed or command must.
func TestResumed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, part(0, Row{"whole", "3", ""}))
	for what, tt := range map[string]struct {
		change func(p *Part)
		done   bool
	}{
		"the same":        {func(*Part) {}, true},
		"measured later":  {func(p *Part) { p.At, p.Rows = time.Time{}, nil }, true},
		"another part":    {func(p *Part) { p.Part = 1 }, false},
		"another commit":  {func(p *Part) { p.Commit = "f" + p.Commit[1:] }, false},
		"a longer name":   {func(p *Part) { p.Commit += "0" }, false},
		"another seed":    {func(p *Part) { p.Seed++ }, false},
		"in more parts":   {func(p *Part) { p.Of = 3 }, false},
		"other columns":   {func(p *Part) { p.Columns = []string{"scenario"} }, false},
		"another command": {func(p *Part) { p.Command = "make long" }, false},
	} {
		p := part(0)
		tt.change(p)
		if got := p.Done(dir); got != tt.done {
			t.Errorf("%s: done is %v, want %v", what, got, tt.done)
		}
	}
	changed := part(0, Row{"whole", "3", ""})
	changed.Commit += "-changed"
	write(t, dir, changed)
	if changed.Done(dir) {
		t.Error("a part of a changed tree is done")
	}
}

// TestNotWhole: what is not complete, or cannot be looked up, takes the place of nothing.
func TestNotWhole(t *testing.T) {
	newer, changed := part(0, Row{"whole", "9", ""}), part(0, Row{"whole", "9", ""})
	newer.Commit, newer.At = "ffff456789abcdef", newer.At.Add(time.Hour)
	changed.Commit, changed.Of, changed.At = "0123456789abcdef-changed", 1, changed.At.Add(time.Hour)
	for what, tt := range map[string]struct {
		parts   []*Part
		whole   string
		missing string
	}{
		"one of two":      {[]*Part{part(1)}, "", "has 1 of 2 parts: run again: make brick"},
		"newer, half":     {[]*Part{part(0, Row{"whole", "3", ""}), part(1), newer}, "3", "has 1 of 2 parts"},
		"newer, changed":  {[]*Part{part(0, Row{"whole", "3", ""}), part(1), changed}, "3", "was changed"},
		"older, half":     {[]*Part{{Name: "brick", Commit: "a", Of: 2, Command: "x", At: time.Unix(1, 0), Columns: []string{"a"}}, part(0, Row{"whole", "3", ""}), part(1)}, "3", ""},
		"nothing at all ": {nil, "", ""},
	} {
		dir := t.TempDir()
		write(t, dir, tt.parts...)
		whole, missing, err := Read(dir)
		got := ""
		if len(whole) > 0 {
			got = whole[0].Rows[0][1]
		}
		if err != nil || got != tt.whole || !strings.Contains(strings.Join(missing, "; "), tt.missing) || (tt.missing == "") != (len(missing) == 0) {
			t.Errorf("%s: got %q, missing %q, %v, want %q and %q", what, got, missing, err, tt.whole, tt.missing)
		}
	}
}

func TestRefused(t *testing.T) {
	for what, change := range map[string]func(p *Part){
		"no name":           func(p *Part) { p.Name = "" },
		"a path":            func(p *Part) { p.Name = "../brick" },
		"no commit":         func(p *Part) { p.Commit = "" },
		"no time":           func(p *Part) { p.At = time.Time{} },
		"part 2 of 2":       func(p *Part) { p.Part = 2 },
		"a cell too few":    func(p *Part) { p.Rows = []Row{{"whole", "1"}} },
		"a row of no name":  func(p *Part) { p.Rows = []Row{{"", "1", ""}} },
		"a cell of columns": func(p *Part) { p.Rows = []Row{{"whole", "1 | 2", ""}} },
	} {
		p := part(0)
		change(p)
		if err := p.Write(t.TempDir()); err == nil {
			t.Errorf("%s: written", what)
		}
	}
	dir := t.TempDir()
	write(t, dir, part(0, Row{"whole", "3", "well"}), part(1, Row{"whole", "4", "badly"}))
	if _, _, err := Read(dir); err == nil || !strings.Contains(err.Error(), `got "well" and "badly"`) {
		t.Errorf("two texts in one cell: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte(`{"name": "brick"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "x.json") {
		t.Errorf("a file of little: %v", err)
	}
	for _, text := range []string{"", "<!-- table brick -->\n", "<!-- end brick -->\n<!-- table brick -->\n", page + page} {
		if got, err := part(0).Put(text); err == nil {
			t.Errorf("put into %q: got %q", text, got)
		}
	}
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		c := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@localhost"}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Commit(dir); err == nil {
		t.Errorf("of no tree: got %q", got)
	}
	git("init", "-q")
	put("RELIABILITY.md", "x")
	put("x.go", "x")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	clean, err := Commit(dir)
	if err != nil || len(clean) != 40 {
		t.Fatalf("got %q, %v", clean, err)
	}
	put("RELIABILITY.md", "y")
	put("other", "y")
	if got, err := Commit(dir); got != clean || err != nil {
		t.Errorf("with another page and a file that is not followed: got %q, %v, want %q", got, err, clean)
	}
	put("x.go", "y")
	if got, err := Commit(dir); got != clean+"-changed" || err != nil {
		t.Errorf("changed: got %q, %v", got, err)
	}
}
