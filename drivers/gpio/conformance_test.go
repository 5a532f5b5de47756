package gpio

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// TestConformance has lines whose values come again and again: the counter's stands still.
func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{Reads: 10, Far: func(h *drivertest.Host) {
		h.Pins = map[string]*drivertest.Pin{
			"GPIO17": {Every: 300 * time.Millisecond}, "GPIO22": {Every: 500 * time.Millisecond},
			"GPIO23": {Input: true}, "GPIO24": {}, "GPIO27": {},
		}
	}})
}
