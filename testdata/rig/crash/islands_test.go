package crash

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestBacklogOfAlarms: alarms overtake the readings of an outage, and lie at the receiver as islands, more of them than a receipt has holes
// for. Everything must get there all the same, and soon.
func TestBacklogOfAlarms(t *testing.T) {
	t.Parallel()
	meters := bed.NewMeters(t, 1, 2)
	meters.PhaseLength = 5
	dir := bed.Dir(t, false)
	broker := bed.NewBroker(t, dir)
	g := bed.NewGateway(t, programs, dir)
	g.Configure(meters.Devices(20*time.Millisecond), bed.Toggle, broker.URL(), "receipt", "")
	g.Run()
	bed.Wait(t, "an outage with 150 alarms", 2*time.Minute, func() bool { return meters.Given()[0] > 150*5 })
	g.Terminate(60 * time.Second)
	meters.Stopped()
	broker.Start()
	receiver := bed.NewReceiver(t, programs, dir, broker.URL())
	start := time.Now()
	g.Drain(meters, bed.Toggle, broker.URL(), "receipt", "")
	took := time.Since(start)
	if took > 40*time.Second {
		t.Errorf("it took %v to deliver a backlog of 16 s", took)
	}
	far := receiver.Finish()
	tally := bed.NewTally(meters)
	if err := bed.Stored(receiver.Out, tally.Add); err != nil {
		t.Fatal(err)
	}
	a := tally.Settle(far)
	for _, err := range tally.Said {
		t.Error(err)
	}
	a.Judge(t)
	tally.Once(t)
	fmt.Println(a.Line(fmt.Sprintf("| crash/islands | receipt | %d alarms ahead of their readings, all delivered in %v |", a.Alarms, took.Round(100*time.Millisecond))))
}
