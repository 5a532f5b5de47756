// Package ota brings releases of the gateway onto the machine it runs on: it looks for one that is signed and meant for this machine (package
// trust, package release), downloads it (fetch, delta), and leaves it in the slot that is not in use (slots). It starts nothing, and knows
// nothing of what a gateway does: whether a release on trial does well is judged by others (trial), and told to it.
//
// README.md beside this file says what lies on disk, and what survives a cut at any moment.
package ota

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/ota/delta"
	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/fetch"
	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
	"github.com/tidegate-io/tidegate/ota/trust"
)

// Options are what an Updater is made of.
type Options struct {
	Dir     string          // <state_dir>/ota
	Lib     string          // the package's folder, with slot 0: tidegate and release.json
	Root    []byte          // root.json that trust begins with; empty = no updates
	Places  []string        // where releases are, see fetch.New
	TLS     *tls.Config     // for the servers among them; nil = the machine's authorities
	Rate    int64           // bytes a second, 0 = no limit
	Machine release.Machine // this one; Agent is found out here
	Built   time.Time       // when this program was built: no clock is believed that is before
	Log     *slog.Logger
}

// cycle is how long a Fetch may take.
const cycle = 30 * time.Minute

// An Updater is what there is of releases on one machine.
type Updater struct {
	o     Options
	slots *slots.Slots
	cycle time.Duration // that a Fetch may take
}

// A Release is one that can be started.
type Release struct {
	Counter uint64
	Version string
}

// ErrBusy is the one error that is not of the packages below. Reason names all.
var ErrBusy = errors.New("another process is looking for a release")

// Open opens what is on disk. With an error it serves as far as it can: State, and what ends a trial.
func Open(o Options) (*Updater, error) {
	builtin, err := slots.ReadBuiltin(o.Lib)
	s, err2 := slots.Open(o.Dir, builtin)
	return &Updater{o: o, slots: s, cycle: cycle}, errors.Join(err, err2)
}

// Slots are what lies in them, and the trial.
func (u *Updater) Slots() *slots.Slots { return u.slots }

// Own returns the slot that the program at path, os.Executable's, lies in. That path has no links in it; the configuration's may.
func (u *Updater) Own(path string) slots.Slot {
	dir, err := filepath.EvalSymlinks(u.o.Dir)
	if err != nil {
		dir = u.o.Dir // then nothing runs from there
	}
	for _, s := range [...]slots.Slot{slots.A, slots.B} {
		if filepath.Dir(path) == filepath.Join(dir, "slots", string(s)) {
			return s
		}
	}
	return slots.Zero
}

// Running returns the release that is in use: what runs without a trial. One that was kept and whose program is not what it was is none, and is fetched again.
func (u *Updater) Running() Release {
	p := u.slots.InUse()
	return Release{Counter: p.Counter, Version: p.Version}
}

// trust opens what is trusted.
func (u *Updater) trust() (*trust.Trust, error) {
	t, err := trust.Open(u.o.Dir, u.o.Root)
	if err != nil {
		return nil, err
	}
	u.sayDamage(t)
	// A release that was kept is a floor, whatever becomes of the slots. A cut between the two is mended here, and floors that were lost.
	kept := uint64(0)
	for _, c := range u.slots.State().Slots {
		if c.State == "confirmed" {
			kept = max(kept, c.Counter)
		}
	}
	if kept > t.Counter() {
		err = t.RaiseCounter(kept)
	}
	return t, err
}

// sayDamage logs what was damaged of what is trusted.
func (u *Updater) sayDamage(t *trust.Trust) {
	for _, err := range t.Damage() {
		u.o.Log.Warn("what is trusted was damaged, and is made good from what is left", "err", err)
	}
}

// Confirm keeps the release on trial, which this program is. From then on none before it is taken, whatever becomes of the slots.
func (u *Updater) Confirm() error {
	if err := u.slots.Confirm(); err != nil {
		return err
	}
	_, err := u.trust() // raises the floor
	if errors.Is(err, trust.ErrNoTrust) {
		return nil // the release came by hand of who has root; the floor follows when there is trust again
	}
	return err
}

// A Look is what a look for releases has found.
type Look struct {
	Trusted trust.Trusted
	Running Release
	Best    *Release // the newest one that is newer, and meant for this machine; nil = there is none
	Held    []error  // what stands in the way of those that are newer than Best, one error each, that of the newest first
	offers  []offer  // files by which Best can be had, the shortest first
	from    *fetch.Source
	bases   func() map[string]string // see chosen
}

// Why is what stands in the way of the newest there is; nil = nothing, or it is the best.
func (l *Look) Why() error {
	if len(l.Held) == 0 {
		return nil
	}
	return l.Held[0]
}

// Look finds out what there is, and takes nothing of it but what is trusted of metadata.
func (u *Updater) Look(ctx context.Context) (*Look, error) {
	unlock, err := u.turn()
	if err != nil {
		return nil, err
	}
	defer unlock()
	l, err := u.look(ctx)
	if err != nil {
		return nil, err
	}
	return l, l.from.Close()
}

func (u *Updater) look(ctx context.Context) (*Look, error) {
	t, err := u.trust()
	if err != nil {
		return nil, err
	}
	src, err := fetch.New(u.o.Places, fetch.Options{Rate: u.o.Rate, TLS: u.o.TLS})
	if err != nil {
		return nil, err
	}
	l := &Look{Running: u.Running(), bases: sync.OnceValue(u.bases)}
	var failed []error
	for _, one := range src.Each() { // what one place has of metadata belongs together
		l.Trusted, err = t.Refresh(ctx, one, u.now())
		if err == nil {
			l.from = src
			break
		}
		failed = append(failed, fmt.Errorf("%s: %w", one, err))
		one.Distrust()
	}
	u.sayDamage(t)
	if l.from == nil {
		return nil, errors.Join(append(failed, src.Close())...)
	}
	for _, err := range failed {
		u.o.Log.Warn("place of releases passed over", "err", err)
	}
	m := u.o.Machine
	m.Agent = l.Running.Counter
	hold, err := release.DecodeHold(l.Trusted.Hold)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	l.offers, l.Held = choose(l.Trusted.Files, chosen{machine: m, hold: hold, floor: t.Counter(), failed: u.isBad, bases: l.bases})
	if len(l.offers) > 0 {
		l.Best = &Release{Counter: l.offers[0].signed.Counter, Version: l.offers[0].signed.Version}
	}
	return l, nil
}

// now returns a time that is not before this program; Refresh sees to it that it is not before what was signed.
func (u *Updater) now() time.Time {
	if now := time.Now(); now.After(u.o.Built) {
		return now
	}
	return u.o.Built
}

// turn waits for nobody: one process looks at a time.
func (u *Updater) turn() (unlock func(), err error) {
	if err := durable.Mkdir(u.o.Dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(u.o.Dir, "fetch.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock downloads: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrBusy, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// Fetch looks for a release, and leaves it in the free slot, where Slots().Switch finds it; nil = there is none that is newer. It goes on with a
// download that was cut off. It takes memory of up to three times the program: call it in a process that ends.
func (u *Updater) Fetch(ctx context.Context) (*Release, error) {
	unlock, err := u.turn()
	if err != nil {
		return nil, err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, u.cycle)
	defer cancel()
	l, err := u.look(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.from.Close() }()
	if l.Best == nil {
		if errors.Is(l.Why(), release.ErrStage) || errors.Is(l.Why(), release.ErrHalted) {
			return nil, nil // what came of it is gone on with one day
		}
		if errors.Is(l.Why(), release.ErrHardware) || errors.Is(l.Why(), release.ErrTenant) {
			return nil, u.tidy(nil) // it is others', of whom there are many where releases come from
		}
		return nil, errors.Join(l.Why(), u.tidy(nil))
	}
	if err := u.slots.Startable(); err != nil { // nothing is downloaded that could not be started
		return l.Best, err
	}
	for _, c := range u.slots.State().Slots {
		if c.State == "staged" && c.SHA256 == l.offers[0].signed.Program.SHA256 {
			return l.Best, u.tidy(nil) // a cut may have come before that
		}
	}
	var failed []error
	for i := range l.offers {
		err := u.take(ctx, l, &l.offers[i])
		if err == nil {
			return l.Best, u.tidy(nil)
		}
		failed = append(failed, fmt.Errorf("%s: %w", l.offers[i].file.Name, err))
		if errors.Is(err, slots.ErrELF) {
			failed = append(failed, u.refuse(l.offers[i].signed.Program.SHA256), u.tidy(nil))
			break
		}
		if final(ctx, err) {
			break
		}
	}
	return l.Best, errors.Join(failed...)
}

// final tells errors that no other file helps against. To ask for another one would take away what came of this one.
func final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, slots.ErrTrial) || errors.Is(err, fetch.ErrSpace)
}

// tidy removes downloads but those of the files named, and what was unpacked from them.
func (u *Updater) tidy(keep []string) error {
	err := os.Remove(u.unpacked())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, fetch.Tidy(filepath.Join(u.o.Dir, "download"), keep...))
}

// unpacked is where a program lies that is being staged.
func (u *Updater) unpacked() string { return filepath.Join(u.o.Dir, "download", "program") }

// take downloads one file and stages what it holds.
func (u *Updater) take(ctx context.Context, l *Look, o *offer) error {
	dir := filepath.Join(u.o.Dir, "download")
	if err := durable.Mkdir(dir); err != nil {
		return err
	}
	if err := u.tidy([]string{o.file.SHA256}); err != nil {
		return err
	}
	into := filepath.Join(dir, o.file.SHA256)
	if err := l.from.File(ctx, o.file.Stored, o.file.Length, o.file.SHA256, into); err != nil {
		return err
	}
	in, err := openWhole(into+".unverified", o.file)
	if err != nil {
		return err
	}
	defer in.Close()
	var program io.Reader = in
	if o.signed.Encoding != release.Plain {
		unpacked, err := unpack(in, o, l.bases, u.unpacked())
		if err != nil {
			return err
		}
		defer unpacked.Close() // tidy takes it away
		program = unpacked
	}
	p := o.signed.Program
	return stage.Stage(ctx, u.slots, program, slots.Release{
		Counter: o.signed.Counter, Version: o.signed.Version, Length: p.Length, SHA256: p.SHA256, SHA512: p.SHA512,
	})
}

// unpack writes what in holds to path, which is only looked at by Stage: it hashes it, so that it need not hold over a cut.
func unpack(in io.Reader, o *offer, bases func() map[string]string, path string) (*os.File, error) {
	var old []byte
	if o.signed.Encoding == release.Delta {
		var err error
		if old, err = os.ReadFile(bases()[o.signed.Base]); err != nil {
			return nil, fmt.Errorf("program that the delta is made from: %w", err)
		}
	}
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	err = delta.Apply(out, in, old, o.signed.Program.Length)
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}
