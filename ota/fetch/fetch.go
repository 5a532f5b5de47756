// Package fetch gets the files of updates from where they are published: static web servers and folders, tried in order, file by file. What
// it is told a file is (length, SHA-256) is all it believes: servers may be slow, endless, broken or an attacker's. Everything is bounded, in
// bytes, in time and in space on disk, nothing is unpacked, and no redirect leads elsewhere.
//
// A download goes on where it stopped, over kills, reboots and from another server. README.md beside this file says what lies on disk.
package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// How a file is not got. Reason maps these to their names.
var (
	ErrPlace       = errors.New("place refused")
	ErrName        = errors.New("file name refused")
	ErrUnreachable = errors.New("unreachable")         // no connection, no TLS, or cut in the middle
	ErrRedirect    = errors.New("redirect refused")    // to another scheme or host, or too many
	ErrStatus      = errors.New("answer refused")      // wrapped by *Status
	ErrEncoding    = errors.New("encoding refused")    // compressed on the way
	ErrRange       = errors.New("cannot go on there")  // the answer is not the stretch that was asked for
	ErrLength      = errors.New("wrong length")        //
	ErrHash        = errors.New("wrong hash")          //
	ErrKind        = errors.New("no regular file")     // link, folder, pipe, device
	ErrSlow        = errors.New("too slow")            // less than 1 KiB/s for a minute
	ErrTooMuch     = errors.New("too much retransmit") // three times the file, and still not there
	ErrSpace       = errors.New("no space")            //
	ErrDisk        = errors.New("disk")                // what was written is not what is read, or cannot be written
)

// Reason returns the name of why err was returned, "" for nil; "missing" where no place has the file.
func Reason(err error) string {
	for _, r := range []struct {
		is   error
		name string
	}{
		{ErrSpace, "no-space"},
		{ErrDisk, "disk"},
		{ErrPlace, "bad-place"},
		{ErrName, "bad-name"},
		{ErrHash, "wrong-hash"},
		{ErrLength, "wrong-length"},
		{ErrTooMuch, "too-much"},
		{ErrRedirect, "redirected"},
		{ErrEncoding, "encoded"},
		{ErrRange, "wrong-range"},
		{ErrKind, "no-regular-file"},
		{ErrSlow, "too-slow"},
		{ErrStatus, "bad-status"},
		{ErrUnreachable, "unreachable"},
		{fs.ErrNotExist, "missing"},
		{context.DeadlineExceeded, "out-of-time"},
		{context.Canceled, "stopped"},
	} {
		if errors.Is(err, r.is) {
			return r.name
		}
	}
	if err != nil {
		return "unreachable"
	}
	return ""
}

// Options of a Source. The zero value serves.
type Options struct {
	Rate  int64       // bytes/s from servers, all downloads together; 0 = as fast as it goes, else at least MinRate
	TLS   *tls.Config // authorities, clock; certificates are always verified, TLS 1.2 is the least. nil = the machine's
	Agent string      // User-Agent; "" = "tidegate"
	// Dial connects to servers; nil = directly. No proxy is taken from the environment.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// MinRate is the lowest Options.Rate in bytes/s: below it, a server that does as it is told could not be told from one that is too slow.
const MinRate = 4096

// metadataTime bounds one Metadata from one place.
const metadataTime = 5 * time.Minute

// A Source gets files from its places. It is for one goroutine at a time, with those that Each returned.
type Source struct {
	places []*place
	limit  *limiter
	how    *standing
	// For tests.
	free func(dir string) (int64, error)
	sync func(f *os.File) error
}

// A standing guards how places did, for all Sources that know them.
type standing struct {
	mu     sync.Mutex
	served int // how often one of them did
}

// A place is where files are, and how it did so far.
type place struct {
	opener
	text string
	// By standing.mu.
	rank  int       // the higher, the earlier it is asked: when it served last, 0 = never, -1 = with wrong bytes
	until time.Time // it asked to be left alone until then
	why   error
}

// An opener begins to read a file.
type opener interface {
	// open returns the bytes begin to end of the file a.name, or, if it cannot begin there, from 0.
	open(ctx context.Context, a ask) (answer, error)
}

// An ask is a stretch of a file.
type ask struct {
	name       string
	begin, end int64  // end is behind the last byte
	length     int64  // of the whole file, -1 = unknown, and then all of it is asked for
	from       origin // what the bytes before begin are of
}

func (a ask) whole() bool { return a.begin == 0 && a.end == a.length }

// An answer is what came.
type answer struct {
	body  io.ReadCloser
	begin int64 // ask.begin or 0
	end   int64 // behind the last byte that is to be read; of no meaning where the length was unknown
	from  origin
}

// New returns a Source of places: "https://host/path" of a server, or a folder as an absolute path or file:// URL. http:// is only for
// loopback addresses. All that is wrong is said at once, wrapping ErrPlace.
func New(places []string, o Options) (*Source, error) {
	s := &Source{how: &standing{}, free: freeSpace, sync: (*os.File).Sync}
	var wrong []error
	if len(places) == 0 {
		wrong = append(wrong, fmt.Errorf("%w: got none; name a server (https://...) or a folder", ErrPlace))
	}
	if o.Rate != 0 && o.Rate < MinRate {
		wrong = append(wrong, fmt.Errorf("%w: got a rate of %d bytes/s, want at least %d, or 0 for no limit", ErrPlace, o.Rate, MinRate))
	}
	if o.TLS != nil && o.TLS.InsecureSkipVerify {
		wrong = append(wrong, fmt.Errorf("%w: TLS without verification", ErrPlace))
	}
	s.limit = &limiter{rate: max(o.Rate, 0)}
	for i, text := range places {
		p, err := newPlace(text, o)
		if err == nil && slices.Contains(places[:i], text) {
			err = errors.New("it is there twice")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%w: %q: %w", ErrPlace, text, err))
			continue
		}
		s.places = append(s.places, p)
	}
	if len(wrong) > 0 {
		return nil, all(wrong)
	}
	return s, nil
}

// Each returns a Source for each place, in the order they would be asked in. How a place does is known to all of them.
func (s *Source) Each() []*Source {
	var out []*Source
	for _, p := range s.order() {
		one := *s
		one.places = []*place{p}
		out = append(out, &one)
	}
	return out
}

// String returns the places.
func (s *Source) String() string {
	var texts []string
	for _, p := range s.places {
		texts = append(texts, p.text)
	}
	return strings.Join(texts, ", ")
}

// Distrust has the places of s asked last from now on: what they gave is not what was signed.
func (s *Source) Distrust() {
	for _, p := range s.places {
		s.distrust(p)
	}
}

func (s *Source) distrust(p *place) {
	s.how.mu.Lock()
	defer s.how.mu.Unlock()
	p.rank = -1
}

// Close ends idle connections.
func (s *Source) Close() error {
	for _, p := range s.places {
		if w, ok := p.opener.(*web); ok {
			w.client.CloseIdleConnections()
		}
	}
	return nil
}

// order returns the places in the order to ask them in: the one that served last first, those that gave wrong bytes last.
func (s *Source) order() []*place {
	s.how.mu.Lock()
	defer s.how.mu.Unlock()
	return slices.SortedStableFunc(slices.Values(s.places), func(a, b *place) int { return b.rank - a.rank })
}

// stands keeps how p did.
func (s *Source) stands(p *place, err error) {
	s.how.mu.Lock()
	defer s.how.mu.Unlock()
	var status *Status
	switch {
	case err == nil:
		s.how.served++
		p.rank = s.how.served
	case errors.As(err, &status) && status.After > 0:
		p.until, p.why = time.Now().Add(status.After), err
	}
}

// rests returns why p is not to be asked now; nil if it is.
func (s *Source) rests(p *place) error {
	s.how.mu.Lock()
	defer s.how.mu.Unlock()
	if left := time.Until(p.until); left > 0 {
		return fmt.Errorf("%w, %v of that are left", p.why, left.Round(time.Second))
	}
	return nil
}

// Metadata returns the file name, of at most limit bytes, from the first place that gives it. The error wraps fs.ErrNotExist where a place
// has no such file and none has.
func (s *Source) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	var wrong []error
	for _, p := range s.order() {
		b, err := s.metadata(ctx, p, name, limit)
		if err == nil {
			s.stands(p, nil)
			return b, nil
		}
		wrong = append(wrong, fmt.Errorf("%s: %w", p.text, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("fetch %s: %w", name, all(wrong))
}

func (s *Source) metadata(ctx context.Context, p *place, name string, limit int64) ([]byte, error) {
	if err := s.rests(p); err != nil {
		return nil, err
	}
	ctx, done := context.WithTimeout(ctx, metadataTime)
	defer done()
	w, ctx := newWatch(ctx)
	defer w.stop()
	w.begin()
	a, err := p.open(ctx, ask{name: name, length: -1})
	w.end(0)
	if err != nil {
		err = because(ctx, err)
		s.stands(p, err)
		return nil, err
	}
	defer a.body.Close()
	var b []byte
	buffer := make([]byte, 16<<10)
	for err == nil {
		var n int
		w.begin()
		n, err = a.body.Read(buffer)
		w.end(n)
		if b = append(b, buffer[:n]...); int64(len(b)) > limit {
			return nil, fmt.Errorf("%w: got more than %d bytes", ErrLength, limit)
		}
		if err == nil {
			err = s.limit.came(ctx, n)
		}
	}
	if err != io.EOF {
		return nil, because(ctx, unreachable(err))
	}
	return b, nil
}

// checkName lets through names of files that need no quoting anywhere.
func checkName(name string) error {
	bad := strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	})
	if bad >= 0 || name == "" || len(name) > 200 || name[0] == '.' {
		return fmt.Errorf("%w: %.64q, want 1 to 200 of A-Z, a-z, 0-9, '.', '_' and '-', no dot first", ErrName, name)
	}
	return nil
}

// because returns err, or why ctx ended where that is why there is an error.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// unreachable names the errors of connections.
func unreachable(err error) error {
	for _, named := range []error{ErrRedirect, ErrKind, ErrDisk} {
		if errors.Is(err, named) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// all is more than one error in one line.
type all []error

func (a all) Error() string {
	var texts []string
	for _, err := range a {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

func (a all) Unwrap() []error { return a }
