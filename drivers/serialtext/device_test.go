package serialtext

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// fakeHost has one port, whose far ends come out of talkers, one for each opening.
type fakeHost struct {
	drivers.Host
	talkers chan net.Conn
	serial  drivers.Serial
	dialled string
	refuses error
	wrap    func(net.Conn) drivers.Port
}

func newHost() *fakeHost {
	return &fakeHost{talkers: make(chan net.Conn, 10), wrap: func(c net.Conn) drivers.Port { return c }}
}

func (h *fakeHost) bus(ctx context.Context, name string) (*drivers.Bus, error) {
	if h.refuses != nil {
		return nil, h.refuses
	}
	b := drivers.NewBus(name, func(context.Context) (drivers.Port, error) {
		near, far := net.Pipe()
		h.talkers <- far
		return h.wrap(near), nil
	})
	context.AfterFunc(ctx, func() { _ = b.Close() })
	return b, nil
}

func (h *fakeHost) Serial(ctx context.Context, c drivers.Serial) (*drivers.Bus, error) {
	h.serial = c
	return h.bus(ctx, c.Port)
}

func (h *fakeHost) Dial(ctx context.Context, network, address string) (*drivers.Bus, error) {
	h.dialled = network + " " + address
	return h.bus(ctx, address)
}

// talk opens a talker and lets say speak to it. The device is closed with the test.
func talk(t *testing.T, set func(*Config), say func(w io.Writer)) drivers.Device {
	t.Helper()
	c, h := newConfig(), newHost()
	c.Port, c.Line = "/dev/ttyX", `^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$`
	if set != nil {
		set(c)
	}
	d, err := c.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for far := range h.talkers {
			say(far)
		}
	}()
	t.Cleanup(func() { close(h.talkers) })
	return d
}

func write(w io.Writer, s string) { _, _ = io.WriteString(w, s) }

// reads returns what the next n Reads give, as text.
func reads(t *testing.T, d drivers.Device, n int) []string {
	t.Helper()
	var out []string
	for range n {
		got, err := d.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, show(got, "", false))
	}
	return out
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Fatalf("got\n%s\nwant\n%s", g, w)
	}
}

func TestReadReturnsOneLineEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, func(c *Config) { c.Groups = map[string]Group{"temp": {Unit: "Cel"}} }, func(w io.Writer) {
			time.Sleep(2 * time.Second)
			write(w, "T=21.5 N=1\r\nT=-3 N=2\r\nT=4.")
			time.Sleep(100 * time.Millisecond)
			write(w, "25 N=3\r\n")
		})
		same(t, reads(t, d, 3), "temp=21.5:numberCel n=1:number", "temp=-3:numberCel n=2:number", "temp=4.25:numberCel n=3:number")
	})
}

func TestOpenPassesTheSettings(t *testing.T) {
	c, h := newConfig(), newHost()
	c.Port, c.Line, c.Baud, c.DataBits, c.Parity, c.StopBits = "/dev/ttyX", "(?<a>.)", 1200, 7, "even", "2"
	if _, err := c.Open(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if want := (drivers.Serial{Port: "/dev/ttyX", Baud: 1200, DataBits: 7, Parity: "even", StopBits: "2"}); h.serial != want {
		t.Fatalf("got %+v, want %+v", h.serial, want)
	}
	c.Port = "tcp://192.0.2.7:4001"
	if _, err := c.Open(t.Context(), h); err != nil || h.dialled != "tcp 192.0.2.7:4001" {
		t.Fatalf("dialled %q, %v", h.dialled, err)
	}
	h.refuses = errors.New("no such port")
	if _, err := c.Open(t.Context(), h); err == nil || err.Error() != "open talker on tcp://192.0.2.7:4001: no such port" {
		t.Fatal(err)
	}
	c.Line = ""
	if _, err := c.Open(t.Context(), h); err == nil || !strings.HasPrefix(err.Error(), "open talker: line: is no expression") {
		t.Fatal(err)
	}
}

func TestFirstLine(t *testing.T) {
	for name, tc := range map[string]struct {
		line string
		say  func(io.Writer)
		want string
	}{
		"is dropped when its beginning may be missing": {
			line: `^(?<temp>-?[0-9.]+),(?<n>[0-9]+)$`, say: func(w io.Writer) { write(w, "1.5,1\n21.5,2\n") }, want: "temp=21.5:number n=2:number",
		},
		"is taken after a pause": {
			line: `^(?<temp>-?[0-9.]+),(?<n>[0-9]+)$`, say: func(w io.Writer) { time.Sleep(time.Second + 1); write(w, "1.5,1\n21.5,2\n") },
			want: "temp=1.5:number n=1:number",
		},
		"is taken when the expression shows that it is whole": {
			line: `^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$`, say: func(w io.Writer) { write(w, "T=1.5 N=1\nT=21.5 N=2\n") }, want: "temp=1.5:number n=1:number",
		},
		"says nothing when it is cut": {
			line: `^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$`, say: func(w io.Writer) { write(w, "1.5 N=1\nT=21.5 N=2\n") }, want: "temp=21.5:number n=2:number",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := talk(t, func(c *Config) { c.Line = tc.line }, tc.say)
				same(t, reads(t, d, 1), tc.want)
			})
		})
	}
}

func TestHalfLine(t *testing.T) {
	const cut = `line_fault!half_frame: nothing more came of a frame; 3 bytes dropped: "T=2"`
	for name, tc := range map[string]struct {
		line string
		rest string
		want []string
	}{
		"its rest does not match": {
			rest: "1.5 N=7\nT=22 N=8\n",
			want: []string{cut, `line_fault!no_match: line does not match the expression: "1.5 N=7"`, "temp=22:number n=8:number"},
		},
		"a new line is taken": {rest: "T=21.5 N=7\nT=22 N=8\n", want: []string{cut, "temp=21.5:number n=7:number", "temp=22:number n=8:number"}},
		"what may be its rest is refused though it matches": {
			line: `^(?:T=)?(?<temp>[0-9.]+)$`, rest: "1.5\n22\n",
			want: []string{cut, `line_fault!half_frame: may be the rest of "T=2" before the pause: "1.5"`, "temp=22:number"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := talk(t, func(c *Config) {
					if tc.line != "" {
						c.Line = tc.line
					}
				}, func(w io.Writer) {
					time.Sleep(time.Minute)
					write(w, "T=2")
					time.Sleep(10 * time.Second)
					write(w, tc.rest)
				})
				start := time.Now()
				same(t, reads(t, d, 1), tc.want[0])
				if took := time.Since(start); took != time.Minute+time.Second {
					t.Fatalf("half line dropped after %v", took)
				}
				same(t, reads(t, d, 2), tc.want[1:]...)
			})
		})
	}
}

func TestHalfLineBeforeAStartText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, func(c *Config) { c.Line, c.Start = `(?<temp>[0-9.]+)$`, "$" }, func(w io.Writer) {
			time.Sleep(time.Minute)
			write(w, "$2")
			time.Sleep(10 * time.Second)
			write(w, "$1.5\n")
		})
		same(t, reads(t, d, 2), `line_fault!half_frame: nothing more came of a frame; 2 bytes dropped: "$2"`, "temp=1.5:number")
	})
}

func TestLateReadIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, func(c *Config) { c.Silence = time.Minute }, func(w io.Writer) {
			time.Sleep(2 * time.Second)
			write(w, "T=1 N=1\n")
			write(w, "T=1 N=2\n")
		})
		reads(t, d, 1)
		time.Sleep(time.Hour)
		same(t, reads(t, d, 1), "temp=1:number n=2:number")
	})
}

func TestHalfLineIsDecidedByItsChecksum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, func(c *Config) {
			c.Line, c.Checksum = `^(?<temp>[0-9.]+)$`, Sum{Type: "sum8", Mark: "*"}
		}, func(w io.Writer) {
			time.Sleep(time.Minute)
			write(w, "2")
			time.Sleep(10 * time.Second)
			write(w, "1.5*94\n")
		})
		same(t, reads(t, d, 2),
			`line_fault!half_frame: nothing more came of a frame; 1 bytes dropped: "2"`, "temp=1.5:number")
	})
}

// TestRefusalsAreAllCounted sends 25,000 useless lines among 500 good ones in 5 s: each is in exactly one report.
func TestRefusalsAreAllCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, nil, func(w io.Writer) {
			time.Sleep(2 * time.Second)
			for i := range 500 {
				write(w, strings.Repeat("garbage\n", 50)+fmt.Sprintf("T=1 N=%d\n", i))
				time.Sleep(10 * time.Millisecond)
			}
		})
		start := time.Now()
		good, reported, records := 0, 0, 0
		for reported < 25_000 || good < 500 {
			got, err := d.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			records++
			for _, r := range got {
				switch r.Channel {
				case "n":
					if r.Value != tidegate.Int(int64(good)) {
						t.Fatalf("got line %v, want %d", r.Value, good)
					}
					good++
				case chanFault:
					more := 1
					if i := strings.Index(r.Fault, "(the last of "); i >= 0 {
						if _, err := fmt.Sscanf(r.Fault[i:], "(the last of %d refused since the previous report)", &more); err != nil {
							t.Fatal(err)
						}
					}
					reported += more
				}
			}
		}
		if reported != 25_000 {
			t.Fatalf("reported %d", reported)
		}
		// 10 at once and about one a second, most of them riding in the record of a good line.
		if took := time.Since(start); records > 520 || took > 9*time.Second {
			t.Fatalf("%d records in %v", records, took)
		}
	})
}

func TestLastRefusalIsToldWithoutAnotherLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, nil, func(w io.Writer) {
			time.Sleep(2 * time.Second)
			write(w, strings.Repeat("x\n", 12))
		})
		got := reads(t, d, 11)
		same(t, got[9:], `line_fault!no_match: line does not match the expression: "x"`,
			`line_fault!no_match: line does not match the expression: "x" (the last of 2 refused since the previous report)`)
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, func(c *Config) { c.Silence = time.Minute }, func(w io.Writer) {
			time.Sleep(90 * time.Second)
			write(w, "T=1 N=1\n")
			time.Sleep(45 * time.Second)
			write(w, "T=1 N=2\nxxxx")
			time.Sleep(100 * time.Millisecond)
			write(w, strings.Repeat("x", 5000))
		})
		start := time.Now()
		const quiet = "nothing came for 1m0s: is the talker on, and the cable right?"
		same(t, reads(t, d, 1), "temp!"+quiet+" n!"+quiet)
		if took := time.Since(start); took != time.Minute {
			t.Fatalf("silence noticed after %v", took)
		}
		same(t, reads(t, d, 2), "temp=1:number n=1:number", "temp=1:number n=2:number")
		reads(t, d, 1) // the frame that is too long
		const strange = "904 bytes but no end of a frame came in 1m0s: are baud, parity and framing right?"
		same(t, reads(t, d, 1), "temp!"+strange+" n!"+strange)
		same(t, reads(t, d, 1), "temp!"+quiet+" n!"+quiet)
	})
}

// TestSilenceOfAnHourIsReported also where nobody has set when.
func TestSilenceOfAnHourIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, nil, func(w io.Writer) {
			write(w, "T=1 N=1\n")
			time.Sleep(59 * time.Minute)
			write(w, "T=1 N=2\n")
		})
		const quiet = "nothing came for 1h0m0s: is the talker on, and the cable right?"
		same(t, reads(t, d, 3), "temp=1:number n=1:number", "temp=1:number n=2:number", "temp!"+quiet+" n!"+quiet)
	})
}

func TestPausesEndFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, func(c *Config) { c.Framing = talker.ByIdle }, func(w io.Writer) {
			write(w, "=1 N=0")
			for i := range 3 {
				time.Sleep(25 * time.Millisecond)
				write(w, "T=1 ")
				time.Sleep(15 * time.Millisecond)
				write(w, fmt.Sprintf("N=%d\r\n", i+1))
			}
		})
		same(t, reads(t, d, 3), "temp=1:number n=1:number", "temp=1:number n=2:number", "temp=1:number n=3:number")
	})
}

func TestPauseAddsUpOverInterruptedReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, func(c *Config) { c.Gap, c.Silence = 5*time.Second, 2*time.Second }, func(w io.Writer) {
			time.Sleep(time.Minute)
			write(w, "T=1")
		})
		start := time.Now()
		for time.Since(start) < 70*time.Second {
			got, err := d.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(got[0].Fault, talker.HalfFrame) {
				if took := time.Since(start); took != 65*time.Second {
					t.Fatalf("half line dropped after %v", took)
				}
				return
			}
		}
		t.Fatal("the half line was never dropped")
	})
}

func TestReadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, nil, func(w io.Writer) {
			time.Sleep(2 * time.Second)
			write(w, "T=1 ")
			time.Sleep(500 * time.Millisecond)
			write(w, "N=1\n")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2200*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := d.Read(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2200*time.Millisecond {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		if _, err := d.Read(ctx); err == nil || err.Error() != "read line: context deadline exceeded" {
			t.Fatalf("got %v", err)
		}
		same(t, reads(t, d, 1), "temp=1:number n=1:number") // the half that came before is not lost
	})
}

// oddPort fails in its own way once its bytes are used up.
type oddPort struct {
	drivers.Port
	n   int
	err error
}

func (p *oddPort) Read(b []byte) (int, error) {
	if p.n == 0 {
		return 0, p.err
	}
	p.n--
	return copy(b, "T=1 N=1\nT=1"), p.err
}

func TestPortGone(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"end of file":           {err: io.EOF, want: "read line: bus /dev/ttyX: gone: EOF"},
		"unplugged":             {err: fmt.Errorf("unplugged: %w", drivers.ErrGone), want: "read line: bus /dev/ttyX: unplugged: gone"},
		"any error":             {err: errors.New("input/output error"), want: "read line: bus /dev/ttyX: gone: input/output error"},
		"no bytes and no error": {want: "read line: bus /dev/ttyX: port returned nothing: gone"},
	} {
		t.Run(name, func(t *testing.T) {
			c, h := newConfig(), newHost()
			c.Port, c.Line = "/dev/ttyX", `^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$`
			h.wrap = func(c net.Conn) drivers.Port { return &oddPort{Port: c, n: 1, err: tc.err} }
			d, err := c.Open(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			same(t, reads(t, d, 1), "temp=1:number n=1:number") // what came before the end counts
			if _, err = d.Read(t.Context()); err == nil || err.Error() != tc.want || !errors.Is(err, drivers.ErrGone) {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			same(t, reads(t, d, 1), "temp=1:number n=1:number") // the next opening; the half line of the first one is forgotten
		})
	}
}
