package line

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/rules"
)

// TestChangedStates: an entry carries the newest state under each key, once, whatever was noted since the entry before, and whatever becomes of
// the memory that it was noted from.
func TestChangedStates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := &judge{}
		want := map[string]string{}
		room := make([]byte, 0, 64)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			keys := rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 0, 8, rapid.ID).Draw(t, "keys")
			var list []rules.State
			room = room[:0]
			for _, k := range keys {
				s := rules.State{Key: fmt.Sprint("k", k)}
				want[s.Key] = "forget"
				if n := rapid.IntRange(0, 6).Draw(t, "bytes"); n > 0 {
					start := len(room)
					for range n {
						room = append(room, rapid.Byte().Draw(t, "byte"))
					}
					s.Body = room[start:len(room):len(room)]
					want[s.Key] = fmt.Sprintf("%x", s.Body)
				}
				list = append(list, s)
			}
			j.noteStates(list...)
			clear(room)
			got := map[string]string{}
			for _, s := range j.changed {
				if got[s.Key] = fmt.Sprintf("%x", s.Body); s.Body == nil {
					got[s.Key] = "forget"
				}
			}
			if len(j.changed) != len(want) || !maps.Equal(got, want) {
				t.Fatalf("%d states\n%v, want\n%v", len(j.changed), got, want)
			}
			if rapid.Bool().Draw(t, "an entry carries it") {
				j.carried()
				clear(want)
			}
		}
	})
}

// TestStatesAllocateNothing: rules over windows change state with each reading.
func TestStatesAllocateNothing(t *testing.T) {
	j := &judge{}
	var list []rules.State
	for i := range 100 {
		list = append(list, rules.State{Key: fmt.Sprint("k", i), Body: []byte("body")})
	}
	if n := testing.AllocsPerRun(100, func() { j.noteStates(list...); j.carried() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
