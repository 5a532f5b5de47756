package modbus

import (
	"time"

	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

// request is one question to the unit, what it fills, and what was learned of it.
type request struct {
	link.Request
	from, to int // the values it fills: [from, to) of the device's sorted values

	worked bool          // it was answered with values once
	misses int           // Reads in a row without a reply to it, though the unit answered others
	pause  time.Duration // how long it was left alone the last time
	until  time.Time     // it is left alone until then; zero = not
	cause  string        // why: the fault of its channels meanwhile
}

// plan covers values, which are sorted and do not overlap, with as few requests as the limits allow: no request reads more
// than maxGap registers (or bits) in a row that no value needs, or more than maxQuantity registers (16 times as many bits).
// Each value lies in exactly one request.
func plan(values []registers.Value, maxGap, maxQuantity int) []request {
	var out []request
	from, end := 0, 0
	for i := range values {
		v, first := &values[i], &values[from]
		most := maxQuantity
		if v.Table.IsBits() {
			most *= bitsPerUnit
		}
		fits := i > 0 && v.Table == first.Table && v.Address-end <= maxGap && max(end, v.End())-first.Address <= most
		if !fits {
			if i > 0 {
				out = append(out, cover(values, from, i))
			}
			from, end = i, v.End()
			continue
		}
		end = max(end, v.End())
	}
	if len(values) > 0 {
		out = append(out, cover(values, from, len(values)))
	}
	return out
}

// cover returns the request that reads values[from:to] and nothing outside.
func cover(values []registers.Value, from, to int) request {
	q := request{Request: link.Request{Table: values[from].Table, Address: values[from].Address}, from: from, to: to}
	for i := from; i < to; i++ {
		q.Quantity = max(q.Quantity, values[i].End()-q.Address)
	}
	return q
}

// cut returns q in two requests, neither of which reads what lies between them; at its widest gap, or in the middle where it
// has none. ok is false when it reads one value (or several bits of one register), which is never cut.
func cut(values []registers.Value, q *request) (a, b request, ok bool) {
	best, bestGap, bestOff := 0, -1, 0
	end := values[q.from].End()
	for i := q.from + 1; i < q.to; i++ {
		v := &values[i]
		gap := v.Address - end
		off := abs(2*i - q.from - q.to)
		if gap >= 0 && (gap > bestGap || gap == bestGap && off < bestOff) {
			best, bestGap, bestOff = i, gap, off
		}
		end = max(end, v.End())
	}
	if best == 0 {
		return request{}, request{}, false
	}
	return cover(values, q.from, best), cover(values, best, q.to), true
}

func abs(i int) int { return max(i, -i) }
