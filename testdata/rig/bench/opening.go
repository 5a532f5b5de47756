package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// An opening is how long a store took to open.
type opening struct {
	bytes int64 // of its files
	how   string
	took  time.Duration
}

// openings fills a store in a process, kills that in the midst of it, and opens the store in another one: with nothing of it in the kernel's cache,
// and once more.
func openings(ctx context.Context, self string, p plan, dir string) (out []opening, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d, err := newDisk(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := fillAndKill(ctx, self, d.dir, p.storeBytes); err != nil {
		return nil, err
	}
	if err := errors.Join(d.close(), d.again(dir)); err != nil {
		return nil, err
	}
	size, err := sizeOf(filepath.Join(d.dir, "buffer"))
	if err != nil {
		return nil, err
	}
	for _, how := range []string{"cold", "once more"} {
		cmd := exec.CommandContext(ctx, self, "open", d.dir)
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		if err != nil {
			return nil, err
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, opening{size, how, time.Duration(ns)})
		fmt.Fprintf(os.Stderr, "bench: %d bytes open in %v, %s\n", size, time.Duration(ns), how)
	}
	return out, nil
}

// again mounts the image once more.
func (d *disk) again(dir string) error {
	out, err := exec.Command("mount", "-o", "loop", filepath.Join(dir, "state.img"), d.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount: %w: %s", err, out)
	}
	return nil
}

// fillAndKill has a process write to the store until it holds so many bytes, and kills it while it goes on.
func fillAndKill(ctx context.Context, self, dir string, size int64) error {
	cmd := exec.CommandContext(ctx, self, "fill", dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as it says
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			return err
		}
		if n >= size {
			return nil
		}
	}
	return errors.Join(io.ErrUnexpectedEOF, lines.Err())
}

func sizeOf(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err == nil && st.Mode().IsRegular() {
			n += st.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return err
	})
	return n, err
}

// openQueue opens the queue of dir as the gateway does.
func openQueue(dir string) (*buffer.Queue, error) {
	cut := func([]byte, int, int) ([]byte, error) { return nil, errors.New("nothing is cut here") }
	each := func([]byte, func(string, int)) error { return errors.New("nothing is apart here") }
	return buffer.Open(buffer.Options{
		Dir: dir, Limits: buffer.Limits{MaxBytes: 1900 << 20, Keep: time.Hour}, Uplinks: []string{"far"}, Count: frame.Count, Each: each, Cut: cut, Version: "bench",
		Log: slog.New(slog.DiscardHandler),
	})
}

// fillMain writes frames of random bytes, and says after each commit how many there are.
func fillMain(args []string) error {
	q, err := openQueue(args[0])
	if err != nil {
		return err
	}
	go func() { _ = q.Compact(context.Background()) }()
	q.AddEpoch(1, buffer.Epoch{ID: "e1", Start: 1})
	const records, size = 2000, 160 << 10
	r := rand.NewChaCha8([32]byte{1})
	for total, next := int64(0), uint64(1); ; next += records {
		f := buffer.Frame{Epoch: 1, Class: tidegate.ClassReading, First: next, Last: next + records - 1, Count: 40 * records, Body: make([]byte, size)}
		f.T0, f.T1 = int64(next), int64(next)
		_, _ = r.Read(f.Body) // never fails
		q.Put(f)
		if err := q.Commit(buffer.Commit{Frames: []buffer.Frame{f}, Position: buffer.Position{Epoch: 1, Next: f.Last + 1, Time: 1}}); err != nil {
			return err
		}
		total += size
		fmt.Println(total)
	}
}

// openMain says how many nanoseconds the store takes to open.
func openMain(args []string) error {
	began := time.Now()
	q, err := openQueue(args[0])
	if err != nil {
		return err
	}
	took := time.Since(began)
	if st := q.Stats(); st.Produced.Device().Records == 0 {
		return errors.New("the store is empty")
	}
	fmt.Println(took.Nanoseconds())
	return nil // killed once more, as it were
}
