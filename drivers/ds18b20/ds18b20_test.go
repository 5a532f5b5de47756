package ds18b20

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

const (
	id1 = "28-0316a2795bff"
	id2 = "28-0417c1b3aeff"
)

// Texts of w1_slave.
const (
	plus23   = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n"
	minus10  = "5e ff 4b 46 7f ff 02 10 b6 : crc=b6 YES\n5e ff 4b 46 7f ff 02 10 b6 t=-10125\n"
	at85     = "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n"
	bad      = "72 01 4b 46 7f ff 0e 10 56 : crc=57 NO\n50 01 4b 46 7f ff 0c 10 1c t=23125\n"
	allOnes  = "ff ff ff ff ff ff ff ff ff : crc=c9 NO\n72 01 4b 46 7f ff 0e 10 57 t=-62\n"
	allZeros = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n"
	noPower  = "ff 07 4b 46 7f ff 0c 10 a6 : crc=a6 YES\nff 07 4b 46 7f ff 0c 10 a6 t=127937\n"
	ds18s20  = "33 00 4b 46 ff ff 02 10 f4 : crc=f4 YES\n33 00 4b 46 ff ff 02 10 f4 t=25625\n" // family 10
)

// as returns a text that says t.
func as(t int) string { return strings.Replace(plus23, "t=23125", fmt.Sprintf("t=%d", t), 1) }

// bus returns the files of a bus with the parts and their texts.
func bus(texts map[string]string) fstest.MapFS {
	m := fstest.MapFS{devices + "/w1_bus_master1/w1_master_slave_count": {Data: []byte("2\n")}}
	for id, text := range texts {
		m[devices+"/"+id+"/w1_slave"] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// open opens the driver's device with part id1.
func open(t *testing.T, files fs.FS) drivers.Device {
	t.Helper()
	c := &Config{Parts: []Part{{"one", id1}}, Timeout: 5 * time.Second}
	d, err := c.Open(t.Context(), &drivertest.Host{FS: files})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// show returns one Read as text.
func show(t *testing.T, d drivers.Device) string {
	t.Helper()
	readings, err := d.Read(t.Context())
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, r := range readings {
		s := fmt.Sprintf("%s=%v%s", r.Channel, r.Value, r.Unit)
		if r.Fault != "" {
			s = r.Channel + "!" + r.Fault
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func TestRead(t *testing.T) {
	const (
		wires = "check the wires, and the 4.7 kOhm from DQ to 3.3 V"
		power = "power it over three wires, or DQ more strongly than by 4.7 kOhm"
	)
	for text, want := range map[string]string{
		plus23:                          "one=23.125Cel",
		minus10:                         "one=-10.125Cel",
		ds18s20:                         "one=25.625Cel",
		plus23[:len(plus23)-1]:          "one=23.125Cel",
		as(125_000):                     "one=125Cel",
		as(-55_000):                     "one=-55Cel",
		as(84_937):                      "one=84.937Cel",
		at85:                            "one!" + id1 + ": 85.0 is what a part says at power-up, before it has measured, and the reading before was not near: " + power,
		bad:                             "one!" + id1 + ": wrong checksum (CRC=NO): noise, a long cable or a bad contact; " + wires,
		allOnes:                         "one!" + id1 + ": no answer, all bytes are ff: " + wires,
		allZeros:                        "one!" + id1 + ": all bytes are 00, although their checksum is right: DQ is shorted to GND",
		noPower:                         "one!" + id1 + ": 127.94 is what a part says whose supply breaks down while it measures: " + power,
		as(-127_000):                    "one!" + id1 + ": -127 is what stands for a part that does not answer: " + wires,
		as(125_001):                     "one!" + id1 + ": 125.001 is no temperature that it can measure, want -55 to 125",
		as(-55_001):                     "one!" + id1 + ": -55.001 is no temperature that it can measure, want -55 to 125",
		"":                              "one!" + id1 + ": the kernel gives nothing: no answer, or a wrong checksum, five times; " + wires,
		"t=23125\n":                     "one!" + id1 + `: w1_slave is not as the kernel writes it: "t=23125\n"`,
		plus23[:60]:                     "one!" + id1 + ": w1_slave is not as the kernel writes it: " + fmt.Sprintf("%q", plus23[:60]),
		plus23 + plus23:                 "one!" + id1 + ": w1_slave is not as the kernel writes it: " + fmt.Sprintf("%q", plus23+plus23),
		as(1_000_000_00):                "one!" + id1 + ": w1_slave is not as the kernel writes it: " + fmt.Sprintf("%q", as(1_000_000_00)),
		strings.Repeat("\x00\xff", 200): "one!" + id1 + `: w1_slave is not as the kernel writes it: "` + strings.Repeat(`\x00\xff`, 80) + `" and more`,
	} {
		if got := show(t, open(t, bus(map[string]string{id1: text}))); got != want {
			t.Errorf("%q: got\n%s, want\n%s", text, got, want)
		}
	}
}

// TestMissing has what is said of a part, or a bus, that is not there.
func TestMissing(t *testing.T) {
	noModule := bus(nil)
	noModule[devices+"/"+id1+"/id"] = &fstest.MapFile{}
	const hint = "on a Raspberry Pi put dtoverlay=w1-gpio into /boot/firmware/config.txt and reboot; elsewhere modprobe w1-gpio w1-therm"
	for want, files := range map[string]fs.FS{
		"error: read ds18b20: no 1-Wire bus: open sys/bus/w1/devices: file does not exist; " + hint:                                fstest.MapFS{},
		"one!" + id1 + " is not there, nor is any bus: " + hint:                                                                    fstest.MapFS{devices: {Mode: fs.ModeDir}},
		"one!" + id1 + " is not on the bus, nor is any other temperature part: check the wires, and the 4.7 kOhm from DQ to 3.3 V": bus(nil),
		"one!" + id1 + " is not on the bus, there is " + id2 + ": check the wires, and the 4.7 kOhm from DQ to 3.3 V":              bus(map[string]string{id2: plus23}),
		"one!" + id1 + " is on the bus, but the kernel's module for it is not loaded: modprobe w1-therm":                           noModule,
	} {
		if got := show(t, open(t, files)); got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
}

// TestReal85: 85.0 is believed where the part has been near it, for ten readings, and never after a fault.
func TestReal85(t *testing.T) {
	files := bus(map[string]string{id1: ""})
	d := open(t, files)
	name := devices + "/" + id1 + "/w1_slave"
	for i, step := range []struct {
		text string
		want bool
	}{
		{at85, false}, // nothing known
		{as(82_999), true},
		{at85, false},
		{at85, false}, // too far away, and no help to itself
		{as(83_000), true},
		{at85, true},
		{as(87_000), true},
		{at85, true},
		{at85, true},
		{bad, false},
		{at85, false}, // the part may have been reset
		{as(84_937), true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, true},
		{at85, false},
		{at85, false},
		{as(85_062), true},
		{at85, true},
		{as(87_001), true},
		{at85, false},
	} {
		files[name].Data = []byte(step.text)
		if got := show(t, d); strings.HasPrefix(got, "one=") != step.want {
			t.Errorf("step %d: %q: %s", i, step.text, got)
		}
	}
}

// failing is a bus whose parts are read with err.
type failing struct {
	fs.FS
	err error
}

func (f failing) ReadFileContext(context.Context, string) ([]byte, error) { return nil, f.err }

func TestReadErrors(t *testing.T) {
	path := func(err error) error { return &fs.PathError{Op: "read", Path: "w1_slave", Err: err} }
	for err, want := range map[error]string{
		path(syscall.EIO):    "one!" + id1 + " does not answer (read w1_slave: input/output error): check the wires, and the 4.7 kOhm from DQ to 3.3 V",
		path(syscall.ENODEV): "one!" + id1 + " does not answer (read w1_slave: no such device): check the wires, and the 4.7 kOhm from DQ to 3.3 V",
		path(syscall.EACCES): "one!" + id1 + ": read w1_slave: permission denied",
	} {
		if got := show(t, open(t, failing{bus(map[string]string{id1: plus23}), err})); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// slow is a bus one of whose parts the kernel never gives, and the others after 750 ms.
type slow struct {
	fs.FS
	stuck string
}

func (s slow) ReadFileContext(ctx context.Context, name string) ([]byte, error) {
	wait := 750 * time.Millisecond
	if strings.Contains(name, s.stuck) {
		wait = time.Hour
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read /%s: %w", name, ctx.Err())
	case <-time.After(wait):
		return fs.ReadFile(s.FS, name)
	}
}

// TestStuckPart: the kernel that does not let go of one part costs the time-out, not the other parts; and a Read ends with its ctx.
func TestStuckPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := slow{bus(map[string]string{id1: plus23, id2: minus10}), id1}
		c := &Config{Parts: []Part{{"one", id1}, {"two", id2}}, Timeout: 5 * time.Second}
		d, err := c.Open(t.Context(), &drivertest.Host{FS: files})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		want := "one!" + id1 + ": no end of reading within 5s: another program may hold the bus, or check the wires, and the 4.7 kOhm from DQ to 3.3 V\ntwo=-10.125Cel"
		if got := show(t, d); got != want || time.Since(start) != 5750*time.Millisecond {
			t.Errorf("after %v: got\n%s, want\n%s", time.Since(start), got, want)
		}
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := d.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Read(t.Context()); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestValidate(t *testing.T) {
	many := &Config{Timeout: time.Second}
	for i := range 65 {
		many.Parts = append(many.Parts, Part{fmt.Sprintf("t%d", i), fmt.Sprintf("28-%012x", i)})
	}
	const idHint = "; write it as ls /sys/bus/w1/devices does, for instance 28-0316a2795bff; families are 10, 22, 28, 3b and 42"
	for want, c := range map[string]*Config{
		"": {Parts: []Part{{"a", "10-000802824e58"}, {"b", "22-000802824e58"}, {"c", "3b-000802824e58"}, {"d", "42-000802824e58"}}, Timeout: time.Minute},
		"parts: want 1 to 64 (got 0); ls /sys/bus/w1/devices shows those on the bus":   {Timeout: time.Second},
		"parts: want 1 to 64 (got 65); ls /sys/bus/w1/devices shows those on the bus":  many,
		`parts[0].id: is no id of a temperature part (got "28-0316A2795BFF")` + idHint: {Parts: []Part{{"a", "28-0316A2795BFF"}}, Timeout: time.Second},
		`parts[0].id: is no id of a temperature part (got "../../etc")` + idHint:       {Parts: []Part{{"a", "../../etc"}}, Timeout: time.Second},
		`parts[0].id: is no id of a temperature part (got "26-000802824e58")` + idHint: {Parts: []Part{{"a", "26-000802824e58"}}, Timeout: time.Second},
		"parts[1].id: is listed twice (got " + id1 + ")":                               {Parts: []Part{{"a", id1}, {"b", id1}}, Timeout: time.Second},
		"parts[1].channel: is that of another part, too (got a)":                       {Parts: []Part{{"a", id1}, {"a", id2}}, Timeout: time.Second},
		"timeout: is out of range (got 999ms); 1s to 1m":                               {Parts: []Part{{"a", id1}}, Timeout: 999 * time.Millisecond},
	} {
		var got []string
		for _, e := range c.Validate() {
			got = append(got, e.Error())
		}
		if s := strings.Join(got, "\n"); s != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
	if got := (&Config{Parts: []Part{{"a b", id1}}, Timeout: time.Second}).Validate(); len(got) != 1 || got[0].Field != "parts[0].channel" {
		t.Errorf("got %v", got)
	}
}

// TestAnyTemperature that a part can say is reported as it is, but 85.0.
func TestAnyTemperature(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sixteenths := rapid.IntRange(-55*16, 125*16).Draw(t, "sixteenths")
		milli := sixteenths * 1000 / 16
		got, fault := parse(as(milli))
		if fault != "" || math.Abs(float64(got)-float64(sixteenths)*62.5) >= 1 {
			t.Fatalf("%d became %d, %q", milli, got, fault)
		}
		if p := (&part{}); (p.judge(got) == "") != (milli != powerOn) {
			t.Fatalf("%d", milli)
		}
	})
}

// FuzzParse: any text gives a temperature that a part can measure, or says why not, in one line.
func FuzzParse(f *testing.F) {
	for _, s := range []string{plus23, minus10, at85, bad, allOnes, allZeros, noPower, ds18s20, "", "t=1", strings.Repeat("00 ", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, fault := parse(s)
		if fault == "" && (v < coldest || v > hottest || !strings.Contains(s, " YES\n") || !strings.Contains(s, fmt.Sprintf("t=%d", v)) && !strings.Contains(s, "t=-0") && !strings.Contains(s, "t=0")) {
			t.Fatalf("%q became %d", s, v)
		}
		if len(fault) > 800 || strings.ContainsAny(fault, "\r\n") {
			t.Fatalf("%q: %q", s, fault)
		}
	})
}

func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{Far: func(h *drivertest.Host) {
		h.FS = bus(map[string]string{id1: plus23, id2: minus10})
	}})
}
