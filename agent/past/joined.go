package past

import (
	"context"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
)

// joined is what is stored of Reads, of classes reading and debug, Read by Read in the order of their numbers: where rules sent parts of one another way,
// they are put together again, as rules judged them together. Parts have the same device, time and boot time, and each another way. Readings
// with times of their own come in that order; those of one time that went another way come behind those that did not.
type joined struct {
	streams [2]*stream
	rec     tidegate.Record // the next one
	at      buffer.Place    // of its first part; zero = it is not known yet
	numbers []uint64        // of its parts
	ways    []rules.Way
	ends    []int // of its parts, in rec.Readings
}

func newJoined(q *buffer.Queue, pause func(context.Context, time.Duration)) (*joined, error) {
	j := &joined{}
	for i, class := range [...]tidegate.Class{tidegate.ClassReading, tidegate.ClassDebug} {
		s, err := newStream(q, class, pause)
		if err != nil {
			return nil, err
		}
		j.streams[i] = s
	}
	return j, nil
}

// peek returns the next record and the place of its first part; nil where there is none. It is valid until next.
func (j *joined) peek(ctx context.Context) (*tidegate.Record, buffer.Place, error) {
	if len(j.numbers) > 0 {
		return &j.rec, j.at, nil
	}
	s, rec, at, err := j.first(ctx)
	if err != nil || rec == nil {
		return nil, at, err
	}
	j.rec, j.at = *rec, at
	j.ways, j.ends = j.ways[:0], j.ends[:0]
	for {
		j.numbers = append(j.numbers, rec.Number)
		j.ways = append(j.ways, rules.TakenBy(rec))
		j.ends = append(j.ends, len(j.rec.Readings))
		s.next()
		if s, rec, at, err = j.first(ctx); err != nil {
			return nil, at, err
		}
		if rec == nil || at.Epoch != j.at.Epoch || !j.belongs(rec) {
			break
		}
		j.rec.Readings = slices.Concat(j.rec.Readings, rec.Readings)
	}
	j.rec.Class, j.rec.For, j.rec.Labels = tidegate.ClassReading, "", ""
	if len(j.ends) > 1 {
		j.sort()
	}
	return &j.rec, j.at, nil
}

// first returns the next part, and the stream that it comes from.
func (j *joined) first(ctx context.Context) (s *stream, rec *tidegate.Record, at buffer.Place, err error) {
	for _, x := range j.streams {
		next, place, err := x.peek(ctx)
		if err != nil {
			return nil, nil, at, err
		}
		if next != nil && (rec == nil || place.Before(at)) {
			s, rec, at = x, next, place
		}
	}
	return s, rec, at, nil
}

// belongs reports whether rec is a part of the same Read. A Read of more than tidegate.MaxReadings was judged in pieces.
func (j *joined) belongs(rec *tidegate.Record) bool {
	r := &j.rec
	return rec.Boot == r.Boot && rec.Time.Equal(r.Time) && rec.Quality == r.Quality && !slices.Contains(j.ways, rules.TakenBy(rec)) &&
		len(r.Readings)+len(rec.Readings) <= tidegate.MaxReadings &&
		len(r.Readings) > 0 && len(rec.Readings) > 0 && rec.Readings[0].Device == r.Readings[0].Device
}

// sort puts readings in the order of their times, where the parts are.
func (j *joined) sort() {
	byTime := func(a, b tidegate.Reading) int { return j.timeOf(&a).Compare(j.timeOf(&b)) }
	from := 0
	for _, end := range j.ends {
		if !slices.IsSortedFunc(j.rec.Readings[from:end], byTime) {
			return
		}
		from = end
	}
	slices.SortStableFunc(j.rec.Readings, byTime)
}

func (j *joined) timeOf(rd *tidegate.Reading) time.Time {
	if rd.Time.IsZero() {
		return j.rec.Time
	}
	return rd.Time
}

// next goes on to the next record.
func (j *joined) next() { j.numbers = j.numbers[:0] }
