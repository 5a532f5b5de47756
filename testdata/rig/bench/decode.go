package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A reply is what one side delivered of one answer of the slave.
type reply struct {
	unit   uint32
	values map[int]uint32 // by register
}

// decodeTelegraf returns the replies in a payload of Telegraf's JSON serializer in batch layout.
func decodeTelegraf(a arrival) ([]reply, error) {
	var p struct {
		Metrics []struct {
			Fields map[string]uint32
			Tags   map[string]string
		}
	}
	if err := json.Unmarshal(a.payload, &p); err != nil {
		return nil, err
	}
	var out []reply
	for _, m := range p.Metrics {
		unit, err := strconv.ParseUint(m.Tags["slave_id"], 10, 8)
		if err != nil {
			return nil, fmt.Errorf("slave_id: %w", err)
		}
		r := reply{unit: uint32(unit), values: make(map[int]uint32, len(m.Fields))}
		for name, v := range m.Fields {
			if err := r.put(name, v); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// put sets the value of the register that channel names: r0, r1 and so on.
func (r *reply) put(channel string, v uint32) error {
	reg, err := strconv.Atoi(strings.TrimPrefix(channel, "r"))
	if err != nil {
		return fmt.Errorf("channel %q: %w", channel, err)
	}
	r.values[reg] = v
	return nil
}

// decodeTidegate returns the replies in a payload of the generic profile: SenML JSON (RFC 8428), gzip by its first two bytes;
// a record begins with the element that has `seq`, and one record is one reply.
func decodeTidegate(a arrival) ([]reply, error) {
	b := a.payload
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		if b, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	var pack []struct {
		BN  string
		N   string
		V   *float64
		Seq *uint64
	}
	if err := json.Unmarshal(b, &pack); err != nil {
		return nil, err
	}
	var out []reply
	var base string
	for _, e := range pack {
		if e.BN != "" {
			base = e.BN
		}
		if e.Seq != nil || len(out) == 0 {
			out = append(out, reply{values: make(map[int]uint32, registers)})
		}
		full := base + e.N
		device, channel, ok := strings.Cut(full[strings.LastIndexByte(full, ':')+1:], "/")
		unit, err := strconv.ParseUint(strings.TrimPrefix(device, "u"), 10, 8)
		if !ok || err != nil || e.V == nil || *e.V < 0 || *e.V != float64(uint32(*e.V)) {
			continue // what the gateway says of itself, or a fault: no reading of the slave's
		}
		r := &out[len(out)-1]
		r.unit = uint32(unit)
		if err := r.put(channel, uint32(*e.V)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A ledger is what one side delivered, reply by reply.
type ledger struct {
	seed       uint64
	first      [units + 1][]time.Time     // when reply n of a unit first arrived, at [n]
	late       [units + 1][]time.Duration // from the slave's answer to that arrival
	duplicates int                        // replies that arrived again
	partial    int                        // replies with a register missing
	wrong      int                        // values other than the slave's
	strange    int                        // payloads that could not be decoded, replies of no unit
	why        error                      // of the first strange one
}

func newLedger(seed uint64, end counts) *ledger {
	l := &ledger{seed: seed}
	for u := range l.first {
		l.first[u] = make([]time.Time, end.Units[u]+1)
		l.late[u] = make([]time.Duration, end.Units[u]+1)
	}
	return l
}

func (l *ledger) oddity(err error) {
	l.strange++
	if l.why == nil {
		l.why = err
	}
}

// add enters what arrived.
func (l *ledger) add(a arrival, decode func(arrival) ([]reply, error)) {
	rs, err := decode(a)
	if err != nil {
		l.oddity(fmt.Errorf("%s: %w", a.topic, err))
		return
	}
	for _, r := range rs {
		if len(r.values) == 0 {
			continue
		}
		n, ok := r.values[regNumber]
		if r.unit < 1 || r.unit > units || !ok || n < 1 || int(n) >= len(l.first[r.unit]) {
			l.oddity(fmt.Errorf("%s: reply %d of unit %d was never answered", a.topic, n, r.unit))
			continue
		}
		if !l.first[r.unit][n].IsZero() {
			l.duplicates++
			continue
		}
		if len(r.values) != registers {
			l.partial++
		}
		for reg, v := range r.values {
			if reg != regTime && v != value(l.seed, r.unit, n, reg) {
				l.wrong++
			}
		}
		l.first[r.unit][n] = a.at
		l.late[r.unit][n] = time.Duration(uint32(a.at.UnixMilli())-r.values[regTime]) * time.Millisecond
	}
}

// between returns how many replies the slave gave after a and up to b, and how many of these were delivered at all.
func (l *ledger) between(a, b counts) (answered, delivered int) {
	for u := 1; u <= units; u++ {
		for n := a.Units[u] + 1; n <= b.Units[u]; n++ {
			answered++
			if !l.first[u][n].IsZero() {
				delivered++
			}
		}
	}
	return answered, delivered
}

// missing returns how many replies up to b never arrived, but for the last of each unit: at a kill that one may have been in
// flight, answered and not yet returned by a Read.
func (l *ledger) missing(b counts) int {
	var lost int
	for u := 1; u <= units; u++ {
		for n := uint32(1); n < b.Units[u]; n++ {
			if l.first[u][n].IsZero() {
				lost++
			}
		}
	}
	return lost
}
