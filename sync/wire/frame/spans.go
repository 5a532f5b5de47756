package frame

import (
	"fmt"
	"sync"

	"github.com/tidegate-io/tidegate"
)

// Spans says of which times records are. Make it with NewSpans; it is safe for concurrent use.
type Spans struct {
	mu   sync.Mutex
	dec  *Decoder
	recs []tidegate.Record // reused
}

// NewSpans returns a Spans.
func NewSpans() (*Spans, error) {
	dec, err := NewDecoder()
	return &Spans{dec: dec}, err
}

// Of returns the earliest and the latest time, Unix milliseconds, of n records of body, in either form, after skip records; n is 1 or more.
func (s *Spans) Of(body []byte, skip, n int) (t0, t1 int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recs, err = s.dec.Decode(s.recs[:0], 0, 1, body)
	defer func() { clear(s.recs[:cap(s.recs)]) }()
	if err != nil {
		return 0, 0, err
	}
	if skip < 0 || n < 1 || skip+n > len(s.recs) {
		return 0, 0, fmt.Errorf("times of records %d to %d of %d", skip, skip+n, len(s.recs))
	}
	for i := range s.recs[skip : skip+n] {
		t := s.recs[skip+i].Time.UnixMilli()
		if i == 0 || t < t0 {
			t0 = t
		}
		if i == 0 || t > t1 {
			t1 = t
		}
	}
	return t0, t1, nil
}
