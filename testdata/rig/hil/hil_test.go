package hil

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var (
	kernels  = flag.String("kernels", "", "folder with the unpacked kernels, see kernels.sh")
	programs bed.Programs
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, &programs)) }

// build builds a program of this module for the board.
func build(t *testing.T, arch, what, path string) string {
	t.Helper()
	if err := bed.CompileFor(arch, what, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// pack builds what a board boots into.
func pack(t *testing.T, k *bed.Kernel, dir, arch string, modules ...string) string {
	t.Helper()
	guest := build(t, arch, "./testdata/rig/hil/guest", filepath.Join(dir, "guest"))
	gateway := build(t, arch, "./cmd/tidegate", filepath.Join(dir, "tidegate"))
	path := filepath.Join(dir, "initramfs")
	k.Initramfs(t, path, guest, gateway, k.With(t, modules...))
	return path
}

// A far is the broker on this machine and what arrived there.
type far struct {
	t      *testing.T
	broker *bed.Broker

	mu   sync.Mutex // guards all below
	seen []bed.Reading
	from int // in seen; what is before is forgotten
	err  error
}

// newFar starts a broker, and a receiver that takes down what arrives.
func newFar(t *testing.T, dir string) *far {
	t.Helper()
	f := &far{t: t, broker: bed.NewBroker(t, dir)}
	f.broker.Start()
	_, port, err := net.SplitHostPort(f.broker.Address)
	if err != nil {
		t.Fatal(err)
	}
	tapped := filepath.Join(dir, "tapped")
	bed.Start(t, "mosquitto_sub", tapped, false, nil, bed.Need(t, "mosquitto_sub", "mosquitto-clients"),
		"-h", "127.0.0.1", "-p", port, "-q", "1", "-t", "tg/v1/+/up/#", "-F", "%t %x")
	go f.follow(t.Context(), tapped)
	return f
}

// follow reads the file over and over: it is small.
func (f *far) follow(ctx context.Context, path string) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var all []bed.Reading
		err := bed.Tapped(path, func(r *bed.Record) { all = append(all, r.Readings...) }) // the last line may be half there; the next look has it
		f.mu.Lock()
		f.seen, f.err = all, err
		f.mu.Unlock()
	}
}

// last returns the newest reading of a channel.
func (f *far) last(device, channel string) (r bed.Reading, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.seen) - 1; i >= f.from; i-- {
		if x := f.seen[i]; x.Device == device && x.Channel == channel {
			return x, true
		}
	}
	return bed.Reading{}, false
}

// forget makes last know only what arrives from now on.
func (f *far) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = len(f.seen)
}

// wait waits until the newest reading of a channel is value, or has that text in its fault.
func (f *far) wait(device, channel, value, fault string) {
	f.t.Helper()
	start := time.Now()
	for time.Since(start) < longest {
		if r, ok := f.last(device, channel); ok && (fault == "" && r.Fault == "" && r.Value == value || fault != "" && strings.Contains(r.Fault, fault)) {
			f.t.Logf("PASS %s.%s is %s%s after %v", device, channel, value, r.Fault, time.Since(start).Round(10*time.Millisecond))
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	r, ok := f.last(device, channel)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t.Fatalf("FAIL %s.%s is %+v (%v) after %v, want %q %q; reading what arrived: %v", device, channel, r, ok, longest, value, fault, f.err)
}

// serve answers Modbus RTU on a unix socket, where the emulated UART or adapter is at the other end: unit 17, register n holds n.
func serve(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody is left to be told
	s := &slave.Slave{Units: []byte{17}, Values: func(q slave.Request, out []uint16) slave.Exception {
		for i := range out {
			out[i] = q.Address + uint16(i)
		}
		return slave.NoException
	}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = s.ServeRTU(context.Background(), c) }() // ends with the connection
		}
	}()
}

// config is a gateway's configuration on a board with these devices and rules.
func (f *far) config(devices, rules string) string {
	_, port, _ := net.SplitHostPort(f.broker.Address)
	return fmt.Sprintf("gateway: {id: hil}\nstate_dir: /tmp/state\ndevices:\n%s%sbuffer: {max_bytes: 64MB, sync: 1s}\n"+
		"uplink: {url: \"mqtt://10.0.2.2:%s\", confirm: puback, batch: {readings: 100, every: 200ms}}\n", devices, rules, port)
}

const gpioPath = "/machine/soc/gpio"

// board boots the 32-bit board with these modules of its kernel and this beside it.
func board(t *testing.T, dir string, modules []string, more ...string) *machine {
	t.Helper()
	k := bed.OpenKernel(t, filepath.Join(*kernels, "armhf"))
	return boot(t, dir, "qemu-system-arm", append([]string{
		"-M", "ast2600-evb", "-m", "1G", "-nic", "user,ipv6=off",
		"-kernel", unpacked(t, k, filepath.Join(dir, "kernel")), "-dtb", deviceTree(t, k, filepath.Join(dir, "board.dtb")),
		"-initrd", pack(t, k, dir, "arm", modules...),
		// Nothing runs on the second processor, which sleeps so; one that the kernel does not start (maxcpus=1) spins, and costs as much as the first.
		"-append", "console=ttyS4,115200n8 quiet loglevel=3 isolcpus=1 net.ifnames=0 hil.off=reboot",
	}, more...)...)
}

// TestBoard: the 32-bit board. GPIO levels, edges, a counter and an output by name, a rule between them; a thermometer on I2C set from outside, absent,
// and its adapter removed and back; Modbus RTU over the UART.
func TestBoard(t *testing.T) {
	dir := bed.Dir(t, false)
	f := newFar(t, dir)
	uart := filepath.Join(dir, "uart.sock")
	serve(t, uart)
	m := board(t, dir, []string{"i2c-dev", "i2c-aspeed", "gpio-aspeed", "mdio-aspeed", "realtek", "ftgmac100"},
		"-device", "tmp105,bus=aspeed.i2c.bus.1,address=0x48,id=tmp0",
		"-device", "at24c-eeprom,bus=aspeed.i2c.bus.1,address=0x50,rom-size=4096",
		"-device", "ds1338,bus=aspeed.i2c.bus.1,address=0x68",
		"-chardev", "socket,id=uart,path="+uart, "-serial", "chardev:uart")
	m.set("/machine/peripheral/tmp0", "temperature", 23500)
	t.Run("scan", func(t *testing.T) { scanned(t, m) })
	m.start(f.config(`  - name: pins
    driver: gpio
    report: 500ms
    lines:
      - {channel: door, line: GPIO0, mode: edge}
      - {channel: pulses, line: GPIO2, mode: counter}
      - {channel: lamp, line: GPIO1, mode: output, safe: "off"}
  - {name: rack, driver: i2cmap, bus: "1", address: "0x48", map: tmp105, every: 200ms}
  - {name: nobody, driver: i2cmap, bus: "1", address: "0x49", map: tmp105, every: 1s}
  - {name: muxed, driver: gpio, lines: [{channel: x, line: MUXED4, mode: input}]}
  - name: meter
    driver: modbus
    every: 200ms
    address: rtu:///dev/ttyS0?baud=19200&parity=even
    unit: 17
    registers: [{channel: r, table: holding, address: 100, type: uint16, count: 4}]
`, `rules:
  - name: light
    when: pins.door == true
    do: [{set: {channel: pins.lamp, value: true, on_clear: false}}]
`))
	t.Run("gpio", func(t *testing.T) { pins(t, m, f) })
	t.Run("i2c", func(t *testing.T) { thermometer(t, m, f) })
	t.Run("serial", func(t *testing.T) {
		for i := range 4 {
			f.wait("meter", fmt.Sprintf("r%d", i), fmt.Sprint(100+i), "")
		}
	})
	t.Run("stop", func(t *testing.T) { stopped(t, m, f) })
}

// scanned looks at what scan says of the board.
func scanned(t *testing.T, m *machine) {
	a := m.do("run", "", "/tidegate", "scan", "i2c")
	for _, want := range []string{"0x48", "0x50", "0x68"} {
		if !strings.Contains(a.Out, want) || a.Code != 0 {
			t.Errorf("FAIL scan i2c does not find %s: %s", want, a.Out)
		}
	}
	if strings.Contains(a.Out, "0x49") {
		t.Errorf("FAIL scan i2c finds a part at 0x49, where there is none: %s", a.Out)
	}
	a = m.do("run", "", "/tidegate", "scan", "gpio")
	if !strings.Contains(a.Out, "GPIO0") || !strings.Contains(a.Out, "MUXED4") {
		t.Errorf("FAIL scan gpio: %s", a.Out)
	}
	a = m.do("run", "", "/tidegate", "scan", "modbus", "--port", "/dev/ttyS0", "--unit", "16,17,18", "--baud", "19200")
	if !strings.Contains(a.Out, "unit: 17") || a.Code != 0 {
		t.Errorf("FAIL scan modbus: %s", a.Out)
	}
}

// pins drives inputs and looks at the output from outside.
func pins(t *testing.T, m *machine, f *far) {
	f.t = t
	f.wait("pins", "door", "false", "")
	for _, level := range []bool{true, false, true} {
		m.set(gpioPath, "gpioB0", level)
		f.wait("pins", "door", fmt.Sprint(level), "")
		bed.Wait(t, "the lamp to follow", longest, func() bool { return m.get(gpioPath, "gpioB1") == fmt.Sprint(level) })
		t.Logf("PASS the output is %v outside", level)
	}
	const pulses = 100
	m.pulse(pulses, func(level bool) { m.set(gpioPath, "gpioB2", level) })
	f.wait("pins", "pulses", fmt.Sprint(pulses), "")
	a := m.tidegate("set", "pins.lamp", "false")
	if a.Code != 0 || m.get(gpioPath, "gpioB1") != "false" {
		t.Errorf("FAIL set pins.lamp false: status %d, %s; outside it is %s", a.Code, a.Out, m.get(gpioPath, "gpioB1"))
	}
	m.set(gpioPath, "gpioB0", false)
	f.wait("muxed", "_device", "", "the board uses this line for something else")
}

// thermometer sets the temperature from outside, and takes the adapter away and back.
func thermometer(t *testing.T, m *machine, f *far) {
	f.t = t
	for _, c := range []struct {
		milli int
		want  string
	}{{23500, "23.5"}, {85250, "85.25"}, {-12750, "-12.75"}} {
		m.set("/machine/peripheral/tmp0", "temperature", c.milli)
		f.wait("rack", "temperature", c.want, "")
	}
	f.wait("nobody", "_device", "", "0x49")
	const driver, adapter = "/sys/bus/platform/drivers/aspeed-i2c-bus/", "1e78a100.i2c-bus"
	m.must("write", adapter, driver+"unbind")
	f.wait("rack", "_device", "", "/dev/i2c-1")
	m.must("write", adapter, driver+"bind")
	m.set("/machine/peripheral/tmp0", "temperature", 21000)
	f.wait("rack", "temperature", "21", "")
}

// stopped kills the gateway with the lamp on: `safe` puts it out; started again the counter goes on; stopped in order the lamp goes out by itself.
func stopped(t *testing.T, m *machine, f *far) {
	f.t = t
	m.set(gpioPath, "gpioB0", true)
	bed.Wait(t, "the lamp", longest, func() bool { return m.get(gpioPath, "gpioB1") == "true" })
	if a := m.do("signal", "", "KILL"); a.Err != "" {
		t.Fatalf("FAIL kill: %+v", a)
	}
	if a := m.tidegate("safe"); a.Code != 0 || m.get(gpioPath, "gpioB1") != "false" {
		t.Errorf("FAIL after a kill, safe: status %d, %s; outside the lamp is %s", a.Code, a.Out, m.get(gpioPath, "gpioB1"))
	}
	m.must("start", "", "/tidegate", "run", "--config", "/tmp/tidegate.yaml")
	bed.Wait(t, "the lamp again", longest, func() bool { return m.get(gpioPath, "gpioB1") == "true" })
	m.pulse(10, func(level bool) { m.set(gpioPath, "gpioB2", level) })
	f.wait("pins", "pulses", "110", "")
	if a := m.do("signal", "", "TERM"); a.Err != "" || a.Code != 0 {
		t.Errorf("FAIL stop: %+v", a)
	}
	if got := m.get(gpioPath, "gpioB1"); got != "false" {
		t.Errorf("FAIL stopped in order, the lamp is %s", got)
	}
}

// TestVirt: the 64-bit machine. Lines of a chip without names, and a USB serial adapter that is pulled and plugged.
func TestVirt(t *testing.T) {
	dir := bed.Dir(t, false)
	k := bed.OpenKernel(t, filepath.Join(*kernels, "arm64"))
	f := newFar(t, dir)
	usb := filepath.Join(dir, "usb.sock")
	serve(t, usb)
	m := boot(t, dir, "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-m", "1G", "-accel", "tcg",
		"-kernel", k.Image, "-initrd", pack(t, k, dir, "arm64", "virtio_mmio", "virtio_net", "xhci-pci", "usbserial", "ftdi_sio"),
		"-netdev", "user,id=un0,ipv6=off", "-device", "virtio-net-device,netdev=un0",
		"-chardev", "socket,id=usbser,path="+usb, "-device", "qemu-xhci,id=xhci", "-device", "usb-serial,chardev=usbser,id=usbser0,bus=xhci.0",
		"-append", "console=ttyAMA0 quiet loglevel=3 net.ifnames=0")
	m.start(f.config(`  - name: pins
    driver: gpio
    report: 500ms
    lines: [{channel: door, line: "gpiochip0:3", mode: edge}, {channel: pulses, line: "gpiochip0:5", mode: counter}]
  - name: meter
    driver: modbus
    every: 200ms
    address: rtu:///dev/ttyUSB0?baud=19200&parity=even
    unit: 17
    timeout: 500ms
    registers: [{channel: r, table: holding, address: 100, type: uint16, count: 4}]
`, ""))
	t.Run("gpio", func(t *testing.T) {
		f.t = t
		f.wait("pins", "door", "false", "")
		for _, level := range []bool{true, false} {
			m.raise(3, level)
			f.wait("pins", "door", fmt.Sprint(level), "")
		}
		m.pulse(100, func(level bool) { m.raise(5, level) })
		f.wait("pins", "pulses", "100", "")
	})
	t.Run("unplug", func(t *testing.T) {
		f.t = t
		f.wait("meter", "r3", "103", "")
		for range 3 {
			f.forget()
			if _, err := m.try("device_del", map[string]any{"id": "usbser0"}); err != nil {
				t.Fatal(err)
			}
			f.wait("meter", "_device", "", "plug") // unplugged, or: plug the adapter in; a late answer is another fault
			f.forget()
			bed.Wait(t, "the adapter to be plugged", longest, func() bool {
				_, err := m.try("device_add", map[string]any{"driver": "usb-serial", "chardev": "usbser", "id": "usbser0", "bus": "xhci.0"})
				return err == nil // the old one is freed a moment after device_del
			})
			start := time.Now()
			f.wait("meter", "r3", "103", "")
			t.Logf("PASS read again %v after it was plugged", time.Since(start).Round(10*time.Millisecond))
		}
	})
	if a := m.do("signal", "", "TERM"); a.Err != "" || a.Code != 0 {
		t.Errorf("FAIL stop: %+v", a)
	}
}
