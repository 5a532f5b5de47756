package update

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

// A refusal is one way in which releases are not what they should be, and the name by which the gateway refuses them. None has the name of the one
// before: what goes on is told once.
type refusal struct {
	name, reason string
	begin        func(r *refusals) error
}

// refusals are the repository and the server, gone wrong.
type refusals struct {
	*plant
	counter int
	stamp   []byte // the first timestamp
}

// publish adds one more release.
func (r *refusals) publish(of image, change ...func(*release.File)) (path string) {
	r.Helper()
	r.counter++
	return filepath.Join(r.repo.dir, r.repo.publish(r.T, r.counter, of, change...))
}

// replace puts other bytes under a name, by a rename.
func (r *refusals) replace(path string, body []byte) error {
	return errors.Join(os.WriteFile(path+".new", body, 0o644), os.Rename(path+".new", path))
}

// spoil adds a release whose file is not what was signed.
func (r *refusals) spoil(how func(b []byte) []byte) error {
	path := r.publish(built.good[0])
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return r.replace(path, how(b))
}

// stamped puts a timestamp of the repository as it is that expires then.
func (r *refusals) stamped(expires time.Time) error {
	v := r.repo.targets.Signed.Version
	b, err := os.ReadFile(filepath.Join(r.repo.dir, fmt.Sprintf("%d.snapshot.json", v)))
	if err != nil {
		return err
	}
	return r.repo.stamp(v+1, b, expires)
}

// lying has the server answer otherwise.
func lying(answer http.HandlerFunc) func(*refusals) error {
	return func(r *refusals) error { r.server.Lie(answer); return nil }
}

// others publishes releases for other gateways, which are nobody's alarm, and waits until they were looked at.
func (r *refusals) others() {
	r.Helper()
	r.publish(built.good[0], func(f *release.File) { f.Hardware = []string{"acme,pump"} })
	r.publish(built.good[0], func(f *release.File) { f.Tenant = "acme" })
	begin := time.Now()
	r.wait("a look at releases of others", func() bool {
		s, ok := r.gateway.Status()
		return ok && s.Update.LastLook.After(begin)
	})
	if s, _ := r.gateway.Status(); s.Update.Reason != "" || s.Update.Staged != "" || len(r.outcomes()) > 0 {
		r.Errorf("releases of others: status says %+v, told %+v; want nothing", s.Update, r.outcomes())
	}
}

var refused = []refusal{
	{"for a later program", "does-not-follow", func(r *refusals) error {
		r.publish(built.good[0], func(f *release.File) { f.MinAgent = 1000 })
		return nil
	}},
	{"one bit of the program", "wrong-hash", func(r *refusals) error {
		return r.spoil(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	}},
	{"one byte too many", "wrong-length", func(r *refusals) error { return r.spoil(func(b []byte) []byte { return append(b, 0) }) }},
	{"a script", "no-elf", func(r *refusals) error { r.publish(built.bad["script"]); return nil }},
	{"the timestamp of before", "rollback", func(r *refusals) error { return r.replace(filepath.Join(r.repo.dir, "timestamp.json"), r.stamp) }},
	{"a timestamp of somebody else", "bad-signature", func(r *refusals) error {
		other := newRepo(r.T, filepath.Join(r.dir, "other"))
		if err := other.seal(); err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(other.dir, "timestamp.json"))
		return errors.Join(err, r.replace(filepath.Join(r.repo.dir, "timestamp.json"), b))
	}},
	{"a timestamp of yesterday", "expired", func(r *refusals) error { return r.stamped(time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second)) }},
	{"half a timestamp", "malformed", func(r *refusals) error {
		return r.replace(filepath.Join(r.repo.dir, "timestamp.json"), r.stamp[:len(r.stamp)/2])
	}},
	{"nothing there", "missing", lying(http.NotFound)},
	{"no answer", "unreachable", lying(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })},
	{"redirects to itself for ever", "redirected", lying(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })},
	{"a bomb", "encoded", lying(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(make([]byte, 1000))
	})},
	{"an answer without end", "wrong-length", lying(func(w http.ResponseWriter, _ *http.Request) {
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})},
	{"a byte a second", "too-slow", lying(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(" ")); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			sleep(r.Context(), time.Second)
		}
	})},
}

// TestRefused has one gateway look at releases that are not what they should be, each of which it refuses by name and tells of, while it reads on: it is
// not started anew, and takes a good release behind them all.
func TestRefused(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	r := &refusals{plant: p, counter: 1}
	if err := p.repo.seal(); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.stamp, err = os.ReadFile(filepath.Join(p.repo.dir, "timestamp.json")); err != nil {
		t.Fatal(err)
	}
	p.super.run()
	first, n := p.started("the package's program", 0, func(s start) bool { return s.release == 1 })
	p.reads(first.began)
	r.others()
	begin := time.Now()
	part := table.Part{
		Name: "refused", Of: 1, Command: "go test ./testdata/rig/update -real",
		Columns: []string{"what a gateway found", "refused as", "longest pause of reading", "in intervals"},
	}
	for _, c := range refused {
		before, replies := len(p.outcomes()), p.meters.Given()[0]
		if err := c.begin(r); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		p.wait(c.name+" to be refused: "+c.reason, func() bool {
			return slices.ContainsFunc(p.outcomes()[before:], func(o bed.Outcome) bool { return o.Result == "refused" && o.Reason == c.reason })
		})
		s, ok := p.gateway.Status()
		if !ok || s.Update.Reason != c.reason || s.Update.Slot != "package" || s.Update.Staged != "" {
			t.Errorf("%s: status says %+v, want %s, and nothing staged", c.name, s.Update, c.reason)
		}
		pause := p.pause(replies)
		part.Rows = append(part.Rows, table.Row{c.name, c.reason, fmt.Sprintf("%.2f s", pause.Seconds()), fmt.Sprintf("%.1f", pause.Seconds()/every.Seconds())})
	}
	part.Took = int(time.Since(begin).Seconds())
	if list := p.super.all(); len(list) != n || !list[n-1].ended.IsZero() {
		t.Errorf("there were %d starts, want %d that has not ended", len(list), n)
	}
	p.server.Lie(nil)
	r.publish(built.good[0])
	if o := p.outcome(r.counter); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that a good release behind them all is kept", o)
	}
	said(t, fmt.Sprintf("%d refused by name, none started; a good one behind them: kept", len(part.Rows)), p.settle())
	keep(t, part, true)
	if t.Failed() {
		t.Log(p.story())
	}
}
