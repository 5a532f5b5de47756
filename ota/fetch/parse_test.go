package fetch

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseRange(t *testing.T) {
	for text, want := range map[string]stretch{
		"bytes 0-0/1":                   {0, 0, 1},
		"bytes 122880-204799/204800":    {122880, 204799, 204800},
		"Bytes 5-9/10":                  {5, 9, 10},
		"":                              {},
		"bytes":                         {},
		"bytes 0-0":                     {},
		"bytes 0-0/*":                   {},
		"bytes */10":                    {},
		"bytes 5-4/10":                  {},
		"bytes 0-10/10":                 {},
		"bytes 00-9/10":                 {},
		"bytes +0-9/10":                 {},
		"bytes -1-9/10":                 {},
		"bytes  0-9/10":                 {},
		"bytes 0-9/10 ":                 {},
		"bytes 0-9/10, 2-3/10":          {},
		"bytes 0-1/9223372036854775808": {},
		"items 0-9/10":                  {},
	} {
		got, err := parseRange(text)
		if got != want || (err == nil) != (want != stretch{}) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		"86400":                          maxAfter,
		"86401":                          maxAfter,
		"9223372036854775807":            maxAfter,
		"99999999999999999999":           0,
		"-5":                             0,
		"1.5":                            0,
		"soon":                           0,
		"Sun, 01 Mar 2026 12:02:00 GMT":  2 * time.Minute,
		"Sun, 01 Mar 2026 11:00:00 GMT":  0,
		"Fri, 01 Mar 2999 12:00:00 GMT":  maxAfter,
		"Sunday, 01-Mar-26 12:02:00 GMT": 2 * time.Minute,
		"Sun Mar  1 12:02:00 2026":       2 * time.Minute,
	} {
		if got := parseAfter(text, now); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		tag, modified string
		want          string // validator
	}{
		{`"abc"`, "Sun, 01 Mar 2026 12:02:00 GMT", `"abc"`},
		{`W/"abc"`, "Sun, 01 Mar 2026 12:02:00 GMT", "Sun, 01 Mar 2026 12:02:00 GMT"},
		{`W/"abc"`, "", ""},
		{"abc", "", ""},
		{`"abc`, "", ""},
		{`"`, "", ""},
		{`"` + strings.Repeat("x", maxOrigin) + `"`, "", ""},
		{"\"a\nb\"", "", ""},
		{"\"a\xff\"", "x", ""},
	} {
		o := originOf("https://a/", http.Header{"Etag": {c.tag}, "Last-Modified": {c.modified}})
		if o.validator() != c.want || o.place != "https://a/" {
			t.Errorf("%q, %q: got %+v", c.tag, c.modified, o)
		}
		path := filepath.Join(t.TempDir(), "x.part.from")
		if err := o.write(path); err != nil {
			t.Fatal(err)
		}
		if got := readOrigin(path); got != o {
			t.Errorf("got %+v, want %+v", got, o)
		}
	}
	path := filepath.Join(t.TempDir(), "x")
	for _, text := range []string{"", "tgorigin1\n", "tgorigin1\na\nb\nc\nd\n", "tgorigin1\na\nb\nc", "tgorigin1\na\nb\nc\nhalf a", "tgorigin2\na\nb\nc\n", "tgorigin1\na\nb\r\nc\n", strings.Repeat("\n", maxOrigin+1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readOrigin(path); got != (origin{}) {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

func TestChangedOrigins(t *testing.T) {
	both := origin{"a", `"1"`, "Sun"}
	for _, c := range []struct {
		was, is origin
		want    bool
	}{
		{both, both, false},
		{both, origin{"a", `"1"`, "Mon"}, false},
		{both, origin{"a", "", "Mon"}, false},
		{both, origin{"a", `"2"`, "Sun"}, true},
		{origin{"a", "", "Sun"}, origin{"a", `"1"`, "Sun"}, false},
		{origin{"a", "", "Sun"}, origin{"a", `"1"`, "Mon"}, true},
		{origin{"a", "", "Sun"}, origin{"a", "", ""}, false},
		{origin{"a", "", ""}, both, false},
	} {
		if got := c.was.changed(c.is); got != c.want {
			t.Errorf("%v, %v: got %v", c.was, c.is, got)
		}
	}
}

func TestReasons(t *testing.T) {
	for want, err := range map[string]error{
		"":            nil,
		"unreachable": errors.New("something"),
		"missing":     fs.ErrNotExist,
		"wrong-hash":  all{ErrUnreachable, ErrHash},
		"no-space":    errors.Join(ErrStatus, ErrSpace),
		"bad-status":  &Status{Code: 500},
	} {
		if got := Reason(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes */10")
	f.Add("bytes 1-2/9223372036854775807")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRange(text)
		if err == nil && !strings.EqualFold(text, "bytes "+rangeOf(int(r.first), int(r.last), int(r.total))[6:]) {
			t.Errorf("%q: got %+v", text, r)
		}
		if err == nil && !(0 <= r.first && r.first <= r.last && r.last < r.total) {
			t.Errorf("%q: got %+v", text, r)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Add("120")
	f.Add("Sun, 01 Mar 2026 12:02:00 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		if d := parseAfter(text, now); d < 0 || d > maxAfter {
			t.Errorf("%q: got %v", text, d)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	f.Add(origin{"https://a/", `"abc"`, "Sun, 01 Mar 2026 12:02:00 GMT"}.encode())
	f.Add([]byte("tgorigin1\n\n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOrigin(b)
		if err == nil && string(o.encode()) != string(b) {
			t.Errorf("%q: got %+v", b, o)
		}
		if err == nil && strings.ContainsAny(o.validator(), "\r\n\x00") {
			t.Errorf("%q: would send %q", b, o.validator())
		}
	})
}
