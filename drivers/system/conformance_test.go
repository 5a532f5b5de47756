package system

import (
	"testing"
	"testing/fstest"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

func TestConformance(t *testing.T) {
	far := func(h *drivertest.Host) {
		m := fstest.MapFS{"proc/net/dev": {Data: []byte("eth0: 10 0 0 0 0 0 0 0 20 0\n")}}
		for name, text := range piFiles {
			m[name] = &fstest.MapFile{Data: []byte(text)}
		}
		h.FS = m
	}
	conformance.Run(t, Driver, conformance.Options{Far: far, Config: func() drivers.Config {
		c := newTestConfig()
		c.Disks, c.Temperatures, c.Networks = []string{"/", "/data"}, []string{"nvme_composite", "rp1_adc_temp1"}, []string{"eth0"}
		return c
	}})
}
