// Package doctor says what is likely to be wrong with a Modbus RTU line, from what a gateway has of it: the bytes that went over its
// port and when, the port's settings and error counts, and what the registers held. It is pure but for Examine, which asks.
//
// It shares no code with the driver. "MODBUS over Serial Line V1.02" is its source: frames and silences in section 2.5.1, wiring in 3.4.
//
// What cannot be told from the bytes: a unit that is silent says nothing about why. Whether it has no power, another number, other
// settings or swapped wires shows only in what it did before, in what others on the line do, and in what Examine finds.
package doctor

import (
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Code names a fault of a line. The zero Code is none.
type Code string

// The faults.
const (
	Swapped       Code = "wires swapped"
	NoTermination Code = "no termination"
	NoBias        Code = "no bias"
	WrongBaud     Code = "wrong baud rate"
	WrongParity   Code = "wrong parity"
	WrongStop     Code = "wrong stop bits"
	TwoUnits      Code = "two units with one number"
	Dead          Code = "dead unit"
	Slow          Code = "slow unit"
	HalfFrames    Code = "half frames"
	Cut           Code = "cut in mid-frame"
	SecondMaster  Code = "second master"
	WrongUnit     Code = "wrong unit number"
	WrongOrder    Code = "wrong byte order"
	Silent        Code = "silent" // one of several: only Examine can tell
)

// A Case is what is known of the line of one unit that cannot be read, or is read.
type Case struct {
	Unit     byte // its number, 1 to 247
	Serial   drivers.Serial
	Timeout  time.Duration       // as the unit's requests have it
	Traffic  []drivers.Traffic   // as Bus.Recent returns it
	Errors   *drivers.LineErrors // that the port counted during Traffic; nil = it counts none
	Answered bool                // the unit has answered once, before Traffic
	Values   []Value             // what its registers held
	Trials   []Trial             // that Examine made; nil = none
}

// A Diagnosis is the most likely fault. The zero Diagnosis says that nothing is wrong, or nothing that could be told.
type Diagnosis struct {
	Code     Code
	Cause    string // one clause, without figures that change from look to look
	Remedy   string // what to do
	Evidence string // what was seen, with figures
}

// String returns cause and remedy, "" where there is none. The same fault has the same text.
func (d Diagnosis) String() string {
	if d.Code == "" {
		return ""
	}
	return d.Cause + "; " + d.Remedy
}

// Diagnose returns what is likely to be wrong.
func Diagnose(c Case) Diagnosis {
	s := look(c)
	for _, rule := range rules() {
		if code, evidence := rule(c, s); code != "" {
			return c.diagnosis(code, evidence)
		}
	}
	return Diagnosis{}
}
