package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"time"
)

// Names of what lies in the folder of downloads, behind `into`.
const (
	partSuffix = ".part"       // what came so far
	fromSuffix = ".part.from"  // of what it is, see origin
	doneSuffix = ".unverified" // whole, and of the right hash when it was written
)

const (
	syncBytes = 1 << 20 // a power cut costs at most so much,
	syncTime  = 5 * time.Second
	progress  = 16 << 10 // bytes of a try that count as such
	tries     = 2        // without progress, from one place
	maxSent   = 3        // times the length that servers may send for one File
	// reserve is left free on disk: the buffer lives there too.
	reserve = 32 << 20
)

// A download is one File under way.
type download struct {
	s        *Source
	name     string
	length   int64
	sum      string
	path     string // into
	f        *os.File
	hash     hash.Hash // of what is in f
	have     int64     // bytes in f
	synced   int64     // of them a power cut leaves
	at       time.Time // of the last sync
	received int64     // bytes, from all places
	from     origin    // of what is in f, as it is on disk
	first    *place    // that gave the first bytes in f, nil = an earlier File
	mixed    bool      // not all of them are of first
	alone    bool      // what cannot be gone on with may be begun anew
	plain    bool      // and is asked for without a range
}

// File gets the file name with so many bytes and this SHA-256 (hex) into the file into+".unverified". What comes meanwhile lies in
// into+".part" and is gone on with, whatever happened. The folder of into must be the caller's alone; nobody else may get the same file at
// the same time. With an error, what came stays for the next File, unless its hash is wrong.
func (s *Source) File(ctx context.Context, name string, length int64, sum, into string) error {
	if err := s.file(ctx, name, length, sum, into); err != nil {
		return fmt.Errorf("fetch %s: %w", name, err)
	}
	return nil
}

func (s *Source) file(ctx context.Context, name string, length int64, sum, into string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if b, err := hex.DecodeString(sum); err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != sum {
		return fmt.Errorf("%w: want it to be %.80q, which is no SHA-256 in lower case", ErrHash, sum)
	}
	if length <= 0 {
		return fmt.Errorf("%w: want %d bytes", ErrLength, length)
	}
	d := &download{s: s, name: name, length: length, sum: sum, path: into, hash: sha256.New(), at: time.Now()}
	if done, err := d.isDone(); done || err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	err := d.get(ctx)
	switch {
	case err == nil:
		err = d.keep()
	case errors.Is(err, ErrHash) && d.have == length:
		err = errors.Join(err, d.restart())
	case d.have > d.synced:
		err = errors.Join(err, d.sync())
	}
	return errors.Join(err, d.f.Close())
}

// get fills .part with bytes of the right hash. First it goes on with what is there, from whichever place has more of it. If these bytes turn
// out wrong, or nobody can go on, it begins anew, from each place by itself: one that gives wrong bytes then spoils only its own.
func (d *download) get(ctx context.Context) error {
	if d.have == d.length {
		if d.check() == nil {
			return nil
		}
		if err := d.restart(); err != nil {
			return err
		}
	}
	if err := d.space(); err != nil {
		return err
	}
	places := d.s.order()
	d.alone = len(places) == 1
	var wrong []error
	again := false
	for _, p := range slices.Clone(places) {
		err := d.pull(ctx, p)
		if err == nil {
			return nil
		}
		wrong = append(wrong, fmt.Errorf("%s: %w", p.text, err))
		switch {
		case final(ctx, err):
			return all(wrong)
		case errors.Is(err, ErrHash) && d.mixed: // who gave the wrong ones is not known; this one at least gives
			places = append([]*place{p}, without(places, p)...)
			return d.anew(ctx, places, wrong)
		case errors.Is(err, ErrHash):
			d.s.distrust(p)
			places = without(places, p)
			if err := d.restart(); err != nil {
				return err
			}
		case errors.Is(err, ErrRange):
			again = true
		}
	}
	if !again {
		return all(wrong)
	}
	return d.anew(ctx, places, wrong)
}

// anew is the second half of get.
func (d *download) anew(ctx context.Context, places []*place, wrong []error) error {
	d.alone, d.plain = true, true
	for _, p := range places {
		if err := d.restart(); err != nil {
			return err
		}
		err := d.pull(ctx, p)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrHash) {
			d.s.distrust(p)
		}
		wrong = append(wrong, fmt.Errorf("%s, from 0: %w", p.text, err))
		if final(ctx, err) {
			break
		}
	}
	return all(wrong)
}

// final tells errors that no other place helps against.
func final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrDisk) || errors.Is(err, ErrSpace)
}

func without(places []*place, p *place) []*place {
	return slices.DeleteFunc(slices.Clone(places), func(q *place) bool { return q == p })
}

// pull gets the rest from one place, and checks the whole.
func (d *download) pull(ctx context.Context, p *place) error {
	if err := d.s.rests(p); err != nil {
		return err
	}
	w, ctx := newWatch(ctx)
	defer w.stop()
	for failed := 0; d.have < d.length; {
		before := d.received
		err := d.ask(ctx, w, p)
		if err == nil {
			failed = 0
			continue
		}
		if !errors.Is(err, ErrUnreachable) {
			d.s.stands(p, err)
			return err
		}
		if failed++; d.received-before >= progress {
			failed = 0
		}
		if failed == tries {
			return err
		}
		if err := pause(ctx, time.Duration(failed)*time.Second); err != nil {
			return err
		}
	}
	err := d.check()
	if err == nil {
		d.s.stands(p, nil)
	}
	return err
}

// ask asks p once, and takes what comes.
func (d *download) ask(ctx context.Context, w *watch, p *place) error {
	a := ask{name: d.name, begin: d.have, end: d.length, length: d.length, from: d.from}
	_, server := p.opener.(*web)
	if server && !(d.plain && d.have == 0) {
		n, err := d.s.limit.stretch(ctx, d.length-d.have)
		if err != nil {
			return err
		}
		a.end = d.have + n
	}
	if err := d.may(a.end - a.begin); err != nil {
		return err
	}
	w.begin()
	got, err := p.open(ctx, a)
	w.end(0)
	if err != nil {
		return because(ctx, err)
	}
	defer got.body.Close()
	if got.begin != d.have {
		if !d.alone {
			return fmt.Errorf("%w: the server gives the file from its beginning only", ErrRange)
		}
		if err := d.restart(); err != nil {
			return err
		}
		if err := d.may(got.end); err != nil {
			return err
		}
	}
	if d.have == 0 {
		d.first = p
	}
	d.mixed = d.mixed || d.first != p
	if got.from != d.from {
		if err := got.from.write(d.path + fromSuffix); err != nil {
			return err
		}
		d.from = got.from
	}
	return d.take(ctx, w, got, server)
}

// may refuses n more bytes where servers would have sent too many.
func (d *download) may(n int64) error {
	if d.received+n > maxSent*d.length {
		return fmt.Errorf("%w: got %d bytes for a file of %d, and %d are still missing", ErrTooMuch, d.received, d.length, n)
	}
	return nil
}

// take writes what comes, up to the end of what was asked for.
func (d *download) take(ctx context.Context, w *watch, got answer, server bool) error {
	buffer := make([]byte, 32<<10)
	for d.have < got.end {
		w.begin()
		n, err := got.body.Read(buffer[:min(int64(len(buffer)), got.end-d.have)])
		w.end(n)
		if err := d.write(buffer[:n]); err != nil {
			return err
		}
		if server {
			if err := d.s.limit.came(ctx, n); err != nil {
				return err
			}
		}
		switch cause := context.Cause(ctx); {
		case cause != nil:
			return cause
		case err == io.EOF && d.have < got.end:
			return fmt.Errorf("%w: cut after %d of %d bytes", ErrUnreachable, d.have, d.length)
		case err != nil && err != io.EOF:
			return unreachable(err)
		}
	}
	return nil
}
