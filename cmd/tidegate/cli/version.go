package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// A Build says what a program was built from, in words of whoever builds it.
type Build struct {
	Version string // of the program, for instance "v1.4.0"; `version`, status and manual show it
	Commit  string // of its sources; where Go itself has stamped one into the program (go help buildvcs), that counts
	Time    string // of that commit, seconds since 1970; "" = not known. No clock that is before is believed where releases expire.
}

// time returns b.Time, 1970 where it is not known.
func (b Build) time() time.Time {
	s, err := strconv.ParseInt(b.Time, 10, 64)
	if err != nil {
		s = 0
	}
	return time.Unix(s, 0)
}

// A stamp says what this program is.
type stamp struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	Target  string `json:"target"`
	Slot    string `json:"slot"`
}

// thisBuild adds to what the program says of itself what the Go linker left in it.
func (o *options) thisBuild() stamp {
	b := stamp{Version: o.build.Version, Commit: o.build.Commit, Go: runtime.Version(), Target: runtime.GOOS + "/" + runtime.GOARCH, Slot: slotOf(os.Executable())}
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

// slotOf returns the slot that the program at path lies in.
func slotOf(path string, err error) string {
	dir, slot := filepath.Split(filepath.Dir(path))
	if err == nil && filepath.Base(dir) == "slots" && (slot == "a" || slot == "b") {
		return slot
	}
	return "package"
}

// String returns b in a line.
func (b stamp) String() string {
	return fmt.Sprintf("tidegate %s (commit %s, %s, %s, slot %s)", b.Version, b.Commit, b.Go, b.Target, b.Slot)
}

func versionCommand(o *options) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit, Go, target and slot",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := o.thisBuild()
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
