package buffer

import (
	"encoding/binary"
	"fmt"
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
)

// setAside stores the rejected records of d, in transactions of their own: the declaration is committed only after it, and a second
// time overwrites the first.
func (q *Queue) setAside(d *Declaration) error {
	var list []stored.Aside
	err := q.eachFrame(d.Epoch, d.Ranges, func(f Frame, rs tidegate.Ranges) {
		for _, r := range rs {
			list = append(list, q.asideOf(&f, r, d))
		}
	})
	if err != nil {
		return err
	}
	for i := range list {
		a := &list[i]
		b := a.Encode()
		if err := q.dropAside(int64(len(b))); err != nil {
			return err
		}
		key := stored.RejectedKey(a.Uplink, a.Epoch, a.First)
		if err := q.disk.Write([]disk.Pair{{Key: key, Value: b}}, nil); err != nil {
			return fmt.Errorf("set records %d to %d aside: %w", a.First, a.Last, err)
		}
		q.aside += int64(len(b))
	}
	return nil
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
	a := stored.Aside{Uplink: d.Uplink, Epoch: d.Epoch, First: r.First, Last: r.Last, Class: f.Class, Why: d.Why, Skip: int(r.First - f.First)}
	b, err := q.o.Cut(f.Body, a.Skip, int(r.Len()))
	switch {
	case err == nil && len(b) <= maxCut:
		a.Body, a.Skip = b, 0
	default: // also where the frame cannot be decoded, which may be why it was rejected
		a.Body = append([]byte(nil), f.Body...)
	}
	return a
}

// dropAside makes room for so many bytes.
func (q *Queue) dropAside(size int64) error {
	for q.aside+size > maxAside {
		var key []byte
		var oldest uint64
		var freed int64
		err := q.disk.Each([]byte{stored.KeyRejected}, func(k, v []byte, written uint64) error {
			if key == nil || written < oldest {
				key, oldest, freed = append([]byte(nil), k...), written, int64(len(v))
			}
			return nil
		})
		if err == nil && key != nil {
			err = q.disk.Write(nil, [][]byte{key})
		}
		if err != nil {
			return fmt.Errorf("drop the oldest of what is set aside: %w", err)
		}
		if q.aside -= freed; key == nil {
			q.aside = 0
			return nil
		}
	}
	return nil
}

// Aside calls f with everything that was set aside, by uplink, in the order of their numbers.
func (q *Queue) Aside(f func(stored.Aside) error) error {
	return q.disk.Each([]byte{stored.KeyRejected}, func(key, v []byte, _ uint64) error {
		_, rest, _ := strings.Cut(string(key), "|")
		uplink, place, ok := strings.Cut(rest, "|")
		if !ok || len(place) != 12 {
			return fmt.Errorf("key %q: %w", key, ErrDamaged)
		}
		a, err := stored.DecodeAside(uplink, binary.BigEndian.Uint32([]byte(place)), binary.BigEndian.Uint64([]byte(place[4:])), v)
		if err != nil {
			return err
		}
		return f(a)
	})
}
