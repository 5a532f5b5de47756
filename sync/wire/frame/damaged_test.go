package frame

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/sync/wire/frame/column"
)

// A damaged is a body that must be refused, and why.
type damaged struct {
	name, about string
	body        []byte
	want        string
}

// rowsWith makes a rows body of one record that counts n readings and whose content is behind.
func rowsWith(n int, behind string) []byte {
	content := string(column.AppendUvarint(nil, uint64(n))) + "\x00" + strings.Repeat("\x00", 8) + "\x00\x00" + behind
	return append(binary.LittleEndian.AppendUint32([]byte{formRows}, uint32(len(content))), content...)
}

// parts are the parts of the smallest columns: README.md, "Form 2", 1 to 12. One record has one uint, 5.
func parts() map[string]string {
	return map[string]string{
		"1 texts": "\x02\x00\x01a", "2 series": "\x01\x02\x00\x00\x03", "3 shapes": "\x01\x01\x00",
		"4 shape": "\x00", "5 time": "\x00", "6 boot": "\x00", "7 quality": "\x00\x00", "8 uplink": "\x00\x00", "9 numbers": "\x01\x0a",
		"a others": "", "b times": "\x00", "c faults": "\x00",
	}
}

// columnsWith makes a columns body of one reading with another content of some parts, and more behind.
func columnsWith(more string, changes ...string) []byte {
	p := parts()
	for i := 0; i < len(changes); i += 2 {
		if _, ok := p[changes[i]]; !ok {
			panic(changes[i])
		}
		p[changes[i]] = changes[i+1]
	}
	raw := p["1 texts"] + p["2 series"] + p["3 shapes"] + p["4 shape"] + p["5 time"] + p["6 boot"] + p["7 quality"] + p["8 uplink"] +
		p["9 numbers"] + p["a others"] + p["b times"] + p["c faults"] + more
	return plainColumns([]byte{1, 2}, []byte(raw))
}

const (
	reading = "\x0b\x01a\x01b"                               // of kind uint, device a, channel b; the value is missing
	tooLong = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" // a varint beyond 64 bits
	maxBoot = "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"     // 2^63-1 microseconds
	series1 = "\x01\x02\x00\x00"                             // a series without its kind
)

func damagedRows() []damaged {
	two := append(rowsWith(0, ""), rowsWith(0, "")...)
	two[len(two)/2] = formColumns
	return []damaged{
		{"empty", "no bytes at all", nil, "decode frame: body is empty"},
		{"form", "a form that does not exist", []byte{5, 0, 0}, "decode frame: got form 5, want 1 to 4"},
		{"rows-head-cut", "cut off in the head of a record", []byte{1, 5, 0}, "decode frame: rows: byte 0: head of a record: got 3 bytes, want 5"},
		{"rows-length", "a record that claims 4 GiB", []byte{1, 255, 255, 255, 255, 0}, "decode frame: rows: byte 5: record: got 1 bytes, want 4294967295"},
		{"rows-form-of-second", "a second record of another form", two, "decode frame: rows: byte 22: record begins with 2, want 1 or 3"},
		{"rows-labels", "a record of form 3 without labels", append([]byte{3}, rowsWith(0, "\x00")[1:]...), "decode frame: rows: byte 18: a record of form 3 has no labels"},
		{"rows-too-many", "more readings than a record can have", rowsWith(1001, reading), "decode frame: rows: byte 7: readings of a record: got 1001, want at most 1000"},
		{"rows-count", "more readings than the bytes can hold", rowsWith(1000, reading), "decode frame: rows: byte 7: record: got 16 bytes, want at least 2 for each of 1000 readings"},
		{"rows-short", "too short for what stands before the readings", []byte{1, 2, 0, 0, 0, 0, 0}, "decode frame: rows: byte 6: quality and time: got 1 bytes, want 9"},
		{"rows-boot", "a boot time beyond 292 years", append([]byte{1, 21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, maxBoot+"\x00"...), "decode frame: rows: byte 25: boot time: got 9223372036854775807 microseconds, want at most 9223372036854775"},
		{"rows-readings-cut", "fewer readings than counted", rowsWith(2, reading+"\x05"), "decode frame: rows: byte 23: reading 1 is cut off"},
		{"rows-varint", "a number of more than 64 bits", rowsWith(1, reading+tooLong), "decode frame: rows: byte 22: number exceeds 64 bits"},
		{"rows-varint-cut", "a number that is cut off", rowsWith(1, reading+"\x80"), "decode frame: rows: byte 22: number is cut off"},
		{"rows-kind", "a kind that does not exist", rowsWith(1, "\x07\x00"), "decode frame: rows: byte 19: got a value of kind 7, want at most 6"},
		{"rows-single", "a whole number marked as a single", rowsWith(1, "\x83\x00\x05"), "decode frame: rows: byte 19: a value of kind 3 is marked as a single"},
		{"rows-single-cut", "a single that is cut off", rowsWith(1, "\x81\x00\x05"), "decode frame: rows: byte 19: single: got 1 bytes, want 4"},
		{"rows-double-cut", "a double that is cut off", rowsWith(1, "\x01\x00\x05"), "decode frame: rows: byte 19: double: got 1 bytes, want 8"},
		{"rows-bool", "a yes/no of 2", rowsWith(1, "\x04\x00\x02"), "decode frame: rows: byte 20: yes/no: got index 2, want less than 2"},
		{"rows-text", "a text that claims more than there is", rowsWith(1, "\x05\x00\x09abc"), "decode frame: rows: byte 20: value: got 9, want at most 4"},
		{"rows-time", "a time of its own that equals the record's", rowsWith(1, "\x23\x00\x00\x05"), "decode frame: rows: byte 20: a time of its own equals the record's"},
		{"rows-more", "bytes behind the readings", rowsWith(1, reading+"\x05xyz"), "decode frame: rows: byte 23: record has 3 bytes too many"},
	}
}

func damagedPreambles() []damaged {
	one := columnsWith("")
	cut := one[:len(one)-3]
	bomb := append([]byte{2, 1, 2, 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x40}, 0x03, 0, 0)
	return []damaged{
		{"columns-no-records", "no records", []byte{2, 0}, "decode frame: columns: byte 2: got 0 records, want at least 1"},
		{"columns-records", "too many records", []byte{2, 0x81, 0x80, 4}, "decode frame: columns: byte 4: record count: got 65537, want at most 65536"},
		{"columns-record", "a record with too many readings", []byte{2, 1, 0xd2, 0x0f}, "decode frame: columns: byte 4: record 0: got 1001 readings, want at most 1000"},
		{"columns-readings", "too many readings", []byte{2, 0xe8, 7, 0xd1, 0x0f, 0xe7, 7}, "decode frame: columns: byte 7: got more than 131072 readings"},
		{"columns-run", "a run beyond the records", []byte{2, 2, 3, 2}, "decode frame: columns: byte 4: record 0: got a run of 3 records, want at most 2"},
		{"columns-preamble-cut", "a preamble that is cut off", []byte{2, 2, 2}, "decode frame: columns: byte 3: number is cut off"},
		{"columns-no-zstd", "nothing behind the preamble", []byte{2, 1, 2}, "decode frame: columns: read zstd header: unexpected EOF"},
		{"columns-not-zstd", "something else than zstd", []byte("\x02\x01\x02hello, world"), "decode frame: columns: read zstd header: invalid input: magic number mismatch"},
		{"columns-skippable", "a skippable zstd frame", []byte("\x02\x01\x02\x50\x2a\x4d\x18\x01\x00\x00\x00x"), "decode frame: columns: zstd frame does not state its size"},
		{"columns-no-size", "a zstd frame that does not state its size", []byte("\x02\x01\x02\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00"), "decode frame: columns: zstd frame does not state its size"},
		{"columns-bomb", "a zstd frame that claims 1 GiB", bomb, "decode frame: columns: got 1073741824 bytes when decompressed, want at most 16777216"},
		{"columns-zstd-cut", "a zstd frame that is cut off", cut, "decode frame: columns: decompress: unexpected EOF"},
		{"columns-zstd-size", "a zstd frame that holds less than it claims", append([]byte{2, 1, 2, 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 9, 0, 0, 0}, 0x09, 0, 0, 'x'), "decode frame: columns: decompress: frame size does not match size on stream"},
	}
}

func damagedColumns() []damaged {
	return []damaged{
		{"columns-text-count", "more texts than there can be", columnsWith("", "1 texts", "\x7f"), "decode frame: columns: byte 1: text count: got 127, want at most 6"},
		{"columns-text", "a text that claims more than there is", columnsWith("", "1 texts", "\x01\x7f"), "decode frame: columns: byte 2: text: got 127, want at most 20"},
		{"columns-few-bytes", "fewer bytes than the records take", plainColumns([]byte{64, 1, 63}, []byte("\x00\x00\x01\x00"+strings.Repeat("\x00", 64))), "decode frame: columns: byte 68: got 0 bytes, want at least 192 for 64 records"},
		{"columns-series-count", "more series than readings", columnsWith("", "2 series", "\x02"), "decode frame: columns: byte 5: series count: got 2, want at most 1"},
		{"columns-device", "a device that is no text", columnsWith("", "2 series", "\x01\x04\x00\x00\x03"), "decode frame: columns: byte 6: device: got index 2, want less than 2"},
		{"columns-kind", "a kind that does not exist", columnsWith("", "2 series", "\x01\x02\x00\x00\x07"), "decode frame: columns: byte 9: kind: got index 7, want less than 7"},
		{"columns-unused", "a series that no record uses", plainColumns([]byte{1, 4}, []byte("\x02\x00\x01a\x02\x02\x00\x00\x03\x00\x00\x00\x03\x01\x02\x00\x01"+strings.Repeat("\x00", 12))), "decode frame: columns: byte 24: series 1 has no values"},
		{"columns-shape-readings", "a record whose shape is shorter than its count", plainColumns([]byte{2, 2, 0}, []byte("\x02\x00\x01a\x01\x02\x00\x00\x03\x01\x00\x00\x00"+strings.Repeat("\x00", 12))), "decode frame: columns: byte 12: record 0: got a shape of 0 readings, want 1"},
		{"columns-shape-series", "a shape of a series that does not exist", columnsWith("", "3 shapes", "\x01\x01\x02"), "decode frame: columns: byte 12: series of a shape: got index 1, want less than 1"},
		{"columns-shape-length", "a shape longer than all readings", columnsWith("", "3 shapes", "\x01\x02\x00"), "decode frame: columns: byte 11: shape length: got 2, want at most 1"},
		{"columns-shape", "a shape that does not exist", columnsWith("", "4 shape", "\x01"), "decode frame: columns: byte 13: shape of a record: got index 1, want less than 1"},
		{"columns-boot", "a boot time beyond 292 years", columnsWith("", "6 boot", maxBoot), "decode frame: columns: byte 24: boot time: got -9223372036854775807 microseconds, want at most 9223372036854775"},
		{"columns-quality", "a time quality beyond one byte", columnsWith("", "7 quality", "\x80\x02\x00"), "decode frame: columns: byte 17: quality: got index 256, want less than 256"},
		{"columns-quality-run", "a run of qualities beyond the records", columnsWith("", "7 quality", "\x00\x01"), "decode frame: columns: byte 17: quality run: got 1, want at most 0"},
		{"columns-uplink", "an uplink that is no text", columnsWith("", "8 uplink", "\x02\x00"), "decode frame: columns: byte 18: uplink: got index 2, want less than 2"},
		{"columns-code", "an unknown code", columnsWith("", "9 numbers", "\x81\x0a"), "decode frame: columns: byte 20: got code 0x81 for numbers of kind 3"},
		{"columns-xor", "whole numbers in order 3", columnsWith("", "9 numbers", "\x03\x0a"), "decode frame: columns: byte 20: got code 0x03 for numbers of kind 3"},
		{"columns-exponent", "whole numbers with an exponent", columnsWith("", "9 numbers", "\x05\x0a"), "decode frame: columns: byte 20: got code 0x05 for numbers of kind 3"},
		{"columns-xor-exponent", "order 3 with an exponent", columnsWith("", "2 series", series1+"\x01", "9 numbers", "\x07\x0a"), "decode frame: columns: byte 20: got code 0x07 for numbers of kind 1"},
		{"columns-width", "planes of nine bytes", columnsWith("", "9 numbers", "\x00\x09\x00"), "decode frame: columns: byte 21: width of planes: got 9, want 1 to 8"},
		{"columns-planes", "planes that are cut off", columnsWith("", "9 numbers", "\x00\x08\x00"), "decode frame: columns: byte 24: plane of numbers: got 0 bytes, want 1"},
		{"columns-bits", "yes/no that is cut off", columnsWith("", "2 series", series1+"\x04", "9 numbers", "", "b times", "", "c faults", ""), "decode frame: columns: byte 19: yes/no: got 0 bytes, want 1"},
		{"columns-text-index", "a value that is no text", columnsWith("", "2 series", series1+"\x05", "9 numbers", "", "a others", "\x02"), "decode frame: columns: byte 20: text: got index 2, want less than 2"},
		{"columns-time-count", "more own times than readings", columnsWith("", "b times", "\x02"), "decode frame: columns: byte 22: time count: got 2, want at most 1"},
		{"columns-time-place", "an own time behind the readings", columnsWith("", "b times", "\x01\x01\x02"), "decode frame: columns: byte 23: time place: got 1, want at most 0"},
		{"columns-time", "an own time that equals the record's", columnsWith("", "b times", "\x01\x00\x00"), "decode frame: columns: byte 24: a time of its own equals the record's"},
		{"columns-fault", "a fault that is no text", columnsWith("", "c faults", "\x01\x00\x02"), "decode frame: columns: byte 25: fault: got index 2, want less than 2"},
		{"columns-more", "bytes behind the columns", columnsWith("xyz"), "decode frame: columns: byte 23: got 3 bytes too many"},
	}
}

// TestDamagedBodiesAreRefused refuses each damaged body with the exact text, gives nothing back, and goes on. With -update it
// writes them among the vectors.
func TestDamagedBodiesAreRefused(t *testing.T) {
	d := newDecoder(t)
	if _, err := d.Decode(nil, 1, 1, columnsWith("")); err != nil {
		t.Fatalf("the body that is damaged here is not good: %v", err)
	}
	for _, tt := range append(append(damagedRows(), damagedPreambles()...), damagedColumns()...) {
		t.Run(tt.name, func(t *testing.T) {
			recs, err := d.Decode(nil, 1, 1, tt.body)
			if err == nil || err.Error() != tt.want || recs != nil {
				t.Errorf("got %d records, %v\nwant %s", len(recs), err, tt.want)
			}
			if *update {
				writeRefused(t, tt)
			}
		})
	}
	checkStillGood(t, d)
}

// checkStillGood has d decode a good body after all the damaged ones.
func checkStillGood(t *testing.T, d *Decoder) {
	t.Helper()
	recs := vectorRecords()
	got, err := d.Decode(nil, 1, recs[0].Number, columnsOf(t, recs))
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRecords(got, recs); diff != "" {
		t.Fatal(diff)
	}
}

func writeRefused(t *testing.T, d damaged) {
	t.Helper()
	text, err := json.MarshalIndent(vector{About: d.about, Expect: "refused", Error: d.want, Class: 1, First: 1}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for ext, b := range map[string][]byte{".bin": d.body, ".json": append(text, '\n')} {
		if err := os.WriteFile(filepath.Join(vectorDir, "bad-"+d.name+ext), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
