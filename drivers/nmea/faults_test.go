package nmea

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// readsAs feeds in, a burst each, and compares the Reads that come of it.
func readsAs(t *testing.T, in []string, want ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := receiver(t, earliest, func(w *drivertest.Wire) {
			for _, s := range in {
				w.SayAfter(time.Second/2, []byte(s))
			}
		})
		for i := range want {
			if got := show(t, d); got != want[i] {
				t.Errorf("Read %d: got\n%s, want\n%s", i+1, got, want[i])
			}
		}
	})
}

// good is what rmc becomes alone.
const good = atRMC + position + " " + motion + " fix=valid"

// TestB01MegabyteWithoutNewline: one report, and the next sentence is read.
func TestB01MegabyteWithoutNewline(t *testing.T) {
	readsAs(t, []string{"$GP" + strings.Repeat("x", 1<<20), "\r\n" + sentence(rmc)},
		`sentence_fault!frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with "$GP`+strings.Repeat("x", 61)+`"`,
		good)
}

// TestB02NulAndHighBytes: a sentence with anything but printable ASCII is refused, shown escaped and at most 64 bytes of it.
func TestB02NulAndHighBytes(t *testing.T) {
	for what, b := range map[string]string{`\x00`: "\x00", `\x80`: "\x80", `\xff`: "\xff", `\t`: "\t", `\u00b0`: "°"} {
		in := sentence(edit(t, rmc, "4807.038", b+"4807.038"))
		shown := `"$GPRMC,123519,A,` + what + `4807.038,N,01131.000,E,022.4,084.4,281126,003.1`
		cut := 64 - len("$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,281126,003.1") - len(b)
		if cut < 0 {
			shown = shown[:len(shown)+cut]
		}
		want := fmt.Sprintf(`sentence_fault!bad_bytes: byte 17 is no printable ASCII: %s" and %d bytes more`, shown, len(in)-2-64)
		readsAs(t, []string{in, sentence(rmc)}, want, good)
	}
}

// TestB03HalfFrame: the first half is dropped after a second, the second half is no sentence, and the next one is read.
func TestB03HalfFrame(t *testing.T) {
	s := sentence(rmc)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := receiver(t, earliest, func(w *drivertest.Wire) {
			w.Say([]byte(s[:30]))
			w.SayAfter(10*time.Second, []byte(s[30:]))
			w.SayAfter(time.Second, []byte(s))
		}, func(c *Config) { c.Silence = time.Minute })
		want := `sentence_fault!half_frame: nothing more came of a frame; 30 bytes dropped: "$GPRMC,123519,A,4807.038,N,011"`
		if got := show(t, d); got != want || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: got %s, want %s", time.Since(start), got, want)
		}
		want = `sentence_fault!no_start: line does not begin with $: ` + fmt.Sprintf("%q", strings.TrimSpace(s[30:]))
		if got := show(t, d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := show(t, d); got != good {
			t.Error(got)
		}
	})
	readsAs(t, []string{s[:9] + s}, `sentence_fault!half_frame: 9 bytes stand before the start of a sentence: "$GPRMC,12"`, good)
}

// TestB04WrongChecksum: whichever bit of a sentence is wrong, no value of it is reported, nor one that was not sent.
func TestB04WrongChecksum(t *testing.T) {
	line := strings.TrimSpace(sentence(rmc))
	for bit := range 8 * len(line) {
		b := []byte(line)
		b[bit/8] ^= 1 << (bit % 8)
		p := newParser()
		k, fields, _, bad := p.line(b)
		if k == nil {
			continue
		}
		// The checksum's own letters may change case, and nothing else.
		if !strings.EqualFold(string(b), line) || bad != "" || strings.Join(fields, ",") != rmc[6:] {
			t.Fatalf("bit %d: %q is taken for a sentence: %q", bit, b, fields)
		}
	}
	readsAs(t, []string{"$" + rmc + "*00\r\n", sentence(rmc)},
		fmt.Sprintf(`sentence_fault!checksum: got 00, want %s: "$%s" and %d bytes more`, sentence(rmc)[len(rmc)+2:len(rmc)+4], rmc[:63], len(rmc)+4-64), good)
}

// TestB05BadSentences: what the row lists, each refused as narrowly as can be.
func TestB05BadSentences(t *testing.T) {
	long := "GPRMC" + strings.Repeat(",1", 500)
	readsAs(t, []string{sentence(long), sentence(rmc)},
		fmt.Sprintf(`sentence_fault!no_match: RMC has 500 fields, want 9 to 32: "$%s" and %d bytes more`, long[:63], len(long)+4-64), good)
	readsAs(t, []string{"$" + rmc + "*ZZ\r\n", sentence(rmc)},
		fmt.Sprintf(`sentence_fault!checksum: got ZZ, want %s: "$%s" and %d bytes more`, sentence(rmc)[len(rmc)+2:len(rmc)+4], rmc[:63], len(rmc)+4-64), good)
	readsAs(t, []string{"$" + rmc + "\r\n"}, fmt.Sprintf(`sentence_fault!checksum: missing: "$%s" and %d bytes more`, rmc[:63], len(rmc)+1-64))
	readsAs(t, []string{sentence("GPRMC,123519,A")}, `sentence_fault!no_match: RMC has 2 fields, want 9 to 32: "`+strings.TrimSpace(sentence("GPRMC,123519,A"))+`"`)
	for field, want := range map[[2]string]string{
		{"4807.038,N", "9100.000,N"}:    "lat!latitude is 9100.000 N, beyond 90 degrees lon=11.516666666666667lon " + motion,
		{"4807.038,N", "9000.001,S"}:    "lat!latitude is 9000.001 S, beyond 90 degrees lon=11.516666666666667lon " + motion,
		{"4807.038,N", "9000.000,S"}:    "lat=-90lat lon=11.516666666666667lon " + motion,
		{"4807.038,N", "4860.000,N"}:    `lat!latitude is "4860.000", want degrees and minutes below 60 lon=11.516666666666667lon ` + motion,
		{"4807.038,N", "4807.038,E"}:    `lat!latitude is on side "E", want one of NS lon=11.516666666666667lon ` + motion,
		{"4807.038,N", "-4807.038,N"}:   `lat!latitude is "-4807.038", want degrees and minutes below 60 lon=11.516666666666667lon ` + motion,
		{"4807.038,N", "48,N"}:          `lat!latitude is "48", want degrees and minutes below 60 lon=11.516666666666667lon ` + motion,
		{"01131.000,E", "18100.000,E"}:  "lat=48.1173lat lon!longitude is 18100.000 E, beyond 180 degrees " + motion,
		{"01131.000,E", "18000.000,W"}:  "lat=48.1173lat lon=-180lon " + motion,
		{"022.4,084.4", "2000.1,084.4"}: position + " speed!speed is 2000.1, want 0 to 2000 course=84.4deg",
		{"022.4,084.4", "-0.1,084.4"}:   position + " speed!speed is -0.1, want 0 to 2000 course=84.4deg",
		{"022.4,084.4", "022.4,360.1"}:  position + " speed=11.523555555555555m/s course!course is 360.1, want 0 to 360",
	} {
		readsAs(t, []string{sentence(edit(t, rmc, field[0], field[1]))}, atRMC+want+" fix=valid")
	}
}

// TestB06NoNumbers: what other programs take for numbers is none, in every field that has one.
func TestB06NoNumbers(t *testing.T) {
	for _, s := range []string{"NaN", "Inf", "-inf", "1e999", "1e2", "0x10", "1_0", "１２", " 12", "12 ", "+-1", ".", "1.2.3"} {
		if v, fault := number("x", s, -1e9, 1e9, 1); fault == "" {
			t.Errorf("number %q is %v", s, v)
		}
		if v, fault := count(s); fault == "" {
			t.Errorf("count %q is %v", s, v)
		}
		if v, fault := coordinate("x", s, "N", "NS", 90); fault == "" {
			t.Errorf("coordinate %q is %v", s, v)
		}
		if v, fault := coordinate("x", "48"+s, "N", "NS", 90); fault == "" {
			t.Errorf("coordinate 48%s is %v", s, v)
		}
		if at, ok := timeOfDay(s); ok {
			t.Errorf("time %q is %v", s, at)
		}
		if at, ok := shortDate(s); ok {
			t.Errorf("date %q is %v", s, at)
		}
		if at, ok := longDate(s, "1", "2026"); ok {
			t.Errorf("date %q is %v", s, at)
		}
	}
	readsAs(t, []string{sentence(edit(t, gga, "545.4", "NaN"))}, position+` altitude!altitude is "NaN", want a decimal number `+ofGGA+" fix=autonomous")
	readsAs(t, []string{sentence(edit(t, gga, "08", "0x8"))},
		position+` altitude=545.4m satellites!number of satellites is "0x8", want 0 to 99 hdop=0.9 fix=autonomous`)
}

// empty is a port that returns no bytes and no error, for ever.
type empty struct{ drivertest.Wire }

func (*empty) Read([]byte) (int, error) { return 0, nil }

// TestB07ZeroByteReads: the port is gone at the first Read of it that returns nothing, and opened anew by the next Read of the device.
func TestB07ZeroByteReads(t *testing.T) {
	opened := 0
	c := Driver.New().(*Config)
	c.Port = "p"
	d, err := c.Open(t.Context(), &drivertest.Host{Ports: map[string]drivertest.Opener{"p": func(context.Context) (drivers.Port, error) {
		opened++
		return &empty{}, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := d.Read(t.Context()); !errors.Is(err, drivers.ErrGone) || opened != i+1 {
			t.Fatalf("Read %d: %v, opened %d times", i+1, err, opened)
		}
	}
}
