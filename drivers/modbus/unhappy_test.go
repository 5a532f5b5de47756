package modbus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// TestUnhappy spoils the reply to the first request only. want is what the first Read says; the second must be right in any case.
func TestUnhappy(t *testing.T) {
	const (
		rtu = "unit 3 on /dev/ttyX: "
		tcp = "unit 3 on meter:502: "
	)
	tests := map[string]struct {
		onTCP bool
		fault slave.Fault
		want  string // error, or readings
		opens int    // of the connection, after the second Read; 0 = 1
	}{
		"RTU/OK intact":                        {fault: slave.Fault{}, want: "a=7 b=8"},
		"RTU/no reply: silent":                 {fault: slave.Fault{Kind: slave.Silent}, want: rtu + "no reply within 1s to read of holding 7..8"},
		"RTU/no reply: late":                   {fault: slave.Fault{Late: true}, want: rtu + "no reply within 1s to read of holding 7..8"},
		"RTU/no reply: delayed past timeout":   {fault: slave.Fault{Delay: 1900 * time.Millisecond}, want: rtu + "no reply within 1s to read of holding 7..8"},
		"RTU/no reply: delayed for long":       {fault: slave.Fault{Delay: 2500 * time.Millisecond}, want: rtu + "no reply within 1s to read of holding 7..8"},
		"RTU/OK delayed within timeout":        {fault: slave.Fault{Delay: 900 * time.Millisecond}, want: "a=7 b=8"},
		"RTU/refused: wrong CRC":               {fault: slave.Fault{Kind: slave.WrongCRC}, want: rtu + "read of holding 7..8: a reply with CRC 0xe469, want 0xf469"},
		"RTU/refused: truncated":               {fault: slave.Fault{Kind: slave.Truncated}, want: rtu + "read of holding 7..8: got 4 bytes, want a reply of 9: 03 03 04 00"},
		"RTU/no reply: of another unit":        {fault: slave.Fault{Kind: slave.ForeignUnit}, want: rtu + "no reply within 1s to read of holding 7..8, but a reply of unit 4"},
		"RTU/refused: wrong function":          {fault: slave.Fault{Kind: slave.WrongFunc}, want: rtu + "read of holding 7..8: a reply to function 0x04, want 0x03"},
		"RTU/refused: count too small":         {fault: slave.Fault{Kind: slave.WrongCount}, want: rtu + "read of holding 7..8: a reply with byte count 2, want 4"},
		"RTU/refused: count lies":              {fault: slave.Fault{Kind: slave.LyingCount}, want: rtu + "read of holding 7..8: got 9 bytes, want a reply of 9: 03 03 06 00 07 00 08 10 34"},
		"RTU/no reply: echo":                   {fault: slave.Fault{Kind: slave.Echo}, want: rtu + "no reply within 1s to read of holding 7..8, but an echo of the request"},
		"RTU/OK echo first":                    {fault: slave.Fault{Kind: slave.EchoFirst}, want: "a=7 b=8"},
		"RTU/OK twice":                         {fault: slave.Fault{Kind: slave.Twice}, want: "a=7 b=8"},
		"RTU/OK noise first":                   {fault: slave.Fault{Kind: slave.Noise}, want: "a=7 b=8"},
		"RTU/OK another unit first":            {fault: slave.Fault{Kind: slave.ForeignFirst}, want: "a=7 b=8"},
		"RTU/fault: busy":                      {fault: slave.Fault{Exception: 6}, want: "a=!" + rtu + "read of holding 7..8: exception 06 (server device busy) b=!" + rtu + "read of holding 7..8: exception 06 (server device busy)"},
		"RTU/no reply: exception cut":          {fault: slave.Fault{Exception: 2, Kind: slave.Truncated}, want: rtu + "read of holding 7..8: got 2 bytes, want a reply of 9: 03 83"},
		"RTU/fault: unknown exception":         {fault: slave.Fault{Exception: 99}, want: "a=!" + rtu + "read of holding 7..8: exception 63 (not in the specification) b=!" + rtu + "read of holding 7..8: exception 63 (not in the specification)"},
		"TCP/OK intact":                        {onTCP: true, want: "a=7 b=8"},
		"TCP/no reply: silent":                 {onTCP: true, fault: slave.Fault{Kind: slave.Silent}, want: tcp + "no reply within 1s to read of holding 7..8"},
		"TCP/no reply: late":                   {onTCP: true, fault: slave.Fault{Late: true}, want: tcp + "no reply within 1s to read of holding 7..8"},
		"TCP/no reply: delayed past timeout":   {onTCP: true, fault: slave.Fault{Delay: 1900 * time.Millisecond}, want: tcp + "no reply within 1s to read of holding 7..8"},
		"TCP/gone: truncated":                  {onTCP: true, fault: slave.Fault{Kind: slave.Truncated}, want: tcp + "read of holding 7..8: read: gone: a frame that does not end within 1s: 00 06 00 00 00 07", opens: 2},
		"TCP/refused: of another unit":         {onTCP: true, fault: slave.Fault{Kind: slave.ForeignUnit}, want: tcp + "read of holding 7..8: a reply of unit 4, want 3"},
		"TCP/refused: wrong function":          {onTCP: true, fault: slave.Fault{Kind: slave.WrongFunc}, want: tcp + "read of holding 7..8: a reply to function 0x04, want 0x03"},
		"TCP/refused: count too small":         {onTCP: true, fault: slave.Fault{Kind: slave.WrongCount}, want: tcp + "read of holding 7..8: a reply with byte count 2, want 4"},
		"TCP/refused: count lies":              {onTCP: true, fault: slave.Fault{Kind: slave.LyingCount}, want: tcp + "read of holding 7..8: a reply with byte count 6, want 4"},
		"TCP/refused: echo":                    {onTCP: true, fault: slave.Fault{Kind: slave.Echo}, want: tcp + "read of holding 7..8: an echo of the request"},
		"TCP/OK twice":                         {onTCP: true, fault: slave.Fault{Kind: slave.Twice}, want: "a=7 b=8"},
		"TCP/gone: noise first":                {onTCP: true, fault: slave.Fault{Kind: slave.Noise}, want: tcp + "read of holding 7..8: read: gone: a header with protocol 21760, want 0: this is not Modbus TCP, or out of step", opens: 2},
		"TCP/no reply: other transaction":      {onTCP: true, fault: slave.Fault{Kind: slave.WrongID}, want: tcp + "no reply within 1s to read of holding 7..8, but a reply to transaction 5, want 6"},
		"TCP/OK other transaction first":       {onTCP: true, fault: slave.Fault{Kind: slave.WrongIDFirst}, want: "a=7 b=8"},
		"TCP/gone: protocol 1":                 {onTCP: true, fault: slave.Fault{Kind: slave.WrongProto}, want: tcp + "read of holding 7..8: read: gone: a header with protocol 1, want 0: this is not Modbus TCP, or out of step", opens: 2},
		"TCP/gone: length 0":                   {onTCP: true, fault: slave.Fault{Kind: slave.LengthZero}, want: tcp + "read of holding 7..8: read: gone: a header with length 0, want 3 to 254", opens: 2},
		"TCP/gone: length 1":                   {onTCP: true, fault: slave.Fault{Kind: slave.LengthOne}, want: tcp + "read of holding 7..8: read: gone: a header with length 1, want 3 to 254", opens: 2},
		"TCP/gone: length 65535":               {onTCP: true, fault: slave.Fault{Kind: slave.LengthMost}, want: tcp + "read of holding 7..8: read: gone: a header with length 65535, want 3 to 254", opens: 2},
		"TCP/fault: device failure":            {onTCP: true, fault: slave.Fault{Exception: 4}, want: "a=!" + tcp + "read of holding 7..8: exception 04 (server device failure) b=!" + tcp + "read of holding 7..8: exception 04 (server device failure)"},
		"TCP/error: gateway misses the unit":   {onTCP: true, fault: slave.Fault{Exception: 0x0b}, want: tcp + "read of holding 7..8: exception 0b (gateway target device does not respond)"},
		"TCP/error: gateway misses the line":   {onTCP: true, fault: slave.Fault{Exception: 0x0a}, want: tcp + "read of holding 7..8: exception 0a (gateway path unavailable)"},
		"TCP/refused: exception with no bytes": {onTCP: true, fault: slave.Fault{Exception: 2, Kind: slave.Truncated}, want: tcp + "read of holding 7..8: read: gone: a frame that does not end within 1s: 00 06 00 00", opens: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { unhappy(t, tt.onTCP, tt.fault, tt.want, max(tt.opens, 1)) })
		})
	}
}

func unhappy(t *testing.T, onTCP bool, fault slave.Fault, want string, opens int) {
	var asked atomic.Int32
	s := &slave.Slave{
		Units: []byte{3}, Values: echoAddress,
		Fault: func(slave.Request) slave.Fault {
			if asked.Add(1) == 1 {
				return fault
			}
			return slave.Fault{}
		},
	}
	h, opened := plug(t, s, onTCP)
	d := openDevice(t, config(onTCP,
		Register{Channel: "a", Address: new(7)}, Register{Channel: "b", Address: new(8)}), h)
	if onTCP {
		d.(*device).link = link.NewTCP(3, time.Second, 5)
	}
	start := time.Now()
	rs, err := d.Read(t.Context())
	got := show(rs)
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("first Read:\n got %s\nwant %s", got, want)
	}
	if took := time.Since(start); took > 1200*time.Millisecond {
		t.Errorf("first Read took %v", took)
	}
	if err != nil && opens > 1 && !errors.Is(err, drivers.ErrGone) {
		t.Errorf("%v does not wrap ErrGone", err)
	}
	// With a delay of 1.9 s the unit is still busy for a while; it must recover with the next poll all the same.
	for range 2 {
		time.Sleep(50 * time.Millisecond)
		if rs, err = d.Read(t.Context()); err == nil {
			break
		}
		if fault.Delay < 2*time.Second {
			t.Errorf("second Read: %v", err)
		}
	}
	if got := show(rs); got != "a=7 b=8" || err != nil {
		t.Errorf("second Read: %s, %v", got, err)
	}
	if *opened != opens {
		t.Errorf("opened %d times, want %d", *opened, opens)
	}
}

func TestReadEndsWithContext(t *testing.T) {
	for _, onTCP := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, _ := plug(t, &slave.Slave{}, onTCP)
			d := openDevice(t, config(onTCP, Register{Channel: "a", Address: new(7)}), h)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := d.Read(ctx)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 300*time.Millisecond {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
			if _, err := d.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Read after the end of ctx: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
