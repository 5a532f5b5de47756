package bme280

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// The registers of the BME280 and BMP280 (BME280 data sheet page 25, BMP280 page 24).
const (
	regTrim     = 0x88 // trimming values of temperature and pressure, and H1
	regID       = 0xd0
	regTrimHum  = 0xe1 // trimming values H2 to H6
	regCtrlHum  = 0xf2 // followed by status, ctrl_meas and config
	regCtrlMeas = 0xf4
	regConfig   = 0xf5
	regResults  = 0xf7
)

// What stands in status and ctrl_meas (BMP280 data sheet page 25).
const (
	isMeasuring = 0x08
	isLoading   = 0x01 // the trimming values, after a reset and before each conversion
	modeForced  = 0x01 // one conversion, then sleep
)

// A device is an open BME280 or BMP280.
type device struct {
	part  *drivers.I2CPart
	name  string // as in the setting part
	times int    // oversampling
	trim  trimming
	out   []tidegate.Reading
}

// code returns the code of an oversampling in the registers, 1 to 5; 0 = there is no such.
func code(times int) byte {
	if times < 1 || times > 16 || times&(times-1) != 0 {
		return 0
	}
	return byte(bits.Len(uint(times)))
}

// Close ends the use of the part.
func (d *device) Close() error { return d.part.Close() }

// Read converts once and reports temperature, pressure and, of a BME280, humidity.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if err := d.part.Do(ctx, d.setUp, d.convert); err != nil {
		return nil, fmt.Errorf("read %s at %w", d.name, err)
	}
	return d.out, nil
}

// identify compares the part's identity with that of the one that is set.
func (d *device) identify(ctx context.Context) error {
	id, err := d.part.Get(ctx, regID, 1)
	if err != nil {
		return err
	}
	for i := range Driver.Parts {
		p := &Driver.Parts[i]
		switch {
		case p.Name == d.name && bytes.Equal(id, p.ID):
			return nil
		case p.Name != d.name && bytes.Equal(id, p.ID):
			return fmt.Errorf("register 0x%02x reads 0x%02x, which is a %s: set part: %s, or change the part", regID, id, p.Name, p.Name)
		}
	}
	return fmt.Errorf("register 0x%02x reads 0x%02x, no identity of a BME280 (0x60), BMP280 (0x58) or BMP180 (0x55): check wiring and address", regID, id)
}

// setUp makes sure that the part is the right one, reads its trimming values and writes the settings that last.
func (d *device) setUp(ctx context.Context) error {
	if err := d.identify(ctx); err != nil {
		return err
	}
	if err := d.idle(ctx, isLoading); err != nil {
		return err
	}
	trim, err := d.part.Get(ctx, regTrim, 26)
	if err != nil {
		return err
	}
	var hum []byte
	if d.name == partBME280 {
		if hum, err = d.part.Get(ctx, regTrimHum, 7); err != nil {
			return err
		}
	}
	if d.trim, err = newTrimming(trim, hum); err != nil {
		return err
	}
	// Asleep first: in normal mode, in which another program may have left the part, config may not be taken.
	if err := d.part.Put(ctx, regCtrlMeas, d.ctrlMeas()); err != nil {
		return err
	}
	if err := d.part.Put(ctx, regConfig, 0); err != nil { // no filter
		return err
	}
	if d.name == partBME280 {
		return d.part.Put(ctx, regCtrlHum, code(d.times)) // becomes effective with the next ctrl_meas
	}
	return nil
}

func (d *device) ctrlMeas() byte { return code(d.times)<<5 | code(d.times)<<2 }

// idle waits until the flag in status is clear, for 20 ms beyond what was waited before.
func (d *device) idle(ctx context.Context, flag byte) error {
	for range 5 {
		b, err := d.part.Get(ctx, regCtrlHum+1, 1)
		if err != nil || b[0]&flag == 0 {
			return err
		}
		if err := d.part.Wait(ctx, 4*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("busy for ever: register 0x%02x keeps bit 0x%02x", regCtrlHum+1, flag)
}

// convert has one conversion made and reads it.
func (d *device) convert(ctx context.Context) error {
	if err := d.part.Put(ctx, regCtrlMeas, d.ctrlMeas()|modeForced); err != nil {
		return err
	}
	if err := d.part.Wait(ctx, d.takes()); err != nil {
		return err
	}
	if err := d.idle(ctx, isMeasuring); err != nil {
		return err
	}
	set, err := d.part.Get(ctx, regCtrlHum, 4)
	if err != nil {
		return err
	}
	want := []byte{0, 0, d.ctrlMeas(), 0}
	mask := []byte{0, 0, 0xff, 0xfc}
	if d.name == partBME280 {
		want[0], mask[0] = code(d.times), 0x07
	}
	for i := range set {
		if set[i]&mask[i] != want[i] {
			return fmt.Errorf("settings are not what was written, the part was reset or another program uses it: registers from 0x%02x read % x, want % x in the bits % x",
				regCtrlHum, set, want, mask)
		}
	}
	n := 6
	if d.name == partBME280 {
		n = 8
	}
	b, err := d.part.Get(ctx, regResults, n)
	if err != nil {
		return err
	}
	d.out = d.trim.readings(d.out[:0], b)
	return nil
}

// takes returns how long a conversion takes at most (BME280 data sheet page 51): 1.25 ms, 2.3 ms for each conversion, and 0.575 ms
// for pressure and humidity each.
func (d *device) takes() time.Duration {
	quantities := 2
	if d.name == partBME280 {
		quantities = 3
	}
	return 1250*time.Microsecond + time.Duration(quantities*d.times)*2300*time.Microsecond + time.Duration(quantities-1)*575*time.Microsecond
}

// words returns the words of b, which are in order.
func words(b []byte, order binary.ByteOrder) []uint16 {
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = order.Uint16(b[2*i:])
	}
	return out
}
