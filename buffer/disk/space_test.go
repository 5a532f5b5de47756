package disk

import (
	"errors"
	"testing"
	"time"
)

// fakeDisk is a disk on which others, the ballast and delivered segments take space.
type fakeDisk struct {
	o         Options
	total     int64
	others    int64
	delivered []int64 // bytes of segments
	dropped   int
}

func (d *fakeDisk) free() int64 {
	n := d.total - d.others
	for _, s := range d.delivered {
		n -= s
	}
	if hasBallast(&d.o) {
		n -= ballastBytes
	}
	return max(n, 0)
}

func (d *fakeDisk) Any() bool { return len(d.delivered) > 0 }

func (d *fakeDisk) Next() error {
	if d.free() < dropRoom {
		return errors.New("dropped on a disk that is too full for it")
	}
	d.delivered = d.delivered[1:]
	d.dropped++
	return nil
}

func TestMakeSpace(t *testing.T) {
	const mb = 1 << 20
	type step struct {
		others  int64 // MB that others have from now on
		full    bool
		dropped int // in all
		ballast bool
	}
	for name, tt := range map[string]struct {
		segments int // of 8 MB
		steps    []step
	}{
		"room for all":                       {10, []step{{others: 300, ballast: true}, {others: 310, ballast: true}}},
		"near the reserve":                   {10, []step{{others: 366, ballast: true}, {others: 370, ballast: true, dropped: 3}}},
		"filled at 80 MB/s, 60 MB left":      {10, []step{{others: 332, ballast: true}, {others: 340, ballast: true, dropped: 2}}},
		"jumped to 20 MB":                    {10, []step{{others: 300, ballast: true}, {others: 380, ballast: true, dropped: 2}}},
		"jumped below what dropping takes":   {10, []step{{others: 300, ballast: true}, {others: 395, full: true}, {others: 395}, {others: 320, ballast: true}}},
		"all taken":                          {30, []step{{others: 240, full: true}, {others: 240, dropped: 1}, {others: 240, dropped: 1}}},
		"all taken, the ballast as well":     {10, []step{{others: 400, full: true}, {others: 432, full: true}, {others: 432, full: true}, {others: 300, ballast: true}}},
		"all taken, and nothing to give":     {0, []step{{others: 480, full: true, ballast: true}, {others: 480, full: true, ballast: true}}},
		"little left, and nothing to give":   {0, []step{{others: 460, full: true, ballast: true}, {others: 448, full: true, ballast: true}, {others: 440, ballast: true}}},
		"all taken, hardly anything to give": {1, []step{{others: 472, full: true}, {others: 472, dropped: 1}, {others: 472, dropped: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			d := &fakeDisk{o: testedOptions(t), total: 512 * mb}
			d.o.Statfs = func(string) (int64, int64, error) { return d.free(), d.total, nil }
			for range tt.segments {
				d.delivered = append(d.delivered, 8*mb)
			}
			if err := makeRoom(&d.o); err != nil || !hasBallast(&d.o) {
				t.Fatalf("no ballast: %v", err)
			}
			at := time.Unix(0, 0)
			s := &Store{o: d.o, guard: guard{ask: func() (int64, int64, error) { return d.o.Statfs("") }, now: func() time.Time { return at }}}
			for i, x := range tt.steps {
				d.others = x.others * mb
				at = at.Add(100 * time.Millisecond)
				if i > 0 && x.others-tt.steps[i-1].others > 20 {
					at = at.Add(10 * time.Second) // a jump
				}
				err := s.MakeSpace(400<<10, d)
				if full := errors.Is(err, ErrNoSpace); full != x.full || (err != nil) != full {
					t.Errorf("step %d: got %v with %d MB free, want no space %v", i, err, d.free()/mb, x.full)
				}
				if d.dropped != x.dropped {
					t.Errorf("step %d: %d segments are dropped, want %d", i, d.dropped, x.dropped)
				}
				if got := hasBallast(&d.o); got != x.ballast {
					t.Errorf("step %d: ballast %v, want %v", i, got, x.ballast)
				}
			}
		})
	}
}

func TestTightDropsForTheBallastToo(t *testing.T) {
	free := int64(0)
	g := guard{ask: func() (int64, int64, error) { return free, 0, nil }}
	for _, x := range []struct {
		free        int64
		tight, bare bool
	}{
		{dropRoom - 1, false, false},
		{dropRoom, true, true},
		{Reserve + dropRoom - 1, true, true},
		{Reserve + dropRoom, false, true},
		{ballastRoom - 1, false, true},
		{ballastRoom, false, false},
	} {
		free = x.free
		g.bare = false
		tight := g.tight()
		g.bare = true
		if bare := g.tight(); tight != x.tight || bare != x.bare {
			t.Errorf("%d bytes free: tight %v, without ballast %v; want %v and %v", free, tight, bare, x.tight, x.bare)
		}
	}
}
