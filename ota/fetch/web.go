package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 3
	maxHeader    = 32 << 10 // bytes of an answer's header
	maxAfter     = 24 * time.Hour
	// receiveBuffer bounds what the kernel holds of a connection before we have it on disk. It lets through 128 kB/s over a satellite.
	receiveBuffer = 64 << 10
	stepTime      = 30 * time.Second // for the connection, for TLS, for the header, each
)

// A Status is an answer other than the file.
type Status struct {
	Code  int           // of HTTP
	After time.Duration // the server asks not to be asked again for so long, 24 h at most; 0 = it says nothing
}

// Error says what the server answered, and how long it asks to wait.
func (s *Status) Error() string {
	text := fmt.Sprintf("%v: %d %s", ErrStatus, s.Code, http.StatusText(s.Code))
	if s.After > 0 {
		text += fmt.Sprintf(", asks to wait %v", s.After)
	}
	return text
}

// Unwrap returns ErrStatus.
func (s *Status) Unwrap() error { return ErrStatus }

// A web is a folder of a server.
type web struct {
	base   string // ends with /
	agent  string
	client *http.Client
}

// newPlace reads what stands for a place.
func newPlace(text string, o Options) (*place, error) {
	if filepath.IsAbs(text) {
		return &place{text: text, opener: folder(filepath.Clean(text))}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("no URL and no absolute path")
	case u.User != nil:
		return nil, errors.New("a name or password in it would end up in logs")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("got more than scheme, host and path")
	case u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && filepath.IsAbs(u.Path):
		return &place{text: text, opener: folder(filepath.Clean(u.Path))}, nil
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("got http:// for %s, which is for 127.0.0.1 and ::1 only: use https://", u.Host)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("got scheme %q, want https://host/path, file:///path or an absolute path", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("got no host")
	}
	return &place{text: text, opener: newWeb(u, o)}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func newWeb(u *url.URL, o Options) *web {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		config = o.TLS.Clone()
		config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: stepTime}).DialContext
	}
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if b, ok := c.(interface{ SetReadBuffer(int) error }); ok && err == nil {
				err = b.SetReadBuffer(receiveBuffer)
			}
			return c, err
		},
		TLSClientConfig: config, TLSHandshakeTimeout: stepTime, ResponseHeaderTimeout: stepTime, IdleConnTimeout: stepTime,
		MaxResponseHeaderBytes: maxHeader, MaxConnsPerHost: 1,
	}
	agent := o.Agent
	if agent == "" {
		agent = "tidegate"
	}
	return &web{base: u.Scheme + "://" + u.Host + strings.TrimRight(u.EscapedPath(), "/") + "/", agent: agent, client: &http.Client{Transport: t, CheckRedirect: redirect}}
}

// redirect lets through what stays on the server.
func redirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case r.URL.Scheme != first.Scheme || r.URL.Host != first.Host || r.URL.User != nil:
		return fmt.Errorf("%w: from %s://%s to %.200s, want the same scheme and host", ErrRedirect, first.Scheme, first.Host, r.URL.Redacted())
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: got %d, want at most %d", ErrRedirect, len(via), maxRedirects)
	}
	return nil
}

func (w *web) open(ctx context.Context, a ask) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+a.name, nil)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", ErrPlace, err)
	}
	r.Header.Set("User-Agent", w.agent)
	r.Header.Set("Accept-Encoding", "identity")
	part := a.length >= 0 && !a.whole()
	if part {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", a.begin, a.end-1))
		if a.from.place == w.base && a.begin > 0 {
			if v := a.from.validator(); v != "" {
				r.Header.Set("If-Range", v)
			}
		}
	}
	got, err := w.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // it would name the URL again
		}
		return answer{}, unreachable(err)
	}
	out, err := w.judge(a, part, got)
	if err != nil {
		got.Body.Close()
		return answer{}, err
	}
	return out, nil
}

// judge holds an answer against what was asked for.
func (w *web) judge(a ask, part bool, got *http.Response) (answer, error) {
	out := answer{body: got.Body, from: originOf(w.base, got.Header)}
	want := int64(-1)
	switch {
	case got.StatusCode == http.StatusNotFound || got.StatusCode == http.StatusGone:
		return answer{}, fmt.Errorf("%d %s: %w", got.StatusCode, http.StatusText(got.StatusCode), fs.ErrNotExist)
	case got.StatusCode == http.StatusRequestedRangeNotSatisfiable && part:
		return answer{}, fmt.Errorf("%w: the server has no bytes %d to %d", ErrRange, a.begin, a.end-1)
	case got.StatusCode == http.StatusPartialContent && part:
		r, err := parseRange(got.Header.Get("Content-Range"))
		if err != nil {
			return answer{}, fmt.Errorf("%w: %w", ErrRange, err)
		}
		if r != (stretch{a.begin, a.end - 1, a.length}) {
			return answer{}, fmt.Errorf("%w: got bytes %d-%d of %d, want %d-%d of %d", ErrRange, r.first, r.last, r.total, a.begin, a.end-1, a.length)
		}
		if a.begin > 0 && a.from.place == w.base {
			if a.from.changed(out.from) {
				return answer{}, fmt.Errorf("%w: the file has changed on the server, which went on all the same", ErrRange)
			}
			out.from = a.from
		}
		want, out.begin, out.end = a.end-a.begin, a.begin, a.end
	case got.StatusCode == http.StatusPartialContent:
		return answer{}, fmt.Errorf("%w: got a part, asked for the whole", ErrRange)
	case got.StatusCode == http.StatusOK:
		want, out.end = a.length, a.length
	default:
		return answer{}, &Status{Code: got.StatusCode, After: parseAfter(got.Header.Get("Retry-After"), time.Now())}
	}
	for _, encoding := range got.Header.Values("Content-Encoding") {
		if !strings.EqualFold(encoding, "identity") {
			return answer{}, fmt.Errorf("%w: got Content-Encoding %.40q, want none", ErrEncoding, encoding)
		}
	}
	if want >= 0 && got.ContentLength >= 0 && got.ContentLength != want {
		return answer{}, fmt.Errorf("%w: the server has %d bytes, want %d", ErrLength, got.ContentLength, want)
	}
	return out, nil
}

// A stretch is what Content-Range says: the bytes first to last of total.
type stretch struct{ first, last, total int64 }

// parseRange reads Content-Range (RFC 9110 section 14.4) of a stretch whose total is known.
func parseRange(text string) (stretch, error) {
	bad := fmt.Errorf("got Content-Range %.80q", text)
	unit, rest, ok := strings.Cut(text, " ")
	bounds, total, slash := strings.Cut(rest, "/")
	first, last, dash := strings.Cut(bounds, "-")
	if !ok || !slash || !dash || !strings.EqualFold(unit, "bytes") {
		return stretch{}, bad
	}
	var numbers [3]int64
	for i, digits := range []string{first, last, total} {
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || digits != strconv.FormatUint(n, 10) {
			return stretch{}, bad
		}
		numbers[i] = int64(n)
	}
	r := stretch{numbers[0], numbers[1], numbers[2]}
	if r.first > r.last || r.last >= r.total {
		return stretch{}, bad
	}
	return r, nil
}

// parseAfter reads Retry-After (RFC 9110 section 10.2.3): seconds or a date. What is neither, and what is past, is 0.
func parseAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 63); err == nil {
		return time.Duration(min(n, uint64(maxAfter/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return min(max(t.Sub(now), 0), maxAfter)
	}
	return 0
}

// A folder is a place on disk: a stick, a share.
type folder string

func (f folder) open(_ context.Context, a ask) (answer, error) {
	file, size, err := openRegular(string(f), a.name)
	if err != nil {
		return answer{}, err
	}
	if a.length >= 0 && size != a.length {
		err = fmt.Errorf("%w: the file has %d bytes, want %d", ErrLength, size, a.length)
	} else if _, seek := file.Seek(a.begin, io.SeekStart); seek != nil {
		err = fmt.Errorf("%w: %w", ErrUnreachable, seek)
	}
	if err != nil {
		file.Close()
		return answer{}, err
	}
	return answer{body: file, begin: a.begin, end: a.end, from: origin{place: string(f)}}, nil
}
