package slots_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

var errKilled = errors.New("killed")

// A made is a program that was made for a gateway, as the test knows it.
type made struct {
	body    []byte
	counter uint64
}

// A world is what the test knows of a gateway: what was said to be done, and not how it is kept.
type world struct {
	*gateway
	rt   *rapid.T
	made map[string]made // by SHA-256
	next uint64          // counter

	held   map[slots.Slot]held
	trial  string // SHA-256 on trial, "" = none
	on     slots.Slot
	starts int // of it
	due    int64
	in     string // boot of due
	failed []string
	// what was in use at some time, newest counter
	used uint64
	lost bool // records are lost: something newer may have been in use
	off  bool // the trial's record is lost: until the next start current may lead to what was on trial
	runs slots.Choice
}

// held is what a slot holds.
type held struct {
	sum   string
	state string // "staged", "confirmed"
	bad   bool   // the file is damaged
	gone  bool   // it is on trial, and has no record of its own any more
}

// TestAgainstModel does updates, starts, reboots, kills between any two steps, full disks and damage in any order. Something is always
// started; it is what the model says, whole; a program that has failed is never started again, and none on trial more than three times.
func TestAgainstModel(t *testing.T) {
	parent := tmpfs.Dir(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := &world{
			gateway: &gateway{t: t, dir: filepath.Join(dir, "ota"), builtin: slots.Builtin{Path: "/zero", Counter: 10}, boot: "0", ms: 1},
			rt:      rt, made: map[string]made{}, next: 10, held: map[slots.Slot]held{},
		}
		ops := []func(){w.stageOp, w.stageOp, w.switchOp, w.switchOp, w.start, w.start, w.confirmOp, w.confirmOp, w.failOp, w.expireOp, w.wait, w.reboot, w.damageRecord, w.damageProgram, w.newPackage}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			ops[rapid.IntRange(0, len(ops)-1).Draw(rt, "op")]()
			w.start()
		}
	})
}

// do runs an operation in a process that may be killed between two steps, or has a full disk. done: it said that it is done. cut: nobody
// knows how far it came.
func (w *world) do(what string, op func(s *slots.Slots) error) (done, cut bool) {
	w.rt.Helper()
	left := rapid.IntRange(-12, 45).Draw(w.rt, what+": steps until the kill")
	full := rapid.IntRange(0, 15).Draw(w.rt, "full") == 0
	w.step = func(what, _ string) error {
		if left == 0 {
			return errKilled
		}
		if left--; full && (what == "write" || what == "symlink" || what == "mkdir") {
			return syscall.ENOSPC
		}
		return nil
	}
	if left < 0 {
		left = -1
	}
	s, err := slots.OpenWith(w.dir, w.builtin, func(what, path string) error { return w.step(what, path) }, func() (string, int64) { return w.boot, w.ms })
	if err == nil {
		err = op(s)
	}
	w.step = nil
	w.link()
	return err == nil, errors.Is(err, errKilled) || errors.Is(err, syscall.ENOSPC)
}

// link: at any moment, mended or not, current leads to nothing that never was on trial.
func (w *world) link() {
	s, _ := slots.OpenWith(w.dir, w.builtin, func(string, string) error { return errKilled }, nil) // it only looks
	st := s.State()
	for _, c := range st.Slots {
		if c.Slot == st.Current && !w.off && (c.State == "staged" || c.State == "empty") {
			w.rt.Fatalf("current leads to slot %s, which is %s", c.Slot, c.State)
		}
	}
}

// state is what there is, after mending, as a process that starts now finds it.
func (w *world) state() slots.State {
	s, err := slots.OpenWith(w.dir, w.builtin, nil, func() (string, int64) { return w.boot, w.ms })
	if err != nil {
		w.rt.Fatal(err)
	}
	return s.State()
}

func (w *world) of(st slots.State, slot slots.Slot) slots.Content {
	return st.Slots[slices.IndexFunc(st.Slots, func(c slots.Content) bool { return c.Slot == slot })]
}

// best is what starts without a trial: by the model.
func (w *world) best() (slot slots.Slot, counter uint64, safe bool) {
	slot, counter, safe = slots.Zero, w.builtin.Counter, w.lost
	for _, s := range []slots.Slot{slots.A, slots.B} {
		h := w.held[s]
		if h.state != "confirmed" {
			continue
		}
		if c := w.made[h.sum].counter; c > w.builtin.Counter && h.bad {
			safe = true
		} else if c > counter {
			slot, counter = s, c
		}
	}
	if slot != slots.Zero {
		safe = false
	}
	return slot, counter, safe
}

func (w *world) stageOp() {
	w.next++
	body := program(machine(), elf.ET_EXEC, fmt.Sprint("release ", w.next))
	if len(w.failed) > 0 && rapid.Bool().Draw(w.rt, "failed again") {
		body = w.made[w.failed[0]].body
	}
	rel := signed(w.next, body)
	var in io.Reader = bytes.NewReader(body)
	spoiled := rapid.IntRange(0, 5).Draw(w.rt, "spoiled") == 0
	if spoiled {
		in = bytes.NewReader(body[:len(body)-1])
	}
	known := slices.Contains(w.failed, rel.SHA256)
	if !known {
		w.made[rel.SHA256] = made{body, w.next}
	}
	best, _, _ := w.best()
	done, cut := w.do("stage", func(s *slots.Slots) error { return stage.Stage(w.t.Context(), s, in, rel) })
	if done && (w.trial != "" || spoiled || known) {
		w.rt.Fatalf("staged: in a trial %q, spoiled %v, known as failed %v", w.trial, spoiled, known)
	}
	if !done && !cut && w.trial == "" && !spoiled && !known {
		w.rt.Fatal("refused without a reason")
	}
	st := w.state()
	for _, s := range []slots.Slot{slots.A, slots.B} {
		c, h := w.of(st, s), w.held[s]
		switch {
		case c.State == "staged" && c.SHA256 == rel.SHA256 && s != best && (done || cut):
			if w.trial != "" || spoiled || known {
				w.rt.Fatalf("slot %s has what must not be staged", s)
			}
			w.held[s] = held{sum: rel.SHA256, state: "staged"}
			done = false
		case c.State == "empty" && cut && s != best:
			w.held[s] = held{}
		case h.sum != "" && c.SHA256 != h.sum && !h.gone:
			w.rt.Fatalf("slot %s has %+v, want %+v", s, c, h)
		}
	}
	if done {
		w.rt.Fatalf("it is said to be staged, and no slot has it: %+v", st)
	}
}

func (w *world) switchOp() {
	_, counter, _ := w.best()
	want := slots.Slot("")
	for s, h := range w.held {
		if h.state == "staged" && !h.bad && w.made[h.sum].counter > counter && !slices.Contains(w.failed, h.sum) {
			want = s
		}
	}
	done, cut := w.do("switch", func(s *slots.Slots) error { return s.Switch([]byte("{}"), time.Minute) })
	st := w.state()
	if done != (st.Trial.Phase == slots.Running) && w.trial == "" && !cut {
		w.rt.Fatalf("Switch said %v, and then %+v", done, st)
	}
	if w.trial == "" && st.Trial.Phase == slots.Running {
		if st.Trial.Slot != want {
			w.rt.Fatalf("slot %q is on trial, want %q", st.Trial.Slot, want)
		}
		w.trial, w.on, w.starts, w.due, w.in = st.Trial.SHA256, want, 0, w.ms+60_000, w.boot
	} else if w.trial == "" && want != "" && !cut {
		w.rt.Fatalf("refused: %+v", st)
	}
}

// ended: the program on trial is given up.
func (w *world) ended() {
	w.failed = append(w.failed, w.trial)
	w.trial = ""
	if w.held[w.on].gone {
		w.held[w.on] = held{}
	}
}

func (w *world) kept() {
	w.held[w.on] = held{sum: w.trial, state: "confirmed", bad: w.held[w.on].bad}
	w.used = max(w.used, w.made[w.trial].counter)
	w.trial = ""
}

// settled takes over how a trial stands after something that may have ended it.
func (w *world) settled(mayKeep, mayFail bool) {
	st := w.state()
	if w.trial == "" {
		return
	}
	switch {
	case st.Trial.Phase == slots.Running && st.Trial.SHA256 == w.trial && st.Trial.Slot == w.on:
	case st.Trial.Phase == slots.Kept && mayKeep:
		w.kept()
	case st.Trial.Phase == slots.Failed && mayFail:
		w.ended()
	default:
		w.rt.Fatalf("release %d was on trial, got %+v", w.made[w.trial].counter, st.Trial)
	}
}

func (w *world) over() bool { return w.in == w.boot && w.ms >= w.due }

func (w *world) confirmOp() {
	if w.trial == "" || !w.runs.Trial {
		return // nobody is there to do it
	}
	on, over := w.trial, w.over()
	done, cut := w.do("confirm", func(s *slots.Slots) error { return s.Confirm() })
	if done == over && !cut {
		w.rt.Fatalf("Confirm said %v, its time is over: %v", done, over)
	}
	w.settled(!over, false)
	if done && w.held[w.on].sum != on {
		w.rt.Fatal("Confirm said that it is kept")
	}
}

func (w *world) failOp() {
	on := w.trial
	done, cut := w.do("fail", func(s *slots.Slots) error { return s.Fail("hung") })
	if done != (on != "") && !cut {
		w.rt.Fatalf("Fail said %v, on trial %q", done, on)
	}
	w.settled(false, true)
	if done && w.trial != "" {
		w.rt.Fatal("Fail said that it is given up")
	}
}

func (w *world) expireOp() {
	over := w.trial != "" && w.over()
	done, cut := w.do("expire", func(s *slots.Slots) error { _, err := s.Expire(w.t.Context()); return err })
	w.settled(false, over)
	if done && over && w.trial != "" && !cut {
		w.rt.Fatal("its time is over, and it goes on")
	}
}

func (w *world) wait() { w.ms += rapid.Int64Range(0, 50_000).Draw(w.rt, "ms") }

func (w *world) reboot() { w.boot, w.ms = w.boot+"r", rapid.Int64Range(0, 100_000).Draw(w.rt, "ms") }

func (w *world) newPackage() {
	if rapid.IntRange(0, 3).Draw(w.rt, "rarely") == 0 {
		w.builtin.Counter = rapid.Uint64Range(10, w.next).Draw(w.rt, "counter")
	}
}

// damageRecord spoils one file of a record, or both.
func (w *world) damageRecord() {
	name := rapid.SampledFrom([]string{"trial", "slots/a/release", "slots/b/release"}).Draw(w.rt, "record")
	path := filepath.Join(w.dir, name)
	which := rapid.IntRange(0, 8).Draw(w.rt, "files")
	how := rapid.SampledFrom([]string{"truncate", "flip", "remove"}).Draw(w.rt, "how")
	for i := range 2 {
		if which != 8 && which%2 != i {
			continue
		}
		f := fmt.Sprintf("%s.%d", path, i)
		b, err := os.ReadFile(f)
		if err != nil {
			return
		}
		switch how {
		case "truncate":
			b = b[:len(b)/2]
		case "flip":
			b[len(b)-1] ^= 1
		}
		if how == "remove" {
			err = os.Remove(f)
		} else {
			err = os.WriteFile(f, b, 0o600)
		}
		if err != nil {
			w.rt.Fatal(err)
		}
	}
	_, body, _, err := durable.OpenPair(path)
	if err == nil && body != nil {
		return // it must not matter
	}
	w.forget(name, err != nil)
}

// forget: a record is lost.
func (w *world) forget(name string, unread bool) {
	st := w.state()
	if name == "trial" {
		w.trial, w.failed, w.off = "", nil, true
		if w.held[w.on].gone {
			w.held[w.on] = held{}
		}
		return
	}
	slot := slots.Slot(filepath.Base(filepath.Dir(name)))
	h := w.held[slot]
	if !unread || st.Trial.Slot != slot {
		w.lost = w.lost || unread || h.state == "confirmed"
		h = held{}
		if w.trial != "" && w.on == slot {
			h = held{sum: w.trial, state: "staged", bad: w.held[slot].bad, gone: true}
		}
	} else if h.sum != st.Trial.SHA256 { // the trial's record knows what was there before
		h = held{sum: st.Trial.SHA256, state: "staged", bad: true}
	}
	w.held[slot] = h
}

// damageProgram spoils a program file.
func (w *world) damageProgram() {
	if rapid.IntRange(0, 2).Draw(w.rt, "rarely") > 0 {
		return
	}
	slot := rapid.SampledFrom([]slots.Slot{slots.A, slots.B}).Draw(w.rt, "slot")
	h := w.held[slot]
	if h.sum == "" {
		return
	}
	if err := errors.Join(os.Remove(w.program(slot)), os.WriteFile(w.program(slot), []byte("?"), 0o755)); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.rt.Fatal(err)
	}
	h.bad = true
	w.held[slot] = h
}

// start is the process that runs ending and another being started, by a launcher that may be killed or have a full disk; then by one that
// is not.
func (w *world) start() {
	if rapid.IntRange(0, 3).Draw(w.rt, "trouble") == 0 {
		counted := w.starts
		w.do("start", func(s *slots.Slots) error {
			c := s.Launch()
			if _, err := c.Read(); err != nil {
				w.rt.Fatal(err)
			}
			return nil
		})
		w.settled(false, w.held[w.on].bad || w.starts >= slots.Attempts || w.over() || w.trial != "" && w.builtin.Counter >= w.made[w.trial].counter)
		if w.trial != "" {
			w.counted(w.state().Trial, counted)
		}
	}
	w.launch()
}

// counted takes over the attempts after a start of which nobody knows whether it was counted.
func (w *world) counted(t slots.Trial, before int) {
	if t.Attempts != before && t.Attempts != before+1 {
		w.rt.Fatalf("%d starts are counted, there were %d or %d", t.Attempts, before, before+1)
	}
	if t.Attempts > before {
		if before == 0 || w.in != w.boot {
			w.due, w.in = w.ms+60_000, w.boot
		}
		w.starts = t.Attempts
	}
}

// launch starts what the model says.
func (w *world) launch() {
	s, err := slots.OpenWith(w.dir, w.builtin, nil, func() (string, int64) { return w.boot, w.ms })
	if err != nil {
		w.rt.Fatal(err)
	}
	if w.trial != "" && (w.held[w.on].bad || w.starts >= slots.Attempts || w.over() || w.builtin.Counter >= w.made[w.trial].counter) {
		w.ended()
	}
	c := s.Launch()
	w.runs, w.off = c, false
	body, err := c.Read()
	if err != nil {
		w.rt.Fatal(err)
	}
	if c.Slot != slots.Zero && !bytes.Equal(body, w.made[c.SHA256].body) {
		w.rt.Fatalf("starts %q, which is no program of ours: %s", body, c.Why)
	}
	if slices.Contains(w.failed, c.SHA256) {
		w.rt.Fatalf("starts release %d, which has failed: %s", c.Counter, c.Why)
	}
	if w.trial != "" {
		if !c.Trial || c.SHA256 != w.trial || c.Attempt != w.starts+1 || c.Attempt > slots.Attempts {
			w.rt.Fatalf("starts release %d, trial %v, attempt %d, want release %d on trial, attempt %d: %s",
				c.Counter, c.Trial, c.Attempt, w.made[w.trial].counter, w.starts+1, c.Why)
		}
		w.counted(slots.Trial{Attempts: c.Attempt}, w.starts)
		return
	}
	slot, counter, safe := w.best()
	// Where records are lost, that slot 0 is safe is all that can be asked.
	if c.Trial || c.Slot != slot || c.Counter != counter || c.Safe != safe && !(w.lost || w.used > w.builtin.Counter) {
		w.rt.Fatalf("starts slot %s, release %d, trial %v, safe %v, want slot %s, release %d, safe %v: %s", c.Slot, c.Counter, c.Trial, c.Safe, slot, counter, safe, c.Why)
	}
	if lead := s.State().Current; lead != c.Slot {
		w.rt.Fatalf("current leads to %q, started is %q", lead, c.Slot)
	}
}
