package talker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// The ways in which a frame ends, for Rules.Framing.
const (
	ByDelimiter = "delimiter" // with Rules.Delimiter
	ByLength    = "length"    // after Rules.Length bytes
	ByIdle      = "idle"      // with a pause of Rules.Patience
)

// MaxFrame is the longest frame, in bytes, its delimiter not counted.
const MaxFrame = 4096

// Rules say how frames are told apart, and what pauses mean.
type Rules struct {
	Framing   string
	Delimiter string // 1 to 8 bytes that end a frame
	Length    int    // bytes of a frame, its start included; 1 to MaxFrame
	Start     string // bytes with which every frame begins, at most 8; what stands before them is refused; "" = no such
	Around    string // bytes that are no part of a frame where they stand at its beginning or end, for instance CR and LF

	Patience time.Duration // longest pause within a frame: after it the half is dropped; with ByIdle the pause that ends a frame
	Rest     time.Duration // pause after a frame that is told as Rested; 0 = none is
	Silence  time.Duration // time without any frame that is told as Silent; 0 = none is
	Name     string        // of what talks, for messages: "talker", "receiver"
}

// The kinds of refusals; a refusal's text begins with its kind.
const (
	TooLong   = "frame_too_long"
	HalfFrame = "half_frame"
	NoStart   = "no_start"
	BadBytes  = "bad_bytes"
	BadSum    = "checksum"
	NoMatch   = "no_match"
)

// A Refusal says why bytes are not used; "" = they are not refused.
type Refusal string

// A Frame is what lies between two boundaries. It is valid until the next call of Next.
type Frame struct {
	Text []byte // without start and delimiter, and without what is Around
	Raw  []byte // without delimiter
	Half []byte // the half frame that a pause cut off right before it; usually none
	Torn bool   // its beginning may be missing: it is the first one
}

// What says what has happened.
type What int

// What can happen.
const (
	Framed  What = iota // a frame has come
	Refused             // there are refusals to report
	Rested              // nothing has come for Rules.Rest since the last frame
	Silent              // no frame has come for Rules.Silence
)

// A Heard is one thing that has happened.
type Heard struct {
	What  What
	Frame Frame  // with Framed
	Text  string // with Silent: for the technician
}

// A Talker is a port on which a device talks by itself. It is used by one goroutine.
type Talker struct {
	bus    *drivers.Bus
	rules  Rules
	frames *framer

	refused refusals
	quiet   time.Duration // waited for bytes in vain, since the last ones
	heard   time.Time     // when the last frame came, silence was last told, or the Talker was made
	strange int           // bytes that came since heard
	rests   bool          // a frame came since Rested was told
	pending *Heard        // what a pause has brought
}

// New returns the Talker on bus, which must be claimed (Open does that). It does not touch the port.
func New(bus *drivers.Bus, r Rules) *Talker {
	return &Talker{bus: bus, rules: r, frames: newFramer(r), heard: time.Now()}
}

// Next waits for what happens next. Its error wraps that of ctx when ctx is done, and drivers.ErrGone when the port has failed; then the next
// call begins with a port opened anew.
func (t *Talker) Next(ctx context.Context) (Heard, error) {
	if err := ctx.Err(); err != nil {
		return Heard{}, err
	}
	h, ok := t.ready()
	if ok {
		return h, nil
	}
	err := t.bus.Do(ctx, func(p drivers.Port) error {
		for {
			if err := t.fill(ctx, p); err != nil {
				return err
			}
			if h, ok = t.ready(); ok {
				return nil
			}
		}
	})
	if errors.Is(err, drivers.ErrGone) {
		t.frames.reset()
		t.quiet, t.rests = 0, false
	}
	return h, err
}

// Verdict says whether the last frame could be used, and if not, why. A refusal is counted, and told by Report.
func (t *Talker) Verdict(bad Refusal) {
	t.frames.verdict(bad == "")
	if bad != "" {
		t.refused.add(bad)
	}
}

// Refuse counts bytes that are not used although the frame that they came with is.
func (t *Talker) Refuse(bad Refusal) { t.refused.add(bad) }

// Report appends to out, as a fault of channel, what was refused and not reported yet, if it is time to: ten refusals are told one by one,
// further ones at most once a second, with how many they are.
func (t *Talker) Report(out []tidegate.Reading, channel string) []tidegate.Reading {
	if !t.refused.due(time.Now()) {
		return out
	}
	return append(out, tidegate.Reading{Channel: channel, Fault: t.refused.report()})
}

// Joined returns the text that f would have had without the pause before it.
func (t *Talker) Joined(f Frame) []byte { return t.frames.joined(f) }

// ready returns what needs no more bytes and no waiting.
func (t *Talker) ready() (Heard, bool) {
	for {
		fr, bad, ok := t.frames.next()
		if !ok {
			break
		}
		t.heard, t.strange = time.Now(), 0
		if bad == "" {
			t.rests = true
			return Heard{What: Framed, Frame: fr}, true
		}
		t.refused.add(bad)
		if t.refused.due(t.heard) {
			return Heard{What: Refused}, true
		}
	}
	if h := t.pending; h != nil {
		t.pending = nil
		return *h, true
	}
	return Heard{What: Refused}, t.refused.due(time.Now())
}

// fill waits for bytes, and for no longer than something would be to do without any.
func (t *Talker) fill(ctx context.Context, p drivers.Port) error {
	start := time.Now()
	wait := t.wait(start)
	var deadline time.Time
	if wait > 0 {
		deadline = start.Add(wait)
	}
	if err := p.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("set deadline: %w (%w)", drivers.ErrGone, err)
	}
	n, err := p.Read(t.frames.room())
	if n > 0 {
		t.frames.added(n)
		t.quiet = 0
		t.strange += n
		return nil // an error will come again
	}
	switch {
	case err == nil:
		return fmt.Errorf("port returned nothing: %w", drivers.ErrGone)
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		t.passed(wait)
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, drivers.ErrGone):
		return err
	}
	return fmt.Errorf("%w: %w", drivers.ErrGone, err) // whatever it is, a port opened anew is what may help
}

// restful reports whether a pause of Rules.Rest would be told: not within a frame.
func (t *Talker) restful() bool { return t.rules.Rest > 0 && t.rests && !t.frames.unfinished() }

// wait returns how long bytes may be waited for from now on; 0 = for ever.
func (t *Talker) wait(now time.Time) time.Duration {
	var wait time.Duration
	sooner := func(d time.Duration) {
		// Not less, where a late call finds the time over: bytes that are there already count.
		if d = max(d, time.Millisecond); wait == 0 || d < wait {
			wait = d
		}
	}
	if t.refused.untold > 0 {
		sooner(t.refused.filled.Add(spacing).Sub(now))
	}
	if t.frames.unfinished() {
		sooner(t.rules.Patience - t.quiet)
	}
	if t.restful() {
		sooner(t.rules.Rest - t.quiet)
	}
	if t.rules.Silence > 0 {
		sooner(t.heard.Add(t.rules.Silence).Sub(now))
	}
	return wait
}

// passed says that nothing came for the time waited for.
func (t *Talker) passed(wait time.Duration) {
	t.quiet += wait
	if t.restful() && t.quiet >= t.rules.Rest {
		t.rests = false
		t.pending = &Heard{What: Rested}
		return
	}
	if t.frames.unfinished() && t.quiet >= t.rules.Patience {
		t.quiet = 0
		if bad := t.frames.pause(); bad != "" {
			t.heard, t.strange = time.Now(), 0
			t.refused.add(bad)
		}
	}
	now := time.Now()
	if t.rules.Silence == 0 || now.Sub(t.heard) < t.rules.Silence {
		return
	}
	text := fmt.Sprintf("nothing came for %v: is the %s on, and the cable right?", t.rules.Silence, t.rules.Name)
	if t.strange > 0 {
		text = fmt.Sprintf("%d bytes but no end of a frame came in %v: are baud, parity and framing right?", t.strange, t.rules.Silence)
	}
	t.pending = &Heard{What: Silent, Text: text}
	t.heard, t.strange = now, 0
}

// Excerpt shows the first 64 bytes of b in quotes, all but printable ASCII escaped.
func Excerpt(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%+q and %d bytes more", b[:64], len(b)-64)
	}
	return fmt.Sprintf("%+q", b)
}
