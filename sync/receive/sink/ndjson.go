// Package sink holds the stores of the far end. NDJSON writes readings as lines of JSON into files of a directory, with the
// ledger beside them.
//
// The directory holds readings-000001.ndjson and following, of which only the last is still written (what a crash left behind
// its length in the ledger is cut off at the next start, so a reader of the last file may see lines that come again; a file with
// a successor never changes and may be moved away); ledger-000001.log, one line for each write; refused-000001.ndjson, payloads
// that could not be understood; and lock. A write is durable in the readings before the ledger names it. No readings are ever
// removed: that is for whoever collects them.
package sink

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
)

// Kinds of files.
const (
	kindReadings = "readings"
	kindLedger   = "ledger"
	kindRefused  = "refused"
)

// Bounds.
const (
	compactAt   = 4 << 20  // default of NDJSON.compact
	compactGrow = 4        // how many times its first line a ledger file must have as well
	refusedSize = 16 << 20 // bytes of one file of refused payloads
	refusedKept = 4        // files of refused payloads that are kept
)

// NDJSONOptions says how an NDJSON sink works. The zero value of each means its default.
type NDJSONOptions struct {
	MaxBytes int64         // length at which a readings file gets a successor; default 64 MiB
	MaxAge   time.Duration // age at which it does, at the next write; default 24 h
}

// NDJSON is a receive.Sink that writes lines of JSON; see the package's comment. Make one with OpenNDJSON.
type NDJSON struct {
	options NDJSONOptions
	disk    disk
	close   func() error
	compact int64 // bytes of a ledger file beyond which it may be begun anew

	ledger *receive.Ledger
	last   entry // the last one that is durable
	dirty  bool  // a write failed since: the readings file may be longer than last says
	log    struct {
		nr     int   // number of its file
		length int64 // of its whole lines
		first  int64 // length of its first line
		next   int64 // length of its successor, which is whole but has not taken its place yet; 0 = there is none
	}
	refused struct {
		nr     int
		length int64
	}
}

// OpenNDJSON opens the directory path, which is made if need be, for one receiver.
func OpenNDJSON(path string, o NDJSONOptions) (*NDJSON, error) {
	d, err := openDirectory(path)
	if err != nil {
		return nil, fmt.Errorf("open NDJSON sink: %w", err)
	}
	return newNDJSON(d, o, d.Close), nil
}

func newNDJSON(d disk, o NDJSONOptions, shut func() error) *NDJSON {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxAge <= 0 {
		o.MaxAge = 24 * time.Hour
	}
	return &NDJSON{options: o, disk: d, close: shut, compact: compactAt}
}

// Close closes the files and unlocks the directory.
func (s *NDJSON) Close() error { return s.close() }

// Load reads the ledger, checks that the last readings file agrees with it, and cuts off what a crash left behind.
func (s *NDJSON) Load(context.Context) (*receive.Ledger, error) {
	names, err := s.disk.Names()
	if err != nil {
		return nil, err
	}
	if err := s.loadLedger(names); err != nil {
		return nil, err
	}
	if err := s.checkReadings(names); err != nil {
		return nil, err
	}
	s.refused.nr = 1
	if nrs := numbers(names, kindRefused); len(nrs) > 0 {
		s.refused.nr = nrs[len(nrs)-1]
		s.refused.length = names[fileName(kindRefused, s.refused.nr)]
	}
	return takeSnapshot(s.ledger).copy()
}

// copy returns the ledger of s, sharing nothing with it.
func (s *snapshot) copy() (*receive.Ledger, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("copy ledger: %w", err)
	}
	var c snapshot
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("copy ledger: %w", err)
	}
	return c.ledger(), nil
}

// loadLedger replays the newest ledger file and then removes the others: an older one is out of date, and a newer one that has not a
// single whole line was being begun when it was cut short. Where there is none to replay, and there should be, all stay: what is left
// of a damaged one may be needed to restore it.
func (s *NDJSON) loadLedger(names map[string]int64) error {
	nrs := numbers(names, kindLedger)
	var others []string
	for i := len(nrs) - 1; i >= 0; i-- {
		name := fileName(kindLedger, nrs[i])
		if s.ledger != nil {
			others = append(others, name)
			continue
		}
		b, err := s.disk.Read(name, 0, names[name])
		if err != nil {
			return err
		}
		r, err := readLedger(name, b)
		if err != nil {
			return err
		}
		if r.ledger == nil {
			others = append(others, name)
			continue
		}
		s.ledger, s.last = r.ledger, r.last
		s.log.nr, s.log.length = nrs[i], r.length
	}
	if s.ledger != nil {
		return s.remove(others)
	}
	if old := numbers(names, kindReadings); len(old) > 0 {
		return fmt.Errorf("%s is there but no ledger: what it holds would be stored again; restore the ledger or move the "+
			"readings files away", fileName(kindReadings, old[0]))
	}
	if err := s.remove(others); err != nil {
		return err
	}
	s.ledger = receive.NewLedger()
	return s.beginLedger()
}

// remove removes files.
func (s *NDJSON) remove(names []string) error {
	for _, name := range names {
		if err := s.disk.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// checkReadings holds the readings files against the ledger.
func (s *NDJSON) checkReadings(names map[string]int64) error {
	for _, n := range numbers(names, kindReadings) {
		if n > s.last.File {
			if err := s.disk.Remove(fileName(kindReadings, n)); err != nil {
				return err
			}
		}
	}
	if s.last.File == 0 {
		return nil
	}
	name := fileName(kindReadings, s.last.File)
	size, ok := names[name]
	switch {
	case !ok:
		return fmt.Errorf("%s is missing, the ledger counts %d bytes in it; restore it (only files that have a successor may be moved)",
			name, s.last.Length)
	case size < s.last.Length:
		return fmt.Errorf("%s is %d bytes long, the ledger counts %d; restore it", name, size, s.last.Length)
	}
	b, err := s.disk.Read(name, s.last.From, s.last.Length-s.last.From)
	if err != nil {
		return err
	}
	if sum := crc32.Checksum(b, crcTable); sum != s.last.CRC {
		return fmt.Errorf("%s: bytes %d to %d: checksum is %08x, the ledger says %08x; restore it", name, s.last.From, s.last.Length,
			sum, s.last.CRC)
	}
	if size > s.last.Length {
		return s.disk.Write(name, s.last.Length, nil)
	}
	return nil
}

// Write stores b: readings first, then the ledger's line.
func (s *NDJSON) Write(ctx context.Context, b receive.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.log.next > 0 || s.log.length > s.compact && s.log.length > compactGrow*s.log.first {
		if err := s.beginLedger(); err != nil {
			return err
		}
	}
	next := s.last
	next.N++
	next.Begin, next.Changes, next.Refused = nil, b.Changes, len(b.Refused)
	err := s.writeReadings(&next, b.Records)
	if err == nil {
		err = s.writeRefused(b.Refused)
	}
	var line []byte
	if err == nil {
		line, err = next.line()
	}
	if err == nil {
		err = s.disk.Write(fileName(kindLedger, s.log.nr), s.log.length, line)
	}
	if err != nil {
		s.dirty = true
		return err
	}
	s.log.length += int64(len(line))
	s.last = next
	s.ledger.Apply(b.Changes, len(b.Refused))
	return nil
}

// writeReadings writes the readings of records and notes in e where they stand.
func (s *NDJSON) writeReadings(e *entry, records []receive.Stored) error {
	if s.dirty && e.File > 0 {
		if err := s.disk.Write(fileName(kindReadings, e.File), e.Length, nil); err != nil {
			return err
		}
		s.dirty = false
	}
	if len(records) == 0 {
		return nil
	}
	now := time.Now()
	if e.File == 0 || e.Length >= s.options.MaxBytes || now.Sub(time.Unix(e.Since, 0)) >= s.options.MaxAge {
		e.File, e.Length, e.Since = e.File+1, 0, now.Unix()
	}
	var lines []byte
	for i := range records {
		lines = appendRecord(lines, &records[i])
	}
	if err := s.disk.Write(fileName(kindReadings, e.File), e.Length, lines); err != nil {
		return err
	}
	e.From, e.Length, e.CRC = e.Length, e.Length+int64(len(lines)), crc32.Checksum(lines, crcTable)
	return nil
}

// writeRefused sets payloads aside. After a crash one may stand there twice.
func (s *NDJSON) writeRefused(list []receive.Refusal) error {
	if len(list) == 0 {
		return nil
	}
	var lines []byte
	for i := range list {
		x := &list[i]
		line, err := json.Marshal(struct {
			Time  string `json:"time"`
			Topic string `json:"topic"`
			Why   string `json:"why"`
			Size  int    `json:"size"`
			Hex   string `json:"hex"`
		}{x.Time.UTC().Format(time.RFC3339Nano), x.Topic, x.Why, x.Size, hex.EncodeToString(x.Body)})
		if err != nil {
			return fmt.Errorf("encode refused payload: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	if s.refused.length >= refusedSize {
		s.refused.nr, s.refused.length = s.refused.nr+1, 0
		if old := s.refused.nr - refusedKept; old > 0 {
			if err := s.disk.Remove(fileName(kindRefused, old)); err != nil {
				return err
			}
		}
	}
	if err := s.disk.Write(fileName(kindRefused, s.refused.nr), s.refused.length, lines); err != nil {
		return err
	}
	s.refused.length += int64(len(lines))
	return nil
}

// beginLedger begins a new ledger file with a snapshot and removes the one before. Until both are done nothing may be written: at
// a start the newest whole one counts. Nor is a whole one written again: the one before may be gone.
func (s *NDJSON) beginLedger() error {
	begin := s.last
	begin.N++
	begin.Begin, begin.Changes, begin.Refused = takeSnapshot(s.ledger), nil, 0
	if s.log.next == 0 {
		line, err := begin.line()
		if err != nil {
			return err
		}
		if err := s.disk.Write(fileName(kindLedger, s.log.nr+1), 0, line); err != nil {
			return fmt.Errorf("begin ledger file %d: %w", s.log.nr+1, err)
		}
		s.log.next = int64(len(line))
	}
	if s.log.nr > 0 {
		if err := s.disk.Remove(fileName(kindLedger, s.log.nr)); err != nil {
			return fmt.Errorf("remove ledger file %d: %w", s.log.nr, err)
		}
	}
	s.log.nr++
	s.log.length, s.log.first, s.log.next = s.log.next, s.log.next, 0
	s.last = begin
	return nil
}
