package buffer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// ErrKey is wrapped where a key is missing that something in the store is sealed with. Nothing is damaged by that, and nothing is to be given up for it.
var ErrKey = seal.ErrKey

// resealBytes is about how much one commit, or one Retain, seals anew beside what is new.
const resealBytes = 64 << 10

// A KeyUse is what the store holds that is sealed with one key.
type KeyUse struct {
	Key      seal.ID // 0 = it lies there in the clear
	Frames   uint64  // 0 where Key is 0: they are not counted
	Records  uint64  // of the frames
	Readings uint64  // of the frames
	Rules    int     // what so many rules keep
	Aside    int     // runs of records that are set aside
}

func (u *KeyUse) none() bool { return u.Records == 0 && u.Rules == 0 && u.Aside == 0 }

// String says what it is, without the key.
func (u *KeyUse) String() string {
	return fmt.Sprintf("%d frames of %d readings, what %d rules keep and %d runs of records set aside", u.Frames, u.Readings, u.Rules, u.Aside)
}

// usesLocked returns what is sealed with which key, first with the one that is sealed with now, also where that is none. Others are there as long as the
// keys hold them, or something is left.
func (q *Queue) usesLocked(keys *seal.Keys) []KeyUse {
	by := map[seal.ID]*KeyUse{}
	of := func(id seal.ID) *KeyUse {
		if by[id] == nil {
			by[id] = &KeyUse{Key: id}
		}
		return by[id]
	}
	for _, id := range keys.IDs() {
		of(id)
	}
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if !s.Gone && !s.Dropping {
				u := of(s.Sealed)
				u.Frames += s.Frames
				u.Records += s.Records
				u.Readings += s.Readings
			}
		}
	}
	of(q.keys.To()).Rules += len(q.rules)
	for name, id := range q.stale {
		if _, ok := q.rules[name]; ok {
			by[q.keys.To()].Rules--
		}
		of(id).Rules++
	}
	for id, n := range q.asideBy {
		of(id).Aside += n
	}
	list := make([]KeyUse, 0, len(by))
	for _, u := range by {
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b KeyUse) int {
		switch now := q.keys.To(); now {
		case a.Key:
			return -1
		case b.Key:
			return 1
		}
		return cmp.Compare(a.Key, b.Key)
	})
	return list
}

// missingLocked returns an error wrapping ErrKey where something is sealed with a key that is not in keys.
func (q *Queue) missingLocked(keys *seal.Keys) error {
	for _, u := range q.usesLocked(keys) {
		if !u.none() && !keys.Has(u.Key) {
			return fmt.Errorf("the store in %s holds %s that are sealed with key %s, and the keys are %s: %w", q.o.Dir, &u, u.Key, keys, ErrKey)
		}
	}
	return nil
}

// lookAtKeys finds out what all is sealed with and puts segments in order, for a start, once the indexes are read. The error wraps ErrKey where a key is missing.
func (q *Queue) lookAtKeys() error {
	to := q.keys.To()
	err := q.disk.Locked(stored.MetaKey(stored.MetaRule, ""), func(key, _ []byte, with seal.ID) error {
		if _, name := stored.ParseMeta(key); with != to {
			q.stale[name] = with
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = q.disk.Locked([]byte{stored.KeyRejected}, func(_, value []byte, with seal.ID) error {
		q.asideBy[with]++
		q.aside += int64(len(value))
		return nil
	})
	if err != nil {
		return err
	}
	for class := range q.segments {
		sortSegments(q.segments[class])
	}
	q.closeOthersLocked()
	return q.missingLocked(q.keys)
}

// closeOthersLocked lets no frame go into a segment that is sealed with another key than that of now, nor into one that another one follows, as cursors read one
// after the other: one whose key is that of now again, or behind which something came back. Until it is dropped, it is closed anew at each start.
func (q *Queue) closeOthersLocked() {
	for class := range q.segments {
		list := q.segments[class]
		for i, s := range list {
			isLast := i+1 == len(list) || list[i+1].Epoch != s.Epoch
			s.Closed = s.Closed || s.Sealed != q.keys.To() || !isLast
		}
	}
}

// SetKeys has everything that is written from now on sealed with another key, or not at all. What rules keep and what is set aside is sealed anew with the next
// commits, frames stay as they are. It waits for a commit under way. Where something is sealed with a key that is not in keys, nothing is changed, and the
// error wraps ErrKey. Any goroutine may call it.
func (q *Queue) SetKeys(keys *seal.Keys) error {
	q.sealing.Lock()
	defer q.sealing.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if keys.Same(q.keys) {
		return nil
	}
	if q.failure != nil { // what it has written nobody knows, and the same segments have to take it again
		return fmt.Errorf("the key can be changed when a commit has gone well: %w", q.failure)
	}
	if err := q.missingLocked(keys); err != nil {
		return err
	}
	for name := range q.rules {
		if _, ok := q.stale[name]; !ok {
			q.stale[name] = q.keys.To()
		}
	}
	q.keys = keys
	maps.DeleteFunc(q.stale, func(_ string, with seal.ID) bool { return with == keys.To() })
	q.disk.SetKeys(keys)
	q.closeOthersLocked()
	q.noteMoved()
	return nil
}

// planStale adds some of what rules keep that is not sealed with the key of now, and does not change with c anyway.
func (q *Queue) planStale(w *write, c *Commit) {
	sum := 0
	for name := range q.stale {
		state, kept := q.rules[name]
		if _, changes := c.Rules[name]; changes || kept && w.size+len(state) > disk.MaxWrite*3/4 {
			continue
		}
		w.resealed = append(w.resealed, name)
		if kept { // else it was forgotten
			w.put(stored.MetaKey(stored.MetaRule, name), stored.Seal(state))
		}
		if sum += len(state); sum > resealBytes {
			return
		}
	}
}

// isStaleLocked reports whether something is to be sealed anew.
func (q *Queue) isStaleLocked() bool {
	for id, n := range q.asideBy {
		if id != q.keys.To() && n > 0 {
			return true
		}
	}
	return len(q.stale) > 0
}

// resealAside seals some of what is set aside anew, where it is not sealed with the key of now. It counts as written now: among what was set aside
// before the key changed, the oldest are no longer the first to go.
func (q *Queue) resealAside() error {
	q.mu.Lock()
	keys, stale := q.keys, q.isStaleLocked()
	q.mu.Unlock()
	if !stale {
		return nil
	}
	var list []disk.Pair
	size, by := 0, map[seal.ID]int{}
	err := q.disk.Locked([]byte{stored.KeyRejected}, func(key, value []byte, with seal.ID) error {
		if with != keys.To() && size < resealBytes {
			v, err := stored.Unlock(keys, key, value)
			if err != nil {
				return err
			}
			list = append(list, disk.Pair{Key: slices.Clone(key), Value: slices.Clone(v)})
			size += len(v) + stored.Overhead
			with = keys.To()
		}
		by[with]++
		return nil
	})
	if err == nil && len(list) > 0 {
		if err = q.disk.MakeSpace(int64(size), relief{q}); err == nil {
			err = q.beside(list, nil)
		}
	}
	if err != nil {
		return fmt.Errorf("seal what is set aside anew: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asideBy = by
	return nil
}

// lockCost is how many bytes more a value takes that is sealed with the key of now.
func (q *Queue) lockCost() int {
	if q.keys.To() == 0 {
		return 0
	}
	return stored.Overhead
}
