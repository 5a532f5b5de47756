// Package line is a model of a two-wire RS-485 line at the level of bits: a gateway, units and perhaps another master, each with a
// UART and a transceiver of its own, and what can be wrong with their wires. It is for tests of what looks at a line from the gateway.
//
// At any time the line has a voltage: the sum of what all that drive it put there, or where nobody does, what the bias resistors
// leave. Each receiver makes a level of it: mark above 0.2 V, space below -0.2 V, noise between (TIA/EIA-485-A section 4.2: the state
// of a receiver is defined from 200 mV on). A UART looks at the level in the middle of each bit, as its own clock has it.
// The gateway gets bytes as Linux gives them to a port set up by go.bug.st/serial: IGNPAR, PARMRK, BRKINT and IGNBRK off, INPCK on
// if and only if there is a parity. So with a parity, a character with a parity or framing error is read as 0x00; without, it is
// read as it came; a break is one 0x00 (n_tty.c, n_tty_receive_char_flagged). They are counted as TIOCGICOUNT counts them.
//
// Two things are stronger here than on a bench, so that they are to be seen at every speed: how long a line without termination
// swings after an edge, and how much noise a line without bias picks up.
//
// The model has no goroutine and looks at the clock when it is used, so it works in synctest bubbles and outside.
package line

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	never     = math.MaxInt64
	threshold = 0.2 // V
	// overheard is how often another than the one who sent sees the swing of the line after it was let go.
	overheard = 0.2
	// silence ends an RTU frame, in characters: "MODBUS over Serial Line V1.02" section 2.5.1.1.
	silence = 3.5
)

// A Config says what hangs on a line and how it is wired. Times are what they are; voltages are at the receivers.
type Config struct {
	Seed    uint64        // of everything that is left to chance
	Gateway Wiring        // of the gateway's transceiver; its UART is Open's
	Echo    bool          // the gateway's receiver stays on while it sends
	Latency time.Duration // how often the gateway's adapter hands over what it received; 0 = at once
	Bias    float64       // V, of the resistors on the line itself; 0 = there are none
	Noise   Noise         // while the line is between mark and space
	Swing   Swing         // of a line without termination
	Units   []Unit
	Master  *Master // nil = there is no other
}

// A Wiring is how a transceiver is connected.
type Wiring struct {
	Swapped  bool    // A and B are
	Strength float64 // V, of what it drives; 0 = 1.5, the least that TIA/EIA-485-A section 4.1 asks for
	Bias     float64 // V, of resistors in it
}

// Noise is what a line picks up where nobody drives or biases it: bursts of pulses.
type Noise struct {
	Every  time.Duration // between bursts, on average; 0 = none
	Pulse  time.Duration // of a pulse and of a pause in a burst, on average
	Pulses int           // in a burst, at most
}

// Swing is what happens on a line the ends of which reflect.
type Swing struct {
	Edge time.Duration // how long after an edge the level may still be wrong, at most; 0 = not at all
	Tail time.Duration // how long the line goes on swinging after it was let go, at most
}

// A Master is another than the gateway, which asks without listening first.
type Master struct {
	UART
	Wiring
	Every, Jitter time.Duration // between its requests, and how much longer at most
	Frames        [][]byte      // one after the other, over and over
}

// A Line is a Config that runs. It is safe for concurrent use.
type Line struct {
	config Config
	start  time.Time

	mu    sync.Mutex // guards all below
	now   int64      // ns since start: until then everything has happened
	rng   *rand.Rand
	nodes []*node // the gateway's is the first
	volts float64
	edged int64 // when volts last changed its sign

	isNoisy   bool  // the level of the noise is space
	pulses    int   // left in this burst
	noiseAt   int64 // next change of the noise
	tailUntil int64
	tailAt    int64 // next change of the swing after release
	tailLevel bool

	port  *Port
	inbox []received
	count counts
}

// New returns a line on which time begins to pass now.
func New(c Config) *Line {
	l := &Line{config: c, start: time.Now(), rng: rand.New(rand.NewPCG(c.Seed, 0)), noiseAt: never, tailAt: never, edged: math.MinInt64 / 2}
	l.nodes = append(l.nodes, newNode(UART{Baud: 9600, Bits: 8, Parity: "none", Stop: 1}, c.Gateway))
	l.nodes[0].isEchoing = c.Echo
	for i := range c.Units {
		n := newNode(c.Units[i].UART, c.Units[i].Wiring)
		n.unit = &c.Units[i]
		l.nodes = append(l.nodes, n)
	}
	if m := c.Master; m != nil {
		n := newNode(m.UART, m.Wiring)
		n.master, n.isDeaf, n.talkAt = m, true, l.drawn(m.Every)
		l.nodes = append(l.nodes, n)
	}
	if c.Noise.Every > 0 {
		l.noiseAt = l.drawn(c.Noise.Every)
	}
	l.settle()
	return l
}

// drawn returns a random time that is d on average.
func (l *Line) drawn(d time.Duration) int64 { return 1 + int64(l.rng.ExpFloat64()*float64(d)) }

// upTo returns a random time below d.
func (l *Line) upTo(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return l.rng.Int64N(int64(d))
}

// next returns when something happens next; never = nothing does by itself.
func (l *Line) next() int64 {
	at := min(l.noiseAt, l.tailAt)
	for _, n := range l.nodes {
		at = min(at, n.bitAt, n.rx.at, n.frameAt, n.replyAt, n.talkAt, n.dieAt())
	}
	return at
}

// advance lets happen what happens until to.
func (l *Line) advance(to int64) {
	for at := l.next(); at <= to; at = l.next() {
		l.now = at
		l.change()
		for _, n := range l.nodes {
			if n.rx.at == at {
				l.look(n)
			}
		}
		for _, n := range l.nodes {
			l.act(n)
		}
	}
	l.now = max(l.now, to)
}

// change changes the voltage as is due now.
func (l *Line) change() {
	if l.noiseAt == l.now {
		l.makeNoise()
	}
	for _, n := range l.nodes {
		if n.dieAt() == l.now {
			n.die()
		}
		if n.bitAt == l.now && n.shift() {
			l.released(n)
		}
	}
	if l.tailAt == l.now {
		l.swing()
	}
	l.settle()
}

// makeNoise goes on with a burst, or begins the next.
func (l *Line) makeNoise() {
	if l.pulses == 0 {
		l.pulses = 2 * (1 + l.rng.IntN(max(1, l.config.Noise.Pulses)))
	}
	l.isNoisy = !l.isNoisy
	l.pulses--
	pause := l.config.Noise.Pulse
	if l.pulses == 0 {
		l.isNoisy, pause = false, l.config.Noise.Every
	}
	l.noiseAt = l.now + l.drawn(pause)
}

// released begins the swing of a line that n has let go.
func (l *Line) released(n *node) {
	if l.config.Swing.Tail <= 0 {
		return
	}
	for _, other := range l.nodes {
		other.hearsTail = other == n || l.rng.Float64() < overheard
	}
	l.tailUntil, l.tailAt, l.tailLevel = l.now+1+l.upTo(l.config.Swing.Tail), l.now, true
}

// swing turns the level of the swing, or ends it.
func (l *Line) swing() {
	l.tailLevel = !l.tailLevel
	l.tailAt = l.now + 1 + int64(l.config.Swing.Edge) + l.upTo(l.config.Swing.Edge)
	if l.now >= l.tailUntil {
		l.tailLevel, l.tailAt = true, never
	}
}

// settle finds the voltage, and tells the receivers.
func (l *Line) settle() {
	driven, bias := 0.0, l.config.Bias
	drivers := 0
	for _, n := range l.nodes {
		if n.isGone {
			continue
		}
		bias += n.signed(n.Bias)
		if n.isDriving {
			v := n.Strength
			if !n.level {
				v = -v
			}
			driven += n.signed(v)
			drivers++
		}
	}
	before := l.volts
	l.volts = bias
	if drivers > 0 {
		l.volts = driven
		if before > 0 != (driven > 0) {
			l.edged = l.now
		}
	}
	for _, n := range l.nodes {
		level := l.level(n, drivers)
		if level != n.seen {
			n.seen = level
			n.rx.edge(l.now, level)
		}
	}
}

// level returns what n's receiver makes of the line.
func (l *Line) level(n *node, drivers int) bool {
	if n.isDeaf || n.isGone || n.isDriving && !n.isEchoing {
		return true
	}
	if drivers == 0 && l.tailAt != never && n.hearsTail {
		return l.tailLevel != n.Swapped
	}
	switch v := n.signed(l.volts); {
	case v > threshold:
		return true
	case v < -threshold:
		return false
	}
	return !l.isNoisy
}

// look lets n's receiver look at the line. Soon after an edge on a line that swings, it may see anything.
func (l *Line) look(n *node) {
	level := n.seen
	if edge := l.config.Swing.Edge; edge > 0 && l.now-l.edged < l.upTo(edge) {
		level = l.rng.IntN(2) == 0
	}
	c, done := n.rx.look(level)
	switch {
	case !done:
	case n == l.nodes[0]:
		l.receive(c)
	default:
		n.take(l.now, c)
	}
}
