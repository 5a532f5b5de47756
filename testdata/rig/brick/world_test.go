package brick

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var (
	all    = flag.Bool("all", false, "every power cut and every kill, not one in so many")
	one    = flag.Int("slice", -1, "which of the slices to try, from 0; -1 = by the commit")
	show   = flag.Bool("show", false, "print every system call that is tried")
	oneIn  = 8 // slices
	quoted = bytes.TrimSpace
)

// A scenario is what is done to a gateway on which release 12 has proved itself. Commands are run one after the other, as systemd does; told is
// how things stand when the one of the same place has returned, and holds over any cut from then on. Before and within it either that or what
// was before may be found. Anything that changes the state directory can be enumerated: commands are plain command lines.
type scenario struct {
	name     string
	release  string // end of the new program: "13 good"
	commands func(w *world) [][]string
	told     []string
}

const before = "kept 12, starts 12"

// scenarios are the ways that an update goes.
var scenarios = []scenario{
	{
		name: "update", release: "13 good", told: []string{"running 13, starts 13", "kept 13, starts 13", "kept 13, starts 13"},
		commands: func(w *world) [][]string {
			return [][]string{w.update("13", "24h"), w.launch("live", w.state, w.lib), w.launch("live", w.state, w.lib)}
		},
	},
	{
		name: "gives up", release: "13 bad", told: []string{"running 13, starts 13", "failed 13, starts 12", "failed 13, starts 12"},
		commands: func(w *world) [][]string {
			return [][]string{w.update("13", "24h"), w.launch("live", w.state, w.lib), w.launch("report")}
		},
	},
	{
		name: "crashes", release: "13 crashes",
		told: []string{"running 13, starts 13", "running 13, starts 13", "running 13, starts 13", "failed 13, starts 12", "failed 13, starts 12"},
		commands: func(w *world) [][]string {
			live := w.launch("live", w.state, w.lib)
			return [][]string{w.update("13", "24h"), live, live, live, w.launch("report")}
		},
	},
	{
		name: "expires", release: "13 good", told: []string{"failed 13, starts 12", "failed 13, starts 12", "failed 13, starts 12"},
		commands: func(w *world) [][]string {
			return [][]string{w.update("13", "1ms"), {w.bin + "/tidegate-launch", "expire", "--state", w.state, "--lib", w.lib}, w.launch("report")}
		},
	},
}

// A world is a gateway's disk and the programs around it.
type world struct {
	t               *testing.T
	dir             string
	bin, lib, state string
	releases        map[string]string // path by number
}

// newWorld builds the programs.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this rig mounts disk images and traces programs: run it as root")
	}
	dir := bed.Dir(t, true)
	w := &world{t: t, dir: dir, bin: dir + "/bin", lib: dir + "/lib", state: dir + "/state", releases: map[string]string{}}
	w.must(os.MkdirAll(w.lib, 0o755))
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.bin+"/", "./cmd/tidegate-launch", "./testdata/rig/brick/prog", "./testdata/rig/brick/updater")
	build.Dir, build.Env = bed.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	w.release(w.lib+"/tidegate", "10 good")
	w.must(os.WriteFile(w.lib+"/release.json", []byte(`{"counter": 10, "version": "v10", "sha256": "`+strings.Repeat("0", 64)+`", "length": 1}`), 0o644))
	for _, r := range []string{"11 good", "12 good", "14 good"} {
		w.release(filepath.Join(dir, r[:2]), r)
	}
	return w
}

// release makes a program: its last line says how it behaves.
func (w *world) release(path, end string) {
	w.t.Helper()
	body, err := os.ReadFile(w.bin + "/prog")
	w.must(err)
	w.must(os.WriteFile(path, append(body, "\nrelease "+end+"\n"...), 0o755))
	w.releases[end[:2]] = path
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(counter, window string) []string {
	return []string{w.bin + "/updater", w.state, w.lib, filepath.Join(w.dir, counter), counter, window}
}

func (w *world) launch(args ...string) []string {
	return append([]string{w.bin + "/tidegate-launch", "run", "--state", w.state, "--lib", w.lib, "--"}, args...)
}

// run runs a command to its end.
func (w *world) run(argv []string) (out, log string, err error) {
	var o, l bytes.Buffer
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdout, c.Stderr = &o, &l
	c.WaitDelay = time.Minute
	err = c.Run()
	return o.String(), string(quoted(l.Bytes())), err
}

// on returns the same world with its state elsewhere.
func (w *world) on(state string) *world {
	c := *w
	c.state = state
	return &c
}

// prepare brings a gateway to release 12, over 11.
func (w *world) prepare() {
	w.t.Helper()
	for _, r := range []string{"11", "12"} {
		for _, argv := range [][]string{w.update(r, "24h"), w.launch("live", w.state, w.lib)} {
			if out, log, err := w.run(argv); err != nil {
				w.t.Fatalf("%s: %v\n%s\n%s", argv, err, out, log)
			}
		}
	}
	if got, bad := w.look(false); got != before || bad != "" {
		w.t.Fatalf("got %q, %s, want %q", got, bad, before)
	}
}

// look starts what there is, and says how things stand. bad says what must never be: what starts is no whole program of ours, or something is
// left half done. clean: nothing was damaged, so nothing may be said of damage.
func (w *world) look(clean bool) (stands, bad string) {
	out, log, err := w.run(w.launch("report"))
	var counter, slot, sum string
	var safe bool
	if _, scan := fmt.Sscanf(out, "runs %s %s slot=%s safe=%t", &counter, &sum, &slot, &safe); err != nil || scan != nil {
		return "", fmt.Sprintf("NOTHING STARTS: %v, %q, %q", err, out, log)
	}
	body, err := os.ReadFile(w.releases[counter])
	if err != nil || fmt.Sprintf("%x", sha256.Sum256(body)) != sum || safe {
		return "", fmt.Sprintf("starts what it must not: %q: %v: %s", out, err, log)
	}
	if clean && (strings.Contains(log, "damaged") || strings.Contains(log, "wrong")) {
		bad = "what was done is damaged: " + log
	}
	// It only looks: nothing may be left to mend behind a launcher.
	s, err := slots.Open(filepath.Join(w.state, "ota"), slots.Builtin{Path: "/none", Counter: 10})
	st := s.State()
	switch {
	case err != nil:
		bad = err.Error()
	case len(st.Harm) > 0:
		bad = fmt.Sprint("half done: ", st.Harm)
	case string(st.Current) != slot:
		bad = fmt.Sprintf("half done: current leads to %s, and slot %s starts", st.Current, slot)
	case st.Trial.Phase == slots.Running && st.Trial.Attempts > slots.Attempts:
		bad = fmt.Sprintf("%d starts on trial", st.Trial.Attempts)
	default:
		if left := w.left(); len(left) > 0 {
			bad = fmt.Sprint("left behind: ", left)
		}
	}
	return fmt.Sprintf("%s %d, starts %s", st.Trial.Phase, st.Trial.Counter, counter), bad
}

// left lists files that do not belong there.
func (w *world) left() (out []string) {
	root := filepath.Join(w.state, "ota")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		known := []string{
			".", "lock", "slots", "slots/a", "slots/b", "slots/current", "slots/a/tidegate", "slots/b/tidegate", "trial.0", "trial.1",
			"slots/a/release.0", "slots/a/release.1", "slots/b/release.0", "slots/b/release.1",
		}
		if err != nil || !slices.Contains(known, name) {
			out = append(out, name)
		}
		return nil
	})
	return out
}

// judge says what is wrong after an end of any kind: what stands must be one of allowed; what is under way must come to an end; the next
// update must succeed.
func (w *world) judge(allowed []string, clean bool) (stands, bad string) {
	stands, bad = w.look(clean)
	if bad != "" {
		return stands, bad
	}
	if !slices.Contains(allowed, stands) {
		return stands, fmt.Sprintf("%q, want one of %q", stands, allowed)
	}
	end := stands
	for range slots.Attempts + 1 {
		if !strings.HasPrefix(end, "running") {
			break
		}
		_, _, _ = w.run(w.launch("live", w.state, w.lib)) // it may crash: that is what it is for
		if end, bad = w.look(false); bad != "" {
			return stands, "later: " + bad
		}
	}
	if strings.HasPrefix(end, "running") {
		return stands, "the trial never ends"
	}
	for _, argv := range [][]string{w.update("14", "24h"), w.launch("live", w.state, w.lib)} {
		if out, log, err := w.run(argv); err != nil {
			return stands, fmt.Sprintf("the next update: %s: %v: %s %s", argv, err, out, log)
		}
	}
	if end, bad = w.look(true); bad == "" && end != "kept 14, starts 14" {
		bad = end
	}
	if bad != "" {
		return stands, "after the next update: " + bad
	}
	return stands, ""
}

// A tally counts what became of the points of a scenario.
type tally struct {
	tried, bad int
	stands     map[string]int
}

func (y *tally) add(t *testing.T, what, stands, bad string) {
	t.Helper()
	y.tried++
	if y.stands == nil {
		y.stands = map[string]int{}
	}
	y.stands[stands]++
	if bad != "" {
		y.bad++
		t.Errorf("%s: %s", what, bad)
	}
}

func (y *tally) String() string {
	var parts []string
	for s, n := range y.stands {
		parts = append(parts, fmt.Sprintf("%d x %s", n, s))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

// slice returns which of the slices is this commit's turn.
func slice() int {
	if *one >= 0 {
		return *one % oneIn
	}
	head, err := os.ReadFile(filepath.Join(bed.Root(), ".git/HEAD"))
	if ref, found := strings.CutPrefix(string(quoted(head)), "ref: "); found && err == nil {
		head, _ = os.ReadFile(filepath.Join(bed.Root(), ".git", ref))
	}
	h := fnv.New32()
	_, _ = h.Write(quoted(head))
	return int(h.Sum32()) % oneIn
}

// may returns what may be found within a command, or, behind it, when it has said that it is done.
func (s *scenario) may(command int, done bool) []string {
	now, past := s.told[command], before
	if command > 0 {
		past = s.told[command-1]
	}
	if done || now == past {
		return []string{now}
	}
	return []string{past, now}
}

// copyTo makes to the same as from.
func (w *world) copyTo(from, to string) {
	w.t.Helper()
	w.must(os.RemoveAll(to))
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		w.t.Fatalf("cp: %v: %s", err, out)
	}
}

// trace runs a command below the tracer. What it says goes to a file.
func (w *world) trace(argv []string, at func(p point) verdict) (status int, killed bool) {
	w.t.Helper()
	out, err := os.Create(w.dir + "/said")
	w.must(err)
	defer out.Close()
	t := &tracer{dir: w.state, at: at}
	status, killed, err = t.run(argv, out)
	w.must(err)
	return status, killed
}

// TestKill kills each command of each scenario before each of its calls that change something.
func TestKill(t *testing.T) {
	w := newWorld(t)
	w.prepare()
	w.copyTo(w.state, w.dir+"/prepared")
	number := 0
	for i := range scenarios {
		s := &scenarios[i]
		w.release(w.dir+"/13", s.release)
		var y tally
		points := 0
		w.copyTo(w.dir+"/prepared", w.dir+"/start")
		for c, argv := range s.commands(w) {
			var calls []point
			w.copyTo(w.dir+"/start", w.state)
			w.trace(argv, func(p point) verdict { calls = append(calls, p); return pass })
			w.copyTo(w.state, w.dir+"/end")
			points += len(calls)
			for n, at := range calls {
				if *show {
					fmt.Printf("%s: command %d, %s: %v\n", s.name, c+1, filepath.Base(argv[0]), at)
				}
				// The way of an update that is kept is tried at every call each time.
				if number++; !*all && i > 0 && number%oneIn != slice() {
					continue
				}
				w.copyTo(w.dir+"/start", w.state)
				seen := 0
				w.trace(argv, func(p point) verdict {
					if seen++; seen <= n {
						return pass
					}
					if p != at {
						t.Fatalf("%s: call %d is %v, was %v", s.name, n, p, at)
					}
					return kill
				})
				stands, bad := w.judge(s.may(c, false), false)
				y.add(t, fmt.Sprintf("%s: %s killed before %v", s.name, filepath.Base(argv[0]), at), stands, bad)
			}
			w.copyTo(w.dir+"/end", w.dir+"/start")
		}
		fmt.Printf("| brick/kill | %s | %d calls, %d kills | %d bricks or half states | %s |\n", s.name, points, y.tried, y.bad, y.String())
	}
}

// A cutter is a disk whose power can be cut: what was not synced is lost.
type cutter struct {
	w            *world
	image, mount string
}

// newCutter makes a disk. Its file system keeps only what was synced: it does not commit by itself for five minutes, and does not write content
// because of a rename (which ext4 does as a favour, and others do not).
func newCutter(w *world) *cutter {
	w.t.Helper()
	d := &cutter{w: w, image: w.dir + "/disk.img", mount: w.dir + "/disk"}
	w.must(os.MkdirAll(d.mount, 0o755))
	w.must(os.WriteFile(d.image, nil, 0o600))
	w.must(os.Truncate(d.image, 48<<20))
	d.must(bed.Need(w.t, "mkfs.ext4", "e2fsprogs"), "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image)
	w.t.Cleanup(func() { _, _, _ = w.run([]string{"umount", "-l", d.mount}) }) // after a failure only
	return d
}

func (d *cutter) must(argv ...string) {
	d.w.t.Helper()
	if out, log, err := d.w.run(argv); err != nil {
		d.w.t.Fatalf("%s: %v: %s %s", argv, err, out, log)
	}
}

func (d *cutter) on(image string) {
	d.w.t.Helper()
	d.must("mount", "-o", "loop,commit=300,noauto_da_alloc", image, d.mount)
}

func (d *cutter) off() {
	d.w.t.Helper()
	d.must("umount", d.mount)
}

// cut copies the disk as it is now: what is in memory only is not in it.
func (d *cutter) cut(image string) {
	d.w.t.Helper()
	d.must("cp", "--sparse=always", d.image, image)
}

// judge starts the gateway again after a cut.
func (d *cutter) judge(image string, allowed []string, clean bool) (stands, bad string) {
	d.w.t.Helper()
	d.on(image)
	stands, bad = d.w.on(d.mount+"/state").judge(allowed, clean)
	d.off()
	d.w.must(os.Remove(image))
	return stands, bad
}

// A cutOff is a disk after a power cut.
type cutOff struct {
	image, what string
	command     int
	done        bool // between two commands
}

// through runs a scenario on a disk, and cuts the power off copies of it where where says so, and behind each command.
func (d *cutter) through(s *scenario, where func(number int, p point) (cut bool, v verdict)) (calls int, cuts []cutOff) {
	t, w := d.w.t, d.w.on(d.mount+"/state")
	t.Helper()
	d.w.release(w.dir+"/13", s.release)
	take := func(command int, what string, done bool) {
		image := fmt.Sprintf("%s/cut-%d.img", w.dir, len(cuts))
		d.cut(image)
		cuts = append(cuts, cutOff{image, what, command, done})
	}
	for c, argv := range s.commands(w) {
		w.trace(argv, func(p point) verdict {
			cut, v := where(calls, p)
			if cut {
				take(c, fmt.Sprintf("%s: power cut before %v of %s", s.name, p, filepath.Base(argv[0])), false)
			}
			calls++
			return v
		})
		take(c, fmt.Sprintf("%s: power cut behind command %d, %s", s.name, c+1, filepath.Base(argv[0])), true)
	}
	return calls, cuts
}

// TestPowerCut cuts the power before each of the same calls, and behind each command: then what it said holds.
func TestPowerCut(t *testing.T) {
	w := newWorld(t)
	d := newCutter(w)
	d.on(d.image)
	w.on(d.mount + "/state").prepare()
	d.off()
	prepared := w.dir + "/prepared.img"
	d.cut(prepared)
	for i := range scenarios {
		s := &scenarios[i]
		var y tally
		calls := 0
		turns := []int{slice()}
		if *all {
			turns = []int{0, 1, 2, 3, 4, 5, 6, 7}
		}
		for _, turn := range turns { // what is not synced must not lie about for long: the kernel writes it sooner or later
			d.must("cp", "--sparse=always", prepared, d.image)
			d.on(d.image)
			var cuts []cutOff
			calls, cuts = d.through(s, func(number int, _ point) (bool, verdict) { return number%oneIn == turn, pass })
			d.off()
			for _, c := range cuts {
				stands, bad := d.judge(c.image, s.may(c.command, c.done), c.done)
				y.add(t, c.what, stands, bad)
			}
		}
		fmt.Printf("| brick/power | %s | %d calls, %d cuts | %d bricks or half states | %s |\n", s.name, calls, y.tried, y.bad, y.String())
	}
}

// TestPowerCutUnsynced proves that TestPowerCut sees what it looks for: the same update, in which one sync of a record, or all syncs, never
// reach the disk, is damaged or not what was said to be done. What cannot be seen so: syncs of folders that others follow, as a journal keeps
// the order; and that of the program, which is written out as well when it is read again from disk. They are in the tests of ota/durable and
// ota/slots.
func TestPowerCutUnsynced(t *testing.T) {
	w := newWorld(t)
	d := newCutter(w)
	d.on(d.image)
	w.on(d.mount + "/state").prepare()
	d.off()
	prepared := w.dir + "/prepared.img"
	d.cut(prepared)
	s := &scenarios[0]
	// without runs the update without some syncs, and cuts it behind each command and before call number then.
	without := func(then int, missing func(number int, p point) bool) (found []string) {
		d.must("cp", "--sparse=always", prepared, d.image)
		d.on(d.image)
		_, cuts := d.through(s, func(number int, p point) (bool, verdict) {
			if missing(number, p) {
				return number == then, skip
			}
			return number == then, pass
		})
		d.off()
		for _, c := range cuts {
			if _, bad := d.judge(c.image, s.may(c.command, c.done), true); bad != "" {
				found = append(found, c.what+": "+bad)
			}
		}
		return found
	}
	isSync := func(p point) bool { return strings.HasSuffix(p.call, "sync") }
	var syncs []int
	var of []point
	if found := without(-1, func(number int, p point) bool {
		if isSync(p) {
			syncs, of = append(syncs, number), append(of, p)
		}
		return false
	}); len(found) > 0 {
		t.Errorf("with all syncs: %q", found)
	}
	if found := without(-1, func(_ int, p point) bool { return isSync(p) }); len(found) == 0 {
		t.Error("without any sync nothing is lost: the power cut does not cut")
	}
	tried, caught, records := 0, 0, 0
	for i, missing := range syncs {
		record := strings.HasSuffix(of[i].file, ".new") && !strings.HasSuffix(of[i].file, "tidegate.new")
		if !*all && (!record || records%oneIn != slice()) {
			if record {
				records++
			}
			continue
		}
		tried++
		// A record is renamed next, then its folder is synced: then it is there, with nothing in it.
		found := without(missing+3, func(number int, _ point) bool { return number == missing })
		if len(found) > 0 {
			caught++
		} else if record {
			t.Errorf("without %s nothing is found", of[i])
		}
		if record {
			records++
		}
		if *show {
			fmt.Printf("without %v: %d findings\n", of[i], len(found))
		}
	}
	fmt.Printf("| brick/power | without one sync | %d syncs, %d tried | %d were found missing |\n", len(syncs), tried, caught)
}

// TestTrouble starts a gateway in the middle of a trial on a disk that is full, and on one that is read-only: what was in use before starts, and
// the trial goes on when the disk does.
func TestTrouble(t *testing.T) {
	w := newWorld(t)
	d := newCutter(w)
	d.on(d.image)
	on := w.on(d.mount + "/state")
	on.prepare()
	w.release(w.dir+"/13", "13 good")
	d.must(on.update("13", "24h")...)
	starts := func(when, want, why string) {
		t.Helper()
		out, log, err := w.run(on.launch("report"))
		if err != nil || !strings.HasPrefix(out, "runs "+want+" ") || !strings.Contains(log, why) {
			t.Errorf("%s: %v, %q, %q; want release %s, and %q said", when, err, out, log, want, why)
		}
		fmt.Printf("| brick/trouble | %s, in a trial | release %s starts |\n", when, strings.Fields(out + " ? ?")[1])
	}
	filler := d.mount + "/filler"
	for _, size := range []string{"1M", "1k"} { // dd ends when the disk is full
		if out, _, err := w.run([]string{"dd", "if=/dev/zero", "of=" + filler, "bs=" + size, "oflag=append", "conv=notrunc"}); err == nil {
			t.Fatalf("the disk is not full: %s", out)
		}
	}
	starts("full disk", "12", "no space left on device")
	if _, log, err := w.run(on.update("14", "24h")); err == nil {
		t.Errorf("an update on a full disk: %s", log)
	}
	w.must(os.Remove(filler))
	d.must("mount", "-o", "remount,ro", d.mount)
	starts("read-only disk", "12", "read-only file system")
	d.must("mount", "-o", "remount,rw", d.mount)
	starts("disk as ever", "13", "start 1 of 3")
	d.must("mount", "-o", "remount,noexec", d.mount)
	starts("noexec", "10", "in safe mode") // nothing on this disk can be started
	d.must("mount", "-o", "remount,exec", d.mount)
	starts("disk as ever, after noexec", "12", "slot b")
	d.off()
}
