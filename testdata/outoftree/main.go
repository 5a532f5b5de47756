// Command gateway is the gateway of a plant: Tidegate with the plant's own driver and four of Tidegate's.
package main

import (
	"os"

	"github.com/tidegate-io/tidegate/cmd/tidegate/cli"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus"
	"github.com/tidegate-io/tidegate/drivers/serialtext"
	"github.com/tidegate-io/tidegate/drivers/sim"
	"github.com/tidegate-io/tidegate/drivers/system"

	"example.com/plant/gateway/balance"
)

// The build sets it: go build -ldflags "-X main.version=v1.2.0".
var version = "dev"

// list is what this gateway can read.
func list() []drivers.Driver {
	return []drivers.Driver{balance.Driver, modbus.Driver, serialtext.Driver, sim.Driver, system.Driver}
}

func main() { os.Exit(cli.Main(list(), cli.Build{Version: version, Commit: "unknown"})) }
