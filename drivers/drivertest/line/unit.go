package line

import "time"

// A Unit is a device on the line that answers requests.
type Unit struct {
	UART
	Wiring
	// Answer returns the frame that answers a frame, nil = none. It is called for whatever comes between two silences, of whatever bytes.
	Answer func(frame []byte) []byte
	// Delay is from the end of a request, silence included, to the reply; Jitter is how much longer it takes at most.
	Delay, Jitter time.Duration
	// Tolerant is firmware that takes no notice of parity and framing errors; other firmware drops the frame.
	Tolerant bool
	// DiesAt is when it loses power, from the line's beginning on; 0 = not.
	DiesAt time.Duration
	// Keep is which share of each reply is on the line before its driver lets go of it; 0 = all of it.
	Keep float64
	// CutAfter is how many replies are well; in the middle of the next its wires break. 0 = they do not.
	CutAfter int
}

// A node is whoever is connected to the line.
type node struct {
	Wiring
	uart   UART
	unit   *Unit   // nil = it is none
	master *Master // nil = it is none
	rx     receiver

	isGone    bool // without power, or its wires are off
	isDeaf    bool
	isEchoing bool // it hears what it sends
	hearsTail bool
	seen      bool // the level that its receiver has

	isDriving bool
	level     bool // driven
	bits      []bool
	bitN      int   // of those, begun
	bitFrom   int64 // when the first began
	bitAt     int64 // when the next begins; never = nothing is sent
	cutBit    int   // where its wires break; 0 = nowhere

	in      []byte // since the last silence
	isBad   bool   // with an error among them
	frameAt int64  // when they are a frame
	reply   []byte
	replyAt int64
	replies int
	talkAt  int64
	talked  int
}

func newNode(u UART, w Wiring) *node {
	if w.Strength == 0 {
		w.Strength = 1.5
	}
	return &node{
		Wiring: w, uart: u, rx: receiver{UART: u, at: never}, seen: true,
		bitAt: never, frameAt: never, replyAt: never, talkAt: never,
	}
}

// signed returns the voltage v between A and B as it is behind its wires.
func (n *node) signed(v float64) float64 {
	if n.Swapped {
		return -v
	}
	return v
}

func (n *node) dieAt() int64 {
	if n.unit == nil || n.unit.DiesAt == 0 || n.isGone {
		return never
	}
	return int64(n.unit.DiesAt)
}

// die takes it off the line.
func (n *node) die() {
	n.isGone, n.isDriving = true, false
	n.bitAt, n.rx.at, n.frameAt, n.replyAt, n.talkAt = never, never, never, never, never
}

// send puts b behind what is being sent; keep is the share that gets on the line.
func (n *node) send(now int64, b []byte, keep float64) {
	if !n.isDriving {
		n.bits, n.bitN, n.bitFrom, n.bitAt = n.bits[:0], 0, now, now
	}
	from := len(n.bits)
	for _, c := range b {
		n.bits = n.uart.levels(n.bits, c)
	}
	if keep > 0 {
		n.bits = n.bits[:from+int(keep*float64(len(n.bits)-from))]
	}
	n.isDriving = true
}

// shift puts the next bit on the line; released reports whether there was none and it has let go of the line.
func (n *node) shift() (released bool) {
	if n.cutBit > 0 && n.bitN == n.cutBit {
		n.die()
		return false
	}
	if n.bitN == len(n.bits) {
		n.isDriving, n.bitAt = false, never
		return true
	}
	n.level = n.bits[n.bitN]
	n.bitN++
	n.bitAt = n.bitFrom + int64(float64(n.bitN)*n.uart.bit())
	return false
}

// take takes a character that came in.
func (n *node) take(now int64, c char) {
	if len(n.in) < 512 {
		n.in = append(n.in, c.c)
	}
	n.isBad = n.isBad || c.isParity || c.isFraming
	n.frameAt = now + int64(silence*float64(n.uart.length())*n.uart.bit())
}

// act does what n has to do now.
func (l *Line) act(n *node) {
	if n.frameAt == l.now {
		n.frameAt = never
		if n.rx.at != never { // another character has begun
			n.frameAt = n.rx.at
		} else {
			l.frame(n)
		}
	}
	if n.replyAt == l.now {
		n.replyAt = never
		if n.unit.CutAfter > 0 && n.replies == n.unit.CutAfter {
			n.cutBit = len(n.reply) * n.uart.length() / 2
		}
		n.replies++
		n.send(l.now, n.reply, n.unit.Keep)
	}
	if n.talkAt == l.now {
		n.send(l.now, n.master.Frames[n.talked%len(n.master.Frames)], 0)
		n.talked++
		n.talkAt = l.now + int64(n.master.Every) + l.upTo(n.master.Jitter)
	}
}

// frame lets a unit answer what came in. One that is still busy with a request takes no other.
func (l *Line) frame(n *node) {
	in, isBad := n.in, n.isBad
	n.in, n.isBad = n.in[:0], false
	isBusy := n.replyAt != never || n.isDriving
	if n.unit == nil || isBusy || isBad && !n.unit.Tolerant {
		return
	}
	if reply := n.unit.Answer(in); reply != nil {
		n.reply = reply
		n.replyAt = l.now + 1 + int64(n.unit.Delay) + l.upTo(n.unit.Jitter)
	}
}
