package line

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
)

// facts is what is found at a start. resume decides from it alone; buffer/README.md walks through the cases.
type facts struct {
	lease  lease.Lease
	leased bool // a slot could be read
	pos    buffer.Position
	epochs map[uint32]buffer.Epoch // known to the store
	kept   bool                    // the rings are whole, of this boot and state
	pair   [16]byte                // id of the rings, kept or new
	tail   box.Place               // of ring 2
	head   box.Place
	input  box.Place // tail of ring 1
	mark   mark      // highest number that ring 2 says was given
	lost   box.Place // input position behind the last Read that ring 2 had no room for
	// entries are those of ring 2 from its tail on.
	entries []found
	// atMost bounds the readings that a power cut can have cost.
	atMost uint64
	// perRecord bounds the readings of one record.
	perRecord uint64
	bad       bool // damaged stores were set aside
	tailLost  bool // the store's log lost more than a power cut takes
	anew      bool // a new epoch is to begin in any case
	// held are the numbers that the store has, by epoch: of a new one, what could be read of the damaged one before it.
	held map[uint32]tidegate.Ranges
}

type mark struct {
	epoch  uint32
	number uint64
}

// found is one entry of ring 2: e stands between place at and place next.
type found struct {
	at, next box.Place
	e        *entry
}

// A plan says how to go on.
type plan struct {
	epoch   uint32
	epochID string // of a new ordinal: "" = draw a name, else its numbers go on under this one
	next    uint64 // first number to give
	begin   bool   // the ordinal is new
	at      box.Place
	input   box.Place
	drops1  buffer.Drops
	drops2  buffer.Drops
	// What the store has committed of input and drops; the above are of the newest entry, which may not be committed.
	atInput            box.Place
	atDrops1, atDrops2 buffer.Drops
	declared           []buffer.Declaration
	epochs             map[uint32]buffer.Epoch // those that the rings or the lease know and the store may not
	pending            [][]byte                // declarations that an earlier start left in the lease, encoded
	held               []buffer.Declaration    // see hold
	why                string                  // one sentence for the log
}

// position returns last, the position of the last commit, as it is for the rings that the plan goes on with.
func (p *plan) position(last buffer.Position, rings *box.Pair, state [16]byte) buffer.Position {
	last.Pair, last.Boot, last.State = rings.Judged.Pair(), rings.Boot, state
	last.Ring, last.Input, last.Drops1, last.Drops2 = p.at, p.atInput, p.atDrops1, p.atDrops2
	return last
}

// resume decides how numbering and the rings go on.
func resume(f *facts) plan {
	f.overrule()
	p := plan{epochs: map[uint32]buffer.Epoch{}, at: f.head, input: f.input, atInput: f.input}
	if f.leased && f.lease.EpochID != "" {
		p.epochs[f.lease.Epoch] = buffer.Epoch{ID: f.lease.EpochID, Start: f.lease.Start}
	}
	// Rings without a mark were made by a process that ended before it had leased numbers for them.
	f.kept = f.kept && f.mark.epoch > 0
	follows := f.kept && (f.pos.Pair == f.pair && f.pos.Ring >= f.tail && f.pos.Ring <= f.head || f.pos.Pair != f.pair && f.tail == 0 || f.begun() || f.gone())
	older := f.kept && f.stateIsOlder()
	if f.kept && (follows || older) {
		f.followRings(&p)
	}
	if !f.leased {
		f.withoutLease(&p, f.kept && follows)
		return p
	}
	p.epoch, p.epochID = f.lease.Epoch, f.lease.EpochID
	f.declarePending(&p, follows || older)
	switch {
	case older:
		f.restored(&p)
	case follows:
		p.next = max(f.highest(f.lease.Epoch)+1, f.lease.Start)
		if f.lease.Clean {
			p.next = max(p.next, f.lease.Last+1)
		}
		p.why = fmt.Sprintf("rings are whole: going on at number %d", p.next)
	case f.lease.Clean:
		p.next = max(f.lease.Last, f.committed(f.lease.Epoch)) + 1
		p.epoch, p.begin = f.top()+1, true
		p.why = fmt.Sprintf("stopped in order: going on at number %d", p.next)
		f.declareBehind(&p)
	default:
		f.powerCut(&p)
		p.epoch, p.begin = f.top()+1, true
	}
	if f.gone() && !older {
		f.declareGone(&p)
	}
	if f.anew {
		f.newEpoch(&p)
	}
	return p
}

// overrule puts what the store knows of the lease in the place of a slot that is older than that: the newer slot is damaged. A slot that was
// torn when it was written is not ahead, for no commit had its end yet. What the newer slot said beyond the last commit is not known: it
// counts as not stopped in order.
func (f *facts) overrule() {
	l, name := &f.lease, f.epochs[f.pos.Epoch]
	ahead := f.pos.Epoch > l.Epoch
	if f.pos.Epoch == l.Epoch {
		ahead = f.pos.LeaseEnd > l.End || l.Clean && f.pos.Next > l.Last+1
	}
	if !f.leased || !ahead {
		return
	}
	f.leased = name.ID != "" // else a new epoch begins
	end := max(f.pos.LeaseEnd, f.pos.Next)
	if f.pos.Epoch == l.Epoch {
		end = max(end, l.End)
	}
	f.lease = lease.Lease{State: l.State, Epoch: f.pos.Epoch, EpochID: name.ID, Start: name.Start, End: end, Cursors: l.Cursors}
}

// stateIsOlder reports whether the rings know more than the state directory: it was restored from a backup.
func (f *facts) stateIsOlder() bool {
	if !f.begun() && !f.gone() && (f.pos.Pair == f.pair && f.pos.Ring < f.tail || f.pos.Pair != f.pair && f.tail > 0) {
		return true
	}
	if !f.leased {
		return false
	}
	epoch, high := f.mark.epoch, f.mark.number
	for _, x := range f.entries {
		if x.e.epoch > epoch {
			epoch, high = x.e.epoch, 0
		}
		if x.e.epoch == epoch {
			high = max(high, x.e.highest())
		}
	}
	if epoch != f.lease.Epoch {
		return epoch > f.lease.Epoch
	}
	return high >= f.lease.End || f.lease.Clean && high > f.lease.Last
}

// begun reports whether a start that knew these rings and this state has begun an ordinal of which nothing is committed yet.
func (f *facts) begun() bool {
	return f.leased && f.mark.epoch == f.lease.Epoch && f.pos.Epoch < f.lease.Epoch
}

// followRings sets where the store and the judge go on in the rings.
func (f *facts) followRings(p *plan) {
	p.at = f.tail
	if f.pos.Pair == f.pair {
		p.at = max(f.tail, f.pos.Ring)
		p.input, p.drops1, p.drops2 = max(f.input, f.pos.Input), f.pos.Drops1, f.pos.Drops2
	}
	for _, x := range f.entries { // committed just before the store was damaged, and salvaged
		if !f.gone() || !f.holds(x.e) {
			break
		}
		p.at, p.input, p.drops1, p.drops2 = x.next, max(f.input, x.e.input), x.e.drops1, x.e.drops2
	}
	p.atInput, p.atDrops1, p.atDrops2 = p.input, p.drops1, p.drops2
	for _, x := range f.entries {
		_, stored := f.epochs[x.e.epoch]
		if _, leased := p.epochs[x.e.epoch]; !stored && !leased { // both are newer where it was renamed
			p.epochs[x.e.epoch] = buffer.Epoch{ID: x.e.epochID, Start: x.e.start}
		}
		p.input, p.drops1, p.drops2 = max(f.input, x.e.input), x.e.drops1, x.e.drops2
	}
	p.input = max(p.input, f.lost)
}

// committed returns the highest number of the epoch that the store has.
func (f *facts) committed(epoch uint32) uint64 {
	if f.pos.Epoch != epoch || f.pos.Next == 0 {
		return 0
	}
	return f.pos.Next - 1
}

// highest returns the highest number of the epoch that store or rings have.
func (f *facts) highest(epoch uint32) uint64 {
	h := f.committed(epoch)
	if f.mark.epoch == epoch {
		h = max(h, f.mark.number)
	}
	for _, x := range f.entries {
		if x.e.epoch == epoch {
			h = max(h, x.e.highest())
		}
	}
	return h
}

// powerCut goes on at the lease's end and declares what may have been given between.
func (f *facts) powerCut(p *plan) {
	p.next = max(f.lease.End, f.committed(f.lease.Epoch)+1)
	if f.gone() {
		return
	}
	from := max(f.committed(f.lease.Epoch)+1, f.lease.Start)
	f.declare(p, f.lease.Epoch, from, p.next-1, tidegate.CausePowerCut, f.most(from, p.next-1))
	if old := f.pos.Epoch; f.pos.Time != 0 && old < f.lease.Epoch && f.epochs[old].ID != f.lease.EpochID {
		// Rings of an earlier epoch had been kept for the one that was cut; what they held beyond the last commit went with them.
		rest := tidegate.Ranges{{First: f.pos.Next, Last: max(f.pos.Next, f.pos.LeaseEnd) - 1}}
		for _, d := range p.declared {
			for _, r := range d.Ranges {
				if d.Epoch == old {
					rest.Remove(r)
				}
			}
		}
		for _, r := range rest {
			f.declare(p, old, r.First, r.Last, tidegate.CausePowerCut, f.most(r.First, r.Last))
		}
	}
	p.why = fmt.Sprintf("power cut or reboot without a clean stop: numbers go on at %d, %d to %d are declared as a gap", p.next, from, p.next-1)
}

// said reports whether an entry of ring 2 holds the gap of an earlier power cut.
func (f *facts) said() bool {
	for _, x := range f.entries {
		for _, d := range x.e.declared {
			switch d.Cause {
			case tidegate.CausePowerCut, tidegate.CauseDamaged, tidegate.CauseRestored:
				return true
			}
		}
	}
	return false
}

// declarePending takes over the gaps that an earlier start had found, if it ended before they were on their way: nothing of its
// ordinal was committed, and ring 2 does not hold them.
func (f *facts) declarePending(p *plan, ringsGoOn bool) {
	if f.pos.Epoch == f.lease.Epoch {
		return
	}
	said := f.kept && f.said()
	for _, b := range f.lease.Pending {
		d, err := buffer.DecodeDeclaration(b)
		isHeld := err == nil && d.Cause == causeHeld
		if isHeld && !ringsGoOn {
			f.take(p, d)
			continue
		}
		p.pending = append(p.pending, b) // also what ring 2 holds: a power cut may still take it
		if said || isHeld || err != nil || f.gone() && d.Cause == tidegate.CauseDamaged {
			continue // of another version, whose process has said so (the slot's CRC held); or declareGone finds it again
		}
		p.declared = append(p.declared, d)
	}
}

// mostPending bounds what the lease carries of gaps, in bytes; a slot has room for a little more.
const mostPending = 1800

// toKeep returns what the lease is to carry until a commit holds it. What of a damaged store finds no room is found again by the next start, as
// long as nothing was committed to the new one.
func (p *plan) toKeep() [][]byte {
	out := slices.Clone(p.pending)
	size := 0
	for _, b := range out {
		size += len(b) + 2
	}
	for _, d := range slices.Concat(p.held, p.declared) {
		b := d.Encode()
		if size += len(b) + 2; size > mostPending && d.Cause == tidegate.CauseDamaged {
			break
		}
		if !slices.ContainsFunc(out, func(x []byte) bool { return bytes.Equal(x, b) }) {
			out = append(out, b)
		}
	}
	return out
}

// restored begins a new epoch, because the state directory is older than the numbers already given. What was given between its last
// commit and what the rings still hold was delivered or is lost with the newer state.
func (f *facts) restored(p *plan) {
	base := f.lease.Epoch
	from, to := max(f.committed(base)+1, f.lease.Start), f.lease.End-1
	if f.mark.epoch == base {
		to = f.mark.number
	}
	if e, first := f.oldest(); e != nil {
		switch {
		case e.epoch == base:
			to = first - 1
		case e.epochID == f.lease.EpochID: // a later ordinal of the same name
			to = e.start - 1
			f.declare(p, e.epoch, e.start, first-1, tidegate.CauseRestored, (first-e.start)*f.perRecord)
		default:
			f.declare(p, e.epoch, e.start, first-1, tidegate.CauseRestored, (first-e.start)*f.perRecord)
		}
	}
	if to >= from {
		f.declare(p, base, from, to, tidegate.CauseRestored, (to-from+1)*f.perRecord)
	}
	f.newEpoch(p)
	p.why = "the state directory is older than the numbers already given (restored backup?): a new epoch begins"
}

// oldest returns the first entry of ring 2 that gave numbers, and the lowest of them.
func (f *facts) oldest() (e *entry, first uint64) {
	for _, x := range f.entries {
		if n := x.e.lowest(); n > 0 {
			return x.e, n
		}
	}
	return nil, 0
}

// withoutLease begins the first epoch, or a new one where slots are unreadable.
func (f *facts) withoutLease(p *plan, follows bool) {
	f.newEpoch(p)
	if f.pos.Time == 0 && len(f.epochs) == 0 {
		p.why = "first start of this state directory"
		return
	}
	p.why = "no lease of numbers can be read: a new epoch begins"
	if !follows && f.pos.LeaseEnd > f.pos.Next {
		f.declare(p, f.pos.Epoch, f.pos.Next, f.pos.LeaseEnd-1, tidegate.CausePowerCut, f.most(f.pos.Next, f.pos.LeaseEnd-1))
	}
}

// newEpoch begins a line of numbers of its own.
func (f *facts) newEpoch(p *plan) {
	f.hold(p)
	p.epoch, p.epochID, p.next, p.begin = f.top()+1, "", 1, true
}

// top returns the highest ordinal that anything speaks of.
func (f *facts) top() uint32 {
	top := max(f.lease.Epoch, f.pos.Epoch, f.mark.epoch)
	for e := range f.epochs {
		top = max(top, e)
	}
	for _, x := range f.entries {
		top = max(top, x.e.epoch)
	}
	return top
}

func (f *facts) declare(p *plan, epoch uint32, from, to uint64, cause string, atMost uint64) {
	if from > to {
		return
	}
	p.declared = append(p.declared, buffer.Declaration{
		Epoch: epoch, Ranges: tidegate.Ranges{{First: from, Last: to}}, AtMost: atMost, Cause: cause, T0: f.pos.Time,
	})
}
