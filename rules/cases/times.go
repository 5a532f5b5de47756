package cases

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// span is a length of time, in whole microseconds as boot time is.
type span time.Duration

// UnmarshalText reads a length of time: 500ms, 90s, 1h30m, 7d, 1d12h. Its errors end in a hint.
func (s *span) UnmarshalText(text []byte) error {
	const hint = `write a number and its unit, for instance "90s", "1h30m" or "7d"`
	str := string(text)
	if f, err := strconv.ParseFloat(str, 64); err == nil && f != 0 {
		return fmt.Errorf("unit of time is missing; write %q", str+"s")
	}
	days, rest, isDays := strings.Cut(str, "d")
	var d time.Duration
	if !isDays {
		rest = str
	} else {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n >= 0 && n <= 36_500) {
			return errors.New("a length of time is wanted; " + hint)
		}
		d = time.Duration(n * 24 * float64(time.Hour))
	}
	if rest != "" || !isDays {
		more, err := time.ParseDuration(rest)
		if err != nil || more < 0 {
			return errors.New("a length of time is wanted; " + hint)
		}
		d += more
	}
	if d%time.Microsecond != 0 {
		return errors.New("shorter than a microsecond; boot time is in microseconds")
	}
	*s = span(d)
	return nil
}

// String returns s as it is written: 1d12h, 90s as 1m30s.
func (s span) String() string {
	d, out := time.Duration(s), ""
	if days := d / (24 * time.Hour); days > 0 {
		out = strconv.FormatInt(int64(days), 10) + "d"
		if d -= days * 24 * time.Hour; d == 0 {
			return out
		}
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return out + text
}

// dayTime is what the wall clock says.
type dayTime struct {
	time.Time
	isLocal bool // without an offset: it is meant in the case's zone
}

// UnmarshalText reads a date and time. Its errors end in a hint.
func (t *dayTime) UnmarshalText(text []byte) error {
	for _, layout := range [...]string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, string(text)); err == nil {
			t.Time, t.isLocal = at, layout != time.RFC3339
			return nil
		}
	}
	return errors.New("a date and time is wanted; write it like 2026-01-05T21:59:00Z, or without the Z for the case's zone")
}

// zone is a time zone.
type zone struct{ *time.Location }

// UnmarshalText reads the name of a time zone. Its errors end in a hint.
func (z *zone) UnmarshalText(text []byte) error {
	loc, err := time.LoadLocation(string(text))
	if err != nil || len(text) == 0 || string(text) == "Local" {
		return errors.New("unknown time zone; write it like Europe/Berlin, or UTC")
	}
	z.Location = loc
	return nil
}

// monday is when a case begins that does not say: at: 22h is ten in the evening.
var monday = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// began returns what the wall clock says when the case begins, in its zone.
func (w *written) began() time.Time {
	at := w.Start.Time
	isLocal := w.Start.isLocal
	if at.IsZero() {
		at, isLocal = monday, true
	}
	switch loc := w.Zone.Location; {
	case loc == nil:
		return at
	case isLocal:
		return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), loc)
	default:
		return at.In(loc)
	}
}
