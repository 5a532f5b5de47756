package export

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// line is a line of NDJSON as README.md has it.
type line struct {
	Number       uint64          `json:"number"`
	Epoch        string          `json:"epoch"`
	Time         time.Time       `json:"time"`
	TQ           string          `json:"tq"`
	Class        string          `json:"class"`
	Device       string          `json:"device"`
	Channel      string          `json:"channel"`
	Kind         string          `json:"kind"`
	Value        json.RawMessage `json:"value"`
	ValueBase64  *string         `json:"value_base64"`
	Bits         string          `json:"bits"`
	Unit         string          `json:"unit"`
	UnitBase64   *string         `json:"unit_base64"`
	Fault        string          `json:"fault"`
	FaultBase64  *string         `json:"fault_base64"`
	State        string          `json:"state"`
	For          string          `json:"for"`
	Labels       string          `json:"labels"`
	LabelsBase64 *string         `json:"labels_base64"`
	RecordTime   *time.Time      `json:"record_time"`
	BootUS       int64           `json:"boot_us"`
	Unreadable   *struct {
		From  uint64 `json:"from"`
		To    uint64 `json:"to"`
		Epoch string `json:"epoch"`
		Class string `json:"class"`
	} `json:"unreadable"`
}

func bytesOf(plain string, coded *string) string {
	if coded == nil {
		return plain
	}
	b, err := base64.StdEncoding.DecodeString(*coded)
	if err != nil {
		return "not base64: " + err.Error()
	}
	return string(b)
}

// value reads the value of l, by what README.md says and nothing else.
func (l *line) value() (v tidegate.Value, err error) {
	text := string(l.Value)
	switch l.Kind {
	case "none":
		return tidegate.Value{}, nil
	case "float":
		if l.Bits != "" {
			bits, err := strconv.ParseUint(l.Bits, 16, 64)
			return tidegate.RawValue(tidegate.KindFloat, bits, ""), err
		}
		f, err := strconv.ParseFloat(text, 64)
		return tidegate.Float(f), err
	case "int":
		i, err := strconv.ParseInt(text, 10, 64)
		return tidegate.Int(i), err
	case "uint":
		u, err := strconv.ParseUint(text, 10, 64)
		return tidegate.Uint(u), err
	case "bool":
		b, err := strconv.ParseBool(text)
		return tidegate.Bool(b), err
	case "bytes":
		return tidegate.Bytes([]byte(bytesOf("", l.ValueBase64))), nil
	case "text":
		var s string
		if l.ValueBase64 == nil {
			err = json.Unmarshal(l.Value, &s)
		}
		return tidegate.Text(bytesOf(s, l.ValueBase64)), err
	}
	return v, fmt.Errorf("kind %q", l.Kind)
}

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(), rapid.SampledFrom([]string{"", "a\nb", "\r\n", `say "x", then y`, "=1+1", "-5", "+x", "@sum", "\tx", " =1", "＝1", "é漢\u2028", "<b>&", "\xff\xfe", "\x00"}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }),
	)
}

func anyValue() *rapid.Generator[tidegate.Value] {
	return rapid.OneOf(
		rapid.Map(rapid.Float64(), tidegate.Float), rapid.Map(rapid.Int64(), tidegate.Int), rapid.Map(rapid.Uint64(), tidegate.Uint), rapid.Map(rapid.Bool(), tidegate.Bool),
		rapid.Map(anyText(), tidegate.Text), rapid.Map(rapid.SliceOf(rapid.Byte()), tidegate.Bytes), rapid.Just(tidegate.Value{}),
		rapid.SampledFrom([]tidegate.Value{
			tidegate.Float(math.NaN()), tidegate.Float(math.Inf(1)), tidegate.Float(math.Inf(-1)), tidegate.Float(math.Copysign(0, -1)), tidegate.Float(5e-324),
			tidegate.RawValue(tidegate.KindFloat, 0x7ff8dead0000beef, ""), tidegate.Int(1<<53 + 1), tidegate.Int(math.MinInt64), tidegate.Uint(math.MaxUint64),
		}),
	)
}

func anyRow() *rapid.Generator[*row] {
	return rapid.Custom(func(t *rapid.T) *row {
		at := time.UnixMicro(rapid.Int64Range(-1e15, 4e15).Draw(t, "time")).UTC()
		rec := &tidegate.Record{
			Number: rapid.Uint64Min(1).Draw(t, "number"), Class: tidegate.Class(rapid.IntRange(1, 4).Draw(t, "class")), Time: at,
			Quality: tidegate.TimeQuality(rapid.IntRange(0, 3).Draw(t, "quality")), Boot: time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "boot")) * time.Microsecond,
			For: rapid.SampledFrom([]string{"", "cloud"}).Draw(t, "for"), Labels: anyText().Draw(t, "labels"),
		}
		rd := &tidegate.Reading{
			Device: "d-1", Channel: "-c", Value: anyValue().Draw(t, "value"), Unit: rapid.SampledFrom([]string{"", "Cel", "%"}).Draw(t, "unit"), Fault: anyText().Draw(t, "fault"),
		}
		r := &row{epoch: "00ff", state: "delivered", record: rec, reading: rd, time: at}
		if rapid.Bool().Draw(t, "own time") {
			r.time = at.Add(-time.Millisecond)
		}
		return r
	})
}

// Whatever a reading holds, a line of NDJSON holds all of it.
func TestNothingIsLostInALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRow().Draw(t, "row")
		b := jsonLines{}.line(nil, r)
		if b[len(b)-1] != '\n' || bytes.Count(b, []byte("\n")) != 1 || !utf8.Valid(b) {
			t.Fatalf("%q is not one line", b)
		}
		var l line
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		v, err := l.value()
		rec := r.record
		recordTime := l.Time
		if l.RecordTime != nil {
			recordTime = *l.RecordTime
		}
		if err != nil || !v.Equal(r.reading.Value) || bytesOf(l.Fault, l.FaultBase64) != r.reading.Fault || bytesOf(l.Unit, l.UnitBase64) != r.reading.Unit ||
			bytesOf(l.Labels, l.LabelsBase64) != rec.Labels || l.Number != rec.Number || l.Epoch != r.epoch || !l.Time.Equal(r.time) || !recordTime.Equal(rec.Time) ||
			l.TQ != rec.Quality.String() || l.Class != rec.Class.String() || l.Device != r.reading.Device || l.Channel != r.reading.Channel || l.State != r.state ||
			l.For != rec.For || l.BootUS != rec.Boot.Microseconds() {
			t.Fatalf("%s (%v) is not %+v of %+v", b, err, r.reading, rec)
		}
	})
}

// Whatever a reading holds, a line of CSV has eleven cells, and none of text is a formula.
func TestACellIsNoFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRow().Draw(t, "row")
		b := table{}.line(table{}.head(nil), r)
		c := csv.NewReader(bytes.NewReader(b))
		rows, err := c.ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != 11 || !bytes.HasSuffix(b, []byte("\r\n")) {
			t.Fatalf("%q: %v", b, err)
		}
		cells := rows[1]
		plain := func(want string) string { // as encoding/csv reads it
			return strings.ReplaceAll(strings.ToValidUTF8(want, "\uFFFD"), "\r\n", "\n")
		}
		same := func(i int, want string) {
			if got := cells[i]; got != plain(want) && got != "'"+plain(want) {
				t.Fatalf("cell %d is %q, want %q", i, got, want)
			}
		}
		same(9, r.reading.Fault)
		if s, ok := r.reading.Value.Text(); ok && r.reading.Value.Kind() == tidegate.KindText {
			same(7, s)
		} else if r.reading.Value.Kind() == tidegate.KindInt || r.reading.Value.Kind() == tidegate.KindUint {
			if cells[7] != r.reading.Value.String() {
				t.Fatalf("number %q, want %s", cells[7], r.reading.Value)
			}
		}
		for i, cell := range cells {
			if i == 7 {
				if k := r.reading.Value.Kind(); k != tidegate.KindText {
					continue
				}
			}
			if first, _ := utf8.DecodeRuneInString(strings.TrimLeft(cell, " ")); cell != "" && strings.ContainsRune(formulas, first) {
				t.Fatalf("cell %d is a formula: %q", i, cell)
			}
		}
	})
}

// store is a queue with frames as the gateway makes them.
type store struct {
	*buffer.Queue
	t    *testing.T
	enc  *frame.Encoder
	next uint64
	want map[string][]tidegate.Reading // by class, epoch and number
}

func open(t *testing.T) *store {
	t.Helper()
	dec, err1 := frame.NewDecoder()
	each, err2 := frame.NewDecoder()
	enc, err3 := frame.NewEncoder()
	spans, err4 := frame.NewSpans()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	q, err := buffer.Open(buffer.Options{
		Dir: tmpfs.Dir(t), Limits: buffer.Limits{MaxBytes: 128 << 20, Keep: time.Hour}, Uplinks: []string{"cloud", "site"}, Compactors: 2, Each: each.Each, Span: spans.Of,
		Count: func(body []byte, skip, n int) (int, error) {
			if bytes.HasPrefix(body, []byte("garbage")) {
				return n, nil
			}
			return frame.Count(body, skip, n)
		},
		Cut: func(body []byte, skip, n int) ([]byte, error) {
			recs, err := dec.Decode(nil, 0, 1, body)
			if err != nil {
				return nil, err
			}
			return frame.AppendRows(nil, recs[skip:skip+n]), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return &store{Queue: q, t: t, enc: enc, next: 1, want: map[string][]tidegate.Reading{}}
}

func key(class tidegate.Class, epoch string, n uint64) string { return fmt.Sprint(class, epoch, n) }

// put commits recs, of one class, as one frame of the epoch.
func (s *store) put(epoch uint32, class tidegate.Class, recs ...tidegate.Record) {
	s.t.Helper()
	f := buffer.Frame{Epoch: epoch, Class: class, First: s.next, Last: s.next + uint64(len(recs)) - 1, T0: recs[0].Time.UnixMilli(), T1: recs[len(recs)-1].Time.UnixMilli()}
	for i := range recs {
		f.Count += uint32(len(recs[i].Readings))
		f.Apart = f.Apart || recs[i].For != ""
		s.want[key(class, fmt.Sprint("e", epoch), s.next+uint64(i))] = recs[i].Readings
	}
	var err error
	if f.Body, err = s.enc.AppendColumns(nil, recs); err != nil {
		s.t.Fatal(err)
	}
	s.commit(f)
}

func (s *store) commit(f buffer.Frame) {
	s.t.Helper()
	s.AddEpoch(f.Epoch, buffer.Epoch{ID: fmt.Sprint("e", f.Epoch), Start: 1})
	s.next = f.Last + 1
	if err := s.Commit(buffer.Commit{Frames: []buffer.Frame{f}, Position: buffer.Position{Epoch: f.Epoch, Next: s.next, Time: 1}}); err != nil {
		s.t.Fatal(err)
	}
	s.Put(f)
}

func (s *store) cursor(name string) *buffer.Cursor {
	s.t.Helper()
	c, err := s.Cursor(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *store) export(what status.Export) (text string, done status.Exported) {
	s.t.Helper()
	var b strings.Builder
	done, err := Write(s.t.Context(), &b, &Options{Export: what, Queue: s.Queue})
	if err != nil {
		s.t.Fatal(err)
	}
	return b.String(), done
}

// lines parses NDJSON, and checks the order: by epoch and number.
func lines(t *testing.T, text string) (out []line) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var l line
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
}

func record(at time.Time, readings ...tidegate.Reading) tidegate.Record {
	for i := range readings {
		readings[i].Device = "d"
	}
	return tidegate.Record{Time: at, Boot: time.Second, Readings: readings}
}

// What is exported of a store with everything in it is what was put, by count and value, in order, with what became of it.
func TestRoundTrip(t *testing.T) {
	s := open(t)
	at := time.UnixMilli(1_700_000_000_000).UTC()
	values := []tidegate.Value{
		tidegate.Text("a\nb \"c\", é漢\u2028\xff"), tidegate.Float(math.NaN()), tidegate.Float(0.1), tidegate.Int(math.MaxInt64), tidegate.Uint(math.MaxUint64), tidegate.Bool(true),
		tidegate.Bytes([]byte{0, 1, 255}),
		{},
	}
	for i := range 30 {
		epoch := uint32(1 + i/10)
		if i%10 == 0 {
			s.next = 1
		}
		var recs []tidegate.Record
		for j := range 20 {
			var list []tidegate.Reading
			for k, v := range values {
				rd := tidegate.Reading{Channel: fmt.Sprint("c", k), Value: v}
				if v.Kind() == tidegate.KindNone {
					rd.Fault = "broken, \"wire\"\n"
				}
				list = append(list, rd)
			}
			r := record(at.Add(time.Duration(i*20+j)*time.Second), list...)
			if j == 7 {
				r.For = "site"
			}
			recs = append(recs, r)
		}
		s.put(epoch, tidegate.Class(1+i%4), recs...)
	}
	if err := s.cursor("cloud").Ack("e1", tidegate.Ranges{{First: 1, Last: 30}}); err != nil {
		t.Fatal(err)
	}
	if err := s.cursor("cloud").Reject("e3", tidegate.Range{First: 25, Last: 26}, "too much"); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(buffer.Commit{Position: s.Position(), Declared: s.Requests()}); err != nil {
		t.Fatal(err)
	}
	text, done := s.export(status.Export{})
	if done != (status.Exported{Records: 600, Readings: 4800}) {
		t.Errorf("exported %+v", done)
	}
	seen, at2, states := map[string]int{}, "", map[string]int{}
	for _, l := range lines(t, text) {
		class := tidegate.Class(slices.IndexFunc(classes, func(c tidegate.Class) bool { return c.String() == l.Class }) + 1)
		k := key(class, l.Epoch, l.Number)
		if place := fmt.Sprintf("%s %06d", l.Epoch, l.Number); place < at2 {
			t.Fatalf("%s behind %s", place, at2)
		} else {
			at2 = place
		}
		want := s.want[k]
		if v, err := l.value(); err != nil || seen[k] >= len(want) || !v.Equal(want[seen[k]].Value) || bytesOf(l.Fault, l.FaultBase64) != want[seen[k]].Fault {
			t.Fatalf("%s: %+v, want %+v of %v", k, l, v, want)
		}
		seen[k]++
		states[l.State]++
	}
	for k, want := range s.want {
		if seen[k] != len(want) {
			t.Fatalf("%s: %d readings, want %d", k, seen[k], len(want))
		}
	}
	if got := fmt.Sprint(states); got != "map[buffered:3256 delivered:224 kept:1120 rejected:16 routed:184]" {
		t.Errorf("states: %s", got)
	}
	for what, n := range map[*status.Export]uint64{
		{Class: "alarm"}: 160 * 8, {Device: "x"}: 0, {Channel: "d.c3"}: 600, {From: 5, To: 6}: 3 * 2 * 8, {Since: at.Add(590 * time.Second)}: 10 * 8, {Uplink: "site"}: 4800,
	} {
		if text, done := s.export(*what); done.Readings != n || len(lines(t, text)) != int(n) {
			t.Errorf("%+v: %d readings in %d lines, want %d", what, done.Readings, len(lines(t, text)), n)
		}
		if text, done := s.export(status.Export{Format: "csv", Class: what.Class, Device: what.Device, Channel: what.Channel, From: what.From, To: what.To, Since: what.Since}); done.Readings != n {
			t.Errorf("csv of %+v: %d readings, want %d", what, done.Readings, n)
		} else if rows, err := csv.NewReader(strings.NewReader(text)).ReadAll(); err != nil || len(rows) != int(n)+1 {
			t.Errorf("csv of %+v: %d rows (%v), want %d", what, len(rows), err, n+1)
		}
	}
	list, err := Rejected(s.Queue)
	if err != nil || len(list.Rejected) != 1 {
		t.Fatalf("set aside: %+v, %v", list, err)
	}
	if r := list.Rejected[0]; r.Uplink != "cloud" || r.Epoch != "e3" || r.First != 25 || r.Last != 26 || r.Readings != 16 || r.Why != "too much" || r.From.IsZero() || r.Class != "alarm" {
		t.Errorf("set aside: %+v", r)
	}
}

// What cannot be read is said, and the rest is there.
func TestUnreadableIsSaid(t *testing.T) {
	s := open(t)
	at := time.UnixMilli(1_700_000_000_000)
	rd := tidegate.Reading{Channel: "c", Value: tidegate.Int(1)}
	s.put(1, tidegate.ClassReading, record(at, rd))
	s.commit(buffer.Frame{Epoch: 1, Class: tidegate.ClassReading, First: 2, Last: 4, Count: 3, Body: []byte("garbage")})
	s.put(1, tidegate.ClassReading, record(at, rd))
	text, done := s.export(status.Export{})
	if done != (status.Exported{Records: 2, Readings: 2, Unreadable: 3}) {
		t.Errorf("exported %+v", done)
	}
	l := lines(t, text)
	if len(l) != 3 || l[1].Unreadable == nil && l[0].Unreadable == nil {
		t.Fatalf("got %s", text)
	}
	for i := range l {
		if u := l[i].Unreadable; u != nil && (u.From != 2 || u.To != 4 || u.Epoch != "e1" || u.Class != "reading") {
			t.Errorf("unreadable: %+v", u)
		}
	}
}

// What is asked for wrongly, or is not there, is refused before anything is written or changed.
func TestRefusals(t *testing.T) {
	s := open(t)
	s.put(1, tidegate.ClassReading, record(time.UnixMilli(1), tidegate.Reading{Channel: "c", Value: tidegate.Int(1)}))
	for _, c := range []struct {
		what status.Export
		want string
	}{
		{status.Export{Format: "xml"}, `format "xml": it is ndjson or csv`},
		{status.Export{Class: "x"}, `class "x": it is reading, alarm, audit or debug`},
		{status.Export{Channel: "x"}, `channel "x": it is device.channel`},
		{status.Export{From: 5, To: 4}, `numbers 5 to 4: the first is higher than the last`},
		{status.Export{Uplink: "x"}, `uplink "x": there is none of this name; there are cloud, site`},
	} {
		var b strings.Builder
		if _, err := Write(t.Context(), &b, &Options{Export: c.what, Queue: s.Queue}); err == nil || err.Error() != c.want || b.Len() > 0 {
			t.Errorf("%+v: %v, %q, want %s", c.what, err, b.String(), c.want)
		}
	}
	never := func(*buffer.Requeue) error { t.Error("it was begun"); return nil }
	refused := func(r status.Requeue, want string) {
		t.Helper()
		if _, err := Requeue(s.Queue, r, never); err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", r, err, want)
		}
	}
	refused(status.Requeue{}, "say which records: --from and --to, or --all")
	refused(status.Requeue{All: true, From: 1}, "either --all, or --from and --to")
	refused(status.Requeue{From: 3, To: 2}, "numbers 3 to 2: the first is higher than the last")
	refused(status.Requeue{All: true}, "nothing is set aside: there is nothing set aside at all")
	for _, name := range []string{"cloud", "site"} {
		if err := s.cursor(name).Reject("e1", tidegate.Range{First: 1, Last: 1}, "no"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(buffer.Commit{Position: s.Position(), Declared: s.Requests()}); err != nil {
		t.Fatal(err)
	}
	refused(status.Requeue{From: 2}, "no record from 2 on is set aside; see: tidegate queue rejected")
	refused(status.Requeue{From: 2, To: 3, Uplink: "site"}, "no record from 2 to 3 of uplink site is set aside; see: tidegate queue rejected")
	refused(status.Requeue{All: true, Epoch: "e9"}, "nothing of epoch e9 is set aside; see: tidegate queue rejected")
	refused(status.Requeue{All: true}, "records are set aside for several uplinks: say which by --uplink, of cloud, site")
	done, err := Requeue(s.Queue, status.Requeue{All: true, Uplink: "site"}, func(x *buffer.Requeue) error { _, err := s.Queue.Requeue(x); return err })
	if err != nil || done.Records != 1 || done.Readings != 1 || done.Uplink != "site" || len(done.Stay) > 0 {
		t.Errorf("got %+v, %v", done, err)
	}
}

// Memory does not grow with what is exported, and a writer that fails ends it.
func TestExportIsBounded(t *testing.T) {
	s := open(t)
	at := time.UnixMilli(1_700_000_000_000)
	var recs []tidegate.Record
	for i := range 500 {
		var list []tidegate.Reading
		for k := range 40 {
			list = append(list, tidegate.Reading{Channel: fmt.Sprint("c", k), Value: tidegate.Float(float64(i*k) / 7)})
		}
		recs = append(recs, record(at.Add(time.Duration(i)*time.Second), list...))
	}
	for range 25 {
		s.put(1, tidegate.ClassReading, recs...)
	}
	clear(s.want)
	var most uint64
	count := writerFunc(func(b []byte) (int, error) {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
		return len(b), nil
	})
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	pauses := 0
	o := &Options{Export: status.Export{Format: "csv"}, Queue: s.Queue, Pause: func(context.Context, time.Duration) { pauses++ }}
	done, err := Write(t.Context(), count, o)
	if err != nil || done.Readings != 500_000 {
		t.Fatalf("exported %+v, %v", done, err)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 24<<20 || pauses < 5 {
		t.Errorf("500,000 readings take %d bytes more of memory, at most 24 MiB; %d pauses, at least 5", grown, pauses)
	}
	broken := errors.New("broken pipe")
	n := 0
	if _, err := Write(t.Context(), writerFunc(func([]byte) (int, error) { n++; return 0, broken }), o); !errors.Is(err, broken) || n != 1 {
		t.Errorf("%d writes, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Write(ctx, writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil }), o); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled export: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
