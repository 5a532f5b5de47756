package nmea

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// The quantities; each is the number of its channel in Driver.Channels.
const (
	lat = iota
	lon
	altitude
	speed
	course
	satellites
	hdop
	fix
	quantities // how many they are
)

// A slot is what an epoch says of one quantity.
type slot struct {
	value  tidegate.Value
	fault  string
	rank   int    // of the sentence that said it; 0 = none did
	source string // kind of that sentence
}

// An epoch is what the sentences of one instant say.
type epoch struct {
	kinds   map[string]bool // that came
	isTimed bool            // at is known
	at      time.Duration   // since midnight, UTC
	slots   [quantities]slot
	hasFix  bool   // a sentence says so
	noFix   string // why the position cannot be trusted; "" = it can, or nobody has said anything about it
	is2D    bool   // by GSA
	is3D    bool

	hasDate bool
	date    time.Time // midnight
	badDate string    // why there is none
}

// give takes up what the sentence k says of quantity q. A fault outlasts what other sentences say: the receiver contradicts itself.
func (e *epoch) give(k *kind, q int, v tidegate.Value, fault string) {
	s := &e.slots[q]
	if s.fault != "" && s.rank > 0 || fault == "" && s.rank >= k.rank {
		return
	}
	*s = slot{value: v, fault: fault, rank: k.rank, source: k.name}
}

// position takes up four fields.
func (e *epoch) position(k *kind, f []string) {
	v, fault := coordinate("latitude", f[0], f[1], "NS", 90)
	e.give(k, lat, v, fault)
	v, fault = coordinate("longitude", f[2], f[3], "EW", 180)
	e.give(k, lon, v, fault)
}

// trust takes up what the sentence k says the position is worth: word is one of channel fix, "" = not known; what is how the sentence says it.
// Doubt counts more than any rank, and "valid" less.
func (e *epoch) trust(k *kind, word, what string) {
	said := *k
	switch word {
	case "none":
		said.rank += 200
		e.doubt("no fix: " + k.name + " says " + what + "; has the aerial a view of the sky? After a cold start it takes minutes")
	case "estimated", "manual", "simulated":
		said.rank += 200
		e.doubt("the position is " + word + ", not measured: " + k.name + " says " + what)
	case "":
		e.doubt(k.name + " says " + what + ", which is not known: the position cannot be trusted")
		e.give(&said, fix, tidegate.Value{}, k.name+" says "+what+", which is not known")
		return
	case "valid":
		e.hasFix = true
	default:
		said.rank += 100
		e.hasFix = true
	}
	e.give(&said, fix, tidegate.Text(word), "")
}

func (e *epoch) doubt(why string) {
	if e.noFix == "" {
		e.noFix = why
	}
}

// modes are the mode indicators of RMC, GLL, VTG and GNS; NMEA Revealed, "FAA Mode Indicator".
func modes(c string) string {
	switch c {
	case "A":
		return "autonomous"
	case "D":
		return "differential"
	case "P":
		return "precise"
	case "R":
		return "rtk"
	case "F":
		return "rtk-float"
	case "E":
		return "estimated"
	case "M":
		return "manual"
	case "S":
		return "simulated"
	case "N":
		return "none"
	}
	return ""
}

// status takes up the fields status (A, V) and mode (may be missing or empty) of RMC and GLL.
func (e *epoch) status(k *kind, status string, mode []string) {
	switch {
	case len(mode) > 0 && mode[0] != "" && (status == "A" || mode[0] != "A" && mode[0] != "D"):
		e.trust(k, modes(mode[0]), "mode "+excerpt(mode[0]))
	case status == "A":
		e.trust(k, "valid", "status A")
	case status == "V" || status == "":
		e.trust(k, "none", "status V")
	default:
		e.trust(k, "", "status "+excerpt(status))
	}
}

func excerpt(s string) string { return talker.Excerpt([]byte(s)) }

// from returns the fields from number n on.
func from(f []string, n int) []string { return f[min(n, len(f)):] }

func takeRMC(e *epoch, k *kind, f []string) {
	e.status(k, f[1], from(f, 11))
	e.position(k, f[2:6])
	e.motion(k, f[6], f[7])
	e.day(k, f[8], func() (time.Time, bool) { return shortDate(f[8]) })
}

// motion takes up speed in knots and course.
func (e *epoch) motion(k *kind, knots, degrees string) {
	v, fault := number("speed", knots, 0, 2000, knot)
	e.give(k, speed, v, fault)
	if degrees != "" {
		v, fault = number("course", degrees, 0, 360, 1)
		e.give(k, course, v, fault)
	}
}

// day takes up a date that stands as text in the sentence.
func (e *epoch) day(k *kind, text string, read func() (time.Time, bool)) {
	d, ok := read()
	switch {
	case text == "":
	case !ok:
		e.badDate = k.name + " has " + excerpt(text) + " for a date"
	case e.hasDate && !d.Equal(e.date):
		e.badDate = "RMC and ZDA have different dates: " + e.date.Format(time.DateOnly) + " and " + d.Format(time.DateOnly)
	default:
		e.hasDate, e.date = true, d
	}
}

func takeGGA(e *epoch, k *kind, f []string) {
	words := map[string]string{
		"0": "none", "1": "autonomous", "2": "differential", "3": "precise", "4": "rtk", "5": "rtk-float", "6": "estimated", "7": "manual", "8": "simulated",
	}
	e.trust(k, words[f[5]], "quality "+excerpt(f[5]))
	e.position(k, f[1:5])
	e.quality(k, f[6], f[7], f[8])
	if unit := f[9]; f[8] != "" && unit != "M" {
		e.give(k, altitude, tidegate.Value{}, "altitude is in "+excerpt(unit)+", want M for metres")
	}
}

// quality takes up satellites, HDOP and altitude.
func (e *epoch) quality(k *kind, used, dilution, height string) {
	v, fault := count(used)
	e.give(k, satellites, v, fault)
	v, fault = number("hdop", dilution, 0, 99, 1)
	e.give(k, hdop, v, fault)
	v, fault = number("altitude", height, -1000, 100_000, 1)
	e.give(k, altitude, v, fault)
}

func takeGNS(e *epoch, k *kind, f []string) {
	if f[5] == "" {
		return // one of the further ones, for the corrections of one system only
	}
	word := "none"
	for _, c := range "NSMEADPFR" { // the worst first: one system with a fix is a fix
		if strings.ContainsRune(f[5], c) {
			word = modes(string(c))
		}
	}
	if strings.Trim(f[5], "NSMEADPFR") != "" {
		word = ""
	}
	e.trust(k, word, "modes "+excerpt(f[5]))
	e.position(k, f[1:5])
	e.quality(k, f[6], f[7], f[8])
}

func takeGLL(e *epoch, k *kind, f []string) {
	e.status(k, f[5], from(f, 6))
	e.position(k, f[0:4])
}

func takeVTG(e *epoch, k *kind, f []string) {
	if mode := from(f, 8); len(mode) > 0 && mode[0] != "" {
		e.trust(k, modes(mode[0]), "mode "+excerpt(mode[0]))
	}
	e.motion(k, f[4], f[0])
}

func takeGSA(e *epoch, k *kind, f []string) {
	switch f[1] {
	case "2":
		e.is2D = true
	case "3":
		e.is3D = true
	}
	if f[15] != "" {
		v, fault := number("hdop", f[15], 0, 99, 1)
		e.give(k, hdop, v, fault)
	}
}

func takeZDA(e *epoch, k *kind, f []string) {
	e.day(k, f[1]+f[2]+f[3], func() (time.Time, bool) { return longDate(f[1], f[2], f[3]) })
}

// earliest is the first day that a receiver can say and be believed: this driver was written in that year.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// rollover is after how long the number of the week that satellites send begins again at 0: 10 bits.
const rollover = 1024 * 7 * 24 * time.Hour

// instant returns the epoch's date and time, or why it is not used; neither without a date and a fix.
func (e *epoch) instant(first time.Time) (at time.Time, fault string) {
	const instead = "; the gateway's own time is used"
	if !e.hasFix || e.noFix != "" || !e.isTimed {
		return time.Time{}, ""
	}
	if e.badDate != "" {
		return time.Time{}, e.badDate + instead
	}
	if !e.hasDate {
		return time.Time{}, ""
	}
	last := first.Add(rollover)
	switch at = e.date.Add(e.at); {
	case !at.Before(first) && at.Before(last):
		return at, ""
	case !at.Add(rollover).Before(first) && at.Add(rollover).Before(last):
		return time.Time{}, fmt.Sprintf("the receiver says %s, 1024 weeks before a date that can be: its firmware does not know the present count of weeks and needs an update%s",
			at.Format(time.DateOnly), instead)
	}
	return time.Time{}, fmt.Sprintf("the receiver says %s, want %s to %s%s", at.Format(time.DateOnly), first.Format(time.DateOnly), last.Format(time.DateOnly), instead)
}
