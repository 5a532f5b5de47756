// Package row makes room for things that are looked at one after the other, so that they lie so in memory: then the machine fetches what comes
// next while the one before is looked at. Readings need a little of each of thousands of rules; where that lay scattered, judging took a quarter
// longer.
package row

// most is how many things there is room for at once.
const most = 64

// A Row is where things of one type lie. The zero Row has room; how much it makes at a time doubles, as it is not known how many will come.
type Row[T any] struct {
	left []T
	made int
}

// Take returns room for n things, behind those before. It keeps its place while any of those made at once are used.
func (r *Row[T]) Take(n int) []T {
	if len(r.left) < n {
		r.made = max(n, min(2*r.made, most))
		r.left = make([]T, r.made)
	}
	out := r.left[:n:n]
	r.left = r.left[n:]
	return out
}

// Copy returns list in the row.
func (r *Row[T]) Copy(list []T) []T {
	out := r.Take(len(list))
	copy(out, list)
	return out
}
