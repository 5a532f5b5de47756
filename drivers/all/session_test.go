package all

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
	"github.com/tidegate-io/tidegate/drivers/drivertest/session"
	"github.com/tidegate-io/tidegate/drivers/modbus"
)

// foreign is the configuration of a unit on port, with which pymodbus-rtu.session was recorded.
func foreign(unit int, port string) drivers.Config {
	return &modbus.Config{
		Address: "rtu://" + port + "?baud=115200&parity=none&stop=1", Unit: unit, Timeout: 300 * time.Millisecond, MaxGap: 8, MaxQuantity: 125,
		Registers: []modbus.Register{
			{Channel: "i16", Table: "holding", Address: new(0), Type: "int16", Scale: new(0.1), Unit: "Cel"},
			{Channel: "u32", Table: "holding", Address: new(1), Type: "uint32"},
			{Channel: "i32", Table: "holding", Address: new(3), Type: "int32", Order: "CDAB"},
			{Channel: "f32", Table: "holding", Address: new(5), Type: "float32", Order: "BADC"},
			{Channel: "f64", Table: "holding", Address: new(7), Type: "float64", Order: "DCBA"},
			{Channel: "i64", Table: "holding", Address: new(11), Type: "int64"},
			{Channel: "u64", Table: "holding", Address: new(15), Type: "uint64", Order: "CDAB"},
			{Channel: "text", Table: "holding", Address: new(19), Type: "string", Length: new(4)},
			{Channel: "none", Table: "holding", Address: new(90), Type: "uint16"},
			{Channel: "coil", Table: "coil", Address: new(3)},
		},
	}
}

// show returns readings as text: channel=value unit, or channel!fault.
func show(rs []tidegate.Reading) string {
	var out []string
	for _, r := range rs {
		if r.Fault != "" {
			out = append(out, r.Channel+"!"+r.Fault)
			continue
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s=%v %s", r.Channel, r.Value, r.Unit)))
	}
	return strings.Join(out, ", ")
}

var record = flag.Bool("record", false, "record the sessions anew, from Debian's python3-pymodbus at the far end of socat's pseudo-terminals")

const (
	pymodbus = "../../testdata/sessions/modbus/pymodbus-rtu.session"
	remark   = `Unit 3 of pymodbus 3.0.0 (drivers/modbus/testdata/slave.py) on a pair of pseudo-terminals, 115200 8N1.
Three Reads of the registers in drivers/all/session_test.go, then one of unit 5, which does not exist.`
	port = "/tmp/ttyTIDEGATE"
)

// TestSessions replays to the driver what was recorded on a real port, and compares what it reports.
func TestSessions(t *testing.T) {
	if *record {
		recordPymodbus(t)
	}
	const unit3 = "i16=-21.3 Cel, u32=4000000000, i32=-2000000000, f32=-12.5, f64=3.141592653589793, i64=-9007199254740993, " +
		"u64=18446744073709551615, text=Zaehler, none!unit 3 on " + port +
		": read of holding 90: exception 02 (illegal data address: the unit has no such register), coil=true <nil>"
	want := []string{unit3, unit3, unit3, " unit 5 on " + port + ": no reply within 300ms to read of coil 3"}
	synctest.Test(t, func(t *testing.T) {
		p, err := session.File(pymodbus)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range readForeign(t, p.Host) {
			if got != want[i] {
				t.Errorf("Read %d: got %s, want %s", i+1, got, want[i])
			}
		}
		if err := p.Close(); err != nil {
			t.Errorf("%v; if the driver now asks otherwise on purpose, record anew: go test ./drivers/all -run TestSessions -record", err)
		}
	})
}

// readForeign reads unit 3 three times and unit 5 once.
func readForeign(t *testing.T, h drivers.Host) []string {
	t.Helper()
	return append(readTimes(t, h, 3, 3), readTimes(t, h, 5, 1)...)
}

func readTimes(t *testing.T, h drivers.Host, unit, times int) []string {
	t.Helper()
	d, err := foreign(unit, port).Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for range times {
		rs, err := d.Read(t.Context())
		out = append(out, fmt.Sprintf("%s %v", show(rs), err))
		time.Sleep(100 * time.Millisecond)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	return out
}

// recordPymodbus writes the session file.
func recordPymodbus(t *testing.T) {
	t.Helper()
	far := filepath.Join(t.TempDir(), "far")
	start := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
		time.Sleep(3 * time.Second)
	}
	start("socat", "pty,raw,echo=0,link="+port, "pty,raw,echo=0,link="+far)
	start("/usr/bin/python3", "../modbus/testdata/slave.py", "rtu", far)
	f, err := os.Create(pymodbus)
	if err != nil {
		t.Fatal(err)
	}
	r := session.Record(board.New(nil), f, remark)
	readForeign(t, r)
	if err := errors.Join(r.Err(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
