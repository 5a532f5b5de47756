package serialtext

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// says is a talker that says frame(0) to frame(3) and again, one every 200 ms.
func says(frame func(i int) string) func(h *drivertest.Host) {
	return func(h *drivertest.Host) {
		h.Ports = map[string]drivertest.Opener{drivertest.Any: func(context.Context) (drivers.Port, error) {
			i := 0
			return &drivertest.Wire{Next: func() ([]byte, time.Duration) {
				i++
				return []byte(frame((i - 1) % 4)), 200 * time.Millisecond
			}}, nil
		}}
	}
}

func TestConformance(t *testing.T) {
	line := func(i int) string { return fmt.Sprintf("T=%d.5 N=%d", 20-15*i, i) }
	t.Run("sample", func(t *testing.T) {
		conformance.Run(t, Driver, conformance.Options{IsUnchecked: true, Far: says(func(i int) string { return line(i) + "\r\n" })})
	})
	t.Run("checksum", func(t *testing.T) {
		set := func() *Config {
			c := newConfig()
			c.Port, c.Line, c.Start, c.Checksum = "/dev/ttyUSB0", `^T=(?<temp>.*) N=(?<n>.*)$`, "$", Sum{Type: "crc16-ccitt", Mark: "*"}
			return c
		}
		conformance.Run(t, Driver, conformance.Options{
			Config: func() drivers.Config { return set() },
			Far:    says(func(i int) string { return fmt.Sprintf("$%s*%04X\r\n", line(i), newCheck(set()).sum([]byte(line(i)))) }),
		})
	})
	t.Run("length", func(t *testing.T) {
		set := func() *Config {
			c := newConfig()
			c.Port, c.Line, c.Framing, c.Length, c.Gap = "tcp://192.0.2.7:4001", `^(?<temp>[-+.0-9]+) V$`, talker.ByLength, 10, 100*time.Millisecond
			c.Checksum = Sum{Type: "crc16-modbus", Format: "binary", Order: "little"}
			return c
		}
		conformance.Run(t, Driver, conformance.Options{
			Config: func() drivers.Config { return set() },
			Far: says(func(i int) string {
				text := fmt.Sprintf("%+06.2f V", 20.25-15*float64(i))
				sum := newCheck(set()).sum([]byte(text))
				return text + string([]byte{byte(sum), byte(sum >> 8)})
			}),
		})
	})
	t.Run("idle", func(t *testing.T) {
		conformance.Run(t, Driver, conformance.Options{
			Config: func() drivers.Config {
				c := newConfig()
				c.Port, c.Line, c.Framing = "/dev/ttyUSB0", `^T=(?<temp>-?[0-9]{1,2}\.5) N=(?<n>[0-9])$`, talker.ByIdle
				return c
			},
			Far: says(line), IsUnchecked: true,
		})
	})
}

// TestPortIsNotShared: a talker waits for lines with the port in hand, so that a second device there would wait for ever.
func TestPortIsNotShared(t *testing.T) {
	for _, port := range []string{"/dev/ttyX", "tcp://far:4001"} {
		h := &drivertest.Host{}
		says(func(int) string { return "T=1 N=1\n" })(h)
		c := newConfig()
		c.Port, c.Line = port, "^T=(?<temp>[0-9]+) N=1$"
		open := func(name string) (end func(), err error) {
			ctx, end := context.WithCancel(drivers.WithMeter(t.Context(), &drivers.Meter{Device: name}))
			_, err = c.Open(ctx, h)
			return end, err
		}
		end, err := open("one")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open("two"); err == nil || !strings.HasSuffix(err.Error(), "is used by device one, and one of both needs it for itself; give each a port of its own") {
			t.Errorf("second device on %s: %v", port, err)
		}
		end()
		if end, err = open("two"); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
		end()
	}
}
