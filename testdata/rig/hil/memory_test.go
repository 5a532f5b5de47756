package hil

import (
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var loadFor = flag.Duration("load", 10*time.Second, "how long the gateway on the 32-bit board is kept busy")

// most32 is what the gateway may have in memory of its own on a 32-bit system, in bytes.
const most32 = 110 << 20

// TestMemory: on the 32-bit board more is offered than its processor can take, and nobody takes it over: what the gateway has of its own in memory stays below
// its bound.
func TestMemory(t *testing.T) {
	const devices, channels, everyMs = 12, 40, 10
	m := board(t, bed.Dir(t, false), []string{"mdio-aspeed", "realtek", "ftgmac100"})
	var list strings.Builder
	for d := range devices {
		fmt.Fprintf(&list, "  - {name: d%d, driver: sim, every: %dms, channels: [", d, everyMs)
		for c := range channels {
			fmt.Fprintf(&list, "{name: c%d, wave: random, max: 1000},", c)
		}
		list.WriteString("]}\n")
	}
	m.start("gateway: {id: hil}\nstate_dir: /tmp/state\ndevices:\n" + list.String() +
		"buffer: {max_bytes: 64MB, sync: 1s}\nuplink: {url: \"mqtt://127.0.0.1:1\"}\n")
	status := func() (produced uint64) {
		var s struct{ Account struct{ Produced uint64 } }
		a := m.tidegate("status", "--json")
		if err := json.Unmarshal([]byte(a.Out), &s); err != nil {
			return 0 // it is not there yet, or too busy to answer
		}
		return s.Account.Produced
	}
	bed.Wait(t, "the first readings", longest, func() bool { return status() > 0 })
	pid := gatewayOf(t, m)
	from, begin, peak := status(), time.Now(), 0
	for time.Since(begin) < *loadFor {
		peak = max(peak, anonOf(t, m, pid))
		time.Sleep(time.Second)
	}
	var last uint64
	bed.Wait(t, "an answer", longest, func() bool { last = status(); return last > from })
	rate := float64(last-from) / time.Since(begin).Seconds()
	t.Logf("%.0f readings/s taken of %d offered: RssAnon at most %.1f MB, at most %d allowed", rate, devices*(channels+1)*1000/everyMs, float64(peak)/1e6, most32/1_000_000)
	if peak == 0 || peak > most32 {
		t.Errorf("FAIL RssAnon is %d bytes, want more than 0 and at most %d", peak, most32)
	}
	if a := m.do("signal", "", "KILL"); a.Err != "" { // to store all that is in the rings takes longer than a stop may
		t.Errorf("FAIL kill: %+v", a)
	}
}

// gatewayOf returns the process of the gateway.
func gatewayOf(t *testing.T, m *machine) string {
	t.Helper()
	for _, path := range strings.Fields(m.must("glob", "", "/proc/[0-9]*/cmdline")) {
		if a := m.do("read", "", path); strings.HasPrefix(a.Out, "/tidegate\x00run\x00") {
			return path[:strings.LastIndexByte(path, '/')]
		}
	}
	t.Fatal("no gateway runs")
	return ""
}

// anonOf returns the RssAnon of a process, in bytes.
func anonOf(t *testing.T, m *machine, proc string) int {
	t.Helper()
	_, rest, _ := strings.Cut(m.must("read", "", proc+"/status"), "RssAnon:")
	n, err := strconv.Atoi(strings.TrimSpace(strings.Split(rest, "kB")[0]))
	if err != nil {
		t.Fatalf("RssAnon: %v", err)
	}
	return n << 10
}
