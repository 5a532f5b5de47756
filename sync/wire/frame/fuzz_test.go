package frame

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegate-io/tidegate"
)

// vectorDir holds the bodies that other implementers test with.
const vectorDir = "../../../testdata/wire/frame"

// checkBody decodes body and, where that succeeds, wants its records back from both forms, and counted right.
func checkBody(t *testing.T, e *Encoder, d *Decoder, body []byte) {
	recs, err := d.Decode(nil, 1, 1, body)
	if err != nil {
		if len(recs) != 0 {
			t.Fatalf("got %d records beside %v", len(recs), err)
		}
		return
	}
	want := 0
	for _, rec := range recs {
		want += len(rec.Readings)
	}
	if n, err := Count(body, 0, len(recs)); n != want || err != nil {
		t.Fatalf("Count = %d, %v, want %d", n, err, want)
	}
	cols, err := e.AppendColumns(nil, recs)
	if err != nil {
		t.Fatalf("encode what was decoded: %v", err)
	}
	for _, again := range [][]byte{AppendRows(nil, recs), cols} {
		got, err := d.Decode(nil, 1, 1, again)
		if err != nil {
			t.Fatalf("form %d: %v", again[0], err)
		}
		if diff := sameRecords(got, recs); diff != "" {
			t.Fatalf("form %d: %s", again[0], diff)
		}
	}
}

// FuzzDecode decodes any bytes.
func FuzzDecode(f *testing.F) {
	bodies, err := filepath.Glob(filepath.Join(vectorDir, "*.bin"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range bodies {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	e, d := newEncoder(f), newDecoder(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		checkBody(t, e, d, body)
		for _, n := range []int{-1, 0, 1} {
			if got, err := Count(body, 1, n); got < 0 || got > MaxReadings {
				t.Fatalf("Count = %d, %v", got, err)
			}
		}
	})
}

// FuzzColumns decodes any preamble with any columns behind it: the part of a body that compression hides from FuzzDecode.
func FuzzColumns(f *testing.F) {
	d := newDecoder(f)
	labelled := vectorRecords()
	labelled[1].Labels = `{"a":"b"}`
	for _, recs := range [][]tidegate.Record{work(1, true)[:3], vectorRecords(), labelled} {
		body := columnsOf(f, recs)
		split := bytes.Index(body, []byte{0x28, 0xb5, 0x2f, 0xfd})
		if err := d.inflate(body[split:]); err != nil {
			f.Fatal(err)
		}
		f.Add(body[1:split], bytes.Clone(d.raw))
	}
	e := newEncoder(f)
	f.Fuzz(func(t *testing.T, preamble, raw []byte) {
		body := plainColumns(preamble, raw)
		checkBody(t, e, d, body)
		body[0] = formLabelledColumn
		checkBody(t, e, d, body)
	})
}

// plainColumns makes a columns body whose zstd frame holds raw uncompressed, in blocks of at most 128 KiB (RFC 8878 section 3.1.1).
func plainColumns(preamble, raw []byte) []byte {
	body := append([]byte{formColumns}, preamble...)
	body = append(body, 0x28, 0xb5, 0x2f, 0xfd, 0xa0) // magic; single segment, content size in 4 bytes, no checksum
	body = binary.LittleEndian.AppendUint32(body, uint32(len(raw)))
	for {
		n := min(len(raw), 128<<10)
		head := uint32(n) << 3
		if n == len(raw) {
			head |= 1
		}
		body = append(body, byte(head), byte(head>>8), byte(head>>16))
		body = append(body, raw[:n]...)
		if raw = raw[n:]; len(raw) == 0 {
			return body
		}
	}
}
