package box

import (
	"hash/fnv"
	"sync/atomic"
)

// Begin notes that the epoch with that ordinal begins: nothing of it was sent on any of the uplinks (those beyond the 64th are taken for
// having sent). Like Mark, it outlives the process as long as the ring does.
func (r *Ring) Begin(epoch uint32, uplinks []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.word(offBegun).Store(0) // while the keys are written there is none
	for i := range maxUnsent {
		key := uint64(0)
		if i < len(uplinks) {
			key = uplinkKey(uplinks[i])
		}
		r.unsent(i).Store(key)
	}
	r.word(offBegun).Store(uint64(epoch))
}

// Sent notes that something of the epoch goes out on the uplink.
func (r *Ring) Sent(epoch uint32, uplink string) {
	if i := r.findUnsent(epoch, uplink); i >= 0 {
		r.unsent(i).Store(0)
	}
}

// Unsent reports whether Begin was told of the epoch and the uplink, and Sent was not since.
func (r *Ring) Unsent(epoch uint32, uplink string) bool { return r.findUnsent(epoch, uplink) >= 0 }

func (r *Ring) findUnsent(epoch uint32, uplink string) int {
	if epoch == 0 || r.word(offBegun).Load() != uint64(epoch) {
		return -1
	}
	key := uplinkKey(uplink)
	for i := range maxUnsent {
		if r.unsent(i).Load() == key {
			return i
		}
	}
	return -1
}

func (r *Ring) unsent(i int) *atomic.Uint64 { return r.word(offUnsent + 8*i) }

// uplinkKey returns 64 bits that stand for the name, never 0.
func uplinkKey(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash takes everything
	return max(h.Sum64(), 1)
}
