package ds18b20

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// devices is where the kernel shows the parts.
const devices = "sys/bus/w1/devices"

// Temperatures in thousandths of a degree.
const (
	coldest   = -55_000 // data sheet, "Features"
	hottest   = 125_000
	powerOn   = 85_000  // data sheet, "Memory": what the temperature register holds at power-up
	powerLost = 127_937 // register 0x07ff; w1_therm.rst
	gone      = -127_000
)

const (
	near      = 2_000 // how far the reading before may be from a powerOn that is believed
	mostAlike = 10    // so many of them in a row
)

// The remedies.
const (
	hintWires = "check the wires, and the 4.7 kOhm from DQ to 3.3 V"
	hintPower = "power it over three wires, or DQ more strongly than by 4.7 kOhm"
	hintBus   = "on a Raspberry Pi put dtoverlay=w1-gpio into /boot/firmware/config.txt and reboot; elsewhere modprobe w1-gpio w1-therm"
)

// part is one part, and what is known of it.
type part struct {
	Part
	isKnown bool // last is the reading before, or the one before those of powerOn that were believed
	last    int
	alike   int // readings of powerOn that were believed, in a row
}

// Read measures with one part after another. The readings are valid until the next Read.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("read ds18b20: %w", ctx.Err())
	case d.isClosed:
		return nil, fmt.Errorf("read ds18b20: device is closed: %w", drivers.ErrGone)
	}
	if _, err := fs.Stat(d.files, devices); err != nil {
		return nil, fmt.Errorf("read ds18b20: no 1-Wire bus: %w; %s", err, hintBus)
	}
	d.out = d.out[:0]
	for _, p := range d.parts {
		r := tidegate.Reading{Channel: p.Channel, Unit: "Cel"}
		t, fault := d.measure(ctx, p)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read ds18b20: %s: %w", p.ID, err)
		}
		if fault == "" {
			fault = p.judge(t)
		}
		if r.Fault = fault; fault == "" {
			r.Value = tidegate.Float(float64(t) / 1000)
		} else {
			p.isKnown, p.alike = false, 0
		}
		d.out = append(d.out, r)
	}
	return d.out, nil
}

// measure returns what p says, in thousandths of a degree, or why it says nothing.
func (d *device) measure(ctx context.Context, p *part) (t int, fault string) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	text, err := drivers.ReadFile(ctx, d.files, path.Join(devices, p.ID, "w1_slave"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, d.missing(p.ID)
	case errors.Is(err, context.DeadlineExceeded):
		return 0, fmt.Sprintf("%s: no end of reading within %v: another program may hold the bus, or %s", p.ID, d.timeout, hintWires)
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return 0, fmt.Sprintf("%s does not answer (%v): %s", p.ID, err, hintWires)
	case err != nil:
		return 0, fmt.Sprintf("%s: %v", p.ID, err)
	}
	t, fault = parse(string(text))
	if fault != "" {
		fault = p.ID + ": " + fault
	}
	return t, fault
}

// missing says why there is no file of the part called id.
func (d *device) missing(id string) string {
	if _, err := fs.Stat(d.files, path.Join(devices, id)); err == nil {
		return id + " is on the bus, but the kernel's module for it is not loaded: modprobe w1-therm"
	}
	var there []string
	entries, err := fs.ReadDir(d.files, devices)
	for _, e := range entries {
		if idText.MatchString(e.Name()) && len(there) < 10 {
			there = append(there, e.Name())
		}
	}
	switch {
	case err != nil:
		return fmt.Sprintf("%s is not on the bus (%v)", id, err)
	case len(entries) == 0:
		return id + " is not there, nor is any bus: " + hintBus
	case len(there) == 0:
		return id + " is not on the bus, nor is any other temperature part: " + hintWires
	}
	return fmt.Sprintf("%s is not on the bus, there is %s: %s", id, strings.Join(there, ", "), hintWires)
}

// slave is the text of w1_slave: w1_therm.c, w1_slave_show.
var slave = regexp.MustCompile(`^((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)\n(?:[0-9a-f]{2} ){9}t=(-?[0-9]{1,7})\n?$`)

// parse returns what text says, in thousandths of a degree, or why it says nothing.
func parse(text string) (t int, fault string) {
	m := slave.FindStringSubmatch(text)
	switch {
	case text == "":
		return 0, "the kernel gives nothing: no answer, or a wrong checksum, five times; " + hintWires
	case m == nil && len(text) > 160:
		return 0, fmt.Sprintf("w1_slave is not as the kernel writes it: %+.160q and more", text)
	case m == nil:
		return 0, fmt.Sprintf("w1_slave is not as the kernel writes it: %+q", text)
	case m[1] == strings.Repeat("ff ", 9):
		return 0, "no answer, all bytes are ff: " + hintWires
	case m[2] != "YES":
		return 0, "wrong checksum (CRC=NO): noise, a long cable or a bad contact; " + hintWires
	case m[1] == strings.Repeat("00 ", 9):
		return 0, "all bytes are 00, although their checksum is right: DQ is shorted to GND"
	}
	t, err := strconv.Atoi(m[3])
	switch {
	case err != nil:
		return 0, fmt.Sprintf("temperature: %v", err)
	case t == powerLost:
		return 0, "127.94 is what a part says whose supply breaks down while it measures: " + hintPower
	case t == gone:
		return 0, "-127 is what stands for a part that does not answer: " + hintWires
	case t < coldest || t > hottest:
		return 0, fmt.Sprintf("%.3f is no temperature that it can measure, want -55 to 125", float64(t)/1000)
	}
	return t, ""
}

// judge returns why t, which p says, is not believed, and keeps it in mind if it is.
func (p *part) judge(t int) string {
	if t != powerOn {
		p.isKnown, p.last, p.alike = true, t, 0
		return ""
	}
	if p.isKnown && max(p.last-t, t-p.last) <= near && p.alike < mostAlike {
		p.alike++
		return ""
	}
	why := "the reading before was not near"
	if p.alike == mostAlike {
		why = fmt.Sprintf("it has said so %d times", mostAlike+1)
	}
	return fmt.Sprintf("%s: 85.0 is what a part says at power-up, before it has measured, and %s: %s", p.ID, why, hintPower)
}
