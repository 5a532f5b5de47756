package rules

import (
	"container/heap"
	"time"
)

// plan notes when time alone has r looked at again.
func (s *Set) plan(r *rule) {
	at, ok := time.Duration(0), false
	take := func(t time.Duration, has bool) {
		if has && t > s.now && (!ok || t < at) {
			at, ok = t, true
		}
	}
	// What looks at time is not looked at before begun.
	look := func(t time.Duration, has bool) { take(max(t, s.begun), has) }
	if r.parked == "" && r.when != nil {
		if r.timed && !r.looked {
			at, ok = s.begun, true
		}
		look(r.when.Next(s.now))
		if r.clear != nil && r.phase == active {
			look(r.clear.Next(s.now))
		}
		switch {
		case r.phase != pending || r.isBlind:
		case r.When.Timed():
			look(r.since+r.For, true)
		default: // a reading has come, perhaps before begun: it waited while the gateway started
			take(r.since+r.For, true)
		}
	}
	switch {
	case ok && r.heap >= 0 && at == r.due:
	case ok && r.heap >= 0:
		r.due = at
		heap.Fix(&s.due, r.heap)
	case ok:
		r.due = at
		heap.Push(&s.due, r)
	case r.heap >= 0:
		heap.Remove(&s.due, r.heap)
	}
}

// deadlines is a heap of rules by when they are due, then in their order.
type deadlines []*rule

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	if d[i].due != d[j].due {
		return d[i].due < d[j].due
	}
	return d[i].index < d[j].index
}

func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].heap, d[j].heap = i, j
}

func (d *deadlines) Push(x any) {
	r, _ := x.(*rule)
	r.heap = len(*d)
	*d = append(*d, r)
}

func (d *deadlines) Pop() any {
	old := *d
	r := old[len(old)-1]
	*d = old[:len(old)-1]
	r.heap = -1
	return r
}
