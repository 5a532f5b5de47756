// Package summary makes few readings of many: of each channel and window of time the minimum, the maximum, the mean and the count of its numbers, the last
// and the count of all else, and how many faults there were. It is pure, and knows neither rules nor any clock.
package summary

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
)

// What stands behind a channel's name in what is made of it.
const (
	Min    = ".min"    // the least number, in the channel's unit
	Max    = ".max"    // the greatest
	Mean   = ".mean"   // their mean, to a thousandth of what lies between the least and the greatest
	Count  = ".count"  // how many readings stand behind the above, or behind Last
	Last   = ".last"   // the last yes/no, text or bytes
	Faults = ".faults" // how many faults; the text of the last one stands in a fault of the channel itself
)

// So few numbers, other values or faults of a channel in one window stay as they were read: a summary would be no shorter.
const (
	FewNumbers = 4
	FewOthers  = 2
)

// What a number says that is none: the words that sync/wire has for it.
const (
	notANumber    = "value is not a number"
	infinite      = "value is infinite"
	minusInfinite = "value is minus infinite"
	noValue       = "no value"
)

// A Set is what windows have become so far.
type Set struct {
	window time.Duration
	groups map[way]*group
	size   int
}

// A way is what the readings of one record of a Set have in common.
type way struct {
	start  int64 // of the window, Unix microseconds
	uplink string
	labels string
}

// A group is one window.
type group struct {
	quality tidegate.TimeQuality
	boot    time.Duration
	series  map[name]*series
	order   []name
}

type name struct{ device, channel, unit string }

// A series is one channel in one window.
type series struct {
	numbers, others, faults block
	min, max                tidegate.Value
	low, high, mean         float64
}

// A block is readings of one kind.
type block struct {
	n    uint64
	few  []tidegate.Reading // as long as there are few
	last tidegate.Reading
}

// New returns an empty Set of windows of that length, which begin at whole multiples of it since 1970.
func New(window time.Duration) *Set {
	return &Set{window: max(window, time.Microsecond), groups: map[way]*group{}}
}

// Size returns about how many bytes Records take, as rows of a frame.
func (s *Set) Size() int { return s.size }

// Window returns the start of the window that t lies in.
func (s *Set) Window(t time.Time) time.Time { return time.UnixMicro(s.start(t)) }

func (s *Set) start(t time.Time) int64 {
	us, w := t.UnixMicro(), s.window.Microseconds()
	over := us % w
	if over < 0 {
		over += w
	}
	return us - over
}

// Add adds the readings of rec. Those of which the window is another than the record's, as they have times of their own, go by their own.
func (s *Set) Add(rec *tidegate.Record) {
	var g *group
	var at way
	for i := range rec.Readings {
		rd := rec.Readings[i]
		if rd.Time.IsZero() {
			rd.Time = rec.Time
		}
		if w := (way{s.start(rd.Time), rec.For, rec.Labels}); g == nil || w != at {
			at, g = w, s.group(w, rec, rec.Boot.Abs()-rec.Time.Sub(time.UnixMicro(w.start)))
		}
		s.add(g, rd)
	}
}

// rowBytes is what one reading takes beside its texts.
const rowBytes = 16

// group returns the group of w; boot is the boot time of its start.
func (s *Set) group(w way, rec *tidegate.Record, boot time.Duration) *group {
	g := s.groups[w]
	if g == nil {
		g = &group{quality: rec.Quality, boot: boot, series: map[name]*series{}}
		s.groups[w] = g
		s.size += 4*rowBytes + len(w.labels) + len(w.uplink)
	}
	g.quality = max(g.quality, rec.Quality)
	return g
}

func (s *Set) add(g *group, rd tidegate.Reading) {
	key := name{rd.Device, rd.Channel, rd.Unit}
	x := g.series[key]
	if x == nil {
		x = &series{}
		g.series[key] = x
		g.order = append(g.order, key)
	}
	number, isNumber := rd.Value.Number()
	if rd.Fault == "" {
		rd.Fault = faultOf(rd.Value, number)
	}
	b, few := &x.others, FewOthers
	switch {
	case rd.Fault != "":
		b = &x.faults
	case isNumber && rd.Value.Kind() != tidegate.KindBool:
		b, few = &x.numbers, FewNumbers
		x.take(rd.Value, number)
	}
	if b.n++; b.n <= uint64(few) {
		b.few = append(b.few, rd)
		text, _ := rd.Value.Text()
		s.size += rowBytes + len(rd.Channel) + len(rd.Fault) + len(text)
	}
	b.last = rd
}

// faultOf returns the fault that stands for a value which is none; "" for all others.
func faultOf(v tidegate.Value, number float64) string {
	switch v.Kind() {
	case tidegate.KindNone:
		return noValue
	case tidegate.KindFloat:
		switch {
		case number != number:
			return notANumber
		case number > math.MaxFloat64:
			return infinite
		case number < -math.MaxFloat64:
			return minusInfinite
		}
	}
	return ""
}

// take adds a number.
func (x *series) take(v tidegate.Value, number float64) {
	if x.numbers.n == 0 {
		x.min, x.max, x.low, x.high, x.mean = v, v, number, number, number
		return
	}
	if less(v, x.min) {
		x.min, x.low = v, number
	}
	if less(x.max, v) {
		x.max, x.high = v, number
	}
	n := float64(x.numbers.n + 1)
	x.mean += number/n - x.mean/n
}

// less reports whether number a is less than number b; whole ones of one kind are compared to the last bit.
func less(a, b tidegate.Value) bool {
	ka, x, _ := a.Raw()
	kb, y, _ := b.Raw()
	switch {
	case ka == tidegate.KindInt && kb == tidegate.KindInt:
		return int64(x) < int64(y)
	case ka == tidegate.KindUint && kb == tidegate.KindUint:
		return x < y
	}
	f, _ := a.Number()
	g, _ := b.Number()
	return f < g
}

// average returns the mean, within what it is the mean of, with as many digits as say something.
func (x *series) average() float64 {
	mean := x.mean
	if spread := (x.high - x.low) / 1000; spread > 0 && spread < math.MaxFloat64 {
		digits := math.Ceil(-math.Log10(spread))
		if scale := math.Pow(10, math.Abs(digits)); digits > 0 && digits <= 22 && math.Abs(mean)*scale < 1<<53 {
			mean = math.Round(mean*scale) / scale
		} else if digits <= 0 && digits >= -22 {
			mean = math.Round(mean/scale) * scale
		}
	}
	return min(max(mean, x.low), x.high)
}

// Records returns what has become of all, in the order of windows: records of class reading without numbers, which bear tidegate.SummaryLabel. Their time is
// the start of their window; what was left as it was read has its own.
func (s *Set) Records() []tidegate.Record {
	ways := make([]way, 0, len(s.groups))
	for w := range s.groups {
		ways = append(ways, w)
	}
	slices.SortFunc(ways, func(a, b way) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.uplink, b.uplink), cmp.Compare(a.labels, b.labels))
	})
	var out []tidegate.Record
	for _, w := range ways {
		g := s.groups[w]
		rec := tidegate.Record{
			Class: tidegate.ClassReading, Time: time.UnixMicro(w.start), Quality: g.quality, For: w.uplink, Labels: mark(w.labels, s.window),
			Boot: -max(g.boot, time.Microsecond), // rules have judged it before, see IsRestored
		}
		for _, key := range g.order {
			rec.Readings = g.series[key].append(rec.Readings, key)
		}
		for i := range rec.Readings {
			if rec.Readings[i].Time.Equal(rec.Time) {
				rec.Readings[i].Time = time.Time{}
			}
		}
		for all := rec.Readings; len(all) > 0; {
			n := min(len(all), tidegate.MaxReadings)
			rec.Readings, all = all[:n:n], all[n:]
			out = append(out, rec)
		}
	}
	return out
}

func (x *series) append(out []tidegate.Reading, key name) []tidegate.Reading {
	add := func(suffix string, v tidegate.Value, unit string) {
		out = append(out, tidegate.Reading{Device: key.device, Channel: Name(key.channel, suffix), Value: v, Unit: unit})
	}
	count := uint64(0)
	if b := &x.numbers; b.n > FewNumbers {
		count += b.n
		add(Min, x.min, key.unit)
		add(Max, x.max, key.unit)
		add(Mean, tidegate.Float(x.average()), key.unit)
	} else {
		out = append(out, b.few...)
	}
	if b := &x.others; b.n > FewOthers {
		count += b.n
		add(Last, b.last.Value, key.unit)
	} else {
		out = append(out, b.few...)
	}
	if count > 0 {
		add(Count, tidegate.Uint(count), "")
	}
	if b := &x.faults; b.n > FewOthers {
		add(Faults, tidegate.Uint(b.n), "")
		out = append(out, b.last)
	} else {
		out = append(out, b.few...)
	}
	return out
}

// Name returns the name of what is made of channel. Where it would be longer than tidegate.MaxName, "-" and eight digits, a hash of the whole, stand for the
// channel's end.
func Name(channel, suffix string) string {
	if len(channel)+len(suffix) <= tidegate.MaxName {
		return channel + suffix
	}
	h := fnv.New32a()
	h.Write([]byte(channel)) // a hash takes all bytes
	digits := strconv.FormatUint(uint64(h.Sum32())|1<<32, 16)[1:]
	return channel[:tidegate.MaxName-len(suffix)-len(digits)-1] + "-" + digits + suffix
}

// mark returns labels, as tidegate.Labels.String has written them, with tidegate.SummaryLabel of window among them; where there are tidegate.MaxLabels already, one of them gives way.
func mark(labels string, window time.Duration) string {
	l := tidegate.Labels{}
	if labels != "" && json.Unmarshal([]byte(labels), &l) != nil {
		l = tidegate.Labels{} // String has not written it
	}
	if names := slices.Sorted(maps.Keys(l)); len(names) >= tidegate.MaxLabels && l[tidegate.SummaryLabel] == "" {
		delete(l, names[len(names)-1])
	}
	l[tidegate.SummaryLabel] = window.String()
	return l.String()
}
