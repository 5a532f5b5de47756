package line

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate/rules"
)

// Counts says what rules added to the readings of devices and took from them, in readings.
type Counts struct {
	Derived  uint64 // worked out from others
	Filtered uint64 // dropped, or not new
	Thinned  uint64 // others stand for them
}

// less returns what c has more than b.
func (c Counts) less(b Counts) Counts {
	return Counts{Derived: c.Derived - b.Derived, Filtered: c.Filtered - b.Filtered, Thinned: c.Thinned - b.Thinned}
}

// A ledger is Counts since the state directory was made, and how they stood when each uplink was added. It is stored with the state of the
// rules, under a name that no rule and no channel has, and so with the records that it speaks of.
type ledger struct {
	now  Counts
	from map[string]Counts
}

// ledgerKey is where the ledger is stored:
//
//	byte     version, 1
//	uvarint  readings derived
//	uvarint  readings filtered
//	uvarint  readings thinned out
//	...      for each uplink: length of its name as uvarint, name, and the three numbers when it was added
const (
	ledgerKey     = "/counts"
	ledgerVersion = 1
)

var errLedger = errors.New("stored counts of the rules are damaged; they begin anew")

// newLedger returns the ledger of uplinks that body holds; nil = there is none yet.
func newLedger(body []byte, uplinks []string) (ledger, error) {
	l := ledger{from: map[string]Counts{}}
	var err error
	if body != nil {
		l, err = decodeLedger(body)
	}
	for _, name := range uplinks {
		if _, ok := l.from[name]; !ok {
			l.from[name] = l.now
		}
	}
	maps.DeleteFunc(l.from, func(name string, _ Counts) bool { return !slices.Contains(uplinks, name) })
	return l, err
}

func decodeLedger(body []byte) (ledger, error) {
	l := ledger{from: map[string]Counts{}}
	r := &entryReader{b: body}
	if v := r.uint(); v != ledgerVersion {
		return l, fmt.Errorf("%w: version is %d, want %d", errLedger, v, ledgerVersion)
	}
	l.now = r.counts()
	for len(r.b) > 0 {
		name := string(r.bytes())
		l.from[name] = r.counts()
	}
	if r.bad {
		return ledger{from: map[string]Counts{}}, fmt.Errorf("%w: cut short", errLedger)
	}
	return l, nil
}

func (r *entryReader) counts() Counts {
	return Counts{Derived: r.uint(), Filtered: r.uint(), Thinned: r.uint()}
}

func (c Counts) append(b []byte) []byte {
	b = binary.AppendUvarint(b, c.Derived)
	b = binary.AppendUvarint(b, c.Filtered)
	return binary.AppendUvarint(b, c.Thinned)
}

// state returns l as it is stored.
func (l *ledger) state() rules.State {
	b := l.now.append([]byte{ledgerVersion})
	for _, name := range slices.Sorted(maps.Keys(l.from)) {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		b = l.from[name].append(b)
	}
	return rules.State{Key: ledgerKey, Body: b}
}

// since returns, by uplink, what of now came since the uplink was added.
func (l *ledger) since(now Counts) map[string]Counts {
	out := map[string]Counts{}
	for name, from := range l.from {
		out[name] = now.less(from)
	}
	return out
}

// StoredCounts returns what the state of rules, as buffer.Queue stores it, counts for each uplink.
func StoredCounts(stored map[string][]byte) map[string]Counts {
	body := stored[ledgerKey]
	if body == nil {
		return nil
	}
	l, err := decodeLedger(body)
	if err != nil {
		return nil // the gateway says so when it starts
	}
	return l.since(l.now)
}

// book counts what the rules made of a record.
func (j *judge) book(out *rules.Outcome) {
	before := j.ledger.now
	j.ledger.now.Derived += uint64(out.Made)
	j.ledger.now.Filtered += uint64(out.Filtered)
	j.ledger.now.Thinned += uint64(out.Thinned)
	if j.ledger.now != before {
		j.noteStates(j.ledger.state())
	}
}

// Counts returns, by uplink, what rules added and took since it was added, as far as it stands in ring 2.
func (l *Line) Counts() map[string]Counts {
	l.judge.mu.Lock()
	defer l.judge.mu.Unlock()
	return l.judge.ledger.since(l.judge.counts)
}
