package window

import "time"

// A tape is what a Window of the last N readings keeps besides its ring: the readings themselves, in chunks. A chunk's part is its place.
// The oldest chunk, of which some readings may be gone, is summed up from them, once for all that will remain of it.
type tape struct {
	values []float64
	times  []time.Duration // nil where they are not needed
	next   uint64          // number of the next reading
	skip   int             // readings of the oldest chunk that are gone
	rests  []agg           // rests[i] = the oldest chunk's readings from number i
	rested bool            // rests are those of the oldest chunk, which is full
	mixed  agg             // what was last told
}

// at returns reading i of chunk b.
func (t *tape) at(b *bucket, i int) Stamp {
	i += int(b.part) * chunk
	s := Stamp{Value: t.values[i]}
	if t.times != nil {
		s.At = t.times[i]
	}
	return s
}

// record takes in a reading of a window of the last N.
func (w *Window) record(at time.Duration, v float64) {
	w.shed(w.next + 1)
	if w.n == 0 || w.slots[w.tail].n == chunk {
		k := w.next / chunk
		w.open(k, uint8(k%uint64(w.limit)))
	}
	b := w.push(v)
	i := int(b.part)*chunk + int(b.n) - 1
	w.values[i] = v
	if w.times != nil {
		w.times[i] = at
	}
	if w.what&Quantiles != 0 {
		w.all.add(number(v), 1)
	}
	w.dirty |= 1 << b.part
	w.next++
}

// shed forgets readings until what remains are none but the last N of next.
func (w *Window) shed(next uint64) {
	for w.n > 0 {
		b := &w.slots[w.head]
		if b.k*chunk+uint64(w.skip)+uint64(w.spec.N) >= next {
			return
		}
		if w.what&Quantiles != 0 {
			w.all.sub(number(w.at(b, w.skip).Value), 1)
		}
		if w.skip++; w.skip == chunk {
			w.skip, w.rested = 0, false
			w.drop()
		}
	}
}

// oldest puts what remains of the oldest chunk into a.
func (w *Window) oldest(a *agg) {
	*a = agg{}
	if w.n == 0 {
		return
	}
	switch b := &w.slots[w.head]; {
	case w.skip == 0:
		*a = b.agg
	case b.n < chunk:
		for _, v := range w.values[int(b.part)*chunk+w.skip:][:int(b.n)-w.skip] {
			a.add(v, w.what)
		}
	default:
		if !w.rested {
			w.rested = true
			var rest agg
			for i := chunk - 1; i >= 0; i-- {
				rest.add(w.values[int(b.part)*chunk+i], w.what)
				w.rests[i] = rest
			}
		}
		*a = w.rests[w.skip]
	}
}
