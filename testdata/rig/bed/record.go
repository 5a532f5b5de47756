package bed

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Record is what came as one record.
type Record struct {
	Epoch    string
	Seq      uint64
	Lane     string    // data, backfill, alarm or audit
	Time     time.Time // of its first reading, to the microsecond; only Stored says it
	Readings []Reading
}

// A Reading is one of its readings; Value is the number as it was written, or the text.
type Reading struct {
	Device, Channel, Value, Fault string
}

// IsAlarm, if the record is an alarm, returns its state, and the value that decided.
func (r *Record) IsAlarm() (state, value string, ok bool) {
	if len(r.Readings) != 1 || r.Readings[0].Device != "_rules" {
		return "", "", false
	}
	var x struct {
		State string      `json:"state"`
		Value json.Number `json:"value"`
	}
	if err := json.Unmarshal([]byte(r.Readings[0].Value), &x); err != nil {
		return "unreadable: " + err.Error(), "", true
	}
	return x.State, x.Value.String(), true
}

// Content returns all that a record says but its times.
func (r *Record) Content() string { return fmt.Sprint(r.Readings) }

// Stored calls f with every record in the receiver's files, in the order in which they were written.
func Stored(dir string, f func(*Record)) error {
	files, err := filepath.Glob(filepath.Join(dir, "readings-*.ndjson"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	var rec Record
	for _, path := range files {
		if err := storedIn(path, &rec, f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if len(rec.Readings) > 0 {
		f(&rec)
	}
	return nil
}

// storedIn reads one file. Lines of one record follow each other; what has the same number later is another record, and shows as doubled.
func storedIn(path string, rec *Record, f func(*Record)) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var x struct {
			Ep, Lane, Device, Channel, Fault string
			Seq                              uint64
			T                                float64
			V                                json.Number
			Vs                               string
			Vb                               *bool
		}
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return err
		}
		if x.Ep != rec.Epoch || x.Seq != rec.Seq || x.Lane != rec.Lane {
			if len(rec.Readings) > 0 {
				f(rec)
			}
			rec.Epoch, rec.Seq, rec.Lane, rec.Readings = x.Ep, x.Seq, x.Lane, rec.Readings[:0]
			rec.Time = time.UnixMicro(int64(math.Round(x.T * 1e6)))
		}
		v := x.V.String() + x.Vs
		if x.Vb != nil {
			v = fmt.Sprint(*x.Vb)
		}
		rec.Readings = append(rec.Readings, Reading{x.Device, x.Channel, v, x.Fault})
	}
	return lines.Err()
}

// An Outcome is what the receiver was told of a release.
type Outcome struct {
	Counter int
	Version string
	Result  string
	Reason  string
	Detail  string
}

// Outcomes returns those in the receiver's files, in order. A line that is being written is no whole line, and ends the list.
func Outcomes(dir string) (list []Outcome, err error) {
	var wrong error
	err = Stored(dir, func(r *Record) {
		if r.Readings[0].Device != "_gateway" || r.Readings[0].Channel != "update" {
			return
		}
		var o Outcome
		if err := json.Unmarshal([]byte(r.Readings[0].Value), &o); err != nil {
			wrong = fmt.Errorf("of a release: %q: %w", r.Readings[0].Value, err)
		}
		list = append(list, o)
	})
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) || errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return list, errors.Join(err, wrong)
}

// Unpack takes a payload of the generic profile apart (RFC 8428, and sync/README.md for seq and ep). It does not use the project's decoder.
func Unpack(topic string, payload []byte) ([]Record, error) {
	if bytes.HasPrefix(payload, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(payload))
		if err != nil {
			return nil, err
		}
		if payload, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
	var elements []struct {
		Bn, Ep, N, Part string
		Seq             uint64
		V               json.Number
		Vs              string
		Vb              *bool
	}
	if err := json.Unmarshal(payload, &elements); err != nil {
		return nil, err
	}
	var out []Record
	for i, e := range elements {
		if e.Part != "" {
			return nil, fmt.Errorf("part %s: these rigs send no record in parts", e.Part)
		}
		if e.Seq != 0 {
			out = append(out, Record{Epoch: elements[0].Ep, Seq: e.Seq, Lane: topic[strings.LastIndexByte(topic, '/')+1:]})
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("element %d belongs to no record", i)
		}
		name := strings.Split(e.N, "/")
		if len(name) < 2 {
			return nil, fmt.Errorf("element %d: name %q", i, e.N)
		}
		r := Reading{Device: name[0], Channel: name[1], Value: e.V.String() + e.Vs}
		if e.Vb != nil {
			r.Value = fmt.Sprint(*e.Vb)
		}
		if len(name) > 2 {
			r.Fault, r.Value = r.Value, ""
		}
		last := &out[len(out)-1]
		last.Readings = append(last.Readings, r)
	}
	return out, nil
}

// IsPack reports whether records come under the topic.
func IsPack(topic string) bool {
	switch topic[strings.LastIndexByte(topic, '/')+1:] {
	case "data", "backfill", "alarm", "audit":
		return strings.Contains(topic, "/up/")
	}
	return false
}

// Tapped calls f with every record in a file of lines "topic hex", as `mosquitto_sub -F '%t %x'` writes them, resent ones again.
func Tapped(path string, f func(*Record)) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		topic, digits, _ := strings.Cut(lines.Text(), " ")
		if !IsPack(topic) {
			continue
		}
		payload, err := hex.DecodeString(digits)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		list, err := Unpack(topic, payload)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, topic, err)
		}
		for i := range list {
			f(&list[i])
		}
	}
	return lines.Err()
}
