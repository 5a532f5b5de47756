package window

import "math"

// A sketch counts readings in bins of equal ratio: bin b and the next are 2^(1/35) = 1.02 apart, so that the middle of a bin is within 1 %
// of whatever lies in it. Zero has a bin of its own, and negative values mirror the positive ones. Counts are whole numbers: what is taken
// out of a sketch leaves no trace.
type sketch struct {
	bins []bin // by number, none empty
	near int   // where the last one was found
}

// A bin is a number of readings of about one size: b = 0 is zero, b > 0 counts up from the least positive double that is told from zero,
// b < 0 is the negative of -b.
type bin struct {
	b int32
	n uint64
}

const (
	octave  = 35                          // bins from a value to its double
	least   = -1022                       // exponent of two of the first bin: below are the subnormal numbers, which count as zero
	top     = (1023 - least + 1) * octave // the last bin
	maxBins = 256                         // of one bucket, besides that of zero
)

// edges are the lower ends of the bins within an octave, 2^(j/35), with the next octave's first behind.
var edges = [octave + 1]float64{
	1.0, 1.0200016094211992, 1.0404032832218364, 1.0612130233333728, 1.0824389917387767, 1.1040895136738123,
	1.1261730808923576, 1.148698354997035, 1.1716741708364595, 1.195109539970438, 1.2190136542044754, 1.2433958891949821,
	1.2682658081265845, 1.293633165462994, 1.3195079107728942, 1.3459001926323562, 1.3728203626053053, 1.4002789793036055,
	1.4282868125283514, 1.456854847493993, 1.4859942891369484, 1.515716566510398, 1.5460333372669801, 1.5769564922311472,
	1.6084981600629789, 1.640670712015276, 1.673486766785806, 1.706959195466601, 1.7411011265922482, 1.775925951289156,
	1.8114473285278134, 1.8476791904801013, 1.8846357479837614, 1.9223314961161622, 1.960781219879547, 2.0,
}

// number returns the bin of v, which is finite.
func number(v float64) int32 {
	bits := math.Float64bits(v)
	e := int32(bits >> 52 & 0x7ff)
	if e == 0 {
		return 0
	}
	m := math.Float64frombits(bits&(1<<52-1) | 1023<<52) // 1 to 2
	j := int32(octave * ((2-m/3)*m - 5./3))              // near the logarithm; at most one bin off, which the next lines mend
	for m < edges[j] {
		j--
	}
	for m >= edges[j+1] {
		j++
	}
	b := (e-1)*octave + j + 1
	if v < 0 {
		return -b
	}
	return b
}

// middle returns the value that stands for all in bin b: as far from its ends, by their size.
func middle(b int32) float64 {
	if b == 0 {
		return 0
	}
	i := max(b, -b) - 1
	v := math.Ldexp(edges[i%octave]*(2*edges[1]/(1+edges[1])), int(i/octave)+least)
	if b < 0 {
		return -v
	}
	return v
}

func (s *sketch) clear() { s.bins, s.near = s.bins[:0], 0 }

// find returns where bin b is, or where it would be.
func (s *sketch) find(b int32) (i int, ok bool) {
	if s.near < len(s.bins) && s.bins[s.near].b == b {
		return s.near, true
	}
	lo, hi := 0, len(s.bins)
	for lo < hi {
		if mid := (lo + hi) / 2; s.bins[mid].b < b {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	s.near = lo
	return lo, lo < len(s.bins) && s.bins[lo].b == b
}

// add counts n readings of bin b.
func (s *sketch) add(b int32, n uint64) {
	i, ok := s.find(b)
	if !ok {
		s.bins = append(s.bins, bin{})
		copy(s.bins[i+1:], s.bins[i:])
		s.bins[i] = bin{b: b}
	}
	s.bins[i].n += n
}

// sub takes back n readings of bin b, which are there.
func (s *sketch) sub(b int32, n uint64) {
	i, _ := s.find(b)
	if s.bins[i].n -= n; s.bins[i].n == 0 {
		s.bins = append(s.bins[:i], s.bins[i+1:]...)
	}
}

// take counts a reading of bin b in a bucket, and in all, the sketch of all buckets, unless that is nil. A bucket has maxBins bins
// besides that of zero: with one more, the readings of its smallest magnitude count as zero, there and in all.
func (s *sketch) take(b int32, all *sketch) {
	if _, ok := s.find(b); !ok && b != 0 {
		b = s.admit(b, all)
	}
	s.add(b, 1)
	if all != nil {
		all.add(b, 1)
	}
}

// admit makes room for bin b, which the bucket does not have, or returns 0, the bin in its place.
func (s *sketch) admit(b int32, all *sketch) int32 {
	i, hasZero := s.find(0)
	j := i // the least positive bin
	if hasZero {
		j++
	}
	if len(s.bins)-(j-i) < maxBins {
		return b
	}
	if i > 0 && (j == len(s.bins) || -s.bins[i-1].b <= s.bins[j].b) {
		j = i - 1
	}
	low := s.bins[j]
	if max(b, -b) <= max(low.b, -low.b) {
		return 0
	}
	s.sub(low.b, low.n)
	s.add(0, low.n)
	if all != nil {
		all.sub(low.b, low.n)
		all.add(0, low.n)
	}
	return b
}

// join adds all that o counts.
func (s *sketch) join(o *sketch) {
	for _, x := range o.bins {
		s.add(x.b, x.n)
	}
}

// remove takes out all that o counts, which is there.
func (s *sketch) remove(o *sketch) {
	if len(o.bins) == 0 {
		return
	}
	from, _ := s.find(o.bins[0].b)
	to := from
	for _, x := range o.bins {
		for s.bins[from].b < x.b {
			s.bins[to] = s.bins[from]
			from, to = from+1, to+1
		}
		if s.bins[from].n > x.n {
			s.bins[to] = bin{x.b, s.bins[from].n - x.n}
			to++
		}
		from++
	}
	s.bins = s.bins[:to+copy(s.bins[to:], s.bins[from:])]
}

// rank returns the value of the reading that is number rank of n from below, counted from 1.
func (s *sketch) rank(rank, n uint64) float64 {
	if rank <= n/2 {
		i := 0
		for ; rank > s.bins[i].n; i++ {
			rank -= s.bins[i].n
		}
		return middle(s.bins[i].b)
	}
	i := len(s.bins) - 1
	for rest := n - rank; rest >= s.bins[i].n; i-- {
		rest -= s.bins[i].n
	}
	return middle(s.bins[i].b)
}
