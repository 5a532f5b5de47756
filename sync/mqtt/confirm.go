package mqtt

import (
	"context"
	"fmt"
	"slices"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate-io/tidegate/sync/forward/uplink"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// Confirmed returns the batches whose PUBACK was read from this connection since their publish, if the library agrees that they are
// complete, and the receipts that came. See uplink.Uplink.
func (u *Uplink) Confirmed(ctx context.Context, wake <-chan struct{}) ([]uplink.Confirmation, error) {
	for {
		over := u.guard.ended() != nil // asked first: what came before the end counts
		out := u.receipts()
		u.prove()
		if over {
			u.settleDown()
		}
		out = u.complete(out)
		if len(out) > 0 {
			return out, nil
		}
		if over {
			return nil, u.lost()
		}
		var late <-chan struct{}
		if len(u.proved) > 0 {
			late = u.sent[u.proved[0]].token.Done()
		}
		select {
		case <-u.guard.news:
		case <-u.guard.over:
		case <-u.came:
		case <-late:
		case <-wake:
			return nil, nil
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// prove notes which batches in flight were acknowledged; identifiers that are not in flight mean nothing.
func (u *Uplink) prove() {
	u.scratch = u.guard.taken(u.scratch[:0])
	for _, id := range u.scratch {
		if _, ok := u.sent[id]; ok && !slices.Contains(u.proved, id) { // it may come twice
			u.proved = append(u.proved, id)
		}
	}
}

// settleDown gives the library the time to complete what was acknowledged before the connection ended.
func (u *Uplink) settleDown() {
	t := time.NewTimer(proofWait)
	defer t.Stop()
	for _, id := range u.proved {
		select {
		case <-u.sent[id].token.Done():
		case <-t.C:
			return
		}
	}
}

// complete appends the batches that were acknowledged and that the library has completed without error.
func (u *Uplink) complete(out []uplink.Confirmation) []uplink.Confirmation {
	rest := u.proved[:0]
	for _, id := range u.proved {
		fl := u.sent[id]
		select {
		case <-fl.token.Done():
			delete(u.sent, id)
			if fl.token.Error() == nil {
				out = append(out, uplink.Confirmation{Batch: fl.batch})
			}
		default:
			rest = append(rest, id)
		}
	}
	u.proved = rest
	return out
}

// take is called by the library with a receipt; it must not wait.
func (u *Uplink) take(_ paho.Client, m paho.Message) {
	if n := len(m.Payload()); n > maxReceipt {
		u.o.Log.Warn("receipt is dropped", "cause", fmt.Sprintf("it has %d bytes, at most %d are taken", n, maxReceipt))
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.inbox) == maxReceipts { // later receipts say what earlier ones said
		u.inbox = append(u.inbox[:0], u.inbox[1:]...)
	}
	u.inbox = append(u.inbox, m.Payload())
	signal(u.came)
}

// receipts decodes what came.
func (u *Uplink) receipts() []uplink.Confirmation {
	u.mu.Lock()
	in := u.inbox
	u.inbox = nil
	u.mu.Unlock()
	var out []uplink.Confirmation
	for _, payload := range in {
		if len(payload) == 0 {
			continue // a retained receipt that was deleted
		}
		r, err := wire.ParseReceipt(payload)
		if err != nil {
			u.o.Log.Warn("receipt is dropped", "cause", err)
			continue
		}
		out = append(out, uplink.Confirmation{Epoch: r.Epoch, Upto: r.Upto, Holes: r.Holes, Missing: r.Upto == 0})
	}
	return out
}
