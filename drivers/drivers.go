// Package drivers says what a driver is: data that makes a Config that opens a Device that is read.
//
// A driver starts no goroutine, writes no log, keeps no registry and does not know its own configured name, its schedule or
// the other devices. README.md beside this file is "a driver in an hour".
package drivers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
)

// A Driver describes one kind of device. A driver package exports exactly one, as a struct literal named Driver.
type Driver struct {
	Name     string        // the folder's name
	Doc      string        // for the technician: what it serves, what it needs, what it does not do; plain text
	Channels []Channel     // what it reports however it is configured; Channeler adds what depends on the configuration
	Every    time.Duration // usual interval between Reads; 0 = Read waits for the device itself
	New      func() Config // the default configuration
	Sample   string        // one configuration block, YAML, as under `devices:`; a test loads it
	// Explain says in one line what the bytes on the bus are that were sent (out), or that came in since; "" = nothing that can be told
	// (yet). It is for people who look on. nil = the bytes speak for themselves.
	Explain func(out bool, b []byte) string
	Parts   []Part // how `scan` recognises it on an I2C bus; nil = it is on no such bus, or cannot be told
	// Hear says in a few words what talks there if b, as it came in on a serial line, is of such a device; "" = it is not. settings are keys
	// and values, as YAML, that its configuration block needs beside port and baud; nil = no block can be told. A nil Hear = it does not talk
	// by itself.
	Hear func(b []byte) (what string, settings [][2]string)
}

// A Part says how one kind of I2C part is recognised without changing anything in it. Its driver's settings `bus` and `address` say
// where it is.
type Part struct {
	Name      string   // as the manufacturer has it, for instance "BME280"
	Addresses []uint16 // where it can be, 7 bits; the usual one first
	Register  byte     // whose number is sent to ask for ID; where ID is nil, nothing is sent
	ID        []byte   // what has to come back, in the bits of Mask; nil = the part has no identity: it is likely by its address only
	Mask      []byte   // as long as ID; nil = all bits
	Settings  []string // what its block has to say beside `bus` and `address`, a line each, for instance "part: BMP280"
}

// A Channel is one quantity that a device reports.
type Channel struct {
	Name    string        // unique within the device
	Kind    tidegate.Kind // of its values; KindNone = depends on the device
	Unit    string        // "" = none
	Meaning string        // one line for the technician
	Output  bool          // it can be Set
	Limits  Limits        // of an output
}

// Limits say what may be asked of an output, whoever asks: a rule, a command or a person. The agent holds them before it calls Set.
// The zero Limits allow everything.
type Limits struct {
	Min, Max float64        // of numbers; both 0 = any
	Pause    time.Duration  // least time between two changes: a value that comes earlier waits, and the newest wins; 0 = none
	Safe     tidegate.Value // where the output goes when the gateway starts, stops or has died; KindNone = it stays as it is
}

// A Config is what the user sets for one device. Its exported fields are the settings (`yaml` tag: the key; `doc` tag: one
// line of prose), preset by Driver.New, so that "not set" and "zero" differ.
type Config interface {
	// Validate returns what is wrong, all of it, without touching hardware; nothing means good.
	Validate() []FieldError
	// Open makes the device ready to be read, or says why not. It takes at most a few seconds, and what it opens through h dies
	// with ctx, which lives as long as the device.
	Open(ctx context.Context, h Host) (Device, error)
}

// Channeler is a Config whose channels depend on its settings.
type Channeler interface {
	// Channels returns what a device so configured reports, in the order in which it reports. Of a configuration with faults it returns
	// what it can tell, so that check says all faults at once.
	Channels() []Channel
}

// Paced is a Config whose usual interval depends on its settings.
type Paced interface {
	// Every returns the usual interval between Reads of a device so configured, in the place of Driver.Every; 0 = Read waits for the
	// device itself. Of a configuration with faults it returns what it can tell.
	Every() time.Duration
}

// A PortUser is a Config that says which ports its device uses, so that devices in each other's way are found before they are opened.
type PortUser interface {
	// Ports returns what the device uses. It is called on valid configurations.
	Ports() []PortUse
}

// A PortUse is a port that a device uses.
type PortUse struct {
	Port     string // path of the serial port, or tcp://host:port
	Settings string // of the serial port, as Serial.Settings; all its devices need the same. "" = of no account
	IsSole   bool   // no other device can use it; see Bus.Claim
}

// A FieldError says what is wrong with one setting.
type FieldError struct {
	Field   string // path of the key within the block, for instance "registers[2].type"; "" = the block as a whole
	Got     string // what stands there, as text; "" = nothing to show
	Problem string // what is wrong, lower case, no full stop
	Hint    string // what to do about it; "" = none
}

// Error returns "field: problem (got X); hint".
func (e FieldError) Error() string {
	s := e.Problem
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Got != "" {
		s += fmt.Sprintf(" (got %s)", e.Got)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// OneOf returns what is wrong with the setting field, whose value got has to be one of words: nothing, or one FieldError that lists them.
// The empty word stands for a setting that was left out, and is not listed.
func OneOf(field, got string, words ...string) []FieldError {
	if slices.Contains(words, got) {
		return nil
	}
	listed := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
	return []FieldError{{Field: field, Got: strconv.Quote(got), Problem: "is not known", Hint: "one of " + strings.Join(listed, ", ")}}
}

// A Device is read. It is never called concurrently, but for Set, which may run while Read waits.
type Device interface {
	// Read returns what there is to report, waiting for it if need be. Three things might happen:
	//  1. readings and a nil error: all of them stand, those with a Fault included (one channel failed, the others did not);
	//  2. no reading and an error: the device as a whole could not be read; the agent reports the fault and asks again later.
	//     An error wrapping ErrGone means that the device must be closed and opened anew before it can be read again;
	//  3. ctx is done: an error wrapping ctx.Err(), within 100 ms.
	// The readings belong to the caller until the next Read, which may use their memory again.
	Read(ctx context.Context) ([]tidegate.Reading, error)
	// Close gives back what Open took. It does not wait for the device.
	Close() error
}

// A Setter is a Device with outputs.
type Setter interface {
	// Set drives the output channel to v and returns nil when the device has taken it. It does not retry.
	Set(ctx context.Context, channel string, v tidegate.Value) error
}

// An Advisor is a Device that can tell what is likely to be wrong with its bus.
type Advisor interface {
	// Advice says it in one line, from what went over the bus; "" = nothing is wrong, or nothing that can be told.
	Advice() string
	// Examine asks around on the bus, which takes up to minutes and must not be in use, where silence is all there is; then it returns
	// Advice. The ctx that the device was opened with must be done. The error says why it could not ask.
	Examine(ctx context.Context, h Host) (string, error)
}
