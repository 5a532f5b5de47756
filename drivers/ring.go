package drivers

import (
	"fmt"
	"sync"
	"time"
)

const (
	ringBytes   = 4 << 10 // kept of a bus
	ringEntries = 256     // pieces of these
	// ringPause is how soon bytes must follow others to be one piece with them. It is less than the shortest silence between RTU frames
	// (1.75 ms), and more than a character at 9600 bit/s.
	ringPause = 1500 * time.Microsecond

	dumpPieces = 12 // that Dump shows
	dumpBytes  = 32 // of each
)

// Traffic is a piece of what went over a bus.
type Traffic struct {
	At, Last time.Time // when its first and its last bytes were written, or were read; they may have waited to be read
	Out      bool      // written, else read
	Bytes    []byte
}

// A ring holds the last bytes of a bus. It is safe for concurrent use.
type ring struct {
	mu      sync.Mutex
	start   time.Time // what entries count from
	bytes   []byte    // ringBytes once something was put
	put     uint64    // bytes so far; those before put-ringBytes are gone
	entries []entry   // at most ringEntries, then the oldest is overwritten
	next    int       // index in entries of the next, once there are ringEntries
}

// entry is one piece.
type entry struct {
	at, last time.Duration // since the ring's start
	from     uint64        // its first byte
	length   uint32
	out      bool
}

// add keeps p. It allocates the first time only.
func (r *ring) add(out bool, p []byte) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes == nil {
		r.start, r.bytes, r.entries = now, make([]byte, ringBytes), make([]entry, 0, ringEntries)
	}
	at := now.Sub(r.start)
	if newest := r.newest(); newest != nil && !out && !newest.out && at-newest.last <= ringPause {
		newest.last = at
		newest.length += uint32(len(p))
	} else {
		e := entry{at: at, last: at, from: r.put, length: uint32(len(p)), out: out}
		if len(r.entries) < ringEntries {
			r.entries = append(r.entries, e)
		} else {
			r.entries[r.next] = e
			r.next = (r.next + 1) % ringEntries
		}
	}
	if n := len(p); n > ringBytes { // only its end can stay
		r.put += uint64(n - ringBytes)
		p = p[n-ringBytes:]
	}
	for len(p) > 0 {
		n := copy(r.bytes[r.put%ringBytes:], p)
		r.put += uint64(n)
		p = p[n:]
	}
}

func (r *ring) newest() *entry {
	switch n := len(r.entries); {
	case n == 0:
		return nil
	case n < ringEntries:
		return &r.entries[n-1]
	}
	return &r.entries[(r.next+ringEntries-1)%ringEntries]
}

// all returns a copy of what is there, oldest first. Of a piece the beginning of which is gone, the end is returned.
func (r *ring) all() []Traffic {
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := uint64(0)
	if r.put > ringBytes {
		oldest = r.put - ringBytes
	}
	out := make([]Traffic, 0, len(r.entries))
	for i := range r.entries {
		e := r.entries[(r.next+i)%len(r.entries)]
		from, end := max(e.from, oldest), e.from+uint64(e.length)
		if from >= end {
			continue
		}
		b := make([]byte, 0, end-from)
		for at := from; at < end; {
			n := min(end-at, ringBytes-at%ringBytes)
			b = append(b, r.bytes[at%ringBytes:at%ringBytes+n]...)
			at += n
		}
		out = append(out, Traffic{At: r.start.Add(e.at), Last: r.start.Add(e.last), Out: e.out, Bytes: b})
	}
	return out
}

// Recent returns the last bytes that went over b, oldest first: at most 4 KiB in 256 pieces, whoever had the bus. Bytes that were read
// less than 1.5 ms after others are of one piece with them. It may be called at any time.
func (b *Bus) Recent() []Traffic { return b.recent.all() }

// Speaks tells how the bytes on b are put into words, as Driver.Explain does, for Dump.
func (b *Bus) Speaks(explain func(out bool, b []byte) string) { b.explain.Store(&explain) }

// Dump returns the last few pieces that went over b, oldest first, one line each: how long ago, which way, the bytes, and what they are. It
// shows nothing of a bus that a device with a secret Meter has joined.
func (b *Bus) Dump() []string {
	if b.isSecret.Load() {
		return nil
	}
	list := b.Recent()
	list = list[max(0, len(list)-dumpPieces):]
	explain := b.explain.Load()
	lines := make([]string, len(list))
	now := time.Now()
	for i, x := range list {
		way := "<"
		if x.Out {
			way = ">"
		}
		lines[i] = fmt.Sprintf("%.3fs ago %s % x", now.Sub(x.At).Seconds(), way, x.Bytes[:min(len(x.Bytes), dumpBytes)])
		if more := len(x.Bytes) - dumpBytes; more > 0 {
			lines[i] += fmt.Sprintf(" and %d more", more)
		}
		if explain == nil {
			continue
		}
		if text := (*explain)(x.Out, x.Bytes); text != "" {
			lines[i] += " (" + text + ")"
		}
	}
	return lines
}

// LineErrors returns the counts of b's port, or why there are none.
func (b *Bus) LineErrors() (LineErrors, error) {
	b.mu.Lock()
	p := b.port
	b.mu.Unlock()
	switch c, ok := p.(LineCounter); {
	case p == nil:
		return LineErrors{}, fmt.Errorf("count errors of %s: port is not open", b.name)
	case !ok:
		return LineErrors{}, fmt.Errorf("count errors of %s: port does not count them", b.name)
	default:
		return c.LineErrors()
	}
}
