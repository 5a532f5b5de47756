package bme280

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/tidegate-io/tidegate"
)

// A trimming holds the trimming values of one part, by which its raw results become physical ones.
type trimming struct {
	t   [3]float64 // T1 to T3
	p   [9]float64 // P1 to P9
	h   [6]float64 // H1 to H6
	hum bool       // it has h
}

// newTrimming reads the trimming values (BME280 data sheet page 22): 26 bytes from 0x88 on and, of a part with humidity, 7 from 0xe1 on.
func newTrimming(tp, hum []byte) (trimming, error) {
	w := words(tp[:24], binary.LittleEndian)
	for _, i := range []int{0, 1, 3} { // T1 and T2 scale the temperature, P1 divides the pressure
		if w[i] == 0 || w[i] == 0xffff {
			return trimming{}, fmt.Errorf("trimming value at 0x%02x is 0x%04x, and no part has that: all of them read % x", regTrim+2*i, w[i], tp[:24])
		}
	}
	out := trimming{hum: len(hum) == 7}
	for i, v := range w {
		f := float64(int16(v))
		if i == 0 || i == 3 { // T1 and P1 are unsigned
			f = float64(v)
		}
		if i < 3 {
			out.t[i] = f
		} else {
			out.p[i-3] = f
		}
	}
	if !out.hum {
		return out, nil
	}
	h2 := int16(binary.LittleEndian.Uint16(hum))
	if h2 == 0 || h2 == -1 {
		return trimming{}, fmt.Errorf("trimming value at 0x%02x is 0x%04x, and no part has that: all of them read % x", regTrimHum, uint16(h2), hum)
	}
	h4 := int16(int8(hum[3]))<<4 | int16(hum[4]&0x0f)
	h5 := int16(int8(hum[5]))<<4 | int16(hum[4]>>4)
	out.h = [6]float64{float64(tp[25]), float64(h2), float64(hum[2]), float64(h4), float64(h5), float64(int8(hum[6]))}
	return out, nil
}

// readings appends what the results b say, 6 bytes or, with humidity, 8 (BME280 data sheet page 25): pressure, temperature, humidity.
func (t *trimming) readings(out []tidegate.Reading, b []byte) []tidegate.Reading {
	rawP := int(b[0])<<12 | int(b[1])<<4 | int(b[2])>>4
	rawT := int(b[3])<<12 | int(b[4])<<4 | int(b[5])>>4
	temp := tidegate.Reading{Channel: chanTemp, Unit: "Cel"}
	pressure := tidegate.Reading{Channel: chanPressure, Unit: "hPa"}
	humidity := tidegate.Reading{Channel: chanHumidity, Unit: "%RH"}
	var fine float64 // 5120 per Cel; the other two depend on it
	if temp.Fault = rawFault(rawT, 20); temp.Fault == "" {
		fine = t.fine(rawT)
		settle(&temp, fine/5120, -40, 85)
	}
	if temp.Fault != "" {
		pressure.Fault = "cannot be computed without the temperature: " + temp.Fault
		humidity.Fault = pressure.Fault
	}
	if pressure.Fault == "" {
		if pressure.Fault = rawFault(rawP, 20); pressure.Fault == "" {
			settle(&pressure, t.pascal(rawP, fine)/100, 300, 1100)
		}
	}
	out = append(out, temp, pressure)
	if !t.hum {
		return out
	}
	if rawH := int(b[6])<<8 | int(b[7]); humidity.Fault == "" {
		if humidity.Fault = rawFault(rawH, 16); humidity.Fault == "" {
			settle(&humidity, t.humidity(rawH, fine), 0, 100)
		}
	}
	return append(out, humidity)
}

// rawFault returns what is wrong with a raw result of so many bits; "" = nothing. The middle is what a register holds before any
// conversion (BME280 data sheet page 25), the ends are those of the converter.
func rawFault(raw, bits int) string {
	switch raw {
	case 1 << (bits - 1):
		return fmt.Sprintf("was not converted: the result reads 0x%x, as after a reset", raw)
	case 0, 1<<bits - 1:
		return fmt.Sprintf("the converter is at its end: the result reads 0x%x, want 0x1 to 0x%x", raw, 1<<bits-2)
	}
	return ""
}

// settle makes v, rounded to hundredths, the value of r, or a fault when it is not within low and high.
func settle(r *tidegate.Reading, v, low, high float64) {
	if v = math.Round(v*100) / 100; !(v >= low && v <= high) { // not of NaN either
		r.Fault = fmt.Sprintf("%s is %v %s, want %v to %v", r.Channel, v, r.Unit, low, high)
		return
	}
	r.Value = tidegate.Float(v)
}

// fine returns the temperature in units of 1/5120 Cel (BMP280 data sheet page 44).
func (t *trimming) fine(raw int) float64 {
	d := float64(raw)/16384 - t.t[0]/1024
	return d*t.t[1] + d*d/64*t.t[2]
}

// pascal returns the pressure in Pa (BMP280 data sheet page 44); with a divisor of zero it is no number.
func (t *trimming) pascal(raw int, fine float64) float64 {
	d := fine/2 - 64000
	bias := (d*d*t.p[5]/32768+d*t.p[4]*2)/4 + t.p[3]*65536
	gain := (1 + (t.p[2]*d*d/524288+t.p[1]*d)/524288/32768) * t.p[0]
	if gain == 0 {
		return math.NaN()
	}
	p := (1048576 - float64(raw) - bias/4096) * 6250 / gain
	return p + (t.p[8]*p*p/2147483648+p*t.p[7]/32768+t.p[6])/16
}

// humidity returns the relative humidity in %RH (BME280 data sheet section 8.1), without the limits that stand there.
func (t *trimming) humidity(raw int, fine float64) float64 {
	d := fine - 76800
	v := (float64(raw) - (t.h[3]*64 + t.h[4]/16384*d)) *
		(t.h[1] / 65536 * (1 + t.h[5]/67108864*d*(1+t.h[2]/67108864*d)))
	return v * (1 - t.h[0]*v/524288)
}
