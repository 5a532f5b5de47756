package past

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// batch is about how many bytes of frames are read at a time.
const batch = 256 << 10

// A stream is what is stored of one class, record by record.
type stream struct {
	queue *buffer.Queue
	class tidegate.Class
	dec   *frame.Decoder
	pause func(ctx context.Context, worked time.Duration)
	began time.Time // when it last paused

	at    buffer.Place // of the next frame to read
	looks []buffer.Look
	epoch uint32
	recs  []tidegate.Record // of the frame under way, from the next record on
	all   []tidegate.Record // their memory
	ended bool
}

func newStream(q *buffer.Queue, class tidegate.Class, pause func(context.Context, time.Duration)) (*stream, error) {
	dec, err := frame.NewDecoder()
	return &stream{queue: q, class: class, dec: dec, pause: pause, began: time.Now()}, err
}

// peek returns the next record and its place; nil where there is none. It is valid until next.
func (s *stream) peek(ctx context.Context) (*tidegate.Record, buffer.Place, error) {
	for len(s.recs) == 0 && !s.ended {
		if err := s.fill(ctx); err != nil {
			return nil, buffer.Place{}, err
		}
	}
	if len(s.recs) == 0 {
		return nil, buffer.Place{}, nil
	}
	return &s.recs[0], buffer.Place{Epoch: s.epoch, Number: s.recs[0].Number}, nil
}

func (s *stream) next() { s.recs = s.recs[1:] }

// fill decodes the next frame.
func (s *stream) fill(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(s.looks) == 0 {
		s.pause(ctx, time.Since(s.began))
		s.began = time.Now()
		if s.looks, err = s.queue.Stored(s.class, s.at, batch); err != nil {
			return err
		}
		if s.ended = len(s.looks) == 0; s.ended {
			return nil
		}
	}
	l := &s.looks[0]
	s.looks = s.looks[1:]
	s.at, s.epoch = buffer.Place{Epoch: l.Epoch, Number: l.Last + 1}, l.Epoch
	if s.all, err = s.dec.Decode(s.all[:0], l.Class, l.First, l.Body); err != nil {
		return fmt.Errorf("decode records %d to %d: %w", l.First, l.Last, err)
	}
	s.recs = s.all
	if l.Want.Len() != l.Records() {
		kept := s.all[:0]
		for i := range s.all {
			if l.Want.Contains(s.all[i].Number) {
				kept = append(kept, s.all[i])
			}
		}
		s.recs = kept
	}
	return nil
}
