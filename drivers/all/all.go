// Package all is the list of drivers that this build has: a new driver is one folder beside this one, and one line here.
package all

import (
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/ads1x15"
	"github.com/tidegate-io/tidegate/drivers/bme280"
	"github.com/tidegate-io/tidegate/drivers/ds18b20"
	"github.com/tidegate-io/tidegate/drivers/external"
	"github.com/tidegate-io/tidegate/drivers/gpio"
	"github.com/tidegate-io/tidegate/drivers/i2cmap"
	"github.com/tidegate-io/tidegate/drivers/ina219"
	"github.com/tidegate-io/tidegate/drivers/modbus"
	"github.com/tidegate-io/tidegate/drivers/nmea"
	"github.com/tidegate-io/tidegate/drivers/pms5003"
	"github.com/tidegate-io/tidegate/drivers/serialtext"
	"github.com/tidegate-io/tidegate/drivers/sim"
	"github.com/tidegate-io/tidegate/drivers/system"
)

// Drivers returns all drivers, in the order of their names.
func Drivers() []drivers.Driver {
	return []drivers.Driver{
		ads1x15.Driver, bme280.Driver, ds18b20.Driver, external.Driver, gpio.Driver, i2cmap.Driver, ina219.Driver,
		modbus.Driver, nmea.Driver, pms5003.Driver, serialtext.Driver, sim.Driver, system.Driver,
	}
}
