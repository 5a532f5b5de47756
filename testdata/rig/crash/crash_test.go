// Package crash takes the gateway what it needs at the worst moment: its process, its broker, its network, its power, its disk. Then
// every reading that the meters answered must be accounted for.
//
// Sizes are flags; the defaults are those of `make test`. `make crash` says -all -kills 1000. case_test.go has what comes of it: one row for each kind of
// thing that is done, in tables of RELIABILITY.md.
package crash

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var (
	kills     = flag.Int("kills", 8, "how often the gateway is killed")
	stops     = flag.Int("brokers", 0, "how often the broker is stopped meanwhile; 0 = as it comes")
	cuts      = flag.Int("cuts", 4, "how often the power is cut")
	guestCuts = flag.Int("guest", 0, "how often the power of an emulated machine is cut; it needs -kernels")
	kernels   = flag.String("kernels", "", "folder with an unpacked kernel, see testdata/rig/hil/kernels.sh")
	damages   = flag.Int("damages", 10, "how often a file of a gateway that has stopped is damaged")
	fullFor   = flag.Duration("full", fullShort, "how long the disk stays full; from 60s on the load is such that the rings overflow")
	faults    = flag.Bool("faults", false, "each fault, not those whose turn it is by the commit")
	faultFor  = flag.Duration("fault", 8*time.Second, "how long a fault lasts")
	seedFlag  = flag.Uint64("seed", 0, "of what is drawn; 0 = draw one, with -all it is 1")
	programs  bed.Programs
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(storeDir); dir != "" {
		fmt.Println(work(dir)) // it is killed before it comes here
		os.Exit(1)
	}
	flag.Parse()
	// Tests that are parallel here wait most of the time.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := bed.Main(m, &programs)
	showAll()
	os.Exit(code)
}
