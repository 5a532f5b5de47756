package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// trouble remembers since when commits fail, and why. It is safe for concurrent use.
type trouble struct {
	mu  sync.Mutex // guards all below
	at  time.Time  // of the first that failed; zero = the last one went well
	err error      // of the last one
}

// note takes what became of a commit.
func (t *trouble) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.at = time.Time{}
	case t.at.IsZero():
		t.at = time.Now()
	}
	t.err = err
}

func (t *trouble) since() (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at, t.err
}

// closeWithin is how long a store may take to close: what it holds in memory goes to the disk, or never does where that is broken.
const closeWithin = 5 * time.Second

// closeQueue closes the queue, or leaves it behind where that does not return: on a disk that cannot be written Badger tries for ever. All that was
// committed is in its log. Where its directory was deleted it is closed in an empty one, so that nothing of it comes into the next store; where
// another one was put in its place it is not closed.
func (l *opened) closeQueue() error {
	if l.foreign {
		return nil
	}
	if gone, _ := l.claim.IsGone(); gone {
		dir := filepath.Join(l.claim.Dir, "buffer")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("close store: %w", err)
		}
		defer os.RemoveAll(dir)
	}
	done := make(chan error, 1)
	go func() { done <- l.queue.Close() }()
	t := time.NewTimer(closeWithin)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errors.New("close store: it does not return, and is left behind")
	}
}
