package receive

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Publish sends body to topic, retained or not, and returns once it is on its way; it may fail while there is no connection.
type Publish func(ctx context.Context, topic string, body []byte, retain bool) error

// countEvery is how often a group that holds nothing but duplicates is written, for the sake of their number.
const countEvery = time.Second

// Options says how a Receiver works. The zero value of each means its default.
type Options struct {
	Sink         Sink          // required
	Publish      Publish       // of receipts; nil = none are given
	Log          *slog.Logger  // nil = nothing is logged
	ReceiptEvery time.Duration // shortest time between two receipts for one gateway's epoch; default 250 ms
	Wait         time.Duration // longest time that a payload waits for others to share its write; default 20 ms
	GroupBytes   int           // size at which a group waits no longer, decoded bytes; default 8 MiB
	InboxBytes   int           // size at which Take waits, decoded bytes; default 32 MiB
}

// A Receiver is the far end. Make one with New, feed it with Take, and let Run work.
type Receiver struct {
	options  Options
	inbox    *inbox
	unzip    unzipper
	most     bounds
	receipts *receipts
	turns    map[string]turn // used by Run's goroutine only, as are the next two
	carried  map[Key]uint64  // duplicates that are to be counted with the next write
	written  time.Time       // when the last write was done
	received atomic.Uint64   // payloads taken in since New

	mu      sync.Mutex // guards what follows
	ledger  *Ledger    // as the Sink has it
	failing error      // the last write's
}

// New loads the ledger from o.Sink, which it does not close.
func New(ctx context.Context, o Options) (*Receiver, error) {
	if o.Sink == nil {
		return nil, fmt.Errorf("make receiver: no sink given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ReceiptEvery <= 0 {
		o.ReceiptEvery = 250 * time.Millisecond
	}
	if o.Wait <= 0 {
		o.Wait = 20 * time.Millisecond
	}
	if o.GroupBytes <= 0 {
		o.GroupBytes = 8 << 20
	}
	if o.InboxBytes <= 0 {
		o.InboxBytes = 32 << 20
	}
	ledger, err := o.Sink.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load ledger: %w", err)
	}
	r := &Receiver{options: o, inbox: newInbox(o.InboxBytes), ledger: ledger, turns: map[string]turn{}, carried: map[Key]uint64{}, most: usualBounds()}
	r.receipts = newReceipts(o.ReceiptEvery)
	for _, gateway := range ledger.Gateways() {
		keys := ledger.Keys(gateway)
		current := keys[len(keys)-1]
		r.turns[gateway] = turn{key: current, n: ledger.Row(current).Turn}
	}
	return r, nil
}

// Run stores what Take takes in and gives receipts, until ctx is done; then it finishes what is in the inbox and returns nil.
// The workers beside run as long as it does: they are ended after the last payload's Done and the last receipt. The first error
// of any of them ends all and is returned.
func (r *Receiver) Run(ctx context.Context, beside ...func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	workers, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	beside = append(slices.Clone(beside), r.giveReceipts)
	errs := make(chan error, len(beside)) // of the workers, in the order in which they end
	for _, w := range beside {
		go func() {
			err := w(workers)
			if err != nil {
				stop()
			}
			errs <- err
		}()
	}
	err := r.store(ctx)
	r.receipts.flush(workers, r)
	end()
	for range beside {
		err = cmp.Or(err, <-errs)
	}
	return err
}

// store writes group after group until ctx is done and the inbox is empty.
func (r *Receiver) store(ctx context.Context) error {
	for {
		select {
		case <-r.inbox.some:
			r.gather(ctx)
			if err := r.write(ctx, r.inbox.take()); err != nil {
				r.inbox.close()
				return err
			}
		case <-ctx.Done():
			r.inbox.close()
			return r.write(ctx, r.inbox.take())
		}
	}
}

// gather waits for payloads that may share the next write: until none has come for a tenth of options.Wait, or that time is over,
// or enough is there.
func (r *Receiver) gather(ctx context.Context) {
	latest := time.NewTimer(r.options.Wait)
	defer latest.Stop()
	quiet := time.NewTimer(r.options.Wait / 10)
	defer quiet.Stop()
	for r.inbox.weight() < r.options.GroupBytes {
		select {
		case <-r.inbox.some:
			quiet.Reset(r.options.Wait / 10)
		case <-quiet.C:
			return
		case <-latest.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// write stores arrivals in one go, tells whoever waits for them and marks the rows that are owed a receipt. While the sink fails
// it tries again, ever more rarely; its error means that ctx was done before the sink had them. Without arrivals it writes what
// was carried.
func (r *Receiver) write(ctx context.Context, arrivals []*arrival) error {
	s := newStage(r)
	for _, a := range arrivals {
		s.add(a)
	}
	batch := s.finish(r.carried, len(arrivals) == 0 || time.Since(r.written) >= countEvery)
	for i := range batch.Refused {
		x := &batch.Refused[i]
		r.options.Log.Warn("payload set aside", "topic", x.Topic, "bytes", x.Size, "why", x.Why)
	}
	for _, x := range s.given {
		if x.number == 0 {
			r.options.Log.Warn("oldest epoch is forgotten, its records would be stored again", "gateway", x.Gateway, "epoch", x.Epoch, "most", r.most.rows)
		} else {
			r.options.Log.Warn("parts of a record are given up, too many are held", "gateway", x.Gateway, "epoch", x.Epoch, "record", x.number)
		}
	}
	if len(batch.Changes)+len(batch.Refused) > 0 {
		if err := r.writeBatch(ctx, batch); err != nil {
			return err
		}
		r.written = time.Now()
		clear(r.carried)
	}
	r.mu.Lock()
	r.ledger.Apply(batch.Changes, len(batch.Refused))
	r.mu.Unlock()
	for _, a := range arrivals {
		if a.Done != nil {
			a.Done()
		}
		if a.gateway != "" {
			r.announce(a.gateway)
		}
	}
	for k := range s.touched {
		r.receipts.owe(k)
	}
	return nil
}

// writeBatch writes batch until the sink has it. A write that has begun is not broken off when ctx is done.
func (r *Receiver) writeBatch(ctx context.Context, batch Batch) error {
	const first, longest = 500 * time.Millisecond, 30 * time.Second
	for pause := first; ; pause = min(2*pause, longest) {
		err := r.options.Sink.Write(context.WithoutCancel(ctx), batch)
		r.mu.Lock()
		r.failing = err
		r.mu.Unlock()
		if err == nil {
			return nil
		}
		r.options.Log.Error("write failed, will be tried again", "records", len(batch.Records), "error", err)
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("write %d records: %w", len(batch.Records), err)
		}
	}
}

// Failing returns why the sink does not take records at present; nil = it does.
func (r *Receiver) Failing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failing
}
