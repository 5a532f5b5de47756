package crash

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// between draws a duration.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// TestKilledReceipt: with confirm: receipt nothing is lost and nothing doubled at the receiver, and each alarm is there once.
func TestKilledReceipt(t *testing.T) {
	measure(t, killedByReceipt, *kills, func(t *testing.T, draw *rand.Rand, n int) *outcome {
		k := newKilled(t, draw, "receipt")
		k.disturb(n, *stops*n / *kills)
		return k.judgeReceipt()
	})
}

// judgeReceipt lets the gateway deliver all, and settles the account.
func (k *killed) judgeReceipt() *outcome {
	t := k.t
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
	return &outcome{cases: k.killed, lost: a.Lost, wrong: a.Altered + a.Extra, twice: a.Doubled, unreported: holes(far), start: k.slowest()}
}

// holes returns how many numbers are neither stored nor declared, as the far end sees it.
func holes(far *receive.Account) (n int64) {
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			n += int64(e.Holes.Ranges.Len())
		}
	}
	return n
}

// TestKilledPuback: with confirm: puback the gateway loses nothing; what a broker that was stopped had acknowledged and not passed on is named.
func TestKilledPuback(t *testing.T) {
	measure(t, killedByPuback, max(4, *kills/10), func(t *testing.T, draw *rand.Rand, n int) *outcome {
		k := newKilled(t, draw, "puback")
		k.disturb(n, *stops*n / *kills)
		return k.judgePuback()
	})
}

func (k *killed) judgePuback() *outcome {
	t := k.t
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
	most := int64(k.stops) * int64(k.meters.Units*k.meters.Channels())
	if short < 0 || short > most {
		t.Errorf("the meters answered %d readings, the gateway counts %d: %d in flight, want 0 to %d", a.Answered, gateway.produced, short, most)
	}
	fmt.Printf("| crash/kill | puback | %d kills, %d broker stops | gateway: produced %d, delivered %d, lost %d | lost by the broker: %d | in flight %d | duplicates %d |\n",
		k.killed, k.stopped, gateway.produced, gateway.delivered, gateway.lost, int64(gateway.delivered)-a.Delivered, short, a.Duplicates)
	return &outcome{
		cases: k.killed, lost: gateway.lost + max(0, short-most), wrong: a.Altered + a.Extra, twice: a.Doubled, unreported: int64(gateway.buffered), start: k.slowest(),
	}
}

// TestKilledSlowly: kills that come when all has settled; what was read then is delivered again within 3 s of each.
func TestKilledSlowly(t *testing.T) {
	t.Parallel()
	measure(t, killedSlowly, max(1, *kills*3/125), func(t *testing.T, draw *rand.Rand, n int) *outcome {
		k := newKilled(t, draw, "receipt")
		k.gateway.Run()
		for range n {
			time.Sleep(between(draw, 5*time.Second, 20*time.Second))
			if !k.again() {
				break
			}
			begin, next := time.Now(), uint64(0) // records from next on were read since the kill
			bed.Wait(t, "a fresh reading at the far end", 60*time.Second, func() bool {
				s, ok := k.gateway.Status()
				if ok && next == 0 {
					next = s.NextRecord
				}
				return ok && next > 0 && s.ConfirmedRecord >= next
			})
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("after kill %d a fresh reading was delivered after %v, at most 3 s", k.killed, took)
			}
		}
		return k.judgeReceipt()
	})
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
	began           []time.Time
}

func newVictim(t *testing.T, draw *rand.Rand) *victim {
	nothing := func() {}
	v := &victim{t: t, draw: draw, begins: nothing, ended: nothing, restarts: nothing}
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

func newKilled(t *testing.T, draw *rand.Rand, confirm string) *killed {
	k := &killed{victim: newVictim(t, draw), confirm: confirm, meters: bed.NewMeters(t, 4, 6)}
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
	v.began = append(v.began, time.Now())
	v.gateway.Run()
	return true
}

// slowest returns how long it took at most from the start of a process behind a kill until a meter was asked; of those that lived so long.
func (k *killed) slowest() (worst time.Duration) {
	for i, begin := range k.began {
		until := time.Now()
		if i+1 < len(k.began) {
			until = k.began[i+1]
		}
		first := until
		for u := range k.meters.Units {
			if at := k.meters.After(u+1, begin); !at.IsZero() && at.Before(first) {
				first = at
			}
		}
		if first != until {
			worst = max(worst, first.Sub(begin))
		}
	}
	return worst
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
