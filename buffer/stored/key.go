package stored

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/tidegate-io/tidegate"
)

// Classes is one more than the highest class.
const Classes = uint64(tidegate.ClassDebug) + 1

// First bytes of keys.
const (
	KeyFrame    byte = 'f' // class u8, epoch u32, segment u64, first number u64: a frame
	KeyIndex    byte = 'i' // class u8, epoch u32, segment u64: an Index
	KeyMeta     byte = 'm' // a word, and for some a name behind '|'
	KeyRejected byte = 'r' // '|', uplink, '|', epoch u32, first number u64: an Aside
)

// A Segment names a group of frames of one class and epoch that is dropped as a whole. The zero value is none.
type Segment struct {
	Class   tidegate.Class
	Epoch   uint32
	Counter uint64 // rises with each segment of the state directory
}

// String returns class, epoch and counter, as "reading/3/17".
func (n Segment) String() string { return fmt.Sprintf("%s/%d/%d", n.Class, n.Epoch, n.Counter) }

// Key returns n behind the byte KeyIndex: the key of its index; or KeyFrame: what the keys of its frames begin with.
func (n Segment) Key(first byte) []byte {
	b := make([]byte, 0, 22)
	b = append(b, first, byte(n.Class))
	b = binary.BigEndian.AppendUint32(b, n.Epoch)
	return binary.BigEndian.AppendUint64(b, n.Counter)
}

// FrameKey returns the key of n's frame whose first record is first.
func (n Segment) FrameKey(first uint64) []byte {
	return binary.BigEndian.AppendUint64(n.Key(KeyFrame), first)
}

// ParseSegment reads the segment from a key that Key(KeyIndex) made.
func ParseSegment(key []byte) (n Segment, err error) {
	if len(key) != 14 || key[0] != KeyIndex {
		return n, fmt.Errorf("key of an index: %q: %w", key, ErrDamaged)
	}
	n = Segment{tidegate.Class(key[1]), binary.BigEndian.Uint32(key[2:]), binary.BigEndian.Uint64(key[6:])}
	if uint64(n.Class) >= Classes {
		return Segment{}, fmt.Errorf("key of an index: class is %d, below %d: %w", n.Class, Classes, ErrDamaged)
	}
	return n, nil
}

// Words of meta keys.
const (
	MetaPosition = "pos"    // a Position
	MetaTotals   = "totals" // Totals
	MetaWear     = "wear"   // an account of package wear
	MetaEpoch    = "epoch"  // an Epoch; its name is the ordinal, EpochName
	MetaRule     = "rule"   // state of the rule of that name
	MetaCursor   = "cursor" // a Cursor of the uplink of that name
	MetaAgain    = "again"  // what goes to the uplink of that name again, EncodeAgain
)

// MetaKey returns the key of the value under word, and under a name if there is one.
func MetaKey(word, name string) []byte {
	b := append([]byte{KeyMeta, '|'}, word...)
	if name != "" {
		b = append(append(b, '|'), name...)
	}
	return b
}

// ParseMeta is the inverse of MetaKey.
func ParseMeta(key []byte) (word, name string) {
	_, rest, _ := strings.Cut(string(key), "|")
	word, name, _ = strings.Cut(rest, "|")
	return word, name
}

// EpochName returns the name of an epoch's meta key.
func EpochName(ordinal uint32) string { return string(binary.BigEndian.AppendUint32(nil, ordinal)) }

// ParseEpochName is the inverse of EpochName.
func ParseEpochName(s string) (ordinal uint32, err error) {
	if len(s) != 4 {
		return 0, fmt.Errorf("key of an epoch: %q: %w", s, ErrDamaged)
	}
	return binary.BigEndian.Uint32([]byte(s)), nil
}

// RejectedKey returns the key of what was set aside for the uplink from record first on.
func RejectedKey(uplink string, epoch uint32, first uint64) []byte {
	b := append(append([]byte{KeyRejected, '|'}, uplink...), '|')
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, epoch), first)
}
