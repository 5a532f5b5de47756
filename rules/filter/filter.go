// Package filter thins out the readings of one channel: it says which of them go on, and what becomes of those that one stands for. It knows no
// rule and no clock; times are boot times.
package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
)

// ErrState is wrapped by errors about a stored state that cannot be read.
var ErrState = errors.New("stored state of a filter")

// A Filter says what is done with the readings of some channels.
type Filter struct {
	Do        Doing
	Channels  []string      // "device.channel"; * stands for any characters
	Every     time.Duration // thin: at most one reading in that time
	As        Summary       // thin: which
	By        float64       // deadband: a number goes through when it is so far from the last that did; 0 = when it is another one
	Heartbeat time.Duration // deadband: after that time one goes through all the same; 0 = never
	Intake    uint32        // what becomes of the channels before: with another one it begins anew; 0 = nothing
}

// Doing says what a Filter does.
type Doing byte

// What a Filter can do. The numbers are part of the stored state.
const (
	Drop     Doing = 1 // nothing goes through, faults included
	Thin     Doing = 2 // one reading in a time
	Deadband Doing = 3 // what is new
)

// Summary says what becomes of the readings that one stands for.
type Summary byte

// The summaries, of numbers; of all else it is the newest.
const (
	Last    Summary = 0
	Average Summary = 1
	Least   Summary = 2
	Most    Summary = 3
)

// Check says what is wrong with f.
func (f *Filter) Check() error {
	switch {
	case len(f.Channels) == 0:
		return errors.New("filter names no channel")
	case f.Do < Drop || f.Do > Deadband || f.As > Most:
		return fmt.Errorf("filter %d, %d is not known", f.Do, f.As)
	case f.Do == Thin && f.Every <= 0:
		return fmt.Errorf("time between readings is not positive (got %v)", f.Every)
	case !(f.By >= 0) || f.Heartbeat < 0:
		return fmt.Errorf("deadband or heartbeat is negative (got %v, %v)", f.By, f.Heartbeat)
	}
	return nil
}

// String says what f does, for people.
func (f *Filter) String() string {
	names := strings.Join(f.Channels, ", ")
	switch f.Do {
	case Thin:
		return fmt.Sprintf("thin out %s to one each %v", names, f.Every)
	case Deadband:
		return fmt.Sprintf("hold back %s unless changed by %v", names, f.By)
	}
	return "drop " + names
}

// Mark returns a fingerprint of what f does, whatever its channels.
func (f *Filter) Mark() uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d %d %d %v %d", f.Do, f.Every, f.As, f.By, f.Heartbeat) // a hash takes all bytes
	if f.Intake != 0 {
		fmt.Fprintf(h, " %d", f.Intake)
	}
	return h.Sum32()
}

// Concerns reports whether f has to do with the channel called name.
func (f *Filter) Concerns(name string) bool { return MatchAny(f.Channels, name) }

// MatchAny reports whether one of patterns stands for the channel called name.
func MatchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return Match(p, name) })
}

// Match reports whether pattern stands for the channel called name: * is any characters, none too.
func Match(pattern, name string) bool {
	first, rest, any := strings.Cut(pattern, "*")
	name, ok := strings.CutPrefix(name, first)
	if !any || !ok {
		return ok && name == ""
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, p := range parts[:len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return strings.HasSuffix(name, last)
}

// Meet reports whether there can be a channel that both patterns stand for.
func Meet(p, q string) bool {
	row := make([]bool, len(q)+1) // of what is read of p so far: with which beginnings of q it meets
	for j := range row {
		row[j] = strings.Trim(q[:j], "*") == ""
	}
	for i := range len(p) {
		corner := row[0] // of the row before
		row[0] = row[0] && p[i] == '*'
		for j := range len(q) {
			above := row[j+1]
			switch {
			case p[i] == '*' || q[j] == '*':
				row[j+1] = above || row[j]
			default:
				row[j+1] = corner && p[i] == q[j]
			}
			corner = above
		}
	}
	return row[len(q)]
}

// A Lane is what a Filter keeps of one channel. The zero Lane has let nothing through.
type Lane struct {
	has   bool           // something went through since the turn began
	turn  uint64         // turn in which that was
	at    time.Duration  // boot time of what went through last; thin: on a grid of Every
	fault uint32         // hash of the fault that went through last; 0 = that was none
	value tidegate.Value // deadband: what went through last, of a text its hash; thin: the least or the greatest since
	n     uint64         // thin: values since
	sum   float64        // thin: their sum
}

// Begun reports whether l has something to be stored.
func (l *Lane) Begun() bool { return l.has }

// Pass reports whether rd, read at boot time at, goes through f; what it stands for is its value then. With another turn than before l begins
// anew. changed: what is to be stored is another.
func (l *Lane) Pass(f *Filter, turn uint64, rd *tidegate.Reading, at time.Duration) (through, changed bool) {
	if f.Do == Drop {
		return false, false
	}
	if l.turn != turn {
		*l = Lane{turn: turn}
	}
	span := f.Every
	if f.Do == Deadband {
		span = f.Heartbeat
	}
	isDue := !l.has || span > 0 && at-l.at >= span
	if rd.Fault != "" {
		h := fnv.New32a()
		h.Write([]byte(rd.Fault)) // a hash takes all bytes
		if h := h.Sum32() | 1; isDue || h != l.fault {
			l.went(f, at, span)
			l.fault = h
			return true, true
		}
		return false, false
	}
	isDue = isDue || l.fault != 0
	if f.Do == Deadband {
		v := identity(rd.Value)
		if !isDue && !l.moved(v, f.By) {
			return false, false
		}
		l.value = v
		l.went(f, at, span)
		return true, true
	}
	isNumber := l.gather(f, rd.Value)
	if !isDue {
		return false, isNumber && f.As != Last
	}
	if isNumber && f.As == Average {
		rd.Value = tidegate.Float(l.sum / float64(l.n))
	} else if isNumber && f.As != Last {
		rd.Value = l.value
	}
	l.n, l.sum, l.value = 0, 0, tidegate.Value{}
	l.went(f, at, span)
	return true, true
}

// Follows reports whether something went through since the turn began.
func (l *Lane) Follows(turn uint64) bool { return l.has && l.turn == turn }

// Force notes that rd, read at boot time at, went through whatever f says: a deadband goes on from it. What is thinned out goes on as if it had not: those of
// before still want one that stands for them. changed: what is to be stored is another.
func (l *Lane) Force(f *Filter, turn uint64, rd *tidegate.Reading, at time.Duration) (changed bool) {
	fault := uint32(0)
	if rd.Fault != "" {
		h := fnv.New32a()
		h.Write([]byte(rd.Fault)) // a hash takes all bytes
		fault = h.Sum32() | 1
	}
	switch {
	case f.Do == Drop:
		return false
	case !l.Follows(turn):
		*l = Lane{turn: turn}
	case f.Do == Thin:
		changed = l.fault != fault
		l.fault = fault
		return rd.Fault == "" && l.gather(f, rd.Value) && f.As != Last || changed
	case at < l.at:
		return false
	}
	if f.Do == Deadband && rd.Fault == "" {
		l.value = identity(rd.Value)
	}
	l.went(f, at, 0)
	l.fault = fault
	return true
}

// went notes that something went through.
func (l *Lane) went(f *Filter, at, span time.Duration) {
	if f.Do == Thin && l.has && at-l.at >= span && at-l.at < 2*span {
		at = l.at + span // so that one that comes early by a hair does not cost a whole turn
	}
	l.has, l.at, l.fault = true, at, 0
}

// gather adds a value to those that one stands for. It reports whether it is a number.
func (l *Lane) gather(f *Filter, v tidegate.Value) bool {
	n, ok := v.Number()
	if !ok || v.Kind() == tidegate.KindBool || n != n {
		return false
	}
	if f.As == Last {
		return true
	}
	l.n++
	l.sum += n
	best, ok := l.value.Number()
	if !ok || f.As == Least && n < best || f.As == Most && n > best {
		l.value = v
	}
	return true
}

// identity returns v, or of what is longer than a number its hash.
func identity(v tidegate.Value) tidegate.Value {
	k, bits, text := v.Raw()
	if k == tidegate.KindText || k == tidegate.KindBytes {
		h := fnv.New64a()
		h.Write([]byte(text)) // a hash takes all bytes
		bits = h.Sum64()
	}
	return tidegate.RawValue(k, bits, "")
}

// moved reports whether v is another value than that which went through last, and far enough from it.
func (l *Lane) moved(v tidegate.Value, by float64) bool {
	if v.Equal(l.value) {
		return false
	}
	isNumber := func(k tidegate.Kind) bool {
		return k == tidegate.KindFloat || k == tidegate.KindInt || k == tidegate.KindUint
	}
	if !isNumber(v.Kind()) || !isNumber(l.value.Kind()) {
		return true
	}
	a, _ := v.Number()
	b, _ := l.value.Number()
	return !(math.Abs(a-b) < by)
}

const stateVersion = 1

// Append encodes l, version 1:
//
//	byte     version, 1
//	uvarint  turn
//	varint   boot time in microseconds of what went through last
//	uint32   hash of the fault that went through last, big endian; 0 = that was none
//	byte     kind of the value that went through last, or of the least or greatest since
//	uint64   its bits, big endian
//	uvarint  values since
//	uint64   bits of their sum, big endian
func (l *Lane) Append(b []byte) []byte {
	k, bits, _ := l.value.Raw()
	b = append(b, stateVersion)
	b = binary.AppendUvarint(b, l.turn)
	b = binary.AppendVarint(b, l.at.Microseconds())
	b = binary.BigEndian.AppendUint32(b, l.fault)
	b = append(b, byte(k))
	b = binary.BigEndian.AppendUint64(b, bits)
	b = binary.AppendUvarint(b, l.n)
	return binary.BigEndian.AppendUint64(b, math.Float64bits(l.sum))
}

// Restore is the inverse of Append.
func (l *Lane) Restore(b []byte) error {
	cut := fmt.Errorf("%w: cut short", ErrState)
	if len(b) < 1 || b[0] != stateVersion {
		return fmt.Errorf("%w: no version %d", ErrState, stateVersion)
	}
	turn, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return cut
	}
	b = b[1+n:]
	us, n := binary.Varint(b)
	if n <= 0 || us > math.MaxInt64/1000 || us < math.MinInt64/1000 || len(b) < n+13 {
		return cut
	}
	b = b[n:]
	count, n := binary.Uvarint(b[13:])
	if n <= 0 || len(b) != 13+n+8 {
		return cut
	}
	k := tidegate.Kind(b[4])
	if k > tidegate.KindBytes {
		return fmt.Errorf("%w: there is no kind %d", ErrState, k)
	}
	l.has, l.turn, l.at, l.fault = true, turn, time.Duration(us)*time.Microsecond, binary.BigEndian.Uint32(b)
	l.value, l.n = tidegate.RawValue(k, binary.BigEndian.Uint64(b[5:]), ""), count
	l.sum = math.Float64frombits(binary.BigEndian.Uint64(b[13+n:]))
	return nil
}
