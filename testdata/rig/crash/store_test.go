package crash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// storeDir names, in the environment of this program as a child, the state directory of a store that it works on, see work.
const storeDir = "TIDEGATE_CRASH_STORE"

// TestPowerCutInCompaction cuts the power of a store that does nothing but write, and drop what is acknowledged, in the moments in which tables come and
// go. What it said is committed is there, and what it said is acknowledged and committed does not come back.
func TestPowerCutInCompaction(t *testing.T) {
	t.Parallel()
	measure(t, cutInCompaction, max(4, *cuts/4), func(t *testing.T, draw *rand.Rand, n int) *outcome {
		dir := bed.Dir(t, false)
		s := &cutStore{t: t, draw: draw, disk: bed.NewDisk(t, dir, 384<<20), log: filepath.Join(dir, "said")}
		s.state = filepath.Join(s.disk.Mount, "state")
		o := &outcome{}
		for i := range n {
			s.live(uint64(i + 1))
			o.add(s.judge())
		}
		t.Logf("%d records were committed, %d tables came or went at the cuts; %d times the end of the log counted as lost", s.committed, s.turned, s.loose)
		if most := 1 + n/10; s.loose > most { // the gap of a cut then says more than it need
			t.Errorf("the end of the log counted as lost %d times, at most %d", s.loose, most)
		}
		return o
	})
}

type cutStore struct {
	t     *testing.T
	draw  *rand.Rand
	disk  *bed.Disk
	state string
	log   string

	committed, acked uint64 // by what was said
	turned, loose    int
}

// live lets the store work until its power is cut.
func (s *cutStore) live(seed uint64) {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.log, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	p := bed.Start(s.t, "store", s.log, false, []string{storeDir + "=" + s.state, fmt.Sprintf("%s_SEED=%d", storeDir, seed)}, self)
	begin := s.committed
	bed.Wait(s.t, "commits", 60*time.Second, func() bool {
		if p.Ended() {
			s.t.Fatalf("the store has ended: %s", p.Tail())
		}
		s.listen()
		return s.committed > begin
	})
	time.Sleep(between(s.draw, 0, 1500*time.Millisecond))
	was := s.tables()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !slices.Equal(s.tables(), was) {
			s.turned++
			break
		}
	}
	time.Sleep(between(s.draw, 0, 20*time.Millisecond))
	s.disk.Cut(p)
	s.listen()
}

func (s *cutStore) tables() []string {
	list, _ := filepath.Glob(filepath.Join(s.state, "buffer", "*.sst")) // its one error is of the pattern
	return list
}

// listen reads what the store has said.
func (s *cutStore) listen() {
	b, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		var x uint64
		if n, _ := fmt.Sscanf(line, "committed %d.", &x); n == 1 && strings.HasSuffix(line, ".") {
			s.committed = max(s.committed, x)
		}
		if n, _ := fmt.Sscanf(line, "acknowledged %d.", &x); n == 1 && strings.HasSuffix(line, ".") {
			s.acked = max(s.acked, x)
		}
	}
}

// judge opens the store and looks at what it has.
func (s *cutStore) judge() *outcome {
	t := s.t
	o := &outcome{cases: 1}
	begin := time.Now()
	q, err := openRaw(s.state)
	if err != nil {
		t.Fatal(err)
	}
	o.start = time.Since(begin)
	defer q.Close()
	if q.TailLost(time.Hour) {
		s.loose++
	}
	if bad := q.BadStores(); len(bad) > 0 {
		t.Errorf("stores were set aside: %q", bad)
	}
	next := max(q.Position().Next, 1)
	done := q.Stats().Cursors[0].Confirmed
	if next <= s.committed {
		o.lost += int64(s.committed - next + 1)
		t.Errorf("the store has followed to %d, committed was %d", next-1, s.committed)
	}
	if done < s.acked {
		o.twice += int64(s.acked - done)
		t.Errorf("done is %d, %d was on disk", done, s.acked)
	}
	at := done + 1
	each(t, q, func(l buffer.Look) {
		for _, r := range l.Want {
			o.unreported += max(0, int64(r.First)-int64(at))
			o.twice += max(0, int64(at)-int64(r.First))
			at = r.Last + 1
		}
		if !bytes.Equal(l.Body, rawFrame(l.First).Body) {
			o.wrong++
		}
	})
	o.unreported += int64(next - at)
	if asked := q.Requests(); len(asked) > 0 {
		o.unreported++
		t.Errorf("something is to be declared: %+v", asked)
	}
	if o.lost+o.wrong+o.unreported+o.twice > 0 {
		t.Errorf("shown are records %d to %d, the store has followed to %d: %+v", done+1, at-1, next-1, *o)
	}
	return o
}

// each calls f with all that the store shows.
func each(t *testing.T, q *buffer.Queue, f func(buffer.Look)) {
	t.Helper()
	c, err := q.Cursor("far")
	if err != nil {
		t.Fatal(err)
	}
	for at := (buffer.Place{}); ; {
		looks, err := c.Next(tidegate.ClassReading, at, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(looks) == 0 {
			return
		}
		for _, l := range looks {
			f(l)
			at = buffer.Place{Epoch: l.Epoch, Number: l.Last + 1}
		}
	}
}

func openRaw(dir string) (*buffer.Queue, error) {
	return buffer.Open(buffer.Options{
		Dir: dir, Limits: buffer.Limits{MaxBytes: buffer.MinBytes, Keep: time.Nanosecond}, Uplinks: []string{"far"}, Compactors: 2, Version: "rig",
		Count: func(_ []byte, _, n int) (int, error) { return n, nil },
		Each:  func(_ []byte, f func(string, int)) error { f("", 1); return nil },
		Cut:   func(body []byte, _, _ int) ([]byte, error) { return body, nil },
	})
}

// rawFrame is the frame that begins with a number: how many records it has, and what is in it, follow from that.
func rawFrame(first uint64) buffer.Frame {
	r := rand.New(rand.NewPCG(first, 1))
	n := 1 + r.Uint64N(12)
	f := buffer.Frame{Epoch: 1, Class: tidegate.ClassReading, First: first, Last: first + n - 1, Count: uint32(n), T0: 1, T1: 1}
	f.Body = binary.BigEndian.AppendUint64(nil, first)
	for range r.IntN(20 << 10) {
		f.Body = binary.BigEndian.AppendUint64(f.Body, r.Uint64())
	}
	return f
}

// work is the child: it commits frames, acknowledges most of them, drops what is done, and says so, until it is ended.
func work(dir string) error {
	q, err := openRaw(dir)
	if err != nil {
		return err
	}
	c, err := q.Cursor("far")
	if err != nil {
		return err
	}
	q.AddEpoch(1, buffer.Epoch{ID: "rig", Start: 1})
	var seed uint64
	if _, err := fmt.Sscan(os.Getenv(storeDir+"_SEED"), &seed); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(seed, 2))
	acked, saved := uint64(0), uint64(0)
	for next := max(q.Position().Next, 1); ; {
		f := rawFrame(next)
		q.Put(f)
		if err := q.Commit(buffer.Commit{Frames: []buffer.Frame{f}, Position: buffer.Position{Epoch: 1, Next: f.Last + 1, Time: time.Now().UnixMilli()}}); err != nil {
			return err
		}
		saved = acked
		fmt.Printf("committed %d.\nacknowledged %d.\n", f.Last, saved)
		next = f.Last + 1
		if r.IntN(3) == 0 && f.Last > 500 {
			acked = max(acked, f.Last-uint64(r.IntN(500)))
			if err := c.Ack("rig", tidegate.Ranges{{First: 1, Last: acked}}); err != nil {
				return err
			}
		}
		if err := q.Retain(time.Hour); err != nil {
			return err
		}
		if asked := q.Requests(); len(asked) > 0 {
			return errors.New("something is to be declared")
		}
	}
}
