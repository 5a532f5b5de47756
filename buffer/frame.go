package buffer

import (
	"syscall"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// What the queue speaks of in the form in which it is stored; see package stored.
type (
	Frame       = stored.Frame
	Position    = stored.Position
	Drops       = stored.Drops
	Epoch       = stored.Epoch
	Declaration = stored.Declaration
	Tally       = stored.Tally
	Tallies     = stored.Tallies
	Share       = stored.Share
	Segment     = stored.Segment
	Aside       = stored.Aside
)

// ErrDamaged is wrapped where stored bytes are not what was written.
var ErrDamaged = stored.ErrDamaged

// ErrReopen is wrapped once the store takes nothing any more until it is opened anew.
var ErrReopen = disk.ErrReopen

// CausedBy reports whether one of the causes is behind err, which may come of Badger, whose errors hide theirs from errors.Is.
func CausedBy(err error, causes ...syscall.Errno) bool { return disk.CausedBy(err, causes...) }

// DecodeDeclaration is the inverse of Declaration.Encode.
func DecodeDeclaration(b []byte) (Declaration, error) { return stored.DecodeDeclaration(b) }

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
	Away    uint32          // readings in Want that are meant for another uplink only
	Idle    bool            // all of Want is
	Skip    tidegate.Ranges // numbers, up to Last, of records of class debug that the far side was not told to skip yet; not all where they are many
}
