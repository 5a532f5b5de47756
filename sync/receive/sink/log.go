package sink

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/receive"
)

// format is the version of the ledger's format.
const format = 1

// crcTable is CRC-32C (Castagnoli).
var crcTable = crc32.MakeTable(crc32.Castagnoli)

// An entry is one line of the ledger: where the readings end, and what has changed in the rows. A line is the CRC-32C of its
// JSON text in eight hexadecimal digits, a space, the text and a line feed.
type entry struct {
	N       uint64           `json:"n"`      // rises by one with each line, across files
	File    int              `json:"file"`   // number of the readings file that is being written; 0 = none yet
	Length  int64            `json:"length"` // its length, bytes
	From    int64            `json:"from"`   // where the last write to it began
	CRC     uint32           `json:"crc"`    // CRC-32C of its bytes From to Length
	Since   int64            `json:"since"`  // when it was begun, Unix seconds
	Refused int              `json:"refused,omitempty"`
	Changes []receive.Change `json:"changes,omitempty"`
	Begin   *snapshot        `json:"begin,omitempty"` // on a file's first line only
}

// A snapshot is the whole ledger; every ledger file begins with one.
type snapshot struct {
	Format  int    `json:"format"`
	Refused uint64 `json:"refused"`
	Forgot  uint64 `json:"forgotten,omitempty"`
	Rows    []row  `json:"rows"`
}

// A row is a receive.Row with its key.
type row struct {
	receive.Key
	receive.Row
}

// takeSnapshot returns l as a snapshot.
func takeSnapshot(l *receive.Ledger) *snapshot {
	s := &snapshot{Format: format, Refused: l.Refused, Forgot: l.Forgotten, Rows: []row{}}
	for _, gateway := range l.Gateways() {
		for _, k := range l.Keys(gateway) {
			s.Rows = append(s.Rows, row{Key: k, Row: *l.Row(k)})
		}
	}
	return s
}

// ledger returns s as a ledger.
func (s *snapshot) ledger() *receive.Ledger {
	l := receive.NewLedger()
	l.Refused, l.Forgotten = s.Refused, s.Forgot
	for i := range s.Rows {
		l.Put(s.Rows[i].Key, &s.Rows[i].Row)
	}
	return l
}

// line returns e as it stands in the ledger.
func (e *entry) line() ([]byte, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode ledger entry %d: %w", e.N, err)
	}
	b := fmt.Appendf(nil, "%08x ", crc32.Checksum(text, crcTable))
	return append(append(b, text...), '\n'), nil
}

// good reports whether line, without its line feed, is what was written; text is its JSON.
func good(line []byte) (text []byte, ok bool) {
	if len(line) < 10 || line[8] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	return line[9:], err == nil && uint32(sum) == crc32.Checksum(line[9:], crcTable)
}

// A replay is what a ledger file says.
type replay struct {
	ledger *receive.Ledger // nil = not even its first line is whole
	last   entry           // the last one
	length int64           // of the whole lines; behind may be a torn one
}

// readLedger replays a ledger file. A line that is not whole is torn by a crash if nothing good follows it, else the file is damaged.
func readLedger(name string, b []byte) (r replay, err error) {
	for nr := 1; int(r.length) < len(b); nr++ {
		rest := b[r.length:]
		end := bytes.IndexByte(rest, '\n')
		text, ok := good(rest[:max(end, 0)])
		if !ok {
			if n := countGood(rest[end+1:]); end >= 0 && n > 0 {
				return r, fmt.Errorf("%s: line %d (at byte %d) is damaged and %d good lines follow it; restore the file from a copy",
					name, nr, r.length, n)
			}
			return r, nil
		}
		if err := r.take(text); err != nil {
			return r, fmt.Errorf("%s: line %d: %w", name, nr, err)
		}
		r.length += int64(end) + 1
	}
	return r, nil
}

// countGood returns how many whole lines there are in b.
func countGood(b []byte) (n int) {
	for line := range bytes.SplitSeq(b, []byte("\n")) {
		if _, ok := good(line); ok {
			n++
		}
	}
	return n
}

// take replays one line.
func (r *replay) take(text []byte) error {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return err
	}
	switch {
	case r.ledger == nil && e.Begin == nil:
		return fmt.Errorf("the file does not begin with a snapshot")
	case r.ledger == nil && e.Begin.Format != format:
		return fmt.Errorf("format: got %d, want %d; it was written by another release", e.Begin.Format, format)
	case r.ledger == nil:
		r.ledger = e.Begin.ledger()
	case e.N != r.last.N+1:
		return fmt.Errorf("entry number: got %d, want %d; lines are missing", e.N, r.last.N+1)
	}
	r.ledger.Apply(e.Changes, e.Refused)
	r.last = e
	return nil
}

// check returns what no release of this program writes.
func (e *entry) check() error {
	if e.File < 0 || e.From < 0 || e.Length < e.From || e.File == 0 && e.Length > 0 || e.Refused < 0 {
		return fmt.Errorf("entry %d: file %d, from %d, length %d, refused %d do not go together", e.N, e.File, e.From, e.Length, e.Refused)
	}
	for i := range e.Changes {
		for _, p := range e.Changes[i].Held {
			if p.Total < 1 || p.Total > tidegate.MaxReadings || p.Index < 1 || p.Index > p.Total {
				return fmt.Errorf("entry %d: part %d/%d, want 1 to %d of at most %d", e.N, p.Index, p.Total, p.Total, tidegate.MaxReadings)
			}
		}
	}
	if e.Begin == nil {
		return nil
	}
	for i := range e.Begin.Rows {
		for _, h := range e.Begin.Rows[i].Held {
			if h.Total != len(h.Parts) {
				return fmt.Errorf("entry %d: record %d is held with %d parts, want %d", e.N, h.Number, len(h.Parts), h.Total)
			}
		}
	}
	return nil
}

// fileName returns the name of the n-th file of a kind.
func fileName(kind string, n int) string {
	if kind == kindLedger {
		return fmt.Sprintf("%s-%06d.log", kind, n)
	}
	return fmt.Sprintf("%s-%06d.ndjson", kind, n)
}

// numbers returns the numbers of the files of a kind, rising.
func numbers(names map[string]int64, kind string) []int {
	var out []int
	for name := range names {
		rest, ok := strings.CutPrefix(name, kind+"-")
		digits, _, dot := strings.Cut(rest, ".")
		n, err := strconv.Atoi(digits)
		if ok && dot && err == nil && n > 0 && name == fileName(kind, n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}
