package wire

import (
	"fmt"
	"math"
	"strconv"

	"github.com/tidegate-io/tidegate"
)

// maxGapBody is how long the text of a gap may be, in bytes.
const maxGapBody = 1 << 10

// GapReading returns the reading that declares g, or takes a gap back where its cause is tidegate.CauseRequeued: text of JSON on a channel of
// the gateway's own. Its Time is zero: the record's.
func GapReading(g tidegate.Gap) tidegate.Reading {
	b := append(make([]byte, 0, 128), `{"from":`...)
	b = strconv.AppendUint(b, g.From, 10)
	b = append(b, `,"to":`...)
	b = strconv.AppendUint(b, g.To, 10)
	for _, f := range []struct {
		label string
		v     int64
	}{{`,"count":`, g.Count}, {`,"at_most":`, g.AtMost}} {
		b = strconv.AppendInt(append(b, f.label...), f.v, 10)
	}
	b = appendText(append(b, `,"cause":`...), g.Cause)
	b = strconv.AppendInt(append(b, `,"t0":`...), g.T0, 10)
	b = strconv.AppendInt(append(b, `,"t1":`...), g.T1, 10)
	if g.Epoch != "" {
		b = appendText(append(b, `,"ep":`...), g.Epoch)
	}
	text := string(append(b, '}'))
	channel := tidegate.GapChannel
	if g.Cause == tidegate.CauseRequeued {
		channel = tidegate.RequeuedChannel
	}
	return tidegate.Reading{Device: tidegate.GatewayDevice, Channel: channel, Value: tidegate.Text(text)}
}

// ParseGap reads the gap that r declares or takes back (tidegate.CauseRequeued). ok is false when r is another reading; an error says what is
// wrong with one that is meant to: a label missing, twice or not known, a range that is empty or begins at 0, a count below 0, a cause that is
// not of the channel.
func ParseGap(r tidegate.Reading) (g tidegate.Gap, ok bool, err error) {
	if r.Device != tidegate.GatewayDevice || r.Channel != tidegate.GapChannel && r.Channel != tidegate.RequeuedChannel {
		return tidegate.Gap{}, false, nil
	}
	if r.Fault != "" || r.Value.Kind() != tidegate.KindText {
		return tidegate.Gap{}, false, fmt.Errorf("read gap: got a reading of kind %s, fault %q, want text", r.Value.Kind(), r.Fault)
	}
	text, _ := r.Value.Text()
	j, err := strict([]byte(text), maxGapBody)
	if err != nil {
		return tidegate.Gap{}, false, fmt.Errorf("read gap: %w", err)
	}
	if g = j.gap(); j.err != nil {
		return tidegate.Gap{}, false, fmt.Errorf("read gap: %w", j.err)
	}
	if back := g.Cause == tidegate.CauseRequeued; back != (r.Channel == tidegate.RequeuedChannel) {
		return tidegate.Gap{}, false, fmt.Errorf("read gap: got cause %q on channel %s", g.Cause, r.Channel)
	}
	return g, true, nil
}

// gap reads the JSON of a gap and checks it.
func (j *scanner) gap() (g tidegate.Gap) {
	seen := uint32(0)
	j.object(func(label string) {
		switch label {
		case "from":
			j.once(&seen, 0, label)
			g.From = j.uint(label)
		case "to":
			j.once(&seen, 1, label)
			g.To = j.uint(label)
		case "count":
			j.once(&seen, 2, label)
			g.Count = j.int(label, 0)
		case "at_most":
			j.once(&seen, 3, label)
			g.AtMost = j.int(label, 0)
		case "cause":
			j.once(&seen, 4, label)
			g.Cause = j.text()
		case "t0":
			j.once(&seen, 5, label)
			g.T0 = j.int(label, math.MinInt64)
		case "t1":
			j.once(&seen, 6, label)
			g.T1 = j.int(label, math.MinInt64)
		case "ep":
			j.once(&seen, 7, label)
			g.Epoch = j.text()
		default:
			j.fail("label %q is not known", label)
		}
	})
	j.end()
	switch {
	case j.err != nil:
	case seen&0x7f != 0x7f:
		j.fail("got not all of from, to, count, at_most, cause, t0 and t1")
	case g.From == 0 || g.To < g.From:
		j.fail("got the numbers %d to %d, want a range from 1 on", g.From, g.To)
	case !isWord(g.Cause):
		j.fail("cause: got %q, want a word", g.Cause)
	case seen&0x80 != 0:
		if err := tidegate.CheckName(g.Epoch); err != nil {
			j.fail("ep: %v", err)
		}
	}
	return g
}

// int reads a whole number of at least least that 64 bits hold, without fraction or exponent.
func (j *scanner) int(label string, least int64) int64 {
	start := j.at
	text := j.number()
	if j.err != nil {
		return 0
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < least {
		j.at = start
		j.fail("%s: got %s, want a whole number from %d to %d", label, text, least, int64(math.MaxInt64))
		return 0
	}
	return v
}
