package buffer

import (
	"github.com/tidegate-io/tidegate"
)

// A Frame is what the queue stores under one key: a run of consecutive records of one class. The body is bytes to it.
type Frame struct {
	Epoch  uint32 // ordinal of the epoch: rises by one with each new epoch of this state directory; see Queue.Epochs
	Class  tidegate.Class
	First  uint64 // number of its first record
	Last   uint64 // number of its last record
	Count  uint32 // readings in all its records
	T0, T1 int64  // earliest and latest time of its records, Unix milliseconds
	Body   []byte // the records, as sync/wire/frame encodes them
}

// Records returns how many records f holds.
func (f *Frame) Records() uint64 { return f.Last - f.First + 1 }

// A Place is a position in the line of numbers: the first record wanted.
type Place struct {
	Epoch  uint32
	Number uint64
}

// Before reports whether p comes before q.
func (p Place) Before(q Place) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Number < q.Number
}

// A Look is a Frame as a Cursor shows it.
type Look struct {
	Frame
	EpochID string          // the name of the epoch on the wire
	Want    tidegate.Ranges // those of its records that the cursor still wants, in rising order; never empty
}
