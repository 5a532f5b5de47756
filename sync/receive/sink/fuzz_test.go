package sink

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/tidegate-io/tidegate/sync/receive"
)

// FuzzLedger loads a directory with any ledger, as it stands and with checksums that fit its lines: it must load or say what is
// wrong, and what it loads must be writable and load again to the same.
func FuzzLedger(f *testing.F) {
	b := batchOf(1, 3)
	b.Changes[0].Held = []receive.Part{{Number: 9, Index: 1, Total: 2, Body: []byte("x")}}
	b.Changes[0].Late = []receive.Late{{Number: 1, Readings: 2}}
	for _, e := range []entry{
		{N: 1, Begin: &snapshot{Format: 1}},
		{N: 2, File: 0, Changes: b.Changes, Refused: 1},
		{N: 1, Begin: &snapshot{Format: 1, Rows: []row{{Key: key, Row: receive.Row{Stored: b.Changes[0].Stored, Held: []receive.Held{{Number: 4, Total: 1, Parts: [][]byte{nil}}}}}}}},
	} {
		line, err := e.line()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line, false)
		f.Add(line[9:], true)
	}
	f.Fuzz(func(t *testing.T, text []byte, sums bool) {
		if sums {
			var summed []byte
			for line := range bytes.Lines(text) {
				line = bytes.TrimSuffix(line, []byte("\n"))
				summed = fmt.Appendf(summed, "%08x %s\n", crc32.Checksum(line, crcTable), line)
			}
			text = summed
		}
		d := &fakeDisk{files: map[string][]byte{fileName(kindLedger, 1): text}, left: -1}
		s := newNDJSON(d, NDJSONOptions{}, nil)
		l, err := s.Load(context.Background())
		if err != nil || s.last.File > 0 {
			return
		}
		before := fmt.Sprintf("%+v", l.Account())
		s = newNDJSON(d, NDJSONOptions{}, nil)
		if l, err = s.Load(context.Background()); err != nil || fmt.Sprintf("%+v", l.Account()) != before {
			t.Fatalf("loaded again: %v", err)
		}
		if err := s.Write(context.Background(), receive.Batch{}); err != nil {
			t.Fatal(err)
		}
	})
}
