// Package hold keeps for a while the readings that filters took, in bounded memory, and gives out those around an instant. It knows no rule and
// no clock; times are boot times.
package hold

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
)

// Bounds of what one Hold keeps; the oldest reading falls out first.
const (
	MaxReadings = 100_000
	MaxBytes    = 16 << 20
	// readingBytes is what a reading takes beside its texts.
	readingBytes = 160
)

// slack is for how much longer than a Snapshot says readings are kept: what fires late is dated to when it was due, and readings have times of
// their own of up to ten seconds before.
const slack = 11 * time.Second

// A Snapshot says which of the readings that filters took are wanted after all, around the instant at which its rule becomes active.
type Snapshot struct {
	Channels []string      // "device.channel"; * stands for any characters
	Before   time.Duration // for how long before
	After    time.Duration // for how long behind
}

// Check says what is wrong with s.
func (s *Snapshot) Check() error {
	switch {
	case len(s.Channels) == 0:
		return errors.New("snapshot names no channel")
	case s.Before < 0 || s.After < 0 || s.Before+s.After == 0:
		return fmt.Errorf("snapshot of no time (got %v before, %v after)", s.Before, s.After)
	}
	return nil
}

// String says what s does, for people.
func (s *Snapshot) String() string {
	return fmt.Sprintf("keep all of %s from %v before to %v after", strings.Join(s.Channels, ", "), s.Before, s.After)
}

// Concerns reports whether s is of the channel called name.
func (s *Snapshot) Concerns(name string) bool { return filter.MatchAny(s.Channels, name) }

// Mark returns a fingerprint of s.
func (s *Snapshot) Mark() uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%q %d %d", s.Channels, s.Before, s.After) // a hash takes all bytes
	return h.Sum32()
}

// Kept is a reading that a filter took. Its Time is its own, and is set.
type Kept struct {
	tidegate.Reading
	At      time.Duration        // boot time that counts for it
	Quality tidegate.TimeQuality // of its Time
	Thinned bool                 // others stand for it; else it was dropped, or not new
	seen    time.Duration        // newest boot time of a record by then
}

// Texts returns how many bytes its texts have: value and fault.
func (k *Kept) Texts() int {
	_, _, text := k.Value.Raw()
	return len(text) + len(k.Fault)
}

// Bytes returns about how much memory it takes.
func (k *Kept) Bytes() int { return readingBytes + k.Texts() }

// A Hold keeps readings for the Views on it. It is not safe for concurrent use.
type Hold struct {
	views    []*View
	groups   []*Group
	start    time.Duration
	newest   time.Duration // boot time of a record
	readings int
	bytes    int
}

// New returns a Hold that has kept nothing before the boot time start.
func New(start time.Duration) *Hold { return &Hold{start: start} }

// A Group keeps the readings of the channels that the same Views want: each once, for as long as the longest of them wants. So what one View wants
// for ten minutes is not crowded out by what another wants for a second of many more channels.
type Group struct {
	h       *Hold
	views   []*View
	longest time.Duration
	list    tape
	lost    time.Duration // newest boot time of what fell out for want of room
}

// Group returns what keeps the channel called name, "device.channel"; nil when no View wants it.
func (h *Hold) Group(name string) *Group {
	g := &Group{h: h, lost: math.MinInt64}
	for _, w := range h.views {
		if w.Concerns(name) {
			g.views = append(g.views, w)
			g.longest = max(g.longest, w.Before)
		}
	}
	if g.views == nil {
		return nil
	}
	for _, other := range h.groups {
		if slices.Equal(other.views, g.views) {
			return other
		}
	}
	h.groups = append(h.groups, g)
	for _, w := range g.views {
		w.groups = append(w.groups, g)
	}
	return g
}

// IsOpen reports whether a reading that was read at boot time at goes on whatever filters say.
func (g *Group) IsOpen(at time.Duration) bool {
	for _, w := range g.views {
		if w.isOpen(at) {
			return true
		}
	}
	return false
}

// Keep keeps a reading that a filter took, of a record that ended at boot time boot.
func (g *Group) Keep(boot time.Duration, k Kept) {
	h := g.h
	h.newest = max(h.newest, boot)
	k.seen = h.newest
	for g.list.n > 0 && g.list.at(0).seen < h.newest-g.longest-slack {
		g.drop()
	}
	g.list.push(k)
	h.readings++
	h.bytes += k.Bytes()
	for h.readings > MaxReadings || h.bytes > MaxBytes {
		oldest := g
		for _, other := range h.groups {
			if other.list.n > 0 && other.list.at(0).seen < oldest.list.at(0).seen {
				oldest = other
			}
		}
		oldest.lost = max(oldest.lost, oldest.list.at(0).At)
		oldest.drop()
	}
}

// drop forgets the oldest reading.
func (g *Group) drop() {
	g.h.readings--
	g.h.bytes -= g.list.at(0).Bytes()
	g.list.pop()
}

// take moves those that want is true for from g to the end of out. It looks at none that is older than from.
func (g *Group) take(out []Kept, from time.Duration, want func(at time.Duration) bool) []Kept {
	first := g.list.n
	for first > 0 && g.list.at(first-1).seen >= from {
		first--
	}
	n := 0
	for i := first; i < g.list.n; i++ {
		if want(g.list.at(i).At) {
			n++
		}
	}
	out = slices.Grow(out, n)
	stays := first
	for i := first; i < g.list.n; i++ {
		k := g.list.at(i)
		if !want(k.At) {
			if stays < i {
				*g.list.at(stays) = *k
			}
			stays++
			continue
		}
		g.h.readings--
		g.h.bytes -= k.Bytes()
		out = append(out, *k)
	}
	g.list.cut(stays)
	return out
}

// InOrder returns list in the order of time; what has the same stays as it is.
func InOrder(list []Kept) []Kept {
	type place struct {
		at time.Duration
		i  int
	}
	places, isSorted := make([]place, len(list)), true
	for i := range list {
		places[i] = place{list[i].At, i}
		isSorted = isSorted && (i == 0 || list[i-1].At <= list[i].At)
	}
	if isSorted {
		return list
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.at, b.at), a.i-b.i) })
	out := make([]Kept, len(list))
	for i, p := range places {
		out[i] = list[p.i]
	}
	return out
}
