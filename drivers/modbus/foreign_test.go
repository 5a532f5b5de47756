package modbus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
)

// foreignRegisters are what testdata/slave.py holds.
func foreignRegisters() []Register {
	return []Register{
		{Channel: "temp", Address: new(0), Type: "int16", Scale: new(0.1), Unit: "Cel"},
		{Channel: "u32", Address: new(1), Type: "uint32"},
		{Channel: "i32", Address: new(3), Type: "int32", Order: "CDAB"},
		{Channel: "f32", Address: new(5), Type: "float32", Order: "BADC"},
		{Channel: "f64", Address: new(7), Type: "float64", Order: "DCBA"},
		{Channel: "i64", Address: new(11), Type: "int64"},
		{Channel: "u64", Address: new(15), Type: "uint64", Order: "CDAB"},
		{Channel: "text", Address: new(19), Type: "string", Length: new(4)},
		{Channel: "b0", Address: new(23), Type: "bool", Bit: new(0)},
		{Channel: "b1", Address: new(23), Type: "bool", Bit: new(1)},
		{Channel: "b15", Address: new(23), Type: "bool", Bit: new(15)},
		{Channel: "far", Address: new(100)},
		{Channel: "in", Table: "input", Address: new(500), Count: new(125)},
		{Channel: "co", Table: "coil", Address: new(0), Count: new(2000)},
		{Channel: "di", Table: "discrete", Address: new(3), Count: new(9)},
		{Channel: "missing", Address: new(200), Count: new(3)},
	}
}

// foreignWant is what is read of it, by channel; "!" and what a fault contains.
func foreignWant() map[string]string {
	want := map[string]string{
		"temp": "-21.3", "u32": "4000000000", "i32": "-2000000000", "f32": "-12.5", "f64": "3.141592653589793",
		"i64": "-9007199254740993", "u64": "18446744073709551615", "text": "Zaehler", "b0": "true", "b1": "false", "b15": "true",
		"far": "4242", "missing0": "!exception 02", "missing1": "!exception 02", "missing2": "!exception 02",
	}
	for i := range 125 {
		want[fmt.Sprintf("in%d", i)] = fmt.Sprint(1000 + i)
	}
	for i := range 2000 {
		want[fmt.Sprintf("co%d", i)] = fmt.Sprint(i%3 == 0)
	}
	for i := range 9 {
		want[fmt.Sprintf("di%d", i)] = fmt.Sprint((3+i)%2 == 1)
	}
	return want
}

// run starts a program that the test needs, and ends it with the test.
func run(t *testing.T, needs, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; install it: apt-get install %s", err, needs)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s (needs %s) said:\n%s", name, needs, out.String())
		}
	})
}

// waitFor waits until there reports true.
func waitFor(t *testing.T, what string, there func() bool) {
	t.Helper()
	for start := time.Now(); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("%s: not there after 20 s", what)
		}
	}
}

const (
	python = "/usr/bin/python3" // Debian's own, which has Debian's modules
	debian = "python3-pymodbus python3-serial-asyncio socat"
)

// TestForeignSlaveTCP reads and writes a slave from another project over TCP.
func TestForeignSlaveTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	run(t, debian, python, "testdata/slave.py", "tcp", port)
	waitFor(t, "pymodbus on "+address, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
	readForeign(t, "tcp://"+address)
}

// TestForeignSlaveRTU reads and writes it over a serial line: a pair of pseudo-terminals.
func TestForeignSlaveRTU(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	run(t, debian, "socat", "pty,raw,echo=0,link="+a, "pty,raw,echo=0,link="+b)
	waitFor(t, "socat's pair", func() bool {
		_, errA := os.Stat(a)
		_, errB := os.Stat(b)
		return errA == nil && errB == nil
	})
	run(t, debian, python, "testdata/slave.py", "rtu", b)
	readForeign(t, "rtu://"+a+"?baud=115200&parity=none&stop=1")
}

func readForeign(t *testing.T, address string) {
	h := board.New(slog.New(slog.DiscardHandler))
	open := func(unit int, rs ...Register) drivers.Device {
		c := Driver.New().(*Config)
		c.Address, c.Unit, c.Timeout, c.Registers = address, unit, 3*time.Second, rs // Python, on a loaded machine
		if unit == 5 {
			c.Timeout = 300 * time.Millisecond // it never answers
		}
		return openDevice(t, c, h)
	}
	three, four, none := open(3, foreignRegisters()...), open(4, Register{Channel: "a", Address: new(0)}), open(5, Register{Channel: "a", Address: new(0)})
	waitFor(t, "unit 4", func() bool { _, err := four.Read(t.Context()); return err == nil })
	for range 3 {
		rs, err := three.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := foreignWant()
		for _, r := range rs {
			w := want[r.Channel]
			delete(want, r.Channel)
			if fault, ok := strings.CutPrefix(w, "!"); ok && strings.Contains(r.Fault, fault) {
				continue
			}
			if r.Fault != "" || r.Value.String() != w {
				t.Errorf("%s: got %v %q, want %s", r.Channel, r.Value, r.Fault, w)
			}
		}
		if len(want) > 0 {
			t.Errorf("not read: %v", want)
		}
		// A unit that does not exist does not disturb those that do.
		_, port, _ := strings.Cut(address, "://")
		port, _, _ = strings.Cut(port, "?")
		_, err = none.Read(t.Context())
		if text, _, _ := strings.Cut(fmt.Sprint(err), "; probably unit 5 is silent"); text != "unit 5 on "+port+": no reply within 300ms to read of holding 0" {
			t.Errorf("unit 5: %v", err)
		}
		if rs, err := four.Read(t.Context()); err != nil || show(rs) != "a=4" {
			t.Errorf("unit 4: %s, %v", show(rs), err)
		}
	}
	setForeign(t, open)
}

// setForeign sets coils and registers of the foreign slave by all four functions, each read back by Set, and once more by another device.
func setForeign(t *testing.T, open func(unit int, rs ...Register) drivers.Device) {
	outs := []Register{
		{Channel: "coil", Table: "coil", Address: new(1), Write: true},
		{Channel: "coils", Table: "coil", Address: new(2), Write: true, WriteWith: "multiple"},
		{Channel: "word", Address: new(100), Write: true},
		{Channel: "temp", Address: new(0), Type: "int16", Scale: new(0.1), Write: true, WriteWith: "multiple"},
		{Channel: "float", Address: new(5), Type: "float32", Order: "BADC", Write: true},
		{Channel: "long", Address: new(15), Type: "uint64", Order: "CDAB", Write: true},
		{Channel: "missing", Address: new(200), Write: true},
	}
	d, other := open(3, outs...), open(3, outs...)
	set := d.(drivers.Setter).Set
	for _, tt := range []struct {
		channel string
		value   tidegate.Value
	}{
		{"coil", tidegate.Bool(true)},
		{"coil", tidegate.Bool(false)},
		{"coil", tidegate.Bool(true)},
		{"coils", tidegate.Bool(true)},
		{"coils", tidegate.Bool(false)},
		{"word", tidegate.Uint(7)},
		{"word", tidegate.Uint(65535)},
		{"temp", tidegate.Float(-0.7)},
		{"float", tidegate.Float(1.25)},
		{"long", tidegate.Uint(1 << 63)},
	} {
		if err := set(t.Context(), tt.channel, tt.value); err != nil {
			t.Errorf("%s to %v: %v", tt.channel, tt.value, err)
		}
		rs, err := other.Read(t.Context())
		i := slices.IndexFunc(rs, func(r tidegate.Reading) bool { return r.Channel == tt.channel })
		if err != nil || i < 0 || rs[i].Value.String() != tt.value.String() {
			t.Errorf("%s, set to %v, reads %s, %v", tt.channel, tt.value, show(rs), err)
		}
	}
	if err := set(t.Context(), "missing", tidegate.Uint(7)); err == nil || !strings.Contains(err.Error(), "nothing was written: ") || !strings.Contains(err.Error(), "exception 02") {
		t.Errorf("a register that does not exist: %v", err)
	}
}
