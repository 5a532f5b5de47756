package crash

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// drawn returns a source of what is drawn at random, and says its seed.
func drawn(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// between draws a duration.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// TestKilledReceipt: with confirm: receipt nothing is lost and nothing doubled at the receiver, and each alarm is there once.
func TestKilledReceipt(t *testing.T) {
	k := newKilled(t, "receipt")
	k.disturb(*kills, *stops)
	gateway := k.drainAndAsk()
	far := k.receiver.Finish()
	tally := bed.NewTally(k.meters)
	if err := bed.Stored(k.receiver.Out, tally.Add); err != nil {
		t.Fatal(err)
	}
	a := tally.Settle(far)
	for _, err := range tally.Said {
		t.Error(err)
	}
	a.Judge(t)
	if a.Rejected != 0 || a.DroppedDeclared != 0 {
		t.Errorf("rejected %d, declared %d: without power cut, full buffer or damage both must be 0", a.Rejected, a.DroppedDeclared)
	}
	tally.Once(t)
	if gateway.lost != 0 {
		t.Errorf("the gateway's own account misses %d", gateway.lost)
	}
	fmt.Println(a.Line(fmt.Sprintf("| crash/kill | receipt | %d kills, %d broker stops |", k.killed, k.stopped)))
}

// TestKilledPuback: with confirm: puback the gateway loses nothing; what a broker that was stopped had acknowledged and not passed on is named.
func TestKilledPuback(t *testing.T) {
	k := newKilled(t, "puback")
	k.disturb(max(4, *kills/10), *stops/10)
	gateway := k.drainAndAsk()
	far := k.receiver.Finish()
	tally := bed.NewTally(k.meters)
	if err := bed.Stored(k.receiver.Out, tally.Add); err != nil {
		t.Fatal(err)
	}
	a := tally.Settle(far)
	for _, err := range tally.Said {
		t.Error(err)
	}
	if a.Doubled != 0 || a.Altered != 0 || a.Extra != 0 {
		t.Errorf("doubled %d, altered %d, extra %d: all must be 0", a.Doubled, a.Altered, a.Extra)
	}
	if gateway.lost != 0 || gateway.rejected != 0 || gateway.declared != 0 || gateway.buffered != 0 {
		t.Errorf("the gateway's account after the end: %+v: all but produced and delivered must be 0", gateway)
	}
	// Of what the meters answered the gateway has all but what was in flight: one reply per meter and stop.
	short := a.Answered - int64(gateway.produced)
	if most := int64(k.stops) * int64(k.meters.Units*k.meters.Channels()); short < 0 || short > most {
		t.Errorf("the meters answered %d readings, the gateway counts %d: %d in flight, want 0 to %d", a.Answered, gateway.produced, short, most)
	}
	fmt.Printf("| crash/kill | puback | %d kills, %d broker stops | gateway: produced %d, delivered %d, lost %d | lost by the broker: %d | in flight %d | duplicates %d |\n",
		k.killed, k.stopped, gateway.produced, gateway.delivered, gateway.lost, int64(gateway.delivered)-a.Delivered, short, a.Duplicates)
}

// victim is a gateway that is killed, with its far end.
type victim struct {
	t        *testing.T
	draw     *rand.Rand
	broker   *bed.Broker
	receiver *bed.Receiver
	gateway  *bed.Gateway
	begins   func() // told before each start of the gateway
	ended    func() // told after each kill
	restarts func() // told after each start that follows a kill

	killed, stopped int
}

func newVictim(t *testing.T) *victim {
	nothing := func() {}
	v := &victim{t: t, draw: drawn(t), begins: nothing, ended: nothing, restarts: nothing}
	dir := bed.Dir(t, false)
	v.broker = bed.NewBroker(t, dir)
	v.broker.Start()
	v.receiver = bed.NewReceiver(t, programs, dir, v.broker.URL())
	v.gateway = bed.NewGateway(t, programs, dir)
	return v
}

// killed is a gateway under load with all that belongs to it.
type killed struct {
	*victim
	confirm string
	meters  *bed.Meters
	stops   int
}

func newKilled(t *testing.T, confirm string) *killed {
	k := &killed{victim: newVictim(t), confirm: confirm, meters: bed.NewMeters(t, 4, 6)}
	k.ended = k.meters.Stopped
	k.gateway.Configure(k.meters.Devices(20*time.Millisecond), bed.Toggle, k.broker.URL(), confirm, "")
	return k
}

// disturb kills the gateway so many times, and stops the broker meanwhile: brokers times, or as it comes. Most lives last a second or
// two, every third ends before or while the gateway starts.
func (v *victim) disturb(kills, brokers int) {
	over := make(chan struct{})
	var wg sync.WaitGroup
	seeds := [2]uint64{v.draw.Uint64(), v.draw.Uint64()}
	wg.Go(func() { v.stopBrokers(brokers, over, rand.New(rand.NewPCG(seeds[0], seeds[1]))) })
	v.begins()
	v.gateway.Run()
	for v.killed < kills {
		life := between(v.draw, 400*time.Millisecond, 3*time.Second)
		if v.draw.IntN(3) == 0 {
			life = between(v.draw, 0, 400*time.Millisecond)
		}
		time.Sleep(life)
		if !v.again() {
			break
		}
		v.restarts()
	}
	close(over)
	wg.Wait()
	v.broker.Start()
	v.receiver.Restart()
	time.Sleep(2 * time.Second)
}

// again kills the gateway and starts it again.
func (v *victim) again() bool {
	if !v.gateway.Kill() {
		v.t.Errorf("the gateway had ended by itself before kill %d:\n%s", v.killed+1, v.gateway.Tail())
		return false
	}
	v.ended()
	v.killed++
	v.begins()
	v.gateway.Run()
	return true
}

// stopBrokers stops and starts the broker until over, and as often as is asked for.
func (v *victim) stopBrokers(times int, over <-chan struct{}, draw *rand.Rand) {
	for {
		select {
		case <-over:
			if v.stopped >= times {
				return
			}
		case <-time.After(between(draw, time.Second, 5*time.Second)):
		}
		v.broker.Stop()
		v.stopped++
		time.Sleep(between(draw, 0, 2*time.Second))
		v.broker.Start()
	}
}

// own is what the gateway says of itself, in readings.
type own struct {
	produced, delivered, buffered, rejected, declared uint64
	lost                                              int64
}

// drainAndAsk stops the gateway, lets it deliver all that is buffered, and returns its own account.
func (k *killed) drainAndAsk() own {
	k.t.Helper()
	k.gateway.Terminate(60 * time.Second)
	k.meters.Stopped()
	k.stops = k.killed + 1
	before := k.gateway.QueueStatus().Account
	k.gateway.Drain(k.meters, bed.Toggle, k.broker.URL(), k.confirm, "")
	a := k.gateway.QueueStatus().Account
	if a.Buffered != 0 {
		k.t.Errorf("%d readings are still buffered", a.Buffered)
	}
	// What is produced while the meters are out of reach are faults.
	faults := a.Produced - before.Produced
	return own{before.Produced, a.Delivered - faults, a.Buffered, a.Rejected, a.DroppedDeclared, a.Lost}
}
