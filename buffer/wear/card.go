package wear

import (
	"sync"
	"time"
)

// A Card is the account of a card beside what a process writes to it. It is safe for concurrent use.
type Card struct {
	boot    func() time.Duration // boot time
	written func() uint64        // bytes that this process has written

	mu    sync.Mutex // guards all below
	wear  *Wear
	base  uint64 // what was written before this process counts
	asked time.Duration
	due   bool // it is to be stored
}

// askEvery is how often it is asked what the process has written, at most.
const askEvery = time.Second

// A State is how the card stands.
type State struct {
	LastDay   int64 // bytes written in the last 24 hours
	Projected int64 // bytes that a day comes to at the rate of the last quarter of an hour that is over; 0 = none is yet
	Limit     int64 // bytes a day; 0 = none
	Pace      Pace
	Trend     Trend
}

// NewCard returns the account that b holds; nil = there is none yet. total is how many bytes were written since the state directory was made, limit how many
// may be a day, 0 = any. boot returns the boot time, written the bytes written by this process. After an error the account begins anew.
func NewCard(b []byte, total uint64, limit int64, boot func() time.Duration, written func() uint64) (*Card, error) {
	c := &Card{boot: boot, written: written, due: true}
	var err error
	c.asked = boot()
	c.wear, err = Restore(b, c.asked, total, limit)
	c.base = c.wear.Total() - written()
	return c, err
}

// SetLimit sets how many bytes a day may be written; 0 = any.
func (c *Card) SetLimit(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wear.SetLimit(bytes)
}

// Took notes how long a commit took.
func (c *Card) Took(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wear.Took(d)
}

// look brings the account up to date.
func (c *Card) look() {
	now := c.boot()
	total := c.wear.Total()
	if passed := now - c.asked; passed >= askEvery || passed < 0 {
		c.asked, total = now, c.base+c.written()
	}
	c.due = c.wear.Written(now, total) || c.due
}

// Stand returns how the card stands.
func (c *Card) Stand() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	w := c.wear
	return State{LastDay: w.LastDay(), Projected: w.Projected(), Limit: w.limit, Pace: w.Pace(), Trend: w.Trend()}
}

// Pace returns how to write now.
func (c *Card) Pace() Pace {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wear.Pace()
}

// Store returns what a commit is to store: the bytes written since the state directory was made, and now and then the account, else nil.
func (c *Card) Store() (total uint64, account []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	if c.due {
		account = c.wear.Encode()
	}
	return c.wear.Total(), account
}

// Stored notes that the account was stored.
func (c *Card) Stored() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due = false
}
