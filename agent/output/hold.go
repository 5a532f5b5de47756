package output

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
)

const (
	// walkStep is how long a number stays at each step of its way.
	walkStep = time.Second
	// rangeMost is how long a number waits for its device to report it, after which nothing is known that it could be walked from.
	rangeMost = 10 * time.Second
)

// A holdKind says how long a value is held back; a greater one is worse.
type holdKind int

const (
	free     holdKind = iota // it is not
	timed                    // for a known time
	excluded                 // until another output is off
	unsure                   // until it is known that another output is off
)

// A hold says why and for how long a value is held back.
type hold struct {
	kind  holdKind
	rest  time.Duration // until it may be set; timed only
	total time.Duration // until all of it is; more than rest where it goes in steps
	why   string
}

// look returns what n can be set to on its way to goal, and what holds that back now.
func (l *Interlock) look(n Name, goal tidegate.Value, isWhole bool) (tidegate.Value, hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lookLocked(n, goal, isWhole)
}

func (l *Interlock) lookLocked(n Name, goal tidegate.Value, isWhole bool) (tidegate.Value, hold) {
	s, k := l.stateLocked(n), l.locks[n]
	if on, isSwitch := goal.Bool(); isSwitch {
		return goal, l.switchLocked(n, s, k, on)
	}
	if _, isNumber := goal.Number(); isNumber && (k.MaxRise > 0 || k.MaxFall > 0) {
		return s.walk(k, goal, isWhole, l.opened[n.Device].began)
	}
	return goal, hold{}
}

// switchLocked returns what keeps n from being switched on or off.
func (l *Interlock) switchLocked(n Name, s *state, k Lock, on bool) hold {
	if s.stands == tidegate.Bool(on) {
		return hold{} // it is no change
	}
	h, since, least, way, key := hold{}, s.mayOn, k.MinOn, "on", "min_on"
	if on {
		h, since, least, way, key = l.excludedLocked(n, s), s.mayOff, k.MinOff, "off", "min_off"
	}
	ago := time.Since(since)
	rest := least - ago
	if rest <= h.rest || h.kind > timed {
		return h
	}
	why := fmt.Sprintf("it was switched %s %v ago, and stays so for at least %v (%s)", way, shown(ago), least, key)
	if !since.After(l.opened[n.Device].began) {
		why = fmt.Sprintf("its device was opened %v ago, nobody knows since when it is %s, and it stays so for at least %v (%s)", shown(ago), way, least, key)
	} else if s.stands.Kind() == tidegate.KindNone {
		why = fmt.Sprintf("it may have been switched %s %v ago, and stays so for at least %v (%s)", way, shown(ago), least, key)
	}
	return hold{kind: timed, rest: rest, total: rest, why: why}
}

// walk returns the next step of a number towards goal.
func (s *state) walk(k Lock, goal tidegate.Value, isWhole bool, opened time.Time) (tidegate.Value, hold) {
	if !s.hasRange {
		if rest := rangeMost - time.Since(opened); rest > 0 {
			return goal, hold{kind: timed, rest: rest, total: rest, why: "its device has not yet reported where it stands, from where it goes on in steps"}
		}
		return goal, hold{}
	}
	to, _ := goal.Number()
	lowest, highest := math.Inf(-1), math.Inf(1)
	up, upEach := stepOf(k.MaxRise, isWhole)
	if up > 0 {
		highest = round(s.low + up)
	}
	down, downEach := stepOf(k.MaxFall, isWhole)
	if down > 0 {
		lowest = round(s.high - down)
	}
	next, h, each, steps := min(max(to, lowest), highest), hold{}, walkStep, 1.0
	switch {
	case s.low == to && s.high == to:
		return goal, h // it is there
	case up > 0 && to > s.low:
		each, steps = upEach, math.Ceil(round((to-s.low)/up))
		h.why = fmt.Sprintf("it rises by at most %s a second (max_rise)", formatNumber(k.MaxRise))
	case down > 0 && to < s.high:
		each, steps = downEach, math.Ceil(round((s.high-to)/down))
		h.why = fmt.Sprintf("it falls by at most %s a second (max_fall)", formatNumber(k.MaxFall))
	default:
		return goal, h // that way it goes as it likes
	}
	if h.rest = max(0, each-time.Since(s.moved)); h.rest > 0 {
		h.kind = timed
	}
	h.total = h.rest + time.Duration(min(steps-1, 1e6)*float64(each))
	if next == to {
		return goal, h
	}
	switch {
	case isWhole && goal.Kind() == tidegate.KindUint:
		return tidegate.Uint(uint64(next)), h
	case isWhole && goal.Kind() == tidegate.KindInt:
		return tidegate.Int(int64(next)), h
	}
	return tidegate.Float(next), h
}

// stepOf returns by how much a number changes at once at that rate a second, and how long after the change before.
func stepOf(rate float64, isWhole bool) (step float64, each time.Duration) {
	switch {
	case rate <= 0 || !isWhole:
		return rate, walkStep
	case rate < 1:
		return 1, time.Duration(math.Ceil(float64(time.Second) / rate))
	}
	return math.Floor(rate), walkStep
}

// round takes away what adding decimal fractions leaves at the far end: 0.1 + 0.2 is 0.3.
func round(f float64) float64 {
	short, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 12, 64), 64)
	if err != nil {
		return f // a number that was written can be read
	}
	return short
}

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// shown returns d as people want to read it.
func shown(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
