package line

import (
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/line/thin"
	"github.com/tidegate-io/tidegate/buffer"
)

// roomForPiece is how many numbers have to be left: more than a piece takes.
const roomForPiece = 8192

// replace queues pieces; any goroutine may call it.
func (j *judge) replace(list []thin.Piece) {
	if len(list) == 0 {
		return
	}
	j.mu.Lock()
	j.pieces = append(j.pieces, list...)
	j.mu.Unlock()
	j.signal()
}

// thinning returns how many pieces no entry holds yet; any goroutine may call it.
func (j *judge) thinning() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.pieces)
}

// putPieces puts an entry of its own for each piece, one behind the other, as long as ring 2 is not half full: what is read now has precedence. What
// does not fit waits: until an entry holds it nothing has changed.
func (j *judge) putPieces() error {
	for j.thinning() > 0 && j.judged.Used() <= j.judged.Size()/2 && j.numbers.room() >= roomForPiece {
		j.mu.Lock()
		p := j.pieces[0]
		j.mu.Unlock()
		if err := j.putPiece(&p); errors.Is(err, box.ErrFull) {
			return nil
		} else if err != nil {
			return fmt.Errorf("judge: %w", err)
		}
		j.mu.Lock()
		j.pieces = j.pieces[1:]
		j.mu.Unlock()
	}
	return nil
}

// putPiece puts p: the gap of what goes, and what stands for it, which counts as derived.
func (j *judge) putPiece(p *thin.Piece) error {
	epoch, name, next := j.numbers.peek()
	now := j.clock()
	j.epochs[epoch] = name
	e := &entry{epoch: epoch, epochID: name.ID, start: name.Start, input: j.input, drops1: j.drops1, drops2: j.drops2, declared: []buffer.Declaration{p.Declared}}
	gap := gapRecord(e.declared, j.epochs, epoch, stamped{now.Wall, now.Boot, now.Quality()})
	e.runs = append(e.runs, newRun(tidegate.ClassAudit, next, gap))
	next += uint64(len(gap))
	before := j.ledger.now
	if len(p.Records) > 0 {
		r := newRun(tidegate.ClassReading, next, p.Records)
		r.thin = true
		e.runs = append(e.runs, r)
		next += uint64(len(p.Records))
		j.ledger.now.Derived += uint64(r.readings)
		j.noteStates(j.ledger.state())
	}
	e.rules = j.changed
	j.buf = appendEntry(j.buf[:0], e)
	if _, err := j.judged.Put(false, j.buf); err != nil {
		if j.ledger.now != before {
			j.ledger.now = before
			j.noteStates(j.ledger.state())
		}
		return err
	}
	j.numbers.taken(next)
	j.judged.Mark(epoch, next-1)
	j.mu.Lock()
	j.counts = j.ledger.now
	j.mu.Unlock()
	j.carried()
	j.show(e)
	j.urgent()
	return nil
}
