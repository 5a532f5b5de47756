package thin

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
	"pgregory.net/rapid"
)

// shelf is a segment of frames, of which some cannot be read.
type shelf struct {
	frames []buffer.Frame
	torn   map[uint64]bool // by first number
	fails  error
}

func (s *shelf) Frames(_ buffer.Segment, from uint64, f func(buffer.Frame) bool) (missing tidegate.Ranges, err error) {
	if s.fails != nil {
		return nil, s.fails
	}
	for _, x := range s.frames {
		switch {
		case x.Last < from:
		case s.torn[x.First]:
			missing.Add(tidegate.Range{First: x.First, Last: x.Last})
		case !f(x):
			return missing, nil
		}
	}
	return missing, nil
}

func count(recs []tidegate.Record) (n uint64) {
	for _, r := range recs {
		for _, x := range r.Readings {
			switch v, _ := x.Value.Number(); {
			case strings.HasSuffix(x.Channel, ".count"):
				n += uint64(v)
			case !strings.Contains(x.Channel, "."):
				n++
			}
		}
	}
	return n
}

// TestPiecesAreTheWhole: whatever stands in a segment, and whatever of it is done, meant for others or damaged, the pieces declare each number that was asked for
// once, and what stands for them counts exactly their readings.
func TestPiecesAreTheWhole(t *testing.T) {
	dec, err := frame.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := &shelf{torn: map[uint64]bool{}}
		d := buffer.Declaration{Uplink: rapid.SampledFrom([]string{"", "a"}).Draw(t, "uplink"), Epoch: 1, Cause: tidegate.CauseThinned, Segment: buffer.Segment{Class: 1, Epoch: 1, Counter: 9}}
		at, next, torn := time.Unix(1_792_000_000, 0), uint64(1), uint64(0)
		channels := rapid.SampledFrom([]int{1, 40, 900}).Draw(t, "channels")
		for range rapid.IntRange(1, 30).Draw(t, "frames") {
			var recs []tidegate.Record
			for range rapid.IntRange(1, 6).Draw(t, "records") {
				at = at.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
				rec := tidegate.Record{Class: tidegate.ClassReading, Time: at, Number: next + uint64(len(recs))}
				if d.Uplink != "" {
					rec.For = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "for")
				}
				for c := range channels {
					rec.Readings = append(rec.Readings, tidegate.Reading{Device: "d", Channel: fmt.Sprint("c", c), Value: tidegate.Int(int64(c))})
				}
				recs = append(recs, rec)
			}
			f := buffer.Frame{Epoch: 1, Class: 1, First: next, Last: next + uint64(len(recs)) - 1, Body: frame.AppendRows(nil, recs)}
			s.frames = append(s.frames, f)
			isTorn := rapid.IntRange(0, 9).Draw(t, "torn") == 0
			s.torn[f.First] = isTorn
			for i := range recs {
				if rapid.IntRange(0, 4).Draw(t, "done") == 0 {
					continue
				}
				d.Ranges.Add(tidegate.Range{First: recs[i].Number, Last: recs[i].Number})
				if recs[i].For == "" || recs[i].For == d.Uplink {
					d.Count += uint64(channels)
					if isTorn {
						torn += uint64(channels)
					}
				}
			}
			next = f.Last + 1 + uint64(rapid.IntRange(0, 2).Draw(t, "others"))
		}
		j := NewJob(d, time.Minute)
		var all tidegate.Ranges
		var lost uint64
		for n := 0; !j.Done(); n++ {
			if n > 100 {
				t.Fatal("it does not end")
			}
			s.fails = nil
			if rapid.IntRange(0, 5).Draw(t, "fails") == 0 {
				s.fails = errors.New("input/output error")
			}
			p, ok, err := j.Next(s, dec)
			if err != nil && errors.Is(err, s.fails) || err == nil && !ok {
				continue
			}
			for _, r := range p.Declared.Ranges {
				if len(all.Within(r)) > 0 {
					t.Fatalf("%v is declared twice", r)
				}
			}
			all.AddAll(p.Declared.Ranges)
			if got := count(p.Records); p.Declared.Cause == tidegate.CauseThinned && got != p.Declared.Count {
				t.Fatalf("records stand for %d readings, %d are declared", got, p.Declared.Count)
			}
			if p.Declared.Cause == tidegate.CauseDamaged {
				lost += p.Declared.Count
			}
			if p.Declared.AtMost != p.Declared.Count || p.Declared.Uplink != d.Uplink || p.Declared.Segment != d.Segment {
				t.Fatalf("declared %+v", p.Declared)
			}
			if n := len(frame.AppendRows(nil, p.Records)); n > 4*PieceBytes {
				t.Fatalf("a piece has %d bytes", n)
			}
			for _, r := range p.Records {
				if r.For != d.Uplink || !r.IsRestored() {
					t.Fatalf("record is %+v", r)
				}
			}
		}
		if fmt.Sprint(all) != fmt.Sprint(d.Ranges) || lost != torn {
			t.Fatalf("declared %v, want %v; %d readings as damaged, want %d", all, d.Ranges, lost, torn)
		}
	})
}
