package frame

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

func TestSpans(t *testing.T) {
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSpans()
	if err != nil {
		t.Fatal(err)
	}
	var recs []tidegate.Record
	for _, ms := range []int64{5, 9, 2, 7} {
		recs = append(recs, tidegate.Record{Time: time.UnixMilli(ms), Readings: []tidegate.Reading{{Device: "d", Channel: "c", Value: tidegate.Int(1)}}})
	}
	columns, err := enc.AppendColumns(nil, recs)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{columns, AppendRows(nil, recs)} {
		for _, c := range []struct {
			skip, n int
			t0, t1  int64
		}{{0, 1, 5, 5}, {0, 4, 2, 9}, {1, 2, 2, 9}, {3, 1, 7, 7}} {
			if t0, t1, err := s.Of(body, c.skip, c.n); t0 != c.t0 || t1 != c.t1 || err != nil {
				t.Errorf("%+v: got %d to %d, %v", c, t0, t1, err)
			}
		}
		for _, c := range [][2]int{{0, 5}, {4, 1}, {-1, 1}, {0, 0}} {
			if _, _, err := s.Of(body, c[0], c[1]); err == nil {
				t.Errorf("%d records after %d of 4: no error", c[1], c[0])
			}
		}
	}
	if _, _, err := s.Of([]byte("x"), 0, 1); err == nil {
		t.Error("no frame, no error")
	}
}
