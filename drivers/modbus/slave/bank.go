package slave

import "sync"

// A Bank keeps what is written to units, each for itself, over what they hold otherwise. Its Values and Write are a Slave's. It is safe for
// concurrent use.
type Bank struct {
	Under func(q Request, out []uint16) Exception // what was never written; as Slave.Values

	mu   sync.Mutex
	kept map[place]uint16 // guarded by mu
}

// place is one register or bit of one unit.
type place struct {
	unit    byte
	table   Table
	address uint16
}

// Values fills out with what was written, and with what lies under it.
func (b *Bank) Values(q Request, out []uint16) Exception {
	if code := b.Under(q, out); code != NoException {
		return code
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range out {
		if v, ok := b.kept[place{q.Unit, q.Table, q.Address + uint16(i)}]; ok {
			out[i] = v
		}
	}
	return NoException
}

// Write keeps values.
func (b *Bank) Write(q Request, values []uint16) Exception {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil {
		b.kept = map[place]uint16{}
	}
	for i, v := range values {
		b.kept[place{q.Unit, q.Table, q.Address + uint16(i)}] = v
	}
	return NoException
}
