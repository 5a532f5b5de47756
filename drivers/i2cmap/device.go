package i2cmap

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// A device is an open part.
type device struct {
	part *drivers.I2CPart
	plan *plan
	got  [][]byte // what was read, as plan.reads
	out  []tidegate.Reading
}

// Close ends the use of the part.
func (d *device) Close() error { return d.part.Close() }

// Read compares what identifies the part and how it is set up, and reads all registers.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if err := d.part.Do(ctx, d.setUp, d.read); err != nil {
		return nil, fmt.Errorf("read part at %w", err)
	}
	return d.out, nil
}

func (d *device) setUp(ctx context.Context) error {
	if err := d.compare(ctx, d.plan.identity, "it is another part"); err != nil {
		return err
	}
	for _, w := range d.plan.init {
		if err := d.part.Tx(ctx, w.bytes, nil); err != nil {
			return fmt.Errorf("write register 0x%x: %w", w.register, err)
		}
	}
	return d.part.Wait(ctx, d.plan.settle)
}

// compare reads the registers and returns an error if one is not as it has to be; else says what else it may mean.
func (d *device) compare(ctx context.Context, list []compared, meaning string) error {
	for _, c := range list {
		if c.mask == nil {
			continue
		}
		b := make([]byte, len(c.want))
		if err := d.part.Tx(ctx, c.register, b); err != nil {
			return fmt.Errorf("read register 0x%x: %w", c.register, err)
		}
		for i := range b {
			if b[i]&c.mask[i] != c.want[i] {
				return fmt.Errorf("register 0x%x reads 0x%x, want 0x%x in the bits 0x%x: %s, or nothing drives the bus",
					c.register, b, c.want, c.mask, meaning)
			}
		}
	}
	return nil
}

func (d *device) read(ctx context.Context) error {
	if err := d.compare(ctx, d.plan.identity, "it is another part"); err != nil {
		return err
	}
	for _, w := range d.plan.init {
		if err := d.compare(ctx, []compared{w.compared}, "the part was reset, or another program uses it"); err != nil {
			return err
		}
	}
	d.got = d.got[:0]
	for i := range d.plan.reads {
		b, err := d.transfer(ctx, &d.plan.reads[i])
		if err != nil {
			return fmt.Errorf("read register 0x%x: %w", d.plan.reads[i].register, err)
		}
		d.got = append(d.got, b)
	}
	d.out = d.out[:0]
	for i := range d.plan.values {
		v := &d.plan.values[i]
		d.out = append(d.out, v.reading(d.got[v.transfer], d.plan.reads[v.transfer].crc))
	}
	return nil
}

func (d *device) transfer(ctx context.Context, t *transfer) ([]byte, error) {
	b := make([]byte, t.length)
	if t.pause == 0 {
		return b, d.part.Tx(ctx, t.register, b)
	}
	if err := d.part.Tx(ctx, t.register, nil); err != nil {
		return nil, err
	}
	if err := d.part.Wait(ctx, t.pause); err != nil {
		return nil, err
	}
	return b, d.part.Tx(ctx, nil, b)
}

// reading returns what the transfer b says of v.
func (v *value) reading(b []byte, crc bool) tidegate.Reading {
	r := tidegate.Reading{Channel: v.channel, Unit: v.unit}
	if crc {
		if r.Fault = checksums(b); r.Fault != "" {
			return r
		}
	}
	own := b[v.at : v.at+v.width]
	raw := number(own, v.isLittle)
	switch {
	case raw == 1<<(8*v.width)-1 && !v.ones:
		r.Fault = fmt.Sprintf("all bits of %s are set (0x%x): nothing drives the bus", v.channel, own)
		return r
	case raw&v.zero != 0 && v.zeroMeans != "":
		r.Fault = fmt.Sprintf("%s: %s reads 0x%x, want the bits 0x%x zero", v.zeroMeans, v.channel, own, v.zero)
		return r
	case raw&v.zero != 0:
		r.Fault = fmt.Sprintf("%s reads 0x%x, want the bits 0x%x zero: it is another part", v.channel, own, v.zero)
		return r
	}
	n := int64(raw >> v.shift & (1<<v.bits - 1))
	if v.signed && n>>(v.bits-1) != 0 {
		n -= 1 << v.bits
	}
	if v.enum != nil {
		text, ok := v.enum[n]
		if !ok {
			r.Fault = fmt.Sprintf("%s is %d, which the map has no text for (0x%x)", v.channel, n, own)
			return r
		}
		r.Value = tidegate.Text(text)
		return r
	}
	f := tidy(float64(n)*v.scale + v.offset)
	switch {
	case !(f >= v.min && f <= v.max):
		r.Fault = fmt.Sprintf("%s is %v %s, want %v to %v (0x%x)", v.channel, f, v.unit, v.min, v.max, own)
	case v.isWhole:
		r.Value = tidegate.Int(n)
	default:
		r.Value = tidegate.Float(f)
	}
	return r
}

// tidy returns f to twelve significant digits, so that 213 by 0.1 is 21.3.
func tidy(f float64) float64 {
	out, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 12, 64), 64) // always a number
	return out
}

// number returns the number that the bytes b, at most 8, are.
func number(b []byte, isLittle bool) uint64 {
	var out uint64
	for i := range b {
		if isLittle {
			out |= uint64(b[i]) << (8 * i)
		} else {
			out = out<<8 | uint64(b[i])
		}
	}
	return out
}

// checksums returns what is wrong with the checksums of b, one after each two bytes; "" = nothing.
func checksums(b []byte) string {
	for ; len(b) >= 3; b = b[3:] {
		if sum := crc8(b[:2]); sum != b[2] {
			return fmt.Sprintf("checksum of 0x%x is 0x%02x, want 0x%02x: the transfer was disturbed, or it is another part", b[:2], b[2], sum)
		}
	}
	return ""
}

// crc8 returns Sensirion's checksum: polynomial x^8+x^5+x^4+1, initial value 0xff (SHT3x-DIS data sheet, version 5, table 20).
func crc8(b []byte) byte {
	sum := byte(0xff)
	for _, c := range b {
		sum ^= c
		for range 8 {
			carry := sum>>7 != 0
			if sum <<= 1; carry {
				sum ^= 0x31
			}
		}
	}
	return sum
}
