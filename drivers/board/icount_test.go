package board

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board/tty"
)

// TestLineErrors: a pseudo-terminal has no UART that counts, and says so through the bus; so does a port that was closed.
func TestLineErrors(t *testing.T) {
	pair := newPTY(t)
	bus, err := New(nil).Serial(t.Context(), settings(pair.Path))
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Do(t.Context(), func(drivers.Port) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.LineErrors(); !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) || !strings.HasPrefix(err.Error(), "count line errors: ") {
		t.Errorf("got %v, want ENOTTY or EINVAL", err)
	}
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.LineErrors(); err == nil || !strings.Contains(err.Error(), "port is not open") {
		t.Errorf("closed: %v", err)
	}
}

// TestIcounter: the counts are taken from where linux/serial.h has them: cts, dsr, rng, dcd, rx, tx, frame, overrun, parity, brk.
func TestIcounter(t *testing.T) {
	c := icounter{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if got, want := c.lineErrors(), (drivers.LineErrors{Framing: 6, Overrun: 7, Parity: 8, Break: 9}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// counting is a port that counts.
type counting struct{ drivers.Port }

func (counting) LineErrors() (drivers.LineErrors, error) { return drivers.LineErrors{Parity: 3}, nil }

// TestLineErrorsBehindEcho: a port whose line is turned around or freed of echo tells them all the same.
func TestLineErrorsBehindEcho(t *testing.T) {
	if got, err := tty.New(counting{}, nil, time.Millisecond, true).LineErrors(); err != nil || got != (drivers.LineErrors{Parity: 3}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := tty.New(struct{ drivers.Port }{}, nil, time.Millisecond, true).LineErrors(); err == nil || err.Error() != "count line errors: the terminal does not count them" {
		t.Errorf("got %v", err)
	}
}
