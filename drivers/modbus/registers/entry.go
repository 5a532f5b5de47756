// Package registers says what the registers and bits of a Modbus unit mean: which places an entry of a configuration or a map names, what
// Value their bytes are, and which bytes a Value is. It asks nobody anything.
package registers

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// MostRegisters is how many registers one request reads at most, "MODBUS Application Protocol V1.1b3" sections 6.3 and 6.4.
const MostRegisters = 125

// Entry is one value, or a row of values of the same kind, in one of the unit's four tables.
// The pointers tell what was not set from what was set to zero.
type Entry struct {
	Channel string           `yaml:"channel" doc:"name of the channel; with count, the names are this with 0, 1, 2 ... behind"`
	Table   string           `yaml:"table" doc:"holding (function 03, the default), input (04), coil (01) or discrete (02)"`
	Address *int             `yaml:"address" doc:"address of the first register or bit on the wire, 0 to 65535"`
	Type    string           `yaml:"type" doc:"uint16 (the default), int16, int32, uint32, int64, uint64, float32, float64, bool (with bit) or string (with length); coils and discrete inputs are bool"`
	Order   string           `yaml:"order" doc:"order of the bytes: ABCD (big-endian, the default), CDAB (low register first), BADC (bytes swapped in each register) or DCBA (little-endian)"`
	Bit     *int             `yaml:"bit" doc:"which bit of the register a bool is, 0 (lowest) to 15"`
	Length  *int             `yaml:"length" doc:"how many registers a string has, two characters each, 1 to 125"`
	Count   *int             `yaml:"count" doc:"how many values follow each other from address on; not set = 1"`
	Scale   *float64         `yaml:"scale" doc:"factor from the register's number to the unit; not set = 1"`
	Offset  float64          `yaml:"offset" doc:"what is added after scaling"`
	Unit    string           `yaml:"unit" doc:"unit of the scaled value, for instance Cel, V, kWh"`
	Enum    map[int64]string `yaml:"enum" doc:"texts for numbers: {0: off, 1: on}; a number that is not listed is a fault"`
	Min     *float64         `yaml:"min" doc:"least value that can be true, after scaling; below it is a fault, and an output is not set to it"`
	Max     *float64         `yaml:"max" doc:"greatest value that can be true, after scaling; above it is a fault, and an output is not set to it"`

	Write     bool           `yaml:"write" doc:"the channel can be set: coil and holding only, and no bit of a register and no string"`
	WriteWith string         `yaml:"write_with" doc:"single (function 05 or 06: one coil, one register) or multiple (15 or 16); not set = single where that is enough"`
	Safe      tidegate.Value `yaml:"safe" doc:"where an output goes when the gateway stops or has died; not set = it stays as it is"`
	Pause     time.Duration  `yaml:"pause" doc:"least time between two changes of an output, 0s to 24h; a value that comes earlier waits, and the newest wins"`
}

// typeForms says what each type is: how the number is built, and from how many registers (0 = the setting `length` says).
var typeForms = map[string]struct {
	form form
	size int
}{
	"int16": {formInt, 1}, "int32": {formInt, 2}, "int64": {formInt, 4},
	"uint16": {formUint, 1}, "uint32": {formUint, 2}, "uint64": {formUint, 4},
	"float32": {formFloat, 2}, "float64": {formFloat, 4},
	"bool": {formBit, 1}, "string": {formText, 0},
}

// orders says what each order means: whether bytes are swapped within a register, whether the low register comes first.
var orders = map[string]struct{ bytes, words bool }{
	"": {}, "ABCD": {}, "CDAB": {words: true}, "BADC": {bytes: true}, "DCBA": {bytes: true, words: true},
}

// tables names the four tables; their numbers are the functions that read them.
var tables = map[string]link.Table{
	"": link.Holding, "holding": link.Holding, "input": link.Input, "coil": link.Coil, "discrete": link.Discrete,
}

// Values returns the values that r describes, and what is wrong with it; with faults there are no values.
//
// maxQuantity is how many registers one request asks for at most.
func (r *Entry) Values(maxQuantity int) ([]Value, []drivers.FieldError) {
	c := entryCheck{r: r}
	v := Value{Unit: r.Unit, min: math.Inf(-1), max: math.Inf(1), enum: r.Enum}
	c.place(&v)
	c.form(&v, maxQuantity)
	c.number(&v)
	c.texts(&v)
	c.output(&v)
	count := c.row(&v)
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	row := make([]Value, count)
	for i := range row {
		row[i] = v
		row[i].Channel = r.Channel
		if r.Count != nil && *r.Count > 1 {
			row[i].Channel += strconv.Itoa(i)
		}
		row[i].Address += i * v.Size
	}
	return row, nil
}

// entryCheck gathers what is wrong with one entry.
type entryCheck struct {
	r    *Entry
	errs []drivers.FieldError
}

func (c *entryCheck) add(field, got, problem, hint string) {
	c.errs = append(c.errs, drivers.FieldError{Field: field, Got: got, Problem: problem, Hint: hint})
}

const countHint = `addresses count from 0: "40001" in a manual is table holding, address 0`

// place checks table and address.
func (c *entryCheck) place(v *Value) {
	t, ok := tables[c.r.Table]
	if !ok {
		c.add("table", c.r.Table, "want holding, input, coil or discrete", "")
		t = link.Holding
	}
	v.Table = t
	switch {
	case c.r.Address == nil:
		c.add("address", "", "not set", countHint)
	case *c.r.Address < 0 || *c.r.Address >= link.Addresses:
		c.add("address", strconv.Itoa(*c.r.Address), "want 0 to 65535", countHint)
	default:
		v.Address = *c.r.Address
	}
}

// form checks what a value is made of: type, bit, length, order.
func (c *entryCheck) form(v *Value, maxQuantity int) {
	r := c.r
	o, ok := orders[r.Order]
	if !ok {
		c.add("order", r.Order, "want ABCD, CDAB, BADC or DCBA", "")
	}
	v.swapBytes, v.swapWords = o.bytes, o.words
	typ := r.Type
	if typ == "" {
		typ = "uint16"
		if v.Table.IsBits() {
			typ = "bool"
		}
	}
	t, ok := typeForms[typ]
	if !ok {
		c.add("type", r.Type, "want int16, uint16, int32, uint32, int64, uint64, float32, float64, bool or string", "")
		t = typeForms["uint16"]
	}
	v.form, v.Size = t.form, t.size
	switch {
	case v.Table.IsBits() && typ != "bool":
		c.add("type", r.Type, "coils and discrete inputs are bool", "leave type out")
	case v.Table.IsBits() && r.Bit != nil:
		c.add("bit", strconv.Itoa(*r.Bit), "coils and discrete inputs have no bits", "address names the bit")
	case r.Bit != nil && typ != "bool":
		c.add("bit", strconv.Itoa(*r.Bit), "only a bool is a bit of a register", "set type: bool")
	case typ == "bool" && !v.Table.IsBits() && r.Bit == nil:
		c.add("bit", "", "not set", "say which bit of the register it is, 0 (lowest) to 15")
	case r.Bit != nil && (*r.Bit < 0 || *r.Bit > 15):
		c.add("bit", strconv.Itoa(*r.Bit), "want 0 (lowest) to 15", "")
	case r.Bit != nil:
		v.bit = *r.Bit
	}
	if typ == "string" {
		c.text(v, maxQuantity)
	} else if r.Length != nil {
		c.add("length", strconv.Itoa(*r.Length), "only a string has a length", "")
	}
	if v.Size > maxQuantity && typ != "string" {
		c.add("type", typ, fmt.Sprintf("needs %d registers in one request, max_quantity is %d", v.Size, maxQuantity), "")
	}
}

// text checks length and order of a string.
func (c *entryCheck) text(v *Value, maxQuantity int) {
	v.Size = 1
	switch n := c.r.Length; {
	case n == nil:
		c.add("length", "", "not set", "say how many registers the string has, two characters each")
	case *n < 1 || *n > MostRegisters:
		c.add("length", strconv.Itoa(*n), "want 1 to 125 registers", "")
	case *n > maxQuantity:
		c.add("length", strconv.Itoa(*n), fmt.Sprintf("needs %d registers in one request, max_quantity is %d", *n, maxQuantity), "")
	default:
		v.Size = *n
	}
	if v.swapWords {
		c.add("order", c.r.Order, "the characters of a string come first register first", "want ABCD or BADC")
	}
}

// number checks scale, offset, min and max.
func (c *entryCheck) number(v *Value) {
	r := c.r
	scale := 1.0
	if r.Scale != nil {
		scale = *r.Scale
	}
	isNumber := v.form == formInt || v.form == formUint || v.form == formFloat
	switch {
	case scale == 0 || !isFinite(scale):
		c.add("scale", formatNumber(scale), "want a number other than 0", "")
	case scale != 1 && !isNumber:
		c.add("scale", formatNumber(scale), "only numbers are scaled", "")
	}
	switch {
	case !isFinite(r.Offset):
		c.add("offset", formatNumber(r.Offset), "want a number", "")
	case r.Offset != 0 && !isNumber:
		c.add("offset", formatNumber(r.Offset), "only numbers have an offset", "")
	}
	if scale != 1 || r.Offset != 0 {
		v.scaled = true
		v.factor, v.addend, v.divisor = decimal(scale, r.Offset)
	}
	c.bound("min", r.Min, isNumber, &v.min)
	c.bound("max", r.Max, isNumber, &v.max)
	if v.min > v.max {
		c.add("min", formatNumber(v.min), "is above max, which is "+formatNumber(v.max), "")
	}
}

// bound checks min or max.
func (c *entryCheck) bound(key string, set *float64, isNumber bool, to *float64) {
	switch {
	case set == nil:
	case math.IsNaN(*set):
		c.add(key, formatNumber(*set), "want a number", "")
	case !isNumber || c.r.Enum != nil:
		c.add(key, formatNumber(*set), "only numbers have bounds", "")
	default:
		*to = *set
	}
}

// texts checks enum.
func (c *entryCheck) texts(v *Value) {
	if c.r.Enum == nil {
		return
	}
	least, most := int64(0), int64(math.MaxInt64)
	switch {
	case len(c.r.Enum) == 0:
		c.add("enum", "", "lists nothing", "leave it out, or list the numbers with their texts")
	case v.form == formText || v.form == formFloat:
		c.add("enum", "", "only integers and bools have texts", "")
	case v.scaled:
		c.add("enum", "", "a scaled number has no texts", "leave out scale and offset")
	case v.form == formBit:
		most = 1
	case v.form == formInt:
		least, most = -1<<(16*v.Size-1), 1<<(16*v.Size-1)-1
	case v.Size < 4:
		most = 1<<(16*v.Size) - 1
	}
	keys := make([]int64, 0, len(c.r.Enum))
	for k := range c.r.Enum {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if k < least || k > most {
			c.add("enum", strconv.FormatInt(k, 10), fmt.Sprintf("the register holds %d to %d", least, most), "")
		}
	}
}

// row checks channel and count, and that the row stays inside the table. It returns how many values there are.
func (c *entryCheck) row(v *Value) int {
	count, last := 1, c.r.Channel
	if c.r.Count != nil {
		count = *c.r.Count
	}
	if count < 1 || count > link.Addresses {
		c.add("count", strconv.Itoa(count), "want 1 to 65536", "")
		count = 1
	}
	if count > 1 {
		last += strconv.Itoa(count - 1)
	}
	if v.isRegisterBit() && count > 1 {
		c.add("count", strconv.Itoa(count), "a row of bits of a register has no meaning", "list the bits one by one")
	}
	if err := tidegate.CheckName(last); err != nil {
		c.add("channel", c.r.Channel, err.Error(), "")
	}
	if v.Address+count*v.Size > link.Addresses {
		c.add("address", strconv.Itoa(v.Address), fmt.Sprintf("%d registers from here on end beyond 65535", count*v.Size), "")
	}
	return count
}

func isFinite(f float64) bool { return math.Abs(f) <= math.MaxFloat64 } // NaN is not

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
