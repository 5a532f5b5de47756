package serialtext

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// chunks is a port on which the chunks come without any time passing; an empty one is a pause, and behind the last the port is gone.
type chunks struct {
	drivertest.Wire
	rest [][]byte
}

func (c *chunks) SetReadDeadline(time.Time) error { return nil }

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, drivers.ErrGone
	}
	n := copy(p, c.rest[0])
	if c.rest[0] = c.rest[0][n:]; len(c.rest[0]) == 0 {
		c.rest = c.rest[1:]
	}
	if n == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return n, nil
}

// FuzzTalker feeds any bytes to framer and parser: no panic, no endless loop, no text but strict numbers in number channels.
func FuzzTalker(f *testing.F) {
	f.Add(byte(0), []byte("T=21.5 N=1\r\nT=-3 N=2\n\xff\x00|T=NaN N=3\n"))
	f.Add(byte(1), []byte("$T=1 N=2*45\n$T=1 N=2*ZZ\n$$$*\n"))
	f.Add(byte(2), []byte("T=1 N=2345678901T=1 N=234567890"))
	f.Add(byte(3), []byte("T=1 N=2|T=1|N=2|"))
	f.Add(byte(4), bytes.Repeat([]byte("x"), 5000))
	f.Add(byte(9), []byte("||\x02T=1 N=2\x03ab"))
	f.Fuzz(func(t *testing.T, mode byte, in []byte) {
		c := newConfig()
		c.Line, c.Silence = `T=(?<t>[^ ]*) N=(?<n>[0-9]+)(?<rest>.*)$`, 0
		c.Encoding = []string{encASCII, encUTF8, encLatin1, encBinary}[mode/32%4]
		switch mode % 8 {
		case 1:
			c.Start, c.Checksum = "$", Sum{Type: "xor", Mark: "*"}
		case 2:
			c.Framing, c.Length = talker.ByLength, 16
		case 3:
			c.Framing = talker.ByIdle
		case 4:
			c.Delimiter = "ab"
		case 5:
			c.Framing, c.Length, c.Start, c.Checksum = talker.ByLength, 12, "T", Sum{Type: "crc16-modbus", Format: "binary", CoversMarks: true}
		case 6:
			c.Checksum = Sum{Type: "sum8", Format: "decimal", Mark: ","}
		}
		c.Port, c.Groups = "p", map[string]Group{"t": {Type: typeNumber}}
		port := &chunks{}
		for i, chunk := range bytes.Split(in, []byte("|")) {
			if i > 0 {
				port.rest = append(port.rest, nil)
			}
			if len(chunk) > 0 {
				port.rest = append(port.rest, chunk)
			}
		}
		h := &drivertest.Host{Ports: map[string]drivertest.Opener{"p": func(context.Context) (drivers.Port, error) { return port, nil }}}
		d, err := c.Open(t.Context(), h)
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
			for _, r := range readings {
				if _, ok := r.Value.Number(); r.Channel == "t" && r.Fault == "" && !ok || len(r.Fault) > 700 {
					t.Fatalf("%+v", r)
				}
			}
		}
		t.Fatal("no end")
	})
}
