// Package wire turns records into payloads and back. It is pure: no files, no sockets, no topics, no compression policy.
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
	Total int
}
