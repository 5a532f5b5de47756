package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/keys"
	"github.com/tidegate-io/tidegate/agent/line"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
	"github.com/tidegate-io/tidegate/buffer/wear"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// remedy says what helps where the state directory, or what is in it, cannot be used; "" where the error says it all.
func remedy(err error) string {
	if errors.Is(err, buffer.ErrKey) {
		return "; name that key at buffer.key or at buffer.old_keys"
	}
	return place.Remedy(err)
}

// opened is what a start opens, in this order.
type opened struct {
	claim *place.Claim
	lease *lease.File
	state [16]byte // id of the state directory
	rings *box.Pair
	queue *buffer.Queue
	line  *line.Line // written under Agent.mu

	tried   string // the keys with which the store did not open last
	keyless error  // why

	foreign bool // another directory was put in place of that of the store
}

// openRings claims the state directory and opens lease and rings. With a readable lease, or nothing at all, this is all that readers
// need. It waits for room on the disk where there is none.
func (a *Agent) openRings(ctx context.Context) (l *opened, last lease.Lease, leased bool, err error) {
	l = &opened{}
	if err := a.whenRoom(ctx, func() (err error) { l.claim, err = place.Take(a.sits.dir); return err }); err != nil {
		return nil, last, false, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	openLease := lease.Open
	if a.sits.memory {
		openLease = lease.OpenUnsynced
	}
	err = a.whenRoom(ctx, func() (err error) { l.lease, last, leased, err = openLease(a.sits.dir); return err })
	if err != nil && !errors.Is(err, lease.ErrUnreadable) {
		return l, last, false, fmt.Errorf("open lease of numbers: %w", err)
	}
	if err != nil {
		a.log.Error("lease of numbers is damaged", "err", err)
	}
	if s := a.sits.last; s != nil && !a.sits.memory && (!leased || last.State == s.State && last.Epoch == s.Epoch) {
		if last, leased = *s, true; a.sits.anew {
			if err := l.lease.Write(last); err != nil {
				return l, last, false, fmt.Errorf("write lease of numbers anew: %w", err)
			}
		}
	}
	if l.state = last.State; !leased {
		if l.state, err = a.identify(ctx, l); err != nil {
			return l, last, false, err
		}
	}
	l.rings, err = box.OpenPair(a.parts.RingDir, l.state, box.Sizes{Read: readRing, Judged: judgedRing})
	if err != nil {
		return l, last, false, fmt.Errorf("open rings: %w", err)
	}
	if l.rings.Why != nil {
		a.log.Warn("rings of an earlier process do not count", "why", l.rings.Why)
	}
	if l.rings.Volatile != nil {
		a.board.set("rings_volatile", "", true, l.rings.Volatile.Error())
		a.log.Warn("rings are plain memory", "why", l.rings.Volatile)
	}
	return l, last, leased, nil
}

// identify returns the id of a state directory without a lease: the store knows it, if there is one.
func (a *Agent) identify(ctx context.Context, l *opened) (id [16]byte, err error) {
	if a.sits.state != ([16]byte{}) {
		return a.sits.state, nil
	}
	list, err := os.ReadDir(filepath.Join(a.sits.dir, "buffer"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return id, fmt.Errorf("look for a store: %w", err)
	}
	if len(list) > 0 {
		if err := a.waitForStore(ctx, l); err != nil {
			return id, fmt.Errorf("open buffer: %w", err)
		}
		id = l.queue.Position().State
	}
	if id != ([16]byte{}) {
		return id, nil
	}
	if id, ok := box.Unnumbered(a.parts.RingDir); ok {
		return id, nil // a first start that ended before it had leased numbers, for want of room on the disk or time
	}
	_, _ = rand.Read(id[:]) // never fails
	return id, nil
}

// Sizes of the rings in bytes: at 20,000 readings/s of 12 bytes they hold 17 s and 35 s.
const (
	readRing   = 4 << 20
	judgedRing = 8 << 20
)

// openStore opens the queue once. setAside says whether a damaged one gives way to a new one.
func (a *Agent) openStore(l *opened, setAside bool) error {
	names := make([]string, 0, len(a.cfg.Uplinks))
	for _, u := range a.cfg.Uplinks {
		names = append(names, u.Name)
	}
	dec, err := frame.NewDecoder()
	if err != nil {
		return err
	}
	each, err := frame.NewDecoder() // of another goroutine
	if err != nil {
		return err
	}
	span, err := frame.NewSpans()
	if err != nil {
		return err
	}
	sealed, err := keys.Load(a.cfg.Buffer.Key, a.cfg.Buffer.OldKeys)
	if err != nil {
		return err
	}
	with := fmt.Sprint(sealed.To(), sealed)
	if l.keyless != nil && l.tried == with {
		return l.keyless // a store that is opened once a second wears a card out
	}
	bounds, statfs := limits(&a.cfg.Buffer), a.parts.Statfs
	if a.sits.memory {
		bounds.MaxBytes, bounds.MaxShare, statfs = buffer.MinBytes, 0, refugeSpace
	}
	q, err := buffer.Open(buffer.Options{
		Dir: a.sits.dir, NoSync: a.sits.memory, Bare: a.sits.bare, Limits: bounds, Uplinks: names, Log: a.log, SetAside: setAside,
		Statfs: statfs, Version: a.parts.Version, Count: frame.Count,
		WrittenPerDay: int64(a.cfg.Buffer.WrittenPerDay), Written: a.parts.Written, Boot: func() time.Duration { return a.parts.Clock().Boot },
		Keys: sealed, Salvage: a.parts.Salvage, Verify: a.parts.Verify, Epochs: l.epochs(), Coarse: l.coarse(), Each: each.Each,
		Span: span.Of, Cut: func(body []byte, skip, n int) ([]byte, error) { return cut(dec, body, skip, n) },
	})
	if err != nil {
		err = fmt.Errorf("%w%s", err, remedy(err))
		if errors.Is(err, buffer.ErrKey) {
			l.tried, l.keyless = with, err
		}
		return err
	}
	l.queue = q
	return nil
}

// epochs returns the epochs that the lease knows, by ordinal.
func (l *opened) epochs() map[uint32]buffer.Epoch {
	if l.lease == nil || l.lease.Last().EpochID == "" {
		return nil
	}
	last := l.lease.Last()
	return map[uint32]buffer.Epoch{last.Epoch: {ID: last.EpochID, Start: last.Start}}
}

// coarse returns where the lease has the uplinks.
func (l *opened) coarse() (out []buffer.CoarseCursor) {
	if l.lease != nil {
		for _, c := range l.lease.Last().Cursors {
			out = append(out, buffer.CoarseCursor(c))
		}
	}
	return out
}

// cut returns n records of body after skip as rows.
func cut(dec *frame.Decoder, body []byte, skip, n int) ([]byte, error) {
	recs, err := dec.Decode(nil, 0, 1, body)
	if err != nil {
		return nil, err
	}
	if skip < 0 || n < 0 || skip+n > len(recs) {
		return nil, fmt.Errorf("records %d to %d of %d", skip, skip+n, len(recs))
	}
	return frame.AppendRows(nil, recs[skip:skip+n]), nil
}

// waitForStore opens the store, if it is not open yet, once the disk has room for it and its key is there. Readers collect in ring 1 meanwhile.
func (a *Agent) waitForStore(ctx context.Context, l *opened) error {
	if l.queue != nil {
		return nil
	}
	return a.whenRoom(ctx, func() error { return a.openStore(l, true) })
}

// sayWaiting is how often it is logged that the disk has no room.
const sayWaiting = time.Minute

// whenRoom calls open, again and again while the disk has no room, or the key of the store is missing.
func (a *Agent) whenRoom(ctx context.Context, open func() error) error {
	for said := (time.Time{}); ; {
		err := open()
		full := errors.Is(err, buffer.ErrNoSpace) || errors.Is(err, unix.ENOSPC)
		sealed := errors.Is(err, buffer.ErrKey)
		a.board.set("store_waits", "", full, fmt.Sprint(err))
		a.board.set("buffer_key", "", sealed, fmt.Sprint(err))
		if !full && !sealed {
			return err
		}
		if said.IsZero() || time.Since(said) >= sayWaiting {
			said = time.Now()
			a.log.Error(map[bool]string{true: "waiting for the key of the buffer", false: "waiting for room on the disk"}[sealed], "err", err)
		}
		wait(ctx, time.Second)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// waits bounds how long what was read waits until it is durable: `sync` and two commits.
func (a *Agent) waits(p *buffer.Position) time.Duration {
	window := a.cfg.Buffer.Sync + 2*p.Slowest + 2*time.Second
	if a.cfg.Buffer.WrittenPerDay > 0 { // commits may be further apart, and what was dropped waits to be declared
		window += wear.MaxSync + line.SpareGap
	}
	return window
}

// atMost bounds the readings that a power cut can have cost: what came in while it waited, at the highest rate known.
func (a *Agent) atMost(p *buffer.Position) uint64 {
	rate := max(int64(p.Rate), nominalRate(a.cfg))
	return uint64(float64(rate)*a.waits(p).Seconds()) + 1
}

// nominalRate returns the readings per second that the configuration asks for, as far as it says.
func nominalRate(cfg *config.Config) int64 {
	sum, bounds := 0.0, cfg.Intervals()
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		every := bounds[d.Name].Shortest
		if every <= 0 {
			every = 100 * time.Millisecond // a talker: ten lines a second
		}
		sum += float64(channelCount(d)) / every.Seconds()
	}
	return int64(math.Ceil(sum))
}

// perRecord returns the most readings that one record holds, as far as the configuration says.
func (a *Agent) perRecord() uint64 {
	n := 1
	for i := range a.cfg.Devices {
		n = max(n, channelCount(&a.cfg.Devices[i]))
	}
	return uint64(n)
}

// channelCount returns how many channels the device has, as far as driver and configuration say; 8 where they do not.
func channelCount(d *config.Device) int {
	if n := len(d.Channels); n > 0 {
		return n
	}
	return 8
}
