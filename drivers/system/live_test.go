package system

import (
	"io/fs"
	"os"
	"testing"

	"github.com/tidegate-io/tidegate/drivers"
)

// liveHost is the machine that the test runs on.
type liveHost struct{ drivers.Host }

func (liveHost) Files() fs.FS { return os.DirFS("/") }

// TestThisMachine reads the machine that the test runs on, with the default configuration: every Linux has load, memory, uptime and a root
// file system.
func TestThisMachine(t *testing.T) {
	d, err := Driver.New().Open(t.Context(), liveHost{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := d.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]float64{}
		for _, r := range got {
			t.Logf("%s = %v %s %s", r.Channel, r.Value, r.Unit, r.Fault)
			if r.Fault != "" {
				t.Errorf("%s: %s", r.Channel, r.Fault)
			}
			seen[r.Channel], _ = r.Value.Number()
		}
		for _, name := range []string{"load1", "load15", "cpu_used", "uptime", "mem_total", "mem_available", "disk_root_total"} {
			if v, ok := seen[name]; !ok || v < 0 {
				t.Errorf("%s is %v", name, v)
			}
		}
		if seen["mem_total"] < 16<<20 || seen["mem_used"] > 100 || seen["disk_root_used"] > 100 || seen["uptime"] < 1 {
			t.Errorf("unlikely: %v", seen)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
