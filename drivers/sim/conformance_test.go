package sim

import (
	"testing"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// TestConformance keeps the device to four Reads, so that its values come again and again.
func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{Config: func() drivers.Config {
		c := Driver.New().(*Config)
		c.Analog, c.Faults = true, []Fault{{Kind: faultGone, From: 5}}
		return c
	}})
}
