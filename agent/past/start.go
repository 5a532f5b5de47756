package past

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
)

// A Start is a moment at which rules began anew: the gateway started, or other rules were armed. It is kept with the state of rules, and is
// durable before the first record that was judged after it.
type Start struct {
	Count    uint64       // how many there were before
	Place    buffer.Place // of the first record behind it
	Boot     time.Duration
	Wall     time.Time // to the millisecond
	SameBoot bool      // boot time went on since the last
	Reads    bool      // so did reading: other rules were armed
	Fresh    bool      // no rule had a state
	Armed    []uint32  // fingerprints of the rules, the first maxArmed
}

const (
	// maxStarts bounds the starts that are kept: the newest.
	maxStarts = 128
	// maxArmed bounds the fingerprints in a Start.
	maxArmed = 256
	// startKey begins the keys of starts among those of rules' states; no rule and no channel has it.
	startKey     = "//"
	startVersion = 1
)

// Flags in the body of a Start.
const (
	flagSameBoot = 1 << iota
	flagFresh
	flagReads
)

var errStart = errors.New("start of rules is damaged")

// State returns s as it is kept, with the states of rules: version, count, epoch ordinal, number, boot time in microseconds (signed), wall time in Unix
// milliseconds (signed), flags, count of fingerprints, all varints; fingerprints of 4 bytes, big endian.
func (s *Start) State() rules.State {
	b := []byte{startVersion}
	b = binary.AppendUvarint(b, s.Count)
	b = binary.AppendUvarint(b, uint64(s.Place.Epoch))
	b = binary.AppendUvarint(b, s.Place.Number)
	b = binary.AppendVarint(b, s.Boot.Microseconds())
	b = binary.AppendVarint(b, s.Wall.UnixMilli())
	flags := uint64(0)
	if s.SameBoot {
		flags |= flagSameBoot
	}
	if s.Fresh {
		flags |= flagFresh
	}
	if s.Reads {
		flags |= flagReads
	}
	b = binary.AppendUvarint(b, flags)
	armed := s.Armed[:min(len(s.Armed), maxArmed)]
	b = binary.AppendUvarint(b, uint64(len(armed)))
	for _, f := range armed {
		b = binary.BigEndian.AppendUint32(b, f)
	}
	return rules.State{Key: fmt.Sprintf("%s%d", startKey, s.Count%maxStarts), Body: b}
}

func decodeStart(b []byte) (s Start, err error) {
	if len(b) == 0 || b[0] != startVersion {
		return s, fmt.Errorf("%w: no version %d", errStart, startVersion)
	}
	b = b[1:]
	bad := false
	unsigned := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	signed := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			bad, b = true, nil
			return 0
		}
		b = b[n:]
		return v
	}
	s.Count = unsigned()
	epoch := unsigned()
	s.Place = buffer.Place{Epoch: uint32(epoch), Number: unsigned()}
	boot := signed()
	s.Boot = time.Duration(boot) * time.Microsecond
	s.Wall = time.UnixMilli(signed())
	flags := unsigned()
	s.SameBoot, s.Fresh, s.Reads = flags&flagSameBoot != 0, flags&flagFresh != 0, flags&flagReads != 0
	n := unsigned()
	if bad || n > maxArmed || uint64(len(b)) != 4*n {
		return s, fmt.Errorf("%w: %d bytes left for %d fingerprints", errStart, len(b), n)
	}
	if epoch > math.MaxUint32 || s.Boot.Microseconds() != boot {
		return s, fmt.Errorf("%w: epoch %d, boot time %d us are out of range", errStart, epoch, boot)
	}
	for i := range int(n) {
		s.Armed = append(s.Armed, binary.BigEndian.Uint32(b[4*i:]))
	}
	return s, nil
}

// Starts takes the starts out of what is stored of rules, by key, and returns them in their order. One that cannot be read is left out: what lies
// before the next is then not known.
func Starts(stored map[string][]byte) []Start {
	var out []Start
	for key, body := range stored {
		if !strings.HasPrefix(key, startKey) {
			continue
		}
		delete(stored, key)
		if s, err := decodeStart(body); err == nil {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Start) int { return cmp.Compare(a.Count, b.Count) })
	return out
}
