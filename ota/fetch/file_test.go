package fetch

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// TestResume is R-17 of security.md: a download goes on where it stopped, asks for what is missing only, and believes no server that it is the same file.
func TestResume(t *testing.T) {
	b, other := content(1, 200<<10), content(2, 200<<10)
	n := 120 << 10
	rest := "bytes=122880-204799"
	tag := func(b []byte) string { return `"` + sumOf(b)[:8] + `"` }
	// lies answers requests for a range by itself, others as it should.
	lies := func(part http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				good(b)(w, r)
				return
			}
			part(w, r)
		}
	}
	with := func(contentRange string, body []byte, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", contentRange)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
		}
	}
	right := rangeOf(n, len(b)-1, len(b))
	for _, c := range []struct {
		name   string
		part   []byte
		tag    string // kept beside it, as of this server
		answer http.HandlerFunc
		asked  []string // ranges
		ifTag  string   // If-Range of the first
	}{
		{"nothing there", nil, "", good(b), []string{""}, ""},
		{"the beginning", b[:n], "", good(b), []string{rest}, ""},
		{"the beginning, with its tag", b[:n], tag(b), good(b), []string{rest}, tag(b)},
		{"all but a byte", b[:len(b)-1], "", good(b), []string{"bytes=204799-204799"}, ""},
		{"all of it", b, "", good(b), nil, ""},
		{"all of another file", other, "", good(b), []string{""}, ""},
		{"more than all", append(bytes.Clone(b), 0), "", good(b), []string{""}, ""},
		{"the beginning of another file", other[:n], "", good(b), []string{rest, ""}, ""},
		{"the file has changed on the server", other[:n], tag(other), good(b), []string{rest}, tag(other)},
		{"a bit is wrong", append(bytes.Clone(b[:n-1]), b[n-1]^1), tag(b), good(b), []string{rest, ""}, tag(b)},
		{"a server without ranges", b[:n], "", func(w http.ResponseWriter, _ *http.Request) { w.Write(b) }, []string{rest}, ""},
		{"R-17 other bytes behind", b[:n], "", lies(with(right, other[n:])), []string{rest, ""}, ""},
		{"B-33 bytes of another range", b[:n], "", lies(with(rangeOf(0, len(b)-n-1, len(b)), b[:len(b)-n])), []string{rest, ""}, ""},
		{"B-33 right bytes, said to be of another range", b[:n], "", lies(with(rangeOf(n+1, len(b)-1, len(b)), b[n:])), []string{rest, ""}, ""},
		{"B-33 less than was asked for", b[:n], "", lies(with(rangeOf(n, len(b)-2, len(b)), b[n:len(b)-1])), []string{rest, ""}, ""},
		{"B-33 another total", b[:n], "", lies(with(rangeOf(n, len(b)-1, len(b)+1), b[n:])), []string{rest, ""}, ""},
		{"B-33 unknown total", b[:n], "", lies(with("bytes 122880-204799/*", b[n:])), []string{rest, ""}, ""},
		{"B-33 no range at all", b[:n], "", lies(with("", b[n:])), []string{rest, ""}, ""},
		{"B-33 another tag all the same", b[:n], tag(b), lies(with(right, b[n:], "ETag", `"x"`)), []string{rest, ""}, tag(b)},
		{"B-33 no such range", b[:n], "", lies(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) }), []string{rest, ""}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			web := serve(t, c.answer)
			g := wants(t, b)
			from := origin{}
			if c.tag != "" {
				from = origin{place: web.URL + "/updates/", tag: c.tag, modified: "Sun, 01 Mar 2026 12:02:00 GMT"}
			}
			if c.part != nil {
				g.has(c.part, from)
			}
			g.must(source(t, Options{}, web))
			if got := web.ranges(); !slices.Equal(got, c.asked) {
				t.Errorf("asked for %q, want %q", got, c.asked)
			}
			if len(web.asked) > 0 {
				if got := web.asked[0].Header.Get("If-Range"); got != c.ifTag {
					t.Errorf("asked with If-Range %q, want %q", got, c.ifTag)
				}
			}
			// What is done is not done again.
			before := len(web.asked)
			g.must(source(t, Options{}, web))
			if len(web.asked) != before {
				t.Error("asked again for what is there")
			}
		})
	}
}

// TestTagOfAnotherServerIsNotAskedFor: a tag means nothing elsewhere, and would throw away what is there.
func TestTagOfAnotherServerIsNotAskedFor(t *testing.T) {
	b := content(3, 64<<10)
	web := serve(t, good(b))
	g := wants(t, b)
	g.has(b[:1000], origin{place: "https://elsewhere.example/", tag: `"abc"`})
	g.must(source(t, Options{}, web))
	if got := web.asked[0].Header; got.Get("If-Range") != "" || got.Get("Range") != "bytes=1000-65535" {
		t.Errorf("asked %v", got)
	}
}

// TestCutConnections is R-17: the connection ends every 200 KB.
func TestCutConnections(t *testing.T) {
	b := content(4, 2<<20)
	web := serve(t, cut(b, 200_000))
	g := wants(t, b)
	g.must(source(t, Options{}, web))
	if n := len(web.asked); n != 11 {
		t.Errorf("asked %d times, want 11", n)
	}
	for i, r := range web.ranges() {
		if _, err := parseRange(rangeOf(i*200_000, len(b)-1, len(b))); err != nil || i > 0 && r != "bytes="+strings.TrimSuffix(rangeOf(i*200_000, len(b)-1, len(b))[6:], "/2097152") {
			t.Errorf("asked for %s", r)
		}
	}
}

// TestCutAnywhere: whatever came before an end, the next File goes on from exactly there, and gets the right bytes.
func TestCutAnywhere(t *testing.T) {
	b := content(5, 3000)
	for n := 0; n <= len(b); n += 37 {
		synctest.Test(t, func(t *testing.T) {
			dead := false
			var asked []string
			s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case dead:
					panic(http.ErrAbortHandler)
				case n > 0 && r.Header.Get("Range") == "" && n < len(b):
					dead = true
					w.Header().Set("Content-Length", lengthOf(b))
					cut(b, n)(w, r)
				}
				asked = append(asked, r.Header.Get("Range"))
				good(b)(w, r)
			})
			defer end()
			g := wants(t, b)
			if n > 0 && n < len(b) {
				if err := g.get(s); Reason(err) != "unreachable" {
					t.Fatalf("cut after %d bytes: %v", n, err)
				}
				if got := g.part(); !bytes.Equal(got, b[:n]) {
					t.Fatalf("cut after %d bytes: kept %d", n, len(got))
				}
			}
			dead = false
			g.must(s)
			if len(asked) != 1 {
				t.Errorf("cut after %d bytes: asked for %q", n, asked)
			}
		})
	}
}

// TestMirrors is R-10: an attacker is the first mirror, the second is good, and the file is there at the end of one File, with at most three times
// its length sent.
func TestMirrors(t *testing.T) {
	b, other := content(6, 300<<10), content(7, 300<<10)
	half := len(b) / 2
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		part   []byte
	}{
		{"other bytes", good(other), nil},
		{"one bit", good(append(bytes.Clone(b[:len(b)-1]), b[len(b)-1]^0x80)), nil},
		{"other bytes, then nothing", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				refuse(w, r)
				return
			}
			cut(other, half)(w, r)
		}, nil},
		{"other bytes again and again", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			cut(other, len(b)-1)(w, r)
		}, nil},
		{"the end of another file", good(other), b[:half]},
		{"bytes of another time", good(b), other[:half]},
		{"nothing", refuse, nil},
		{"nobody", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil},
		{"longer", good(append(bytes.Clone(b), 0)), nil},
		{"no ranges", func(w http.ResponseWriter, _ *http.Request) { w.Write(other) }, b[:half]},
	} {
		t.Run("R-10 "+c.name, func(t *testing.T) {
			t.Parallel()
			bad, fine := serve(t, c.answer), serve(t, good(b))
			g := wants(t, b)
			if c.part != nil {
				g.has(c.part, origin{})
			}
			s := source(t, Options{}, bad, fine)
			g.must(s)
			before := len(bad.asked)
			wants(t, b).must(s)
			if c.part == nil && len(bad.asked) != before {
				t.Error("asked the bad one first again")
			}
		})
	}
	t.Run("order", func(t *testing.T) {
		down := true
		one := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if down {
				refuse(w, r)
				return
			}
			good(b)(w, r)
		})
		two := serve(t, good(b))
		s := source(t, Options{}, one, two)
		for range 2 {
			if _, err := s.Metadata(t.Context(), "x", 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if len(one.asked) != 1 || len(two.asked) != 2 {
			t.Errorf("asked %d and %d times, want 1 and 2", len(one.asked), len(two.asked))
		}
		each := s.Each()
		if len(each) != 2 || each[0].String() != two.URL+"/updates" {
			t.Fatalf("got %v", each)
		}
		// How they do by themselves counts for all.
		down = false
		if _, err := each[1].Metadata(t.Context(), "x", 1<<20); err != nil || s.Each()[0].String() != one.URL+"/updates" {
			t.Errorf("%v, first is %v", err, s.Each()[0])
		}
		if _, err := each[0].Metadata(t.Context(), "x", 1<<20); err != nil || s.Each()[0].String() != two.URL+"/updates" {
			t.Errorf("%v, first is %v", err, s.Each()[0])
		}
		fresh := source(t, Options{}, one, two)
		fresh.Each()[0].Distrust()
		if got := fresh.Each()[0].String(); got != two.URL+"/updates" {
			t.Errorf("first is %v, which is not trusted", got)
		}
		each[0].Distrust()
		if _, err := s.Metadata(t.Context(), "x", 1<<20); err != nil || len(one.asked) != 3 || s.Each()[0].String() != one.URL+"/updates" {
			t.Errorf("%v, asked %d times", err, len(one.asked))
		}
	})
	t.Run("missing at one of them", func(t *testing.T) {
		s := source(t, Options{}, serve(t, http.NotFound), serve(t, good(b)))
		if got, err := s.Metadata(t.Context(), "2.root.json", 1<<20); err != nil || len(got) != len(b) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}

// TestWrongBytesLast: a place that gave wrong bytes is asked behind one that was never asked, and what it gave is thrown away.
func TestWrongBytesLast(t *testing.T) {
	b, other := content(6, 300<<10), content(7, 300<<10)
	for name, part := range map[string][]byte{"all of them": nil, "behind those of another time": other[:100<<10]} {
		bad, fine, third := serve(t, good(other)), serve(t, good(b)), serve(t, good(b))
		g := wants(t, b)
		if part != nil {
			g.has(part, origin{})
		}
		s := source(t, Options{}, bad, fine, third)
		g.must(s)
		var order []string
		for _, one := range s.Each() {
			order = append(order, one.String())
		}
		if want := []string{fine.URL + "/updates", third.URL + "/updates", bad.URL + "/updates"}; !slices.Equal(order, want) {
			t.Errorf("%s: asks %q from now on, want %q", name, order, want)
		}
		g = wants(t, b)
		if part != nil {
			g.has(part, origin{})
		}
		if err := g.get(source(t, Options{}, bad)); Reason(err) != "wrong-hash" || len(g.part()) > 0 {
			t.Errorf("%s, from it alone: got %v, kept %d bytes", name, err, len(g.part()))
		}
	}
}

// TestNoOtherHelps: where the disk fails or the time is over no other place is asked.
func TestNoOtherHelps(t *testing.T) {
	b := content(11, 5<<19)
	for name, part := range map[string][]byte{"from where it was": nil, "from the beginning": content(12, 1<<19)} {
		one, two := serve(t, good(b)), serve(t, good(b))
		if part != nil { // it turns out wrong, and both are asked anew
			one = serve(t, func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); good(b)(w, r) })
		}
		s := source(t, Options{}, one, two)
		g := wants(t, b)
		if part != nil {
			g.has(part, origin{})
		}
		s.sync = func(*os.File) error { return syscall.EIO }
		if err := g.get(s); Reason(err) != "disk" || part == nil && len(two.asked) > 0 {
			t.Errorf("%s: got %v, asked the other one %d times", name, err, len(two.asked))
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), b[:10], 0o600); err != nil {
		t.Fatal(err)
	}
	hangs := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := source(t, Options{}, hangs, dir).Metadata(ctx, "x", 10); Reason(err) != "out-of-time" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestMuch: a server that never lets one finish is not asked for ever.
func TestMuch(t *testing.T) {
	b := content(8, 100<<10)
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		is     error
		asked  int
		left   int // bytes that stay
	}{
		{"cut before the end, no ranges", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			cut(b, len(b)-1000)(w, r)
		}, ErrTooMuch, 4, 0}, // the fourth time it would give all again
		{"little by little", cut(b, 1000), ErrUnreachable, 2, 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			web := serve(t, c.answer)
			g := wants(t, b)
			if err := g.get(source(t, Options{}, web)); !errors.Is(err, c.is) || len(web.asked) != c.asked {
				t.Errorf("got %v, asked %d times, want %v, %d", err, len(web.asked), c.is, c.asked)
			}
			if n := len(g.part()); n != c.left {
				t.Errorf("kept %d bytes, want %d", n, c.left)
			}
		})
	}
}

// TestWhatLiesThere: whatever has the names of a download, it ends well or with a word.
func TestWhatLiesThere(t *testing.T) {
	b := content(9, 5000)
	web := serve(t, good(b))
	// A file of somebody else: of this test, as it is written to where the code is broken.
	victim, held := filepath.Join(t.TempDir(), "victim"), []byte("not to be touched\n")
	if err := os.WriteFile(victim, held, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		make func(into string) error
	}{
		{"a link to a file", func(into string) error { return os.Symlink(victim, into+partSuffix) }},
		{"a link to nothing", func(into string) error { return os.Symlink(into+"none", into+partSuffix) }},
		{"a pipe", func(into string) error { return syscall.Mkfifo(into+partSuffix, 0o600) }},
		{"a folder", func(into string) error { return os.Mkdir(into+partSuffix, 0o700) }},
		{"no tag at all", func(into string) error {
			return errors.Join(os.WriteFile(into+partSuffix, b[:100], 0o600), os.WriteFile(into+fromSuffix, content(1, 9999), 0o600))
		}},
		{"a pipe for a tag", func(into string) error {
			return errors.Join(os.WriteFile(into+partSuffix, b[:100], 0o600), syscall.Mkfifo(into+fromSuffix, 0o600))
		}},
		{"a short .unverified", func(into string) error { return os.WriteFile(into+doneSuffix, b[:100], 0o600) }},
		{"another .unverified", func(into string) error { return os.WriteFile(into+doneSuffix, content(2, 5000), 0o600) }},
		{"a .unverified without an end", func(into string) error {
			return errors.Join(os.WriteFile(into+doneSuffix, b, 0o600), os.Truncate(into+doneSuffix, 1<<42))
		}},
		{"a link named .unverified", func(into string) error { return os.Symlink(victim, into+doneSuffix) }},
		{"a link for a tag", func(into string) error {
			return errors.Join(os.WriteFile(into+partSuffix, b[:100], 0o600), os.Symlink(victim, into+fromSuffix))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := wants(t, b)
			if err := c.make(g.into); err != nil {
				t.Fatal(err)
			}
			g.must(source(t, Options{}, web))
		})
	}
	if got, err := os.ReadFile(victim); err != nil || !bytes.Equal(got, held) {
		t.Errorf("wrote through a link: %d bytes, %v", len(got), err)
	}
	g := wants(t, b)
	before := len(web.asked)
	for _, sum := range []string{"abc", strings.ToUpper(sumOf(b)), sumOf(b) + "00", ""} {
		if err := source(t, Options{}, web).File(t.Context(), "x", 5000, sum, g.into); Reason(err) != "wrong-hash" || len(web.asked) != before {
			t.Errorf("%q: got %v, asked %d times", sum, err, len(web.asked)-before)
		}
	}
	if err := source(t, Options{}, web).File(t.Context(), "x", 0, sumOf(nil), g.into); Reason(err) != "wrong-length" {
		t.Errorf("got %v", err)
	}
	if err := source(t, Options{}, web).File(t.Context(), "x", 5000, sumOf(b), filepath.Join(g.into, "none", "x")); Reason(err) != "disk" {
		t.Errorf("got %v", err)
	}
}

func TestNoSpace(t *testing.T) {
	b := content(10, 5000)
	web := serve(t, good(b))
	s := source(t, Options{}, web)
	g := wants(t, b)
	free := int64(reserve + 4999)
	s.free = func(string) (int64, error) { return free, nil }
	if err := g.get(s); Reason(err) != "no-space" || !strings.Contains(err.Error(), "no space: 33559431 bytes are free, want 5000 for what is missing and 33554432 to spare") {
		t.Errorf("got %v", err)
	}
	if len(web.asked) > 0 {
		t.Error("asked without space")
	}
	free++
	g.must(s)

	// What a download that has begun will need is taken from others.
	b = content(10, 1<<20)
	g = wants(t, b)
	if err := g.get(source(t, Options{}, serve(t, cut(b, 1000)))); Reason(err) != "unreachable" {
		t.Errorf("got %v", err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(g.into+partSuffix, &st); err != nil || st.Size > 4000 || st.Blocks*512 < int64(len(b)) {
		t.Errorf("%d bytes long, %d on disk, want room for %d, %v", st.Size, st.Blocks*512, len(b), err)
	}
	s = source(t, Options{}, serve(t, good(b)))
	s.free = func(string) (int64, error) { return 0, nil }
	g.must(s)
}

// TestWhatIsOnDisk: it is synced every mebibyte and at the end before it has its name, and what counts is what is read again from disk.
func TestWhatIsOnDisk(t *testing.T) {
	b := content(11, 5<<19) // 2.5 MiB
	web := serve(t, good(b))
	s := source(t, Options{}, web)
	g := wants(t, b)
	type synced struct {
		size  int64
		named bool
	}
	var syncs []synced
	s.sync = func(f *os.File) error {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		_, err = os.Stat(g.into + doneSuffix)
		syncs = append(syncs, synced{st.Size(), err == nil})
		return f.Sync()
	}
	g.must(s)
	last := int64(0)
	for _, x := range syncs {
		if x.named || x.size-last > syncBytes+32<<10 {
			t.Errorf("synced %d bytes behind %d, already named: %v", x.size, last, x.named)
		}
		last = x.size
	}
	if len(syncs) != 3 || last != int64(len(b)) {
		t.Errorf("synced %v, want three times, the last time %d bytes", syncs, len(b))
	}

	// A disk that keeps other bytes than it was given.
	g = wants(t, b)
	s.sync = func(f *os.File) error {
		if st, err := f.Stat(); err == nil && st.Size() == int64(len(b)) {
			if _, err := f.WriteAt([]byte{b[7] ^ 1}, 7); err != nil {
				return err
			}
		}
		return f.Sync()
	}
	if err := g.get(s); Reason(err) != "disk" || !strings.Contains(err.Error(), "disk: read again: wrong hash") {
		t.Errorf("got %v", err)
	}
	if n := len(g.part()); n != 0 || slices.Contains(g.names(), filepath.Base(g.into)+doneSuffix) {
		t.Errorf("kept %d bytes, %q", n, g.names())
	}
	// A disk that fails.
	g = wants(t, b)
	s.sync = func(*os.File) error { return syscall.EIO }
	if err := g.get(s); Reason(err) != "disk" || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
	s.sync = (*os.File).Sync
	g.must(s)
}

// TestSyncedInTime: what comes slowly is synced too.
func TestSyncedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := content(12, 100_000)
		s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) { slowly(w, r, time.Second, b, 2000) })
		defer end()
		n := 0
		s.sync = func(f *os.File) error {
			n++
			return f.Sync()
		}
		wants(t, b).must(s)
		if n < 9 || n > 12 {
			t.Errorf("synced %d times in 50 s", n)
		}
	})
}

// TestAnyServers draws servers with all kinds of manners, and a beginning: the right file comes out, or none, within the bounds.
func TestAnyServers(t *testing.T) {
	b, other := content(13, 40_000), content(14, 40_000)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(rt, "servers")
		kinds := make([]int, n)
		for i := range kinds {
			kinds[i] = rapid.IntRange(0, 6).Draw(rt, "kind")
		}
		cuts := rapid.IntRange(1, len(b)).Draw(rt, "cut")
		part := rapid.IntRange(0, len(b)).Draw(rt, "part")
		from := rapid.SampledFrom([][]byte{nil, b, other}).Draw(rt, "of")
		synctest.Test(t, func(t *testing.T) {
			var sent atomic.Int64
			s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
				file := b
				switch kinds[int(r.Host[len(r.Host)-1]-'1')] {
				case 1:
					file = other
				case 2:
					cut(b, cuts)(&counted{w, &sent}, r)
					return
				case 3:
					r.Header.Del("Range")
				case 4:
					r.Header.Del("Range")
					cut(other, cuts)(&counted{w, &sent}, r)
					return
				case 5:
					w.WriteHeader(http.StatusTeapot)
					return
				case 6:
					w.Header().Set("Content-Range", rangeOf(cuts-1, len(b)-1, len(b)))
					w.WriteHeader(http.StatusPartialContent)
					(&counted{w, &sent}).Write(b[cuts-1:])
					return
				}
				good(file)(&counted{w, &sent}, r)
			})
			defer end()
			first := s.places[0].opener.(*web)
			s.places = nil
			for i := range n {
				base := "http://127.0.0." + string(rune('1'+i)) + "/"
				s.places = append(s.places, &place{text: base, opener: &web{base: base, agent: "x", client: first.client}})
			}
			g := wants(t, b)
			if from != nil {
				g.has(from[:part], origin{})
			}
			err := g.get(s)
			if n == 3 && errors.Is(err, ErrTooMuch) {
				// Two that lie, and wrong bytes from before, can take all that one File may be sent. But then they are known.
				sent.Store(0)
				err = g.get(s)
			}
			if err == nil {
				g.must(s)
			} else {
				g.part()
				if _, err := os.Stat(g.into + doneSuffix); err == nil {
					t.Error("a file that is not right has its last name")
				}
			}
			if slices.Contains(kinds, 0) && err != nil {
				t.Errorf("kinds %v, cut %d, part %d: a server is good, and yet %v", kinds, cuts, part, err)
			}
			if over := 64 << 10; sent.Load() > int64(3*len(b)+n*over) {
				t.Errorf("servers sent %d bytes for %d", sent.Load(), len(b))
			}
		})
	})
}

type counted struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

func TestTidy(t *testing.T) {
	dir := t.TempDir()
	one, two := sumOf([]byte("1")), sumOf([]byte("2"))
	for _, name := range []string{
		one + ".part", one + ".part.from", one + ".part.from.new", two + ".unverified", two + ".part", "strange.part", "notes.txt", two,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "folder.part"), 0o700), os.Symlink("notes.txt", filepath.Join(dir, "link.unverified"))); err != nil {
		t.Fatal(err)
	}
	left := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, strings.NewReplacer(one, "one", two, "two").Replace(e.Name()))
		}
		slices.Sort(names)
		return names
	}
	if err := Tidy(dir, one); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), []string{"folder.part", "notes.txt", "one.part", "one.part.from", "one.part.from.new", "two"}; !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
	if err := Tidy(dir); err != nil {
		t.Fatal(err)
	}
	if got, want := left(), []string{"folder.part", "notes.txt", "two"}; !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
	if err := Tidy(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
}

// TestEachByteOfAFile changes each byte of a file of 4 KiB on its way: none of them is taken, and nothing of it stays.
func TestEachByteOfAFile(t *testing.T) {
	b := content(31, 4<<10)
	dir := tmpfs.Dir(t)
	s := source(t, Options{}, dir)
	g := &target{t, b, filepath.Join(tmpfs.Dir(t), sumOf(b))}
	for at := range b {
		other := bytes.Clone(b)
		other[at] ^= 1 << (at % 8)
		if err := os.WriteFile(filepath.Join(dir, "tidegate.zst"), other, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.get(s); Reason(err) != "wrong-hash" || len(g.part()) > 0 {
			t.Fatalf("byte %d: got %v, and %d bytes stay", at, err, len(g.part()))
		}
	}
}
