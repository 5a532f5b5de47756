package external

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A stamp is what changes when somebody writes or replaces a file.
type stamp struct {
	size   int64
	inode  uint64
	change time.Time
}

// A watch sees that one of the program's files was changed since it was started.
type watch struct {
	paths  []string
	before []stamp // at the start
	seen   []stamp // at the last look; nil = there was none
}

// begin notes how the program's files are now: its own, and its script if the first argument that is no option is a file. The error says that
// a file is not there, or that anybody could write to it.
func (w *watch) begin(dir string, command []string) error {
	w.paths, w.seen = []string{inDir(dir, command[0])}, nil
	for _, arg := range command[1:] {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if f, err := os.Stat(inDir(dir, arg)); err == nil && f.Mode().IsRegular() {
			w.paths = append(w.paths, inDir(dir, arg))
		}
		break
	}
	for _, path := range w.paths {
		f, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("look at program: %w", err)
		}
		if f.Mode().Perm()&0o002 != 0 {
			return fmt.Errorf("program %s can be written by everybody (mode %04o), and would be executed as the gateway; chmod o-w %s", path, f.Mode().Perm(), path)
		}
	}
	w.before = w.look()
	return nil
}

// look returns how the files are now; the zero stamp for one that is not there.
func (w *watch) look() []stamp {
	out := make([]stamp, len(w.paths))
	for i, path := range w.paths {
		f, err := os.Stat(path)
		if err != nil {
			continue
		}
		out[i] = stamp{size: f.Size(), change: f.ModTime()}
		if s, ok := f.Sys().(*syscall.Stat_t); ok {
			out[i].inode = s.Ino
		}
	}
	return out
}

// changed reports whether the files are others than at the start, all there, and as they were at the last look: nobody is still writing.
func (w *watch) changed() bool {
	now := w.look()
	isOther, isSteady := false, w.seen != nil
	for i := range now {
		isOther = isOther || now[i] != w.before[i]
		isSteady = isSteady && now[i] == w.seen[i] && now[i] != stamp{}
	}
	w.seen = now
	return isOther && isSteady
}

func inDir(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
