package modbus

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// Limits of the protocol, "MODBUS Application Protocol V1.1b3" sections 6.1 to 6.4 and 4.4.
const (
	maxRegisters = 125 // in one request; coils and discrete inputs: 2000 = 16 times as many
	bitsPerUnit  = 16  // how many bits max_quantity counts as one register
)

// Validate returns all that is wrong with c. It is part of drivers.Config.
func (c *Config) Validate() []drivers.FieldError {
	_, errs := c.check()
	return errs
}

// check returns all that is wrong with c, and the values to read if nothing is, in the order of the settings.
func (c *Config) check() ([]value, []drivers.FieldError) {
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
	if c.MaxGap < 0 || c.MaxGap >= maxRegisters {
		add("max_gap", strconv.Itoa(c.MaxGap), "want 0 to 124 registers", "")
	}
	quantity := c.MaxQuantity
	if quantity < 1 || quantity > maxRegisters {
		add("max_quantity", strconv.Itoa(quantity), "one request asks for 1 to 125 registers", "")
		quantity = maxRegisters
	}
	if len(c.Registers) == 0 {
		add("registers", "", "nothing to read", "list at least one register")
	}
	var all []value
	for i := range c.Registers {
		values, more := c.Registers[i].values(quantity)
		for _, e := range more {
			if e.Field != "" {
				e.Field = "." + e.Field
			}
			e.Field = "registers[" + strconv.Itoa(i) + "]" + e.Field
			errs = append(errs, e)
		}
		for j := range values {
			values[j].entry, values[j].at = i, len(all)+j
		}
		all = append(all, values...)
	}
	errs = append(errs, duplicates(all)...)
	errs = append(errs, overlaps(all)...)
	if len(errs) > 0 {
		return nil, errs
	}
	return all, nil
}

// duplicates finds channels that two entries give, once for each later entry.
func duplicates(all []value) []drivers.FieldError {
	var errs []drivers.FieldError
	first := map[string]int{}
	for i := range all {
		v := &all[i]
		at, ok := first[v.channel]
		if !ok {
			first[v.channel] = v.entry
			continue
		}
		if len(errs) > 0 && errs[len(errs)-1].Field == entryField(v.entry, "channel") {
			continue
		}
		errs = append(errs, drivers.FieldError{
			Field: entryField(v.entry, "channel"), Got: v.channel,
			Problem: fmt.Sprintf("registers[%d] gives a channel of this name already", at), Hint: "give each channel a name of its own",
		})
	}
	return errs
}

// overlaps finds values that lie on registers of other values, once for each pair of entries. Different bits of one register
// do not overlap.
func overlaps(all []value) []drivers.FieldError {
	sorted := slices.Clone(all)
	sortValues(sorted)
	var errs []drivers.FieldError
	seen := map[[2]int]bool{}
	var widest *value // of those so far, the one that ends last
	for i := range sorted {
		v := &sorted[i]
		w := widest
		if w == nil || w.table != v.table || w.end() <= v.address {
			widest = v
			continue
		}
		if v.end() > w.end() {
			widest = v
		}
		if v.isRegisterBit() && w.isRegisterBit() {
			if w = &sorted[i-1]; w.bit != v.bit {
				continue
			}
		}
		later, earlier := v, w
		if w.at > v.at {
			later, earlier = w, v
		}
		pair := [2]int{earlier.entry, later.entry}
		if seen[pair] {
			continue
		}
		seen[pair] = true
		errs = append(errs, drivers.FieldError{
			Field: entryField(later.entry, "address"), Got: strconv.Itoa(later.address),
			Problem: fmt.Sprintf("%s of channel %s overlaps %s of channel %s in registers[%d]",
				later.span(), later.channel, earlier.span(), earlier.channel, earlier.entry),
		})
	}
	return errs
}

func entryField(entry int, key string) string { return "registers[" + strconv.Itoa(entry) + "]." + key }
