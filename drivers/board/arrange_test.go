package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
)

// TestBaudRatesThatAreNotStandard: the settings go through go.bug.st/serial, which takes BOTHER for what has no number of its own.
// What a UART makes of the rate cannot be seen on a pseudo-terminal; that it was made is seen, and a driver's other rate refused, see
// tty.Verify.
func TestBaudRatesThatAreNotStandard(t *testing.T) {
	for _, baud := range []int{9600, 31250, 250000, 12345, 76800, 9600} { // a standard one again after an odd one
		far := newPTY(t)
		c := settings(far.Path)
		c.Baud = baud
		bus, err := New(nil).Serial(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := bus.Do(t.Context(), func(drivers.Port) error { return nil }); err != nil {
			t.Fatalf("%d: %v", baud, err)
		}
		f, err := os.OpenFile(far.Path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		tio, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS2)
		if err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		isOdd := tio.Cflag&unix.CBAUD == unix.BOTHER
		if int(tio.Ospeed) != baud || int(tio.Ispeed) != baud || isOdd != (baud != 9600) {
			t.Errorf("got %d bit/s out, %d in, BOTHER %v; want %d", tio.Ospeed, tio.Ispeed, isOdd, baud)
		}
	}
}

// TestPortsThatCannotTurnALine: what cannot be had is refused when the port is opened, with the alternatives, and the port is given back.
func TestPortsThatCannotTurnALine(t *testing.T) {
	for direction, want := range map[string]string{
		"kernel": "rs485=kernel: the port's driver cannot turn a transceiver: inappropriate ioctl for device; " +
			"an adapter that switches by itself needs no rs485; else a line of the board may do it: rs485=GPIO17, or rs485=rts",
		"rts": "rs485=rts: the port has no line RTS: inappropriate ioctl for device; " +
			"an adapter that switches by itself needs no rs485; else a line of the board may do it: rs485=GPIO17, or rs485=kernel",
		"rts-low": "rs485=rts-low: the port has no line RTS: inappropriate ioctl for device; " +
			"an adapter that switches by itself needs no rs485; else a line of the board may do it: rs485=GPIO17, or rs485=kernel",
		"GPIO98": "rs485=GPIO98: open pin GPIO98: ",
	} {
		t.Run(direction, func(t *testing.T) {
			far := newPTY(t)
			before := descriptors(t)
			c := settings(far.Path)
			c.Direction = direction
			ctx, cancel := context.WithCancel(t.Context())
			bus, err := New(nil).Serial(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			err = bus.Do(ctx, func(drivers.Port) error { t.Error("it was opened"); return nil })
			if err == nil || !strings.HasPrefix(err.Error(), "open "+far.Path+": "+want) {
				t.Errorf("got %v, want %s", err, want)
			}
			cancel()
			if after := descriptors(t); after > before { // ports of earlier tests may be closed only now
				t.Errorf("%d descriptors left over", after-before)
			}
			openPort(t, far.Path) // nobody has it any more
		})
	}
}

// TestPortAtAnotherSpeedIsRefused: here the driver has made 9600 bit/s of 250000.
func TestPortAtAnotherSpeedIsRefused(t *testing.T) {
	far := newPTY(t)
	c := settings(far.Path)
	c.Baud = 250000
	_, err := arrange(openPort(t, far.Path), c, New(nil).Pin)
	if want := "the port cannot do 250000 8N1: its driver made 9600 8N1 of it; set that, or use another port"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	openPort(t, far.Path) // nobody has it any more
}

// A levelPin is a GPIO line that notes what it was set to, and how much had arrived at the far end when that was high.
type levelPin struct {
	drivers.Pin
	arrived func() int

	mu       sync.Mutex
	sets     []string
	isClosed bool
}

func (p *levelPin) Set(level bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed {
		return errors.New("closed")
	}
	s := "receiving"
	if level {
		s = fmt.Sprint("sending with ", p.arrived(), " bytes out")
	}
	p.sets = append(p.sets, s)
	return nil
}

func (p *levelPin) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isClosed = true
	return nil
}

func (p *levelPin) seen() (sets string, isClosed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.sets, ", "), p.isClosed
}

// A farEnd counts what arrives, and gives it back if it echoes.
type farEnd struct {
	mu  sync.Mutex
	got []byte
}

func (f *farEnd) arrived() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.got)
}

// listen runs until the pair is closed.
func (f *farEnd) listen(far *pty.Pair, answer func(b []byte) []byte) {
	b := make([]byte, 256)
	for {
		n, err := far.Master.Read(b)
		f.mu.Lock()
		f.got = append(f.got, b[:n]...)
		f.mu.Unlock()
		if err != nil {
			return
		}
		if out := answer(b[:n]); len(out) > 0 {
			_, _ = far.Master.Write(out)
		}
	}
}

// TestLineOfTheBoardTurnsARealPort: through the kernel, at 9600 bit/s: the line is high before the first byte and for as long as ten bytes
// take, and low when the port is closed.
func TestLineOfTheBoardTurnsARealPort(t *testing.T) {
	far := newPTY(t)
	end := &farEnd{}
	go end.listen(far, func([]byte) []byte { return nil })
	line := &levelPin{arrived: end.arrived}
	var asked []string
	pin := func(_ context.Context, name string, c drivers.PinConfig) (drivers.Pin, error) {
		if c.Output && !c.Initial && c.AtEnd != nil && !*c.AtEnd && !c.ActiveLow {
			name += ", an output, off, left off"
		}
		asked = append(asked, name)
		return line, nil
	}
	c := settings(far.Path)
	c.Direction = "GPIO17"
	p, err := arrange(openPort(t, far.Path), c, pin)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if n, err := p.Write(make([]byte, 10)); n != 10 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if d := time.Since(start); d < 10*time.Millisecond { // 10 bits each at 9600 bit/s: 10.4 ms
		t.Errorf("Write took %v, before 10 bytes can be out", d)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	sets, isClosed := line.seen()
	if want := "receiving, sending with 0 bytes out, receiving, receiving"; sets != want || !isClosed {
		t.Errorf("levels %q, given back %v; want %q", sets, isClosed, want)
	}
	if want := "GPIO17, an output, off, left off"; strings.Join(asked, ";") != want {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

// TestEchoIsTakenOutOnARealPort: the far end gives back all it hears and answers behind it, as an adapter with its receiver always on.
func TestEchoIsTakenOutOnARealPort(t *testing.T) {
	for want, answer := range map[string]func(b []byte) []byte{
		"reply, <nil>": func(b []byte) []byte { return append(bytes.Clone(b), "reply"...) },
		", bus: line does not give back what is sent: byte 2 of 3 came back as 0x00, want 0x73; a second master or a late reply on the line, or noise": func(b []byte) []byte {
			return append([]byte{b[0], 0}, b[2:]...)
		},
		", bus: line does not give back what is sent: echo is set, but none of 3 bytes came back within 100ms of the last bit; leave echo out if the " +
			"adapter keeps it back, else see whether the transceiver gets to sending": func([]byte) []byte { return nil },
	} {
		t.Run(want, func(t *testing.T) {
			far := newPTY(t)
			go (&farEnd{}).listen(far, answer)
			c := settings(far.Path)
			c.Echo = true
			bus, err := New(nil).Serial(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			err = bus.Do(t.Context(), func(p drivers.Port) error {
				if err := drivers.Drop(p, time.Millisecond); err != nil {
					return err
				}
				if _, err := p.Write([]byte("ask")); err != nil {
					return err
				}
				_ = p.SetReadDeadline(time.Now().Add(5 * time.Second))
				b := make([]byte, 5)
				n, err := io.ReadFull(p, b)
				got = b[:n]
				return err
			})
			if s := strings.ReplaceAll(fmt.Sprintf("%s, %v", got, err), far.Path, ""); strings.Replace(s, "bus :", "bus:", 1) != want {
				t.Errorf("got %s", s)
			}
			if err == nil {
				return
			}
			// The port is as good as before.
			if err := bus.Do(t.Context(), func(p drivers.Port) error { return drivers.Drop(p, 20*time.Millisecond) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOpeningTells: the settings, the name that lasts, and an adapter that is slow.
func TestOpeningTells(t *testing.T) {
	far := newPTY(t)
	p := openPort(t, far.Path)
	var st unix.Stat_t
	if err := control(p.file, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	usb, dev := filepath.Join(top, "ttyUSB0"), filepath.Join(top, "serial")
	timer := filepath.Join(top, fmt.Sprintf("dev/char/%d:%d/device", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	if err := errors.Join(os.WriteFile(usb, nil, 0o600), os.MkdirAll(filepath.Join(dev, "by-id"), 0o700), os.MkdirAll(timer, 0o700),
		os.Symlink(usb, filepath.Join(dev, "by-id", "usb-FTDI-port0"))); err != nil {
		t.Fatal(err)
	}
	for ms, wantSlow := range map[string]string{"16\n": "for=16ms", "4\n": "", "1\n": ""} {
		if err := os.WriteFile(filepath.Join(timer, "latency_timer"), []byte(ms), 0o600); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		h := New(slog.New(slog.NewTextHandler(&log, nil)))
		c := settings(usb)
		c.Direction = "rts"
		h.tell(p, c, usb, top, dev)
		for _, want := range []string{
			`level=INFO msg="serial port opened" port=` + usb + ` settings="9600 8N1, rs485 rts"`,
			`level=WARN msg="port may be another one after a replug; use its lasting name" port=` + usb + ` lasting=` + filepath.Join(dev, "by-id", "usb-FTDI-port0"),
			wantSlow,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in\n%s", want, log.String())
			}
		}
		if slow := strings.Contains(log.String(), "holds back"); slow != (wantSlow != "") {
			t.Errorf("%s ms, said that it is slow: %v", ms, slow)
		}
	}
}
