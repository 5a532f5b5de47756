package balance

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// asked answers SI, and nothing else.
func asked(answer string) drivertest.Opener {
	return drivertest.Answers(func(request []byte) []byte {
		if string(request) != "SI\r\n" {
			return []byte("ES\r\n")
		}
		return []byte(answer)
	})
}

// shown returns in short what a Read gave.
func shown(list []tidegate.Reading, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, r := range list {
		if r.Fault != "" {
			out = append(out, r.Channel+": "+r.Fault)
			continue
		}
		out = append(out, r.Channel+"="+r.Value.String()+r.Unit)
	}
	return strings.Join(out, ", ")
}

func TestRead(t *testing.T) {
	for name, tt := range map[string]struct{ answer, want string }{
		"grams at rest":       {"S S     100.00 g\r\n", "weight=0.1kg, stable=true"},
		"grams in motion":     {"S D      99.87 g\r\n", "weight=0.09987kg, stable=false"},
		"below zero":          {"S S      -0.02 g\r\n", "weight=-2e-05kg, stable=true"},
		"milligrams":          {"S S    1234567 mg\r\n", "weight=1.234567kg, stable=true"},
		"kilograms":           {"S S      12.35 kg\r\n", "weight=12.35kg, stable=true"},
		"tonnes":              {"S S        1.5 t\r\n", "weight=1500kg, stable=true"},
		"other unit":          {"S S       3.53 oz\r\n", "weight: the balance weighs in oz, want mg, g, kg or t: set unit 1 in its menu, stable=true"},
		"overload":            {"S +\r\n", "weight: overload: more is on the balance than it can weigh, stable: overload: more is on the balance than it can weigh"},
		"underload":           {"S -\r\n", "weight: underload: less than nothing is on the balance; is its pan in place?, stable: underload: less than nothing is on the balance; is its pan in place?"},
		"busy":                {"S I\r\n", "error: read balance: the balance cannot weigh now (got S I): it tares, adjusts itself or starts; wait, or look at its display"},
		"command not known":   {"ES\r\n", "error: read balance: the balance refuses command SI (got ES): look at parity and speed, and whether it has MT-SICS"},
		"two numbers":         {"S S  1.00 2.00 g\r\n", `error: read balance: got "S S  1.00 2.00 g", want S S or S D, a number and a unit`},
		"no number":           {"S S        -.- g\r\n", `error: read balance: got "S S        -.- g", want S S or S D, a number and a unit`},
		"number without unit": {"S S     100.00\r\n", `error: read balance: got "S S     100.00", want S S or S D, a number and a unit`},
		"noise before it":     {"\x00S S     100.00 g\r\n", `error: read balance: got "\x00S S     100.00 g", want S S or S D, a number and a unit`},
		"tail of an answer":   {"100.00 g\r\n", `error: read balance: got "100.00 g", want S S or S D, a number and a unit`},
		"no end of line": {
			"S S     100.00 gS S     100.00 gS S     100.00 g",
			`error: read balance: bus /dev/ttyUSB0: answer has no end: "S S     100.00 gS S     100.00 gS S     "; look at speed and end of line (CR LF) in the balance's menu`,
		},
		"half an answer": {"S S     100", "error: read balance: bus /dev/ttyUSB0: i/o timeout"},
		"nobody there":   {"", "error: read balance: bus /dev/ttyUSB0: i/o timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &drivertest.Host{Ports: map[string]drivertest.Opener{"/dev/ttyUSB0": asked(tt.answer)}}
				c := Driver.New().(*Config)
				c.Port = "/dev/ttyUSB0"
				d, err := c.Open(t.Context(), h)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if got := shown(d.Read(t.Context())); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if took := time.Since(start); took > c.Timeout+10*time.Millisecond {
					t.Errorf("took %v, want %v at most", took, c.Timeout)
				}
			})
		})
	}
}

// TestLateAnswer: an answer that comes when nobody waits any more is not the answer to the next question.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		line := &drivertest.Wire{Answer: func(w *drivertest.Wire, _ []byte) {
			if asked++; asked > 1 {
				w.Say([]byte("S S       2.00 kg\r\n"))
			}
		}}
		h := &drivertest.Host{Ports: map[string]drivertest.Opener{"/dev/ttyUSB0": func(context.Context) (drivers.Port, error) { return line, nil }}}
		d, err := (&Config{Port: "/dev/ttyUSB0", Baud: 9600, Timeout: time.Second}).Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if got := shown(d.Read(t.Context())); got != "error: read balance: bus /dev/ttyUSB0: i/o timeout" {
			t.Errorf("no answer: got %s", got)
		}
		line.Say([]byte("S S       1.00 kg\r\n"))
		if got := shown(d.Read(t.Context())); got != "weight=2kg, stable=true" {
			t.Errorf("late answer: got %s, want the new one of 2 kg", got)
		}
	})
}

func TestValidate(t *testing.T) {
	c := &Config{Port: "/dev/ttyUSB0", Baud: 38400, Timeout: 10 * time.Second}
	if got := c.Validate(); len(got) > 0 {
		t.Errorf("good settings: %v", got)
	}
	for _, tt := range []struct {
		c    Config
		want drivers.FieldError
	}{
		{Config{"", 9600, time.Second}, drivers.FieldError{Field: "port", Problem: "is empty", Hint: "see ls /dev/serial/by-id"}},
		{Config{"/dev/x", 9601, time.Second}, drivers.FieldError{Field: "baud", Got: "9601", Problem: "want 1200, 2400, 4800, 9600, 19200 or 38400"}},
		{Config{"/dev/x", 9600, 99 * time.Millisecond}, drivers.FieldError{Field: "timeout", Got: "99ms", Problem: "want 100ms to 10s"}},
		{Config{"/dev/x", 9600, 11 * time.Second}, drivers.FieldError{Field: "timeout", Got: "11s", Problem: "want 100ms to 10s"}},
	} {
		if got := tt.c.Validate(); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%+v: got %+v, want %+v", tt.c, got, tt.want)
		}
	}
}

// TestConformance puts the driver through what every driver of Tidegate's passes.
func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{
		IsUnchecked: true, // a line of the balance has no checksum
		Far: func(h *drivertest.Host) {
			h.Ports = map[string]drivertest.Opener{drivertest.Any: asked("S S     100.00 g\r\n")}
		},
	})
}

// FuzzDecode: whatever the line says, a weight is one that stands there in figures, and never without a word on whether it is stable.
func FuzzDecode(f *testing.F) {
	for _, line := range []string{"S S     100.00 g", "S D      -0.02 kg", "S +", "S -", "S I", "ES", "S S       3.53 oz", "S S 1e3 g", "S S NaN g", ""} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		list, err := decode(line)
		if err != nil {
			if list != nil {
				t.Fatalf("%q: readings and an error: %v, %v", line, list, err)
			}
			return
		}
		if len(list) != 2 || list[0].Channel != "weight" || list[1].Channel != "stable" {
			t.Fatalf("%q: got %v", line, list)
		}
		if list[0].Fault != "" {
			return
		}
		words := strings.Fields(line)
		value, err := strconv.ParseFloat(words[2], 64)
		kg, isNumber := list[0].Value.Number()
		if err != nil || !isNumber || kg != value/perKilogram[words[3]] {
			t.Fatalf("%q: got %v", line, list)
		}
	})
}
