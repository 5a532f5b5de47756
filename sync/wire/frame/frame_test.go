package frame

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

// work makes the records of the bench: seconds of 50 devices read ten times a second, 40 registers each: running numbers, slow
// waveforms and one random in forty. floats gives the waveforms as singles with two decimals.
func work(seconds int, floats bool) []tidegate.Record {
	rnd := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	channels := make([]string, 40)
	for i := range channels {
		channels[i] = fmt.Sprintf("r%d", i)
	}
	var recs []tidegate.Record
	for cycle := range 10 * seconds {
		for dev := range 50 {
			off := time.Duration(cycle)*100*time.Millisecond + time.Duration(dev)*1800*time.Microsecond +
				time.Duration(rnd.IntN(400))*time.Microsecond
			rec := tidegate.Record{Number: uint64(len(recs) + 1), Class: tidegate.ClassReading, Time: start.Add(off), Boot: time.Hour + off}
			for i := range 40 {
				var v tidegate.Value
				wave := 30000 + 20000*math.Sin(2*math.Pi*(off.Seconds()/60+float64(dev*40+i)/17))
				switch {
				case i == 39:
					v = tidegate.Uint(uint64(rnd.Uint32()))
				case i < 20:
					v = tidegate.Uint(uint64(cycle + 1000*dev + i))
				case floats:
					v = tidegate.Float(float64(float32(math.Round(wave) / 100)))
				default:
					v = tidegate.Uint(uint64(wave))
				}
				rec.Readings = append(rec.Readings, tidegate.Reading{Device: fmt.Sprintf("meter%d", dev), Channel: channels[i], Value: v})
			}
			recs = append(recs, rec)
		}
	}
	return recs
}

func newEncoder(t testing.TB) *Encoder {
	t.Helper()
	e, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newDecoder(t testing.TB) *Decoder {
	t.Helper()
	d, err := NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func columnsOf(t testing.TB, recs []tidegate.Record) []byte {
	t.Helper()
	body, err := newEncoder(t).AppendColumns(nil, recs)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// drawValue draws any Value, odd doubles included.
func drawValue(t *rapid.T, kind tidegate.Kind) tidegate.Value {
	switch kind {
	case tidegate.KindFloat:
		switch rapid.IntRange(0, 5).Draw(t, "float") {
		case 0:
			return tidegate.RawValue(kind, rapid.Uint64().Draw(t, "bits"), "")
		case 1:
			return tidegate.Float(rapid.SampledFrom([]float64{
				0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(),
				math.SmallestNonzeroFloat64, math.MaxFloat64, math.SmallestNonzeroFloat32, 1 << 53, 1<<53 + 2, 0.1, 1e15, 1e-15,
			}).Draw(t, "odd"))
		case 2:
			return tidegate.Float(float64(float32(rapid.IntRange(-99999, 99999).Draw(t, "single")) / 10))
		case 3:
			return tidegate.Float(float64(math.Float32frombits(rapid.Uint32().Draw(t, "single"))))
		}
		e := rapid.IntRange(0, 16).Draw(t, "e")
		return tidegate.Float(float64(rapid.IntRange(-99999, 99999).Draw(t, "m")) / math.Pow(10, float64(e)))
	case tidegate.KindInt:
		return tidegate.Int(rapid.Int64().Draw(t, "int"))
	case tidegate.KindUint:
		return tidegate.Uint(rapid.Uint64().Draw(t, "uint"))
	case tidegate.KindBool:
		return tidegate.Bool(rapid.Bool().Draw(t, "bool"))
	case tidegate.KindText:
		return tidegate.Text(rapid.StringN(0, 5, 80).Draw(t, "text"))
	case tidegate.KindBytes:
		return tidegate.Bytes(rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes"))
	}
	return tidegate.Value{}
}

// drawRecords draws any run of records as the agent can make them.
func drawRecords(t *rapid.T) []tidegate.Record {
	names := rapid.SampledFrom([]string{"", "a", "b", "meter1", strings.Repeat("x", 70)})
	labels := rapid.SampledFrom([]string{"", "", `{"a":"b"}`, `{"a":"c","x":"y"}`})
	drawTime := func(label string) time.Time {
		return time.UnixMicro(rapid.Int64Range(-1<<55, 1<<55).Draw(t, label)).UTC()
	}
	at := drawTime("start")
	first := rapid.Uint64Range(1, math.MaxUint64-20).Draw(t, "first")
	class := tidegate.Class(rapid.IntRange(1, 4).Draw(t, "class"))
	// Few layouts, so that shapes repeat.
	kinds := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tidegate.Kind {
		return tidegate.Kind(rapid.IntRange(0, 6).Draw(t, "kind"))
	}), 1, 4).Draw(t, "kinds")
	recs := make([]tidegate.Record, rapid.IntRange(1, 12).Draw(t, "records"))
	for i := range recs {
		at = at.Add(time.Duration(rapid.IntRange(-5, 500).Draw(t, "step")) * time.Microsecond)
		if rapid.IntRange(0, 9).Draw(t, "jump") == 0 {
			at = drawTime("at")
		}
		recs[i] = tidegate.Record{
			Number: first + uint64(i), Class: class, Time: at,
			Quality: tidegate.TimeQuality(rapid.IntRange(0, 3).Draw(t, "quality")),
			Boot:    time.Duration(rapid.Int64Range(0, math.MaxInt64/1000).Draw(t, "boot")) * time.Microsecond,
			For:     names.Draw(t, "for"),
			Labels:  labels.Draw(t, "labels"),
		}
		n := rapid.IntRange(0, 6).Draw(t, "readings")
		recs[i].Readings = make([]tidegate.Reading, n)
		for j := range recs[i].Readings {
			r := tidegate.Reading{
				Device: names.Draw(t, "device"), Channel: names.Draw(t, "channel"), Unit: names.Draw(t, "unit"),
				Value: drawValue(t, kinds[j%len(kinds)]),
			}
			if rapid.IntRange(0, 3).Draw(t, "timed") == 0 {
				if r.Time = drawTime("own"); r.Time.Equal(at) {
					r.Time = time.Time{}
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "faulty") == 0 {
				r.Fault = rapid.StringN(1, 9, 80).Draw(t, "fault")
			}
			recs[i].Readings[j] = r
		}
	}
	return recs
}

// sameRecords says how got differs from want; "" = not at all.
func sameRecords(got, want []tidegate.Record) string {
	if len(got) != len(want) {
		return fmt.Sprintf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if g.Number != w.Number || g.Class != w.Class || g.Time != w.Time || g.Quality != w.Quality || g.Boot != w.Boot || g.For != w.For {
			return fmt.Sprintf("record %d: got %+v, want %+v", i, g, w)
		}
		if len(g.Readings) != len(w.Readings) {
			return fmt.Sprintf("record %d: got %d readings, want %d", i, len(g.Readings), len(w.Readings))
		}
		for j := range w.Readings {
			if g.Readings[j] != w.Readings[j] {
				return fmt.Sprintf("record %d, reading %d: got %#v, want %#v", i, j, g.Readings[j], w.Readings[j])
			}
		}
	}
	return ""
}

// TestAnyRecordsComeBack encodes any records in both forms and wants them back bit by bit, counted right without decoding.
func TestAnyRecordsComeBack(t *testing.T) {
	e, d := newEncoder(t), newDecoder(t)
	rapid.Check(t, func(t *rapid.T) {
		recs := drawRecords(t)
		cols, err := e.AppendColumns([]byte("before"), recs)
		if err != nil {
			t.Fatal(err)
		}
		for form, body := range map[string][]byte{"rows": AppendRows(nil, recs), "columns": cols[len("before"):]} {
			before := make([]tidegate.Record, 1)
			got, err := d.Decode(before, recs[0].Class, recs[0].Number, body)
			if err != nil {
				t.Fatalf("%s: %v", form, err)
			}
			if diff := sameRecords(got[1:], recs); diff != "" {
				t.Fatalf("%s: %s", form, diff)
			}
			checkCounts(t, form, body, recs)
		}
	})
}

func checkCounts(t *rapid.T, form string, body []byte, recs []tidegate.Record) {
	if n, err := Records(body); n != len(recs) || err != nil {
		t.Fatalf("%s: Records = %d, %v, want %d", form, n, err, len(recs))
	}
	skip := rapid.IntRange(0, len(recs)).Draw(t, "skip")
	n := rapid.IntRange(-1, len(recs)-skip).Draw(t, "n")
	part := recs[skip:]
	if n >= 0 {
		part = part[:n]
	}
	want := 0
	for _, rec := range part {
		want += len(rec.Readings)
	}
	if got, err := Count(body, skip, n); got != want || err != nil {
		t.Fatalf("%s: Count(%d, %d) = %d, %v, want %d", form, skip, n, got, err, want)
	}
	if _, err := Count(body, skip, len(recs)-skip+1); err == nil {
		t.Fatalf("%s: Count of one record too many gave no error", form)
	}
}

// TestShapesDiffer wants records back that differ in one respect from the one before, after which the first comes again: what tells
// shapes apart, and more shapes of one device than are tried by comparing.
func TestShapesDiffer(t *testing.T) {
	base := []tidegate.Reading{
		{Device: "m", Channel: "a", Unit: "V", Value: tidegate.Uint(7)},
		{Device: "m", Channel: "b", Unit: "V", Value: tidegate.Uint(8)},
	}
	edits := []func(r *tidegate.Reading){
		func(r *tidegate.Reading) { r.Device = "n" },
		func(r *tidegate.Reading) { r.Channel = "c" },
		func(r *tidegate.Reading) { r.Unit = "" },
		func(r *tidegate.Reading) { r.Value = tidegate.Int(8) },
		func(r *tidegate.Reading) { r.Value = tidegate.Text("8") },
		func(r *tidegate.Reading) { r.Value = tidegate.Value{} },
	}
	var recs []tidegate.Record
	add := func(readings []tidegate.Reading) {
		recs = append(recs, tidegate.Record{Number: uint64(len(recs) + 1), Class: 1, Time: time.UnixMicro(1).UTC(), Readings: readings})
	}
	for i, edit := range edits {
		for k := range base {
			other := slices.Clone(base)
			edit(&other[k])
			add(base)
			add(other)
			if i%2 == 0 {
				add(other[:1])
			}
		}
	}
	add(base)
	got, err := newDecoder(t).Decode(nil, 1, 1, columnsOf(t, recs))
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRecords(got, recs); diff != "" {
		t.Fatal(diff)
	}
}

// TestDecoderForgetsTexts decodes more different names than a Decoder shares, and wants it to stay small.
func TestDecoderForgetsTexts(t *testing.T) {
	d := newDecoder(t)
	for i := range 3 * maxInterned / 500 {
		rec := tidegate.Record{Number: 1, Class: 1, Time: time.UnixMicro(1).UTC()}
		for k := range 500 {
			rec.Readings = append(rec.Readings, tidegate.Reading{Device: "m", Channel: fmt.Sprintf("c%d.%d", i, k)})
		}
		recs := []tidegate.Record{rec}
		for _, body := range [][]byte{AppendRows(nil, recs), columnsOf(t, recs)} {
			got, err := d.Decode(nil, 1, 1, body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := sameRecords(got, recs); diff != "" {
				t.Fatal(diff)
			}
		}
		if len(d.names) > maxInterned {
			t.Fatalf("holds %d names, want at most %d", len(d.names), maxInterned)
		}
	}
}

// TestRowsJoin joins two bodies and wants the records of both.
func TestRowsJoin(t *testing.T) {
	recs := work(1, true)[:7]
	for i := range recs {
		recs[i].Number = 0
	}
	body := AppendRows(AppendRows(nil, recs[:3]), recs[3:])
	if string(body) != string(AppendRows(nil, recs)) {
		t.Fatal("joined bodies differ from the body of all")
	}
	got, err := newDecoder(t).Decode(nil, tidegate.ClassReading, 0, body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRecords(got, recs); diff != "" {
		t.Fatal(diff)
	}
}

// TestCanonical checks what is not kept as it is: finer digits of times, times that equal the record's, parts of a Value that
// its kind does not use.
func TestCanonical(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901999, time.FixedZone("", 3600))
	cut := at.Truncate(time.Microsecond).UTC()
	in := []tidegate.Record{{Number: 5, Class: 1, Time: at, Boot: 1999, Readings: []tidegate.Reading{
		{Device: "a", Time: cut, Value: tidegate.RawValue(99, 7, "x")},
		{Device: "a", Time: time.Time{}.Add(3), Value: tidegate.RawValue(tidegate.KindBool, 7, "x")},
		{Device: "a", Time: at.Add(time.Microsecond), Value: tidegate.RawValue(tidegate.KindUint, 7, "x")},
		{Device: "a", Value: tidegate.RawValue(tidegate.KindText, 7, "x")},
	}}}
	want := []tidegate.Record{{Number: 5, Class: 1, Time: cut, Boot: 1000, Readings: []tidegate.Reading{
		{Device: "a"},
		{Device: "a", Value: tidegate.Bool(true)},
		{Device: "a", Time: cut.Add(time.Microsecond), Value: tidegate.Uint(7)},
		{Device: "a", Value: tidegate.Text("x")},
	}}}
	for _, body := range [][]byte{AppendRows(nil, in), columnsOf(t, in)} {
		got, err := newDecoder(t).Decode(nil, 1, 5, body)
		if err != nil {
			t.Fatal(err)
		}
		if diff := sameRecords(got, want); diff != "" {
			t.Errorf("form %d: %s", body[0], diff)
		}
	}
}

// TestAppendColumnsRefuses checks what cannot be one body, with the exact text.
func TestAppendColumnsRefuses(t *testing.T) {
	many := func(records, readings int) []tidegate.Record {
		recs := make([]tidegate.Record, records)
		for i := range recs {
			recs[i].Number, recs[i].Readings = uint64(i+1), make([]tidegate.Reading, readings)
		}
		return recs
	}
	long := many(2, 1)
	for i := range long {
		long[i].Readings[0].Value = tidegate.Text(strings.Repeat(string(rune('a'+i)), MaxBytes/2))
	}
	other, hole := many(2, 1), many(3, 1)
	other[1].Class = 2
	hole[2].Number = 4
	tests := []struct {
		name  string
		recs  []tidegate.Record
		want  string
		large bool
	}{
		{"no records", nil, "encode frame: got 0 records, want at least 1", false},
		{"another class", other, "encode frame: record 1: got class alarm, want class(0)", false},
		{"a number left out", hole, "encode frame: record 2: got number 4, want 3", false},
		{"a record too long", many(1, 1001), "encode frame: record 0: got 1001 readings, want at most 1000", false},
		{"too many records", many(MaxRecords+1, 0), "encode frame: too large for one frame: got 65537 records, want at most 65536", true},
		{"too many readings", many(132, 1000), "encode frame: too large for one frame: got 132000 readings, want at most 131072", true},
		{"too many bytes", long, "encode frame: too large for one frame: got 16777264 bytes, want at most 16777216", true},
	}
	e := newEncoder(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := e.AppendColumns([]byte("x"), tt.recs)
			if err == nil || err.Error() != tt.want || string(got) != "x" {
				t.Fatalf("got %d bytes, %v\nwant 1, %s", len(got), err, tt.want)
			}
			if errors.Is(err, ErrTooLarge) != tt.large {
				t.Fatalf("errors.Is(err, ErrTooLarge) = %v", !tt.large)
			}
		})
	}
	if _, err := e.AppendColumns(nil, many(MaxRecords, 2)); err != nil {
		t.Fatalf("the most that is allowed: %v", err)
	}
}

// TestLargestBodyComesBack decodes the most readings that a body can have, after which the Decoder gives its room back.
func TestLargestBodyComesBack(t *testing.T) {
	recs := work(7, true)[:MaxReadings/40]
	body := columnsOf(t, recs)
	d := newDecoder(t)
	got, err := d.Decode(nil, 1, 1, body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := sameRecords(got, recs); diff != "" {
		t.Fatal(diff)
	}
	if cap(d.raw) != 0 || cap(d.c.vals) != 0 {
		t.Fatalf("kept %d bytes and %d values, want 0", cap(d.raw), cap(d.c.vals))
	}
}

// TestNumbersAtTheEnd decodes records whose numbers reach, and pass, the largest number.
func TestNumbersAtTheEnd(t *testing.T) {
	d := newDecoder(t)
	recs := work(1, false)[:2]
	for _, body := range [][]byte{AppendRows(nil, recs), columnsOf(t, recs)} {
		got, err := d.Decode(nil, 1, math.MaxUint64-1, body)
		if err != nil || got[1].Number != math.MaxUint64 {
			t.Fatalf("got %v, %v", got, err)
		}
		_, err = d.Decode(nil, 1, math.MaxUint64, body)
		want := "decode frame: got first number 18446744073709551615, want at most 18446744073709551614 for 2 records"
		if err == nil || err.Error() != want {
			t.Fatalf("got %v, want %s", err, want)
		}
	}
}

// TestEncoderIsSmall holds Encoder and Decoder to their memory after a second of the bench's work.
func TestEncoderIsSmall(t *testing.T) {
	recs := work(1, true)
	live := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	e, d := newEncoder(t), newDecoder(t)
	body, err := e.AppendColumns(nil, recs)
	if err != nil {
		t.Fatal(err)
	}
	after := live() - before
	if after > 3<<20 {
		t.Errorf("Encoder holds %d bytes, want at most %d", after, 3<<20)
	}
	before = live()
	if _, err = d.Decode(nil, 1, 1, body); err != nil {
		t.Fatal(err)
	}
	used := live() - before
	if used > 1<<20 {
		t.Errorf("Decoder holds %d bytes, want at most %d", used, 1<<20)
	}
	t.Logf("Encoder %d kB, Decoder %d kB, %.2f bytes per reading", after>>10, used>>10, float64(len(body))/20000)
	runtime.KeepAlive(recs)
	runtime.KeepAlive(e)
	runtime.KeepAlive(d)
}

// TestBytesPerReading holds the columns form to its budget on the bench's work.
func TestBytesPerReading(t *testing.T) {
	for _, floats := range []bool{false, true} {
		recs := work(1, floats)
		if got := float64(len(columnsOf(t, recs))) / 20000; got > 2.5 {
			t.Errorf("floats %v: got %.2f bytes per reading, want at most 2.5", floats, got)
		}
	}
}

func BenchmarkAppendRows(b *testing.B) {
	bench(b, func(recs []tidegate.Record, dst []byte) []byte { return AppendRows(dst, recs) })
}

func BenchmarkAppendColumns(b *testing.B) {
	e := newEncoder(b)
	bench(b, func(recs []tidegate.Record, dst []byte) []byte {
		out, err := e.AppendColumns(dst, recs)
		if err != nil {
			b.Fatal(err)
		}
		return out
	})
}

func BenchmarkDecodeRows(b *testing.B) {
	d := newDecoder(b)
	var dst []tidegate.Record
	body := AppendRows(nil, work(1, true))
	bench(b, func([]tidegate.Record, []byte) []byte { return decodeBench(b, d, &dst, body) })
}

func BenchmarkDecodeColumns(b *testing.B) {
	d := newDecoder(b)
	var dst []tidegate.Record
	body := columnsOf(b, work(1, true))
	bench(b, func([]tidegate.Record, []byte) []byte { return decodeBench(b, d, &dst, body) })
}

func BenchmarkCountColumns(b *testing.B) {
	body := columnsOf(b, work(1, true))
	for b.Loop() {
		if n, err := Count(body, 17, 400); n != 16000 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func decodeBench(b *testing.B, d *Decoder, dst *[]tidegate.Record, body []byte) []byte {
	var err error
	if *dst, err = d.Decode((*dst)[:0], 1, 1, body); err != nil {
		b.Fatal(err)
	}
	return body
}

// bench runs f on one second of work, 20,000 readings, and reports time and bytes for each reading.
func bench(b *testing.B, f func(recs []tidegate.Record, dst []byte) []byte) {
	recs := work(1, true)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = f(recs, dst[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/reading")
	b.ReportMetric(float64(len(dst))/20000, "bytes/reading")
}
