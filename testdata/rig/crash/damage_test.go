package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// What may be damaged: files of a stopped gateway, by where they lie. Each kind is a row of the table.
var targets = []struct {
	row   string
	globs []string
}{
	{"damage of a table of the store (*.sst)", []string{"state/buffer/*.sst"}},
	{"damage of a log of the store (*.mem)", []string{"state/buffer/*.mem"}},
	{"damage of the store's list of tables (MANIFEST)", []string{"state/buffer/MANIFEST"}},
	{"damage of other files of the store", []string{"state/buffer/*"}},
	{"damage of what the state directory has beside the store", []string{"state/*"}},
	{"damage of the rings that a kill leaves", []string{"rings/*"}},
}

func damageRows() (rows []string) {
	for _, x := range targets {
		rows = append(rows, x.row)
	}
	return rows
}

// TestDamages damages one file of a gateway that has stopped with a backlog, and starts it: within 10 s it is at work, and of each reading that a meter
// answered either that is at the far end or a gap that was declared tells of it.
func TestDamages(t *testing.T) {
	t.Parallel()
	b := &backlog{t: t}
	for i, x := range targets {
		t.Run(strings.ReplaceAll(x.row, "*", ""), func(t *testing.T) {
			measure(t, x.row, (*damages+len(targets)-1-i)/len(targets), func(t *testing.T, draw *rand.Rand, n int) *outcome {
				b.once.Do(b.make)
				var mu sync.Mutex
				sum := &outcome{}
				turn := make(chan struct{}, 3) // more at a time would only wait for each other
				t.Run("one at a time", func(t *testing.T) {
					for i := range n {
						draw := rand.New(rand.NewPCG(draw.Uint64(), uint64(i)))
						t.Run(fmt.Sprint(i+1), func(t *testing.T) {
							t.Parallel()
							turn <- struct{}{}
							defer func() { <-turn }()
							o := b.damage(t, draw, x.globs)
							mu.Lock()
							defer mu.Unlock()
							sum.add(o)
						})
					}
				})
				return sum
			})
		})
	}
}

// A backlog is a gateway that has a backlog of several lives, some of them delivered, as it was at times.
type backlog struct {
	t    *testing.T
	once sync.Once
	dir  string

	meters  *bed.Meters
	broker  *bed.Broker
	gateway *bed.Gateway
	ends    [][]uint32 // last replies at each stop
	past    []past
}

// past is a copy of all that there is: the state directory, the rings, and what the far end has.
type past struct {
	name  string
	dir   string
	ends  int  // how many stops lie before it
	rings bool // they are there: it was killed
	old   string
}

func (b *backlog) make() {
	t := b.t
	b.dir = bed.Dir(t, false)
	b.meters = bed.NewMeters(t, 4, 8)
	b.broker = bed.NewBroker(t, b.dir)
	b.broker.Start()
	receiver := bed.NewReceiver(t, programs, b.dir, b.broker.URL())
	b.gateway = bed.NewGateway(t, programs, b.dir)
	b.gateway.Configure(b.meters.Devices(20*time.Millisecond), bed.Toggle, b.broker.URL(), "receipt", "")
	b.live(2 * time.Second)
	b.gateway.Terminate(60 * time.Second)
	b.stopped()
	receiver.Finish()
	b.broker.Stop()
	var old string
	for i := range 3 { // each stop makes a table
		b.live(1200 * time.Millisecond)
		b.gateway.Terminate(60 * time.Second)
		b.stopped()
		if i == 0 {
			old = b.keep("a while before", "")
		}
	}
	b.live(1500 * time.Millisecond)
	b.gateway.Kill()
	b.stopped()
	b.keep("killed", old)
	b.live(1500 * time.Millisecond)
	b.gateway.Terminate(60 * time.Second)
	b.stopped()
	b.keep("stopped", old)
	b.past = b.past[1:] // what is older is there to be mixed in
}

func (b *backlog) live(d time.Duration) {
	b.gateway.Run()
	bed.Wait(b.t, "first commit", 60*time.Second, func() bool { return b.gateway.Committed() > 0 })
	time.Sleep(d)
}

func (b *backlog) stopped() {
	b.meters.Stopped()
	b.ends = append(b.ends, b.meters.Given())
}

// keep keeps how all is now.
func (b *backlog) keep(name, old string) string {
	p := past{name: name, dir: filepath.Join(b.dir, "past-"+strings.ReplaceAll(name, " ", "-")), ends: len(b.ends), rings: name == "killed", old: old}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	copyTree(b.t, b.gateway.State, filepath.Join(p.dir, "state"))
	copyTree(b.t, b.gateway.Rings, filepath.Join(p.dir, "rings"))
	copyTree(b.t, filepath.Join(b.dir, "received"), filepath.Join(p.dir, "received"))
	b.past = append(b.past, p)
	return p.dir
}

// damage does one damage.
func (b *backlog) damage(t *testing.T, draw *rand.Rand, globs []string) *outcome {
	p := b.past[draw.IntN(len(b.past))]
	cut := p.rings && draw.IntN(2) == 0 // the rings are gone, as after a power cut
	if strings.HasPrefix(globs[0], "rings") {
		p, cut = b.past[0], false
	}
	dir := bed.Dir(t, false)
	copyTree(t, filepath.Join(p.dir, "state"), filepath.Join(dir, "state"))
	copyTree(t, filepath.Join(p.dir, "received"), filepath.Join(dir, "received"))
	g := bed.NewGateway(t, programs, dir)
	if p.rings && !cut {
		if err := os.Remove(g.Rings); err != nil {
			t.Fatal(err)
		}
		copyTree(t, filepath.Join(p.dir, "rings"), g.Rings)
	}
	what := spoil(t, draw, map[string]string{"state": g.State, "rings": g.Rings}, p.old, globs)
	what = fmt.Sprintf("%s (rings gone: %v), %s", p.name, cut, what)
	t.Log(what)

	broker := bed.NewBroker(t, dir)
	broker.Start()
	receiver := bed.NewReceiver(t, programs, dir, broker.URL())
	g.Configure(b.meters.Gone(), bed.Toggle, broker.URL(), "receipt", "")
	o := &outcome{cases: 1, start: b.startDamaged(t, g)}
	bed.Wait(t, "delivery of all that is left", 2*time.Minute, func() bool {
		if g.Ended() {
			t.Fatalf("the gateway ended while delivering:\n%s", g.Tail())
		}
		s, ok := g.Status()
		return ok && s.Link.State == "up" && s.Queue.Records == 0 && s.ConfirmedRecord > 0
	})
	g.Terminate(60 * time.Second)
	judgeGone(t, b.meters, b.ends[:p.ends], receiver, o)
	if o.lost+o.wrong+o.unreported+o.twice != 0 || o.start > 10*time.Second {
		t.Errorf("%s: %+v; its log is %s", what, *o, g.Log)
	}
	return o
}

// startDamaged starts the gateway, as often as systemd would, and returns how long it took until it was at work.
func (b *backlog) startDamaged(t *testing.T, g *bed.Gateway) time.Duration {
	begin := time.Now()
	g.Run()
	ends := 0
	bed.Wait(t, "a start", time.Minute, func() bool {
		if g.Ended() {
			if ends++; ends > 5 {
				t.Fatalf("the gateway has ended %d times:\n%s", ends, g.Tail())
			}
			t.Logf("the gateway ended:\n%s", g.Tail())
			g.Run()
		}
		s, ok := g.Status()
		return ok && s.NextRecord > 0
	})
	return time.Since(begin)
}

// spoil damages one of the files that globs name, in the directories at, and says how. old has the files of a while before.
func spoil(t *testing.T, draw *rand.Rand, at map[string]string, old string, globs []string) string {
	t.Helper()
	var files, others []string
	for _, g := range globs {
		where, rest, _ := strings.Cut(g, "/")
		list, err := filepath.Glob(filepath.Join(at[where], rest))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list...)
	}
	files = slices.DeleteFunc(files, func(f string) bool { st, err := os.Stat(f); return err != nil || !st.Mode().IsRegular() })
	if rest := globs[0] == "state/buffer/*"; rest {
		files = slices.DeleteFunc(files, func(f string) bool {
			return strings.HasSuffix(f, ".sst") || strings.HasSuffix(f, ".mem") || strings.HasSuffix(f, "MANIFEST")
		})
	}
	if some := slices.DeleteFunc(slices.Clone(files), func(f string) bool { st, err := os.Stat(f); return err != nil || st.Size() == 0 }); len(some) > 0 && draw.IntN(8) > 0 {
		files = some // the next log is there beforehand, and empty
	}
	if len(files) == 0 {
		t.Fatalf("there is no %v", globs)
	}
	path := files[draw.IntN(len(files))]
	for _, f := range files {
		if f != path {
			others = append(others, f)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	how, out := change(draw, b)
	switch pick := draw.IntN(10); {
	case pick == 0:
		how, out = "deleted", nil
		err = os.Remove(path)
	case pick == 1 && len(others) > 0:
		other := others[draw.IntN(len(others))]
		how = "changed for " + filepath.Base(other)
		err = errors.Join(os.Rename(path, path+"~"), os.Rename(other, path), os.Rename(path+"~", other))
		out = nil
	case pick == 2 && old != "":
		from := filepath.Join(old, strings.TrimPrefix(path, filepath.Dir(at["state"])))
		if was, e := os.ReadFile(from); e == nil && !strings.HasPrefix(path, at["rings"]) {
			how, out = "as it was a while before", was
		}
		fallthrough
	default:
		st, e := os.Stat(path)
		if err = errors.Join(e, os.WriteFile(path, out, 0o600)); err == nil {
			err = os.Chtimes(path, st.ModTime(), st.ModTime()) // a card that loses something tells nobody
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s of %d bytes %s", filepath.Base(path), len(b), how)
}

// change changes bytes. Places are drawn where there is something: logs and rings are mostly nothing.
func change(draw *rand.Rand, b []byte) (how string, out []byte) {
	const page = 4096
	out = slices.Clone(b)
	var full []int // pages
	for p := 0; p < len(b); p += page {
		if slices.ContainsFunc(b[p:min(p+page, len(b))], func(c byte) bool { return c != 0 }) {
			full = append(full, p)
		}
	}
	if len(full) == 0 {
		return "had garbage put in", []byte("garbage of a length that is none")
	}
	place := func() int {
		p := full[draw.IntN(len(full))]
		return p + draw.IntN(min(page, len(b)-p))
	}
	switch draw.IntN(6) {
	case 0, 1:
		at := place()
		out[at] ^= 1 << draw.IntN(8)
		return fmt.Sprintf("has a bit flipped at %d", at), out
	case 2:
		n := 2 + draw.IntN(64)
		for range n {
			out[place()] ^= 1 << draw.IntN(8)
		}
		return fmt.Sprintf("has %d bits flipped", n), out
	case 3:
		at := place()
		return fmt.Sprintf("is cut to %d", at), out[:at]
	case 4:
		at := place() / page * page
		to := min(at+page*(1+draw.IntN(4)), len(b))
		if draw.IntN(2) == 0 { // a log that is zero from some place on looks as if it ended there
			to = len(b)
		}
		clear(out[at:to])
		return fmt.Sprintf("is zero from %d to %d", at, to), out
	default:
		at := place()
		to := min(at+1+draw.IntN(512), len(b))
		for i := at; i < to; i++ {
			out[i] = byte(draw.Uint32())
		}
		return fmt.Sprintf("is garbage from %d to %d", at, to), out
	}
}
