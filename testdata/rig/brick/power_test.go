package brick

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// A cutter is a disk whose power can be cut: what was not synced is lost.
type cutter struct {
	w            *world // its state is on the disk
	image, mount string
}

// newCutter makes a disk, and has it prepared. Its file system keeps only what was synced: it does not commit by itself for five minutes, and does not
// write content because of a rename (which ext4 does as a favour, and others do not).
func newCutter(w *world) (d *cutter, prepared string) {
	w.t.Helper()
	d = &cutter{image: w.own + "/disk.img", mount: w.own + "/disk"}
	d.w = w.on(d.mount + "/state")
	w.must(os.MkdirAll(d.mount, 0o755))
	w.must(os.WriteFile(d.image, nil, 0o600))
	w.must(os.Truncate(d.image, 200<<20))
	w.well([]string{bed.Need(w.t, "mkfs.ext4", "e2fsprogs"), "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image})
	w.t.Cleanup(func() { _, _, _ = run([]string{"umount", "-l", d.mount}) }) // after a failure only
	d.on(d.image)
	d.w.prepare()
	d.off()
	prepared = w.own + "/prepared.img"
	d.cut(prepared)
	return d, prepared
}

func (d *cutter) on(image string) {
	d.w.t.Helper()
	d.w.well([]string{"mount", "-o", "loop,commit=300,noauto_da_alloc", image, d.mount})
}

func (d *cutter) off() {
	d.w.t.Helper()
	d.w.well([]string{"umount", d.mount})
}

// cut copies the disk as it is now: what is in memory only is not in it.
func (d *cutter) cut(image string) {
	d.w.t.Helper()
	d.w.well([]string{"cp", "--sparse=always", d.image, image})
}

// judge starts the gateway again after a cut.
func (d *cutter) judge(c *cutOff) (stands string, bad finding) {
	d.w.t.Helper()
	d.on(c.image)
	stands, bad = d.w.judge(&c.ending)
	d.off()
	d.w.must(os.Remove(c.image))
	return stands, bad
}

// A cutOff is a disk after a power cut.
type cutOff struct {
	ending
	image, what string
}

// through runs the scenario on a disk, and cuts the power off copies of it where where says so, and behind each command. The buffer is at work beside
// it: with busy it commits before each call, which takes to the disk what the update did not sync, but no content; else it does so before each command,
// and what the update did not sync stays in memory. No call is made that skip says.
func (d *cutter) through(busy bool, where func(number int) bool, skip func(p point) bool) (cuts []cutOff) {
	w := d.w
	w.t.Helper()
	k, err := newKeeper(w.state)
	w.must(err)
	defer k.kill()
	least, err := w.floors()
	w.must(err)
	take := func(command int, what string, done bool) {
		e := ending{allowed: w.s.may(command, done), clean: done, least: least, readings: k.last, came: w.downloaded()}
		if done {
			e.tree, e.came = w.tree(), 0 // whatever may be left of it
		}
		c := cutOff{e, fmt.Sprintf("%s/cut-%d.img", w.own, len(cuts)), what}
		d.cut(c.image)
		cuts = append(cuts, c)
	}
	calls := 0
	for c, argv := range w.s.commands(w) {
		w.must(k.read())
		w.trace(argv, func(p point) verdict {
			if busy {
				w.must(k.read())
			}
			if where(calls) {
				take(c, fmt.Sprintf("%s: power cut before %v of %s, buffer busy: %v", w.s.name, p, name(argv), busy), false)
			}
			if calls++; skip(p) {
				return skipped
			}
			return pass
		})
		least, err = w.floors()
		w.must(err)
		take(c, fmt.Sprintf("%s: power cut behind command %d, %s, buffer busy: %v", w.s.name, c+1, name(argv), busy), true)
	}
	return cuts
}

// TestPowerCut cuts the power before each of the same calls, and behind each command: then what it said holds.
func TestPowerCut(t *testing.T) {
	eachScenario(t, byPower, func(t *testing.T, s *scenario) map[string]int {
		d, prepared := newCutter(newWorld(t, s))
		y := newTally()
		turns := 8 // what is not synced must not lie about for long: the kernel writes it sooner or later
		rest := func(i int) func(number int) bool {
			return func(number int) bool { return number%turns == i }
		}
		if !*all {
			turns, rest = 1, func(int) func(int) bool { return s.tried }
		}
		for i := range turns {
			d.w.well([]string{"cp", "--sparse=always", prepared, d.image})
			d.on(d.image)
			cuts := d.through((i+turn(s.name, 2))%2 == 1, rest(i), func(point) bool { return false })
			d.off()
			for _, c := range cuts {
				// Behind commands all turns are the same, but for what the buffer does.
				if i > 1 && c.clean {
					d.w.must(os.Remove(c.image))
					continue
				}
				stands, bad := d.judge(&c)
				y.add(t, c.what, stands, bad)
			}
		}
		fmt.Printf("| brick/power | %s | %d cuts | %v found | %v |\n", s.name, y.tried, y.bad, y)
		return y.cells(map[string]int{"power cuts": y.tried})
	})
}

// TestPowerCutCuts proves that TestPowerCut sees what it looks for: the same updates without any sync are damaged, or not what was said to be done.
func TestPowerCutCuts(t *testing.T) {
	for i, busy := range []bool{false, true} {
		if !*all && i != turn("busy", 2) {
			continue
		}
		d, _ := newCutter(newWorld(t, &scenarios[1]))
		d.on(d.image)
		cuts := d.through(busy, func(int) bool { return false }, point.isSync)
		d.off()
		n := 0
		for i := range cuts {
			if _, bad := d.judge(&cuts[i]); bad.kind != "" {
				n++
			}
		}
		fmt.Printf("| brick/power | without any sync, buffer busy: %v | %d cuts | %d are found |\n", busy, len(cuts), n)
		if n == 0 {
			t.Errorf("buffer busy: %v: without any sync nothing is lost: the power cut does not cut", busy)
		}
	}
}

// TestTrouble starts a gateway in the middle of a trial on a disk that is full, and on one that is read-only: what was in use before starts, and
// the trial goes on when the disk does.
func TestTrouble(t *testing.T) {
	s := &scenario{name: "trouble", kind: "whole", given: onTrial("whole/13")}
	d, _ := newCutter(newWorld(t, s))
	d.on(d.image)
	w := d.w
	starts := func(when, want, why string) {
		t.Helper()
		out, log, err := run(w.launch("report"))
		if err != nil || !strings.HasPrefix(out, "runs "+want+" ") || !strings.Contains(log, why) {
			t.Errorf("%s: %v, %q, %q; want release %s, and %q said", when, err, out, log, want, why)
		}
		fmt.Printf("| brick/trouble | %s, in a trial | release %s starts |\n", when, strings.Fields(out + " ? ?")[1])
	}
	filler := filepath.Join(d.mount, "filler")
	for _, size := range []string{"1M", "1k"} { // dd ends when the disk is full
		if out, _, err := run([]string{"dd", "if=/dev/zero", "of=" + filler, "bs=" + size, "oflag=append", "conv=notrunc"}); err == nil {
			t.Fatalf("the disk is not full: %s", out)
		}
	}
	starts("full disk", "12", "no space left on device")
	if out, log, err := run(w.fetch("whole/14")); err == nil {
		t.Errorf("an update on a full disk: %s %s", out, log)
	}
	w.must(os.Remove(filler))
	d.w.well([]string{"mount", "-o", "remount,ro", d.mount})
	starts("read-only disk", "12", "read-only file system")
	d.w.well([]string{"mount", "-o", "remount,rw", d.mount})
	starts("disk as ever", "13", "start 1 of 3")
	d.w.well([]string{"mount", "-o", "remount,noexec", d.mount})
	starts("noexec", "10", "in safe mode") // nothing on this disk can be started
	d.w.well([]string{"mount", "-o", "remount,exec", d.mount})
	starts("disk as ever, after noexec", "12", "slot b")
	d.off()
}
