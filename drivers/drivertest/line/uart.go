package line

import "math/bits"

// A UART says how one end of the line sends and receives characters.
type UART struct {
	Baud   int    // bit/s
	PPM    int    // by how many millionths its clock is fast; negative = slow
	Bits   int    // 5 to 8
	Parity string // "none", "even" or "odd"
	Stop   int    // 1 or 2
	// Picky makes its receiver look at the second of two stop bits too. Most look at the first only, as the 16550 does.
	Picky bool
}

// bit returns how long a bit takes, in nanoseconds.
func (u UART) bit() float64 { return 1e9 / (float64(u.Baud) * (1 + float64(u.PPM)/1e6)) }

// length returns how many bits a character has, start and stop included.
func (u UART) length() int {
	n := 1 + u.Bits + u.Stop
	if u.Parity != "none" {
		n++
	}
	return n
}

// parity returns the bit that goes with c.
func (u UART) parity(c byte) bool {
	odd := bits.OnesCount8(c)%2 == 1
	return odd == (u.Parity == "even")
}

// levels appends the levels of the character c, true = mark: start bit, lowest bit first, parity, stop bits.
func (u UART) levels(b []bool, c byte) []bool {
	c &= 1<<u.Bits - 1
	b = append(b, false)
	for i := range u.Bits {
		b = append(b, c>>i&1 == 1)
	}
	if u.Parity != "none" {
		b = append(b, u.parity(c))
	}
	for range u.Stop {
		b = append(b, true)
	}
	return b
}

// A char is what a receiver made of what it saw.
type char struct {
	c         byte
	isBreak   bool // the line was at space for the whole character
	isParity  bool // the parity bit is wrong
	isFraming bool // a stop bit is missing
}

// A receiver finds characters on the line: a start bit begins with the edge to space, and every bit is looked at once, in its middle.
// After a missing stop bit it waits until the line is at mark before it takes another start bit.
type receiver struct {
	UART
	at    int64 // of the next look at the line; never = it waits for an edge
	start int64 // of the start bit
	n     int   // looks taken at this character
	ones  bool  // one of the bits was mark
	waits bool  // for the line to be at mark
	got   char
}

// edge tells that the line has changed to level.
func (r *receiver) edge(now int64, level bool) {
	switch {
	case level:
		r.waits = false
	case r.at == never && !r.waits:
		r.start, r.n, r.ones, r.got = now, 0, false, char{}
		r.next()
	}
}

func (r *receiver) next() { r.at = r.start + int64((float64(r.n)+0.5)*r.bit()) }

// look takes level as that of the next bit; done reports whether it was the last one.
func (r *receiver) look(level bool) (c char, done bool) {
	n := r.n
	r.n++
	hasParity := 0
	if r.Parity != "none" {
		hasParity = 1
	}
	stop := 1 + r.Bits + hasParity
	last := stop
	if r.Picky {
		last += r.Stop - 1
	}
	r.ones = r.ones || level
	switch {
	case n == 0 && level: // no start bit but a glitch
		r.at = never
		return char{}, false
	case n == 0:
	case n <= r.Bits:
		if level {
			r.got.c |= 1 << (n - 1)
		}
	case n < stop:
		r.got.isParity = level != r.parity(r.got.c)
	case !level:
		r.got.isFraming = true
		r.got.isBreak = !r.ones
		r.waits = true
		last = n
	}
	if n < last {
		r.next()
		return char{}, false
	}
	r.at = never
	return r.got, true
}
