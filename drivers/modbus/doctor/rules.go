package doctor

import (
	"fmt"
	"time"
)

const (
	noiseLeast   = 3  // exchanges with bytes that nobody sent
	noisePercent = 5  // of all
	tailPercent  = 60 // of those where it can be told, for a line that swings after each request
)

// A rule looks for one kind of fault; "" = it is not that.
type rule func(c Case, s signs) (code Code, evidence string)

// rules returns them, the surest first.
func rules() []rule {
	return []rule{master, slow, pair, broken, stranger, zeros, noise, parts, garble, early, silence, order}
}

func master(_ Case, s signs) (Code, string) {
	if s.foreign < 2 {
		return "", ""
	}
	return SecondMaster, fmt.Sprintf("%d requests that are not the gateway's", s.foreign)
}

func slow(_ Case, s signs) (Code, string) {
	if s.own.late < 2 || s.own.late*4 < s.own.bad() {
		return "", ""
	}
	return Slow, fmt.Sprintf("%d of %d replies came after their timeout", s.own.late, s.own.asked)
}

func pair(_ Case, s signs) (Code, string) {
	if s.own.twice < 2 {
		return "", ""
	}
	return TwoUnits, fmt.Sprintf("%d of %d requests were answered twice", s.own.twice, s.own.asked)
}

// broken is for a line that is at space while nobody drives it.
func broken(c Case, s signs) (Code, string) {
	if c.Errors != nil && c.Errors.Break == 0 || s.all.good > 0 || !s.all.share(s.all.lone, 60) {
		return "", ""
	}
	return Swapped, fmt.Sprintf("a break (one 0x00) after %d of %d requests, and no reply of any unit", s.all.lone, s.all.asked)
}

func stranger(_ Case, s signs) (Code, string) {
	if s.stranger < 2 || s.own.good > 0 {
		return "", ""
	}
	return WrongUnit, fmt.Sprintf("%d replies of unit %d, which nobody asks", s.stranger, s.strangerIs)
}

// zeros is for what a port with a parity makes of characters that have another.
func zeros(c Case, s signs) (Code, string) {
	if c.Errors != nil && c.Errors.Parity+c.Errors.Framing == 0 || c.Serial.Parity == "none" || s.own.good > 0 || !s.own.share(s.own.zeros, 50) {
		return "", ""
	}
	evidence := fmt.Sprintf("%d of %d replies are 0x00 for the most part: characters with a wrong parity or stop bit", s.own.zeros, s.own.asked)
	if c.Serial.StopBits == "2" && 2*s.own.zeroed > s.own.zeros {
		return WrongStop, evidence + "; some are missing, as where each begins too early"
	}
	return WrongParity, evidence
}

// noise is for bytes that nobody sent. A line in order has none.
func noise(_ Case, s signs) (Code, string) {
	t := s.all
	n := t.tail + t.idle
	own := s.own.tail + s.own.idle
	switch {
	case n == own && t.asked-s.own.asked >= noiseLeast && own >= noiseLeast: // the others' exchanges are clean
		if s.own.good == 0 || s.own.garbled == 0 {
			return "", ""
		}
		return TwoUnits, fmt.Sprintf("bytes of no reply after %d of %d requests, %d replies damaged, and other units are well", own, s.own.asked, s.own.garbled)
	case n < noiseLeast || n*100 < noisePercent*t.asked:
		return "", ""
	case t.tail >= noiseLeast && t.tail*100 >= tailPercent*t.behind:
		return NoTermination, fmt.Sprintf("bytes right behind %d of %d requests that are of no reply", t.tail, t.behind)
	}
	return NoBias, fmt.Sprintf("bytes of no reply after %d of %d requests", n, t.asked)
}

func parts(_ Case, s signs) (Code, string) {
	switch {
	case s.cut && s.trailing >= 2 && s.own.part <= 1:
		return Cut, fmt.Sprintf("the last reply broke off, and %d requests since then were met by silence", s.trailing)
	case s.own.share(s.own.part, 40):
		return HalfFrames, fmt.Sprintf("%d of %d replies broke off", s.own.part, s.own.asked)
	}
	return "", ""
}

func garble(_ Case, s signs) (Code, string) {
	if !s.own.share(s.own.garbled, 30) {
		return "", ""
	}
	return TwoUnits, fmt.Sprintf("%d of %d replies are as long as they should be, or longer, and damaged", s.own.garbled, s.own.asked)
}

// early is for a port that wants two stop bits and gets one: the next character begins too early, and it loses its step.
func early(c Case, s signs) (Code, string) {
	if c.Serial.StopBits != "2" || s.own.good > 0 || !s.own.share(s.own.short+s.own.part+s.own.garbled, 60) {
		return "", ""
	}
	return WrongStop, fmt.Sprintf("%d of %d replies are damaged and too short", s.own.short, s.own.asked)
}

// silence is for a unit that says nothing.
func silence(c Case, s signs) (Code, string) {
	if s.trailing < 3 && (s.own.silent < 2 || 2*s.trailing < s.own.silent) {
		return "", ""
	}
	evidence := fmt.Sprintf("silence after %d of %d requests", s.own.silent, s.own.asked)
	if t, ok := best(c.Trials); ok {
		return c.otherwise(t), evidence + "; " + t.String()
	}
	switch {
	case s.wasWell || c.Answered:
		return Dead, evidence + "; it has answered before"
	case c.Trials == nil:
		return Silent, evidence
	case len(s.well) > 0: // of a unit without power somebody would know
		return Swapped, evidence + fmt.Sprintf("; unit %d answers, and this one neither with other settings nor under another number", s.well[0])
	}
	return Swapped, evidence + "; no unit answers, whatever the settings"
}

// otherwise returns what is wrong when a unit answered in t.
func (c Case) otherwise(t Trial) Code {
	switch {
	case t.Unit != c.Unit:
		return WrongUnit
	case t.Serial.Baud != c.Serial.Baud:
		return WrongBaud
	case t.Serial.Parity != c.Serial.Parity:
		return WrongParity
	case t.Serial.StopBits != c.Serial.StopBits:
		return WrongStop
	}
	return Slow // it answers a request that is made once more
}

func order(c Case, _ signs) (Code, string) {
	for _, v := range c.Values {
		if better := v.better(); better != "" {
			return WrongOrder, fmt.Sprintf("%s is plausible in the order %s, not in %s", v.Channel, better, v.Order)
		}
	}
	return "", ""
}

// diagnosis puts code into words.
func (c Case) diagnosis(code Code, evidence string) Diagnosis {
	d := Diagnosis{Code: code, Evidence: evidence}
	unit, settings := fmt.Sprintf("unit %d", c.Unit), c.Serial.Settings()
	switch code {
	case Swapped:
		d.Cause = "the wires A and B are swapped"
		d.Remedy = "swap them at the gateway if no unit answers, else at " + unit + "; if that does not help, see whether it has power"
	case NoTermination:
		d.Cause = "the line is not terminated: the gateway hears the end of what it sent"
		d.Remedy = "put 120 ohms between A and B at both ends of the line, and nowhere else"
	case NoBias:
		d.Cause = "the line has no bias: it picks up noise while nobody sends"
		d.Remedy = "pull B (+) up and A (-) down by 450 to 650 ohms at one place of the line, and connect the common wire"
	case WrongBaud, WrongParity, WrongStop:
		d.Cause = unit + " has another " + map[Code]string{WrongBaud: "baud rate", WrongParity: "parity", WrongStop: "number of stop bits"}[code] +
			" than the port (" + settings + ")"
		d.Remedy = "set the unit or the address alike, as all units of the line"
		if t, ok := best(c.Trials); ok {
			d.Remedy = "it answers with " + t.Serial.Settings() + ": set the unit or the address alike, as all units of the line"
		}
	case TwoUnits:
		d.Cause = "two units have the number " + fmt.Sprint(c.Unit)
		d.Remedy = "take one off the line, and give it another number"
	case Dead:
		d.Cause = unit + " is dead: it has answered, and does not any more"
		d.Remedy = "see whether it has power and both wires of the line"
	case Slow:
		d.Cause = fmt.Sprintf("%s answers later than timeout %v", unit, c.Timeout.Round(time.Millisecond))
		d.Remedy = "raise timeout, or ask for less"
	case HalfFrames:
		d.Cause = "the replies of " + unit + " break off: its driver, or an adapter between, lets go of the line too early"
		d.Remedy = "lengthen the unit's turn-off delay, or use an adapter that switches by itself"
	case Cut:
		d.Cause = "the line was cut while " + unit + " answered"
		d.Remedy = "look for a loose or broken wire between the gateway and the unit"
	case SecondMaster:
		d.Cause = "another master is on the line"
		d.Remedy = "let only one ask: take it off the line, or read its values by Modbus TCP"
	case WrongUnit:
		d.Cause = "no unit with the number " + fmt.Sprint(c.Unit) + " answers, but another does that nobody asks"
		d.Remedy = "compare the number on the unit with the setting unit"
	case WrongOrder:
		d.Cause = "the bytes of a number are in another order than set"
		d.Remedy = "correct the setting order: " + evidence
	case Silent:
		d.Cause = unit + " is silent and has never answered: no power, other settings than " + settings + ", another number, or A and B swapped"
		d.Remedy = "stop the gateway, and find out by tidegate read DEVICE --examine"
	}
	return d
}
