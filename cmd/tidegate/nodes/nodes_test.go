package nodes_test

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/cmd/tidegate/nodes"
	"github.com/tidegate-io/tidegate/drivers/all"
)

// machine resolves links as a machine does on which these are there.
func machine(links map[string]string) func(string) (string, error) {
	return func(path string) (string, error) {
		if to, ok := links[path]; ok {
			return to, nil
		}
		return "", fmt.Errorf("lstat %s: %w", path, fs.ErrNotExist)
	}
}

// load reads a configuration with these devices.
func load(t *testing.T, devices string) *config.Config {
	t.Helper()
	text := "devices:\n" + devices + "uplink: {url: mqtt://127.0.0.1:1883}\n"
	cfg, faults, err := config.Parse("test.yaml", []byte(text), all.Drivers())
	if err != nil {
		t.Fatalf("%v: %v\n%s", err, faults, text)
	}
	return cfg
}

// rules returns the lines of a drop-in that systemd reads.
func rules(text string) string {
	return regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(text, "")
}

const head = "[Service]\nDeviceAllow=\n"

func TestEachDeviceIsAllowedItsNode(t *testing.T) {
	const (
		byID = "/dev/serial/by-id/usb-FTDI_USB_Serial-if00-port0"
		modb = "  - {name: m%d, driver: modbus, address: \"rtu://%s?baud=9600\", unit: 1, registers: [{channel: v, table: holding, address: 0, type: uint16}]}\n"
		i2c  = "  - {name: i%d, driver: bme280, bus: \"%s\", address: \"0x76\", part: BME280}\n"
		line = "  - {name: g%d, driver: gpio, lines: [{channel: door, line: \"%s\", mode: input}]}\n"
	)
	here := machine(map[string]string{
		"/dev/ttyS1": "/dev/ttyS1", "/dev/serial0": "/dev/ttyAMA0", "/dev/ttyUSB0": "/dev/ttyUSB0", byID: "/dev/ttyACM3",
		"/dev/gpiochip0": "/dev/gpiochip0", "/dev/gpiochip4": "/dev/gpiochip0", "/opt/meter": "/dev/ttyS2", "/opt/rtu": "/run/rtu",
	})
	for name, c := range map[string]struct{ devices, want string }{
		"nothing on a port: nothing is allowed":                   {"  - {name: s, driver: system}\n", ""},
		"a unit behind TCP: nothing is allowed":                   {"  - {name: m, driver: modbus, address: \"tcp://192.0.2.7:502\", unit: 1, registers: [{channel: v, table: holding, address: 0, type: uint16}]}\n", ""},
		"a port of the board: its node":                           {fmt.Sprintf(modb, 1, "/dev/ttyS1"), "DeviceAllow=/dev/ttyS1 rw\n"},
		"a lasting name of one: that name":                        {fmt.Sprintf(modb, 1, "/dev/serial0"), "DeviceAllow=/dev/serial0 rw\n"},
		"a link of the site's own: what it leads to":              {fmt.Sprintf(modb, 1, "/opt/meter"), "DeviceAllow=/dev/ttyS2 rw\n"},
		"a link that leads out of /dev: nothing can allow it":     {fmt.Sprintf(modb, 1, "/opt/rtu"), ""},
		"an adapter: its class, whatever number it gets":          {fmt.Sprintf(modb, 1, "/dev/ttyUSB0"), "DeviceAllow=char-ttyUSB rw\n"},
		"an adapter that is not plugged in: the same":             {fmt.Sprintf(modb, 1, "/dev/ttyUSB7"), "DeviceAllow=char-ttyUSB rw\n"},
		"an adapter by its lasting name: the class it is of":      {fmt.Sprintf(modb, 1, byID), "DeviceAllow=char-ttyACM rw\n"},
		"one by a lasting name that is not there: either class":   {fmt.Sprintf(modb, 1, "/dev/serial/by-path/x"), "DeviceAllow=char-ttyUSB rw\nDeviceAllow=char-ttyACM rw\n"},
		"a port whose module may come later: node and class":      {fmt.Sprintf(modb, 1, "/dev/ttySC0"), "DeviceAllow=/dev/ttySC0 rw\nDeviceAllow=char-ttySC rw\n"},
		"a port of the board that is not there: its node":         {fmt.Sprintf(modb, 1, "/dev/ttyS7"), "DeviceAllow=/dev/ttyS7 rw\n"},
		"two units on one port: one line":                         {fmt.Sprintf(modb, 1, "/dev/ttyS1") + fmt.Sprintf(strings.Replace(modb, "unit: 1", "unit: 2", 1), 2, "/dev/ttyS1"), "DeviceAllow=/dev/ttyS1 rw\n"},
		"an I2C bus: by number, so that it may come later":        {fmt.Sprintf(i2c, 1, "1"), "DeviceAllow=/dev/char/89:1 rw\n"},
		"I2C buses by other names":                                {fmt.Sprintf(i2c, 1, "/dev/i2c-11") + fmt.Sprintf(i2c, 2, "I2C3"), "DeviceAllow=/dev/char/89:11 rw\nDeviceAllow=/dev/char/89:3 rw\n"},
		"the first I2C bus: any":                                  {fmt.Sprintf(i2c, 1, ""), "DeviceAllow=char-i2c rw\n"},
		"a line by its chip: the chip":                            {fmt.Sprintf(line, 1, "gpiochip0:17"), "DeviceAllow=/dev/gpiochip0 rw\n"},
		"a line by another name of its chip: systemd follows it":  {fmt.Sprintf(line, 1, "gpiochip4:17"), "DeviceAllow=/dev/gpiochip4 rw\n"},
		"a line by its name: any chip":                            {fmt.Sprintf(line, 1, "GPIO17"), "DeviceAllow=char-gpiochip rw\n"},
		"a line that turns RS-485: port and chip":                 {fmt.Sprintf(strings.Replace(modb, "9600", "9600&rs485=gpiochip0:4", 1), 1, "/dev/ttyS1"), "DeviceAllow=/dev/ttyS1 rw\nDeviceAllow=/dev/gpiochip0 rw\n"},
		"a talker's port":                                         {"  - {name: p, driver: nmea, port: /dev/ttyS1, baud: 9600}\n", "DeviceAllow=/dev/ttyS1 rw\n"},
		"a path that systemd would take for something else: none": {"  - {name: p, driver: nmea, port: \"/dev/tty%S1 rw\", baud: 9600}\n", ""},
		"a path with a way out of /dev: where it leads":           {"  - {name: p, driver: nmea, port: /dev/../opt/rtu, baud: 9600}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rules(nodes.Text(load(t, c.devices), here)); got != head+c.want {
				t.Errorf("got\n%swant\n%s", got, head+c.want)
			}
		})
	}
}

// TestEverySampleBlock loads what every driver shows as its block: the classes of the service file, and nothing beyond them, cover all.
func TestEverySampleBlock(t *testing.T) {
	unit, err := os.ReadFile("../../../etc/tidegate.service")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range all.Drivers() {
		cfg := load(t, indented(d.Sample))
		for l := range strings.Lines(rules(nodes.Text(cfg, machine(nil)))) {
			if l != "[Service]\n" && l != "DeviceAllow=\n" {
				lines = append(lines, l)
			}
		}
	}
	if len(lines) < 6 {
		t.Fatalf("got %q of all drivers' samples, want 6 or more", lines)
	}
	for _, l := range lines {
		class := regexp.MustCompile(`^DeviceAllow=(?:/dev/(ttyS|ttyAMA|gpiochip)\d+|/dev/char/89:\d+|char-(\w+)) rw\n$`).FindStringSubmatch(l)
		if class == nil {
			t.Errorf("got %q, want a node or class of those that the service file has", l)
			continue
		}
		want := class[1] + class[2]
		if want == "" {
			want = "i2c"
		}
		if !strings.Contains(string(unit), "\nDeviceAllow=char-"+want+" rw\n") {
			t.Errorf("the service file does not allow %s of %q", want, l)
		}
	}
}

// indented makes an entry of the list of devices of a driver's block.
func indented(block string) string {
	block = strings.TrimPrefix(block, "- ") // some have it, with the rest set in by two
	if strings.Contains(block, "\n  driver:") {
		block = strings.ReplaceAll(block, "\n  ", "\n")
	}
	return "  - " + strings.ReplaceAll(strings.TrimRight(block, "\n"), "\n", "\n    ") + "\n"
}

// A name with a line break must not become a line of the drop-in.
func TestNoTextOfTheConfigurationIsRead(t *testing.T) {
	cfg := load(t, "  - {name: p, driver: nmea, port: \"/dev/ttyUSB0\\nDeviceAllow=/dev/mem rw\\\\\", baud: 9600}\n")
	text := nodes.Text(cfg, machine(map[string]string{"/dev/ttyUSB0\nDeviceAllow=/dev/mem rw\\": "/dev/ttyUSB0"}))
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "DeviceAllow=/dev/mem") || strings.HasSuffix(l, "\\\n") {
			t.Errorf("got the line %q", l)
		}
	}
	if !strings.Contains(text, "\nDeviceAllow=char-ttyUSB rw\n") {
		t.Errorf("got %s", text)
	}
}
