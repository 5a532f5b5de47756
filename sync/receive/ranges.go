package receive

import (
	"encoding/json"
	"fmt"

	"github.com/tidegate-io/tidegate"
)

// Ranges are tidegate.Ranges that stand in JSON as [[first,last],...], both inclusive.
type Ranges struct{ tidegate.Ranges }

// IsZero reports whether there is no number in r, for omitzero.
func (r Ranges) IsZero() bool { return len(r.Ranges) == 0 }

// MarshalJSON returns [[first,last],...] in rising order, [] for the empty set.
func (r Ranges) MarshalJSON() ([]byte, error) {
	pairs := make([][2]uint64, len(r.Ranges))
	for i, x := range r.Ranges {
		pairs[i] = [2]uint64{x.First, x.Last}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON reads [[first,last],...] in any order. It refuses pairs whose last is below their first.
func (r *Ranges) UnmarshalJSON(b []byte) error {
	var pairs [][2]uint64
	if err := json.Unmarshal(b, &pairs); err != nil {
		return fmt.Errorf("read ranges: %w", err)
	}
	r.Ranges = nil
	for _, p := range pairs {
		if p[1] < p[0] {
			return fmt.Errorf("read ranges: last %d is below first %d", p[1], p[0])
		}
		r.Add(tidegate.Range{First: p[0], Last: p[1]})
	}
	return nil
}
