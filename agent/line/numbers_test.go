package line

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
)

// slotLog is slots that keep what was written, in order, and may refuse.
type slotLog struct {
	mu    sync.Mutex // guards all below
	list  []lease.Lease
	fails error
}

func (s *slotLog) Write(l lease.Lease) error {
	runtime.Gosched() // a disk takes its time
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.list = append(s.list, l)
	return nil
}

// TestSlotsAreWrittenInOrder: the store renews the lease while the judge begins epochs. No slot of an older epoch follows a newer one.
func TestSlotsAreWrittenInOrder(t *testing.T) {
	file := &slotLog{}
	n := &numbers{file: file}
	n.set(1, buffer.Epoch{ID: "1", Start: 1}, 1)
	var wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
			}
			if err := n.renew(nil); err != nil {
				t.Error(err)
			}
		}
	})
	for e := uint32(2); e < 500; e++ {
		if err := n.begin(e, buffer.Epoch{ID: fmt.Sprint(e), Start: 1}, nil); err != nil {
			t.Error(err)
		}
	}
	close(quit)
	wg.Wait()
	for i, l := range file.list {
		if i > 0 && l.Epoch < file.list[i-1].Epoch {
			t.Fatalf("slot %d is of epoch %d, the one before of %d", i, l.Epoch, file.list[i-1].Epoch)
		}
	}
}

// TestDamagedSlot: where the newest slot cannot be read, the one before does not take numbers back that the store has.
func TestDamagedSlot(t *testing.T) {
	old := lease.Lease{Epoch: 5, EpochID: "name", Start: 1, End: 65537, Clean: true, Last: 1000}
	names := map[uint32]buffer.Epoch{5: {ID: "name", Start: 1}, 6: {ID: "name", Start: 1001}}
	for name, tt := range map[string]struct {
		lease lease.Lease
		pos   buffer.Position
		names map[uint32]buffer.Epoch
		next  uint64
		gap   string
	}{
		"of a later ordinal":           {old, buffer.Position{Epoch: 6, Next: 5001, LeaseEnd: 66537, Time: 1}, names, 66537, "[{5001 66536}]"},
		"of the same, after a stop":    {old, buffer.Position{Epoch: 5, Next: 5001, LeaseEnd: 70000, Time: 1}, names, 70000, "[{5001 69999}]"},
		"a renewal":                    {lease.Lease{Epoch: 5, EpochID: "name", Start: 1, End: 65537}, buffer.Position{Epoch: 5, Next: 60001, LeaseEnd: 98000, Time: 1}, names, 98000, "[{60001 97999}]"},
		"none":                         {old, buffer.Position{Epoch: 5, Next: 1001, LeaseEnd: 65537, Time: 1}, names, 1001, "[]"},
		"of one that the store forgot": {old, buffer.Position{Epoch: 6, Next: 5001, LeaseEnd: 66537, Time: 1}, nil, 1, "[{5001 66536}]"},
	} {
		t.Run(name, func(t *testing.T) {
			p := resume(&facts{lease: tt.lease, leased: true, pos: tt.pos, epochs: tt.names})
			gap := "[]"
			for _, d := range p.declared {
				gap = fmt.Sprint(d.Ranges)
			}
			if p.next != tt.next || gap != tt.gap {
				t.Errorf("numbers go on at %d, gap %s; want %d, %s", p.next, gap, tt.next, tt.gap)
			}
		})
	}
}
