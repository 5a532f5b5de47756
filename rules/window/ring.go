package window

// A bucket is what is kept of the readings of one stretch of time, or of one chunk of readings.
type bucket struct {
	agg
	k    uint64  // its number: it begins at k times the width, or at reading k times chunk
	part uint8   // of the state
	ends *ends   // nil where they are not needed
	bins *sketch // nil where they are not needed; Last needs none
}

// stride is how many buckets lie between two marks.
const stride = 8

// A ring is a queue of buckets, the newest of which grows. All but the lo oldest are summed up, by adding readings and by merging buckets:
// nothing is ever subtracted, so nothing drifts. For that, the closed ones are cut in two: the older part (front of them) has marks from its
// end, so that when the oldest bucket leaves, at most stride buckets, one mark and the younger part's sum are merged anew. When the front
// is used up, the younger part becomes the front. A bucket that comes and goes costs about six merges, however many there are.
type ring struct {
	slots []bucket
	tail  int // the newest, in slots
	n     int
	lo    int   // how many of the oldest the sum leaves out
	what  Needs // what is merged
	shown int   // Tumbling: the bucket of the last complete span, in slots; -1 = that span is empty
	head  int   // the oldest, in slots
	limit int   // buckets at most, up to 64
	front int
	marks []agg // marks[i] = the last i*stride buckets of the front, as it was when it became the front
	back  agg   // closed buckets behind the front
	told  agg   // all but the lo oldest buckets
}

// place returns where in slots the bucket i is, the oldest being 0.
func (r *ring) place(i int) int {
	i += r.head
	if i >= len(r.slots) {
		i -= len(r.slots)
	}
	return i
}

// room makes room for one more bucket; at limit buckets there is none.
func (r *ring) room() {
	if r.n < len(r.slots) {
		return
	}
	bigger := make([]bucket, min(max(2*r.n, 1), r.limit))
	for i := range r.n {
		bigger[i] = r.slots[r.place(i)]
	}
	r.slots, r.head, r.tail = bigger, 0, max(r.n-1, 0)
}

// enter closes the newest bucket and returns a new one.
func (r *ring) enter() *bucket {
	r.room()
	if r.n > r.lo {
		r.back.merge(&r.slots[r.tail].agg, r.what)
	}
	r.tail = r.place(r.n)
	r.n++
	b := &r.slots[r.tail]
	b.agg = agg{}
	return b
}

// leave takes the oldest bucket out and returns its part. Its memory is the next bucket's.
func (r *ring) leave() (part uint8) {
	part = r.slots[r.head].part
	r.head = r.place(1)
	r.n--
	rest := r.n - 1 - r.lo // closed buckets that remain
	r.told = agg{}
	switch {
	case rest <= 0:
		r.front, r.back = 0, agg{}
	case r.front == 0:
		r.flip(rest)
	default:
		r.front--
	}
	if j := r.front / stride; j > 0 {
		r.told = r.marks[j]
	}
	for i := range r.front % stride {
		r.told.merge(&r.slots[r.place(r.lo+i)].agg, r.what)
	}
	r.resume()
	return part
}

// resume adds what is behind the front to the sum.
func (r *ring) resume() {
	r.told.merge(&r.back, r.what)
	if r.n > r.lo {
		r.told.merge(&r.slots[r.tail].agg, r.what)
	}
}

// flip makes all rest closed buckets the front.
func (r *ring) flip(rest int) {
	if r.marks == nil {
		r.marks = make([]agg, r.limit/stride+1)
	}
	var a agg
	for i := 1; i <= rest; i++ {
		a.merge(&r.slots[r.place(r.lo+rest-i)].agg, r.what)
		if i%stride == 0 {
			r.marks[i/stride] = a
		}
	}
	r.front, r.back = rest, agg{}
}

// rejoin sums everything up anew.
func (r *ring) rejoin() {
	r.front, r.back, r.told = 0, agg{}, agg{}
	for i := r.lo; i < r.n-1; i++ {
		r.back.merge(&r.slots[r.place(i)].agg, r.what)
	}
	r.resume()
}

// push adds a reading to the newest bucket.
func (r *ring) push(v float64) *bucket {
	b := &r.slots[r.tail]
	b.add(v, r.what)
	if r.n > r.lo {
		r.told.add(v, r.what)
	}
	return b
}
