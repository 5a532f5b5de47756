package wire

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// Limits of a receipt.
const (
	MaxHoles       = 64      // runs of numbers that are missing
	maxReceiptBody = 8 << 10 // bytes
)

// A Receipt says what the far side has stored for good: everything of one epoch from 1 to Upto but Holes.
type Receipt struct {
	Epoch string
	Upto  uint64          // 0 = nothing
	Holes tidegate.Ranges // at most MaxHoles runs, all up to Upto
}

// AppendReceipt appends r as JSON to dst. Where it has more than MaxHoles holes, it stops before the next one.
func AppendReceipt(dst []byte, r Receipt) []byte {
	if len(r.Holes) > MaxHoles {
		r.Upto = r.Holes[MaxHoles].First - 1
		r.Holes = r.Holes[:MaxHoles]
	}
	dst = append(dst, `{"ep":`...)
	dst = appendText(dst, r.Epoch)
	dst = append(dst, `,"upto":`...)
	dst = strconv.AppendUint(dst, r.Upto, 10)
	dst = append(dst, `,"holes":`...)
	return append(appendRanges(dst, r.Holes), '}')
}

// ParseReceipt reads a receipt. It must have the labels ep, upto and holes, each once and as they are written here, and no other;
// holes rise, at most MaxHoles of them, and end at upto; nothing follows.
func ParseReceipt(body []byte) (Receipt, error) {
	var r Receipt
	j, err := strict(body, maxReceiptBody)
	if err != nil {
		return Receipt{}, fmt.Errorf("read receipt: %w", err)
	}
	seen := uint32(0)
	j.object(func(label string) {
		switch label {
		case "ep":
			j.once(&seen, 0, label)
			r.Epoch = j.text()
		case "upto":
			j.once(&seen, 1, label)
			r.Upto = j.uint(label)
		case "holes":
			j.once(&seen, 2, label)
			r.Holes = j.ranges(label, MaxHoles)
		default:
			j.fail("label %q is not known", label)
		}
	})
	j.end()
	if j.err == nil && seen != 7 {
		j.fail("got not all of ep, upto and holes")
	}
	if n := len(r.Holes); j.err == nil && n > 0 && r.Holes[n-1].Last > r.Upto {
		j.fail("holes: got %d, want at most upto, %d", r.Holes[n-1].Last, r.Upto)
	}
	if j.err == nil {
		if err := tidegate.CheckName(r.Epoch); err != nil {
			j.fail("ep: %v", err)
		}
	}
	if j.err != nil {
		return Receipt{}, fmt.Errorf("read receipt: %w", j.err)
	}
	return r, nil
}

// strict returns a scanner over body, which must be UTF-8 of at most so many bytes.
func strict(body []byte, most int) (*scanner, error) {
	if len(body) > most {
		return nil, fmt.Errorf("got %d bytes, want at most %d", len(body), most)
	}
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("text is not UTF-8")
	}
	return &scanner{s: string(body)}, nil
}
