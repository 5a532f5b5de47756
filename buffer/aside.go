package buffer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

const (
	// maxAside bounds what is set aside: beyond it the oldest goes. A far side that refuses everything must not fill the disk.
	maxAside = 8 << 20
	// maxCut is the largest body of records cut from a frame; of more the whole frame is kept, which is compressed.
	maxCut = 64 << 10
	// asidePairs is how many values one transaction sets aside or drops.
	asidePairs = 1000
)

// setAside stores the rejected records of d, in transactions of their own, as few as there can be: the declaration is committed only after
// them, and a second time overwrites the first.
func (q *Queue) setAside(d *Declaration) error {
	var list []disk.Pair
	err := q.eachFrame(d.Epoch, d.Ranges, func(f Frame, rs tidegate.Ranges) {
		for _, r := range q.notDone(d.Uplink, &f, rs) {
			a := q.asideOf(&f, r, d)
			list = append(list, disk.Pair{Key: stored.RejectedKey(a.Uplink, a.Epoch, a.First), Value: a.Encode()})
		}
	})
	q.mu.Lock()
	q.shelved[d.Epoch] = true
	q.mu.Unlock()
	for err == nil && len(list) > 0 {
		n, size := 0, 0
		for ; n < len(list) && (n == 0 || n < asidePairs && size+len(list[n].Value) <= disk.MaxWrite/2); n++ {
			size += len(list[n].Value) + q.lockCost()
		}
		if err = q.dropAside(int64(size)); err == nil {
			err = q.beside(list[:n], nil)
		}
		q.aside += int64(size)
		q.mu.Lock()
		q.asideBy[q.keys.To()] += n
		q.mu.Unlock()
		list = list[n:]
	}
	if err != nil {
		return fmt.Errorf("set records aside: %w", err)
	}
	return nil
}

// notDone returns those of rs, all of f, that are not done for the uplink: a receipt may have come since it was rejected.
func (q *Queue) notDone(uplink string, f *Frame, rs tidegate.Ranges) (out tidegate.Ranges) {
	c, err := q.Cursor(uplink)
	if err != nil {
		return rs
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range rs {
		out.AddAll(c.done[stored.Stream{Class: f.Class, Epoch: f.Epoch}].Missing(r))
	}
	return out
}

// eachFrame calls f with the frames that hold numbers of rs, and those numbers. What cannot be read is left out.
func (q *Queue) eachFrame(e uint32, rs tidegate.Ranges, f func(Frame, tidegate.Ranges)) error {
	if len(rs) == 0 {
		return nil
	}
	span := tidegate.Range{First: rs[0].First, Last: rs[len(rs)-1].Last}
	rest := rs.Clone()
	var frames []Frame
	var segments []segment
	q.mu.Lock()
	for class := range q.segments {
		frames = append(frames, q.tails[class].overlapping(e, span)...)
		for _, s := range q.segments[class] {
			if s.Epoch == e && len(s.held(rs)) > 0 {
				segments = append(segments, *s)
			}
		}
	}
	q.mu.Unlock()
	take := func(fr Frame) {
		if part := rest.Within(tidegate.Range{First: fr.First, Last: fr.Last}); len(part) > 0 {
			f(fr, part)
			for _, r := range part {
				rest.Remove(r)
			}
		}
	}
	for _, fr := range frames {
		take(fr)
	}
	for i := range segments {
		need := segments[i].held(rest)
		if len(need) == 0 {
			continue
		}
		_, err := q.walk(&segments[i], need[0].First, func(fr Frame, _ tidegate.Ranges) bool {
			take(fr)
			return fr.Last < need[len(need)-1].Last
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// asideOf makes what is kept of the records r of f.
func (q *Queue) asideOf(f *Frame, r tidegate.Range, d *Declaration) stored.Aside {
	a := stored.Aside{Uplink: d.Uplink, Epoch: d.Epoch, First: r.First, Last: r.Last, Class: f.Class, Why: d.Why, Skip: int(r.First - f.First), Thin: f.Thin}
	b, err := q.o.Cut(f.Body, a.Skip, int(r.Len()))
	switch {
	case err == nil && len(b) <= maxCut:
		a.Body, a.Skip = b, 0
	default: // also where the frame cannot be decoded, which may be why it was rejected
		a.Body = append([]byte(nil), f.Body...)
	}
	return a
}

// dropAside makes room for so many bytes, and for a quarter of all beside, so that looking for the oldest is rare.
func (q *Queue) dropAside(size int64) error {
	if q.aside+size <= maxAside {
		return nil
	}
	type aside struct {
		key            []byte
		written, bytes int64
	}
	var list []aside
	q.aside = 0
	err := q.disk.Each([]byte{stored.KeyRejected}, func(k, v []byte, written uint64) error {
		n := int64(len(v) + q.lockCost())
		list = append(list, aside{slices.Clone(k), int64(written), n})
		q.aside += n
		return nil
	})
	slices.SortStableFunc(list, func(a, b aside) int { return cmp.Compare(a.written, b.written) })
	for err == nil && len(list) > 0 && q.aside+size > maxAside*3/4 {
		var keys [][]byte
		for ; len(list) > 0 && len(keys) < asidePairs && q.aside+size > maxAside*3/4; list = list[1:] {
			keys = append(keys, list[0].key)
			q.aside -= list[0].bytes
		}
		err = q.beside(nil, keys)
	}
	if err != nil {
		return fmt.Errorf("drop the oldest: %w", err)
	}
	return nil
}

// Aside calls f with everything that was set aside, by uplink, in the order of their numbers.
func (q *Queue) Aside(f func(stored.Aside) error) error {
	return q.eachAside("", func(a stored.Aside, _ int64) error { return f(a) })
}

// eachAside is Aside for one uplink, "" = all, with the bytes that each takes.
func (q *Queue) eachAside(uplink string, f func(a stored.Aside, size int64) error) error {
	prefix := []byte{stored.KeyRejected}
	if uplink != "" {
		prefix = append(append(append(prefix, '|'), uplink...), '|')
	}
	return q.disk.Each(prefix, func(key, v []byte, _ uint64) error {
		_, rest, _ := strings.Cut(string(key), "|")
		uplink, place, ok := strings.Cut(rest, "|")
		if !ok || len(place) != 12 {
			return fmt.Errorf("key %q: %w", key, ErrDamaged)
		}
		a, err := stored.DecodeAside(uplink, binary.BigEndian.Uint32([]byte(place)), binary.BigEndian.Uint64([]byte(place[4:])), v)
		if err != nil {
			return err
		}
		return f(a, int64(len(v)+q.lockCost()))
	})
}
