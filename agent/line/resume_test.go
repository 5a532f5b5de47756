package line

import (
	"fmt"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
)

// TestStoreIsGone: what a start does with a lease whose store was set aside or deleted, by what the lease knows of uplinks.
func TestStoreIsGone(t *testing.T) {
	last := lease.Lease{Epoch: 3, EpochID: "e", Start: 1000, End: 70_000}
	at := func(epoch uint32, n uint64) lease.Cursor { return lease.Cursor{Uplink: "a", Epoch: epoch, Number: n} }
	whole := func(f *facts) { // rings that hold numbers from 1,500 on
		f.kept, f.mark, f.tail, f.head = true, mark{3, 1600}, 100, 200
		e := &entry{epoch: 3, epochID: "e", start: 1000, runs: []run{{class: tidegate.ClassReading, first: 1500, records: 101}}}
		f.entries = []found{{at: 100, next: 200, e: e}}
	}
	for name, tt := range map[string]struct {
		change func(f *facts)
		want   string // ordinal, whether it is new, next number; gaps
	}{
		"power cut": {func(f *facts) { f.lease.Cursors = []lease.Cursor{at(3, 1200)} }, "4 true 70000: 3 1201-69999 137598 damaged"},
		"clean stop": {func(f *facts) {
			f.lease.Cursors = []lease.Cursor{at(3, 1200)}
			f.lease.Clean, f.lease.Last = true, 1300
		}, "4 true 1301: 3 1201-1300 200 damaged"},
		"clean stop, all was delivered": {func(f *facts) {
			f.lease.Cursors = []lease.Cursor{at(3, 1300)}
			f.lease.Clean, f.lease.Last = true, 1300
		}, "4 true 1301:"},
		"rings whole":                     {func(f *facts) { f.lease.Cursors = []lease.Cursor{at(3, 1200)}; whole(f) }, "3 false 1601: 3 1201-1499 598 damaged"},
		"rings whole, all else delivered": {func(f *facts) { f.lease.Cursors = []lease.Cursor{at(3, 1550)}; whole(f) }, "3 false 1601:"},
		"an earlier ordinal has some":     {func(f *facts) { f.lease.Cursors = []lease.Cursor{at(3, 1200), at(2, 700)} }, "4 true 70000: 3 701-69999 138598 damaged"},
		"an earlier one of another name": {func(f *facts) {
			f.lease.Start, f.lease.Cursors = 1, []lease.Cursor{at(3, 1200), at(2, 700)}
		}, "4 true 70000: 3 1201-69999 137598 damaged"},
		"nothing was delivered, set aside": {func(f *facts) { f.bad = true }, "4 true 70000: 3 1-69999 139998 damaged"},
		"never committed":                  {func(*facts) {}, "4 true 70000: 3 1000-69999 7 power_cut"},
		"found by an earlier start": {func(f *facts) {
			f.lease.Cursors = []lease.Cursor{at(3, 1200)}
			d := buffer.Declaration{Epoch: 3, Ranges: tidegate.Ranges{{First: 1201, Last: 1300}}, Cause: tidegate.CauseDamaged}
			f.lease.Pending = [][]byte{d.Encode()}
		}, "4 true 70000: 3 1201-69999 137598 damaged"},
		"rings of another name": {func(f *facts) {
			f.lease.Cursors = []lease.Cursor{at(3, 1200)}
			whole(f)
			f.entries[0].e.epoch, f.entries[0].e.epochID, f.entries[0].e.start = 2, "old", 1400
		}, "3 false 1601: 2 1400-1499 200 damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &facts{lease: last, leased: true, pair: [16]byte{1}, atMost: 7, perRecord: 2, tail: box.Place(0)}
			tt.change(f)
			p := resume(f)
			got := fmt.Sprint(p.epoch, p.begin, p.next) + ":"
			for _, d := range p.declared {
				got += fmt.Sprintf(" %d %d-%d %d %s", d.Epoch, d.Ranges[0].First, d.Ranges[0].Last, d.AtMost, d.Cause)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestHeld: what the lease says that ring 2 held is declared when the rings are gone, less what was committed since; as long as they are whole it is no loss.
func TestHeld(t *testing.T) {
	for name, tt := range map[string]struct {
		epoch uint32 // of the last commit, and the next number behind it
		next  uint64
		kept  bool
		want  string
	}{
		"nothing of it is committed": {1, 500, false, " 1000-1010 at most 22 power_cut of {held 900}; kept in mind 0"},
		"some is":                    {2, 1005, false, " 1005-1010 at most 12 power_cut of {held 900}; kept in mind 0"},
		"all is":                     {2, 1011, false, "; kept in mind 0"},
		"more than that is":          {3, 5, false, "; kept in mind 0"},
		"rings are whole":            {1, 500, true, "; kept in mind 1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := buffer.Declaration{Epoch: 2, Ranges: tidegate.Ranges{{First: 1000, Last: 1010}}, AtMost: 22, Cause: causeHeld, Why: "held", Count: 900}
			f := &facts{
				lease: lease.Lease{Epoch: 4, EpochID: "new", Start: 1, End: 65537, Pending: [][]byte{d.Encode()}}, leased: true,
				pair: [16]byte{1}, atMost: 7, perRecord: 2, pos: buffer.Position{Epoch: tt.epoch, Next: tt.next, LeaseEnd: tt.next, Time: 1},
				kept: tt.kept, mark: mark{4, 0},
			}
			p := resume(f)
			got := ""
			for _, d := range p.declared {
				if d.Epoch == 2 {
					got += fmt.Sprintf(" %d-%d at most %d %s of %v", d.Ranges[0].First, d.Ranges[0].Last, d.AtMost, d.Cause, p.epochs[2])
				}
			}
			got += fmt.Sprint("; kept in mind ", len(p.pending))
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestStoreIsOlder: a store that is as it was before, without being any the worse for it: a list of tables of a while ago, a log that was cut.
func TestStoreIsOlder(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(f *facts)
		want   string
	}{
		"stopped in order":                    {func(*facts) {}, " 3 1201-1300 200 damaged"},
		"an ordinal back, of the same name":   {func(f *facts) { f.pos.Epoch, f.pos.Next, f.epochs[2] = 2, 900, f.epochs[3] }, " 3 900-1300 802 damaged"},
		"an ordinal back, of another name":    {func(f *facts) { f.pos.Epoch, f.pos.Next = 2, 900 }, " 3 1000-1300 602 damaged"},
		"nothing was given since":             {func(f *facts) { f.pos.Next = 1301 }, ""},
		"nothing was given at all":            {func(f *facts) { f.pos.Epoch, f.pos.Next, f.epochs[2], f.lease.Last = 2, 1000, f.epochs[3], 999 }, ""},
		"declared by the start before it":     {func(f *facts) { f.pending(1000, 1300) }, " 3 1000-1300 0 power_cut"},
		"a part is declared by that":          {func(f *facts) { f.pending(1000, 1250) }, " 3 1000-1250 0 power_cut 3 1251-1300 100 damaged"},
		"power cut":                           {func(f *facts) { f.lease.Clean = false }, " 3 1201-69999 7 power_cut"},
		"power cut, and the log was cut":      {func(f *facts) { f.lease.Clean, f.tailLost = false, true }, " 3 1201-69999 137598 power_cut"},
		"stopped in order, which takes a log": {func(f *facts) { f.pos.Next, f.tailLost = 1301, true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := &facts{
				lease: lease.Lease{Epoch: 3, EpochID: "e", Start: 1000, End: 70_000, Clean: true, Last: 1300}, leased: true, pair: [16]byte{1}, atMost: 7, perRecord: 2,
				pos: buffer.Position{Epoch: 3, Next: 1201, LeaseEnd: 70_000, Time: 1}, epochs: map[uint32]buffer.Epoch{3: {ID: "e", Start: 1000}, 2: {ID: "old", Start: 1}},
			}
			tt.change(f)
			p := resume(f)
			got := ""
			for _, d := range p.declared {
				got += fmt.Sprintf(" %d %d-%d %d %s", d.Epoch, d.Ranges[0].First, d.Ranges[0].Last, d.AtMost, d.Cause)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// pending has an earlier start have found a gap of ordinal 3, of which nothing is committed.
func (f *facts) pending(from, to uint64) {
	d := buffer.Declaration{Epoch: 3, Ranges: tidegate.Ranges{{First: from, Last: to}}, Cause: tidegate.CausePowerCut}
	f.lease.Pending, f.pos.Epoch, f.pos.Next = [][]byte{d.Encode()}, 2, 500
}

// TestPendingIsDeclaredOnce: gaps that an earlier start found and left in the lease are not declared again where ring 2 holds them, which a gap of any other cause
// does not say.
func TestPendingIsDeclaredOnce(t *testing.T) {
	for cause, want := range map[string]int{
		"": 1, tidegate.CauseOverflow: 1, tidegate.CauseThinned: 1, tidegate.CauseRejected: 1, tidegate.CausePowerCut: 0, tidegate.CauseDamaged: 0, tidegate.CauseRestored: 0,
	} {
		f := &facts{
			lease: lease.Lease{Epoch: 3, EpochID: "e", Start: 1000, End: 70_000}, leased: true, pair: [16]byte{1}, atMost: 7, perRecord: 2,
			pos: buffer.Position{LeaseEnd: 70_000, Time: 1}, epochs: map[uint32]buffer.Epoch{2: {ID: "old", Start: 1}}, kept: true, mark: mark{3, 0},
		}
		f.pending(1000, 1300)
		e := &entry{epoch: 3, epochID: "e", start: 1000}
		if cause != "" {
			e.declared = []buffer.Declaration{{Epoch: 3, Cause: cause}}
		}
		f.entries = []found{{next: 1, e: e}}
		f.head = 1
		p := resume(f)
		if len(p.declared) != want || len(p.pending) != 1 {
			t.Errorf("where ring 2 holds a gap of cause %q: %d are declared, %d kept in mind; want %d, 1", cause, len(p.declared), len(p.pending), want)
		}
	}
}
