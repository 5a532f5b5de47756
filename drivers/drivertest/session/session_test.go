package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

func TestParse(t *testing.T) {
	for want, text := range map[string]string{
		`[0.031200 /dev/ttyUSB0 > 01 03 0.500000 i2c:1:76 < ff 7.000000001 tcp://192.0.2.7:502 !] <nil>`: "tidegate session 1\n# remark\n\n" +
			"0.0312 /dev/ttyUSB0 > 0103\n  0.5 i2c:1:76 < FF\r\n7.000000001 tcp://192.0.2.7:502 !\n",
		"[] <nil>":            "tidegate session 1",
		"[] session is empty": "",
		`[] session line 1: got "tidegate session 2", want "tidegate session 1"`:    "tidegate session 2\n",
		"[] session line 2: got 2 words, want time, port, direction and bytes":      "tidegate session 1\n0 p\n",
		`[] session line 2: direction is "?", want >, ! or <`:                       "tidegate session 1\n0 p ? 00\n",
		"[] session line 2: bytes: encoding/hex: odd length hex string":             "tidegate session 1\n0 p > 0\n",
		"[] session line 2: bytes: encoding/hex: invalid byte: U+0078 'x'":          "tidegate session 1\n0 p > x0\n",
		"[] session line 2: direction > with 0 bytes":                               "tidegate session 1\n0 p >\n",
		"[] session line 2: direction ! with 1 bytes":                               "tidegate session 1\n0 p ! 00\n",
		`[] session line 2: time is "-1", want seconds such as 12.345678`:           "tidegate session 1\n-1 p !\n",
		`[] session line 2: time is "1.0000000001", want seconds such as 12.345678`: "tidegate session 1\n1.0000000001 p !\n",
		`[] session line 2: time is "1.x", want seconds such as 12.345678`:          "tidegate session 1\n1.x p !\n",
		"[] session line 3: time falls from 2s to 1s":                               "tidegate session 1\n2 p !\n1 p !\n",
	} {
		e, err := Parse([]byte(text))
		if got := fmt.Sprint(e, " ", err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	long := "tidegate session 1\n0 p > " + string(bytes.Repeat([]byte("00"), 64<<10+1))
	if _, err := Parse([]byte(long)); fmt.Sprint(err) != "session line 2: 65537 bytes, at most 65536 are allowed" {
		t.Errorf("got %v", err)
	}
	if _, err := Parse(append([]byte(long), bytes.Repeat([]byte(" "), maxLine)...)); fmt.Sprint(err) != "read session: bufio.Scanner: token too long" {
		t.Errorf("got %v", err)
	}
}

// FuzzParse parses anything; what is accepted must come back the same after it was written.
func FuzzParse(f *testing.F) {
	f.Add([]byte("tidegate session 1\n# remark\n0.0312 /dev/ttyUSB0 > 01 03\n7.000000001 tcp://192.0.2.7:502 !\n"))
	f.Add([]byte("tidegate session 1\n0 i2c:1:76 < ff\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, "again", e); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(b.Bytes())
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%v: got %v, want %v", err, again, e)
		}
		_ = NewReplay(e).Close()
	})
}

// meter is a driver's part: it asks what is 1 s after the last answer, until the port is gone.
func meter(ctx context.Context, h drivers.Host, n int) (string, error) {
	bus, err := h.Serial(ctx, drivers.Serial{Port: "/dev/ttyUSB0"})
	if err != nil {
		return "", err
	}
	var got string
	for range n {
		err = bus.Do(ctx, func(p drivers.Port) error {
			if _, err := p.Write([]byte("?")); err != nil {
				return err
			}
			_ = p.SetReadDeadline(time.Now().Add(time.Minute))
			b := make([]byte, 3)
			if _, err := io.ReadFull(p, b); err != nil {
				return err
			}
			got += string(b)
			return nil
		})
		time.Sleep(time.Second)
	}
	return got, err
}

// TestRecordedSessionReplays records a meter, and replays the recording to the same code: bytes and pauses are the same, byte by
// byte in the second recording.
func TestRecordedSessionReplays(t *testing.T) {
	var first, second bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		n := 0
		h := &drivertest.Host{Ports: map[string]drivertest.Opener{drivertest.Any: func(context.Context) (drivers.Port, error) {
			return &drivertest.Wire{Answer: func(w *drivertest.Wire, _ []byte) {
				n++
				w.SayAfter(time.Duration(n)*30*time.Millisecond, fmt.Appendf(nil, "%03d", n))
			}}, nil
		}}}
		r := Record(h, &first, "a meter\nof two lines")
		if got, err := meter(t.Context(), r, 3); got != "001002003" || err != nil || r.Err() != nil {
			t.Fatalf("got %q, %v, %v", got, err, r.Err())
		}
	})
	want := "tidegate session 1\n# a meter\n# of two lines\n" +
		"0.000000 /dev/ttyUSB0 > 3f\n0.030000 /dev/ttyUSB0 < 30 30 31\n1.030000 /dev/ttyUSB0 > 3f\n1.090000 /dev/ttyUSB0 < 30 30 32\n" +
		"2.090000 /dev/ttyUSB0 > 3f\n2.180000 /dev/ttyUSB0 < 30 30 33\n"
	if first.String() != want {
		t.Fatalf("got %s", first.String())
	}
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "meter.session")
		if err := os.WriteFile(path, first.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := File(path)
		if err != nil {
			t.Fatal(err)
		}
		r := Record(p.Host, &second, "a meter\nof two lines")
		if got, err := meter(t.Context(), r, 3); got != "001002003" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if second.String() != want {
			t.Errorf("got %s", second.String())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e, err := Parse(first.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		p := NewReplay(e)
		if _, err := meter(t.Context(), p.Host, 2); err != nil {
			t.Fatal(err)
		}
		if err, want := p.Close(), "/dev/ttyUSB0: 2 steps were not used, the next wants 3f"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestUnplugInASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Parse([]byte("tidegate session 1\n0 /dev/ttyUSB0 > 3f\n1 /dev/ttyUSB0 !\n9 /dev/ttyUSB0 > 3f\n9.1 /dev/ttyUSB0 < 303031\n"))
		if err != nil {
			t.Fatal(err)
		}
		p := NewReplay(e)
		if _, err := meter(t.Context(), p.Host, 1); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
		if got, err := meter(t.Context(), p.Host, 1); got != "001" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

// echo is a device that answers with what was written and the place of each byte.
type echo struct{ fail bool }

func (e *echo) String() string { return "echo" }
func (e *echo) answer(w, r []byte) error {
	if e.fail {
		return errors.New("no answer")
	}
	for i := range r {
		r[i] = byte(i) + 1
		if i < len(w) {
			r[i] += w[i]
		}
	}
	return nil
}

type (
	echoI2C     struct{ echo }
	echoSPI     struct{ echo }
	echoOneWire struct{ echo }
)

func (e *echoSPI) Tx(w, r []byte) error { return e.answer(w, r) }
func (e *echoSPI) Duplex() conn.Duplex  { return conn.Full }
func (e *echoSPI) TxPackets(p []spi.Packet) error {
	for i := range p {
		_ = e.answer(p[i].W, p[i].R)
	}
	return nil
}

func (e *echoI2C) Tx(_ uint16, w, r []byte) error             { return e.answer(w, r) }
func (e *echoI2C) SetSpeed(physic.Frequency) error            { return nil }
func (e *echoOneWire) Tx(w, r []byte, _ onewire.Pullup) error { return e.answer(w, r) }
func (e *echoOneWire) Search(bool) ([]onewire.Address, error) {
	return []onewire.Address{0x9e06050403020128, 0x28}, nil
}

// busUser transfers on all kinds of buses and returns what it read and the errors it got.
func busUser(t *testing.T, h drivers.Host, mistake byte) string {
	t.Helper()
	i, errI := h.I2C(t.Context(), "1")
	dead, errD := h.I2C(t.Context(), "2")
	s, errS := h.SPI(t.Context(), "SPI0.0", physic.MegaHertz, spi.Mode0)
	o, errO := h.OneWire(t.Context(), "")
	if err := errors.Join(errI, errD, errS, errO); err != nil {
		t.Fatal(err)
	}
	r := make([]byte, 8)
	var errs []bool
	note := func(err error) { errs = append(errs, err != nil) }
	note(i.Tx(0x76, []byte{0xd0 + mistake}, r[:2]))
	note(i.SetSpeed(physic.KiloHertz))
	note(dead.Tx(0x48, []byte{1}, r[6:]))
	note(s.Tx([]byte{1, 2}, r[2:4]))
	note(s.TxPackets([]spi.Packet{{W: []byte{9}, R: r[4:5]}}))
	note(o.Tx([]byte{0xcc}, r[5:6], onewire.StrongPullup))
	found, err := o.Search(false)
	note(err)
	return fmt.Sprintf("%x %x %v", r, found, errs)
}

func TestBusesReplay(t *testing.T) {
	var text bytes.Buffer
	h := &drivertest.Host{
		I2CBuses:     map[string]i2c.Bus{"1": &echoI2C{}, "2": &echoI2C{echo{fail: true}}},
		SPIPorts:     map[string]spi.Conn{"SPI0.0": &echoSPI{}},
		OneWireBuses: map[string]onewire.Bus{"": &echoOneWire{}},
	}
	r := Record(h, &text, "")
	want := busUser(t, r, 0)
	if r.Err() != nil || want != "d10202040acd0000 [9e06050403020128 28] [false false true false false false false]" {
		t.Fatalf("%v, %s", r.Err(), want)
	}
	e, err := Parse(text.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	p := NewReplay(e)
	if got := busUser(t, p.Host, 0); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	p = NewReplay(e)
	_ = busUser(t, p.Host, 1)
	if err, want := p.Close(), "i2c:1:76: got d1, want d0"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := NewReplay(e).Close(); err == nil {
		t.Error("a session that was not used at all passes")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk is full") }

func TestRecordReportsWriteErrors(t *testing.T) {
	r := Record(&drivertest.Host{}, broken{}, "")
	if err := r.Err(); fmt.Sprint(err) != "write session: disk is full" {
		t.Errorf("got %v", err)
	}
}

func TestFileNamesItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := File(path); fmt.Sprint(err) != "replay "+path+`: session line 1: got "x", want "tidegate session 1"` {
		t.Errorf("got %v", err)
	}
	if _, err := File(path + "er"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
