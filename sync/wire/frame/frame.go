// Package frame is the codec of what the gateway keeps: runs of consecutive records of one class, as bytes. README.md beside
// this file gives both forms byte by byte. It is pure: no files, no keys, no checksum (the buffer and the rings have their own).
//
// A body is rows or columns, named by its first byte, each with or without labels. Rows are self-contained record after record, quick to write, and may
// simply be joined: entries of the rings, and live frames. Columns are small: one zstd frame of a layout by series, behind a
// plain preamble from which the readings of any run of records can be counted: the stored form.
//
// The number of the first record and the class are not in the body; buffer.Frame has them. Times and boot times have a
// resolution of one microsecond, finer digits are cut off, and lie within the years -290,307 to 294,246.
package frame

import (
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire/frame/column"
)

// The limits of one body. They bound what a damaged or hostile body can make a decoder allocate; a run of records beyond them
// is cut into several bodies.
const (
	MaxRecords  = 1 << 16  // records in one body
	MaxReadings = 1 << 17  // readings in one body
	MaxBytes    = 16 << 20 // bytes of one body in rows form; bytes of the columns before compression
)

// The forms of a body: its first byte.
const (
	formRows           = 1
	formColumns        = 2
	formLabelled       = 3 // rows: the record has labels
	formLabelledColumn = 4 // columns: some records have labels
)

// ErrTooLarge is wrapped by errors of AppendColumns that say that the records exceed a limit of one body: cut the run in two
// and encode each half. A single record that is too large alone cannot be stored.
var ErrTooLarge = errors.New("too large for one frame")

// Records returns how many records body holds, without decoding them. It accepts both forms.
func Records(body []byte) (int, error) {
	records := 0
	err := walk(body, func(_, run int) bool { records += run; return true })
	return records, err
}

// Count returns how many readings are in n records of body after skipping skip records, without decoding them; n < 0 means all
// that follow. It accepts both forms; the cost grows with the records (rows) or the runs of equal records (columns).
// It is an error when body has fewer than skip+n records.
func Count(body []byte, skip, n int) (readings int, err error) {
	if skip < 0 {
		return 0, fmt.Errorf("count readings: got %d records to skip, want 0 or more", skip)
	}
	records, left := 0, n
	err = walk(body, func(each, run int) bool {
		records += run
		if drop := min(skip, run); drop > 0 {
			skip, run = skip-drop, run-drop
		}
		if n >= 0 {
			run = min(run, left)
			left -= run
		}
		readings += each * run
		return n < 0 || left > 0 || skip > 0
	})
	if err != nil {
		return 0, err
	}
	if skip > 0 || n >= 0 && left > 0 {
		return 0, fmt.Errorf("count readings: got %d records, want %d more", records, skip+max(left, 0))
	}
	return readings, nil
}

// Each calls f with each record of body, in either form: the only uplink it is meant for, "" = all, and how many readings it has.
func (d *Decoder) Each(body []byte, f func(uplink string, readings int)) error {
	recs, err := d.Decode(nil, 0, 0, body)
	for i := range recs {
		f(recs[i].For, len(recs[i].Readings))
	}
	return err
}

// walk calls f for each run of records with equally many readings until f returns false or body ends.
func walk(body []byte, f func(readings, records int) bool) error {
	if len(body) == 0 {
		return errors.New("decode frame: body is empty")
	}
	switch body[0] {
	case formRows, formLabelled:
		return walkRows(body, func(head rowHead) bool { return f(head.readings, 1) })
	case formColumns, formLabelledColumn:
		r := newReader(body, 1)
		walkRuns(&r, f)
		return r.Wrap("decode frame: columns")
	}
	return unknownForm(body[0])
}

func unknownForm(form byte) error {
	return fmt.Errorf("decode frame: got form %d, want %d to %d", form, formRows, formLabelledColumn)
}

// A reader is a column.Reader that knows the parts of a body.
type reader struct{ column.Reader }

func newReader(body []byte, at int) reader { return reader{column.NewReader(body, at)} }

// walkRuns reads the preamble of a columns body behind its form byte and calls f for each run of records with equally many
// readings, until f returns false or the preamble ends.
func walkRuns(r *reader, f func(readings, records int) bool) {
	records := r.Count(MaxRecords, "record count")
	if r.Err() == nil && records == 0 {
		r.Fail("got 0 records, want at least 1")
	}
	total := 0
	for at := 0; at < records && r.Err() == nil; {
		v := r.Uvarint()
		each, run := v>>1, uint64(1)
		if v&1 != 0 {
			run += r.Uvarint()
		}
		switch {
		case each > tidegate.MaxReadings:
			r.Fail("record %d: got %d readings, want at most %d", at, each, tidegate.MaxReadings)
		case run > uint64(records-at):
			r.Fail("record %d: got a run of %d records, want at most %d", at, run, records-at)
		case total+int(each)*int(run) > MaxReadings:
			r.Fail("got more than %d readings", MaxReadings)
		}
		if r.Err() != nil {
			return
		}
		total += int(each) * int(run)
		at += int(run)
		if !f(int(each), int(run)) {
			return
		}
	}
}
