package brick

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

var (
	all  = flag.Bool("all", false, "every power cut, every kill and every sync, not one in so many")
	one  = flag.Int("slice", -1, "which of the slices to try, from 0; -1 = by the commit")
	show = flag.Bool("show", false, "print every system call that is tried")
)

// A short run tries one in so many of the scenarios, and of their calls one in so many.
const (
	scenariosOf = 5
	slicesOf    = 16
)

// A world is a gateway's disk, in one test.
type world struct {
	*site
	t     *testing.T
	s     *scenario
	state string
	own   string // scratch of this test
}

func newWorld(t *testing.T, s *scenario) *world {
	t.Helper()
	dir := bed.Dir(t, true)
	w := &world{site: here, t: t, s: s, state: dir + "/state", own: dir}
	w.must(w.need(s.kind))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// config writes a configuration that has releases of a shelf from the server, or from its folder.
func (w *world) config(shelf string, folder ...bool) string {
	w.t.Helper()
	from := fmt.Sprintf("  from: [\"%s/%s/\"]\n  ca: %s\n", w.url, shelf, w.ca)
	if len(folder) > 0 {
		from = ""
	}
	text := fmt.Sprintf("gateway: {id: rig}\nstate_dir: %s\nupdate:\n  root: %s\n%s  trial: 1h\n", w.state, w.root(), from)
	path := filepath.Join(w.own, fmt.Sprintf("%s-%d-%d.yaml", strings.ReplaceAll(shelf, "/", "-"), len(folder), len(w.state)))
	w.must(os.WriteFile(path, []byte(text), 0o644))
	return path
}

func (w *world) tidegate(command, config string, args ...string) []string {
	return append([]string{w.bin + "/tidegate", "update", command, "--config", config}, args...)
}

func (w *world) fetch(shelf string) []string { return w.tidegate("fetch", w.config(shelf)) }
func (w *world) apply(shelf string) []string { return w.tidegate("apply", w.config(shelf)) }

// bring is what somebody does who brings a directory, to a gateway that has no place of releases.
func (w *world) bring(shelf string) []string {
	return w.tidegate("import", w.config(shelf, true), filepath.Join(w.dir, "shelves", shelf))
}

func (w *world) launch(args ...string) []string {
	return append([]string{w.bin + "/tidegate-launch", "run", "--state", w.state, "--lib", w.lib, "--"}, args...)
}

// live is the gateway's start: a release on trial judges itself.
func (w *world) live(shelf string) []string {
	return w.launch("live", w.state, w.lib, w.bin+"/tidegate", w.config(shelf))
}

// run runs a command to its end.
func run(argv []string) (out, log string, err error) {
	var o, l bytes.Buffer
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdout, c.Stderr = &o, &l
	c.WaitDelay = time.Minute
	err = c.Run()
	return o.String(), strings.TrimSpace(l.String()), err
}

// well runs commands that have to go well.
func (w *world) well(commands ...[]string) {
	w.t.Helper()
	for _, argv := range commands {
		if out, log, err := run(argv); err != nil {
			w.t.Fatalf("%s: %v\n%s\n%s", argv, err, out, log)
		}
	}
}

// on returns the same world with its state elsewhere.
func (w *world) on(state string) *world {
	c := *w
	c.state = state
	return &c
}

// prepare makes the gateway that the scenario begins with: it has three readings in its buffer.
func (w *world) prepare() {
	w.t.Helper()
	w.must(os.Mkdir(w.state, 0o700))
	k, err := newKeeper(w.state)
	w.must(err)
	w.must(errors.Join(k.read(), k.read(), k.read(), k.end()))
	if !w.s.fresh {
		w.well(w.apply("base/11"), w.live("base/11"), w.apply("base/12"), w.live("base/12"), w.live("base/12"))
	}
	if w.s.given != nil {
		w.s.given(w)
	}
}

// spoil leaves five bytes of files.
func (w *world) spoil(names ...string) {
	w.t.Helper()
	for _, name := range names {
		path := filepath.Join(w.state, "ota", name)
		if st, err := os.Stat(path); err != nil || st.Size() < 6 {
			w.t.Fatalf("%s: %v, %v: want more than 5 bytes", path, st, err)
		}
		w.must(os.Truncate(path, 5))
	}
}

// trace runs a command below the tracer. What it says goes to a file.
func (w *world) trace(argv []string, at func(p point) verdict) (killed bool) {
	w.t.Helper()
	out, err := os.Create(w.own + "/said")
	w.must(err)
	defer out.Close()
	t := &tracer{dir: w.state, at: at}
	_, killed, err = t.run(argv, out)
	w.must(err)
	return killed
}

// calls runs a command, and returns its calls that change something.
func (w *world) calls(argv []string) (list []point) {
	w.t.Helper()
	w.trace(argv, func(p point) verdict { list = append(list, p); return pass })
	return list
}

// distinct is how many calls of a list are distinct: chunks of a download count once, as do writes in a row.
func distinct(list []point) int {
	seen := map[point]bool{}
	for _, p := range list {
		p.partWay, p.path, p.from = false, "", ""
		if strings.HasSuffix(p.file, ".part") && (p.isSync() || strings.Contains(p.call, "write")) {
			p.n = 1
		}
		seen[p] = true
	}
	return len(seen)
}

// tried reports whether a call of this number is tried in this run.
func (s *scenario) tried(number int) bool {
	return *all || number%slicesOf == turn(s.name, slicesOf)
}

// turn is whose turn it is of so many, by the commit.
func turn(what string, of int) int {
	h := fnv.New32()
	if *one >= 0 {
		_, _ = fmt.Fprint(h, what)
		return (int(h.Sum32()>>1) + *one) % of
	}
	commit, err := table.Commit(bed.Root())
	_, _ = fmt.Fprint(h, commit, what, err)
	return int(h.Sum32()>>1) % of
}
