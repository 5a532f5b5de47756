package bme280

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/tidegate-io/tidegate"
)

// The registers of the BMP180, and what stands in ctrl_meas (data sheet page 15).
const (
	regCal180     = 0xaa
	regResult180  = 0xf6
	startTemp     = 0x2e
	startPressure = 0x34
	isRunning     = 0x20
)

// A device180 is an open BMP180.
type device180 struct {
	*device
	cal []uint16 // AC1 to AC6, B1, B2, MB, MC, MD
}

// Read converts temperature and pressure once and reports them.
func (d *device180) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if err := d.part.Do(ctx, d.setUp, d.convert); err != nil {
		return nil, fmt.Errorf("read %s at %w", d.name, err)
	}
	return d.out, nil
}

func (d *device180) setUp(ctx context.Context) error {
	if err := d.identify(ctx); err != nil {
		return err
	}
	b, err := d.part.Get(ctx, regCal180, 22)
	if err != nil {
		return err
	}
	d.cal = words(b, binary.BigEndian)
	for i, w := range d.cal {
		if w == 0 || w == 0xffff { // BMP085 data sheet page 12
			return fmt.Errorf("calibration value at 0x%02x is 0x%04x, and no part has that: all of them read % x", regCal180+2*i, w, b)
		}
	}
	return nil
}

func (d *device180) convert(ctx context.Context) error {
	oss := byte(bits.Len(uint(d.times)) - 1)
	ut, err := d.one(ctx, startTemp, 2, 4500*time.Microsecond)
	if err != nil {
		return err
	}
	// BMP085 data sheet page 12: 4.5, 7.5, 13.5 and 25.5 ms.
	up, err := d.one(ctx, startPressure|oss<<6, 3, 1500*time.Microsecond+3000*time.Microsecond<<oss)
	if err != nil {
		return err
	}
	d.out = compute180(d.out[:0], d.cal, int64(ut), int64(up>>(8-oss)), oss)
	return nil
}

// one has one conversion made and returns its n bytes.
func (d *device180) one(ctx context.Context, start byte, n int, takes time.Duration) (int, error) {
	if err := d.part.Put(ctx, regCtrlMeas, start); err != nil {
		return 0, err
	}
	if err := d.part.Wait(ctx, takes); err != nil {
		return 0, err
	}
	b, err := d.part.Get(ctx, regCtrlMeas, 1)
	if err != nil {
		return 0, err
	}
	if b[0]&isRunning != 0 {
		return 0, fmt.Errorf("still busy after %v: register 0x%02x reads 0x%02x", takes, regCtrlMeas, b[0])
	}
	if b, err = d.part.Get(ctx, regResult180, n); err != nil {
		return 0, err
	}
	raw := 0
	for _, v := range b {
		raw = raw<<8 | int(v)
	}
	return raw, nil
}

// compute180 appends what the raw temperature ut and pressure up say, converted at oversampling oss (data sheet page 15).
func compute180(out []tidegate.Reading, cal []uint16, ut, up int64, oss byte) []tidegate.Reading {
	s := func(i int) int64 { return int64(int16(cal[i])) }
	u := func(i int) int64 { return int64(cal[i]) }
	temp := tidegate.Reading{Channel: chanTemp, Unit: "Cel"}
	pressure := tidegate.Reading{Channel: chanPressure, Unit: "hPa"}
	x1 := (ut - u(5)) * u(4) >> 15
	var b5 int64
	if div := x1 + s(10); div == 0 {
		temp.Fault = fmt.Sprintf("the raw temperature 0x%04x and the calibration values divide by zero", ut)
	} else {
		b5 = x1 + s(9)<<11/div
		settle(&temp, float64((b5+8)>>4)/10, -40, 85)
	}
	if temp.Fault != "" {
		pressure.Fault = "cannot be computed without the temperature: " + temp.Fault
		return append(out, temp, pressure)
	}
	b6 := b5 - 4000
	b3 := ((s(0)*4+(s(7)*(b6*b6>>12)>>11)+(s(1)*b6>>11))<<oss + 2) / 4
	b4 := u(3) * ((s(2)*b6>>13+s(6)*(b6*b6>>12)>>16+2)>>2 + 32768) >> 15
	if b4 == 0 {
		pressure.Fault = fmt.Sprintf("the raw pressure 0x%05x and the calibration values divide by zero", up)
		return append(out, temp, pressure)
	}
	b7 := (up - b3) * (50000 >> oss)
	p := b7 * 2 / b4
	p += ((p>>8)*(p>>8)*3038>>16 + -7357*p>>16 + 3791) >> 4
	settle(&pressure, float64(p)/100, 300, 1100)
	return append(out, temp, pressure)
}
