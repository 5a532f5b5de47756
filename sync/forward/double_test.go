package forward

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// queue is a Source in memory. A frame's body is its index.
type queue struct {
	mu       sync.Mutex
	frames   [5][]buffer.Look // by class, in the order of places; Want is computed
	recs     [][]tidegate.Record
	done     map[string]*tidegate.Ranges
	rejected map[string]*tidegate.Ranges
	why      []string
	changed  chan struct{}
	next     uint64
	epoch    uint32
	looks    int
	badBody  map[uint64]bool
	ackErr   error
	debug    map[uint32]*tidegate.Ranges // numbers of records that stay on the gateway, by epoch
}

func newQueue() *queue {
	return &queue{
		done: map[string]*tidegate.Ranges{}, rejected: map[string]*tidegate.Ranges{}, changed: make(chan struct{}, 1),
		next: 1, epoch: 1, badBody: map[uint64]bool{}, debug: map[uint32]*tidegate.Ranges{},
	}
}

func epochName(n uint32) string { return fmt.Sprintf("ep%d", n) }

// put adds one frame of n records with so many readings each, taken now.
func (q *queue) put(class tidegate.Class, n, readings int) {
	q.putFor(class, n, readings, func(int) string { return "" })
}

func (q *queue) putFor(class tidegate.Class, n, readings int, dest func(i int) string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	var recs []tidegate.Record
	apart := false
	for i := range n {
		r := tidegate.Record{Number: q.next, Class: class, Time: now, For: dest(i)}
		for j := range readings {
			r.Readings = append(r.Readings, tidegate.Reading{Device: "d", Channel: fmt.Sprint("c", j), Value: tidegate.Uint(q.next)})
		}
		recs = append(recs, r)
		apart = apart || r.For != ""
		q.next++
	}
	q.recs = append(q.recs, recs)
	k := buffer.Look{EpochID: epochName(q.epoch)}
	k.Apart = apart
	k.Epoch, k.Class, k.First, k.Last, k.Count = q.epoch, class, recs[0].Number, recs[n-1].Number, uint32(n*readings)
	k.T0, k.T1, k.Body = now.UnixMilli(), now.UnixMilli(), []byte(fmt.Sprint(len(q.recs)-1))
	q.frames[class] = append(q.frames[class], k)
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// newEpoch makes numbers begin anew.
func (q *queue) newEpoch() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.epoch, q.next = q.epoch+1, 1
}

func (q *queue) Next(class tidegate.Class, from buffer.Place, maxBytes int) ([]buffer.Look, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.looks++
	var out []buffer.Look
	size := 0
	frames := q.frames[class]
	i := sort.Search(len(frames), func(i int) bool {
		k := &frames[i]
		return !(buffer.Place{Epoch: k.Epoch, Number: k.Last}).Before(from)
	})
	for ; i < len(frames); i++ {
		k := frames[i]
		if len(out) > 0 && size+50 > maxBytes {
			break
		}
		k.Want = q.wanted(&k)
		if len(k.Want) == 0 {
			continue
		}
		size += 50
		q.mark(&k)
		out = append(out, k)
	}
	return out, nil
}

// keep gives n numbers to records that stay on the gateway.
func (q *queue) keep(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rangesOf(q.debug, q.epoch).Add(tidegate.Range{First: q.next, Last: q.next + uint64(n) - 1})
	q.next += uint64(n)
}

// mark says of k what is not meant for uplink "cloud".
func (q *queue) mark(k *buffer.Look) {
	if rs := q.debug[k.Epoch]; rs != nil {
		k.Skip = rs.Within(tidegate.Range{Last: k.Last})
		if done := q.done[k.EpochID]; done != nil {
			for _, r := range *done {
				k.Skip.Remove(r)
			}
		}
	}
	var i int
	if _, err := fmt.Sscan(string(k.Body), &i); err != nil || !k.Apart {
		return
	}
	k.Idle = true
	for _, r := range q.recs[i] {
		switch {
		case !k.Want.Contains(r.Number):
		case r.For == "" || r.For == "cloud":
			k.Idle = false
		default:
			k.Away += uint32(len(r.Readings))
		}
	}
}

func (q *queue) wanted(k *buffer.Look) tidegate.Ranges {
	want := tidegate.Ranges{{First: k.First, Last: k.Last}}
	for _, m := range []map[string]*tidegate.Ranges{q.done, q.rejected} {
		if rs := m[k.EpochID]; rs != nil {
			for _, r := range rs.Within(tidegate.Range{First: k.First, Last: k.Last}) {
				want.Remove(r)
			}
		}
	}
	return want
}

func (q *queue) Changed() <-chan struct{} { return q.changed }

func (q *queue) Ack(epoch string, rs tidegate.Ranges) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ackErr != nil {
		return q.ackErr
	}
	if q.done[epoch] == nil {
		q.done[epoch] = &tidegate.Ranges{}
	}
	q.done[epoch].AddAll(rs)
	return nil
}

func (q *queue) Reject(epoch string, r tidegate.Range, why string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rejected[epoch] == nil {
		q.rejected[epoch] = &tidegate.Ranges{}
	}
	q.rejected[epoch].Add(r)
	q.why = append(q.why, fmt.Sprintf("%s %d-%d: %s", epoch, r.First, r.Last, why))
	return nil
}

func (q *queue) decode(dst []tidegate.Record, _ tidegate.Class, first uint64, body []byte) ([]tidegate.Record, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.badBody[first] {
		return dst, errors.New("wrong version 9, want 1")
	}
	var i int
	if _, err := fmt.Sscan(string(body), &i); err != nil {
		return dst, err
	}
	return append(dst, q.recs[i]...), nil
}

// left returns how many records are neither done nor rejected.
func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := uint64(0)
	for _, frames := range q.frames {
		for i := range frames {
			w := q.wanted(&frames[i])
			n += w.Len()
		}
	}
	return int(n)
}

// parcel is what the tests' payloads hold.
type parcel struct {
	Ep    string
	Nums  []uint64
	Lens  []int
	Skip  tidegate.Ranges
	Part  wire.Part
	Extra string
}

// encode makes a payload of 20 bytes a reading and some more.
func encode(dst []byte, p *wire.Pack) ([]byte, error) {
	c := parcel{Ep: p.Epoch, Skip: p.Skip, Part: p.Part}
	n := 0
	for i := range p.Records {
		c.Nums = append(c.Nums, p.Records[i].Number)
		c.Lens = append(c.Lens, len(p.Records[i].Readings))
		n += len(p.Records[i].Readings)
	}
	c.Extra = string(bytes.Repeat([]byte("x"), 20*n))
	b, err := json.Marshal(&c)
	return append(dst, b...), err
}

func decodeParcel(payload []byte) (parcel, error) {
	var c parcel
	if len(payload) > 2 && payload[0] == 0x1f {
		z, err := gzip.NewReader(bytes.NewReader(payload))
		if err != nil {
			return c, err
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(z); err != nil {
			return c, err
		}
		payload = b.Bytes()
	}
	return c, json.Unmarshal(payload, &c)
}

// far is the far side over all connections.
type far struct {
	mu    sync.Mutex
	t     testing.TB
	has   map[string]map[uint64]int // epoch -> number -> times
	order [4][]string               // new records in the order of arrival, by lane
	sent  []parcel
	lanes []Lane
	when  []time.Time
	opens int

	latency time.Duration
	rate    int // bytes per second; 0 = no limit
	down    func() bool
	refuse  func(p parcel, b Batch) error
	cut     func(l *wireLink, p parcel, n int) bool // after handing over: the connection ends
	noAck   func(p parcel) bool
	wrongID bool
	lose    func(p parcel) bool // acknowledged but not kept
	links   []*wireLink
	peak    int // most batches in flight
	peakB   int // most bytes in flight
	early   []Confirmation
	ledger  *tidegate.Ranges // instead of has and order, for long lines of numbers of one epoch
}

func newFar(t testing.TB) *far { return &far{t: t, has: map[string]map[uint64]int{}} }

var errCut = errors.New("connection reset")

func (s *far) open(ctx context.Context) (Uplink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens++
	if s.down != nil && s.down() {
		return nil, errors.New("connection refused")
	}
	l := &wireLink{s: s, kick: make(chan struct{}, 1)}
	for _, c := range s.early {
		l.acks = append(l.acks, ackAt{at: time.Now(), c: c})
	}
	s.links = append(s.links, l)
	return l, nil
}

type ackAt struct {
	at    time.Time // it is acknowledged
	there time.Time // it arrives
	c     Confirmation
	bytes int
	p     *parcel
	lane  Lane
	done  bool
}

// wireLink is one connection to far.
type wireLink struct {
	s      *far
	free   time.Time
	acks   []ackAt // in the order of sending
	dead   error
	kick   chan struct{}
	n      int
	closed bool
}

func (l *wireLink) inFlight() (n, b int) {
	for _, a := range l.acks {
		if a.c.Batch != 0 {
			n++
			b += a.bytes
		}
	}
	return n, b
}

func (l *wireLink) Send(_ context.Context, b Batch) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.dead != nil {
		return l.dead
	}
	p, err := decodeParcel(b.Payload)
	if err != nil {
		l.s.t.Errorf("payload: %v", err)
	}
	if l.s.refuse != nil {
		if err := l.s.refuse(p, b); err != nil {
			return err
		}
	}
	l.n++
	l.s.sent, l.s.lanes, l.s.when = append(l.s.sent, p), append(l.s.lanes, b.Lane), append(l.s.when, time.Now())
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	if l.s.rate > 0 {
		l.free = l.free.Add(time.Duration(float64(len(b.Payload)) / float64(l.s.rate) * float64(time.Second)))
	}
	a := ackAt{at: l.free.Add(l.s.latency), c: Confirmation{Batch: b.ID}, bytes: len(b.Payload), p: &p, lane: b.Lane}
	a.there = a.at.Add(-l.s.latency / 2)
	for _, b := range l.acks { // in order, whatever became of rate and latency
		if b.there.After(a.there) {
			a.there = b.there
		}
	}
	if a.there.After(a.at) {
		a.at = a.there
	}
	if l.s.noAck != nil && l.s.noAck(p) {
		a.at = now.Add(1e6 * time.Hour)
	}
	if l.s.wrongID {
		a.c.Batch += 1000
	}
	l.acks = append(l.acks, a)
	n, bytes := l.inFlight()
	l.s.peak, l.s.peakB = max(l.s.peak, n), max(l.s.peakB, bytes)
	if l.s.cut != nil && l.s.cut(l, p, l.n) {
		l.die()
	}
	return nil
}

// die ends the connection: what has not arrived never will.
func (l *wireLink) die() {
	l.arrive()
	l.dead = errCut
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// arrive stores what has come through by now.
func (l *wireLink) arrive() {
	for i := range l.acks {
		a := &l.acks[i]
		if a.p == nil || a.done || a.there.After(time.Now()) {
			continue
		}
		a.done = true
		if l.s.lose != nil && l.s.lose(*a.p) {
			continue
		}
		l.s.store(*a.p, a.lane)
	}
}

func (s *far) store(p parcel, lane Lane) {
	if p.Part.Total > 1 && p.Part.Index < p.Part.Total {
		return
	}
	if s.has[p.Ep] == nil {
		s.has[p.Ep] = map[uint64]int{}
	}
	for _, n := range p.Nums {
		if s.ledger != nil {
			break
		}
		if s.has[p.Ep][n]++; s.has[p.Ep][n] == 1 {
			s.order[lane] = append(s.order[lane], fmt.Sprintf("%6s/%09d", p.Ep, n))
		}
	}
	if s.ledger != nil {
		s.ledger.AddAll(p.Skip)
		for _, n := range p.Nums {
			s.ledger.Add(tidegate.Range{First: n, Last: n})
		}
		return
	}
	for _, r := range p.Skip {
		for n := r.First; n <= r.Last; n++ {
			s.has[p.Ep][n]++
		}
	}
}

func (l *wireLink) Confirmed(ctx context.Context, wake <-chan struct{}) ([]Confirmation, error) {
	for {
		out, next, err := l.come()
		if err != nil || len(out) > 0 {
			return out, err
		}
		d := 1e6 * time.Hour
		if !next.IsZero() {
			d = time.Until(next)
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-l.kick:
		case <-wake:
			t.Stop()
			return nil, nil
		case <-ctx.Done():
			t.Stop()
			return nil, nil
		}
		t.Stop()
	}
}

// come returns what is confirmed by now, else when something will be.
func (l *wireLink) come() (out []Confirmation, next time.Time, err error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.arrive()
	if l.dead != nil {
		return nil, next, l.dead
	}
	var keep []ackAt
	for _, a := range l.acks {
		if a.at.After(time.Now()) {
			keep = append(keep, a)
			if next.IsZero() || a.at.Before(next) {
				next = a.at
			}
			continue
		}
		out = append(out, a.c)
	}
	l.acks = keep
	return out, next, nil
}

func (l *wireLink) Close() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.arrive()
	l.closed = true
	return nil
}

// give puts a receipt on the way.
func (l *wireLink) give(c Confirmation) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.acks = append(l.acks, ackAt{at: time.Now(), c: c})
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// checkOrder checks that new records arrived in rising order in each lane.
func (s *far) checkOrder(t interface {
	Helper()
	Errorf(string, ...any)
},
) {
	t.Helper()
	for i, names := range s.order {
		for j := 1; j < len(names); j++ {
			if names[j] <= names[j-1] {
				t.Errorf("lane %v: record %s arrived after %s", Lane(i), names[j], names[j-1])
				break
			}
		}
	}
}
