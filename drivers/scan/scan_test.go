package scan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// files are those of a machine: the text of each, and "-> target" for a link.
func files(list map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range list {
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			m[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
		} else {
			m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
		}
	}
	return m
}

// ports are a USB adapter with a number of its own, one without, a UART with the console on it, a place without a UART, a virtual
// terminal.
func ports() map[string]string {
	const usb = "sys/devices/platform/soc/usb1/1-1/1-1.2"
	return map[string]string{
		usb + "/idVendor": "0403\n", usb + "/idProduct": "6001\n", usb + "/manufacturer": "FTDI\n", usb + "/product": "FT232R USB UART\n",
		usb + "/serial": "A50285BI\n",
		usb + "/1-1.2:1.0/ttyUSB0/tty/ttyUSB0/dev":                                 "188:0\n",
		usb + "/1-1.2:1.0/ttyUSB0/tty/ttyUSB0/device/x":                            "",
		"sys/class/tty/ttyUSB0":                                                    "-> ../../devices/platform/soc/usb1/1-1/1-1.2/1-1.2:1.0/ttyUSB0/tty/ttyUSB0",
		"dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0":                     "-> ../../ttyUSB0",
		"dev/serial/by-path/platform-soc-usb-0:1.2:1.0-port0":                      "-> ../../ttyUSB0",
		"sys/devices/platform/soc/usb1/1-2/idVendor":                               "1a86\n",
		"sys/devices/platform/soc/usb1/1-2/idProduct":                              "7523\n",
		"sys/devices/platform/soc/usb1/1-2/1-2:1.0/ttyUSB10/tty/ttyUSB10/device/x": "",
		"sys/class/tty/ttyUSB10":                                                   "-> ../../devices/platform/soc/usb1/1-2/1-2:1.0/ttyUSB10/tty/ttyUSB10",
		"dev/serial/by-path/platform-soc-usb-0:2:1.0-port0":                        "-> ../../ttyUSB10",
		"sys/class/tty/ttyAMA0/device/driver":                                      "-> ../../../bus/amba/drivers/uart-pl011",
		"sys/class/tty/ttyAMA0/type":                                               "32\n",
		"sys/class/tty/ttyS3/device/x":                                             "", "sys/class/tty/ttyS3/type": "0\n",
		"sys/class/tty/tty1/dev":            "4:1\n",
		"sys/class/tty/console/active":      "tty1 ttyAMA0\n",
		"sys/bus/amba/drivers/uart-pl011/x": "",
	}
}

func TestPorts(t *testing.T) {
	got := Ports(files(ports()))
	want := []Port{
		{Path: "/dev/ttyAMA0", Adapter: "uart-pl011", Problem: "the kernel's console is on it"},
		{Path: "/dev/ttyUSB0", Lasting: "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0", Adapter: "FTDI FT232R USB UART (USB 0403:6001), serial number A50285BI"},
		{Path: "/dev/ttyUSB10", Lasting: "/dev/serial/by-path/platform-soc-usb-0:2:1.0-port0", Adapter: "(USB 1a86:7523)"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if got := Ports(files(nil)); len(got) != 0 {
		t.Errorf("a machine with nothing has ports %+v", got)
	}
}

// fake are two drivers that listen, and two that serve I2C parts.
func fake() []drivers.Driver {
	return []drivers.Driver{
		{Name: "counter", Hear: func(b []byte) (string, [][2]string) {
			if !bytes.Contains(b, []byte("N=")) {
				return "", nil
			}
			return "a counter", [][2]string{{"line", "'^N=(?<n>[0-9]+)$'"}}
		}},
		{Name: "silent"},
		{Name: "bmx", Parts: []drivers.Part{
			{Name: "BME280", Addresses: []uint16{0x76, 0x77}, Register: 0xd0, ID: []byte{0x60}},
			{Name: "BMP280", Addresses: []uint16{0x76, 0x77}, Register: 0xd0, ID: []byte{0x58}},
		}},
		{Name: "adc", Parts: []drivers.Part{{Name: "ADS1115", Addresses: []uint16{0x48}}}},
		{Name: "therm", Parts: []drivers.Part{{Name: "MCP9808", Addresses: []uint16{0x18, 0x48}, Register: 7, ID: []byte{0x04}, Mask: []byte{0xfc}}}},
		{Name: "ds18b20"},
	}
}

// TestListen: what talks is named with its settings at the first port that says it; a silent port, one that makes no sense, and one that
// cannot be opened are told apart.
func TestListen(t *testing.T) {
	for _, c := range []struct {
		name  string
		open  drivertest.Opener
		heard string
		ends  time.Duration // at most
	}{
		{"talker", drivertest.Says(400*time.Millisecond, "N=1\r\n"), "a counter", 2 * time.Second},
		{"silent", drivertest.Answers(func([]byte) []byte { return nil }), "", 2 * time.Second},
		{"no sense", drivertest.Says(100*time.Millisecond, "\xf8\x00\xff"), "36 bytes that make no sense at any usual setting", 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := ports()
				h := &drivertest.Host{FS: files(list), Ports: map[string]drivertest.Opener{"/dev/ttyUSB0": c.open}}
				m := &Machine{Host: h, Drivers: fake()}
				start := time.Now()
				r := m.Run(t.Context(), "serial")
				p := r.Serial[1]
				if p.Path != "/dev/ttyUSB0" || !strings.HasPrefix(p.Heard, strings.TrimLeft(c.heard, "0123456789")) && c.name != "no sense" {
					t.Errorf("got %+v, want %q", p, c.heard)
				}
				if c.name == "no sense" && !strings.HasSuffix(p.Heard, "bytes that make no sense at any usual setting") {
					t.Errorf("got %q", p.Heard)
				}
				if took := time.Since(start); took > c.ends {
					t.Errorf("took %v, want at most %v", took, c.ends)
				}
				if c.name == "talker" && (p.Settings != "9600 8N1" ||
					p.Block != "- name: counter\n  driver: counter\n  port: /dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0\n  baud: 9600\n  line: '^N=(?<n>[0-9]+)$'\n") {
					t.Errorf("got settings %q and block\n%s", p.Settings, p.Block)
				}
				if q := r.Serial[2]; q.Problem == "" {
					t.Errorf("a port that cannot be opened has no problem: %+v", q)
				}
				if q := r.Serial[0]; q.Problem != "the kernel's console is on it" {
					t.Errorf("the console's port: %+v", q)
				}
			})
		})
	}
}

// parts is a fake bus: what stands at each address, by register; it notes what was written.
type parts struct {
	there  map[uint16]map[byte]byte
	wrote  map[uint16][]byte
	failed error // of addresses where nothing is; nil = none answers
	asked  int
}

var _ i2c.Bus = (*parts)(nil)

func (p *parts) String() string                  { return "fake" }
func (p *parts) SetSpeed(physic.Frequency) error { return nil }

func (p *parts) Tx(a uint16, w, r []byte) error {
	p.asked++
	regs, ok := p.there[a]
	if !ok {
		if p.failed != nil {
			return p.failed
		}
		return fmt.Errorf("fake: %w", drivers.ErrNoAnswer)
	}
	if len(w) > 0 {
		if p.wrote == nil {
			p.wrote = map[uint16][]byte{}
		}
		p.wrote[a] = append(p.wrote[a], w...)
	}
	for i := range r {
		if len(w) > 0 {
			r[i] = regs[w[0]+byte(i)]
		}
	}
	return nil
}

func board(bus i2c.Bus) *drivertest.Host {
	return &drivertest.Host{
		I2CBuses: map[string]i2c.Bus{"1": bus},
		FS: files(map[string]string{
			"sys/class/i2c-dev/i2c-1/name":          "bcm2835 (i2c@7e804000)\n",
			"sys/class/i2c-dev/i2c-0/name":          "SMBus I801 adapter at efa0\n",
			"sys/bus/i2c/devices/1-0068/driver":     "-> ../../../../bus/i2c/drivers/rtc-ds1307",
			"sys/bus/i2c/drivers/rtc-ds1307/module": "",
		}),
	}
}

func TestI2C(t *testing.T) {
	for _, identify := range []bool{false, true} {
		t.Run(fmt.Sprintf("identify %v", identify), func(t *testing.T) {
			p := &parts{there: map[uint16]map[byte]byte{0x0c: {}, 0x20: {}, 0x48: {7: 0x06}, 0x68: {}, 0x69: {}, 0x76: {0xd0: 0x58}, 0x77: {0xd0: 0x55}}}
			m := &Machine{Host: board(p), Drivers: fake(), Identify: identify}
			r := m.Run(t.Context(), "i2c")
			if len(r.I2C) != 2 || r.I2C[0].Problem != "left alone: it belongs to the mainboard or a monitor" {
				t.Fatalf("got %+v", r.I2C)
			}
			var got []string
			for _, x := range r.I2C[1].Parts {
				got = append(got, fmt.Sprint(x.Address, x.Likely, x.IsSure, x.Kernel))
			}
			want := []string{"0x20[] false", "0x48[ADS1115 MCP9808] false", "0x68[] falsertc-ds1307", "0x76[BME280 BMP280] false", "0x77[BME280 BMP280] false"}
			if identify {
				want = []string{"0x20[] false", "0x48[MCP9808] true", "0x68[] falsertc-ds1307", "0x76[BMP280] true", "0x77[] false"}
			}
			for i := range got {
				got[i] = strings.TrimSpace(got[i])
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%q\nwant\n%q", got, want)
			}
			if !identify && len(p.wrote) > 0 {
				t.Errorf("wrote %v: a scan never writes", p.wrote)
			}
			if b, ok := p.wrote[0x20]; ok {
				t.Errorf("wrote % x to a part that nobody knows", b)
			}
			if len(r.I2C[1].Skipped) != 2 {
				t.Errorf("skipped %+v, want 0x0c and 0x69", r.I2C[1].Skipped)
			}
		})
	}
}

// TestI2CStuck: a bus that is held low is given up after three addresses, and says so.
func TestI2CStuck(t *testing.T) {
	p := &parts{failed: errors.New("sysfs-i2c: connection timed out")}
	r := (&Machine{Host: board(p), Drivers: fake()}).Run(t.Context(), "i2c")
	want := "gave up at 0x0a: sysfs-i2c: connection timed out; SDA or SCL may be held low, or lack a pull-up"
	if got := r.I2C[1].Problem; got != want || p.asked != failuresMost {
		t.Errorf("got %q after %d addresses, want %q after %d", got, p.asked, want, failuresMost)
	}
}

func TestOneWire(t *testing.T) {
	h := &drivertest.Host{FS: files(map[string]string{
		"sys/bus/w1/devices/28-0123456789ab/w1_slave": "", "sys/bus/w1/devices/ff-000000000001/x": "", "sys/bus/w1/devices/w1_bus_master1/x": "",
	})}
	r := (&Machine{Host: h, Drivers: fake()}).Run(t.Context(), "onewire")
	if len(r.OneWire) != 2 || r.OneWire[0].Part != "DS18B20, a thermometer" || r.OneWire[0].Block == "" || r.OneWire[1].Part != "" || r.OneWire[1].Block != "" {
		t.Errorf("got %+v", r.OneWire)
	}
}

// TestPi: on a Raspberry Pi what is switched off is said with the way to switch it on.
func TestPi(t *testing.T) {
	const model = "Raspberry Pi 4 Model B Rev 1.4\x00"
	for _, c := range []struct {
		name         string
		config, line string
		want         []string
	}{
		{"fresh", "#enable_uart=1\n# dtoverlay=w1-gpio\ndtparam=audio=on\n", "console=serial0,115200 console=tty1 root=PARTUUID=1\n", []string{
			"I2C on GPIO 2 and 3 is switched off", "1-Wire is switched off", "the serial port on GPIO 14 and 15 is switched off",
			"the kernel's console is on the header's serial port (console=serial0)",
		}},
		{"all on", "dtparam=i2c_arm=on\nenable_uart=1\ndtoverlay=w1-gpio,gpiopin=4\n", "console=tty1\n", []string{"I2C on GPIO 2 and 3 is switched off"}},
	} {
		for _, dir := range []string{"boot/firmware/", "boot/"} {
			t.Run(c.name+" "+dir, func(t *testing.T) {
				h := &drivertest.Host{FS: files(map[string]string{
					"proc/device-tree/model": model, dir + "config.txt": c.config, dir + "cmdline.txt": c.line,
				})}
				var got []string
				for _, hint := range (&Machine{Host: h}).Run(t.Context()).Hints {
					got = append(got, hint.What)
					if strings.Contains(hint.Remedy, "config.txt") && !strings.Contains(hint.Remedy, "/"+dir+"config.txt") {
						t.Errorf("remedy %q names another file than /%sconfig.txt", hint.Remedy, dir)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("got\n%q\nwant\n%q", got, c.want)
				}
			})
		}
	}
}

// TestPrint: what is printed for people is a YAML file whose devices have names of their own; the same as JSON has lists, never null.
func TestPrint(t *testing.T) {
	p := &parts{there: map[uint16]map[byte]byte{0x76: {0xd0: 0x58}, 0x77: {0xd0: 0x58}}}
	m := &Machine{Host: board(p), Drivers: fake(), Identify: true, Chips: func() ([]Chip, error) {
		return []Chip{{Name: "gpiochip0", Label: "pinctrl-bcm2711", Lines: []Line{{0, "ID_SDA", "", false}, {17, "GPIO17", "relay", true}}}}, nil
	}}
	r := m.Run(t.Context(), "i2c", "gpio")
	var b strings.Builder
	if err := r.Print(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	comments, devices, ok := strings.Cut(text, "devices:\n")
	if !ok || !strings.Contains(devices, "  - name: bmx\n") || !strings.Contains(devices, "  - name: bmx_2\n") {
		t.Errorf("got\n%s", text)
	}
	for line := range strings.Lines(comments) {
		if !strings.HasPrefix(line, "# ") {
			t.Errorf("%q is no comment", line)
		}
	}
	if !strings.Contains(comments, "used by relay, output") {
		t.Errorf("got\n%s", comments)
	}
	j, err := json.Marshal((&Machine{Host: board(&parts{})}).Run(t.Context(), "i2c"))
	if err != nil || strings.Contains(string(j), "null") {
		t.Errorf("got %s, %v", j, err)
	}
}

// TestDenied: what this user may not open is said with the group that helps.
func TestDenied(t *testing.T) {
	m := &Machine{Host: board(&parts{}), May: func(string) bool { return false }}
	r := m.Run(t.Context(), "i2c")
	if got := r.I2C[1].Problem; !strings.Contains(got, "usermod -aG i2c") {
		t.Errorf("got %q", got)
	}
}
