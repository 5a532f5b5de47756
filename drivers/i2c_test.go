package drivers_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

func TestParseI2CAddress(t *testing.T) {
	const form = `want 0x and two hexadecimal digits in quotes, for instance "0x76"`
	for s, want := range map[string]string{
		"0x76": "76 <nil>", "0x08": "8 <nil>", "0x77": "77 <nil>", "0x4A": "4a <nil>",
		"": "0 " + form, "76": "0 " + form, "118": "0 " + form, "0X76": "0 " + form, "0x176": "0 " + form, "0x7": "0 " + form,
		"0x+7": "0 " + form, "0x_7": "0 " + form, " 0x76": "0 " + form, "0x7g": "0 " + form,
		"0x07": "0 0x07 is no device's: want 0x08 to 0x77; of an 8-bit address with its read/write bit take half",
		"0x78": "0 0x78 is no device's: want 0x08 to 0x77; of an 8-bit address with its read/write bit take half",
		"0xec": "0 0xec is no device's: want 0x08 to 0x77; of an 8-bit address with its read/write bit take half",
	} {
		n, err := drivers.ParseI2CAddress(s)
		if got := fmt.Sprintf("%x %v", n, err); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}

func TestCheckI2CAddress(t *testing.T) {
	for want, got := range map[string][]drivers.FieldError{
		"[]": drivers.CheckI2CAddress("0x76", 0x76, 0x77),
		`[address: is none that the part can have (got "0x48"); one of 0x76, 0x77]`:                                   drivers.CheckI2CAddress("0x48", 0x76, 0x77),
		`[address: is no I2C address (got "118"); want 0x and two hexadecimal digits in quotes, for instance "0x76"]`: drivers.CheckI2CAddress("118"),
	} {
		if fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

// openPart opens the part at 0x48 of the bus b.
func openPart(t *testing.T, b i2c.Bus) *drivers.I2CPart {
	t.Helper()
	p, err := drivers.OpenI2C(t.Context(), &drivertest.Host{I2CBuses: map[string]i2c.Bus{"1": b}}, "1", "0x48")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestI2CPartIsSetUpAgainAfterAnError: set-up comes before the first read, and after each error once.
func TestI2CPartIsSetUpAgainAfterAnError(t *testing.T) {
	part := &drivertest.I2CPart{Held: map[byte][]byte{1: {0x60}, 2: nil}}
	p := openPart(t, &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{0x48: part}})
	var log []string
	var fail error
	do := func() error {
		return p.Do(t.Context(), func(ctx context.Context) error {
			log = append(log, "set up")
			return p.Put(ctx, 2, 7, 8)
		}, func(ctx context.Context) error {
			b, err := p.Get(ctx, 1, 1)
			log = append(log, fmt.Sprintf("%x %v", b, err))
			return errors.Join(err, fail)
		})
	}
	for _, f := range []error{nil, nil, errors.New("checksum"), nil, nil} {
		fail = f
		if err := do(); fail == nil && err != nil || fail != nil && err.Error() != "0x48 on drivertest: checksum" {
			t.Errorf("got %v, want %v", err, fail)
		}
	}
	if got, want := strings.Join(log, ", "), "set up, 60 <nil>, 60 <nil>, 60 <nil>, set up, 60 <nil>, 60 <nil>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := fmt.Sprintf("%x", part.Held[2]); got != "0708" {
		t.Errorf("register 2 holds %s, want 0708", got)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := do(); err == nil || err.Error() != "0x48 on drivertest: closed" {
		t.Errorf("after Close: %v", err)
	}
}

// TestI2CPartAbsent has nobody at the address: the first two errors say so, the third wants the bus opened anew. Errors that are not the
// bus's do not count, and neither does the end of ctx.
func TestI2CPartAbsent(t *testing.T) {
	b := &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{}}
	p := openPart(t, b)
	get := func(ctx context.Context) error { _, err := p.Get(ctx, 1, 1); return err }
	ready := func(context.Context) error { return nil }
	const nobody = "0x48 on drivertest: read register 0x01: drivertest: no such device or address"
	for i := range 5 {
		err := p.Do(t.Context(), ready, get)
		if err == nil || err.Error() != nobody || errors.Is(err, drivers.ErrGone) != (i >= 2) {
			t.Errorf("%d: got %v, want %s", i+1, err, nobody)
		}
	}
	p = openPart(t, b)
	for i := range 6 {
		err := p.Do(t.Context(), ready, get)
		if i%2 == 1 {
			err = p.Do(t.Context(), ready, func(context.Context) error { return fs.ErrInvalid })
		}
		if err == nil || errors.Is(err, drivers.ErrGone) {
			t.Errorf("%d: got %v", i, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = p.Do(ctx, ready, func(ctx context.Context) error { cancel(); return get(ctx) })
		if !errors.Is(err, context.Canceled) || errors.Is(err, drivers.ErrGone) {
			t.Errorf("%d: got %v", i, err)
		}
	}
}

// TestI2CPartCountsAcrossCtx: a Read that ended with its ctx neither counts nor begins the count anew, even if the bus failed under it.
func TestI2CPartCountsAcrossCtx(t *testing.T) {
	var cancel context.CancelFunc
	b := &drivertest.I2CBus{Fail: func(int) error {
		if cancel != nil {
			cancel()
		}
		return errors.New("stuck")
	}}
	p := openPart(t, b)
	ready := func(context.Context) error { return nil }
	get := func(ctx context.Context) error { _, err := p.Get(ctx, 1, 1); return err }
	for i, isGone := range []bool{false, false, true} {
		if err := p.Do(t.Context(), ready, get); errors.Is(err, drivers.ErrGone) != isGone {
			t.Errorf("%d: got %v", i+1, err)
		}
		var ctx context.Context
		ctx, cancel = context.WithCancel(t.Context())
		if err := p.Do(ctx, ready, get); !errors.Is(err, context.Canceled) || errors.Is(err, drivers.ErrGone) && !isGone {
			t.Errorf("%d: got %v", i+1, err)
		}
		cancel = nil
	}
}

// TestI2CPartEndsWithCtx: Wait and what comes after it end when ctx does, and the error says both.
func TestI2CPartEndsWithCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPart(t, &drivertest.I2CBus{})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := p.Do(ctx, func(ctx context.Context) error { return p.Wait(ctx, time.Hour) }, func(context.Context) error { return nil })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 50*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if err := p.Do(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = p.Do(ctx, func(context.Context) error { <-ctx.Done(); return errors.New("half") }, nil)
		if want := "0x48 on drivertest: context deadline exceeded (half)"; err == nil || err.Error() != want || !errors.Is(err, ctx.Err()) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}
