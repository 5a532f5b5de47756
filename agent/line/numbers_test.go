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
