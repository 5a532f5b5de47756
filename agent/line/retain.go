package line

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/line/thin"
	"github.com/tidegate-io/tidegate/buffer"
)

const (
	// retainEvery is how often it is looked what is to be kept no longer, while nothing is committed.
	retainEvery = time.Minute
	// thinRound and thinFor bound what is thinned out at one time: it stays in memory until ring 2 has it, and no commit is made meanwhile.
	thinRound = 1 << 20
	thinFor   = 200 * time.Millisecond
)

// retain drops what is to be kept no longer, and hands on what is to be declared before that.
func (s *store) retain() {
	s.kept = s.clock().Boot
	if err := s.disk.Retain(s.age + s.kept); err != nil {
		s.log.Error("drop old segments", "err", err)
	}
	asked := s.disk.Requests()
	for i := range asked {
		if asked[i].Cause == tidegate.CauseThinned {
			s.jobs = append(s.jobs, thin.NewJob(asked[i], time.Duration(s.window.Load())))
		}
	}
	s.declare(slices.DeleteFunc(asked, func(d buffer.Declaration) bool { return d.Cause == tidegate.CauseThinned }))
	s.thinOut()
}

// thinOut works at what is to be thinned out, for a while, when the judge has put all that it was given before.
func (s *store) thinOut() {
	if len(s.jobs) == 0 || s.waiting() > 0 {
		return
	}
	var list []thin.Piece
	for began, size := time.Now(), 0; len(s.jobs) > 0 && size < thinRound && time.Since(began) < thinFor; {
		j := s.jobs[0]
		p, ok, err := j.Next(s.disk, s.dec)
		if err != nil {
			s.log.Error("thin out", "err", err)
			break
		}
		if ok {
			list = append(list, p)
			size += thin.PieceBytes
		}
		if j.Done() {
			s.jobs = s.jobs[1:]
		}
	}
	s.pieces(list)
}

// agesFrom returns what boot time now lacks to Position.Lived: time counts while a machine runs, by the clock that nobody sets. What ran by of this boot
// before the process began counts, the time in which the machine was off does not, as nobody knows it.
func agesFrom(last *buffer.Position, boot [16]byte, now time.Duration) time.Duration {
	switch {
	case last.Lived == 0: // nothing is stored, or by a version that knew no age
		return -now
	case last.Boot == boot && last.Uptime <= now:
		return last.Lived - last.Uptime
	}
	return last.Lived
}
