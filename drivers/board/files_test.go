package board

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// reading returns how many goroutines read files for drivers.
func reading() (n int) {
	stacks := make([]byte, 1<<20)
	for _, one := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(one, "board.(*files)") {
			n++
		}
	}
	return n
}

// TestReadThatTheKernelHolds: a pipe without a writer holds its reader as long as a stuck part would. Reads end with their ctx, no second one goes
// to the kernel meanwhile, and when the kernel lets go the file is read again.
func TestReadThatTheKernelHolds(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "w1_slave")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFiles(dir)
	for i, want := range []string{
		"read /w1_slave: the kernel does not give it: context deadline exceeded",
		"read /w1_slave: an earlier read has not ended: context deadline exceeded",
		"read /w1_slave: an earlier read has not ended: context deadline exceeded",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		_, err := drivers.ReadFile(ctx, f, "w1_slave")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("read %d: got %v, want %s", i+1, err, want)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("read %d took %v", i+1, took)
		}
	}
	if n := reading(); n > 1 {
		t.Errorf("%d goroutines read files, want at most 1", n)
	}
	for _, text := range []string{"for nobody", "t=21312\n"} {
		got := make(chan string, 1)
		if text != "for nobody" {
			go func() {
				b, err := drivers.ReadFile(t.Context(), f, "w1_slave")
				got <- string(b)
				if err != nil {
					t.Error(err)
				}
			}()
		}
		w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // waits for a reader
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if text == "for nobody" {
			<-f.turn("w1_slave") // the read given up has ended
			f.turn("w1_slave") <- struct{}{}
			continue
		}
		if s := <-got; s != text {
			t.Errorf("got %q, want %q", s, text)
		}
	}
}

// TestFiles: what the files of the Host could do before, they can.
func TestFiles(t *testing.T) {
	files := New(nil).Files()
	if _, err := drivers.ReadFile(t.Context(), files, "proc/self/status"); err != nil {
		t.Error(err)
	}
	if _, err := drivers.ReadFile(t.Context(), files, "proc/self/nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := fs.ReadLink(files, "proc/self/exe"); err != nil {
		t.Error(err)
	}
	if list, err := fs.ReadDir(files, "proc/self"); err != nil || len(list) == 0 {
		t.Errorf("%d entries, %v", len(list), err)
	}
	if _, err := fs.Stat(files, "proc/self"); err != nil {
		t.Error(err)
	}
}
