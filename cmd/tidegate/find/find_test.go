package find

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/all"
	"github.com/tidegate-io/tidegate/drivers/board"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/modbus"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
	"github.com/tidegate-io/tidegate/drivers/modbus/sweep"
	"github.com/tidegate-io/tidegate/drivers/scan"
)

// keeping is the far end of a pseudo-terminal that answers only where the port is set to its own speed: what comes at others is noise to
// it. Pseudo-terminals have no parity.
type keeping struct {
	*pty.Pair
	t     *testing.T
	speed uint32
}

func (k *keeping) Read(b []byte) (int, error) {
	for {
		n, err := k.Master.Read(b)
		if err != nil || k.isMine() {
			return n, err
		}
	}
}

func (k *keeping) Write(b []byte) (int, error) { return k.Master.Write(b) }
func (k *keeping) Close() error                { return k.Pair.Close() }

func (k *keeping) isMine() bool {
	raw, err := k.Master.SyscallConn()
	if err != nil {
		k.t.Error(err)
		return false
	}
	mine := false
	err = raw.Control(func(fd uintptr) {
		s, err := unix.IoctlGetTermios(int(fd), unix.TCGETS2)
		if err != nil {
			k.t.Error(err)
			return
		}
		mine = s.Ospeed == k.speed
	})
	return mine && err == nil
}

// line returns a pseudo-terminal with unit 5 at 19200 bit/s at its far end, and the path of its port.
func line(t *testing.T) string {
	t.Helper()
	p, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	k := &keeping{Pair: p, t: t, speed: 19200}
	s := &slave.Slave{Units: []byte{5}, Values: func(_ slave.Request, out []uint16) slave.Exception {
		out[0] = 17
		return slave.NoException
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeRTU(ctx, k) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p.Path
}

// TestModbus finds a unit on a real port that keeps its settings, and prints a configuration that check takes.
func TestModbus(t *testing.T) {
	port := line(t)
	var out bytes.Buffer
	f := Finder{Drivers: []drivers.Driver{modbus.Driver}, Out: &out, Ports: []string{port}, Units: []uint{4, 5, 6}, Baud: []int{9600, 19200}}
	if err := f.Modbus(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "# " + port + " unit 5 at 19200 8N1: holding 0 = 17\ndevices:\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", &out, want)
	}
	text := "gateway: {id: gw-1}\nuplink: {url: \"mqtt://127.0.0.1\"}\n" + out.String()
	if _, faults, err := config.Parse("found.yaml", []byte(text), []drivers.Driver{modbus.Driver}); err != nil {
		t.Errorf("check refuses it: %v %v\n%s", err, faults, text)
	}
}

// TestEstimate: on a real port, where opening and the kernel take their time too, the time said beforehand is right within a fifth.
func TestEstimate(t *testing.T) {
	port := line(t)
	plan := sweep.NewPlanOf(port, []byte{1, 2, 3, 4, 6, 7, 8, 9, 10}, []int{9600, 19200}, []string{"none"})
	start := time.Now()
	if found, err := (&sweep.Search{Host: board.New(nil), Plan: plan}).Run(t.Context()); err != nil || len(found) != 0 {
		t.Fatalf("found %+v, %v", found, err)
	}
	took := time.Since(start)
	if ratio := took.Seconds() / plan.Estimate().Seconds(); ratio < 0.8 || ratio > 1.2 {
		t.Errorf("%d requests took %v, said %v beforehand", plan.Size(), took, plan.Estimate())
	}
	t.Logf("%d requests took %v, said %v", plan.Size(), took, plan.Estimate())
}

// TestBadFlags: what cannot be searched is refused with what can.
func TestBadFlags(t *testing.T) {
	for want, f := range map[string]Finder{
		"--unit is 0, want 1 to 247":                     {Units: []uint{0}},
		"--unit is 300, want 1 to 247":                   {Units: []uint{300}},
		`--parity is "mark", want none, even or odd`:     {Parity: []string{"mark"}},
		"no usual setting has these speeds and parities": {Baud: []int{31250}},
	} {
		f.Drivers, f.Out, f.Ports = []drivers.Driver{modbus.Driver}, &bytes.Buffer{}, []string{"/dev/null"}
		if err := f.Modbus(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestBlocks: the block of each part that a driver knows is a configuration that check takes, and so is that of a thermometer on 1-Wire.
func TestBlocks(t *testing.T) {
	n := 0
	good := func(block string) {
		n++
		text := "gateway: {id: gw-1}\nuplink: {url: \"mqtt://127.0.0.1\"}\ndevices:\n" + block
		if _, faults, err := config.Parse("found.yaml", []byte(text), all.Drivers()); err != nil {
			t.Errorf("check refuses the block: %v %v\n%s", err, faults, text)
		}
	}
	for _, d := range all.Drivers() {
		for _, p := range d.Parts {
			for _, a := range p.Addresses {
				bus := &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{a: {Held: map[byte][]byte{0: {0}}}}}
				h := &drivertest.Host{I2CBuses: map[string]i2c.Bus{"1": bus}, FS: fstest.MapFS{"sys/class/i2c-dev/i2c-1/name": {Data: []byte("bcm2835\n")}}}
				m := &scan.Machine{Host: h, Drivers: []drivers.Driver{{Name: d.Name, Parts: []drivers.Part{p}}}}
				found := m.Run(t.Context(), "i2c").I2C[0].Parts
				if len(found) != 1 || found[0].Block == "" {
					t.Fatalf("%s at 0x%02x: found %+v", p.Name, a, found)
				}
				good(found[0].Block)
			}
		}
	}
	h := &drivertest.Host{FS: fstest.MapFS{"sys/bus/w1/devices/28-0123456789ab/w1_slave": {}}}
	good((&scan.Machine{Host: h, Drivers: all.Drivers()}).Run(t.Context(), "onewire").OneWire[0].Block)
	if n < 20 {
		t.Errorf("%d blocks, want 20 or more", n)
	}
}
