package line

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/buffer"
)

// picky takes no records of the classes in it.
type picky map[tidegate.Class]bool

func (picky) Put(...buffer.Frame) {}

func (p picky) Refuses(class tidegate.Class) bool { return p[class] }

// TestWhatIsRefusedIsDeclared: what is not taken is counted and declared as one gap, after a minute, when it is taken again, and at a stop; gaps themselves
// are never refused, and what ring 2 has no room for is not counted twice.
func TestWhatIsRefusedIsDeclared(t *testing.T) {
	j, _, held := owing(t)
	full := picky{tidegate.ClassReading: true, tidegate.ClassAudit: true}
	now := time.Hour
	j.queue, j.clock = full, func() clock.Stamp {
		return clock.Stamp{Wall: time.UnixMilli(1_792_000_000_000).Add(now), Boot: now, Synced: true}
	}
	read := func(class tidegate.Class, readings int) {
		t.Helper()
		now += time.Second
		rec := tidegate.Record{Class: class, Time: j.clock().Wall, Readings: make([]tidegate.Reading, readings)}
		for i := range rec.Readings {
			rec.Readings[i] = tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Int(1)}
		}
		if err := j.put([]tidegate.Record{rec}, nil, j.input+1); err != nil {
			t.Fatal(err)
		}
		j.input++
		if err := j.declare(); err != nil {
			t.Fatal(err)
		}
	}
	gaps := func(what, want string) {
		t.Helper()
		recs, _ := held()
		got := ""
		for _, r := range recs {
			for _, x := range r.Readings {
				if text, ok := x.Value.Text(); ok {
					got += text
				} else {
					got += fmt.Sprint(r.Class, " ")
				}
			}
		}
		if got != want {
			t.Errorf("%s: ring 2 got\n%s, want\n%s", what, got, want)
		}
	}
	for range 3 {
		read(tidegate.ClassReading, 5)
	}
	read(tidegate.ClassAudit, 1)
	read(tidegate.ClassAlarm, 1)
	gaps("at first", "alarm ")
	if rest := j.rest(); rest != time.Minute-4*time.Second {
		t.Errorf("the judge rests for %v", rest)
	}
	now += time.Minute
	if err := j.declare(); err != nil {
		t.Fatal(err)
	}
	const one = `{"from":%d,"to":%d,"count":%d,"at_most":%[3]d,"cause":"overflow","t0":%[4]d,"t1":%[5]d}`
	at := func(s int) int { return 1_792_003_600_000 + 1000*s }
	gaps("after a minute", fmt.Sprintf(one, 2, 4, 15, at(1), at(3))+fmt.Sprintf(one, 5, 5, 1, at(4), at(4)))
	read(tidegate.ClassReading, 7)
	full[tidegate.ClassReading] = false
	read(tidegate.ClassReading, 1)
	gaps("taken again", fmt.Sprintf(one+"reading ", 7, 7, 7, at(66), at(66)))

	full[tidegate.ClassReading] = true
	read(tidegate.ClassReading, 2)
	state := j.refused.state()
	back, err := decodeRefusals(state.Body)
	if err != nil || back != j.refused || back[tidegate.ClassReading].Readings != 2 {
		t.Errorf("stored as %x, came back as %v (%v)", state.Body, back, err)
	}
	if _, err := decodeRefusals(state.Body[:3]); !errors.Is(err, errRefusals) {
		t.Errorf("cut short: %v", err)
	}
	before := j.judged.Dropped()
	for j.judged.Used() < j.judged.Size()-70<<10 { // the last 64 KiB are for alarms
		if _, err := j.judged.Put(false, make([]byte, 4<<10)); err != nil {
			break
		}
	}
	j.noteStates(j.refused.state())
	full[tidegate.ClassReading] = true
	last := j.refused
	for i := 0; j.judged.Dropped() == before; i++ {
		if i == 10_000 {
			t.Fatal("ring 2 does not get full")
		}
		last = j.refused
		read(tidegate.ClassReading, 1)
	}
	if n := j.judged.Dropped().Readings - before.Readings; n != 1 || j.refused != last {
		t.Errorf("%d readings are dropped, refused are %v, before %v", n, j.refused, last)
	}
	j.stopping = true
	if !j.waits() {
		t.Error("at a stop nothing waits to be declared")
	}
}

// TestAgesFrom: time counts while a machine runs.
func TestAgesFrom(t *testing.T) {
	boot, other := [16]byte{1}, [16]byte{2}
	for _, c := range []struct {
		name string
		last buffer.Position
		want time.Duration // lived
	}{
		{"a first start", buffer.Position{}, 0},
		{"of a version that knew no age", buffer.Position{Time: 5, Boot: boot}, 0},
		{"a restart", buffer.Position{Boot: boot, Lived: 100 * time.Hour, Uptime: 4 * time.Hour}, 106 * time.Hour},
		{"a reboot: the time before the start counts", buffer.Position{Boot: other, Lived: 100 * time.Hour, Uptime: 4 * time.Hour}, 110 * time.Hour},
		{"a boot id that comes again", buffer.Position{Boot: boot, Lived: 100 * time.Hour, Uptime: 400 * time.Hour}, 110 * time.Hour},
	} {
		if got := agesFrom(&c.last, boot, 10*time.Hour) + 10*time.Hour; got != c.want {
			t.Errorf("%s: lived for %v, want %v", c.name, got, c.want)
		}
	}
}
