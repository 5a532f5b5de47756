package wear

import (
	"encoding/binary"
	"time"
)

const (
	// quarter is how finely the last 24 hours are known.
	quarter  = 15 * time.Minute
	quarters = int(24 * time.Hour / quarter)
)

// A day is the bytes of the last 24 hours.
type day struct {
	in    time.Duration        // how long the quarter under way lasts
	known int                  // quarters that are over, at most quarters
	bytes [quarters + 1]uint64 // of the quarter under way, the one before, and so on
}

func (d *day) add(n uint64) { d.bytes[0] += n }

// elapse lets time pass, and returns how many quarters have begun.
func (d *day) elapse(passed time.Duration) (n int) {
	n = int(min((d.in+passed)/quarter, time.Duration(len(d.bytes))))
	d.in = (d.in + passed) % quarter
	copy(d.bytes[n:], d.bytes[:])
	clear(d.bytes[:n])
	d.known = min(d.known+n, quarters)
	return n
}

// sum returns the bytes of the last 24 hours; the quarter that they begin in counts in proportion.
func (d *day) sum() (n uint64) {
	for _, b := range d.bytes[:quarters] {
		n += b
	}
	return n + uint64(float64(d.bytes[quarters])*float64(quarter-d.in)/float64(quarter))
}

// projected returns what a day comes to at the rate of the last quarter that is over.
func (d *day) projected() uint64 {
	if d.known == 0 {
		return 0
	}
	return d.bytes[1] * uint64(quarters)
}

func (d *day) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(d.in))
	b = binary.AppendUvarint(b, uint64(d.known))
	for _, n := range d.bytes[:d.known+1] {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func (d *day) decode(r *reader) {
	d.in = time.Duration(r.uint())
	r.bad = r.bad || d.in < 0 || d.in >= quarter
	d.known = r.count(quarters)
	for i := range d.known + 1 {
		d.bytes[i] = r.uint()
	}
}
