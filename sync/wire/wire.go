// Package wire turns records into payloads and back: SenML JSON (RFC 8428) for packs, and the JSON of receipts and gaps.
// It is pure: no files, no sockets, no topics, no compression policy. Every byte of it is specified in ../README.md.
package wire

import (
	"github.com/tidegate-io/tidegate"
)

// A Pack is the content of one payload: records of one gateway and one epoch, in rising order of numbers.
type Pack struct {
	Gateway string
	Epoch   string
	Records []tidegate.Record
	Skip    tidegate.Ranges // numbers among and around them that are not meant for this uplink
	Part    Part            // set when the pack holds a part of one record
}

// Part says which part of a single record a pack holds, when the record alone exceeds the endpoint's limit.
// The zero Part means that records are whole.
type Part struct {
	Index int // 1 to Total
	Total int // at most tidegate.MaxReadings
}

// MaxBody is the largest payload, in bytes before compression, that DecodeSenML takes.
const MaxBody = 16 << 20

// MaxElements is how many readings a payload may hold for DecodeSenML to take it.
const MaxElements = 200_000

// SkipChannel is the channel of tidegate.GatewayDevice that stands in a pack without records, where only Skip is told.
const SkipChannel = "skip"

// What a number that JSON has no word for says as a fault.
const (
	FaultNaN    = "value is not a number"
	FaultPosInf = "value is infinite"
	FaultNegInf = "value is minus infinite"
	FaultNone   = "no value" // a reading with neither value nor fault
)

// The parts of names: urn:tidegate:{gateway}:{device}/{channel}, and /fault behind it.
const (
	urn         = "urn:tidegate:"
	faultSuffix = "/fault"
)

// exactInt is the largest magnitude up to which JSON's usual reader, a double, keeps every whole number.
const exactInt = 1 << 53

// maxMicros is the largest time, and the largest distance of a reading's time from its record's, in microseconds.
const maxMicros = 4e18

// wordBytes are the characters of names on the wire.
var wordBytes = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") {
		t[c] = true
	}
	return t
}()

// isWord reports whether s can stand in a name: 1 to tidegate.MaxName characters A-Z a-z 0-9 . _ -. Unlike tidegate.CheckName it
// allows the gateway's own names, which begin with "_".
func isWord(s string) bool {
	if s == "" || len(s) > tidegate.MaxName {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !wordBytes[s[i]] {
			return false
		}
	}
	return true
}
