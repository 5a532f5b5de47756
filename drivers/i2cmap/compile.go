package i2cmap

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// A plan is a map made ready: what is compared, written and read.
type plan struct {
	identity []compared
	init     []written
	settle   time.Duration
	reads    []transfer
	values   []value
}

// A compared is a register that has to read want in the bits of mask; mask nil = it is not read.
type compared struct {
	register   []byte
	want, mask []byte
}

// A written is a register that is written, and how it reads back.
type written struct {
	compared
	bytes []byte // register and value
}

// A transfer is what is read at once.
type transfer struct {
	register []byte
	pause    time.Duration
	length   int
	crc      bool
}

// A value is one channel.
type value struct {
	channel, unit, meaning string
	transfer               int // index in plan.reads
	at, width              int
	isLittle               bool
	zero                   uint64
	zeroMeans              string
	ones                   bool
	shift, bits            int
	signed                 bool
	scale, offset          float64
	isWhole                bool // neither scale nor offset
	min, max               float64
	enum                   map[int64]string
}

// compile returns c made ready, and all that is wrong with it.
func (c *Config) compile() (*plan, []drivers.FieldError) {
	m, out := c.source()
	var can []uint16
	for _, a := range m.Addresses {
		n, err := drivers.ParseI2CAddress(a)
		if err != nil {
			out = append(out, drivers.FieldError{Field: "map", Got: strconv.Quote(a), Problem: "lists an address that is none", Hint: err.Error()})
		}
		can = append(can, n)
	}
	out = append(out, drivers.CheckI2CAddress(c.Address, can...)...)
	p, bad := m.compile()
	if c.Map != "" {
		for i := range bad { // the block has no such setting
			bad[i].Problem = strings.TrimSpace(bad[i].Field + " " + bad[i].Problem)
			bad[i].Field = "map"
		}
		if len(out) > 0 && out[0].Field == "map" { // there is no map: what it lacks is not worth saying
			bad = nil
		}
	}
	return p, append(out, bad...)
}

func (m *Map) compile() (*plan, []drivers.FieldError) {
	p := &plan{settle: m.Settle}
	var out []drivers.FieldError
	note := func(field, got string, err error, hint string) {
		if err != nil {
			out = append(out, drivers.FieldError{Field: field, Got: got, Problem: err.Error(), Hint: hint})
		}
	}
	for i, c := range m.Identity {
		one, field, err := c.compile()
		note(fmt.Sprintf("identity[%d].%s", i, field), "", err, "")
		p.identity = append(p.identity, one)
	}
	for i, w := range m.Init {
		one, field, err := w.compile()
		note(fmt.Sprintf("init[%d].%s", i, field), "", err, "")
		p.init = append(p.init, one)
	}
	if m.Settle < 0 || m.Settle > 10*time.Second {
		note("settle", m.Settle.String(), errors.New("is out of range"), "0 to 10s")
	}
	if n := len(m.Registers); n < 1 || n > 64 {
		note("registers", strconv.Itoa(n), errors.New("are too few or too many"), "1 to 64 of them")
		return p, out
	}
	seen := map[string]bool{}
	for i := range m.Registers {
		r := &m.Registers[i]
		field := fmt.Sprintf("registers[%d].", i)
		note(field+"channel", strconv.Quote(r.Channel), checkName(r.Channel, seen), "")
		for _, bad := range r.check() {
			bad.Field = field + bad.Field
			out = append(out, bad)
		}
		if len(out) == 0 {
			p.add(r)
		}
	}
	if len(out) == 0 && !p.tells() {
		note("identity", "", errors.New("has nothing that tells the part from a bus without one, which reads as 0x00 or 0xff everywhere"),
			"compare a register that reads something else, or write one in init, or use a checksum for all registers")
	}
	return p, out
}

func checkName(name string, seen map[string]bool) error {
	if err := tidegate.CheckName(name); err != nil {
		return err
	}
	if seen[name] {
		return errors.New("is there twice")
	}
	seen[name] = true
	return nil
}

// tells reports whether a bus that reads 0x00 or 0xff everywhere fails: by a comparison, or by the checksum of all that is read.
func (p *plan) tells() bool {
	all := slices.Clone(p.identity)
	for i := range p.init {
		all = append(all, p.init[i].compared)
	}
	isZero, isOne := true, true // a bus that reads so passes
	for _, c := range all {
		for i := range c.mask {
			isZero = isZero && c.want[i] == 0
			isOne = isOne && c.want[i] == c.mask[i]
		}
	}
	return !isZero && !isOne || !slices.ContainsFunc(p.reads, func(t transfer) bool { return !t.crc })
}

// parseHex returns the bytes that s names: 0x and two digits a byte, least to most bytes.
func parseHex(s string, least, most int) ([]byte, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) < least || len(b) > most {
		return nil, fmt.Errorf("is %.40q, want 0x and %d to %d hexadecimal digits, two a byte, in quotes", s, 2*least, 2*most)
	}
	return b, nil
}

// compile returns c made ready, or the field that is wrong and why.
func (c *Check) compile() (out compared, field string, err error) {
	if out.register, err = parseHex(c.Register, 1, 2); err != nil {
		return out, "register", err
	}
	if out.want, err = parseHex(c.Want, 1, 8); err != nil {
		return out, "want", err
	}
	n := len(out.want)
	if c.Mask == "" {
		out.mask = slices.Repeat([]byte{0xff}, n)
	} else if out.mask, err = parseHex(c.Mask, n, n); err != nil {
		return out, "mask", err
	}
	for i := range out.want {
		if out.want[i]&^out.mask[i] != 0 {
			return out, "want", fmt.Errorf("is 0x%x, with bits that the mask 0x%x leaves out", out.want, out.mask)
		}
	}
	return out, "", nil
}

func (w *Write) compile() (out written, field string, err error) {
	register, err := parseHex(w.Register, 1, 2)
	if err != nil {
		return out, "register", err
	}
	v, err := parseHex(w.Value, 0, 8)
	if err != nil {
		return out, "value", err
	}
	mask := slices.Repeat([]byte{0xff}, len(v))
	if w.Mask != "" {
		if mask, err = parseHex(w.Mask, len(v), len(v)); err != nil {
			return out, "mask", err
		}
	}
	out.bytes = slices.Concat(register, v)
	for i := range v {
		v[i] &= mask[i]
	}
	if !slices.ContainsFunc(mask, func(b byte) bool { return b != 0 }) {
		mask = nil
	}
	out.compared = compared{register: register, want: v, mask: mask}
	return out, "", nil
}

// check returns what is wrong with r.
func (r *Register) check() []drivers.FieldError {
	var out []drivers.FieldError
	note := func(isBad bool, field string, got any, problem, hint string) {
		if isBad {
			out = append(out, drivers.FieldError{Field: field, Got: fmt.Sprint(got), Problem: problem, Hint: hint})
		}
	}
	if _, err := parseHex(r.Register, 1, 2); err != nil {
		out = append(out, drivers.FieldError{Field: "register", Problem: err.Error()})
	}
	note(r.Pause < 0 || r.Pause > 5*time.Second, "pause", r.Pause, "is out of range", "0 to 5s")
	if r.Width < 1 || r.Width > 6 {
		note(true, "width", r.Width, "is out of range", "1 to 6 bytes")
		return out
	}
	length := r.length()
	note(length > 32, "length", length, "is out of range", "1 to 32 bytes")
	note(r.At < 0 || r.At+r.Width > length, "at", r.At, fmt.Sprintf("leaves no %d bytes of %d", r.Width, length), "")
	out = append(out, drivers.OneOf("order", r.Order, "", "big", "little")...)
	out = append(out, drivers.OneOf("crc", r.CRC, "", "sensirion")...)
	note(r.CRC != "" && (length%3 != 0 || r.At%3+r.Width > 2), "crc", r.CRC, "is there after each two bytes, so length is a multiple of three and a value at most two bytes", "")
	if r.Zero != "" {
		if _, err := parseHex(r.Zero, r.Width, r.Width); err != nil {
			out = append(out, drivers.FieldError{Field: "zero", Problem: err.Error()})
		}
	}
	rest := 8*r.Width - r.Shift
	note(r.Shift < 0 || rest < 1, "shift", r.Shift, fmt.Sprintf("leaves nothing of %d bits", 8*r.Width), "")
	note(r.Bits < 0 || r.Bits > max(rest, 0), "bits", r.Bits, fmt.Sprintf("are more than the %d that there are", rest), "")
	return append(out, r.checkNumber()...)
}

// checkNumber returns what is wrong with what becomes of the number.
func (r *Register) checkNumber() []drivers.FieldError {
	var out []drivers.FieldError
	note := func(isBad bool, field string, got any, problem, hint string) {
		if isBad {
			out = append(out, drivers.FieldError{Field: field, Got: fmt.Sprint(got), Problem: problem, Hint: hint})
		}
	}
	isNumber := func(f float64) bool { return !math.IsNaN(f) && math.Abs(f) <= 1e12 }
	if r.Scale != nil {
		note(!isNumber(*r.Scale) || *r.Scale == 0, "scale", *r.Scale, "makes no number of a register", "")
	}
	note(!isNumber(r.Offset), "offset", r.Offset, "makes no number of a register", "")
	if r.Enum != nil {
		note(len(r.Enum) == 0, "enum", "{}", "lists nothing", "leave it out, or list the numbers with their texts")
		note(r.Scale != nil || r.Offset != 0, "enum", "scale or offset", "is of numbers that are not scaled", "leave out scale and offset")
		note(r.Min != nil || r.Max != nil, "enum", "min or max", "lists all that is allowed", "leave out min and max")
		return out
	}
	if r.Min == nil || r.Max == nil {
		note(true, "min", "nothing", "and max are needed", "what the document says that the part can measure")
		return out
	}
	note(!(*r.Min < *r.Max), "min", *r.Min, fmt.Sprintf("is not below max, which is %v", *r.Max), "")
	return out
}

// length returns how many bytes are read for r.
func (r *Register) length() int {
	need := r.At + r.Width
	if r.CRC != "" {
		need = (need + 2) / 3 * 3
	}
	return cmp.Or(r.Length, need)
}

// add puts r, which is checked, into the plan.
func (p *plan) add(r *Register) {
	register, _ := parseHex(r.Register, 1, 2)
	t := transfer{register: register, pause: r.Pause, length: r.length(), crc: r.CRC != ""}
	i := slices.IndexFunc(p.reads, func(have transfer) bool {
		return slices.Equal(have.register, t.register) && have.pause == t.pause && have.length == t.length && have.crc == t.crc
	})
	if i < 0 {
		i = len(p.reads)
		p.reads = append(p.reads, t)
	}
	v := value{
		channel: r.Channel, unit: r.Unit, meaning: cmp.Or(r.Meaning, "register "+r.Register),
		transfer: i, at: r.At, width: r.Width, isLittle: r.Order == "little",
		zeroMeans: r.Means, ones: r.Ones,
		shift: r.Shift, bits: cmp.Or(r.Bits, 8*r.Width-r.Shift), signed: r.Signed,
		scale: 1, offset: r.Offset, isWhole: r.Scale == nil && r.Offset == 0, enum: r.Enum,
	}
	if zero, _ := parseHex(r.Zero, 0, r.Width); len(zero) > 0 {
		v.zero = number(zero, false)
	}
	if r.Scale != nil {
		v.scale = *r.Scale
	}
	if r.Enum == nil {
		v.min, v.max = *r.Min, *r.Max
	}
	p.values = append(p.values, v)
}
