package link

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

const (
	maxRTU       = 256 // bytes of a frame: "MODBUS over Serial Line V1.02" section 2.5.1.1
	bitsPerChar  = 11  // start, 8 bits, parity and stop or two stops: section 2.5.1
	minException = 5   // bytes of an exception's frame
	// lull is how long no byte comes before what has come is taken for complete. USB adapters hand over what they received
	// every 16 ms, so the 1.5 characters of section 2.5.1.1 cannot be seen from here.
	lull = 50 * time.Millisecond
	// napMost is how long at most the rest of a reply is not looked at; an end of the turn waits as long.
	napMost = 200 * time.Millisecond
	// waryFor is how many exchanges the line is listened to for a lull, not just a gap, after a frame nobody asked for was
	// dropped: a unit that sends replies twice must not have the second taken for the next one's.
	waryFor = 100
	// waryAtFirst is the same for a unit of which nothing is known.
	waryAtFirst = 4
	// probesMost is how many probes in a row may bring no values before the debts are written off.
	probesMost = 4
	// owedMost is how many replies may be owed before nothing but probes is sent.
	owedMost = 8
)

// RTU speaks RTU frames with one unit on a serial line. Which replies the unit still owes, see Probe, is kept on the line's bus: all that
// speak with the unit there, now or later, have to know. It is to be used within Bus.Do.
type RTU struct {
	*debts
	line    *lineState
	unit    byte
	timeout time.Duration
	char    time.Duration // one character on the line
	gap     time.Duration // silence between frames
	out     []byte
	in      []byte
}

// debts is what is known of one unit's replies that may still come. Whoever has the bus has it.
type debts struct {
	owed   []shape // of requests that got no reply so far, oldest first
	probe  Request // the last one made; zero = none under way
	probes int     // in a row that brought no values either
	wary   int     // exchanges for which frames nobody asked for are to be expected
}

// unitKey is the key of a unit's debts on its bus.
type unitKey byte

// lineState is what is known of a line. Whoever has the bus has it.
type lineState struct {
	echoes bool // at the last reply, the request came back ahead of it
}

// lineKey is the key of the line on its bus.
type lineKey struct{}

// shape is what replies of one unit can be told apart by. Replies to writes by one function are of one shape, though they repeat address and
// value or quantity: two writes that differ in nothing of that cannot be told apart, and a probe too many does no harm.
type shape struct {
	function byte
	bytes    int // of a read
}

func (q Request) shape() shape {
	if q.Write != 0 {
		return shape{function: q.function()}
	}
	return shape{q.function(), q.Bytes()}
}

// NewRTU returns the framing for unit (1 to 247) on bus, a line of so many bit/s. timeout runs from the end of the request to the
// reply's first byte.
func NewRTU(bus *drivers.Bus, unit byte, timeout time.Duration, baud int) *RTU {
	char := bitsPerChar * time.Second / time.Duration(baud)
	gap := 7 * char / 2
	if baud > 19200 {
		gap = 1750 * time.Microsecond // section 2.5.1.1: a fixed value above 19200 bit/s
	}
	return &RTU{
		unit: unit, timeout: timeout, char: char, gap: gap,
		debts: bus.Keep(unitKey(unit), func() any { return &debts{wary: waryAtFirst} }).(*debts),
		line:  bus.Keep(lineKey{}, func() any { return &lineState{} }).(*lineState),
		out:   make([]byte, 0, 24), in: make([]byte, 4*maxRTU),
	}
}

// Probe returns a request that must be exchanged ahead of q, because a reply of q's shape is still owed and would be taken for
// q's; ok is false when none is needed. Between Probe and Exchange the bus must not have been another's. The probe has a shape of which no
// reply is owed; its reply, or an exception, proves that nothing older can come any more. It reads less than q does (of what q writes, at
// most as much) or, where replies of all these shapes are owed, the beginning of one of spans, which are read anyway; only where that does
// not do either, more than q. It never writes.
func (l *RTU) Probe(q Request, spans []Request) (p Request, ok bool) {
	if !slices.Contains(l.owed, q.shape()) && len(l.owed) < owedMost {
		l.probe = Request{}
		return Request{}, false
	}
	base := Request{Table: q.Table, Address: q.Address, Quantity: q.Quantity}
	l.probe, ok = l.within(base, q)
	for i := 0; i < len(spans) && !ok; i++ {
		if spans[i].Table == q.Table {
			l.probe, ok = l.within(spans[i], q)
		}
	}
	if !ok {
		base.Quantity = Addresses
		l.probe, _ = l.within(base, q)
		l.probe.Address = min(q.Address, Addresses-l.probe.Quantity)
	}
	return l.probe, true
}

// within returns the least request at the beginning of span that replies to q and replies owed cannot be taken for.
func (l *RTU) within(span, q Request) (p Request, ok bool) {
	step := 1
	if q.Table.IsBits() {
		step = 8
	}
	p = span
	for p.Quantity = 1; p.Quantity <= span.Quantity; p.Quantity += step {
		if p.shape() != q.shape() && !slices.Contains(l.owed, p.shape()) {
			return p, true
		}
	}
	return Request{}, false
}

// Exchange sends q and returns the bytes of its values, valid until the next Exchange. Else its error is an Exception, a
// NoReply, wraps drivers.ErrGone, says what came that is no reply, or is Unsent and says why. Of a write, an error that is neither an
// Exception nor Unsent leaves open whether the unit took it.
func (l *RTU) Exchange(p drivers.Port, q Request) ([]byte, error) {
	if err := l.settle(p); err != nil {
		return nil, Unsent{err}
	}
	l.out = append(q.appendPDU(append(l.out[:0], l.unit)), 0, 0)
	putCRC(l.out)
	deadline := time.Now().Add(l.timeout + l.wire(len(l.out)))
	if err := p.SetWriteDeadline(deadline); err != nil {
		return nil, Unsent{gone("set deadline", err)}
	}
	var body []byte
	n, err := p.Write(l.out)
	switch {
	case isUnsent(n, err, deadline):
		return nil, Unsent{fmt.Errorf("write: %w", err)}
	case errors.Is(err, drivers.ErrEcho):
		err = fmt.Errorf("write: %w", l.passOver(p, q, err))
	case err != nil:
		err = gone("write", err)
	default:
		body, err = l.reply(p, q)
	}
	l.account(q, err)
	return body, err
}

// passOver listens for as long as a reply to q may take and takes none: the request came back changed, by err, so that nobody knows what the
// unit got. Debts stay a timeout apart that way, see account. The error is err, unless the port is gone.
func (l *RTU) passOver(p drivers.Port, q Request, err error) error {
	if _, end := l.reply(p, q); errors.Is(end, drivers.ErrGone) {
		return end
	}
	return err
}

// settle listens until the line has been silent for one gap, and drops what comes. An end of its ctx is no silence.
func (l *RTU) settle(p drivers.Port) error {
	gap := l.gap
	if l.wary > 0 {
		l.wary--
		gap = max(gap, lull)
	}
	n := 0
	for now, end := time.Now(), time.Now().Add(l.timeout); now.Before(end); now = time.Now() {
		if err := p.SetReadDeadline(now.Add(gap)); err != nil {
			return gone("set deadline", err)
		}
		m, err := p.Read(l.in)
		n += m
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(now) < gap:
			return fmt.Errorf("listen: %w", err)
		case errors.Is(err, os.ErrDeadlineExceeded):
			if n >= minException {
				l.wary = waryFor
			}
			return nil
		case err != nil:
			return gone("read", err)
		}
	}
	return fmt.Errorf("the line is not silent: %d bytes in %v that nobody asked for; another master, or a wrong baud rate", n, l.timeout)
}

// reply waits for the reply to q, which has just been sent. Where the right reply is the request itself, an echo can only be told from it by
// what the line did last.
func (l *RTU) reply(p drivers.Port, q Request) ([]byte, error) {
	sent, hasEcho := l.out, false
	if q.Write.isEchoed() && !l.line.echoes {
		sent = nil
	}
	want := 1 + q.replyBytes() + 2
	deadline := time.Now().Add(l.wire(len(l.out)) + l.timeout + l.wire(want))
	patient := len(l.owed) > 0 // a late reply may come ahead of the right one
	n, end := 0, deadline
	var odd error
	for napped := false; ; {
		if err := p.SetReadDeadline(end); err != nil {
			return nil, gone("set deadline", err)
		}
		m, err := p.Read(l.in[n:])
		n += m
		for m > 0 {
			body, used, scanErr := scanRTU(l.in[:n], l.unit, q, sent)
			if body != nil || IsException(scanErr) {
				if !q.Write.isEchoed() {
					l.line.echoes = hasEcho
				}
				return body, scanErr
			}
			if used == 0 {
				break
			}
			if hasEcho = hasEcho || errors.Is(scanErr, errEcho); hasEcho && q.Write.isEchoed() {
				sent = nil // the same bytes once more are the reply
			}
			odd = scanErr
			n = copy(l.in, l.in[used:n])
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, l.verdict(q, n, odd)
		case err != nil:
			return nil, gone("read", err)
		}
		if n > len(l.in)-maxRTU { // a flood: only its end can still be the reply
			n = copy(l.in, l.in[n-maxRTU:n])
		}
		end = deadline
		if soon := time.Now().Add(max(lull, 2*l.gap)); !patient && (n >= want || isReply(odd)) && soon.Before(deadline) {
			end = soon
		}
		if rest := l.wire(restRTU(l.in[:n], l.unit, q)); !napped && rest > 0 && time.Until(end) > rest+lull {
			napped = true
			nap(min(rest, napMost))
		}
	}
}

// restRTU returns how many bytes have yet to come of the reply to q, or of an exception, that in begins with; 0 where it is whole, or begins
// with something else.
func restRTU(in []byte, unit byte, q Request) int {
	whole := minException
	switch {
	case len(in) < 2 || in[0] != unit || in[1]&^0x80 != q.function():
		return 0
	case in[1] == q.function():
		whole = 1 + q.replyBytes() + 2
	}
	return max(0, whole-len(in))
}

// nap lets the rest of a reply come in. A UART hands it over in pieces of a few bytes, and a Read would look at each. The runtime's poller still
// wakes for them: of what a long reply costs about a third is saved.
func nap(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// isReply reports whether odd came from the unit that was asked, so that nothing better is to be expected of it.
func isReply(odd error) bool {
	if odd == nil {
		return false // without the allocation that errors.As needs
	}
	var f foreign
	return !errors.Is(odd, errEcho) && !errors.As(odd, &f)
}

// verdict says why there is no reply to q: n bytes are left of what came, after odd was passed over.
func (l *RTU) verdict(q Request, n int, odd error) error {
	want := 1 + q.replyBytes() + 2
	switch {
	case isReply(odd):
		return odd
	case n >= want || n > 0 && l.in[0] == l.unit:
		return fmt.Errorf("got %d bytes, want a reply of %d: % x", n, want, l.in[:min(n, 16)])
	case n > 0:
		odd = fmt.Errorf("%d bytes that are none: % x", n, l.in[:min(n, 16)])
	}
	return NoReply{q, l.timeout, odd}
}

// account notes what the outcome of q says about replies that are still owed. A unit answers in order, so values prove that no
// older reply can come any more. An exception has no shape: at least the oldest request of its function is settled by it, and
// the one that it seems to answer takes its place. After probesMost probes without values the debts that are older than these
// are written off: a unit that answers no probe, or refuses them all, is asked the real thing again. Unanswered probes took a
// timeout each. Refused ones did not, but silence makes debts a timeout apart: what is to come after probesMost exceptions for
// older ones is later than as many timeouts all the same.
func (l *RTU) account(q Request, err error) {
	if err == nil {
		l.owed, l.probe, l.probes = l.owed[:0], Request{}, 0
		return
	}
	if q == l.probe {
		l.probes++
	}
	l.probe = Request{}
	l.owed = append(l.owed, q.shape())
	if IsException(err) {
		i := slices.IndexFunc(l.owed, func(s shape) bool { return s.function == q.function() })
		l.owed = slices.Delete(l.owed, i, i+1)
	}
	if l.probes == probesMost {
		l.owed, l.probes = slices.Delete(l.owed, 0, max(0, len(l.owed)-probesMost)), 0
	}
}

// wire returns how long n bytes take on the line.
func (l *RTU) wire(n int) time.Duration { return time.Duration(n) * l.char }

// scanRTU looks for the reply to q, which was sent as the frame sent, in all that came in since. sent is nil where no echo is expected.
// It returns the bytes of its values, or its exception; or, with used > 0, that the first used bytes are something else, which
// err names; or all zero when more has to come.
func scanRTU(in []byte, unit byte, q Request, sent []byte) (body []byte, used int, err error) {
	switch {
	case len(sent) > 0 && bytes.HasPrefix(in, sent):
		return nil, len(sent), errEcho
	case bytes.HasPrefix(sent, in): // perhaps an echo, of which the rest has to come
		return nil, 0, nil
	}
	for at := range in {
		rest := in[at:]
		isOurs := len(rest) >= 3 && rest[0] == unit && rest[1] == q.function() && (q.Write != 0 || int(rest[2]) == q.Bytes())
		n := frameLength(rest)
		switch {
		case isOurs && n > len(rest):
			return nil, 0, nil // what it holds may look like a frame: do not look inside
		case n == 0 || n > len(rest):
			continue
		}
		isWhole := CRC(rest[:n]) == 0
		switch {
		case !isWhole && isOurs:
			got, want := uint16(rest[n-2])|uint16(rest[n-1])<<8, CRC(rest[:n-2])
			return nil, at + n, fmt.Errorf("a reply with CRC 0x%04x, want 0x%04x", got, want)
		case !isWhole:
			continue
		case bytes.HasPrefix(sent, rest[:n]):
			return nil, at + n, errEcho
		case rest[0] != unit:
			return nil, at + n, foreign(rest[0])
		}
		body, err = q.values(rest[1 : n-2])
		return body, at + n, err
	}
	return nil, 0, nil
}

// frameLength returns how many bytes a reply that begins with b has by its function; 0 when that cannot be told (yet).
func frameLength(b []byte) int {
	if len(b) < 3 {
		return 0
	}
	switch f := b[1]; {
	case f >= 1 && f <= 4:
		return 3 + int(b[2]) + 2
	case f == 5 || f == 6 || f == 15 || f == 16:
		return 8
	case f > 0x80:
		return minException
	}
	return 0
}
