package buffer

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate"
)

// A Report is the result of reading everything that is stored.
type Report struct {
	Segments int
	Frames   uint64
	Records  uint64
	Readings uint64
	Bytes    int64
	Faults   []string // what is damaged or missing, at most maxFaults
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
			if !s.doomed {
				list = append(list, *s)
			}
		}
	}
	q.mu.Unlock()
	var r Report
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
	var held tidegate.Ranges
	var readings uint64
	err := q.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = s.key(keyFrame)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.ValidForPrefix(o.Prefix); it.Next() {
			err := it.Item().Value(func(b []byte) error {
				f, err := parseFrame(b)
				if err != nil {
					return err
				}
				if f.First > s.last() {
					return nil // committed after the index was copied
				}
				n, err := q.o.Count(f.Body, 0, int(f.Records()))
				if err != nil {
					return fmt.Errorf("%w: %w", ErrDamaged, err)
				}
				if uint32(n) != f.Count {
					return fmt.Errorf("frame %d to %d holds %d readings, its header says %d: %w", f.First, f.Last, n, f.Count, ErrDamaged)
				}
				held.Add(tidegate.Range{First: f.First, Last: f.Last})
				readings += uint64(f.Count)
				r.Frames++
				r.Records += f.Records()
				r.Bytes += int64(len(b))
				return nil
			})
			if errors.Is(err, ErrDamaged) {
				r.fault("segment %s: %v", s.segmentName, err)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("check segment %s: %w", s.segmentName, err)
	}
	r.Segments++
	r.Readings += readings
	for _, run := range s.runs {
		for _, m := range held.Missing(run) {
			r.fault("segment %s: records %d to %d are missing", s.segmentName, m.First, m.Last)
		}
	}
	return nil
}
