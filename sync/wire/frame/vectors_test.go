package frame

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

var update = flag.Bool("update", false, "write the vectors of good bodies anew")

// A vector says what a body holds, or that it is to be refused: testdata/wire/README.md.
type vector struct {
	About   string         `json:"about"`
	Expect  string         `json:"expect"` // "records" or "refused"
	Error   string         `json:"error,omitempty"`
	Class   tidegate.Class `json:"class,omitempty"`
	First   uint64         `json:"first,omitempty"`
	Records []vectorRecord `json:"records,omitempty"`
}

type vectorRecord struct {
	TimeUS   int64           `json:"time_us"`
	Quality  int             `json:"quality"`
	BootUS   int64           `json:"boot_us"`
	For      string          `json:"for"`
	Labels   string          `json:"labels,omitempty"`
	Readings []vectorReading `json:"readings"`
}

type vectorReading struct {
	Device  string `json:"device"`
	Channel string `json:"channel"`
	Unit    string `json:"unit"`
	Kind    int    `json:"kind"`
	Value   string `json:"value"` // floats: 16 hexadecimal digits of the bits; whole numbers and yes/no: decimal; else hexadecimal
	TimeUS  *int64 `json:"time_us,omitempty"`
	Fault   string `json:"fault,omitempty"`
}

func describe(recs []tidegate.Record) []vectorRecord {
	var out []vectorRecord
	for _, rec := range recs {
		v := vectorRecord{rec.Time.UnixMicro(), int(rec.Quality), rec.Boot.Microseconds(), rec.For, rec.Labels, []vectorReading{}}
		for _, r := range rec.Readings {
			kind, bits, text := r.Value.Raw()
			d := vectorReading{Device: r.Device, Channel: r.Channel, Unit: r.Unit, Kind: int(kind), Fault: r.Fault}
			switch kind {
			case tidegate.KindFloat:
				d.Value = fmt.Sprintf("%016x", bits)
			case tidegate.KindInt:
				d.Value = strconv.FormatInt(int64(bits), 10)
			case tidegate.KindUint, tidegate.KindBool:
				d.Value = strconv.FormatUint(bits, 10)
			default:
				d.Value = hex.EncodeToString([]byte(text))
			}
			if !r.Time.IsZero() {
				us := r.Time.UnixMicro()
				d.TimeUS = &us
			}
			v.Readings = append(v.Readings, d)
		}
		out = append(out, v)
	}
	return out
}

// vectorRecords are records with something of everything.
func vectorRecords() []tidegate.Record {
	at := time.Date(2026, 10, 14, 17, 46, 40, 6000, time.UTC)
	var recs []tidegate.Record
	for i := range 5 {
		n := uint64(i)
		t := at.Add(time.Duration(i)*100*time.Millisecond + time.Duration(i*i)*time.Microsecond)
		boot := time.Hour + t.Sub(at)
		meter := []tidegate.Reading{
			{Device: "meter1", Channel: "energy", Unit: "kWh", Value: tidegate.Uint(4294967290 + 3*n)},
			{Device: "meter1", Channel: "power", Unit: "W", Value: tidegate.Int(-1200 + 7*int64(n*n))},
			{Device: "meter1", Channel: "voltage", Unit: "V", Value: tidegate.Float(float64(float32(230.1 + float64(n)/10)))},
			{Device: "meter1", Channel: "temp", Unit: "Cel", Value: tidegate.Float(21.5 + float64(n)/4)},
			{Device: "meter1", Channel: "exact", Value: tidegate.Float(math.Sqrt(2 + float64(n)))},
			{Device: "meter1", Channel: "ratio", Unit: "/", Value: tidegate.Float(float64(float32(math.Pi) / float32(n+1)))},
			{Device: "meter1", Channel: "noise", Value: tidegate.Uint(n * 0x9e3779b97f4a7c15)},
			{Device: "meter1", Channel: "relay", Value: tidegate.Bool(i%2 == 0)},
			{Device: "meter1", Channel: "state", Value: tidegate.Text([]string{"run", "idle", ""}[i%3])},
			{Device: "meter1", Channel: "raw", Value: tidegate.Bytes([]byte{0, 255, byte(i)})},
		}
		recs = append(recs, tidegate.Record{Number: uint64(len(recs) + 100), Class: 1, Time: t, Boot: boot, Readings: meter})
	}
	recs = append(recs,
		tidegate.Record{
			Number: 105, Class: 1, Time: at.Add(time.Second), Quality: tidegate.TimeEstimated, Boot: time.Second,
			For: "cloud2", Readings: []tidegate.Reading{
				{Device: "door", Channel: "edge", Value: tidegate.Bool(true), Time: at.Add(999 * time.Millisecond)},
				{Device: "door", Channel: "edge", Value: tidegate.Bool(false), Time: at.Add(999500 * time.Microsecond)},
			},
		},
		tidegate.Record{Number: 106, Class: 1, Time: at.Add(-time.Second), Quality: tidegate.TimeRelative, Readings: []tidegate.Reading{
			{Device: "meter1", Channel: "temp", Unit: "Cel", Fault: "no reply within 1s"},
			{Device: "odd", Channel: "x", Value: tidegate.Float(math.Copysign(0, -1)), Fault: "out of range"},
			{Device: "odd", Channel: "x", Value: tidegate.RawValue(tidegate.KindFloat, 0x7ff8000000000123, "")},
			{Device: "odd", Channel: "x", Value: tidegate.Float(math.Inf(-1))},
			{Device: "odd", Channel: "x", Value: tidegate.Float(math.SmallestNonzeroFloat64)},
			{Device: "odd", Channel: "text", Value: tidegate.Text("\xff not UTF-8")},
		}},
		tidegate.Record{Number: 107, Class: 1, Time: at, Readings: []tidegate.Reading{}},
	)
	return recs
}

// writeVectors writes the good bodies, and what they hold, anew.
func writeVectors(t *testing.T) {
	recs := vectorRecords()
	gap := []tidegate.Record{{Number: 7, Class: 3, Time: recs[0].Time, Readings: []tidegate.Reading{{
		Device: "_gateway", Channel: "gap",
		Value: tidegate.Text(`{"from":1,"to":6,"count":0,"at_most":40,"cause":"power_cut","t0":0,"t1":0}`),
	}}}}
	var six []tidegate.Record
	for i, rec := range work(1, true) {
		if i%50 == 0 && len(six) < 6 {
			rec.Number = uint64(len(six) + 1)
			six = append(six, rec)
		}
	}
	labelled := slices.Clone(recs[:4])
	labelled[1].Labels, labelled[2].Labels = `{"batch":"4711","mode":"auto"}`, `{"batch":"4711","mode":"auto"}`
	d := newDecoder(t)
	plain := func(recs []tidegate.Record) []byte {
		packed := columnsOf(t, recs)
		split := bytes.Index(packed, []byte{0x28, 0xb5, 0x2f, 0xfd})
		if err := d.inflate(packed[split:]); err != nil {
			t.Fatal(err)
		}
		body := plainColumns(packed[1:split], d.raw)
		body[0] = packed[0]
		return body
	}
	for _, v := range []struct {
		name, about string
		recs        []tidegate.Record
		body        []byte
	}{
		{"rows-mixed", "rows: something of everything", recs, AppendRows(nil, recs)},
		{"rows-gap", "rows: one record that declares a gap", gap, AppendRows(nil, gap)},
		{"columns-mixed", "columns: something of everything", recs, columnsOf(t, recs)},
		{"columns-plain", "columns: the same, in a zstd frame of uncompressed blocks", recs, plain(recs)},
		{"rows-labelled", "rows: labels of some records", labelled, AppendRows(nil, labelled)},
		{"columns-labelled", "columns: labels of some records, in a zstd frame of uncompressed blocks", labelled, plain(labelled)},
		{"columns-gap", "columns: one record that declares a gap", gap, columnsOf(t, gap)},
		{"columns-work", "columns: one device of the bench's work, read six times", six, columnsOf(t, six)},
	} {
		out := vector{About: v.about, Expect: "records", Class: v.recs[0].Class, First: v.recs[0].Number, Records: describe(v.recs)}
		text, err := json.MarshalIndent(out, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		for ext, b := range map[string][]byte{".bin": v.body, ".json": append(text, '\n')} {
			if err := os.WriteFile(filepath.Join(vectorDir, v.name+ext), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func readVector(t *testing.T, name string) (v vector, body []byte) {
	t.Helper()
	text, err := os.ReadFile(strings.TrimSuffix(name, ".bin") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if body, err = os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	return v, body
}

// TestVectors decodes every body under testdata/wire/frame and wants what its description says: the records, or the very error.
// What is encoded of the records must be the same bytes again: of columns those before compression.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	names, err := filepath.Glob(filepath.Join(vectorDir, "*.bin"))
	if err != nil || len(names) < 20 {
		t.Fatalf("got %d vectors, %v, want at least 20", len(names), err)
	}
	d := newDecoder(t)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".bin"), func(t *testing.T) {
			v, body := readVector(t, name)
			recs, err := d.Decode(nil, v.Class, v.First, body)
			if v.Expect == "refused" {
				if err == nil || err.Error() != v.Error {
					t.Fatalf("got %d records, %v\nwant %s", len(recs), err, v.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, want := mustJSON(t, describe(recs)), mustJSON(t, v.Records)
			if got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
			sameBytes(t, d, recs, body)
		})
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sameBytes encodes recs in the form of body and compares.
func sameBytes(t *testing.T, d *Decoder, recs []tidegate.Record, body []byte) {
	t.Helper()
	if body[0] == formRows || body[0] == formLabelled {
		if again := AppendRows(nil, recs); !bytes.Equal(again, body) {
			t.Fatalf("encoded again: got %x\nwant %x", again, body)
		}
		return
	}
	var raws [2][]byte
	for i, b := range [][]byte{body, columnsOf(t, recs)} {
		split := bytes.Index(b, []byte{0x28, 0xb5, 0x2f, 0xfd})
		if err := d.inflate(b[split:]); err != nil {
			t.Fatal(err)
		}
		raws[i] = append(bytes.Clone(b[:split]), d.raw...)
	}
	if !bytes.Equal(raws[0], raws[1]) {
		t.Fatalf("encoded again: got %x\nwant %x", raws[1], raws[0])
	}
}

// TestOtherDecoder has a decoder that was written from README.md, in another language, read the good bodies.
func TestOtherDecoder(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("node is missing: %v; install Debian's nodejs", err)
	}
	for _, name := range []string{"rows-mixed", "rows-gap", "rows-labelled", "columns-plain", "columns-labelled", "columns-gap"} {
		v, _ := readVector(t, filepath.Join(vectorDir, name+".bin"))
		out, err := exec.Command(node, "../../../testdata/rig/checkers/frame.js", filepath.Join(vectorDir, name+".bin")).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		var got []vectorRecord
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		if g, w := mustJSON(t, got), mustJSON(t, v.Records); g != w {
			t.Errorf("%s: got  %s\nwant %s", name, g, w)
		}
	}
}
