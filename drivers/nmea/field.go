package nmea

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	gonmea "github.com/adrianmo/go-nmea"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// knot is one knot in m/s: 1852 m per hour.
const knot = 1852.0 / 3600

// decimal reads a field as a decimal number without exponent.
func decimal(s string) (float64, bool) {
	_, _, ok := talker.Decimal([]byte(s), false)
	if !ok || len(s) > 20 || strings.ContainsAny(s, "eE") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsInf(f, 0)
}

// number reads the field s, which is from least to most in the receiver's unit, and multiplies it by scale.
func number(what, s string, least, most, scale float64) (tidegate.Value, string) {
	f, ok := decimal(s)
	switch {
	case s == "":
		return tidegate.Value{}, "the receiver gives no " + what
	case !ok:
		return tidegate.Value{}, fmt.Sprintf("%s is %s, want a decimal number", what, talker.Excerpt([]byte(s)))
	case f < least || f > most:
		return tidegate.Value{}, fmt.Sprintf("%s is %s, want %v to %v", what, s, least, most)
	}
	return tidegate.Float(f * scale), ""
}

// count reads the field s, the number of satellites.
func count(s string) (tidegate.Value, string) {
	n, err := strconv.Atoi(s)
	switch {
	case s == "":
		return tidegate.Value{}, "the receiver gives no number of satellites"
	case err != nil || n > 99 || talker.Digits(s) != len(s):
		return tidegate.Value{}, fmt.Sprintf("number of satellites is %s, want 0 to 99", talker.Excerpt([]byte(s)))
	}
	return tidegate.Int(int64(n)), ""
}

// coordinate reads a latitude (sides "NS", most 90) or longitude ("EW", 180): whole degrees and, in the last two digits before the point,
// minutes.
func coordinate(what, s, side, sides string, most float64) (tidegate.Value, string) {
	whole, _, _ := strings.Cut(s, ".")
	minutes, ok := 0.0, len(whole) >= 3 && len(whole) <= 5 && talker.Digits(whole) == len(whole)
	if ok {
		minutes, ok = decimal(s[len(whole)-2:])
	}
	switch {
	case s == "" && side == "":
		return tidegate.Value{}, "the receiver gives no " + what
	case !ok || minutes >= 60:
		return tidegate.Value{}, fmt.Sprintf("%s is %s, want degrees and minutes below 60", what, talker.Excerpt([]byte(s)))
	case len(side) != 1 || !strings.Contains(sides, side):
		return tidegate.Value{}, fmt.Sprintf("%s is on side %s, want one of %s", what, talker.Excerpt([]byte(side)), sides)
	}
	degrees, _ := strconv.Atoi(whole[:len(whole)-2]) // digits
	f := float64(degrees) + minutes/60
	if f > most {
		return tidegate.Value{}, fmt.Sprintf("%s is %s %s, beyond %v degrees", what, s, side, most)
	}
	if side == sides[1:] {
		f = -f
	}
	return tidegate.Float(f), ""
}

// timeOfDay reads the field s as hhmmss with decimals. 60 is a second, too: the leap second.
func timeOfDay(s string) (time.Duration, bool) {
	t, err := gonmea.ParseTime(s)
	if err != nil || !t.Valid || t.Hour > 23 || t.Minute > 59 || t.Second > 60 {
		return 0, false
	}
	return time.Duration(t.Hour)*time.Hour + time.Duration(t.Minute)*time.Minute + time.Duration(t.Second)*time.Second +
		time.Duration(t.Millisecond)*time.Millisecond, true
}

// dateOf returns midnight of a day that there is.
func dateOf(year, month, day int) (time.Time, bool) {
	d := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return d, d.Year() == year && d.Month() == time.Month(month) && d.Day() == day
}

// shortDate reads the field s as ddmmyy; 80 to 99 are in the last century, which is when the first satellites flew.
func shortDate(s string) (time.Time, bool) {
	d, err := gonmea.ParseDate(s)
	if err != nil || !d.Valid || talker.Digits(s) != len(s) {
		return time.Time{}, false
	}
	year := 2000 + d.YY
	if d.YY >= 80 {
		year = 1900 + d.YY
	}
	return dateOf(year, d.MM, d.DD)
}

// longDate reads the fields of a day.
func longDate(day, month, year string) (time.Time, bool) {
	if talker.Digits(day+month+year) != len(day+month+year) || len(year) != 4 {
		return time.Time{}, false
	}
	d, errDay := strconv.Atoi(day)
	m, errMonth := strconv.Atoi(month)
	y, errYear := strconv.Atoi(year)
	if errDay != nil || errMonth != nil || errYear != nil {
		return time.Time{}, false
	}
	return dateOf(y, m, d)
}
