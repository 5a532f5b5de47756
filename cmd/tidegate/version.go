package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A build says what this program is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	Target  string `json:"target"`
	Slot    string `json:"slot"`
}

// thisBuild reads what the Go linker left in the program.
func thisBuild() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Target: runtime.GOOS + "/" + runtime.GOARCH, Slot: "package"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "GOARM":
				b.Target += "/v" + s.Value
			}
		}
	}
	return b
}

// String returns b in a line.
func (b build) String() string {
	return fmt.Sprintf("tidegate %s (commit %s, %s, %s, slot %s)", b.Version, b.Commit, b.Go, b.Target, b.Slot)
}

// commit is set by the build where the sources are no git checkout for Go's own stamp.
var commit = "unknown"

func versionCommand(*options) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go, target and slot",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			if asJSON {
				return json.NewEncoder(os.Stdout).Encode(b)
			}
			fmt.Println(b)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}
