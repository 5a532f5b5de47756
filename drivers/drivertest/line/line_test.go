package line

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
)

func uart(baud int, parity string, stop int) UART {
	return UART{Baud: baud, Bits: 8, Parity: parity, Stop: stop}
}

// good is a line with bias, and one unit that answers "ask" by "reply".
func good(u UART) Config {
	return Config{Bias: 0.4, Units: []Unit{{UART: u, Answer: parrot, Delay: 5 * time.Millisecond}}}
}

func parrot(frame []byte) []byte {
	if string(frame) == "ask" {
		return []byte("\x01reply\xfe")
	}
	return nil
}

// exchange writes "ask" and returns what came within 200 ms.
func exchange(t *testing.T, p *Port) []byte {
	t.Helper()
	return say(t, p, []byte("ask"))
}

func say(t *testing.T, p *Port, b []byte) []byte {
	t.Helper()
	if _, err := p.Write(b); err != nil {
		t.Fatal(err)
	}
	return hear(t, p, 200*time.Millisecond)
}

// hear returns what comes within d.
func hear(t *testing.T, p *Port, d time.Duration) (got []byte) {
	t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 64); ; {
		n, err := p.Read(b)
		got = append(got, b[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func errorsOf(t *testing.T, p *Port) string {
	t.Helper()
	c, err := p.LineErrors()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("framing %d parity %d break %d overrun %d", c.Framing, c.Parity, c.Break, c.Overrun)
}

// TestSameSettings: with equal settings, and clocks no more than 2 % apart, every byte arrives; above 6 % none of a long frame does.
func TestSameSettings(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			u := uart(rapid.SampledFrom([]int{1200, 9600, 19200, 115200}).Draw(rt, "baud"),
				rapid.SampledFrom([]string{"none", "even", "odd"}).Draw(rt, "parity"), rapid.IntRange(1, 2).Draw(rt, "stop"))
			far := u
			far.PPM = rapid.IntRange(-20000, 20000).Draw(rt, "ppm")
			far.Picky = rapid.Bool().Draw(rt, "picky")
			ask := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(rt, "ask")
			reply := rapid.SliceOfN(rapid.Byte(), 1, 250).Draw(rt, "reply")
			c := good(far)
			var asked []byte
			c.Units[0].Answer = func(b []byte) []byte { asked = bytes.Clone(b); return reply }
			c.Latency = time.Duration(rapid.IntRange(0, 16).Draw(rt, "latency")) * time.Millisecond
			p := New(c).Open(u)
			if _, err := p.Write(ask); err != nil {
				t.Fatal(err)
			}
			if got := hear(t, p, 10*time.Second); !bytes.Equal(got, reply) || !bytes.Equal(asked, ask) {
				rt.Fatalf("got % x, want % x; the unit got % x, want % x", got, reply, asked, ask)
			}
			if got := errorsOf(t, p); got != "framing 0 parity 0 break 0 overrun 0" {
				rt.Fatal(got)
			}
		})
	})
	synctest.Test(t, func(t *testing.T) {
		far := uart(9600, "none", 1)
		far.PPM = 60000
		if got := exchange(t, New(good(far)).Open(uart(9600, "none", 1))); len(got) > 0 {
			t.Errorf("clocks 6 %% apart: got % x", got)
		}
	})
}

// TestTimes: a character takes its bits, and a reply comes after the request, its silence and the delay.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := uart(1000, "even", 1) // 11 ms a character
		p := New(good(u)).Open(u)
		start := time.Now()
		if _, err := p.Write([]byte("ask")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1)
		if _, err := p.Read(b); err != nil {
			t.Fatal(err)
		}
		// 3 characters to ask, 3.5 of silence, 5 ms, 1 character of the reply; both ends know a character from the middle of its stop bit on.
		want := 3*11 + 3.5*11 + 5 + 11 - 2*0.5
		got := float64(time.Since(start)) / 1e6
		if got < want-0.1 || got > want+11.1 { // the port is looked at once a character
			t.Errorf("first byte after %v ms, want %v", got, want)
		}
	})
}

// TestFaults has one line each for what the parts of the model do to an exchange.
func TestFaults(t *testing.T) {
	reply := "01 72 65 70 6c 79 fe"
	e, n := uart(9600, "even", 1), uart(9600, "none", 2)
	tests := map[string]struct {
		gateway UART
		change  func(c *Config)
		want    string // of two exchanges
		errors  string
	}{
		"good":                 {e, func(*Config) {}, reply + ", " + reply, "framing 0 parity 0 break 0 overrun 0"},
		"echo":                 {e, func(c *Config) { c.Echo = true }, "61 73 6b " + reply + ", 61 73 6b " + reply, "framing 0 parity 0 break 0 overrun 0"},
		"wrong parity, strict": {e, func(c *Config) { c.Units[0].Parity = "odd" }, ", ", "framing 0 parity 0 break 0 overrun 0"},
		"wrong parity, tolerant: INPCK makes zeros": {
			e, func(c *Config) { c.Units[0].Parity, c.Units[0].Tolerant = "odd", true },
			"00 00 00 00 00 00 00, 00 00 00 00 00 00 00", "framing 0 parity 14 break 0 overrun 0",
		},
		"parity where none is wanted: the parity bit is a stop bit; INPCK off": {
			n, func(c *Config) { c.Units[0].Parity, c.Units[0].Tolerant = "even", true },
			reply + ", " + reply, "framing 6 parity 0 break 0 overrun 0", // 72, 65 and 6c have four ones: a parity bit of 0
		},
		"one stop bit for a picky unit": {
			uart(9600, "none", 1), func(c *Config) { c.Units[0].UART = n; c.Units[0].Picky = true }, ", ", "framing 0 parity 0 break 0 overrun 0",
		},
		"one stop bit for a picky gateway: it takes the next start bit for a missing stop bit, and loses its step": {
			UART{Baud: 9600, Bits: 8, Parity: "even", Stop: 2, Picky: true},
			func(*Config) {},
			"00 00 00 00 00, 00 00 00 00 00", "framing 4 parity 6 break 0 overrun 0",
		},
		"half the speed": {uart(4800, "even", 1), func(*Config) {}, ", ", "framing 0 parity 0 break 0 overrun 0"},
		"gateway swapped, bias on the line: a break after each request": {
			e, func(c *Config) { c.Gateway.Swapped = true }, "00, 00", "framing 0 parity 0 break 2 overrun 0",
		},
		"gateway swapped, bias its own: silence": {
			e, func(c *Config) { c.Gateway.Swapped, c.Gateway.Bias, c.Bias = true, 0.4, 0 }, ", ", "framing 0 parity 0 break 0 overrun 0",
		},
		"unit swapped":         {e, func(c *Config) { c.Units[0].Swapped = true }, ", ", "framing 0 parity 0 break 0 overrun 0"},
		"dies after the first": {e, func(c *Config) { c.Units[0].DiesAt = 100 * time.Millisecond }, reply + ", ", "framing 0 parity 0 break 0 overrun 0"},
		"keeps half": {
			e, func(c *Config) { c.Units[0].Keep = 0.6 }, "01 72 65 70 fe, 01 72 65 70 fe", "framing 0 parity 0 break 0 overrun 0",
		},
		"breaks in mid-frame": {e, func(c *Config) { c.Units[0].CutAfter = 1 }, reply + ", 01 72 65 00", "framing 0 parity 1 break 0 overrun 0"},
		"slower than the exchange": {
			e, func(c *Config) { c.Units[0].Delay = 210 * time.Millisecond }, ", " + reply, "framing 0 parity 0 break 0 overrun 0",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := good(e)
				tt.change(&c)
				p := New(c).Open(tt.gateway)
				got := fmt.Sprintf("% x, ", exchange(t, p))
				got += fmt.Sprintf("% x", exchange(t, p))
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if got := errorsOf(t, p); got != tt.errors {
					t.Errorf("got %s, want %s", got, tt.errors)
				}
			})
		})
	}
}

// TestLevels has characters bit by bit.
func TestLevels(t *testing.T) {
	for c, want := range map[byte]string{0x72: "0 01001110 0 1", 0x70: "0 00001110 1 1", 0x00: "0 00000000 0 1", 0xff: "0 11111111 0 1", 0x01: "0 10000000 1 1"} {
		got := ""
		for i, level := range uart(9600, "even", 1).levels(nil, c) {
			if i == 1 || i == 9 || i == 10 {
				got += " "
			}
			got += map[bool]string{true: "1", false: "0"}[level]
		}
		if got != want {
			t.Errorf("%02x: got %s, want %s", c, got, want)
		}
	}
}

// TestNoise: a line that nobody drives picks up noise if it has no bias, and only then.
func TestNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := uart(9600, "none", 1)
		for seed := range uint64(20) {
			c := good(u)
			c.Seed, c.Noise = seed, Noise{Every: 100 * time.Millisecond, Pulse: 100 * time.Microsecond, Pulses: 4}
			if got := hear(t, New(c).Open(u), 10*time.Second); len(got) > 0 {
				t.Errorf("seed %d: % x though there is bias", seed, got)
			}
			c.Bias = 0
			if got := hear(t, New(c).Open(u), 10*time.Second); len(got) < 20 || len(got) > 400 {
				t.Errorf("seed %d: %d bytes of noise in 10 s", seed, len(got))
			}
			if got, again := hear(t, New(c).Open(u), time.Second), hear(t, New(c).Open(u), time.Second); !bytes.Equal(got, again) {
				t.Errorf("seed %d: % x, then % x", seed, got, again)
			}
		}
	})
}

// TestCollisions: two that send at once damage each other's bytes, and one after the other they do not.
func TestCollisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := uart(9600, "none", 1)
		c := good(u)
		c.Units = append(c.Units, c.Units[0])
		second := []byte("\x01other text\x80")
		c.Units[1].Answer = func(b []byte) []byte {
			if parrot(b) == nil {
				return nil
			}
			return second
		}
		c.Units[1].Delay += 2500 * time.Microsecond
		first := parrot([]byte("ask"))
		got := exchange(t, New(c).Open(u))
		if !bytes.HasPrefix(got, first[:2]) || bytes.Contains(got, first) || bytes.Contains(got, second) || !bytes.HasSuffix(got, []byte("xt\x80")) {
			t.Errorf("at once: % x", got)
		}
		c.Units[1].Delay = 50 * time.Millisecond
		if got := exchange(t, New(c).Open(u)); !bytes.Equal(got, slices.Concat(first, second)) {
			t.Errorf("one after the other: % x", got)
		}
		c.Units[1].Answer, c.Units[1].Delay = parrot, c.Units[0].Delay
		if got := exchange(t, New(c).Open(u)); !bytes.Equal(got, first) {
			t.Errorf("the same at the same time: % x", got)
		}
	})
}

// TestSwing: without termination the sender hears the end of what it sent, and a level may be wrong for a while after each edge.
func TestSwing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := uart(9600, "none", 1)
		bit := 104 * time.Microsecond
		echoes, wrong := 0, 0
		for seed := range uint64(50) {
			c := good(u)
			c.Seed = seed
			c.Swing = Swing{Edge: bit * 4 / 10, Tail: 30 * bit}
			c.Units[0].Answer = nil
			c.Units = nil
			if got := exchange(t, New(c).Open(u)); len(got) > 4 {
				t.Errorf("seed %d: % x after a request of 3 bytes", seed, got)
			} else if len(got) > 0 {
				echoes++
			}
			c = good(u)
			c.Seed, c.Swing.Edge = seed, bit*6/10
			c.Units[0].Answer = func([]byte) []byte { return parrot([]byte("ask")) }
			if got := exchange(t, New(c).Open(u)); !bytes.Equal(got, parrot([]byte("ask"))) {
				wrong++
			}
		}
		if echoes < 30 || wrong < 25 {
			t.Errorf("%d of 50 with echo bytes, %d of 50 replies with wrong bits", echoes, wrong)
		}
	})
}

// TestMaster: what another master asks and is answered is heard by the gateway.
func TestMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := uart(9600, "none", 1)
		c := good(u)
		c.Master = &Master{UART: u, Every: time.Second, Frames: [][]byte{[]byte("ask"), []byte("x")}}
		got := hear(t, New(c).Open(u), 10*time.Minute)
		one := append([]byte("ask"), parrot([]byte("ask"))...)
		if n := bytes.Count(got, one); n < 298 || n > 301 || bytes.Count(got, []byte("x")) < 298 {
			t.Errorf("%d questions and answers in 10 min", n)
		}
	})
}

// TestPort: deadlines, closing, and a port that was opened again.
func TestPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := uart(9600, "none", 1)
		l := New(good(u))
		p := l.Open(u)
		done := make(chan error)
		go func() { _, err := p.Read(make([]byte, 1)); done <- err }()
		synctest.Wait()
		if err := p.SetReadDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		if err := p.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go func() { _, err := p.Read(make([]byte, 1)); done <- err }()
		synctest.Wait()
		again := l.Open(u)
		if err := <-done; !errors.Is(err, drivers.ErrGone) {
			t.Errorf("opened again: %v", err)
		}
		if _, err := p.Write([]byte("ask")); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("write to the old port: %v", err)
		}
		if err := again.SetWriteDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := again.Write([]byte("ask")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write deadline: %v", err)
		}
		if err := again.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got := exchange(t, again); !bytes.Equal(got, parrot([]byte("ask"))) {
			t.Errorf("got % x", got)
		}
		if err := again.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go func() { _, err := again.Read(make([]byte, 1)); done <- err }()
		synctest.Wait()
		if _, err := again.Write([]byte("ask")); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("a Read that waited for what a Write brings about: %v", err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := again.Read(make([]byte, 1)); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("closed: %v", err)
		}
	})
}
