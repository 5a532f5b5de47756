package brick

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEachSync leaves out, in one command, all syncs of one file or folder at a time, on a disk that is worse than any: it loses all that was done to the
// names in that folder, or was written to that file, although it keeps everything else, and later. Each must be seen: behind the command, as not all is
// there that was; or by a cut behind one of these syncs, by what TestKill judges by, or as it costs more of a download than it may.
func TestEachSync(t *testing.T) {
	eachScenario(t, bySync, func(t *testing.T, s *scenario) map[string]int {
		w := newWorld(t, s)
		w.prepare()
		w.must(copyTo(w.state, w.own+"/start"))
		number, syncs, toLose, seen := 0, 0, 0, 0
		for c, argv := range s.commands(w) {
			w.must(copyTo(w.own+"/start", w.state))
			calls := w.calls(argv)
			w.must(copyTo(w.state, w.own+"/end"))
			var done []string
			for _, at := range calls {
				if !at.isSync() {
					continue
				}
				if syncs++; slices.Contains(done, at.path) {
					continue
				}
				done = append(done, at.path)
				l := &loss{w: w, calls: calls, file: at.path, folder: w.isFolder(at.path)}
				if !l.any() || slices.ContainsFunc(s.mayLose, func(dir string) bool { return strings.HasPrefix(at.path, dir) }) {
					continue
				}
				toLose++
				if number++; !s.tried(number) {
					continue
				}
				bad := l.seen(c, argv)
				if bad.kind != "" {
					seen++
				} else {
					t.Errorf("%s: %s without any sync of %s: nothing is found", s.name, name(argv), at.file)
				}
				if *show {
					fmt.Printf("%s: command %d, %s without any sync of %s: %s\n", s.name, c+1, name(argv), at.file, bad.text)
				}
			}
			w.must(copyTo(w.own+"/end", w.own+"/start"))
		}
		fmt.Printf("| brick/sync | %s | %d syncs, of %d files and folders with something to lose | %d left out and seen |\n", s.name, syncs, toLose, seen)
		return map[string]int{bySync.columns[0]: syncs, bySync.columns[1]: toLose, bySync.columns[2]: seen}
	})
}

// isFolder reports whether what is synced is a folder: these are there behind a command.
func (w *world) isFolder(path string) bool {
	st, err := os.Stat(filepath.Join(w.own, "end", path))
	return err == nil && st.IsDir()
}

// A loss is what it costs that nothing of a file or folder was synced.
type loss struct {
	w      *world
	calls  []point
	file   string // below the state directory
	folder bool
}

func (l *loss) at(path string) string { return filepath.Join(l.w.state, path) }
func (l *loss) saved(i int) string    { return fmt.Sprintf("%s/saved/%d", l.w.own, i) }

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// changes reports whether a call does what is lost.
func (l *loss) changes(i int) bool {
	p := &l.calls[i]
	if !l.folder {
		return p.path == l.file && (strings.Contains(p.call, "write") || strings.Contains(p.call, "open"))
	}
	switch p.call {
	case "rename", "link", "symlink", "unlink", "rmdir", "mkdir", "open", "openat", "creat":
		return filepath.Dir(p.path) == l.file
	}
	return false
}

// any reports whether there is anything to lose.
func (l *loss) any() bool {
	for i := range l.calls {
		if l.changes(i) {
			return true
		}
	}
	return false
}

// seen cuts the power behind the command, and behind each of the syncs and the calls that follow it, until something is found.
func (l *loss) seen(c int, argv []string) (bad finding) {
	places := []int{len(l.calls)}
	for i, p := range l.calls {
		if p.isSync() && p.path == l.file {
			places = append(places, i+1, i+2, i+3)
		}
	}
	slices.Sort(places[1:])
	for _, n := range slices.Compact(places) {
		if n > len(l.calls) || bad.kind != "" {
			break
		}
		bad = l.cut(c, argv, n)
	}
	return bad
}

// cut cuts the power before call n, or behind the command where there is none.
func (l *loss) cut(c int, argv []string, n int) (bad finding) {
	w := l.w
	w.t.Helper()
	w.must(errors.Join(os.RemoveAll(w.own+"/saved"), os.Mkdir(w.own+"/saved", 0o700)))
	e := w.ended(argv, l.calls, n, func(i int) {
		if l.folder && l.changes(i) && there(l.at(l.calls[i].path)) {
			w.must(copyTo(l.at(l.calls[i].path), l.saved(i)))
		}
	})
	before := w.tree()
	e.came = w.downloaded()
	w.must(l.lose(n))
	if n == len(l.calls) {
		return w.misses(before)
	}
	e.allowed = w.s.may(c, false)
	_, bad = w.judge(e)
	return bad
}

// lose takes from the disk what was not synced of what was done before call n.
func (l *loss) lose(n int) (err error) {
	file := l.file
	for i := n - 1; i >= 0 && l.folder && err == nil; i-- {
		p := &l.calls[i]
		if !l.changes(i) {
			continue
		}
		if p.call == "rename" && there(l.at(p.path)) && filepath.Dir(p.from) == l.file {
			err = os.Rename(l.at(p.path), l.at(p.from))
		} else {
			err = os.RemoveAll(l.at(p.path))
		}
		if err == nil && there(l.saved(i)) {
			err = copyTo(l.saved(i), l.at(p.path))
		}
	}
	if l.folder {
		return err
	}
	first := slices.IndexFunc(l.calls, func(p point) bool { return p.path == file })
	for _, p := range l.calls[first:n] { // it may have another name by now, or be no more
		switch {
		case p.call == "rename" && p.from == file:
			file = p.path
		case p.call == "unlink" && p.path == file && !there(l.at(file)):
			return nil
		}
	}
	return os.Truncate(l.at(file), 0)
}
