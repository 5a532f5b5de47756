// Package unit converts numbers from one unit to another of the same kind. Units are those of package tidegate.
package unit

import (
	"fmt"
	"maps"
	"slices"
)

// A measure is how a unit is counted: in which dimension, and what one of it is in the dimension's first unit.
type measure struct {
	dimension string
	factor    float64
	offset    float64 // added behind the factor
}

// measures are the units that can be converted.
var measures = map[string]measure{
	"Pa": {"pressure", 1, 0}, "hPa": {"pressure", 100, 0}, "kPa": {"pressure", 1e3, 0}, "MPa": {"pressure", 1e6, 0}, "mbar": {"pressure", 100, 0},
	"bar": {"pressure", 1e5, 0}, "psi": {"pressure", 6894.757293168361, 0},
	"K": {"temperature", 1, 0}, "Cel": {"temperature", 1, 273.15}, "degF": {"temperature", 5.0 / 9, 273.15 - 32*5.0/9},
	"W": {"power", 1, 0}, "mW": {"power", 1e-3, 0}, "kW": {"power", 1e3, 0}, "MW": {"power", 1e6, 0},
	"J": {"energy", 1, 0}, "Wh": {"energy", 3600, 0}, "kWh": {"energy", 3.6e6, 0}, "MWh": {"energy", 3.6e9, 0},
	"V": {"voltage", 1, 0}, "mV": {"voltage", 1e-3, 0}, "kV": {"voltage", 1e3, 0},
	"A": {"current", 1, 0}, "mA": {"current", 1e-3, 0},
	"As": {"charge", 1, 0}, "C": {"charge", 1, 0}, "Ah": {"charge", 3600, 0},
	"s": {"time", 1, 0}, "ms": {"time", 1e-3, 0}, "min": {"time", 60, 0}, "h": {"time", 3600, 0}, "d": {"time", 86400, 0},
	"m": {"length", 1, 0}, "mm": {"length", 1e-3, 0}, "cm": {"length", 1e-2, 0}, "km": {"length", 1e3, 0},
	"m3": {"volume", 1, 0}, "l": {"volume", 1e-3, 0},
	"m3/s": {"flow", 1, 0}, "m3/h": {"flow", 1.0 / 3600, 0}, "l/s": {"flow", 1e-3, 0}, "l/min": {"flow", 1e-3 / 60, 0}, "l/h": {"flow", 1e-3 / 3600, 0},
	"m/s": {"speed", 1, 0}, "km/h": {"speed", 1 / 3.6, 0},
	"kg": {"mass", 1, 0}, "g": {"mass", 1e-3, 0}, "t": {"mass", 1e3, 0},
	"Hz": {"frequency", 1, 0}, "MHz": {"frequency", 1e6, 0}, "1/s": {"frequency", 1, 0}, "1/min": {"frequency", 1.0 / 60, 0},
	"/": {"ratio", 1, 0}, "/100": {"ratio", 1e-2, 0}, "/1000": {"ratio", 1e-3, 0}, "ppm": {"ratio", 1e-6, 0},
}

// A Conversion makes a number in one unit one in another.
type Conversion struct{ factor, offset float64 }

// Of returns x in the other unit.
func (c Conversion) Of(x float64) float64 { return x*c.factor + c.offset }

// Convert returns what makes a number in the unit from one in the unit to. The error says which of them is not known, or of what kinds
// they are.
func Convert(from, to string) (c Conversion, err error) {
	a, ok := measures[from]
	if !ok {
		return c, fmt.Errorf("unit %q cannot be converted", from)
	}
	b, ok := measures[to]
	if !ok {
		return c, fmt.Errorf("unit %q is not known", to)
	}
	if a.dimension != b.dimension {
		return c, fmt.Errorf("%s is a %s and %s is a %s", from, a.dimension, to, b.dimension)
	}
	return Conversion{factor: a.factor / b.factor, offset: (a.offset - b.offset) / b.factor}, nil
}

// All returns the units that can be converted, sorted.
func All() []string { return slices.Sorted(maps.Keys(measures)) }

// Kin returns the units that a number in the unit u can be converted to, sorted, u itself among them; none where it cannot.
func Kin(u string) []string {
	return slices.DeleteFunc(All(), func(name string) bool { return Dimension(name) != Dimension(u) })
}

// Dimension returns what is counted in the unit u, "pressure" for instance; "" where it cannot be converted.
func Dimension(u string) string { return measures[u].dimension }
