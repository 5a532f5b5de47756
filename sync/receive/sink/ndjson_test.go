package sink

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/receive"
)

var key = receive.Key{Gateway: "gw-1", Epoch: "k3f9"}

// batchOf returns a batch with the records first to last, of one reading each.
func batchOf(first, last uint64) receive.Batch {
	b := receive.Batch{Changes: []receive.Change{{Key: key}}}
	c := &b.Changes[0]
	for n := first; n <= last; n++ {
		b.Records = append(b.Records, receive.Stored{Key: key, Lane: "data", Record: tidegate.Record{
			Number: n, Time: time.UnixMicro(1792000000006000),
			Readings: []tidegate.Reading{{Device: "m", Channel: "r", Value: tidegate.Uint(n)}},
		}})
		c.Records++
		c.Readings++
	}
	c.Stored.Add(tidegate.Range{First: first, Last: last})
	return b
}

// open opens and loads dir.
func open(t *testing.T, dir string) (*NDJSON, *receive.Ledger) {
	t.Helper()
	s, err := OpenNDJSON(dir, NDJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// fill makes a directory of three writes, records 1-3, 4-6 and 7-9.
func fill(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, _ := open(t, dir)
	for n := uint64(1); n < 9; n += 3 {
		if err := s.Write(context.Background(), batchOf(n, n+2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLines(t *testing.T) {
	at := time.UnixMicro(1792000000006120)
	rec := tidegate.Record{Number: math.MaxUint64, Time: at, Quality: tidegate.TimeEstimated}
	tests := map[string]struct {
		reading tidegate.Reading
		want    string
	}{
		"number": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Float(21.5), Unit: "Cel"},
			`"t":1792000000.00612,"v":21.5,"u":"Cel","tq":"estimated"`,
		},
		"large unsigned integer keeps its digits": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Uint(math.MaxUint64)},
			`"t":1792000000.00612,"v":18446744073709551615,"tq":"estimated"`,
		},
		"negative integer": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Int(math.MinInt64), Time: time.UnixMicro(-1500000)},
			`"t":-1.5,"v":-9223372036854775808,"tq":"estimated"`,
		},
		"no number": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Float(math.NaN()), Time: time.Unix(5, 0)},
			`"t":5,"vs":"NaN","tq":"estimated"`,
		},
		"infinite": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Float(math.Inf(-1)), Time: time.Unix(0, 0)},
			`"t":0,"vs":"-Inf","tq":"estimated"`,
		},
		"yes": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Bool(true), Time: time.Unix(5, 1000)},
			`"t":5.000001,"vb":true,"tq":"estimated"`,
		},
		"text is escaped": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Text("a\"\\\n\x00\x7f<é\xff"), Time: time.Unix(5, 0)},
			`"t":5,"vs":"a\"\\\u000a\u0000\u007f<é` + "\uFFFD" + `","tq":"estimated"`,
		},
		"bytes": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Bytes([]byte{0xfb, 0xff}), Time: time.Unix(5, 0)},
			`"t":5,"vd":"-_8","tq":"estimated"`,
		},
		"fault has no value": {
			tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Float(3), Fault: "no answer", Time: time.Unix(5, 0)},
			`"t":5,"tq":"estimated","fault":"no answer"`,
		},
	}
	labelled := tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Bool(true), Time: time.Unix(5, 0)}
	l := string(appendReading(nil, &tidegate.Record{Labels: `{"batch":"4711"}`}, &labelled))
	if want := `,"device":"d","channel":"c","t":5,"vb":true,"labels":{"batch":"4711"}`; l != want {
		t.Errorf("got %s, want %s", l, want)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rec.Readings = []tidegate.Reading{tt.reading}
			got := string(appendRecord(nil, &receive.Stored{Key: key, Lane: "alarm", Record: rec}))
			want := `{"gw":"gw-1","ep":"k3f9","seq":18446744073709551615,"lane":"alarm","device":"d","channel":"c",` + tt.want + "}\n"
			if got != want {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
}

// TestDirectory checks names, contents and what a second start finds.
func TestDirectory(t *testing.T) {
	dir := fill(t)
	s, l := open(t, dir)
	defer s.Close()
	if row := l.Row(key); row == nil || row.Records != 9 || row.Readings != 9 || fmt.Sprint(row.Stored.Ranges) != "[{1 9}]" {
		t.Errorf("ledger: %+v", row)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(list); got != "[- ledger-000001.log - lock - readings-000001.ndjson]" {
		t.Errorf("files: %s", got)
	}
	text, err := os.ReadFile(filepath.Join(dir, "readings-000001.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if want := `{"gw":"gw-1","ep":"k3f9","seq":1,"lane":"data","device":"m","channel":"r","t":1792000000.006,"v":1}`; first != want {
		t.Errorf("first line\ngot  %s\nwant %s", first, want)
	}
	if n := strings.Count(string(text), "\n"); n != 9 {
		t.Errorf("got %d lines, want 9", n)
	}
}

// TestSecondReceiver wants the directory to be refused to a second one.
func TestSecondReceiver(t *testing.T) {
	dir := fill(t)
	s, _ := open(t, dir)
	defer s.Close()
	_, err := OpenNDJSON(dir, NDJSONOptions{})
	want := fmt.Sprintf("open NDJSON sink: lock directory %s: resource temporarily unavailable; another receiver is using it", dir)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestTornAtEveryByte cuts the ledger within its last line, at every byte, with readings behind the length it names.
func TestTornAtEveryByte(t *testing.T) {
	dir := fill(t)
	ledger, err := os.ReadFile(filepath.Join(dir, "ledger-000001.log"))
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndex(strings.TrimSuffix(string(ledger), "\n"), "\n") + 1
	readings, err := os.ReadFile(filepath.Join(dir, "readings-000001.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for n := last; n < len(ledger); n++ {
		write(t, dir, "ledger-000001.log", ledger[:n])
		write(t, dir, "readings-000001.ndjson", append(readings[:len(readings):len(readings)], "{\"gw\""...))
		s, l := open(t, dir)
		if row := l.Row(key); row.Records != 6 || fmt.Sprint(row.Stored.Ranges) != "[{1 6}]" {
			t.Fatalf("cut at %d: %+v", n, row)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "readings-000001.ndjson")); err != nil || strings.Count(string(got), "\n") != 6 || got[len(got)-1] != '\n' {
			t.Fatalf("cut at %d: readings %q %v", n, got, err)
		}
		if err := s.Write(context.Background(), batchOf(7, 9)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "readings-000001.ndjson")); err != nil || string(got) != string(readings) {
			t.Fatalf("cut at %d: written again: %q %v", n, got, err)
		}
	}
}

func write(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o640); err != nil {
		t.Fatal(err)
	}
}

// TestDamage damages the directory and wants each damage named.
func TestDamage(t *testing.T) {
	edit := func(t *testing.T, dir, name string, f func([]byte) []byte) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, name, f(b))
	}
	lines := func(b []byte) []string { return strings.SplitAfter(string(b), "\n") }
	const ledger, readings = "ledger-000001.log", "readings-000001.ndjson"
	tests := map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"a line in the middle is damaged": {
			func(t *testing.T, dir string) {
				edit(t, dir, ledger, func(b []byte) []byte { b[len(lines(b)[0])+20] ^= 1; return b })
			},
			"ledger-000001.log: line 2 (at byte 107) is damaged and 2 good lines follow it; restore the file from a copy",
		},
		"a line in the middle is missing": {
			func(t *testing.T, dir string) {
				edit(t, dir, ledger, func(b []byte) []byte { l := lines(b); return []byte(l[0] + l[1] + l[3]) })
			},
			"ledger-000001.log: line 3: entry number: got 4, want 3; lines are missing",
		},
		"the first line is missing": {
			func(t *testing.T, dir string) {
				edit(t, dir, ledger, func(b []byte) []byte { return []byte(strings.Join(lines(b)[1:], "")) })
			},
			"ledger-000001.log: line 1: the file does not begin with a snapshot",
		},
		"another format": {
			func(t *testing.T, dir string) {
				line, err := (&entry{N: 1, Begin: &snapshot{Format: 2}}).line()
				if err != nil {
					t.Fatal(err)
				}
				write(t, dir, ledger, line)
			},
			"ledger-000001.log: line 1: format: got 2, want 1; it was written by another release",
		},
		"the ledger is missing": {
			func(t *testing.T, dir string) {
				if err := os.Remove(filepath.Join(dir, ledger)); err != nil {
					t.Fatal(err)
				}
			},
			"readings-000001.ndjson is there but no ledger: what it holds would be stored again; restore the ledger or move the readings files away",
		},
		"the readings are missing": {
			func(t *testing.T, dir string) {
				if err := os.Remove(filepath.Join(dir, readings)); err != nil {
					t.Fatal(err)
				}
			},
			"readings-000001.ndjson is missing, the ledger counts 900 bytes in it; restore it (only files that have a successor may be moved)",
		},
		"the readings are too short": {
			func(t *testing.T, dir string) { edit(t, dir, readings, func(b []byte) []byte { return b[:880] }) },
			"readings-000001.ndjson is 880 bytes long, the ledger counts 900; restore it",
		},
		"the readings' end is damaged": {
			func(t *testing.T, dir string) {
				edit(t, dir, readings, func(b []byte) []byte { b[899] = ' '; return b })
			},
			"readings-000001.ndjson: bytes 600 to 900: checksum is da36a07c, the ledger says 9169069a; restore it",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := fill(t)
			tt.damage(t, dir)
			s, err := OpenNDJSON(dir, NDJSONOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Load(context.Background()); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestDamagedLedgerStays: a ledger of which not even the first line is whole is asked for, so what is left of it must not be removed.
func TestDamagedLedgerStays(t *testing.T) {
	dir := fill(t)
	name := filepath.Join(dir, "ledger-000001.log")
	if err := os.WriteFile(name, []byte("00000000 {\"n\":1"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := OpenNDJSON(dir, NDJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const want = "readings-000001.ndjson is there but no ledger: what it holds would be stored again; restore the ledger or move the readings files away"
	if _, err := s.Load(context.Background()); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
}

// TestRotation wants files of at most MaxBytes and one write, and the refused ones kept to four.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenNDJSON(dir, NDJSONOptions{MaxBytes: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n < 11; n++ {
		b := batchOf(n, n)
		b.Refused = []receive.Refusal{{Time: time.Unix(5, 0), Topic: "t", Why: "w", Size: 9, Body: []byte{1, 255}}}
		if n > 5 {
			s.refused.length = refusedSize
		}
		if err := s.Write(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	names, err := s.disk.Names()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(numbers(names, kindReadings), numbers(names, kindRefused)); got != "[1 2 3 4 5] [3 4 5 6]" {
		t.Errorf("got %s", got)
	}
	s.last.Since -= 24*3600 + 1
	if err := s.Write(context.Background(), batchOf(11, 11)); err != nil {
		t.Fatal(err)
	}
	if s.last.File != 6 {
		t.Errorf("after a day: file %d, want 6", s.last.File)
	}
}

func TestRefusedLine(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	b := receive.Batch{Refused: []receive.Refusal{{Time: time.Unix(5, 0), Topic: "tg/v1/g/up/data", Why: "no JSON", Size: 3, Body: []byte("\x00a")}}}
	if err := s.Write(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "refused-000001.ndjson"))
	want := `{"time":"1970-01-01T00:00:05Z","topic":"tg/v1/g/up/data","why":"no JSON","size":3,"hex":"0061"}` + "\n"
	if err != nil || string(got) != want {
		t.Errorf("got  %swant %s%v", got, want, err)
	}
	s, l := open(t, dir)
	defer s.Close()
	if l.Refused != 1 {
		t.Errorf("ledger counts %d refused, want 1", l.Refused)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Write(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("write after the end: %v", err)
	}
}
