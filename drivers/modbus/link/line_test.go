package link

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A line is a port behind which a unit answers; it keeps when bytes were last on it.
type line struct {
	char   time.Duration
	answer func(request []byte) []byte
	echo   error // of Write

	in     []byte
	from   time.Time       // when the first byte of in has come; each needs char
	quiet  time.Time       // since when nothing is on the line
	pauses []time.Duration // before each request

	mu  sync.Mutex // guards end: a ctx that is done sets it from elsewhere
	end time.Time
}

// deadline returns when Read has to end.
func (l *line) deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

func (l *line) SetWriteDeadline(time.Time) error { return nil }
func (l *line) Close() error                     { return nil }

func (l *line) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = t
	return nil
}

func (l *line) Write(b []byte) (int, error) {
	now := time.Now()
	l.pauses = append(l.pauses, now.Sub(l.quiet))
	sent := now.Add(time.Duration(len(b)) * l.char)
	l.in, l.from = l.answer(b), sent.Add(3*time.Millisecond)
	l.quiet = sent
	if len(l.in) > 0 {
		l.quiet = l.from.Add(time.Duration(len(l.in)) * l.char)
	}
	return len(b), l.echo
}

// Read hands over all that has come, as an adapter does.
func (l *line) Read(b []byte) (int, error) {
	if len(l.in) > 0 {
		last := l.from.Add(time.Duration(len(l.in)) * l.char)
		if last.Before(l.deadline()) {
			time.Sleep(time.Until(last))
			n := copy(b, l.in)
			l.in = l.in[n:]
			return n, nil
		}
	}
	time.Sleep(time.Until(l.deadline()))
	return 0, os.ErrDeadlineExceeded
}

// TestSilenceOf3CharactersAndAHalfBeforeEachRequest is "MODBUS over Serial Line V1.02" section 2.5.1.1: frames are 3.5 characters apart, above
// 19200 bit/s 1.75 ms. Also after a reply that was damaged, came from another unit, or never came.
func TestSilenceOf3CharactersAndAHalfBeforeEachRequest(t *testing.T) {
	q := Request{Table: Holding, Address: 0, Quantity: 2}
	replies := map[string][]byte{
		"right": unhex(t, sum(t, "07 03 04 00010002")), "damaged": unhex(t, "07 03 04 00010002 0000"), "foreign": unhex(t, sum(t, "08 03 04 00010002")),
		"none": nil, "half": unhex(t, "07 03 04 00"),
	}
	for baud, want := range map[int]time.Duration{
		300: 128333 * time.Microsecond, 1200: 32083 * time.Microsecond, 9600: 4010 * time.Microsecond, 19200: 2005 * time.Microsecond,
		38400: 1750 * time.Microsecond, 115200: 1750 * time.Microsecond,
	} {
		for name, reply := range replies {
			t.Run(fmt.Sprint(baud, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := NewRTU(drivers.NewBus("line", nil), 7, time.Second, baud)
					p := &line{char: l.char, answer: func([]byte) []byte { return reply }, quiet: time.Now()}
					for range waryAtFirst + 20 {
						body, err := l.Exchange(p, q)
						if (name == "right") != (err == nil) || name == "right" && !bytes.Equal(body, []byte{0, 1, 0, 2}) {
							t.Fatalf("% x, %v", body, err)
						}
					}
					for i, pause := range p.pauses {
						if pause < want {
							t.Errorf("request %d came after %v of silence, want %v", i, pause, want)
						}
						if most := max(2*want, lull+5*time.Millisecond); name == "right" && (pause > most || i > waryAtFirst && pause > want+5*time.Millisecond) {
							t.Errorf("request %d came after %v of silence, %v is enough", i, pause, want)
						}
					}
				})
			})
		}
	}
}

// TestEchoThatWasWrongIsFollowedByNoReply: what comes after a collision is no reply, however right it looks; the port is left alone, and a
// reply may still be owed.
func TestEchoThatWasWrongIsFollowedByNoReply(t *testing.T) {
	wrong := fmt.Errorf("%w: byte 3 of 8", drivers.ErrEcho)
	for name, reply := range map[string][]byte{"right": unhex(t, sum(t, "07 03 04 00010002")), "exception": unhex(t, sum(t, "07 83 02")), "none": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := Request{Table: Holding, Address: 0, Quantity: 2}
				l := NewRTU(drivers.NewBus("line", nil), 7, time.Second, 9600)
				p := &line{char: l.char, answer: func([]byte) []byte { return reply }, echo: wrong}
				start := time.Now()
				body, err := l.Exchange(p, q)
				if body != nil || !errors.Is(err, drivers.ErrEcho) || errors.Is(err, drivers.ErrGone) || IsException(err) {
					t.Errorf("got % x, %v; want ErrEcho", body, err)
				}
				if want := "write: line does not give back what is sent: byte 3 of 8"; err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
				if d := time.Since(start); name == "none" && d < time.Second {
					t.Errorf("given up after %v: a late reply would come within the next request's time", d)
				}
				if len(p.in) > 0 {
					t.Errorf("% x is left over for the next request", p.in)
				}
				if _, owes := l.Probe(q, nil); !owes {
					t.Error("no reply is owed: the unit may have understood the request")
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := &broken{line{char: time.Millisecond, answer: func([]byte) []byte { return nil }, echo: wrong}, 0}
		if _, err := NewRTU(drivers.NewBus("line", nil), 7, time.Second, 9600).Exchange(p, Request{Table: Holding, Address: 0, Quantity: 2}); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("unplugged meanwhile: %v", err)
		}
	})
}

// broken is a line that is unplugged after the first silence.
type broken struct {
	line
	reads int
}

func (b *broken) Read(p []byte) (int, error) {
	if b.reads++; b.reads > 1 {
		return 0, fmt.Errorf("%w: unplugged", drivers.ErrGone)
	}
	return b.line.Read(p)
}
