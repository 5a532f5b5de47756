package lang

import (
	"fmt"
	"slices"
)

// A measure is how a unit is counted: in which dimension, and what one of it is in the dimension's first unit.
type measure struct {
	dimension string
	factor    float64
	offset    float64 // added behind the factor
}

// measures are the units that to() converts between.
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

// Kin returns the units that a number in unit can be converted to, sorted, unit itself among them; none where it cannot.
func Kin(unit string) []string {
	from, ok := measures[unit]
	if !ok {
		return nil
	}
	var out []string
	for name, m := range measures {
		if m.dimension == from.dimension {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// times are the units that a unit becomes when it is summed up over seconds.
var overTime = map[string]string{"W": "J", "A": "As", "m3/s": "m3", "m/s": "m", "1/s": "count", "Hz": "count"}

// conversion returns what makes a number in from one in to: it is multiplied by factor, then offset is added.
func conversion(from, to string) (c measure, err error) {
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
	return measure{dimension: a.dimension, factor: a.factor / b.factor, offset: (a.offset - b.offset) / b.factor}, nil
}
