package modbus

import (
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/maps"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

// bitsPerUnit is how many bits max_quantity counts as one register, "MODBUS Application Protocol V1.1b3" sections 6.1 to 6.4: 2000 for 125.
const bitsPerUnit = 16

// Validate returns all that is wrong with c. It is part of drivers.Config.
func (c *Config) Validate() []drivers.FieldError {
	_, errs := c.check()
	return errs
}

// layout is what a configuration reads, and how.
type layout struct {
	values              []registers.Value // in the order of map and settings
	maxGap, maxQuantity int
}

// check returns all that is wrong with c, and what to read if nothing is.
func (c *Config) check() (layout, []drivers.FieldError) {
	var errs []drivers.FieldError
	add := func(field, got, problem, hint string) {
		errs = append(errs, drivers.FieldError{Field: field, Got: got, Problem: problem, Hint: hint})
	}
	a, err := parseAddress(c.Address)
	if err != nil {
		add("address", c.Address, err.Error(), "")
	}
	switch {
	case err == nil && a.isSerial && (c.Unit < 1 || c.Unit > 247):
		add("unit", strconv.Itoa(c.Unit), "a unit on a serial line is 1 to 247", "")
	case c.Unit < 0 || c.Unit > 255:
		add("unit", strconv.Itoa(c.Unit), "a unit is 0 to 255", "")
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > time.Minute {
		add("timeout", c.Timeout.String(), "want 10ms to 1m", "")
	}
	if c.MaxGap < 0 || c.MaxGap >= registers.MostRegisters {
		add("max_gap", strconv.Itoa(c.MaxGap), "want 0 to 124 registers", "")
	}
	if c.MaxQuantity < 1 || c.MaxQuantity > registers.MostRegisters {
		add("max_quantity", strconv.Itoa(c.MaxQuantity), "one request asks for 1 to 125 registers", "")
	}
	if len(c.Registers) == 0 && c.Map == "" {
		add("registers", "", "nothing to read", "list at least one register, or name a map")
	}
	l, more := c.lay()
	if errs = append(errs, more...); len(errs) > 0 {
		return layout{}, errs
	}
	return l, nil
}

// lay puts map and registers together. What is out of range in the settings is taken for the protocol's limit.
func (c *Config) lay() (layout, []drivers.FieldError) {
	l := layout{maxGap: c.MaxGap, maxQuantity: c.MaxQuantity}
	if l.maxQuantity < 1 || l.maxQuantity > registers.MostRegisters {
		l.maxQuantity = registers.MostRegisters
	}
	entries, names := c.Registers, registers.Listed()
	var errs []drivers.FieldError
	if c.Map != "" {
		m, bad := maps.Load(c.Map)
		errs = append(errs, bad...)
		l.maxGap = max(l.maxGap, m.MaxGap)
		if m.MaxQuantity > 0 {
			l.maxQuantity = min(l.maxQuantity, m.MaxQuantity)
		}
		entries, names = slices.Concat(m.Registers, c.Registers), behind(names, len(m.Registers), c.Map)
	}
	values, more := registers.Lay(entries, names, l.maxQuantity)
	l.values = values
	return l, append(errs, more...)
}

// behind returns names for entries of which the first n are those of a map.
func behind(names registers.Names, n int, name string) registers.Names {
	return registers.Names{
		Field: func(entry int, key string) string {
			if entry < n {
				return "map"
			}
			return names.Field(entry-n, key)
		},
		Word: func(entry int) string {
			if entry < n {
				return "map " + name
			}
			return names.Word(entry - n)
		},
	}
}
