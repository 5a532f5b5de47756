// Package memory keeps a few bytes for each device over restarts of the gateway: totals of counters above all.
//
// What a device stores lies at once in a directory on tmpfs, in two generations written in turn, so that a kill -9 in the middle of a write
// loses nothing but that write; and, when it changed, once a minute and on a clean stop in the state directory, written beside, synced and
// renamed. Of all that is found whole the newest counts, by a counter inside. What is damaged is set aside, never deleted, and said.
//
// After a clean stop and after kill -9 a device gets what it stored last. After a power cut it gets what it had stored up to a minute
// before, or nothing where it had begun within that minute: the former is told, so that a reading says where a total may have lost
// something. Nothing is written while nothing changes. A device that is taken out of the configuration leaves its file behind.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// every is how often what changed goes into the state directory.
const every = time.Minute

// firstCounter is the counter of the first generation of a device.
const firstCounter = 1

// Names of files: those of devices have no tilde.
const (
	kept    = "~kept"
	running = "~running" // it stands in the state directory while a gateway runs, and after a stop that was not clean
)

// Options say where things lie.
type Options struct {
	Fast string // directory on tmpfs, for this state directory alone; "" = there is none
	Slow string // directory on the disk
	Log  *slog.Logger
	// Trouble is told what became of each writing to the disk: nil = all of it is there.
	Trouble func(error)
}

// A Keeper keeps what all devices of a gateway store. It is safe for concurrent use.
type Keeper struct {
	o       Options
	unclean bool // the gateway before did not stop cleanly

	disk     sync.Mutex // one writing at a time; guards isMarked and isClosed
	isMarked bool
	isClosed bool

	mu    sync.Mutex // guards files
	files map[string]*file
}

// Open returns the keeper of the directories that o names, which are made at need. No other process uses them.
func Open(o Options) *Keeper {
	k := &Keeper{o: o, files: map[string]*file{}}
	_, err := os.Lstat(filepath.Join(o.Slow, running))
	k.unclean = !errors.Is(err, fs.ErrNotExist)
	k.disk.Lock()
	defer k.disk.Unlock()
	k.o.Trouble(k.mark())
	return k
}

// Host returns h with the memory of the device. old is told when what the device loads may be older than what it stored last: of when it
// is.
func (k *Keeper) Host(h drivers.Host, device string, old func(of time.Time)) drivers.Host {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.files[device]
	if f == nil {
		f = &file{k: k, name: device}
		k.files[device] = f
	}
	return &host{Host: h, memory: &view{f, old}}
}

// host is a Host that remembers.
type host struct {
	drivers.Host
	memory drivers.Memory
}

func (h *host) Memory(context.Context) drivers.Memory { return h.memory }

// view is a file as one reader of the device sees it.
type view struct {
	*file
	old func(of time.Time)
}

// Load is drivers.Memory.Load.
func (v *view) Load() ([]byte, error) {
	v.mu.Lock()
	b, old, err := v.loadLocked()
	v.mu.Unlock()
	if old != nil {
		v.old(*old)
	}
	return b, err
}

// file is the memory of one device.
type file struct {
	k    *Keeper
	name string

	mu      sync.Mutex // guards all below
	loaded  bool
	body    []byte // nil = nothing was stored yet
	counter uint64 // of body
	dirty   bool   // the disk does not have it
}

func (f *file) fast(n uint64) string {
	return filepath.Join(f.k.o.Fast, fmt.Sprintf("%s~%d", f.name, n%2))
}
func (f *file) slow() string { return filepath.Join(f.k.o.Slow, f.name+kept) }

// loadLocked looks for the newest copy that is whole, once. old says of when it is, where a newer one may have been lost.
func (f *file) loadLocked() (b []byte, old *time.Time, err error) {
	if f.loaded {
		return bytes.Clone(f.body), nil, nil
	}
	paths := []string{f.slow()}
	if f.k.o.Fast != "" {
		paths = []string{f.fast(0), f.fast(1), f.slow()}
	}
	var best, disk generation
	var bad []string
	var errs []error
	from := ""
	for _, path := range paths {
		raw, err := read(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("what the device keeps cannot be read: %w; give the gateway's user access to it", err)
		}
		g, err := decode(raw)
		if err != nil {
			bad, errs = append(bad, path), append(errs, fmt.Errorf("%s: %w", path, err))
			continue
		}
		if path == f.slow() {
			disk = g
		}
		if from == "" || g.counter > best.counter {
			best, from = g, path
		}
	}
	if from == "" && len(bad) == 1 && bad[0] == f.fast(firstCounter) {
		bad = nil // the very first write was interrupted: nothing was stored yet
	}
	if from == "" && len(bad) > 0 {
		f.loaded = true // said once; the device begins anew
		return nil, nil, fmt.Errorf("what the device kept is damaged and %s, it begins with nothing: %w", f.setAside(bad), errors.Join(errs...))
	}
	if slices.Contains(bad, f.slow()) { // a copy on tmpfs is torn by a kill, and written again soon
		f.k.o.Log.Error("what a device kept is damaged on disk; the copy in memory counts", "device", f.name, "file", f.setAside([]string{f.slow()}), "err", errors.Join(errs...))
	}
	f.loaded, f.body, f.counter = true, best.body, best.counter
	f.dirty = f.counter != disk.counter
	if from == f.slow() {
		if err := f.again(best); err != nil {
			f.k.o.Log.Warn("what a device kept is on disk only", "device", f.name, "err", err)
		}
		if f.k.unclean {
			old = &best.written
		}
	}
	return bytes.Clone(f.body), old, nil
}

// again puts what was found on disk on tmpfs, too, so that the next process finds it there after a kill.
func (f *file) again(g generation) error {
	if f.k.o.Fast == "" {
		return nil
	}
	return overwrite(f.fast(g.counter), encode(g))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// setAside renames what is damaged, and says to what.
func (f *file) setAside(paths []string) string {
	said := ""
	for _, p := range paths {
		to := p + "~bad-" + time.Now().UTC().Format("20060102T150405Z")
		for n, stem := 2, to; exists(to); n++ {
			to = fmt.Sprintf("%s-%d", stem, n)
		}
		if err := os.Rename(p, to); err != nil {
			said += fmt.Sprintf(" cannot be set aside (%v)", err)
		} else if filepath.Dir(p) == f.k.o.Slow || said == "" {
			said = " set aside as " + to
		}
	}
	return said[1:]
}

// Store is drivers.Memory.Store.
func (f *file) Store(b []byte) error {
	if len(b) > drivers.MemoryMost {
		return fmt.Errorf("keep %d bytes: at most %d are kept for a device", len(b), drivers.MemoryMost)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, err := f.loadLocked(); err != nil && !f.loaded {
		return err // its counter is not known
	}
	if f.body != nil && bytes.Equal(f.body, b) {
		return nil
	}
	g := generation{counter: f.counter + 1, written: time.Now(), body: append([]byte{}, b...)}
	if f.k.o.Fast != "" {
		if err := overwrite(f.fast(g.counter), encode(g)); err != nil {
			return fmt.Errorf("keep %d bytes: %w", len(b), err)
		}
	}
	f.body, f.counter, f.dirty = g.body, g.counter, true
	return nil
}

// Run writes to the disk what changed, once a minute, until ctx is done.
func (k *Keeper) Run(ctx context.Context) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			k.disk.Lock()
			k.o.Trouble(k.flush())
			k.disk.Unlock()
		}
	}
}

// Close writes to the disk what changed, and notes that all of it is there. Readers have ended before, but for those left behind: what these
// store now lies on tmpfs only.
func (k *Keeper) Close() error {
	k.disk.Lock()
	defer k.disk.Unlock()
	if k.isClosed {
		return nil
	}
	k.isClosed = true
	err := k.flush()
	if err == nil && k.isMarked {
		if err = os.Remove(filepath.Join(k.o.Slow, running)); errors.Is(err, fs.ErrNotExist) {
			err = nil // somebody has emptied the directory
		}
		err = errors.Join(err, syncDir(k.o.Slow))
	}
	if err != nil {
		return fmt.Errorf("write what devices keep: %w", err)
	}
	return nil
}

// mark notes on the disk that a gateway runs.
func (k *Keeper) mark() error {
	if k.isMarked {
		return nil
	}
	if err := write(k.o.Slow, running, nil); err != nil {
		return fmt.Errorf("note that devices may keep something: %w", err)
	}
	k.isMarked = true
	return errors.Join(syncDir(k.o.Slow), syncDir(filepath.Dir(k.o.Slow)))
}

// flush writes what changed.
func (k *Keeper) flush() error {
	k.mu.Lock()
	list := make([]*file, 0, len(k.files))
	for _, f := range k.files {
		list = append(list, f)
	}
	k.mu.Unlock()
	errs := []error{k.mark()}
	var done []generation
	var of []*file
	for _, f := range list {
		f.mu.Lock()
		g, dirty := generation{counter: f.counter, written: time.Now(), body: f.body}, f.dirty
		f.mu.Unlock()
		if !dirty {
			continue
		}
		if err := write(k.o.Slow, f.name+kept, encode(g)); err != nil {
			errs = append(errs, fmt.Errorf("write what device %s keeps: %w", f.name, err))
			continue
		}
		done, of = append(done, g), append(of, f)
	}
	if len(done) > 0 {
		if err := syncDir(k.o.Slow); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	for i, f := range of {
		f.mu.Lock()
		f.dirty = f.counter != done[i].counter
		f.mu.Unlock()
	}
	return errors.Join(errs...)
}
