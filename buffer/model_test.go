package buffer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/quota"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// The model is plain maps from records to what became of them for each uplink. It is compared with a Queue over the real Badger.

// id names one record.
type id struct {
	epoch  uint32
	number uint64
}

func (i id) compare(j id) int {
	return cmp.Or(cmp.Compare(i.epoch, j.epoch), cmp.Compare(i.number, j.number))
}

// fate is what became of a record for one uplink.
type fate int

const (
	waits fate = iota
	delivered
	rejected
	declared
	thinned
)

func (f fate) String() string {
	return [...]string{"waits", "delivered", "rejected", "declared", "thinned"}[f]
}

// mine reports whether the uplink is to get the record.
func (r *modelRecord) mine(uplink string) bool {
	return r.class != tidegate.ClassDebug && (r.uplink == "" || r.uplink == uplink)
}

// modelRecord is a record that was committed or Put.
type modelRecord struct {
	id
	class    tidegate.Class
	readings int
	uplink   string // the only one it is meant for
	shown    bool   // it was Put
	summary  bool   // it stands for others
	lived    int64  // Position.Lived when it was committed, milliseconds; 0 = it was not
}

// modelUplink is what one uplink has.
type modelUplink struct {
	fate   map[id]fate
	saved  map[id]fate       // as of the last commit, of committed records
	hidden map[id]bool       // asked to be declared
	shelf  map[id]bool       // set aside
	again  map[id]*modelTold // goes again, or did
	kept   map[id]*modelTold // again as of the last write
}

type model struct {
	t       *rapid.T
	o       Options
	q       *Queue
	epoch   uint32
	next    uint64
	records map[id]*modelRecord // that are held
	put     []Frame             // put or waiting, not committed, in the order of their numbers
	uplinks map[string]*modelUplink
	asked   []Declaration
	at      int64 // Unix milliseconds
}

var modelClasses = []tidegate.Class{tidegate.ClassReading, tidegate.ClassAlarm, tidegate.ClassAudit, tidegate.ClassDebug}

func (m *model) open() {
	q, err := Open(m.o)
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.q = q
	m.q.AddEpoch(m.epoch, m.name(m.epoch))
}

// name returns the epoch's name: two ordinals share one.
func (m *model) name(epoch uint32) Epoch {
	return Epoch{ID: fmt.Sprintf("e%d", (epoch+1)/2), Start: m.startOf(epoch)}
}

// startOf returns the first number of an ordinal. Numbers rise for ever, which the queue does not know.
func (m *model) startOf(epoch uint32) uint64 { return uint64(epoch-1)*100_000 + 1 }

// produce makes frames of a random run of records, some of them Put at once.
func (m *model) produce(t *rapid.T) {
	for range rapid.IntRange(1, 6).Draw(t, "frames") {
		class := rapid.SampledFrom([]tidegate.Class{1, 1, 1, 1, 2, 3, 4}).Draw(t, "class")
		n := rapid.IntRange(1, 12).Draw(t, "records")
		f := Frame{Epoch: m.epoch, Class: class, First: m.next, Last: m.next + uint64(n) - 1, T0: m.at, T1: m.at + int64(n)}
		m.at += int64(n)
		for range n {
			c := rapid.IntRange(1, 5).Draw(t, "readings")
			f.Count += uint32(c)
			if class != tidegate.ClassDebug && rapid.IntRange(0, 2).Draw(t, "routed") == 0 {
				c |= rapid.IntRange(1, len(testUplinks)-1).Draw(t, "uplink") << 4
				f.Apart = true
			}
			f.Body = append(f.Body, byte(c))
		}
		if rapid.Bool().Draw(t, "long") {
			f.Body = append(f.Body, make([]byte, 300)...)
		}
		m.next += uint64(n)
		live := class == tidegate.ClassReading || class == tidegate.ClassDebug
		for i := range n {
			r := &modelRecord{id: id{m.epoch, f.First + uint64(i)}, class: class, readings: int(f.Body[i] & 15), uplink: testUplinks[f.Body[i]>>4], shown: live}
			m.records[r.id] = r
		}
		if live {
			m.q.Put(f)
		}
		m.put = append(m.put, f)
	}
}

// commit makes a random number of waiting frames durable, some of them merged.
func (m *model) commit(t *rapid.T) {
	take := 0
	if len(m.asked) > 0 {
		take = rapid.IntRange(0, len(m.asked)).Draw(t, "declares")
	}
	n := len(m.put)
	if n > 0 && take == 0 { // a gap is an entry behind those that it speaks of
		n = rapid.IntRange(0, n).Draw(t, "commits")
	}
	c := Commit{Position: m.q.Position(), Rules: map[string][]byte{"r": []byte(fmt.Sprint(m.next))}}
	for _, f := range m.put[:n] {
		if k := len(c.Frames) - 1; k >= 0 && len(c.Frames[k].Body) < 100 {
			if p := &c.Frames[k]; p.Class == f.Class && p.Epoch == f.Epoch && p.Last+1 == f.First && uint64(len(p.Body)) == p.Records() {
				p.Body = append(slices.Clone(p.Body), f.Body...)
				p.Last, p.Count, p.T1, p.Apart = f.Last, p.Count+f.Count, f.T1, p.Apart || f.Apart
				continue
			}
		}
		c.Frames = append(c.Frames, f)
	}
	if n > 0 {
		c.Position.Epoch, c.Position.Next = m.put[n-1].Epoch, m.put[n-1].Last+1
	}
	c.Position.Time, c.Position.Lived = 1, time.Duration(m.at)*time.Millisecond
	rest := slices.Clone(m.asked[take:])
	for i := range m.asked[:take] {
		d, err := DecodeDeclaration(m.asked[i].Encode())
		if err != nil {
			t.Fatal(err)
		}
		if d.Cause == tidegate.CauseThinned {
			rest = m.thin(t, &c, &d, rest)
		}
		c.Declared = append(c.Declared, d)
		m.declare(&d)
	}
	m.asked = rest
	m.tell(&c)
	if take > 0 {
		n = len(m.put)
	}
	if n == len(m.put) && rapid.IntRange(0, 4).Draw(t, "refused") == 0 {
		m.refuse(t, &c)
	}
	if err := m.q.Commit(c); err != nil {
		t.Fatalf("commit: %v", err)
	}
	m.onItsWay(&c)
	for _, f := range m.put[:n] {
		if f.Class == tidegate.ClassAlarm || f.Class == tidegate.ClassAudit {
			m.q.Put(f)
		}
		for i := f.First; i <= f.Last; i++ {
			m.records[id{f.Epoch, i}].shown = true
			m.records[id{f.Epoch, i}].lived = m.at
		}
	}
	m.put = m.put[n:]
	m.save()
	if err := m.q.Retain(time.Duration(m.at) * time.Millisecond); err != nil {
		t.Fatalf("retain: %v", err)
	}
	m.asked = append(m.asked, m.ask()...)
}

// thin lets a part of d, or all of it, go with the summary that stands for it; the rest goes later.
func (m *model) thin(t *rapid.T, c *Commit, d *Declaration, rest []Declaration) []Declaration {
	if last := d.Ranges[len(d.Ranges)-1].Last; d.Ranges[0].First < last && rapid.Bool().Draw(t, "a part") {
		end := rapid.Uint64Range(d.Ranges[0].First, last-1).Draw(t, "end")
		later := *d
		later.Ranges = d.Ranges.Within(tidegate.Range{First: end + 1, Last: last})
		d.Ranges = d.Ranges.Within(tidegate.Range{First: d.Ranges[0].First, Last: end})
		rest = append(rest, later)
	}
	f := Frame{Epoch: m.epoch, Class: tidegate.ClassReading, First: m.next, Last: m.next, Thin: true, Count: 3, T0: m.at, T1: m.at, Body: []byte{3}}
	m.records[id{m.epoch, m.next}] = &modelRecord{id: id{m.epoch, m.next}, class: f.Class, readings: 3, shown: true, summary: true, lived: m.at}
	m.q.Put(f)
	c.Frames = append(c.Frames, f)
	m.next++
	c.Position.Epoch, c.Position.Next = m.epoch, m.next
	return rest
}

// refuse declares Reads of which nothing was stored, under numbers of their own.
func (m *model) refuse(t *rapid.T, c *Commit) {
	class := rapid.SampledFrom(modelClasses).Draw(t, "class")
	n := rapid.Uint64Range(1, 3).Draw(t, "reads")
	d := Declaration{Epoch: m.epoch, Ranges: tidegate.Ranges{{First: m.next, Last: m.next + n - 1}}, Count: 2 * n, AtMost: 2 * n, Cause: tidegate.CauseOverflow}
	d.Segment.Class = class
	for range n {
		x := &modelRecord{id: id{m.epoch, m.next}, class: class, readings: 2, shown: true}
		m.records[x.id] = x
		for _, u := range m.uplinks {
			u.fate[x.id] = declared
		}
		m.next++
	}
	c.Declared = append(c.Declared, d)
	c.Position.Epoch, c.Position.Next = m.epoch, m.next
}

// due checks that d, asked for now, is as the limits say.
func (m *model) due(d *Declaration, x *modelRecord) {
	thins := m.o.Classes[x.class].Overflow == quota.Thin
	switch d.Cause {
	case tidegate.CauseExpired:
		if x.lived == 0 || m.at-x.lived <= m.o.MaxAge.Milliseconds() {
			m.t.Fatalf("record %v expires at %d, it was committed at %d", x.id, m.at, x.lived)
		}
	case tidegate.CauseThinned:
		if x.class != tidegate.ClassDebug && (!thins || x.class != tidegate.ClassReading || x.summary) {
			m.t.Fatalf("record %v of class %s is thinned out (a summary: %v)", x.id, x.class, x.summary)
		}
	case tidegate.CauseOverflow:
		if x.class != tidegate.ClassDebug && (m.o.Classes[x.class].Overflow == quota.DropNewest || thins && !x.summary) {
			m.t.Fatalf("record %v of class %s overflows", x.id, x.class)
		}
	}
}

// ask takes what the queue asks for, and checks it against decision 10: nothing that is still shown.
func (m *model) ask() []Declaration {
	list := m.q.Requests()
	for i := range list {
		d := &list[i]
		if d.Cause == tidegate.CauseRequeued {
			m.askAgain(d)
			continue
		}
		for name, u := range m.uplinks {
			if d.Uplink != "" && d.Uplink != name {
				continue
			}
			readings := uint64(0)
			for _, r := range d.Ranges {
				for n := r.First; n <= r.Last; n++ {
					x := m.records[id{d.Epoch, n}]
					switch {
					case x == nil:
						m.t.Fatalf("%s: asked to declare record %d of epoch %d, which is not held", d.Cause, n, d.Epoch)
					case u.fate[x.id] != waits:
						m.t.Fatalf("%s: asked to declare record %d of epoch %d, which is %s for %s", d.Cause, n, d.Epoch, u.fate[x.id], name)
					}
					if x.mine(name) {
						readings += uint64(x.readings)
					}
					m.due(d, x)
					u.hidden[x.id] = true
				}
			}
			if d.Count != readings {
				m.t.Fatalf("%s for %s: declares %d readings in %v, want %d", d.Cause, name, d.Count, d.Ranges, readings)
			}
		}
	}
	return list
}

// declare lets d take effect.
func (m *model) declare(d *Declaration) {
	if d.Cause == tidegate.CauseRequeued {
		return
	}
	for name, u := range m.uplinks {
		if d.Uplink != "" && d.Uplink != name {
			continue
		}
		for _, r := range d.Ranges {
			for n := r.First; n <= r.Last; n++ {
				i := id{d.Epoch, n}
				delete(u.hidden, i)
				if u.fate[i] != waits {
					continue
				}
				u.unheard(i)
				switch u.fate[i] = declared; d.Cause {
				case tidegate.CauseRejected:
					u.fate[i] = rejected
					u.shelf[i] = true
				case tidegate.CauseThinned:
					u.fate[i] = thinned
				}
			}
		}
	}
}

// wanted returns the ids of class that the uplink is to be shown, in order.
func (m *model) wanted(u *modelUplink, class tidegate.Class) []id {
	var out []id
	for i, r := range m.records {
		if class == tidegate.ClassDebug {
			break // not for uplinks
		}
		if r.class == class && r.shown && u.fate[i] == waits && !u.hidden[i] && !u.secret(i) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, id.compare)
	return out
}

// look compares what a cursor shows with what it is to show.
func (m *model) look(name string, class tidegate.Class, room int) {
	c, err := m.q.Cursor(name)
	if err != nil {
		m.t.Fatal(err)
	}
	var got []id
	told, upTo := map[id]bool{}, map[uint32]uint64{}
	for at := (Place{}); ; {
		looks, err := c.Next(class, at, room)
		if err != nil {
			m.t.Fatalf("next: %v", err)
		}
		if len(looks) == 0 {
			break
		}
		for _, l := range looks {
			if l.EpochID != m.name(l.Epoch).ID {
				m.t.Fatalf("epoch is called %q, want %q", l.EpochID, m.name(l.Epoch).ID)
			}
			away := 0
			for _, r := range l.Want {
				for n := r.First; n <= r.Last; n++ {
					i := id{l.Epoch, n}
					if x := m.records[i]; x != nil && int(l.Body[n-l.First]&15) != x.readings {
						m.t.Fatalf("record %v has %d readings, want %d", i, l.Body[n-l.First], x.readings)
					} else if x != nil && !x.mine(name) {
						away += x.readings
					}
					got = append(got, i)
				}
			}
			if int(l.Away) != away {
				m.t.Fatalf("%s: %d readings of %v are away, want %d", name, l.Away, l.Want, away)
			}
			for _, r := range l.Skip {
				for n := r.First; n <= r.Last; n++ {
					if n > l.Last {
						m.t.Fatalf("%s: is to skip %d, behind %d", name, n, l.Last)
					}
					told[id{l.Epoch, n}] = true
				}
			}
			upTo[l.Epoch] = l.Last
			at = Place{l.Epoch, l.Last + 1}
		}
	}
	if want := m.wanted(m.uplinks[name], class); !slices.Equal(got, want) {
		m.t.Fatalf("%s shows of %s\n%v, want\n%v", name, class, got, want)
	}
	m.skips(name, class, told, upTo)
}

// skips compares what a cursor says that the far side is to skip with what it was not told yet.
func (m *model) skips(name string, class tidegate.Class, told map[id]bool, upTo map[uint32]uint64) {
	u := m.uplinks[name]
	want := 0
	for i, x := range m.records {
		untold := x.class == tidegate.ClassDebug && x.shown && u.fate[i] == waits && !u.hidden[i]
		if told[i] && !untold {
			m.t.Fatalf("%s: is to skip %v, which is of class %s and %s", name, i, x.class, u.fate[i])
		}
		if untold && i.number <= upTo[i.epoch] {
			want++
			if class == tidegate.ClassReading && !told[i] {
				m.t.Fatalf("%s is not told to skip %v", name, i)
			}
		}
	}
	if len(told) > want {
		m.t.Fatalf("%s: is to skip %d numbers, want at most %d", name, len(told), want)
	}
}

// ack confirms a random range, with numbers that were never shown in it.
func (m *model) ack(t *rapid.T, name string) {
	c, err := m.q.Cursor(name)
	if err != nil {
		t.Fatal(err)
	}
	epoch := m.epoch
	if epoch > 1 && rapid.Bool().Draw(t, "old") {
		epoch--
	}
	start := m.startOf(epoch)
	first := start + uint64(rapid.IntRange(0, int(min(m.next-start, 5000))).Draw(t, "first"))
	rs := tidegate.Ranges{{First: first, Last: first + uint64(rapid.IntRange(0, 60).Draw(t, "length"))}}
	if rapid.IntRange(0, 3).Draw(t, "upto") == 0 {
		rs[0].First = 1
	}
	u := m.uplinks[name]
	for _, r := range rs { // what was not shown cannot be confirmed
		for i, x := range m.records {
			if m.name(i.epoch).ID == m.name(epoch).ID && i.number >= r.First && i.number <= r.Last && !x.shown {
				return
			}
		}
	}
	if err := c.Ack(m.name(epoch).ID, rs); err != nil {
		t.Fatalf("ack: %v", err)
	}
	var done []id // of what goes again the far side knows only once it has been told
	for i := range m.records {
		if m.name(i.epoch).ID == m.name(epoch).ID && rs.Contains(i.number) && u.fate[i] == waits && !u.secret(i) {
			done = append(done, i)
		}
	}
	for _, i := range done {
		u.fate[i] = delivered
	}
	m.asked = append(m.asked, m.ask()...)
}

// reject sets a random run of shown records aside.
func (m *model) reject(t *rapid.T, name string) {
	c, err := m.q.Cursor(name)
	if err != nil {
		t.Fatal(err)
	}
	u := m.uplinks[name]
	list := m.wanted(u, rapid.SampledFrom(modelClasses).Draw(t, "class"))
	if len(list) == 0 {
		return
	}
	i := rapid.SampledFrom(list).Draw(t, "record")
	r := tidegate.Range{First: i.number, Last: i.number}
	for slices.Contains(list, id{i.epoch, r.Last + 1}) && r.Len() < 5 {
		r.Last++
	}
	if err := c.Reject(m.name(i.epoch).ID, r, "because"); err != nil {
		t.Fatalf("reject: %v", err)
	}
	m.asked = append(m.asked, m.ask()...)
}

// reopen ends the process, in order or not, and starts it again: rings whole, or taken by a power cut.
func (m *model) reopen(t *rapid.T) {
	if err := m.q.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	m.asked = nil
	for _, u := range m.uplinks {
		u.fate = maps.Clone(u.saved)
		clear(u.hidden)
		u.again = maps.Clone(u.kept)
	}
	cut := rapid.Bool().Draw(t, "power cut")
	if cut {
		for _, f := range m.put {
			for n := f.First; n <= f.Last; n++ {
				delete(m.records, id{f.Epoch, n})
			}
		}
		m.put = nil
	}
	if cut || rapid.Bool().Draw(t, "ordinal") {
		m.epoch++
		m.next = m.startOf(m.epoch)
	}
	m.o.Keys = m.keys(t)
	m.open()
	for _, f := range m.put {
		m.q.AddEpoch(f.Epoch, m.name(f.Epoch))
		if f.Class == tidegate.ClassReading || f.Class == tidegate.ClassDebug {
			m.q.Put(f)
		}
	}
}

// keys returns one of three keys, or none, to seal with, and all of them to open with.
func (m *model) keys(t *rapid.T) *seal.Keys {
	to := rapid.IntRange(-1, 2).Draw(t, "key")
	keys, err := newKeys(to, 0, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// rotate has what comes from now on sealed with another key.
func (m *model) rotate(t *rapid.T) {
	m.o.Keys = m.keys(t)
	if err := m.q.SetKeys(m.o.Keys); err != nil {
		t.Fatalf("set keys: %v", err)
	}
}

// sealed compares what is sealed with which key with what is stored.
func (m *model) sealed() {
	sum, st := uint64(0), m.q.Stats()
	for i, u := range st.Keys {
		sum += u.Readings
		if (i == 0) != (u.Key == m.o.Keys.To()) {
			m.t.Fatalf("sealed is %+v, want first what is sealed with %s", st.Keys, m.o.Keys.To())
		}
	}
	for _, s := range st.Segments {
		sum -= s.Readings
	}
	if sum != 0 {
		m.t.Fatalf("sealed is %+v, %d readings more than there are", st.Keys, int64(sum))
	}
}

// check compares account, index and store with the model.
func (m *model) check(*rapid.T) {
	st := m.q.Stats()
	// Records of dropped segments are done for all uplinks.
	for _, cs := range st.Cursors {
		u := m.uplinks[cs.Uplink]
		var want [5]Tallies
		var away Tallies
		for i, r := range m.records {
			if !r.shown && u.fate[i] == waits {
				continue
			}
			t := &want[u.fate[i]]
			if !r.mine(cs.Uplink) {
				t = &away
			}
			t[r.class].Add(Tally{Records: 1, Readings: uint64(r.readings)})
		}
		for _, x := range []struct {
			what      string
			got, want Tallies
		}{
			{"buffered", cs.Buffered, want[waits]},
			{"delivered", cs.Delivered, want[delivered]},
			{"rejected", cs.Rejected, want[rejected]},
			{"declared", cs.Declared, want[declared]},
			{"thinned", cs.Thinned, want[thinned]},
			{"routed", cs.Routed, away},
		} {
			if x.got != x.want {
				m.t.Fatalf("%s: %s is %v, want %v", cs.Uplink, x.what, x.got, x.want)
			}
		}
		for class := range cs.Produced {
			sum := cs.Buffered[class]
			sum.Add(cs.Delivered[class])
			sum.Add(cs.Rejected[class])
			sum.Add(cs.Declared[class])
			sum.Add(cs.Thinned[class])
			sum.Add(cs.Routed[class])
			if cs.Produced[class] != sum {
				m.t.Fatalf("%s, class %d: produced %v, accounted for %v", cs.Uplink, class, cs.Produced[class], sum)
			}
		}
	}
	m.sealed()
	r, err := m.q.Check(context.Background())
	if err != nil || len(r.Faults) > 0 {
		m.t.Fatalf("check: %v, %v", r.Faults, err)
	}
	for name, u := range m.uplinks {
		if got := m.shelved(name); !maps.Equal(got, u.shelf) {
			m.t.Fatalf("set aside for %s is %v, want %v", name, got, u.shelf)
		}
		for _, class := range modelClasses {
			m.look(name, class, 64)
		}
	}
}

func TestQueueIsWhatTheModelSays(t *testing.T) {
	base := tmpfs.Dir(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		o := testOptions(dir)
		o.Uplinks = []string{"a", "b"}
		o.Keep = time.Duration(rapid.SampledFrom([]int64{1, 500, 1 << 40}).Draw(rt, "keep")) * time.Millisecond
		o.MaxAge = time.Duration(rapid.SampledFrom([]int64{0, 0, 300}).Draw(rt, "age")) * time.Millisecond
		o.Classes = quota.Default()
		o.Classes[tidegate.ClassReading].Overflow = rapid.SampledFrom([]quota.Overflow{quota.DropOldest, quota.DropNewest, quota.Thin}).Draw(rt, "overflow")
		o.sizes = sizes{segment: 700, budget: int64(rapid.SampledFrom([]int{5_000, 20_000, 1 << 30}).Draw(rt, "budget")), tail: 600}
		m := &model{
			t: rt, o: o, epoch: 1, next: 1, records: map[id]*modelRecord{},
			uplinks: map[string]*modelUplink{"a": newModelUplink(), "b": newModelUplink()},
		}
		m.open()
		defer func() { _ = m.q.Close() }() // a second Close where reopen failed
		rt.Repeat(map[string]func(*rapid.T){
			"produce":  m.produce,
			"commit":   m.commit,
			"again":    m.commit,
			"ack a":    func(t *rapid.T) { m.ack(t, "a") },
			"ack b":    func(t *rapid.T) { m.ack(t, "b") },
			"reject":   func(t *rapid.T) { m.reject(t, "b") },
			"reject 2": func(t *rapid.T) { m.reject(t, "b") },
			"requeue":  func(t *rapid.T) { m.requeue(t, "b") },
			"reopen":   m.reopen,
			"rotate":   m.rotate,
			"":         m.check,
		})
	})
}

func newModelUplink() *modelUplink {
	return &modelUplink{fate: map[id]fate{}, saved: map[id]fate{}, hidden: map[id]bool{}, shelf: map[id]bool{}, again: map[id]*modelTold{}, kept: map[id]*modelTold{}}
}
