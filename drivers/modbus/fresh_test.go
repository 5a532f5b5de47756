package modbus

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// TestOnlyFreshValues lets everything go wrong in random order and wants two things: no Read ever returns a value that the unit
// made for an earlier one, and when nothing goes wrong any more, values come back.
func TestOnlyFreshValues(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		onTCP := rapid.Bool().Draw(rt, "onTCP")
		addresses := rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 1, 4, rapid.ID[int]).Draw(rt, "addresses")
		kinds := rapid.SampledFrom([]slave.Kind{
			slave.Intact, slave.Intact, slave.Silent, slave.WrongCRC, slave.Truncated, slave.ForeignUnit, slave.WrongFunc, slave.WrongCount,
			slave.LyingCount, slave.Echo, slave.EchoFirst, slave.Twice, slave.Noise, slave.ForeignFirst, slave.WrongID, slave.WrongIDFirst,
			slave.WrongProto, slave.LengthZero, slave.LengthMost,
		})
		var faults []slave.Fault
		behind := 3900 // milliseconds; a reply later than four timeouts may come after its debt was written off
		for range rapid.IntRange(1, 25).Draw(rt, "faults") {
			f := slave.Fault{Kind: kinds.Draw(rt, "kind"), Late: rapid.IntRange(0, 4).Draw(rt, "late") == 0}
			if f.Kind == slave.WrongCount && !onTCP {
				f.Kind = slave.Intact // looks like a late reply of that shape: no master can tell
			}
			if rapid.Bool().Draw(rt, "delayed") {
				ms := rapid.IntRange(0, behind).Draw(rt, "delay")
				f.Delay = time.Duration(ms) * time.Millisecond
				behind -= ms
			}
			if rapid.IntRange(0, 5).Draw(rt, "refused") == 0 {
				f.Exception = rapid.SampledFrom([]slave.Exception{1, 2, 3, 4, 6, 11}).Draw(rt, "exception")
			}
			faults = append(faults, f)
		}
		pause := time.Duration(rapid.IntRange(1, 3000).Draw(rt, "pause")) * time.Millisecond
		problem := ""
		synctest.Test(t, func(t *testing.T) { problem = stale(t, onTCP, addresses, faults, pause) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

// stale returns what is wrong, or "".
func stale(t *testing.T, onTCP bool, addresses []int, faults []slave.Fault, pause time.Duration) string {
	var made, asked atomic.Int64
	s := &slave.Slave{
		Units: []byte{3},
		Values: func(_ slave.Request, out []uint16) slave.Exception {
			n := made.Add(1)
			for i := range out {
				out[i] = uint16(n)
			}
			return slave.NoException
		},
		Fault: func(slave.Request) slave.Fault {
			if n := int(asked.Add(1)); n <= len(faults) {
				return faults[n-1]
			}
			return slave.Fault{}
		},
	}
	h, _ := plug(t, s, onTCP)
	var rs []Register
	for _, a := range addresses {
		rs = append(rs, Register{Channel: fmt.Sprintf("r%d", a), Address: new(a)})
	}
	c := config(onTCP, rs...)
	c.MaxQuantity = 2
	d := openDevice(t, c, h)
	good, bad := 0, 0
	for range 2000 {
		before := made.Load()
		got, err := d.Read(t.Context())
		faulty := err != nil
		for _, r := range got {
			n, _ := r.Value.Number()
			switch {
			case r.Fault != "":
				faulty = true
			case err == nil && int64(n) <= before:
				return fmt.Sprintf("%s is %v, but %d were made before this Read: %s", r.Channel, r.Value, before, show(got))
			}
		}
		good++
		bad++
		if faulty {
			good = 0
		} else {
			bad = 0
		}
		if int(asked.Load()) > len(faults) && good >= 5 {
			return ""
		}
		if bad > 20 {
			time.Sleep(10 * time.Second) // what was refused is left alone for a while
		}
		time.Sleep(pause)
	}
	return fmt.Sprintf("no five good Reads in a row: %d faults, asked %d times", len(faults), asked.Load())
}
