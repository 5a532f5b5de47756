package slots

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Release is a program to stage, as it was signed.
type Release struct {
	Counter uint64
	Version string
	Length  int64 // bytes
	SHA256  string
	SHA512  string // both in lower-case hex, both are checked
}

// reserve is what must stay free on disk beside a program that is staged, in bytes: records, and what the gateway stores meanwhile.
const reserve = 1 << 20

// A Placer writes the program. It is package ota/slots/stage, which is apart because the launcher needs nothing of it.
type Placer interface {
	// Prepare writes the program to the file New(target). There is always a file target.
	Prepare(target string) error
	// Commit gives it the name target, in the place of what has it.
	Commit(target string) error
}

// New is the name of a program that is not yet in its place: selfupdate's.
func New(target string) string { return placed(target, "new") }

// Stage has a program written to the slot that is not in use, and nothing else: what runs, and what would run after a power cut, stays as it
// is. When it returns nil the program was read again from disk, and is what rel says; Switch may come then. It is called through package
// ota/slots/stage.
//
// The lock is held all the time. Errors wrap ErrTrial, ErrKnown, ErrCounter, ErrSpace, ErrLength, ErrHash, ErrELF, ErrNoExec, ErrBusy, or what
// the Placer or the disk said.
func (s *Slots) Stage(rel Release, by Placer) error {
	p := Program{Counter: rel.Counter, Version: rel.Version, SHA256: rel.SHA256, Length: rel.Length}
	if err := p.check(); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	unlock, err := s.lock(s.patience)
	if err != nil {
		return err
	}
	defer unlock()
	v := s.look()
	if err := s.mend(&v); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if err := s.Startable(); err != nil {
		return fmt.Errorf("stage release %d: %w", rel.Counter, err)
	}
	best, inUse := s.incumbent(&v)
	switch {
	case v.trial.Phase == Running:
		return fmt.Errorf("stage release %d: %w, of release %d", rel.Counter, ErrTrial, v.trial.Counter)
	case v.trial.failed(rel.SHA256):
		return fmt.Errorf("stage release %d: %w: %s", rel.Counter, ErrKnown, rel.SHA256)
	case rel.Counter <= inUse.Counter:
		return fmt.Errorf("stage: %w: got %d, in use is %d", ErrCounter, rel.Counter, inUse.Counter)
	}
	// The link may still lead to what is no longer the best.
	if err = s.point(best); err == nil {
		err = s.stage(v.spare(best), p, by)
	}
	if err != nil {
		return fmt.Errorf("stage release %d: %w", rel.Counter, err)
	}
	return nil
}

// stage puts the program into a slot. Until the program is known to be good on disk the slot keeps what it has: it may be the way back.
func (s *Slots) stage(o *slotView, p Program, by Placer) error {
	target := s.program(o.slot)
	if err := s.space(filepath.Dir(target), p.Length+reserve); err != nil {
		return err
	}
	// What writes it looks at what it replaces: there is always something, and it is a file. Who opens a pipe waits for ever.
	if st, err := os.Lstat(target); err == nil && !st.Mode().IsRegular() {
		if err := s.disk.Remove(target); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := s.prepare(target, p, by); err != nil {
		// Nothing refers to it; a full disk must not keep it.
		return errors.Join(err, s.sweep(New(target)))
	}
	// From here on the slot has nothing that could be started, until it has the new program.
	o.record = record{State: empty}
	if err := o.pair.write(o.record); err != nil {
		return err
	}
	if err := s.commit(target, by); err != nil {
		return err
	}
	o.record = record{Program: p, State: staged}
	return o.pair.write(o.record)
}

// prepare has the program written beside its place, and reads it again from disk.
func (s *Slots) prepare(target string, p Program, by Placer) error {
	path := New(target)
	if err := s.step("write", path); err != nil {
		return err
	}
	if err := by.Prepare(target); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o555); err != nil {
		return err
	}
	if err := s.disk.Sync(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// What is read now comes from the disk, as far as the kernel follows the advice.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	if err := p.matches(f); err != nil {
		return fmt.Errorf("read again from disk: %w", err)
	}
	return executable(f)
}

// commit has the program put in its place.
func (s *Slots) commit(target string, by Placer) error {
	if err := s.step("rename", target); err != nil {
		return err
	}
	if err := by.Commit(target); err != nil {
		return err
	}
	return s.disk.SyncDir(filepath.Dir(target))
}

// step stops tests at what is done by others.
func (s *Slots) step(what, path string) error {
	if s.disk.Step == nil {
		return nil
	}
	return s.disk.Step(what, path)
}

// machines are the machines of ELF headers, by GOARCH.
var machines = map[string]struct {
	machine elf.Machine
	class   elf.Class
}{
	"amd64": {elf.EM_X86_64, elf.ELFCLASS64},
	"arm64": {elf.EM_AARCH64, elf.ELFCLASS64},
	"arm":   {elf.EM_ARM, elf.ELFCLASS32},
	"386":   {elf.EM_386, elf.ELFCLASS32},
}

// executable says why a file is no program that this machine starts, by its ELF header.
func executable(r io.ReaderAt) error {
	f, err := elf.NewFile(r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrELF, err)
	}
	want, known := machines[runtime.GOARCH]
	switch {
	case !known:
		return fmt.Errorf("%w: nothing is known of %s", ErrELF, runtime.GOARCH)
	case f.Machine != want.machine || f.Class != want.class:
		return fmt.Errorf("%w: got %v %v, want %v %v", ErrELF, f.Machine, f.Class, want.machine, want.class)
	case !slices.Contains([]elf.Type{elf.ET_EXEC, elf.ET_DYN}, f.Type):
		return fmt.Errorf("%w: got %v, want %v or %v", ErrELF, f.Type, elf.ET_EXEC, elf.ET_DYN)
	}
	return nil
}

// Startable says why the kernel starts nothing that lies in the slots: each release would be given up there although it is good. The error wraps
// ErrNoExec.
func (s *Slots) Startable() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", s.dir, err)
	}
	if st.Flags&unix.ST_NOEXEC != 0 {
		return fmt.Errorf("%w: %s is mounted noexec; mount it without, or put state_dir on another disk", ErrNoExec, s.dir)
	}
	return nil
}

// space says whether a folder's disk has so many bytes free.
func space(dir string, want int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("statfs %s: %w", dir, err)
	}
	free := int64(min(st.Bavail, math.MaxInt64>>13)) * int64(st.Bsize)
	if free < want {
		return fmt.Errorf("%w: %s has %d bytes free, %d are needed; free some, or make buffer.max_bytes smaller", ErrSpace, dir, free, want)
	}
	return nil
}
