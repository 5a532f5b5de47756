package tidegate

import "sort"

// units are the unit symbols registered for SenML (IANA "SenML Units" registry, RFC 8428 section 12.1 and RFC 8798) that field
// devices report in, with what they mean.
var units = map[string]string{
	"m": "metre", "kg": "kilogram", "g": "gram", "s": "second", "A": "ampere", "K": "kelvin", "cd": "candela", "mol": "mole",
	"Hz": "hertz", "rad": "radian", "sr": "steradian", "N": "newton", "Pa": "pascal", "J": "joule", "W": "watt", "C": "coulomb",
	"V": "volt", "F": "farad", "Ohm": "ohm", "S": "siemens", "Wb": "weber", "T": "tesla", "H": "henry",
	"Cel": "degree Celsius", "lm": "lumen", "lx": "lux", "Bq": "becquerel", "Gy": "gray", "Sv": "sievert", "kat": "katal",
	"m2": "square metre", "m3": "cubic metre", "m/s": "metre per second", "m/s2": "metre per square second",
	"m3/s": "cubic metre per second", "W/m2": "watt per square metre", "cd/m2": "candela per square metre", "bit": "bit",
	"bit/s": "bit per second", "lat": "degree of latitude", "lon": "degree of longitude", "pH": "pH", "dB": "decibel",
	"dBW": "decibel relative to 1 W", "count": "count", "/": "ratio", "%RH": "percent relative humidity",
	"%EL": "percent of remaining battery", "EL": "seconds of remaining battery", "1/s": "per second", "1/min": "per minute",
	"beat/min": "beats per minute", "S/m": "siemens per metre", "B": "byte", "VA": "volt-ampere", "VAs": "volt-ampere second",
	"var": "volt-ampere reactive", "vars": "volt-ampere reactive second", "J/m": "joule per metre",
	"kg/m3": "kilogram per cubic metre", "deg": "degree", "NTU": "nephelometric turbidity unit",
	"ms": "millisecond", "min": "minute", "h": "hour", "MHz": "megahertz", "kW": "kilowatt", "kVA": "kilovolt-ampere",
	"kvar": "kilovolt-ampere reactive", "Ah": "ampere hour", "Wh": "watt hour", "kWh": "kilowatt hour",
	"varh": "volt-ampere reactive hour", "kvarh": "kilovolt-ampere reactive hour", "kVAh": "kilovolt-ampere hour",
	"Wh/km": "watt hour per kilometre", "KiB": "kibibyte", "GB": "gigabyte", "Mbit/s": "megabit per second",
	"B/s": "byte per second", "MB/s": "megabyte per second", "mV": "millivolt", "mA": "milliampere", "dBm": "decibel milliwatt",
	"ug/m3": "microgram per cubic metre", "mm/h": "millimetre per hour", "m/h": "metre per hour", "ppm": "parts per million",
	"/100": "percent", "/1000": "per mille", "hPa": "hectopascal", "mm": "millimetre", "cm": "centimetre", "km": "kilometre",
	"km/h": "kilometre per hour",
}

// UnitMeaning returns what a registered unit symbol means, for instance "degree Celsius" for "Cel"; ok is false when it is
// not registered (then it goes on the wire all the same, and check warns).
func UnitMeaning(symbol string) (meaning string, ok bool) {
	meaning, ok = units[symbol]
	return meaning, ok
}

// Units returns all registered unit symbols, sorted. `go doc -u . units` lists them with what they mean.
func Units() []string {
	out := make([]string, 0, len(units))
	for u := range units {
		out = append(out, u)
	}
	sort.Strings(out)
	return out
}
