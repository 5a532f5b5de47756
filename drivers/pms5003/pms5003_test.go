package pms5003

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
	"github.com/tidegate-io/tidegate/drivers/drivertest/session"
)

// frame returns a frame with words 1 to 13.
func frame(words ...uint16) []byte {
	b := []byte{0x42, 0x4d, 0, 28}
	for _, w := range words {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	var sum uint16
	for _, c := range b {
		sum += uint16(c)
	}
	return binary.BigEndian.AppendUint16(b, sum)
}

// usual returns a good frame in which pm10 is n.
func usual(n uint16) []byte { return frame(3, 5, n, 3, 5, n, 600, 180, 40, 8, 2, 1, 0x9700) }

// part opens the driver's device on a port at whose far end say speaks.
func part(t *testing.T, say func(w *drivertest.Wire)) drivers.Device {
	t.Helper()
	c := Driver.New().(*Config)
	c.Port = "/dev/ttyS0"
	d, err := c.Open(t.Context(), &drivertest.Host{Ports: map[string]drivertest.Opener{
		"/dev/ttyS0": func(context.Context) (drivers.Port, error) {
			w := &drivertest.Wire{}
			say(w)
			return w, nil
		},
	}})
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
	return strings.Join(out, " ")
}

// all returns what a fault of all channels reads like.
func all(fault string) string {
	var out []string
	for _, q := range table {
		out = append(out, q.name+"!"+fault)
	}
	return strings.Join(out, " ")
}

const good9 = "pm1=3ug/m3 pm2_5=5ug/m3 pm10=9ug/m3 count_0_3=600count count_0_5=180count count_1=40count count_2_5=8count count_5=2count count_10=1count"

// TestSession replays frames that others recorded from a real part.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := session.File("../../testdata/sessions/pms5003/pypms.session")
		if err != nil {
			t.Fatal(err)
		}
		d, err := (&Config{Port: "/dev/ttyUSB0", Silence: time.Minute}).Open(t.Context(), r.Host)
		if err != nil {
			t.Fatal(err)
		}
		const counts = " count_0_3=%dcount count_0_5=%dcount count_1=%dcount count_2_5=%dcount count_5=0count count_10=0count"
		start := time.Now()
		for i, w := range [][5]int{
			{8, 210, 70, 45, 30},
			{7, 210, 70, 45, 30},
			{7, 189, 63, 42, 27},
			{7, 180, 60, 39, 24},
			{7, 180, 60, 39, 24},
			{6, 180, 60, 29, 21},
			{6, 180, 60, 29, 21},
			{6, 159, 53, 26, 18},
			{6, 159, 53, 26, 18},
			{5, 138, 46, 23, 15},
		} {
			want := fmt.Sprintf("pm1=0ug/m3 pm2_5=%dug/m3 pm10=%dug/m3"+counts, w[0], w[0], w[1], w[2], w[3], w[4])
			if got := show(t, d); got != want {
				t.Errorf("Read %d: got %s, want %s", i+1, got, want)
			}
		}
		if took := time.Since(start); took != 90*time.Second {
			t.Errorf("10 Reads took %v, want 90 s", took)
		}
		if err := errors.Join(d.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestUnhappy has what goes wrong, each with all the Reads that it takes.
func TestUnhappy(t *testing.T) {
	broken := usual(9)
	broken[7] ^= 0x10
	short := usual(9)
	short[3] = 20
	const isT = "424d001c0017002700290016002300291008 04a90116000c00d400e09a0004aa" // PyPMS docs/sensors/Plantower.md, a PMS5003T
	partT, err := hex.DecodeString(strings.ReplaceAll(isT, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	quiet := all("nothing came for 10s: is the part on, and the cable right? It says nothing in passive mode or asleep (SET low)")
	for name, tc := range map[string]struct {
		say  func(w *drivertest.Wire)
		want []string
	}{
		"wrong sum": {
			func(w *drivertest.Wire) { w.Say(broken); w.Say(usual(9)) },
			[]string{fmt.Sprintf("frame_fault!checksum: got %04x, want %04x: % x", sumOf(broken), sumOf(broken)+0x10, broken), good9},
		},
		"wrong length": {
			func(w *drivertest.Wire) { w.Say(short); w.Say(usual(9)) },
			[]string{fmt.Sprintf("frame_fault!no_match: length is 20, want 28: another part of the family? % x", short), good9},
		},
		"error code": {
			func(w *drivertest.Wire) { w.Say(frame(3, 5, 9, 3, 5, 9, 600, 180, 40, 8, 2, 1, 0x9702)) },
			[]string{all("the part reports error code 0x02 (firmware 0x97): is the fan free, the inlet clean, the supply 5 V?")},
		},
		"PMS5003T": {
			func(w *drivertest.Wire) { w.Say(partT) },
			[]string{all("word 11 has 212 particles, word 10 of smaller ones only 12: a PMS5003T has temperature and humidity there")},
		},
		"Honeywell HPM": {
			func(w *drivertest.Wire) { w.Say(frame(0, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)) },
			[]string{all("mass up to 2.5 um is 12 for factories and 0 for outdoor air: this is no PMS5003; a Honeywell HPM sends such frames")},
		},
		"mass that falls": {
			func(w *drivertest.Wire) { w.Say(frame(9, 9, 9, 9, 8, 9, 600, 180, 40, 8, 2, 1, 0x9700)) },
			[]string{all("mass falls with the diameter: 9 up to 1.0 um, 8 up to 2.5 um, 9 up to 10 um: this is no frame of a PMS5003")},
		},
		"clean air":     {func(w *drivertest.Wire) { w.Say(frame(make([]uint16, 13)...)) }, []string{strings.Join(zeros(), " ")}},
		"nobody there":  {func(*drivertest.Wire) {}, []string{quiet, quiet}},
		"busy for ever": {func(w *drivertest.Wire) { w.SayAfter(9*time.Second, usual(9)) }, []string{good9, quiet}},
		"start within a frame": {
			func(w *drivertest.Wire) { w.Say(append(append([]byte{}, usual(9)[20:]...), usual(9)...)) }, []string{good9},
		},
		"unplugged in mid-read": {
			func(w *drivertest.Wire) { w.Say(usual(9)); w.Say(usual(9)[:20]); w.HangUp() },
			[]string{good9, "error: read pms5003: bus /dev/ttyS0: gone: unplugged", good9},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := part(t, tc.say)
				for i, want := range tc.want {
					if got := show(t, d); got != want {
						t.Errorf("Read %d: got\n%s, want\n%s", i+1, got, want)
					}
				}
			})
		})
	}
}

func sumOf(b []byte) uint16 { return binary.BigEndian.Uint16(b[30:]) }

func zeros() []string {
	var out []string
	for _, q := range table {
		out = append(out, q.name+"=0"+q.unit)
	}
	return out
}

// TestB01NoEnd: a megabyte without a frame is dropped with a few reports, and the next frame is read.
func TestB01NoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := part(t, func(w *drivertest.Wire) {
			w.SayAfter(2*time.Second, usual(9))
			w.Say([]byte(strings.Repeat("B", 1<<20)))
			w.SayAfter(2*time.Second, usual(10))
		})
		if got := show(t, d); got != good9 {
			t.Fatal(got)
		}
		reports := 0
		for got := show(t, d); got != strings.Replace(good9, "pm10=9", "pm10=10", 1); got = show(t, d) {
			if reports++; !strings.HasPrefix(got, "frame_fault!") || reports > 15 {
				t.Fatalf("report %d: %s", reports, got)
			}
		}
		if reports == 0 {
			t.Error("a megabyte was dropped without a word")
		}
	})
}

// TestB02NulAndHighBytes: a frame is binary, so every byte may stand in it; outside of one such bytes are refused, in hexadecimal and at most 64.
func TestB02NulAndHighBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := part(t, func(w *drivertest.Wire) {
			w.SayAfter(2*time.Second, usual(0x4d80))
			w.Say([]byte(strings.Repeat("\x00\x80\xff\xc3", 8)))
			w.Say(usual(9))
		})
		for i, want := range []string{
			strings.Replace(good9, "pm10=9", "pm10=19840", 1),
			`frame_fault!half_frame: 32 bytes stand before the start of a frame: "` + strings.Repeat(`\x00\x80\xff\xc3`, 8) + `"`, good9,
		} {
			if got := show(t, d); got != want {
				t.Errorf("Read %d: got %s, want %s", i+1, got, want)
			}
		}
	})
}

// TestB03HalfFrame: the first half is dropped after a second, the second half never becomes a part of a frame.
func TestB03HalfFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := part(t, func(w *drivertest.Wire) {
			w.SayAfter(2*time.Second, usual(9)[:20])
			w.SayAfter(8*time.Second, usual(9)[20:])
			w.SayAfter(2*time.Second, usual(9))
		})
		if got := show(t, d); !strings.HasPrefix(got, "frame_fault!half_frame: nothing more came of a frame; 20 bytes dropped: ") || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %s", time.Since(start), got)
		}
		if got := show(t, d); !strings.HasPrefix(got, "frame_fault!half_frame: 12 bytes stand before the start of a frame: ") {
			t.Error(got)
		}
		if got := show(t, d); got != good9 {
			t.Error(got)
		}
	})
}

// TestB04WrongSum: whichever bit of a frame is wrong, no value comes of it, and the next frame is read.
func TestB04WrongSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for bit := range 8 * frameLength {
			b := usual(10)
			b[bit/8] ^= 1 << (bit % 8)
			d := part(t, func(w *drivertest.Wire) { w.SayAfter(2*time.Second, b); w.SayAfter(time.Millisecond, usual(9)) })
			got := show(t, d)
			for range 3 {
				if strings.HasPrefix(got, "frame_fault!") {
					got = show(t, d)
				}
			}
			if got != good9 {
				t.Fatalf("bit %d: %s", bit, got)
			}
		}
	})
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

func TestConfig(t *testing.T) {
	for want, c := range map[string]*Config{
		"": {Port: "tcp://192.0.2.7:4001", Silence: 3 * time.Second},
		"port: is missing; give the serial port, for instance /dev/serial/by-id/usb-... or /dev/ttyUSB0": {Silence: time.Minute},
		"silence: is out of range (got 2s); 3s to 24h":                                                   {Port: "p", Silence: 2 * time.Second},
	} {
		var got string
		for _, e := range c.Validate() {
			got += e.Error()
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	h := &drivertest.Host{}
	if _, err := (&Config{Port: "/dev/ttyS0"}).Open(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	want := drivers.Serial{Port: "/dev/ttyS0", Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"}
	if got := h.Settings("/dev/ttyS0"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestHearAndExplain(t *testing.T) {
	noisy := append([]byte("BM\x00\x1cBMnoise"), usual(9)...)
	for _, tc := range []struct {
		b              []byte
		heard, explain string
	}{
		{noisy, "Plantower PMS5003 or alike, PM2.5 5 ug/m3", "frame: PM1.0 3, PM2.5 5, PM10 9 ug/m3; firmware 0x97, error code 0x00"},
		{usual(9)[:31], "", ""},
		{make([]byte, 100), "", ""},
		{nil, "", ""},
	} {
		if got, _ := Driver.Hear(tc.b); got != tc.heard {
			t.Errorf("% x: heard %q, want %q", tc.b, got, tc.heard)
		}
		if got := Driver.Explain(false, tc.b); got != tc.explain {
			t.Errorf("% x: explained as %q, want %q", tc.b, got, tc.explain)
		}
	}
	if got := Driver.Explain(true, usual(9)); got != "" {
		t.Errorf("what goes out is explained as %q", got)
	}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{Far: func(h *drivertest.Host) {
		h.Ports = map[string]drivertest.Opener{
			drivertest.Any: drivertest.Says(800*time.Millisecond, string(usual(9)), string(usual(10)), string(usual(11))),
		}
	}})
}

// TestDecodeGivesBackWhatWasSent, for any words.
func TestDecodeGivesBackWhatWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(rapid.Uint16(), 13, 13).Draw(t, "words")
		w, bad := decode(frame(sent...))
		if bad != "" {
			t.Fatal(bad)
		}
		if got := w[1:]; fmt.Sprint(got) != fmt.Sprint(sent) {
			t.Fatalf("got %v, want %v", got, sent)
		}
	})
}

// gone is a port on which in comes at once, in pieces of n bytes; then it is gone. 0xff is a pause.
type gone struct {
	drivertest.Wire
	in []byte
	n  int
}

func (g *gone) SetReadDeadline(time.Time) error { return nil }

func (g *gone) Read(p []byte) (int, error) {
	if len(g.in) == 0 {
		return 0, drivers.ErrGone
	}
	if g.in[0] == 0xff {
		g.in = g.in[1:]
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, g.in[:min(g.n, len(g.in))])
	g.in = g.in[n:]
	return n, nil
}

// FuzzFrames feeds any bytes to the device: no panic, no endless loop, and a value only of a frame that is in the bytes as a whole.
func FuzzFrames(f *testing.F) {
	f.Add(byte(1), usual(9))
	f.Add(byte(7), append([]byte("BMB"), usual(10)...))
	f.Add(byte(32), append(usual(9)[:20], usual(9)...))
	f.Fuzz(func(t *testing.T, n byte, in []byte) {
		port := &gone{in: in, n: 1 + int(n)}
		h := &drivertest.Host{Ports: map[string]drivertest.Opener{drivertest.Any: func(context.Context) (drivers.Port, error) { return port, nil }}}
		d, err := (&Config{Port: "p", Silence: time.Hour}).Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		for range len(in) + 2 {
			readings, err := d.Read(t.Context())
			if errors.Is(err, drivers.ErrGone) {
				return
			}
			if err != nil || len(readings) == 0 {
				t.Fatalf("%d readings, %v", len(readings), err)
			}
			_, isWhole := find(in)
			_, isCut := find(bytes.ReplaceAll(in, []byte{0xff}, nil)) // by a pause that was too short to tell
			if !isWhole && !isCut && readings[0].Fault == "" {
				t.Fatalf("%v of bytes without a good frame", readings)
			}
		}
		t.Fatal("no end")
	})
}
