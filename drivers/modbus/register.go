package modbus

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

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

// values returns the values that r describes, and what is wrong with it; with faults there are no values.
func (r *Register) values(maxQuantity int) ([]value, []drivers.FieldError) {
	c := registerCheck{r: r}
	v := value{unit: r.Unit, min: math.Inf(-1), max: math.Inf(1), enum: r.Enum}
	c.place(&v)
	c.form(&v, maxQuantity)
	c.number(&v)
	c.texts(&v)
	count := c.row(&v)
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	row := make([]value, count)
	for i := range row {
		row[i] = v
		row[i].channel = r.Channel
		if r.Count != nil && *r.Count > 1 {
			row[i].channel += strconv.Itoa(i)
		}
		row[i].address += i * v.size
	}
	return row, nil
}

// registerCheck gathers what is wrong with one entry of registers.
type registerCheck struct {
	r    *Register
	errs []drivers.FieldError
}

func (c *registerCheck) add(field, got, problem, hint string) {
	c.errs = append(c.errs, drivers.FieldError{Field: field, Got: got, Problem: problem, Hint: hint})
}

const countHint = `addresses count from 0: "40001" in a manual is table holding, address 0`

// place checks table and address.
func (c *registerCheck) place(v *value) {
	t, ok := tables[c.r.Table]
	if !ok {
		c.add("table", c.r.Table, "want holding, input, coil or discrete", "")
		t = link.Holding
	}
	v.table = t
	switch {
	case c.r.Address == nil:
		c.add("address", "", "not set", countHint)
	case *c.r.Address < 0 || *c.r.Address >= link.Addresses:
		c.add("address", strconv.Itoa(*c.r.Address), "want 0 to 65535", countHint)
	default:
		v.address = *c.r.Address
	}
}

// form checks what a value is made of: type, bit, length, order.
func (c *registerCheck) form(v *value, maxQuantity int) {
	r := c.r
	o, ok := orders[r.Order]
	if !ok {
		c.add("order", r.Order, "want ABCD, CDAB, BADC or DCBA", "")
	}
	v.swapBytes, v.swapWords = o.bytes, o.words
	typ := r.Type
	if typ == "" {
		typ = "uint16"
		if v.table.IsBits() {
			typ = "bool"
		}
	}
	t, ok := typeForms[typ]
	if !ok {
		c.add("type", r.Type, "want int16, uint16, int32, uint32, int64, uint64, float32, float64, bool or string", "")
		t = typeForms["uint16"]
	}
	v.form, v.size = t.form, t.size
	switch {
	case v.table.IsBits() && typ != "bool":
		c.add("type", r.Type, "coils and discrete inputs are bool", "leave type out")
	case v.table.IsBits() && r.Bit != nil:
		c.add("bit", strconv.Itoa(*r.Bit), "coils and discrete inputs have no bits", "address names the bit")
	case r.Bit != nil && typ != "bool":
		c.add("bit", strconv.Itoa(*r.Bit), "only a bool is a bit of a register", "set type: bool")
	case typ == "bool" && !v.table.IsBits() && r.Bit == nil:
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
	if v.size > maxQuantity && typ != "string" {
		c.add("type", typ, fmt.Sprintf("needs %d registers in one request, max_quantity is %d", v.size, maxQuantity), "")
	}
}

// text checks length and order of a string.
func (c *registerCheck) text(v *value, maxQuantity int) {
	v.size = 1
	switch n := c.r.Length; {
	case n == nil:
		c.add("length", "", "not set", "say how many registers the string has, two characters each")
	case *n < 1 || *n > maxRegisters:
		c.add("length", strconv.Itoa(*n), "want 1 to 125 registers", "")
	case *n > maxQuantity:
		c.add("length", strconv.Itoa(*n), fmt.Sprintf("needs %d registers in one request, max_quantity is %d", *n, maxQuantity), "")
	default:
		v.size = *n
	}
	if v.swapWords {
		c.add("order", c.r.Order, "the characters of a string come first register first", "want ABCD or BADC")
	}
}

// number checks scale, offset, min and max.
func (c *registerCheck) number(v *value) {
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
func (c *registerCheck) bound(key string, set *float64, isNumber bool, to *float64) {
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
func (c *registerCheck) texts(v *value) {
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
		least, most = -1<<(16*v.size-1), 1<<(16*v.size-1)-1
	case v.size < 4:
		most = 1<<(16*v.size) - 1
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
func (c *registerCheck) row(v *value) int {
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
	if v.address+count*v.size > link.Addresses {
		c.add("address", strconv.Itoa(v.address), fmt.Sprintf("%d registers from here on end beyond 65535", count*v.size), "")
	}
	return count
}

func isFinite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func formatNumber(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
