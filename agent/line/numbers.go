package line

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
)

// numbers gives record numbers, rising by one, below the end of the lease. It is safe for concurrent use: the judge takes, the store
// renews.
type numbers struct {
	file slots

	writing sync.Mutex // held from what a slot is made of until it is written: slots are written in the order of what they say

	mu      sync.Mutex // guards all below
	state   [16]byte   // id of the state directory
	epoch   uint32
	name    buffer.Epoch
	next    uint64
	end     uint64
	pending [][]byte // gaps found at the start, until a commit holds them
}

// slots is what numbers needs of lease.File.
type slots interface {
	Write(l lease.Lease) error
}

// newID returns 16 hexadecimal digits of randomness, the name of an epoch.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails (it ends the program instead)
	return hex.EncodeToString(b[:])
}

// peek returns the number that take would give next, of the current epoch.
func (n *numbers) peek() (epoch uint32, name buffer.Epoch, next uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.epoch, n.name, n.next
}

// given returns the name of the current epoch, and the highest number of it that can have gone out on the uplink.
func (n *numbers) given(ring2 *box.Ring, uplink string) (epoch string, highest uint64) {
	ordinal, name, next := n.peek()
	if ring2.Unsent(ordinal, uplink) {
		return name.ID, name.Start - 1
	}
	return name.ID, next - 1
}

// sending notes that records of the epoch up to last go out on the uplink.
func (n *numbers) sending(ring2 *box.Ring, uplink, epoch string, last uint64) {
	if ordinal, name, _ := n.peek(); epoch == name.ID && last >= name.Start {
		ring2.Sent(ordinal, uplink)
	}
}

// room returns how many numbers are left in the lease.
func (n *numbers) room() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.end - n.next
}

// taken notes that all numbers below next were given.
func (n *numbers) taken(next uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = next
}

// leaseEnd returns the number that no given one reaches.
func (n *numbers) leaseEnd() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.end
}

// keep makes the lease carry the gaps that were found at the start, so that they are not forgotten should the process end before
// a commit holds them; nil ends that.
func (n *numbers) keep(pending [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = pending
}

// due reports whether half of the lease is used up.
func (n *numbers) due() bool { return n.room() < lease.Block/2 }

// renew leases the next block. No number of it is given before the lease is on disk.
func (n *numbers) renew(cursors []buffer.CoarseCursor) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	l := n.leaseLocked(cursors)
	l.End = n.next + lease.Block
	n.mu.Unlock()
	if err := n.file.Write(l); err != nil {
		return fmt.Errorf("lease numbers up to %d: %w", l.End, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.end = l.End
	return nil
}

// begin starts the epoch with that ordinal at its first number, once that is on disk.
func (n *numbers) begin(epoch uint32, name buffer.Epoch, cursors []buffer.CoarseCursor) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	l := n.leaseLocked(cursors)
	n.mu.Unlock()
	l.Epoch, l.EpochID, l.Start, l.End = epoch, name.ID, name.Start, name.Start+lease.Block
	if err := n.file.Write(l); err != nil {
		return fmt.Errorf("begin epoch %s: %w", name.ID, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.epoch, n.name, n.next, n.end = epoch, name, name.Start, l.End
	return nil
}

// rename gives the current epoch another name, once that is on disk.
func (n *numbers) rename(id string, cursors []buffer.CoarseCursor) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	l := n.leaseLocked(cursors)
	n.mu.Unlock()
	l.EpochID = id
	if err := n.file.Write(l); err != nil {
		return fmt.Errorf("rename epoch to %s: %w", id, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.name.ID = id
	return nil
}

// stop writes the clean mark. No number may be taken after it.
func (n *numbers) stop(cursors []buffer.CoarseCursor) error {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	l := n.leaseLocked(cursors)
	l.Clean, l.Last = true, n.next-1
	n.end = n.next
	n.mu.Unlock()
	if err := n.file.Write(l); err != nil {
		return fmt.Errorf("mark clean stop at number %d: %w", l.Last, err)
	}
	return nil
}

func (n *numbers) leaseLocked(cursors []buffer.CoarseCursor) lease.Lease {
	l := lease.Lease{State: n.state, Epoch: n.epoch, EpochID: n.name.ID, Start: n.name.Start, End: n.end, Pending: n.pending}
	for _, c := range cursors {
		l.Cursors = append(l.Cursors, lease.Cursor{Uplink: c.Uplink, Epoch: c.Epoch, Number: c.Number})
	}
	return l
}

// set goes on with an epoch that is leased already; renew must follow before a number is taken.
func (n *numbers) set(epoch uint32, name buffer.Epoch, next uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.epoch, n.name, n.next, n.end = epoch, name, next, next
}
