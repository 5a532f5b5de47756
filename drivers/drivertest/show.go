package drivertest

import (
	"fmt"
	"strings"

	"github.com/tidegate-io/tidegate"
)

// Show returns what a Read gave as text: "channel=value unit" or "channel!fault" for each reading, and "error: ..." behind them.
func Show(rs []tidegate.Reading, err error) string {
	var out []string
	for _, r := range rs {
		s := fmt.Sprintf("%s=%v %s", r.Channel, r.Value, r.Unit)
		if r.Fault != "" {
			s = r.Channel + "!" + r.Fault
		}
		out = append(out, s)
	}
	if err != nil {
		out = append(out, "error: "+err.Error())
	}
	return strings.Join(out, ", ")
}
