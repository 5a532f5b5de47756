package intake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/unit"
)

// HiddenFault stands in the place of a fault's text where it may cite what nobody is to see.
const HiddenFault = "redacted fault"

const (
	// hashBytes are those of a hash that are kept: 128 bits.
	hashBytes = 16
	// maxKnown bounds the channels of which a Chain knows what is done with them; more are looked up each time.
	maxKnown = 10_000
	// maxUnits bounds the units of which it knows how they are converted.
	maxUnits = 1_000
)

// A Chain is what is done with the readings of one device, in its order. It is not safe for concurrent use, but for Hides, Error and Mark. The nil
// Chain does nothing.
type Chain struct {
	device string
	steps  []*work
	hides  bool
	known  map[string][]*work // by channel
	bytes  []byte             // reused, as are the next two
	sum    [sha256.Size]byte
	text   [2 * hashBytes]byte
}

// A work is a Step that runs.
type work struct {
	Step
	mac hash.Hash      // of hash
	by  map[string]way // of convert, by the unit of the reading
}

// A way leads from one unit to another.
type way struct {
	by    unit.Conversion
	fault string // why it does not; "" = it does
}

// For returns what steps do with the readings of a device; nil = nothing. channels are those that it reports, as far as they are known beforehand.
func For(steps []Step, device string, channels []string) *Chain {
	c := &Chain{device: device, known: map[string][]*work{}}
	for i := range steps {
		own, ok := steps[i].of(device)
		if !ok {
			continue
		}
		w := &work{Step: own}
		switch own.Do {
		case Hash:
			w.mac = hmac.New(sha256.New, own.Key.bytes())
		case Convert:
			w.by = map[string]way{}
		}
		c.steps = append(c.steps, w)
		c.hides = c.hides || own.hides() && (len(channels) == 0 ||
			slices.ContainsFunc(channels, func(ch string) bool { return own.Concerns(device + "." + ch) }))
	}
	if len(c.steps) == 0 {
		return nil
	}
	return c
}

// Hides reports whether a channel of the device is redacted or hashed. What its driver says of the device as a whole is hidden then.
func (c *Chain) Hides() bool { return c != nil && c.hides }

// Mark tells what c does from what others do.
func (c *Chain) Mark() string {
	if c == nil {
		return ""
	}
	var b strings.Builder
	for _, w := range c.steps {
		b.WriteString(strings.Join(w.Channels, " ") + " " + w.Mark())
	}
	return b.String()
}

// Apply does it with list, readings of the device.
func (c *Chain) Apply(list []tidegate.Reading) {
	if c == nil {
		return
	}
	for i := range list {
		x := &list[i]
		if strings.HasPrefix(x.Channel, "_") {
			if c.hides && x.Fault != "" {
				x.Fault = HiddenFault
			}
			continue
		}
		for _, w := range c.find(x.Channel) {
			c.apply(w, x)
		}
	}
}

// HidesOf reports whether the channel is redacted or hashed.
func (c *Chain) HidesOf(channel string) bool {
	return c != nil && slices.ContainsFunc(c.find(channel), func(w *work) bool { return w.hides() })
}

// find returns what is done with the channel.
func (c *Chain) find(channel string) (list []*work) {
	list, ok := c.known[channel]
	if ok {
		return list
	}
	name := c.device + "." + channel
	for _, w := range c.steps {
		if w.Concerns(name) {
			list = append(list, w)
		}
	}
	if len(c.known) < maxKnown {
		c.known[strings.Clone(channel)] = list
	}
	return list
}

func (c *Chain) apply(w *work, x *tidegate.Reading) {
	switch {
	case w.Do == Convert:
		w.convert(x)
	case x.Fault != "":
		x.Value, x.Unit, x.Fault = tidegate.Value{}, "", HiddenFault
	case w.Do == Redact:
		x.Value, x.Unit = tidegate.Text(w.Text), ""
	default:
		w.mac.Reset()
		c.bytes = canonical(c.bytes[:0], x.Value)
		w.mac.Write(c.bytes) // a hash takes all bytes
		hex.Encode(c.text[:], w.mac.Sum(c.sum[:0])[:hashBytes])
		x.Value, x.Unit = tidegate.Text(string(c.text[:])), ""
	}
}

// canonical appends what is hashed of v: the word of its kind, a zero byte, and its text. Numbers are written as decimals without an exponent,
// whatever they are stored as, so that equal ones have one hash.
func canonical(b []byte, v tidegate.Value) []byte {
	b = append(append(b, v.Kind().String()...), 0)
	k, bits, text := v.Raw()
	switch k {
	case tidegate.KindFloat:
		f := math.Float64frombits(bits)
		if f == 0 {
			f = 0 // without a sign
		}
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	case tidegate.KindText:
		return append(b, text...)
	}
	return append(b, v.String()...)
}

// convert makes the value one in another unit, or says by a fault why it is none.
func (w *work) convert(x *tidegate.Reading) {
	if x.Fault != "" {
		if x.Unit != "" {
			x.Unit = w.Unit
		}
		return
	}
	f, ok := x.Value.Number()
	if k := x.Value.Kind(); !ok || k == tidegate.KindBool {
		*x = faulty(x, fmt.Sprintf("value is a %s in unit %q and cannot be converted to %q: only numbers can", k, x.Unit, w.Unit))
		return
	}
	to, ok := w.by[x.Unit]
	if !ok {
		to = w.way(x.Unit)
	}
	if to.fault != "" {
		*x = faulty(x, to.fault)
		return
	}
	v := to.by.Of(f) // NaN and infinite values stay what they are
	if math.IsInf(v, 0) && !math.IsInf(f, 0) {
		*x = faulty(x, fmt.Sprintf("%g %s is more than a number in %s can be", f, x.Unit, w.Unit))
		return
	}
	x.Value, x.Unit = tidegate.Float(v), w.Unit
}

// way returns how a number in the unit from is converted, and keeps that.
func (w *work) way(from string) (to way) {
	var err error
	if to.by, err = unit.Convert(from, w.Unit); err != nil {
		to.fault = fmt.Sprintf("number in unit %q cannot be converted to %q: %v", from, w.Unit, err)
	}
	if len(w.by) < maxUnits {
		w.by[strings.Clone(from)] = to
	}
	return to
}

// faulty returns x with a fault in the place of its value.
func faulty(x *tidegate.Reading, text string) tidegate.Reading {
	return tidegate.Reading{Device: x.Device, Channel: x.Channel, Time: x.Time, Fault: text}
}

// hidden is an error whose text nobody is to see. What it wraps can be asked for all the same.
type hidden struct{ cause error }

func (hidden) Error() string   { return HiddenFault }
func (h hidden) Unwrap() error { return h.cause }

// Said returns what may be seen of v, with which the device's driver panicked.
func (c *Chain) Said(v any) any {
	if c.Hides() {
		return HiddenFault
	}
	return v
}

// Error returns what may be seen of err, which the device's driver gives.
func (c *Chain) Error(err error) error {
	if err == nil || !c.Hides() {
		return err
	}
	return hidden{err}
}
