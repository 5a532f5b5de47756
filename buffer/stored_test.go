package buffer

import (
	"fmt"
	"testing"

	"github.com/tidegate-io/tidegate"
)

// TestStoredIsAllThatIsHeld: what is committed is shown from any place on, also what every uplink has, in the order of its numbers, and no other class.
func TestStoredIsAllThatIsHeld(t *testing.T) {
	o := testOptions(t.TempDir())
	o.sizes = sizes{segment: 1, budget: 1 << 20, tail: 1}
	q := open(t, o)
	defer closeQueue(t, q)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := range uint64(4) {
		putAndCommit(t, q, frame(tidegate.ClassReading, 20*i+1, 20*i+10, 1), frame(tidegate.ClassAlarm, 20*i+11, 20*i+15, 1))
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 75}}); err != nil {
		t.Fatal(err)
	}
	q.Put(frame(tidegate.ClassReading, 81, 90, 1)) // not committed
	for _, c := range []struct {
		from uint64
		most int
		want string
	}{
		{0, 1 << 20, "[{1 10}] [{21 30}] [{41 50}] [{61 70}]"},
		{25, 1 << 20, "[{25 30}] [{41 50}] [{61 70}]"},
		{31, 1, "[{41 50}]"},
		{71, 1 << 20, ""},
	} {
		looks, err := q.Stored(tidegate.ClassReading, Place{1, c.from}, c.most)
		got := ""
		for i := range looks {
			if got += fmt.Sprint(" ", looks[i].Want); looks[i].EpochID != "e1" || looks[i].Class != tidegate.ClassReading {
				t.Errorf("got %+v", looks[i])
			}
		}
		if err != nil || got != map[bool]string{true: " "}[c.want != ""]+c.want {
			t.Errorf("from %d: got%s, %v, want %s", c.from, got, err, c.want)
		}
	}
	if got := fmt.Sprint(q.Held(tidegate.ClassAlarm)); got != "map[1:[{11 15} {31 35} {51 55} {71 75}]]" {
		t.Errorf("held are %s", got)
	}
}
