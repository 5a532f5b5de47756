package pms5003

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// The frame; data manual V2.3, appendix I.
const (
	start       = "\x42\x4d"
	frameLength = 32
	restLength  = 28 // 2 x 13 + 2: what the frame says of itself
)

// words are the words of a frame; words[n] is the one that the manual calls data n.
type words [14]uint16

// decode returns the words of the frame b, which has 32 bytes and begins with start.
func decode(b []byte) (w words, bad talker.Refusal) {
	if n := binary.BigEndian.Uint16(b[2:]); n != restLength {
		return w, talker.Refusal(fmt.Sprintf("%s: length is %d, want %d: another part of the family? % x", talker.NoMatch, n, restLength, b))
	}
	var sum uint16
	for _, c := range b[:frameLength-2] {
		sum += uint16(c)
	}
	if got := binary.BigEndian.Uint16(b[frameLength-2:]); got != sum {
		return w, talker.Refusal(fmt.Sprintf("%s: got %04x, want %04x: % x", talker.BadSum, got, sum, b))
	}
	for i := 1; i < len(w); i++ {
		w[i] = binary.BigEndian.Uint16(b[2+2*i:])
	}
	return w, ""
}

func (w *words) version() byte { return byte(w[13] >> 8) }

// fault returns why no value of the frame can be trusted; "" = all can.
func (w *words) fault() string {
	switch {
	case w[13]&0xff != 0:
		return fmt.Sprintf("the part reports error code 0x%02x (firmware 0x%02x): is the fan free, the inlet clean, the supply 5 V?", w[13]&0xff, w.version())
	case w[2] > 0 && w[5] == 0:
		return fmt.Sprintf("mass up to 2.5 um is %d for factories and 0 for outdoor air: this is no PMS5003; a Honeywell HPM sends such frames", w[2])
	case w[4] > w[5] || w[5] > w[6]:
		return fmt.Sprintf("mass falls with the diameter: %d up to 1.0 um, %d up to 2.5 um, %d up to 10 um: this is no frame of a PMS5003", w[4], w[5], w[6])
	}
	for i := 8; i <= 12; i++ {
		if w[i] > w[i-1] {
			return fmt.Sprintf("word %d has %d particles, word %d of smaller ones only %d: a PMS5003T has temperature and humidity there", i, w[i], i-1, w[i-1])
		}
	}
	return ""
}

// report appends the readings of w to out.
func (w *words) report(out []tidegate.Reading) []tidegate.Reading {
	fault := w.fault()
	for _, q := range table {
		r := tidegate.Reading{Channel: q.name, Unit: q.unit, Fault: fault}
		if fault == "" {
			r.Value = tidegate.Int(int64(w[q.word]))
		}
		out = append(out, r)
	}
	return out
}

// find returns the first good frame in b.
func find(b []byte) (w words, ok bool) {
	for {
		at := bytes.Index(b, []byte(start))
		if at < 0 || len(b) < at+frameLength {
			return w, false
		}
		if w, bad := decode(b[at : at+frameLength]); bad == "" {
			return w, true
		}
		b = b[at+1:]
	}
}

// explain is Driver.Explain.
func explain(out bool, b []byte) string {
	w, ok := find(b)
	if out || !ok {
		return ""
	}
	return fmt.Sprintf("frame: PM1.0 %d, PM2.5 %d, PM10 %d ug/m3; firmware 0x%02x, error code 0x%02x", w[4], w[5], w[6], w.version(), w[13]&0xff)
}

// hear is Driver.Hear.
func hear(b []byte) string {
	w, ok := find(b)
	if !ok {
		return ""
	}
	return fmt.Sprintf("Plantower PMS5003 or alike, PM2.5 %d ug/m3", w[5])
}
