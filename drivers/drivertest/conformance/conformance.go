// Package conformance puts drivers through what every driver has to get right: declarations, life cycle, and some twenty kinds of
// hostile far ends. drivers/all runs it over every driver of the project.
package conformance

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// Options say what Run cannot know of a driver.
type Options struct {
	// Config returns the configuration to test with, a fresh one each time; nil = the first block of the driver's Sample.
	Config func() drivers.Config
	// Far makes h a machine with a good device, for that configuration: fills its Ports, buses, pins and files. What it answers or
	// says must be one frame a burst (see drivertest.Wire), and values must come again and again: what Run has seen in Reads of a good
	// device is what it believes that the device has sent. Values that change from Read to Read show more. nil = the driver needs no device.
	Far func(h *drivertest.Host)
	// IsUnchecked says that the device's frames carry no checksum: only then may a flipped bit become a value.
	IsUnchecked bool
	// Reads is how many Reads it takes to see every value that a good device sends; 0 = 4.
	Reads int
	// IsReal says that the device is no far end of h but something real, a program for instance: it is read in real time instead of in
	// bubbles, and the checks that disturb bytes on ports do not apply, which Run says one by one. What the device does with such bytes is
	// for the driver's own tests.
	IsReal bool
	// Units are the units that the driver uses although they are not registered, see tidegate.UnitMeaning.
	Units []string
}

// Run puts d through all Checks, each a subtest of that name. A driver that passes cannot take a gateway down or put a
// value into its books that no device has sent, as far as tests can tell. Run it with -race. Not in parallel with other tests: it
// looks at memory, goroutines and standard output of the whole process.
func Run(t *testing.T, d drivers.Driver, o Options) {
	t.Helper()
	x := examine(t, d, o)
	for _, c := range checks() {
		t.Run(c.Name, func(t *testing.T) {
			if x.o.IsReal && c.isOfPorts() {
				t.Log("does not apply: the device is real, and has no port of a fake Host that could be disturbed")
			}
			if x.o.IsUnchecked && c.Name == "flipped-bits" {
				t.Log("does not apply: Options.IsUnchecked says that frames carry no checksum")
			}
			for _, f := range x.found[c.Name] {
				t.Error(f)
			}
			if len(x.found[c.Name]) > 0 {
				t.Log("remedy: " + c.Remedy)
			}
		})
	}
}

// A Check is one thing that every driver has to get right.
type Check struct {
	Name   string
	Remedy string      // what its author is to do
	run    func(*exam) // nil = watched during all other checks
}

// isOfPorts reports whether the check is one of what the driver makes of bytes on ports.
func (c *Check) isOfPorts() bool {
	return slices.Contains([]string{
		"no-hardware", "silence", "garbage", "nul-bytes", "ff-bytes", "flood", "spin", "half-frames", "split-reads", "slow-bytes",
		"noise-before-frames", "flipped-bits", "late-replies", "double-frames", "recovery", "unplug", "replug",
	}, c.Name)
}

// Checks returns all checks, for manuals.
func Checks() []Check { return checks() }

// An exam is one run of all checks over one driver.
type exam struct {
	t     *testing.T
	d     drivers.Driver
	o     Options
	now   string                      // name of the check that runs
	sent  map[string][]tidegate.Value // by the good device, by channel
	mu    sync.Mutex                  // guards found while several devices run
	found map[string][]string         // what is wrong, by the name of the check
}

// maxFound is how many findings of one check are worth reading.
const maxFound = 4

// examine runs all checks.
func examine(t *testing.T, d drivers.Driver, o Options) *exam {
	if o.Reads == 0 {
		o.Reads = 4
	}
	if o.Far == nil {
		o.Far = func(*drivertest.Host) {}
	}
	x := &exam{t: t, d: d, o: o, found: map[string][]string{}, sent: map[string][]tidegate.Value{}}
	for _, c := range checks() {
		if c.run == nil || o.IsReal && c.isOfPorts() {
			continue
		}
		x.now = c.Name
		stuck := time.AfterFunc(2*time.Minute, func() {
			panic(fmt.Sprintf("drivertest: driver %s does not come to an end in check %s: it computes for ever, or waits for a mutex",
				d.Name, c.Name))
		})
		c.run(x)
		stuck.Stop()
		if c.Name == "sample" && len(x.found[c.Name]) > 0 && o.Config == nil {
			break // without a configuration there is nothing to open
		}
	}
	return x
}

// report notes a finding of the check that runs.
func (x *exam) report(format string, args ...any) { x.reportAs(x.now, format, args...) }

// reportAs notes a finding of the check called name, which came up during another.
func (x *exam) reportAs(name, format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if name != x.now {
		s = "during " + x.now + ": " + s
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.found[name]) < maxFound && !slices.Contains(x.found[name], s) {
		x.found[name] = append(x.found[name], s)
	}
}

// config returns a configuration to open.
func (x *exam) config() drivers.Config {
	if x.o.Config != nil {
		return x.o.Config()
	}
	blocks, err := decodeSample(x.d)
	if err != nil || len(blocks) == 0 {
		return x.d.New() // check sample has said so
	}
	return blocks[0]
}

// channels returns what a device with configuration c declares.
func (x *exam) channels(c drivers.Config) []drivers.Channel {
	out := slices.Clone(x.d.Channels)
	if cc, ok := c.(drivers.Channeler); ok {
		out = append(out, cc.Channels()...)
	}
	return out
}

// bubble runs f in a bubble of fake time, on machine h with the driver's device opened in it. Everything is closed at the end, and
// what is left over is reported.
func (x *exam) bubble(prepare func(h *drivertest.Host), f func(r *run)) {
	x.test(func(t *testing.T) {
		h := &drivertest.Host{}
		x.o.Far(h)
		if prepare != nil {
			prepare(h)
		}
		r := newRun(t, x, h)
		defer r.end()
		if r.open() {
			f(r)
		}
	})
}

// test runs f in a bubble of fake time, or in real time if the device is real.
func (x *exam) test(f func(t *testing.T)) {
	if x.o.IsReal {
		f(x.t)
		return
	}
	synctest.Test(x.t, f)
}

// isKnown reports whether the good device is known to have sent v on channel.
func (x *exam) isKnown(channel string, v tidegate.Value) bool {
	return slices.Contains(x.sent[channel], v)
}

// oneLine reports whether s is a line of text: not empty, no line break.
func oneLine(s string) bool { return strings.TrimSpace(s) != "" && !strings.ContainsAny(s, "\r\n") }
