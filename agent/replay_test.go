package agent_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/drivertest/session"
	"github.com/tidegate-io/tidegate/drivers/serialtext"
	"github.com/tidegate-io/tidegate/sync/receive"
)

// replays is how often a session is replayed.
const replays = 100

// TestReplayGivesTheSame replays a recorded session, disturbances included, through the whole gateway into the receiver, a hundred times: what is
// stored there is the same to the last bit, number, time and text, so that a field problem can be looked at again and again.
func TestReplayGivesTheSame(t *testing.T) {
	first, records := "", 0
	for i := range replays {
		bubble(t, func(t *testing.T) {
			stored := replay(t, "../testdata/sessions/serialtext/boiler.session")
			sum := sha256.New()
			for _, s := range stored {
				fmt.Fprintf(sum, "%s %d", s.Lane, s.Record.Number)
				for _, r := range s.Record.Readings {
					fmt.Fprintf(sum, " %s.%s %v %q %s %q %v", r.Device, r.Channel, r.Value.Kind(), r.Value, r.Unit, r.Fault, r.Time.UnixNano())
				}
				fmt.Fprintln(sum)
			}
			hash := hex.EncodeToString(sum.Sum(nil))
			if i == 0 {
				first, records = hash, len(stored)
			}
			if hash != first {
				t.Errorf("replay %d gives %s of %d records, the first gave %s of %d", i+1, hash, len(stored), first, records)
			}
		})
		if t.Failed() {
			return
		}
	}
	if records < 50 {
		t.Errorf("%d records came of the session, want 50 or more", records)
	}
	t.Logf("%d replays of %d records: %s", replays, records, first)
}

// replay runs a gateway on the machine of a session and returns what is stored at the far end, by number.
func replay(t *testing.T, path string) []receive.Stored {
	t.Helper()
	b := newBroker(t)
	f := newFar(t, b)
	x := newBed(t, b, serialtext.Driver)
	machine, err := session.File(path)
	if err != nil {
		t.Fatal(err)
	}
	x.parts.Host = machine.Host
	g := x.start(`
devices:
  - name: boiler
    driver: serialtext
    port: /dev/ttyX
    line: '^T=(?<temp>\S+) N=(?<n>[0-9]+)$'
    ignore: '^(\*\*\*|self test)'
    channels: {temp: {type: number, unit: Cel}}
rules:
  - name: hot
    when: boiler.temp > 5
    clear: boiler.temp < 2
    do: [{alarm: {severity: error, text: too hot}}]
` + oneUplink)
	time.Sleep(5 * time.Minute)
	g.end()
	stored := f.records()
	slices.SortStableFunc(stored, func(a, b receive.Stored) int { return int(int64(a.Record.Number) - int64(b.Record.Number)) })
	return stored
}
