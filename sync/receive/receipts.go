package receive

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/sync/wire"
)

// announced is of how many epochs of one gateway receipts are given unasked: the current one and those before it.
const announced = 16

// receipts keeps who is owed a receipt, and when it may be given.
type receipts struct {
	every time.Duration
	wake  chan struct{} // one place

	mu   sync.Mutex
	owed map[string]map[Key]bool // by gateway
	last map[string]time.Time    // when the last was given, by gateway
}

func newReceipts(every time.Duration) *receipts {
	return &receipts{every: every, wake: make(chan struct{}, 1), owed: map[string]map[Key]bool{}, last: map[string]time.Time{}}
}

// owe notes that k is owed a receipt.
func (c *receipts) owe(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed[k.Gateway] == nil {
		c.owed[k.Gateway] = map[Key]bool{}
	}
	c.owed[k.Gateway][k] = true
	signal(c.wake)
}

// due takes out the rows whose receipt may be given at now, or all, and returns how long to wait for the next; 0 = none is owed.
func (c *receipts) due(now time.Time, all bool) (keys []Key, next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for gateway, rows := range c.owed {
		if wait := c.every - now.Sub(c.last[gateway]); wait > 0 && !all {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		for k := range rows {
			keys = append(keys, k)
		}
		delete(c.owed, gateway)
		c.last[gateway] = now
	}
	return keys, next
}

// flush gives all receipts that are owed, at once.
func (c *receipts) flush(ctx context.Context, r *Receiver) {
	keys, _ := c.due(time.Now(), true)
	r.give(ctx, keys)
}

// Announce gives a receipt for every gateway and epoch known, soon: call it when the connection by which receipts go is up.
func (r *Receiver) Announce() {
	r.mu.Lock()
	gateways := r.ledger.Gateways()
	r.mu.Unlock()
	for _, gateway := range gateways {
		r.announce(gateway)
	}
}

// announce gives a receipt for the newest epochs of gateway, soon.
func (r *Receiver) announce(gateway string) {
	r.mu.Lock()
	keys := r.ledger.Keys(gateway)
	r.mu.Unlock()
	for _, k := range keys[max(0, len(keys)-announced):] {
		r.receipts.owe(k)
	}
}

// giveReceipts publishes the receipts that are owed, no gateway's more often than options.ReceiptEvery, until ctx is done.
func (r *Receiver) giveReceipts(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		keys, next := r.receipts.due(time.Now(), false)
		r.give(ctx, keys)
		if next == 0 {
			next = time.Hour
		}
		timer.Reset(next)
		select {
		case <-r.receipts.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// give publishes the receipts of keys: of each gateway the current epoch's last, and only that retained. What cannot be
// published is owed again.
func (r *Receiver) give(ctx context.Context, keys []Key) {
	if r.options.Publish == nil {
		return
	}
	keys = r.inOrder(keys)
	for i, k := range keys {
		r.mu.Lock()
		row := r.ledger.Row(k)
		if row == nil { // forgotten
			r.mu.Unlock()
			continue
		}
		upto, holes := row.Receipt()
		of := r.ledger.Keys(k.Gateway)
		r.mu.Unlock()
		body := wire.AppendReceipt(nil, wire.Receipt{Epoch: k.Epoch, Upto: upto, Holes: holes})
		err := r.options.Publish(ctx, "tg/v1/"+k.Gateway+"/down/receipt", body, k == of[len(of)-1])
		if err != nil {
			r.options.Log.Debug("receipt not published", "gateway", k.Gateway, "error", err)
			for _, k := range keys[i:] {
				r.receipts.owe(k)
			}
			return
		}
	}
}

// inOrder sorts keys by gateway and, within one, by turn: the current epoch last.
func (r *Receiver) inOrder(keys []Key) []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys = slices.DeleteFunc(keys, func(k Key) bool { return r.ledger.Row(k) == nil }) // forgotten
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(strings.Compare(a.Gateway, b.Gateway), cmp.Compare(r.ledger.Row(a).Turn, r.ledger.Row(b).Turn),
			strings.Compare(a.Epoch, b.Epoch))
	})
	return keys
}
