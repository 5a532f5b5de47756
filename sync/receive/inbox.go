package receive

import (
	"context"
	"sync"
)

// An inbox holds what was taken in and not stored yet, bounded in bytes.
type inbox struct {
	limit int           // bytes
	some  chan struct{} // one place: something was put in
	room  chan struct{} // one place: there may be room again
	done  chan struct{} // closed by close

	mu     sync.Mutex
	queue  []*arrival
	size   int
	closed bool
}

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, some: make(chan struct{}, 1), room: make(chan struct{}, 1), done: make(chan struct{})}
}

// put puts a in, and waits for room while there is something and a does not fit beside it.
func (b *inbox) put(ctx context.Context, a *arrival) error {
	for {
		ok, err := b.try(a)
		if ok || err != nil {
			return err
		}
		select {
		case <-b.room:
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try puts a in if there is room.
func (b *inbox) try(a *arrival) (ok bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false, ErrStopped
	}
	if b.size > 0 && b.size+a.size() > b.limit {
		return false, nil
	}
	b.queue = append(b.queue, a)
	b.size += a.size()
	signal(b.some)
	if b.size < b.limit {
		signal(b.room) // for another that waits
	}
	return true, nil
}

// weight returns how many bytes are in.
func (b *inbox) weight() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size
}

// take takes out all that is in.
func (b *inbox) take() []*arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.queue
	b.queue, b.size = nil, 0
	signal(b.room)
	return out
}

// close makes every put from now on fail with ErrStopped; what is in stays in.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.done)
	}
}

// signal fills a channel of one place, or leaves it full.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
