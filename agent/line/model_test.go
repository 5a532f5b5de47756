package line

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
	"github.com/tidegate-io/tidegate/buffer/wear"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/lang"
	"github.com/tidegate-io/tidegate/sync/wire"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// The model is the whole scheme of buffer/README.md with the real rings, lease slots, judge, store and resume, and simulated disk,
// wire and receiver. Histories of Reads, commits, sends, lost acknowledgements, kills at any call, power cuts, reboots, full disks,
// overflows and restored backups are drawn; after each all that is left is delivered, and the account of every reading is settled.

// errKilled is what the fuse panics with: the process ends at that call.
var errKilled = errors.New("killed")

// modelDisk stands for buffer.Queue: durable is what survives the process, the rest does not.
type modelDisk struct {
	w       *world
	durable diskState
	fails   error // of the next commits

	tail     []buffer.Frame // visible, with what is committed of it
	done     map[uint32]tidegate.Ranges
	acked    map[uint32]bool
	epochs   map[uint32]buffer.Epoch
	dirty    bool
	requests []buffer.Declaration
	doomed   map[uint32]tidegate.Ranges
	refuses  bool // readings
}

type diskState struct {
	frames []buffer.Frame
	pos    buffer.Position
	rules  map[string][]byte
	epochs map[uint32]buffer.Epoch
	done   map[uint32]tidegate.Ranges
	acked  map[uint32]bool
}

func (d diskState) clone() diskState {
	d.frames = slices.Clone(d.frames)
	d.rules, d.epochs, d.acked = maps.Clone(d.rules), maps.Clone(d.epochs), maps.Clone(d.acked)
	d.done = cloneDone(d.done)
	return d
}

func cloneDone(m map[uint32]tidegate.Ranges) map[uint32]tidegate.Ranges {
	out := map[uint32]tidegate.Ranges{}
	for e, r := range m {
		out[e] = r.Clone()
	}
	return out
}

func (d *modelDisk) reopen() {
	d.tail, d.requests, d.doomed, d.fails, d.dirty = nil, nil, map[uint32]tidegate.Ranges{}, nil, false
	d.done, d.acked, d.epochs = cloneDone(d.durable.done), maps.Clone(d.durable.acked), maps.Clone(d.durable.epochs)
}

func (d *modelDisk) Put(frames ...buffer.Frame) { d.w.burn(); d.tail = append(d.tail, frames...) }

func (d *modelDisk) Commit(c buffer.Commit) error {
	d.w.note() // before ring 2 is released
	d.w.burn()
	if d.fails != nil {
		return d.fails
	}
	for _, x := range c.Declared {
		done := d.done[x.Epoch]
		done.AddAll(x.Ranges)
		d.done[x.Epoch] = done
	}
	next := d.durable.clone()
	next.frames = append(next.frames, c.Frames...)
	for _, x := range c.Declared {
		if x.Cause == tidegate.CauseOverflow || x.Cause == tidegate.CauseThinned {
			next.frames = slices.DeleteFunc(next.frames, func(f buffer.Frame) bool {
				return f.Epoch == x.Epoch && x.Ranges.Contains(f.First)
			})
		}
	}
	next.pos, next.epochs, next.done, next.acked = c.Position, maps.Clone(d.epochs), cloneDone(d.done), maps.Clone(d.acked)
	for name, b := range c.Rules {
		if next.rules[name] = b; b == nil {
			delete(next.rules, name)
		}
	}
	d.durable = next
	d.dirty = false
	d.w.burn() // durable, but nobody was told
	return nil
}

func (d *modelDisk) Refuses(class tidegate.Class) bool {
	d.w.burn()
	return d.refuses && class == tidegate.ClassReading
}

// Frames gives the one frame of a segment: its counter is the frame's first number.
func (d *modelDisk) Frames(s buffer.Segment, from uint64, f func(buffer.Frame) bool) (missing tidegate.Ranges, err error) {
	d.w.burn()
	for _, x := range d.durable.frames {
		if x.Epoch == s.Epoch && x.First == s.Counter && x.Last >= from && !f(x) {
			break
		}
	}
	return nil, nil
}

func (d *modelDisk) Retain(time.Duration) error { d.w.burn(); return nil }
func (d *modelDisk) Requests() []buffer.Declaration {
	r := d.requests
	d.requests = nil
	return r
}
func (d *modelDisk) Dirty() bool { return d.dirty }
func (d *modelDisk) Coarse() []buffer.CoarseCursor {
	d.w.burn()
	return nil
}
func (d *modelDisk) AddEpoch(o uint32, e buffer.Epoch) { d.epochs[o] = e }
func (d *modelDisk) Epochs() map[uint32]buffer.Epoch   { return maps.Clone(d.epochs) }
func (d *modelDisk) Rename(old, id string) (out []uint32) {
	for o, e := range d.epochs {
		if e.ID == old && !d.acked[o] {
			d.epochs[o] = buffer.Epoch{ID: id, Start: e.Start}
			out = append(out, o)
		}
	}
	slices.Sort(out)
	return out
}

// wanted returns every record that is visible and not done, stored ones first.
func (d *modelDisk) wanted() (out []sent) {
	seen := map[uint32]tidegate.Ranges{}
	dec, err := frame.NewDecoder()
	d.w.must(err)
	for _, f := range slices.Concat(d.durable.frames, d.tail) {
		recs, err := dec.Decode(nil, f.Class, f.First, f.Body)
		d.w.must(err)
		for _, r := range recs {
			s := seen[f.Epoch]
			if s.Contains(r.Number) || d.done[f.Epoch].Contains(r.Number) || d.doomed[f.Epoch].Contains(r.Number) {
				continue
			}
			s.Add(tidegate.Range{First: r.Number, Last: r.Number})
			seen[f.Epoch] = s
			out = append(out, sent{f.Epoch, d.epochs[f.Epoch].ID, r})
		}
	}
	return out
}

type sent struct {
	ordinal uint32
	id      string
	rec     tidegate.Record
}

// modelSlots stands for lease.File: two slots as bytes; a kill in a write may tear the one that is written.
type modelSlots struct {
	w     *world
	slots [2][]byte
	last  lease.Lease
}

func (m *modelSlots) Write(l lease.Lease) error {
	m.w.burn()
	l.Generation = m.last.Generation + 1
	b, err := lease.Encode(l)
	m.w.must(err)
	m.w.tearing = func(cut int) {
		old := m.slots[l.Generation%2]
		torn := append(slices.Clone(b[:cut]), make([]byte, len(b)-cut)...)
		if old != nil {
			copy(torn[cut:], old[cut:])
		}
		m.slots[l.Generation%2] = torn
	}
	m.w.burn()
	m.w.tearing = nil
	m.slots[l.Generation%2] = b
	m.last = l
	m.w.unknown = nil
	m.w.burn()
	return nil
}

func (m *modelSlots) reopen() (l lease.Lease, found bool) {
	for _, b := range m.slots {
		if x, err := lease.Decode(b); err == nil && (!found || x.Generation > l.Generation) {
			l, found = x, true
		}
	}
	m.last = l
	return l, found
}

const modelUplink = "uplink"

// farSide is the receiver: what it stored, by identity, and what was declared.
type farSide struct {
	stored map[identity]string
	have   map[string]tidegate.Ranges // by epoch name
	gaps   map[string]tidegate.Ranges
	count  map[string]int64 // readings declared by cause, each declaration once
	atMost int64
}

type identity struct {
	epoch  string
	number uint64
}

// world is one history.
type world struct {
	t       *rapid.T
	dir     string
	fuse    int // calls until the process is killed; 0 = never
	tearing func(cut int)
	now     time.Duration

	disk  *modelDisk
	slots *modelSlots
	far   farSide

	rings   *box.Pair
	j       *judge
	s       *store
	n       *numbers
	running bool
	linked  bool

	value       int64               // running number of the last Read
	size        map[int64]int64     // readings in a Read
	read        map[int64]bool      // in ring 1
	dropped     map[int64]bool      // ring 1 or 2 was full
	number      map[int64]sent      // what ring 2 said of a Read
	cutAway     map[int64]bool      // stood in the rings at a power cut and was not numbered
	entryOf     map[int64]box.Place // place behind its entry of ring 2
	dropped2    uint64              // readings that rings had no room for
	excused     map[int64]bool      // read in a time that a restored backup took back
	sinceBackup []int64
	unknown     map[int64]bool // stood in the rings when a backup was restored, and no start has put that on disk yet
	backup      *savedState
	cuts        int
	restores    int
	drops       int
	refusals    int // how often the disk took no readings
	overflows   int // frames that were to go
	thins       int // frames that were to be thinned out
	seenAt      box.Place
}

type savedState struct {
	disk  diskState
	slots [2][]byte
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

// burn is called by every simulated part: when the fuse is burnt down, the process ends here.
func (w *world) burn() {
	if w.fuse > 0 {
		if w.fuse--; w.fuse == 0 {
			panic(errKilled)
		}
	}
}

// guarded runs f and reports whether the process was killed in it.
func (w *world) guarded(f func()) (killed bool) {
	defer func() {
		w.fuse = 0
		if p := recover(); p != nil {
			if p != errKilled {
				panic(p)
			}
			if w.tearing != nil {
				w.tearing(rapid.IntRange(0, 4096).Draw(w.t, "torn at"))
				w.tearing = nil
			}
			w.note()
			w.running, w.linked = false, false
			killed = true
		}
	}()
	f()
	w.note()
	return false
}

func (w *world) clock() clock.Stamp {
	w.burn()
	w.now += time.Millisecond
	return clock.Stamp{Wall: time.Unix(1_792_000_000, 0).Add(w.now), Boot: w.now, Synced: true}
}

// start is the part of Agent.Run that the model replaces: open, resume, make judge and store.
func (w *world) start() {
	l, leased := w.slots.reopen()
	w.disk.reopen()
	state := l.State
	if !leased {
		state = w.disk.durable.pos.State
	}
	if state == [16]byte{} {
		state[0] = 1
	}
	var err error
	if w.rings != nil {
		w.must(w.rings.Close())
		w.rings = nil
	}
	w.rings, err = box.OpenPair(w.dir, state, box.Sizes{})
	w.must(err)
	ring2 := w.rings.Judged
	f := facts{
		lease: l, leased: leased, pos: w.disk.durable.pos, epochs: w.disk.Epochs(), kept: w.rings.Kept, pair: ring2.Pair(),
		tail: ring2.Tail(), head: ring2.Head(), input: w.rings.Read.Tail(), lost: ring2.Dropped().Input, perRecord: 2, atMost: 1000,
	}
	f.mark.epoch, f.mark.number = ring2.Marked()
	for at := f.tail; ; {
		payload, next, ok, err := ring2.Next(at)
		w.must(err)
		if !ok {
			break
		}
		e, err := decodeEntry(slices.Clone(payload))
		w.must(err)
		f.entries = append(f.entries, found{at, next, e})
		at = next
	}
	w.seenAt = f.head
	p := resume(&f)
	if testing.Verbose() {
		fmt.Println("START", p.why, p.epoch, p.next, p.declared, "mark", f.mark, "kept", f.kept, "pos", f.pos.Epoch, f.pos.Next, "tail", f.tail, f.head)
	}
	w.n = &numbers{file: w.slots, state: state}
	w.apply(&p, f.entries)
	w.running = true
}

// apply does what Agent.begin and Agent.makeLine do.
func (w *world) apply(p *plan, entries []found) {
	p.name(w.disk)
	w.n.keep(p.toKeep())
	if p.begin {
		name := buffer.Epoch{ID: p.epochID, Start: p.next}
		if name.ID == "" {
			name.ID = newID()
		}
		w.must(w.n.begin(p.epoch, name, nil))
	} else {
		w.n.epoch, w.n.name, w.n.next, w.n.end = p.epoch, p.epochs[p.epoch], p.next, p.next
		w.must(w.n.renew(nil))
	}
	w.disk.AddEpoch(w.n.epoch, w.n.name)
	w.burn()
	if p.begin {
		w.rings.Judged.Begin(w.n.epoch, []string{modelUplink})
		w.burn()
	}
	w.rings.Judged.Mark(w.n.epoch, w.n.next-1)
	w.rings.Judged.Release(p.at)
	w.rings.Read.Release(p.input)
	states := maps.Clone(w.disk.durable.rules)
	for _, x := range entries {
		for _, s := range x.e.rules {
			states[s.Key] = s.Body
		}
		if x.at < p.at {
			continue
		}
		for i := range x.e.runs {
			if r := &x.e.runs[i]; isLive(r.class) {
				w.disk.Put(r.frame(x.e.epoch))
			}
		}
	}
	schema := lang.Schema{Channels: map[string]lang.Channel{"d.level": {Name: "d.level", Kind: tidegate.KindFloat}}}
	when, _ := lang.Compile("d.level > 0", lang.Condition, schema)
	end, _ := lang.Compile("d.level < 0", lang.Condition, schema)
	set, err := rules.New([]rules.Rule{{Name: "high", When: when, Clear: end, Severity: rules.SeverityError, Text: "high"}}, 0)
	w.must(err)
	var list []rules.State
	for name, b := range states {
		if name == refusedKey {
			continue
		}
		list = append(list, rules.State{Key: name, Body: b})
	}
	out, err := set.Restore(list, true)
	w.must(err)
	dec1, err := frame.NewDecoder()
	w.must(err)
	dec2, err := frame.NewDecoder()
	w.must(err)
	enc, err := frame.NewEncoder()
	w.must(err)
	w.j = &judge{
		read: w.rings.Read, judged: w.rings.Judged, numbers: w.n, rules: set, queue: w.disk, act: func(rules.Action) { w.burn() },
		urgent: w.burn, clock: w.clock, log: slog.New(slog.DiscardHandler), beat: new(atomic.Int64), dec: dec1, input: p.input,
		drops1: p.drops1, drops2: p.drops2, declared: p.declared, epochs: w.disk.Epochs(), wake: make(chan struct{}, 1),
		sparing: sparing{pace: func() wear.Pace { return wear.Pace{} }},
	}
	w.j.refused, err = decodeRefusals(states[refusedKey])
	w.must(err)
	w.j.adopt(out)
	w.s = &store{
		judged: w.rings.Judged, disk: w.disk, numbers: w.n, declare: w.j.ask, room: w.j.signal, sync: new(atomic.Int64), nominal: new(atomic.Int64), clock: w.clock,
		log: slog.New(slog.DiscardHandler), trouble: func(error) {}, enc: enc, dec: dec2, pos: p.position(w.disk.durable.pos, w.rings, w.n.state),
		beat: new(atomic.Int64), window: new(atomic.Int64), pieces: w.j.replace, waiting: w.j.thinning,
	}
	w.s.window.Store(int64(rapid.SampledFrom([]time.Duration{time.Millisecond, 50 * time.Millisecond, time.Minute}).Draw(w.t, "window")))
}

// note reads what the judge has put into ring 2 since the last note: which Read got which number.
func (w *world) note() {
	if w.rings == nil {
		return
	}
	at := max(w.seenAt, w.rings.Judged.Tail())
	dec, err := frame.NewDecoder()
	w.must(err)
	for {
		payload, next, ok, err := w.rings.Judged.Next(at)
		w.must(err)
		if !ok {
			break
		}
		e, err := decodeEntry(payload)
		w.must(err)
		for _, r := range e.runs {
			if r.class != tidegate.ClassReading || r.thin {
				continue
			}
			recs, err := dec.Decode(nil, r.class, r.first, r.body)
			w.must(err)
			for _, rec := range recs {
				v, _ := rec.Readings[0].Value.Number()
				w.number[int64(v)] = sent{e.epoch, e.epochID, rec}
				w.entryOf[int64(v)] = next
			}
		}
		at = next
	}
	w.seenAt = at
}

// readDevice is one Read: two readings, n (running number) and level (its sign is what the rule looks at).
func (w *world) readDevice(pad int) {
	w.value++
	level := float64(w.value)
	if w.value/3%2 == 0 {
		level = -level
	}
	rec := tidegate.Record{Class: tidegate.ClassReading, Time: w.clock().Wall, Readings: []tidegate.Reading{
		{Device: "d", Channel: "n", Value: tidegate.Int(w.value)}, {Device: "d", Channel: "level", Value: tidegate.Float(level)},
	}}
	if pad > 0 {
		rec.Readings = append(rec.Readings, tidegate.Reading{Device: "d", Channel: "pad", Value: tidegate.Text(string(make([]byte, pad)))})
	}
	body := frame.AppendRows([]byte{byte(rec.Class)}, []tidegate.Record{rec})
	if _, err := w.rings.Read.Put(false, body); err != nil {
		w.rings.Read.Drop(1, len(rec.Readings), w.clock().Wall.UnixMilli(), 0)
		w.dropped2 += uint64(len(rec.Readings))
		w.dropped[w.value] = true
		w.drops++
		return
	}
	w.read[w.value] = true
	w.size[w.value] = int64(len(rec.Readings))
	w.sinceBackup = append(w.sinceBackup, w.value)
}

// link connects: the retained receipts are looked at before anything is sent.
func (w *world) link() {
	if w.linked {
		return
	}
	name, given := w.n.given(w.rings.Judged, modelUplink)
	have := w.far.have[name]
	all := have.Clone()
	all.AddAll(w.far.gaps[name])
	if len(all) > 0 && all[len(all)-1].Last > given {
		w.judge()
		w.must(w.j.renumber(w.disk, newID()))
	}
	w.linked = true
}

// send delivers some of what is visible, in order; each arrives or is lost on the way, and its acknowledgement may be lost.
func (w *world) send(most int, lossy bool) {
	w.link()
	for i, x := range w.disk.wanted() {
		if i >= most {
			return
		}
		w.burn()
		if lossy && rapid.IntRange(0, 9).Draw(w.t, "lost on the way") == 0 {
			continue
		}
		w.n.sending(w.rings.Judged, modelUplink, x.id, x.rec.Number)
		w.arrive(x)
		if lossy && rapid.IntRange(0, 3).Draw(w.t, "acknowledgement lost") == 0 {
			continue
		}
		done := w.disk.done[x.ordinal]
		done.Add(tidegate.Range{First: x.rec.Number, Last: x.rec.Number})
		w.disk.done[x.ordinal] = done
		w.disk.acked[x.ordinal] = true
		w.disk.dirty = true
	}
}

// arrive is the receiver: a number seen before must bear the same content.
func (w *world) arrive(x sent) {
	id := identity{x.id, x.rec.Number}
	content := x.rec.Class.String()
	if strings.Contains(x.rec.Labels, tidegate.SummaryLabel) {
		content = "summary"
	}
	for _, r := range x.rec.Readings {
		value := r.Value.String()
		if r.Channel == "pad" || r.Channel == "pad.last" {
			value = "" // it is long
		}
		content += fmt.Sprintf(" %s/%s=%s", r.Device, r.Channel, value)
	}
	if old, ok := w.far.stored[id]; ok {
		if old != content {
			w.t.Fatalf("number %d of epoch %s was used twice:\n%s\n%s", id.number, id.epoch, old, content)
		}
		return
	}
	w.far.stored[id] = content
	have := w.far.have[x.id]
	have.Add(tidegate.Range{First: x.rec.Number, Last: x.rec.Number})
	w.far.have[x.id] = have
	for _, r := range x.rec.Readings {
		g, ok, err := wire.ParseGap(r)
		w.must(err)
		if !ok {
			continue
		}
		epoch := g.Epoch
		if epoch == "" {
			epoch = x.id
		}
		gaps := w.far.gaps[epoch]
		gaps.Add(tidegate.Range{First: g.From, Last: g.To})
		w.far.gaps[epoch] = gaps
		w.far.count[g.Cause] += g.Count
		w.far.atMost += g.AtMost - g.Count
	}
}

// overflow asks for the oldest stored frame of readings to be dropped, or thinned out.
func (w *world) overflow(cause string) {
	for _, f := range w.disk.durable.frames {
		r := tidegate.Range{First: f.First, Last: f.Last}
		if f.Class != tidegate.ClassReading || f.Thin && cause == tidegate.CauseThinned || w.disk.done[f.Epoch].Covers(r) || w.disk.doomed[f.Epoch].Contains(f.First) {
			continue
		}
		want := w.disk.done[f.Epoch].Missing(r)
		d := buffer.Declaration{Epoch: f.Epoch, Ranges: want, Cause: cause}
		if cause == tidegate.CauseThinned {
			d.Segment = buffer.Segment{Class: f.Class, Epoch: f.Epoch, Counter: f.First}
			w.thins++
		} else {
			w.overflows++
		}
		for _, m := range want {
			n, err := frame.Count(f.Body, int(m.First-f.First), int(m.Len()))
			w.must(err)
			d.Count += uint64(n)
		}
		d.AtMost = d.Count
		w.disk.requests = append(w.disk.requests, d)
		doomed := w.disk.doomed[f.Epoch]
		doomed.Add(r)
		w.disk.doomed[f.Epoch] = doomed
		return
	}
}

// loseRings is what a reboot does to tmpfs.
func (w *world) loseRings() {
	w.must(box.Remove(w.dir))
	clear(w.entryOf)
	w.seenAt = 0
}

// powerCut loses the rings: what was not numbered, or numbered and not committed, is gone unless it was sent.
func (w *world) powerCut() {
	w.note()
	for v := range w.read {
		if _, numbered := w.number[v]; !numbered {
			w.cutAway[v] = true
		}
	}
	for v := range w.unknown { // as with a reboot right behind the restore: nothing knows of them
		w.excused[v] = true
	}
	w.unknown = nil
	w.loseRings()
	w.running, w.linked = false, false
	w.cuts++
}

var longModel = flag.Int("model", 0, "histories of the scheme's model to explore; 0 = as many as rapid's checks")

// TestNothingIsLostDoubledOrUnsaid explores histories of the whole scheme.
func TestNothingIsLostDoubledOrUnsaid(t *testing.T) {
	if *longModel > 0 {
		if err := flag.Set("rapid.checks", fmt.Sprint(*longModel)); err != nil {
			t.Fatal(err)
		}
	}
	explore(t, func(w *world) {
		for range rapid.IntRange(1, 60).Draw(w.t, "steps") {
			w.step()
		}
	})
}

// TestRestartBeforeFirstContact: a restored backup is noticed by a receipt that only a later process after it sees, wherever those before
// it were killed.
func TestRestartBeforeFirstContact(t *testing.T) {
	explore(t, func(w *world) {
		w.restoredBackup()
		for range rapid.IntRange(1, 4).Draw(w.t, "processes") {
			w.fuse = rapid.IntRange(0, 15).Draw(w.t, "fuse at start")
			if w.guarded(w.start) {
				continue
			}
			w.fuse = rapid.IntRange(0, 30).Draw(w.t, "fuse")
			w.guarded(func() { w.work(3) })
			w.kill()
		}
	})
}

// TestPowerCutBehindARestoredBackup: what ring 2 held of an ordinal that the restored state knows nothing of goes with a power cut before the first
// commit, however many starts lie between, and is declared under its own name.
func TestPowerCutBehindARestoredBackup(t *testing.T) {
	explore(t, func(w *world) {
		w.start()
		w.work(3)
		w.send(1<<30, false)
		w.must(w.s.commitAll())
		w.save()
		w.powerCut()
		w.start()
		for range rapid.IntRange(1, 3).Draw(w.t, "reads") {
			w.readDevice(rapid.SampledFrom([]int{0, 60_000}).Draw(w.t, "pad"))
			w.judge()
		}
		w.restore(false)
		for range rapid.IntRange(1, 3).Draw(w.t, "starts") {
			w.fuse = rapid.IntRange(0, 12).Draw(w.t, "fuse at start")
			if w.guarded(w.start) || rapid.Bool().Draw(w.t, "killed") {
				continue
			}
			w.fuse = rapid.IntRange(0, 12).Draw(w.t, "fuse")
			w.guarded(func() { w.must(w.s.commitEntries()) })
		}
		w.powerCut()
	})
}

// TestNoNumberBeyondTheLease: where the disk takes no lease, no number of it is given: what is read then is counted, and declared when there is one.
func TestNoNumberBeyondTheLease(t *testing.T) {
	explore(t, func(w *world) {
		w.start()
		w.work(rapid.IntRange(0, 3).Draw(w.t, "before"))
		w.n.mu.Lock()
		w.n.end = w.n.next + rapid.Uint64Range(0, 4).Draw(w.t, "numbers left")
		w.n.mu.Unlock()
		for range rapid.IntRange(5, 9).Draw(w.t, "reads") {
			w.readDevice(0)
			w.judge()
			if _, _, next := w.n.peek(); next > w.n.leaseEnd() {
				w.t.Fatalf("the next number is %d, leased are those below %d", next, w.n.leaseEnd())
			}
		}
		if w.drops == 0 {
			w.t.Fatal("all was numbered")
		}
		w.must(w.n.renew(nil))
	})
}

// TestRenumberNeedsTheLease: a disk that does not take the new name leaves all as it was, for the next try; a process that ends in the
// midst does it over.
func TestRenumberNeedsTheLease(t *testing.T) {
	explore(t, func(w *world) {
		w.restoredBackup()
		w.start()
		w.work(3)
		before := w.disk.Epochs()
		ordinal, name, next := w.n.peek()
		w.n.file = &slotLog{fails: errors.New("input/output error")}
		if err := w.j.renumber(w.disk, "new"); err == nil || err.Error() != "rename epoch to new: input/output error" {
			w.t.Fatalf("got %v", err)
		}
		if now, was, at := w.n.peek(); now != ordinal || was != name || at != next || !maps.Equal(before, w.disk.Epochs()) || len(w.j.declared) != 0 {
			w.t.Fatalf("after an error: ordinal %d, %v, next %d, epochs %v, declared %v", now, was, at, w.disk.Epochs(), w.j.declared)
		}
		w.n.file = w.slots
		w.fuse = rapid.IntRange(0, 12).Draw(w.t, "fuse")
		if w.guarded(func() { w.must(w.j.renumber(w.disk, "new")); w.judge() }) {
			w.start()
		}
		w.link()
		w.judge()
		w.must(w.s.commitAll())
		_, name, _ = w.n.peek()
		w.note()
		if name.ID == before[ordinal].ID || w.disk.Epochs()[ordinal].ID != name.ID {
			w.t.Fatalf("the current name is %v, those of ordinals are %v, before %v", name, w.disk.Epochs(), before)
		}
		w.send(1<<30, false)
		if !w.far.gaps[name.ID].Covers(tidegate.Range{First: 1, Last: name.Start - 1}) {
			w.t.Fatalf("gaps of the new name %v are %v", name, w.far.gaps[name.ID])
		}
	})
}

// restoredBackup is a past in which the original went on behind the lease's end under an ordinal of which its backup, restored over a
// reboot, knows nothing.
func (w *world) restoredBackup() {
	w.start()
	w.work(3)
	w.send(1<<30, false)
	w.must(w.s.commitAll())
	w.save()
	w.powerCut()
	w.start()
	w.work(3)
	w.send(1<<30, false)
	w.restore(true)
}

// work reads, judges and commits.
func (w *world) work(reads int) {
	for range reads {
		w.readDevice(0)
	}
	w.judge()
	w.note()
	w.must(w.s.commitAll())
}

// explore draws histories, lets each settle, and accounts for every reading.
func explore(t *testing.T, history func(w *world)) {
	dir := tmpfs.Dir(t)
	rapid.Check(t, func(rt *rapid.T) {
		if err := box.Remove(dir); err != nil {
			rt.Fatal(err)
		}
		w := newWorld(rt, dir)
		defer func() {
			if w.rings != nil {
				w.rings.Close()
			}
		}()
		history(w)
		w.settle()
	})
}

func newWorld(t *rapid.T, dir string) *world {
	w := &world{
		t: t, dir: dir, read: map[int64]bool{}, size: map[int64]int64{}, dropped: map[int64]bool{}, number: map[int64]sent{}, entryOf: map[int64]box.Place{}, cutAway: map[int64]bool{}, excused: map[int64]bool{},
	}
	w.far = farSide{stored: map[identity]string{}, have: map[string]tidegate.Ranges{}, gaps: map[string]tidegate.Ranges{}, count: map[string]int64{}}
	w.disk = &modelDisk{w: w, durable: diskState{
		rules: map[string][]byte{}, epochs: map[uint32]buffer.Epoch{}, done: map[uint32]tidegate.Ranges{}, acked: map[uint32]bool{},
	}}
	w.slots = &modelSlots{w: w}
	return w
}

// step is one thing that happens.
func (w *world) step() {
	if !w.running {
		w.fuse = rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 4, 5, 6, 8, 12}).Draw(w.t, "fuse at start")
		w.guarded(w.start)
		return
	}
	w.fuse = rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 7, 10, 15, 25}).Draw(w.t, "fuse")
	switch rapid.SampledFrom([]string{
		"read", "read", "read", "flood", "judge", "judge", "commit", "commit", "send", "send", "kill", "power cut", "stop", "full", "overflow", "thin", "thin", "refuse", "backup", "restore", "damage",
	}).Draw(w.t, "step") {
	case "read":
		w.fuse = 0
		w.readDevice(0)
	case "flood":
		w.fuse = 0
		for range rapid.IntRange(1, 12).Draw(w.t, "reads") {
			w.readDevice(30_000)
		}
	case "judge":
		w.guarded(w.judge)
	case "commit":
		w.disk.fails = nil
		w.guarded(func() { w.must(w.s.commitAll()) })
	case "full":
		w.disk.fails = buffer.ErrNoSpace
		w.guarded(func() {
			if err := w.s.commitEntries(); err != nil && !errors.Is(err, buffer.ErrNoSpace) {
				w.t.Fatal(err)
			}
		})
	case "send":
		w.guarded(func() { w.send(rapid.IntRange(1, 30).Draw(w.t, "records"), true) })
	case "kill":
		w.fuse = 0
		w.kill()
	case "power cut":
		w.fuse = 0
		w.powerCut()
	case "stop":
		w.stop()
	case "overflow":
		w.fuse = 0
		w.overflow(tidegate.CauseOverflow)
	case "thin":
		w.fuse = 0
		w.overflow(tidegate.CauseThinned)
	case "refuse":
		w.fuse = 0
		w.disk.refuses = !w.disk.refuses
		w.refusals++
	case "backup":
		w.fuse = 0
		w.save()
	case "damage":
		w.fuse = 0
		w.damage()
	case "restore":
		w.fuse = 0
		w.restore(rapid.Bool().Draw(w.t, "reboot after restore"))
	}
}

// judge lets the judge go round, and notes what ring 2 had no room for.
func (w *world) judge() {
	before := w.rings.Judged.Dropped()
	defer func() {
		now := w.rings.Judged.Dropped()
		w.drops += int(now.Reads - before.Reads)
		w.dropped2 += now.Readings - before.Readings
	}()
	w.must(w.j.step())
}

// stop is an orderly stop, with or without a reboot after it.
func (w *world) stop() {
	w.disk.fails = nil
	killed := w.guarded(func() {
		w.judge()
		w.must(w.s.finish())
		w.must(settle(w.j, w.s))
		w.must(w.n.stop(nil))
	})
	if killed {
		return
	}
	w.running, w.linked = false, false
	if rapid.Bool().Draw(w.t, "reboot") {
		w.loseRings()
	}
}

// kill ends the process.
func (w *world) kill() {
	w.note()
	w.running, w.linked = false, false
}

// save makes a backup of the state directory; one of a run without any contact is beyond what the scheme promises.
func (w *world) save() {
	if epoch, _, _ := w.n.peek(); w.disk.durable.acked[epoch] {
		w.backup = &savedState{w.disk.durable.clone(), [2][]byte{slices.Clone(w.slots.slots[0]), slices.Clone(w.slots.slots[1])}}
		w.sinceBackup = nil
	}
}

// restore puts an older state directory in place, with or without a reboot.
func (w *world) restore(reboot bool) {
	if w.backup == nil {
		return
	}
	w.note()
	w.restores++
	held := w.inRings()
	for _, v := range w.sinceBackup {
		if !held[v] { // it was only in the state that is taken back
			w.excused[v] = true
		}
	}
	w.disk.durable = w.backup.disk.clone()
	w.slots.slots = [2][]byte{slices.Clone(w.backup.slots[0]), slices.Clone(w.backup.slots[1])}
	w.backup = nil
	w.running, w.linked = false, false
	w.unknown = held
	if reboot {
		w.powerCut()
	}
}

// damage ends the process and destroys the newest lease slot, where the store knows as much of the lease: what is damaged before the first
// commit of an ordinal, or after a clean stop, is left to the far side's receipts.
func (w *world) damage() {
	w.kill()
	l, ok := w.slots.reopen()
	pos := w.disk.durable.pos
	before, err := lease.Decode(w.slots.slots[(l.Generation+1)%2])
	if !ok || err != nil || pos.Epoch != l.Epoch || pos.LeaseEnd != l.End {
		return
	}
	if before.Clean && before.Epoch == pos.Epoch && pos.Next <= before.Last+1 {
		return
	}
	w.slots.slots[l.Generation%2] = make([]byte, 4096)
	if rapid.Bool().Draw(w.t, "power cut with it") {
		w.powerCut()
	}
}

// inRings returns the Reads that stand in ring 1 or ring 2.
func (w *world) inRings() map[int64]bool {
	out := map[int64]bool{}
	for v := range w.read {
		if _, numbered := w.number[v]; !numbered {
			out[v] = true
		}
	}
	for v, n := range w.number {
		if at, ok := w.entryOf[v]; ok && at > w.rings.Judged.Tail() && n.ordinal > 0 {
			out[v] = true
		}
	}
	return out
}

// settle lets everything arrive, and then accounts for every Read.
func (w *world) settle() {
	w.fuse = 0
	if !w.running {
		w.start()
	}
	w.disk.fails, w.disk.refuses = nil, false
	for range 10 {
		w.judge()
		w.must(w.s.commitAll())
		w.note()
		w.send(1<<30, false)
	}
	if left := w.disk.wanted(); len(left) > 0 {
		w.t.Fatalf("%d records are still wanted, the first is %s %d", len(left), left[0].id, left[0].rec.Number)
	}
	times := map[int64]int{}
	alarms := map[string]int{}
	for id, content := range w.far.stored {
		var v int64
		if _, err := fmt.Sscanf(content, "reading d/n=%d", &v); err == nil {
			times[v]++
		} else if content[:5] == "alarm" {
			alarms[alarmKey(w.t, content)]++
		}
		_ = id
	}
	lost := int64(0)
	for v := range w.read {
		switch n, numbered := w.number[v]; {
		case times[v] == 1:
		case times[v] > 1:
			w.t.Fatalf("reading %d is stored %d times", v, times[v])
		case w.excused[v]:
		case numbered && w.declared(n):
		case w.cutAway[v]:
			lost++
		case w.drops > 0, w.refusals > 0 && !numbered:
			// judged, but ring 2 was full, or nothing new was taken: counted below
			lost += 0
		default:
			w.t.Fatalf("reading %d is neither stored nor declared (numbered %v: %s %d)", v, numbered, n.id, n.rec.Number)
		}
	}
	for k, n := range alarms {
		if n > 1 {
			w.t.Fatalf("alarm %s came %d times", k, n)
		}
	}
	if lost*2 > w.far.atMost {
		w.t.Fatalf("%d readings are lost to power cuts, at most %d were declared", lost*2, w.far.atMost)
	}
	if w.cuts == 0 && w.restores == 0 {
		w.exact(times, alarms)
	}
}

// exact holds where power and state directory were never lost: every Read is stored or counted, every alarm came once.
func (w *world) exact(times map[int64]int, alarms map[string]int) {
	missing, readings := int64(0), int64(0)
	for v := int64(1); v <= w.value; v++ {
		if times[v] == 0 {
			missing++
			readings += w.size[v]
		}
	}
	if got := w.far.count[tidegate.CauseOverflow]; w.drops == 0 && w.overflows == 0 && w.thins == 0 && got != readings {
		w.t.Fatalf("%d readings are declared as not taken, %d are missing", got, readings)
	}
	if got, want := w.summed(), w.far.count[tidegate.CauseThinned]; w.overflows == 0 && got != want {
		w.t.Fatalf("summaries stand for %d readings, %d are declared as thinned out", got, want)
	}
	if got := w.far.count[tidegate.CauseRingFull]; got != int64(w.dropped2) {
		w.t.Fatalf("%d readings are declared as dropped by the rings, %d were", got, w.dropped2)
	}
	if w.drops == 0 && w.far.count[tidegate.CauseOverflow] == 0 && w.thins == 0 && missing != 0 {
		w.t.Fatalf("%d readings are missing, though nothing was dropped", missing)
	}
	if w.drops > 0 || missing > 0 {
		return
	}
	high := false
	for v := int64(1); v <= w.value; v++ {
		if now := v/3%2 != 0; now != high {
			high = now
			if alarms[fmt.Sprintf("%v %d", high, v)] != 1 {
				w.t.Fatalf("alarm of reading %d (raised %v) came %d times: %v", v, high, alarms[fmt.Sprintf("%v %d", high, v)], alarms)
			}
		}
	}
}

// summed returns how many readings the summaries that arrived stand for.
func (w *world) summed() (n int64) {
	for _, content := range w.far.stored {
		parts := strings.Fields(content)
		if parts[0] != "summary" {
			continue
		}
		for _, p := range parts[1:] {
			name, value, _ := strings.Cut(p, "=")
			switch {
			case strings.HasSuffix(name, ".count"):
				k, err := strconv.ParseInt(value, 10, 64)
				w.must(err)
				n += k
			case !strings.Contains(name, "."):
				n++ // as it was read
			}
		}
	}
	return n
}

// declared reports whether the far side was told that the record will not come, under any name that its ordinal has had.
func (w *world) declared(n sent) bool {
	for _, id := range []string{n.id, w.disk.epochs[n.ordinal].ID} {
		if w.far.gaps[id].Contains(n.rec.Number) {
			return true
		}
	}
	return false
}

// alarmKey returns "raised value" of an alarm's content.
func alarmKey(t *rapid.T, content string) string {
	i := 0
	for i < len(content) && content[i] != '{' {
		i++
	}
	var a struct {
		State string  `json:"state"`
		Value float64 `json:"value"`
	}
	if err := json.Unmarshal([]byte(content[i:]), &a); err != nil {
		t.Fatalf("alarm %q: %v", content, err)
	}
	if a.Value < 0 {
		a.Value = -a.Value
	}
	return fmt.Sprintf("%v %d", a.State == "raised", int64(a.Value))
}
