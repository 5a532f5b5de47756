package brick

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/slots"
)

// What must never be, as a column of the table.
const (
	brick = "bricks"
	half  = "half states"
	lost  = "readings lost"
	floor = "floors lowered"
)

// A finding is one of these, and what it is; "" = nothing is wrong.
type finding struct{ kind, text string }

func found(kind, format string, args ...any) finding {
	return finding{kind, fmt.Sprintf(format, args...)}
}

// An ending is how a command was ended, and what must be found.
type ending struct {
	allowed  []string          // how things may stand
	clean    bool              // nothing was damaged, so nothing may be said of damage
	least    floors            // no floor is below
	readings uint64            // that the buffer said it has
	tree     map[string]string // what must be there; nil = the command had not returned
	came     int64             // bytes of downloads that were there
}

// floors are those of package trust.
type floors struct {
	Counter   uint64
	Root      int64
	Online    string
	Timestamp int64
	Snapshot  int64
	Offline   string
	Targets   int64
	damaged   error
}

// floors reads them from disk, whoever is writing them.
func (w *world) floors() (f floors, err error) {
	p, body, _, err := durable.OpenPair(filepath.Join(w.state, "ota", "floors"))
	if err == nil && body != nil {
		err = json.Unmarshal(body, &f)
	}
	if p != nil {
		f.damaged = p.Damage()
	}
	return f, err
}

// below says which of the floors are below least: those that belong to keys count for the same keys only.
func (f *floors) below(least *floors) string {
	sameOnline, sameOffline := f.Online == least.Online, f.Offline == least.Offline
	for name, x := range map[string][2]int64{
		"counter": {int64(f.Counter), int64(least.Counter)}, "root": {f.Root, least.Root},
		"timestamp": {f.Timestamp, least.Timestamp}, "snapshot": {f.Snapshot, least.Snapshot}, "targets": {f.Targets, least.Targets},
	} {
		if (name == "timestamp" || name == "snapshot") && !sameOnline || name == "targets" && !sameOffline {
			continue
		}
		if x[0] < x[1] {
			return fmt.Sprintf("floor of %s is %d, was %d", name, x[0], x[1])
		}
	}
	return ""
}

// damage says what is not whole of what is written so that it always is.
func (w *world) damage() error {
	var errs []error
	for _, name := range []string{"floors", "trial", "slots/a/release", "slots/b/release"} {
		p, _, _, err := durable.OpenPair(filepath.Join(w.state, "ota", name))
		if errs = append(errs, err); p != nil {
			errs = append(errs, p.Damage())
		}
	}
	metadata, _ := filepath.Glob(filepath.Join(w.state, "ota/tuf/*.json"))
	for _, path := range metadata {
		b, err := os.ReadFile(path)
		if err == nil && !json.Valid(b) {
			err = fmt.Errorf("%s: got %d bytes that are no JSON", path, len(b))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// look starts what there is, and says how things stand.
func (w *world) look(clean bool) (stands string, bad finding) {
	out, log, err := run(w.launch("report"))
	var counter int
	var slot, sum string
	var safe bool
	if _, scan := fmt.Sscanf(out, "runs %d %s slot=%s safe=%t", &counter, &sum, &slot, &safe); err != nil || scan != nil {
		return "", found(brick, "NOTHING STARTS: %v, %q, %q", err, out, log)
	}
	behaves := "good"
	if counter == 13 {
		behaves = kinds[w.s.kind].behaves
	}
	body, err := w.program(counter, behaves)
	if err != nil || fmt.Sprintf("%x", sha256.Sum256(body)) != sum || safe {
		return "", found(brick, "starts what it must not: %q: %v: %s", out, err, log)
	}
	if clean && (strings.Contains(log, "damaged") || strings.Contains(log, "wrong")) {
		bad = found(half, "what was done is damaged: %s", log)
	}
	// It only looks: nothing may be left to mend behind a launcher.
	s, err := slots.Open(filepath.Join(w.state, "ota"), slots.Builtin{Path: "/none", Counter: 10})
	st := s.State()
	switch {
	case err != nil:
		bad = found(half, "%v", err)
	case len(st.Harm) > 0:
		bad = found(half, "half done: %v", st.Harm)
	case string(st.Current) != slot:
		bad = found(half, "half done: current leads to %s, and slot %s starts", st.Current, slot)
	case st.Trial.Phase == slots.Running && st.Trial.Attempts > slots.Attempts:
		bad = found(half, "%d starts on trial", st.Trial.Attempts)
	default:
		if left := w.left(false); len(left) > 0 {
			bad = found(half, "left behind: %q", left)
		}
	}
	told := ""
	if st.Trial.Told {
		told = "told, "
	}
	return fmt.Sprintf("%s %d, %sstarts %d", st.Trial.Phase, st.Trial.Counter, told, counter), bad
}

// left lists files that do not belong there: in the slots, and with whole in all of it, when an update has gone through.
func (w *world) left(whole bool) (out []string) {
	root := filepath.Join(w.state, "ota")
	known := []string{
		".", "lock", "fetch.lock", "slots", "slots/a", "slots/b", "slots/current", "slots/a/tidegate", "slots/b/tidegate", "trial.0", "trial.1",
		"slots/a/release.0", "slots/a/release.1", "slots/b/release.0", "slots/b/release.1", "floors.0", "floors.1", "download", "refused",
		"tuf", "tuf/root.json", "tuf/timestamp.json", "tuf/snapshot.json", "tuf/targets.json", "tuf/quarantine",
	}
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		updater := slices.ContainsFunc([]string{"download/", "tuf/", "floors.", "refused."}, func(p string) bool { return strings.HasPrefix(name, p) })
		if err != nil || !slices.Contains(known, name) && (!updater || whole && !strings.HasPrefix(name, "tuf/quarantine/")) {
			out = append(out, name)
		}
		return nil
	})
	return out
}

// judge says what is wrong after an end of any kind. What stands must be one of what is allowed; what is under way must come to an end; an
// old state of the repository must be refused; the same fetch again must go through, and the update come to its end, or the next one.
func (w *world) judge(e *ending) (stands string, bad finding) {
	w.t.Helper()
	k, err := newKeeper(w.state)
	if err != nil {
		return "", found(lost, "%v", err)
	}
	defer k.kill()
	if k.held != e.readings {
		return "", found(lost, "the buffer has %d readings, said that it has %d", k.held, e.readings)
	}
	w.must(k.read())
	if e.tree != nil {
		if bad = w.misses(e.tree); bad.kind != "" {
			return "", bad
		}
	}
	if cost := e.came - w.downloaded(); cost > maxCost {
		return "", found(half, "%d bytes of the download are lost", cost)
	}
	if err := w.damage(); err != nil && !w.s.damaged {
		return "", found(half, "damaged: %v", err)
	}
	now, err := w.floors()
	if err != nil && !w.s.damaged {
		return "", found(floor, "%v", err)
	}
	if low := now.below(&e.least); low != "" {
		return "", found(floor, "%s", low)
	}
	if stands, bad = w.look(e.clean); bad.kind != "" {
		return stands, bad
	}
	if !slices.Contains(e.allowed, stands) {
		return stands, found(half, "%q, want one of %q", stands, e.allowed)
	}
	if bad = w.goOn(stands, &now); bad.kind != "" {
		return stands, bad
	}
	// All is as it was, and the floors are what the newest release has.
	after, err := w.floors()
	if low := after.below(&now); err != nil || low != "" || after.Counter < 13 {
		return stands, found(floor, "in the end: %v, %s, counter %d, want 13 or 14", err, low, after.Counter)
	}
	if left := w.left(true); len(left) > 0 {
		return stands, found(half, "in the end there is left behind: %q", left)
	}
	if err := errors.Join(k.read(), k.end()); err != nil {
		return stands, found(lost, "%v", err)
	}
	return stands, finding{}
}

// goOn ends the trial, if there is one, and does the update once more, or the next where this one has failed, or been kept.
func (w *world) goOn(stands string, now *floors) (bad finding) {
	shelf := w.s.kind + "/13"
	for range slots.Attempts + 1 {
		if !strings.HasPrefix(stands, "running") {
			break
		}
		_, _, _ = run(w.live(shelf)) // it may crash: that is what it is for
		if stands, bad = w.look(false); bad.kind != "" {
			return found(bad.kind, "later: %s", bad.text)
		}
	}
	if strings.HasPrefix(stands, "running") {
		return found(half, "the trial never ends")
	}
	if now.Timestamp > 0 {
		if f, log := w.fetched("base/11"); f.Reason != "rollback" && !(f.Reason == "bad-signature" && w.s.kind == "rotated") {
			return found(floor, "what was published before is not refused: %+v: %s", f, log)
		}
	}
	f, log := w.fetched(shelf)
	if strings.Contains(log, "damaged") && !w.s.damaged {
		return found(half, "the next fetch: %s", log)
	}
	want := map[bool]string{true: "13", false: "0"}[stands == w.s.start()]
	switch {
	case w.s.kind == "script" && (f.Reason == "no-elf" || f.Reason == "known-bad"):
	case strings.HasPrefix(stands, "failed 13") && f.Reason == "known-bad":
	case f.Reason == "" && fmt.Sprint(f.Counter) == want:
	default:
		return found(half, "%s: the next fetch: %+v: %s", stands, f, log)
	}
	if want == "13" && w.s.kind != "script" {
		return w.takes(shelf, kept13)
	}
	return w.takes(w.s.kind+"/14", "kept 14, starts 14")
}

// start is how things stand before an update.
func (s *scenario) start() string {
	if s.fresh {
		return s.before
	}
	return kept12
}

// takes has an update go through.
func (w *world) takes(shelf, want string) finding {
	for _, argv := range [][]string{w.apply(shelf), w.live(shelf)} {
		if out, log, err := run(argv); err != nil {
			return found(half, "then %s: %v: %s %s", argv, err, out, log)
		}
	}
	end, bad := w.look(true)
	if bad.kind == "" && end != want {
		bad = found(half, "%s, want %s", end, want)
	}
	if bad.kind != "" {
		bad.text = "after the next update: " + bad.text
	}
	return bad
}

// fetched runs `update fetch` and returns what it says.
func (w *world) fetched(shelf string) (f struct {
	Counter int
	Reason  string
}, log string,
) {
	w.t.Helper()
	out, log, _ := run(w.fetch(shelf)) // its status is 1 where it says a reason
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		f.Reason = fmt.Sprintf("%q: %v", out, err)
	}
	return f, log
}

// maxCost is how many bytes of a download a cut may cost: what comes between two syncs, and what is on its way meanwhile.
const maxCost = 1<<20 + 64<<10

// downloaded is how many bytes of downloads a fetch goes on with.
func (w *world) downloaded() (n int64) {
	parts, _ := filepath.Glob(filepath.Join(w.state, "ota/download/*.part"))
	whole, _ := filepath.Glob(filepath.Join(w.state, "ota/download/*.unverified"))
	for _, path := range append(parts, whole...) {
		if st, err := os.Lstat(path); err == nil {
			n += st.Size()
		}
	}
	return n
}

// tree returns what lies on disk of releases, by name: what a file has, where a link leads. Downloads and locks are not among it.
func (w *world) tree() map[string]string {
	out := map[string]string{}
	root := filepath.Join(w.state, "ota")
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		switch {
		case err != nil || strings.HasSuffix(name, "lock"):
		case d.IsDir() && name == "download":
			return fs.SkipDir
		case d.IsDir():
			out[name] = "folder"
		case d.Type() == fs.ModeSymlink:
			out[name], _ = os.Readlink(path)
		default:
			b, err := os.ReadFile(path)
			out[name] = fmt.Sprintf("%d bytes, %.16x %v", len(b), sha256.Sum256(b), err)
		}
		return nil
	})
	return out
}

// misses says what of a tree is not on disk as it was: behind a command all of it must be.
func (w *world) misses(want map[string]string) finding {
	got := w.tree()
	var text []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			text = append(text, fmt.Sprintf("%s is %q, was %q", name, got[name], want[name]))
		}
	}
	for name := range got {
		if want[name] == "" {
			text = append(text, name+" was gone")
		}
	}
	if len(text) == 0 {
		return finding{}
	}
	return found(half, "done, and after the cut %s", strings.Join(text, "; "))
}

// A tally counts what became of the points of a scenario.
type tally struct {
	tried  int
	bad    map[string]int
	stands map[string]int
}

func newTally() *tally { return &tally{bad: map[string]int{}, stands: map[string]int{}} }

func (y *tally) add(t *testing.T, what, stands string, bad finding) {
	t.Helper()
	y.tried++
	y.stands[stands]++
	if bad.kind != "" {
		y.bad[bad.kind]++
		t.Errorf("%s: %s", what, bad.text)
	}
}

func (y *tally) String() string {
	var parts []string
	for _, s := range slices.Sorted(maps.Keys(y.stands)) {
		parts = append(parts, fmt.Sprintf("%d x %s", y.stands[s], s))
	}
	return strings.Join(parts, "; ")
}
