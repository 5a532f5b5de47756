package registers

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// Names says how entries are spoken of.
type Names struct {
	Field func(entry int, key string) string // path of a key of an entry, or of the entry where key is ""
	Word  func(entry int) string             // the entry within a sentence
}

// Listed are the names of entries that stand under the key registers.
func Listed() Names {
	word := func(entry int) string { return "registers[" + strconv.Itoa(entry) + "]" }
	return Names{
		Word: word,
		Field: func(entry int, key string) string {
			if key == "" {
				return word(entry)
			}
			return word(entry) + "." + key
		},
	}
}

// mostValues is more than four tables hold, with bits of registers that are listed one by one.
const mostValues = 5 * link.Addresses

// Lay returns the values that entries describe, in their order, and all that is wrong with them, alone and together: channels that there
// are twice, values that lie on each other. With faults there are no values.
func Lay(entries []Entry, names Names, maxQuantity int) ([]Value, []drivers.FieldError) {
	var all []Value
	var errs []drivers.FieldError
	for i := range entries {
		values, more := entries[i].Values(maxQuantity)
		for _, e := range more {
			e.Field = names.Field(i, e.Field)
			errs = append(errs, e)
		}
		for j := range values {
			values[j].Entry, values[j].At = i, len(all)+j
		}
		if all = append(all, values...); len(all) > mostValues {
			break // they overlap, which is said below
		}
	}
	errs = append(errs, names.duplicates(all)...)
	errs = append(errs, names.overlaps(all)...)
	if len(errs) > 0 {
		return nil, errs
	}
	return all, nil
}

// duplicates finds channels that two entries give, once for each later entry.
func (n Names) duplicates(all []Value) []drivers.FieldError {
	var errs []drivers.FieldError
	first := map[string]int{}
	said := -1
	for i := range all {
		v := &all[i]
		at, ok := first[v.Channel]
		if !ok {
			first[v.Channel] = v.Entry
			continue
		}
		if said == v.Entry {
			continue
		}
		said = v.Entry
		errs = append(errs, drivers.FieldError{
			Field: n.Field(v.Entry, "channel"), Got: v.Channel,
			Problem: n.Word(at) + " gives a channel of this name already", Hint: "give each channel a name of its own",
		})
	}
	return errs
}

// overlaps finds values that lie on registers of other values, once for each pair of entries. Different bits of one register
// do not overlap.
func (n Names) overlaps(all []Value) []drivers.FieldError {
	sorted := slices.Clone(all)
	Sort(sorted)
	var errs []drivers.FieldError
	seen := map[[2]int]bool{}
	var widest *Value // of those so far, the one that ends last
	for i := range sorted {
		v := &sorted[i]
		w := widest
		if w == nil || w.Table != v.Table || w.End() <= v.Address {
			widest = v
			continue
		}
		if v.End() > w.End() {
			widest = v
		}
		if v.isRegisterBit() && w.isRegisterBit() {
			if w = &sorted[i-1]; w.bit != v.bit {
				continue
			}
		}
		later, earlier := v, w
		if w.At > v.At {
			later, earlier = w, v
		}
		pair := [2]int{earlier.Entry, later.Entry}
		if seen[pair] {
			continue
		}
		seen[pair] = true
		errs = append(errs, drivers.FieldError{
			Field: n.Field(later.Entry, "address"), Got: strconv.Itoa(later.Address),
			Problem: fmt.Sprintf("%s of channel %s overlaps %s of channel %s in %s",
				later.Read(), later.Channel, earlier.Read(), earlier.Channel, n.Word(earlier.Entry)),
		})
	}
	return errs
}
