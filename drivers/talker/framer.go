package talker

import (
	"bytes"
	"fmt"
	"time"
)

// readAhead is how many bytes are taken from the port at once where the length of a frame is not known: the more, the more is lost
// by kill -9; the fewer, the more calls of the kernel.
const readAhead = 256

type phase uint8

const (
	seeking  phase = iota // no boundary found yet: what is refused is dropped without a word
	inside                // in step with the talker
	skipping              // in a frame that is too long, reported already: dropped up to its end
)

// A framer cuts the bytes of a talker into frames. It does no I/O and knows no clock: it is told of bytes and of pauses.
type framer struct {
	framing string
	delim   []byte
	start   []byte
	length  int
	around  string // characters around a frame that are no part of it: CR and LF, or none

	patience time.Duration // a pause of this length ends a frame, or cuts it off

	phase   phase
	buf     []byte // fixed size; buf[r:w] is not yet given out
	r, w    int
	scanned int    // so many bytes of buf[r:w] are known to hold no delimiter
	ended   bool   // framing by idle time: buf[r:w] is a whole frame
	refused int    // frames that turned out to be useless, in a row
	lost    int    // bytes dropped without a word since the last frame
	half    []byte // what a pause cut off; empty once a frame has come after it
}

func newFramer(r Rules) *framer {
	f := &framer{
		framing: r.Framing, delim: []byte(r.Delimiter), start: []byte(r.Start), length: r.Length, around: r.Around, patience: r.Patience,
	}
	f.buf = make([]byte, MaxFrame+len(f.delim)+readAhead)
	return f
}

// room returns where the next bytes go. It is never empty, and no longer than may be read ahead.
func (f *framer) room() []byte {
	if f.r > 0 {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	n := readAhead
	if f.framing == ByLength {
		n = f.length - f.w // no more than this frame; next leaves less than that
	}
	return f.buf[f.w:min(f.w+n, len(f.buf))]
}

// added says that n bytes were put into room.
func (f *framer) added(n int) { f.w += n }

// unfinished reports whether a pause would mean something.
func (f *framer) unfinished() bool {
	return f.phase == seeking || f.w > f.r || f.phase == skipping && f.framing == ByIdle
}

// pause says that nothing came for the time that ends a frame, or that no frame is cut by.
func (f *framer) pause() Refusal {
	rest := f.buf[f.r:f.w]
	was := f.phase
	if was == skipping && f.framing != ByIdle {
		return ""
	}
	f.phase = inside
	if was == inside && f.framing == ByIdle {
		f.ended = len(rest) > 0
		return ""
	}
	f.take(len(rest))
	if was != inside || len(bytes.Trim(rest, f.around)) == 0 {
		return ""
	}
	f.half = append(f.half[:0], rest...)
	return Refusal(fmt.Sprintf("%s: nothing more came of a frame; %d bytes dropped: %s", HalfFrame, len(rest), Excerpt(rest)))
}

func (f *framer) take(n int) { f.r, f.scanned = f.r+n, 0 }

// next returns the next frame or refusal; ok is false when more bytes or a pause are needed.
func (f *framer) next() (fr Frame, bad Refusal, ok bool) {
	for {
		was := f.phase
		cut := f.cutDelimited
		switch f.framing {
		case ByLength:
			cut = f.cutLength
		case ByIdle:
			cut = f.cutIdle
		}
		raw, bad, ok := cut()
		if !ok {
			return Frame{}, "", false
		}
		if bad == "" {
			fr = Frame{Raw: raw, Torn: was == seeking && f.framing == ByDelimiter && len(f.start) == 0}
			if fr.Text, bad = f.strip(raw); bad != "" && was == seeking {
				continue
			}
		}
		if bad != "" {
			f.half = f.half[:0]
			return Frame{}, bad, true
		}
		if len(fr.Text) == 0 {
			continue
		}
		if len(f.start) == 0 {
			fr.Half = f.half
		}
		f.half, f.lost = f.half[:0], 0
		return fr, "", true
	}
}

// cutDelimited takes the next frame, or something to be refused, out of the buffer; so do cutIdle and cutLength.
func (f *framer) cutDelimited() (raw []byte, bad Refusal, ok bool) {
	for {
		b := f.buf[f.r:f.w]
		i := bytes.Index(b[f.scanned:], f.delim)
		if i < 0 {
			return f.await(len(f.delim) - 1)
		}
		i += f.scanned
		raw = b[:i]
		if at := f.lastStart(raw); at > 0 && f.phase != skipping {
			f.take(at)
			if f.phase == seeking {
				continue
			}
			return nil, stray(raw[:at]), true
		}
		f.take(i + len(f.delim))
		was := f.phase
		f.phase = inside
		if was != skipping {
			return raw, "", true
		}
	}
}

func (f *framer) cutIdle() (raw []byte, bad Refusal, ok bool) {
	if !f.ended {
		return f.await(0)
	}
	raw = f.buf[f.r:f.w]
	if at := f.lastStart(raw); at > 0 {
		f.take(at)
		return nil, stray(raw[:at]), true
	}
	f.ended = false
	f.take(len(raw))
	return raw, "", true
}

// await keeps what may become a frame. The last tail bytes may be the beginning of a delimiter.
func (f *framer) await(tail int) (raw []byte, bad Refusal, ok bool) {
	b := f.buf[f.r:f.w]
	n := max(0, len(b)-tail)
	if f.phase == skipping {
		f.take(n)
		return nil, "", false
	}
	if n > MaxFrame {
		f.phase = skipping
		f.take(n)
		return nil, overlong(b), true
	}
	f.scanned = n
	return nil, "", false
}

func (f *framer) cutLength() (raw []byte, bad Refusal, ok bool) {
	for {
		b := f.buf[f.r:f.w]
		at := f.firstStart(b)
		switch {
		case at > 0:
			f.take(at)
			if f.phase == inside {
				f.phase = seeking
				return nil, stray(b[:at]), true
			}
			if f.lost += at; f.lost > MaxFrame {
				f.lost = 0
				return nil, f.astray(b[:at]), true
			}
		case len(b) < f.length:
			return nil, "", false
		default:
			f.take(f.length)
			f.phase = inside
			return b[:f.length], "", true
		}
	}
}

// lastStart returns where the last start text in b stands; 0 when there is none, or none is set.
func (f *framer) lastStart(b []byte) int {
	if len(f.start) == 0 {
		return 0
	}
	return max(0, bytes.LastIndex(b, f.start))
}

// firstStart returns how many bytes of b cannot belong to a frame: those before the first start text, or before what may become one
// at the end of b. Without a start text only a pause is a boundary.
func (f *framer) firstStart(b []byte) int {
	if len(f.start) == 0 {
		if f.phase == seeking {
			return len(b)
		}
		return 0
	}
	if at := bytes.Index(b, f.start); at >= 0 {
		return at
	}
	for at := max(0, len(b)-len(f.start)+1); at < len(b); at++ {
		if bytes.HasPrefix(f.start, b[at:]) {
			return at
		}
	}
	return len(b)
}

// astray is the refusal when no boundary is found at all.
func (f *framer) astray(b []byte) Refusal {
	boundary := "pause"
	if len(f.start) > 0 {
		boundary = Excerpt(f.start)
	}
	return Refusal(fmt.Sprintf("%s: no %s in more than %d bytes to tell where a frame begins: %s", NoStart, boundary, MaxFrame, Excerpt(b)))
}

// strip takes the start text off a frame, and CR and LF around it.
func (f *framer) strip(raw []byte) ([]byte, Refusal) {
	if len(raw) > MaxFrame {
		return nil, overlong(raw)
	}
	b := bytes.Trim(raw, f.around)
	if len(f.start) == 0 || len(b) == 0 {
		return b, ""
	}
	b, ok := bytes.CutPrefix(b, f.start)
	if !ok {
		return nil, Refusal(fmt.Sprintf("%s: frame does not begin with %s: %s", NoStart, Excerpt(f.start), Excerpt(raw)))
	}
	return bytes.Trim(b, f.around), ""
}

// joined returns the text that fr would have had without the pause before it.
func (f *framer) joined(fr Frame) []byte {
	b := append(append([]byte(nil), fr.Half...), fr.Raw...)
	if f.framing == ByLength {
		b = b[:f.length]
	}
	return bytes.Trim(b, f.around)
}

// verdict says whether the last frame could be used. With fixed length, one that could not may mean that the framer is out of step.
func (f *framer) verdict(good bool) {
	if good || f.framing != ByLength {
		f.refused = 0
		return
	}
	f.refused++
	switch {
	case len(f.start) > 0:
		f.r -= f.length - 1 // look for the start once more, from the second byte on
		f.phase = seeking
	case f.refused >= 3:
		f.refused, f.phase = 0, seeking // until the next pause
	}
}

// reset forgets everything: the port was opened anew.
func (f *framer) reset() {
	f.r, f.w, f.scanned, f.refused, f.lost = 0, 0, 0, 0, 0
	f.ended, f.phase, f.half = false, seeking, f.half[:0]
}

func overlong(b []byte) Refusal {
	return Refusal(fmt.Sprintf("%s: more than %d bytes without an end of frame; dropped up to the next one; it begins with %s",
		TooLong, MaxFrame, Excerpt(b[:64])))
}

func stray(b []byte) Refusal {
	return Refusal(fmt.Sprintf("%s: %d bytes stand before the start of a frame: %s", HalfFrame, len(b), Excerpt(b)))
}
