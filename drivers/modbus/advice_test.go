package modbus

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// TestAdviceInErrors: a unit that falls silent gets the doctor's sentence from the third failure on, the same each time, until it answers.
func TestAdviceInErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var isSilent atomic.Bool
		s := &slave.Slave{Units: []byte{3}, Values: echoAddress, Fault: func(slave.Request) slave.Fault {
			if isSilent.Load() {
				return slave.Fault{Kind: slave.Silent}
			}
			return slave.Fault{}
		}}
		h, _ := plug(t, s, false)
		zero := 0
		d := openDevice(t, config(false, Register{Channel: "a", Address: &zero}), h)
		const plain = "unit 3 on /dev/ttyX: no reply within 1s to read of holding 0"
		const advice = "; probably unit 3 is dead: it has answered, and does not any more; see whether it has power and both wires of the line"
		for round := range 2 {
			isSilent.Store(false)
			rs, err := d.Read(t.Context())
			if err != nil || show(rs) != "a=0" {
				t.Fatalf("round %d: %s, %v", round, show(rs), err)
			}
			isSilent.Store(true)
			for i := range 40 {
				want := plain
				if i >= 2 {
					want += advice
				}
				if _, err := d.Read(t.Context()); err == nil || err.Error() != want {
					t.Fatalf("round %d, failure %d: got  %v\nwant %s", round, i, err, want)
				}
				time.Sleep(time.Second)
			}
		}
		text := d.(drivers.Advisor).Advice()
		if !strings.HasPrefix(text, "probably unit 3 is dead") || !strings.Contains(text, "(seen: silence after ") {
			t.Errorf("advice %q", text)
		}
	})
}

// TestNoAdvice: of a port that is gone, and over TCP, the doctor knows nothing.
func TestNoAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slave.Slave{Units: []byte{3}, Values: echoAddress, Fault: func(slave.Request) slave.Fault { return slave.Fault{Kind: slave.Silent} }}
		h, _ := plug(t, s, true)
		zero := 0
		d := openDevice(t, config(true, Register{Channel: "a", Address: &zero}), h)
		for range 5 {
			if _, err := d.Read(t.Context()); err == nil || strings.Contains(err.Error(), "probably") {
				t.Errorf("TCP: %v", err)
			}
		}
		a := d.(drivers.Advisor)
		if text, err := a.Examine(t.Context(), h); a.Advice() != "" || text != "" || err != nil {
			t.Errorf("TCP: %q, %q, %v", a.Advice(), text, err)
		}
		line, _ := plug(t, s, false)
		serial := openDevice(t, config(false, Register{Channel: "a", Address: &zero}), line).(*device)
		gone := fmt.Errorf("unplugged: %w", drivers.ErrGone)
		for range 5 {
			_, _ = serial.Read(t.Context()) // of the silent unit
			if err := serial.patient.Ill(gone); err == nil || err.Error() != gone.Error() {
				t.Errorf("got %v", err)
			}
		}
	})
}

// TestWatch: of a few values of more than one register, the newest are kept, without new memory.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := uint16(0)
		s := &slave.Slave{Units: []byte{3}, Values: func(_ slave.Request, out []uint16) slave.Exception {
			n++
			for i := range out {
				out[i] = n
			}
			return slave.NoException
		}}
		h, _ := plug(t, s, false)
		var registers []Register
		for i, typ := range []string{"uint16", "string", "float32", "int64", "uint32", "int32", "float64"} {
			address, two := 4*i, 2
			r := Register{Channel: typ, Address: &address, Type: typ}
			switch typ {
			case "string":
				r.Length = &two
			case "int64":
				r.Order = "BADC"
			}
			registers = append(registers, r)
		}
		d := openDevice(t, config(false, registers...), h).(*device)
		for range 21 {
			if _, err := d.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		for _, v := range d.patient.Case().Values {
			got += fmt.Sprintf("%s %s %v %d % x..% x; ", v.Channel, v.Order, v.IsFloat, len(v.Seen), v.Seen[0], v.Seen[len(v.Seen)-1])
		}
		if strings.Count(got, " 16 ") != 4 || !strings.HasPrefix(got, "float32 ABCD true 16 ") || !strings.Contains(got, "int64 BADC false 16 ") {
			t.Errorf("got %s", got)
		}
		for _, v := range d.patient.Case().Values {
			for i := 1; i < len(v.Seen); i++ {
				if step := int(v.Seen[i][1]) - int(v.Seen[i-1][1]); step != len(d.plan) {
					t.Errorf("%s: seen % x", v.Channel, v.Seen)
				}
			}
		}
	})
}
