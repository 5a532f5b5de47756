package board

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/tidegate-io/tidegate/drivers"
)

// dirFS is what os.DirFS can do.
type dirFS interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
	fs.ReadLinkFS
}

// files is the file system, with reads that end. It is a drivers.ContextFS.
type files struct {
	dirFS

	mu    sync.Mutex
	turns map[string]chan struct{} // guarded by mu; by the name of a file that was read so: holds a token while nobody reads it
}

var _ drivers.ContextFS = (*files)(nil)

// newFiles returns the files below dir.
func newFiles(dir string) *files {
	return &files{dirFS: os.DirFS(dir).(dirFS), turns: map[string]chan struct{}{}}
}

// turn returns whose token the reader of name takes.
func (f *files) turn(name string) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.turns[name]
	if !ok {
		t = make(chan struct{}, 1)
		t <- struct{}{}
		f.turns[name] = t
	}
	return t
}

// ReadFileContext reads name; see drivers.ContextFS. A read that is given up goes on in the background until the kernel lets go of it; there is
// never more than one of a file.
func (f *files) ReadFileContext(ctx context.Context, name string) ([]byte, error) {
	turn := f.turn(name)
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read /%s: an earlier read has not ended: %w", name, ctx.Err())
	case <-turn:
	}
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { turn <- struct{}{} }()
		b, err := f.ReadFile(name)
		done <- result{b, err}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read /%s: the kernel does not give it: %w", name, ctx.Err())
	case r := <-done:
		return r.b, r.err
	}
}
