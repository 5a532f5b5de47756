// Command tidegate is the gateway: it reads devices, buffers every reading durably, judges rules and forwards to a far side.
package main

import (
	"os"

	"github.com/tidegate-io/tidegate/cmd/tidegate/cli"
	"github.com/tidegate-io/tidegate/drivers/all"
)

// The build sets them: git describe; the commit, where the sources are no git checkout for Go's own stamp; its time, seconds since 1970.
var (
	version = "dev"
	commit  = "unknown"
	built   = ""
)

func main() {
	os.Exit(cli.Main(all.Drivers(), cli.Build{Version: version, Commit: commit, Time: built}))
}
