package buffer

import (
	"context"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/seal"
)

// A Report is the result of reading everything that is stored.
type Report struct {
	Segments int
	Frames   uint64
	Records  uint64
	Readings uint64
	Bytes    int64
	Sealed   map[seal.ID]uint64 // frames by the key that they are sealed with; 0 = in the clear
	Faults   []string           // what is damaged or missing, at most maxFaults
}

const maxFaults = 100

func (r *Report) fault(format string, a ...any) {
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, a...))
	}
}

// Check reads every frame, verifies its checksum, and compares what is there with the segments' indexes. It may run beside all else.
func (q *Queue) Check(ctx context.Context) (Report, error) {
	q.mu.Lock()
	var list []segment
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if !s.Dropping {
				list = append(list, *s)
			}
		}
	}
	q.mu.Unlock()
	r := Report{Sealed: map[seal.ID]uint64{}}
	for i := range list {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		if err := q.checkSegment(&list[i], &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (q *Queue) checkSegment(s *segment, r *Report) error {
	x := Report{Sealed: map[seal.ID]uint64{}} // of this segment
	missing, err := q.walk(s, s.First(), func(f Frame, held tidegate.Ranges) bool {
		n, err := q.o.Count(f.Body, 0, int(f.Records()))
		if err != nil || uint32(n) != f.Count {
			x.fault("segment %s: frame %d to %d holds %d readings, its header says %d (%v)", s.Segment, f.First, f.Last, n, f.Count, err)
		}
		if f.Sealed != s.Sealed {
			x.fault("segment %s: frame %d to %d is sealed with key %s, the index says %s", s.Segment, f.First, f.Last, f.Sealed, s.Sealed)
		}
		x.Sealed[f.Sealed]++
		x.Frames++
		x.Records += held.Len()
		x.Bytes += int64(len(f.Body))
		x.Readings += uint64(f.Count)
		return true
	})
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for _, m := range missing {
		x.fault("segment %s: records %d to %d are missing", s.Segment, m.First, m.Last)
	}
	if len(missing) == 0 && x.Readings != s.Readings {
		x.fault("segment %s: frames hold %d readings, the index says %d", s.Segment, x.Readings, s.Readings)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if live := q.segmentLocked(s.Segment); live == nil || live.Dropping {
		return nil // it was dropped meanwhile
	}
	r.Segments++
	for id, n := range x.Sealed {
		r.Sealed[id] += n
	}
	r.Frames += x.Frames
	r.Records += x.Records
	r.Readings += x.Readings
	r.Bytes += x.Bytes
	for _, f := range x.Faults {
		r.fault("%s", f)
	}
	return nil
}
