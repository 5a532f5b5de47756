package line

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// TestSplit: what goes another way stands behind the rest, what is derived behind that, each with the time of the record and with memory of its own, for the
// Set uses its own again for the next record of the same entry.
func TestSplit(t *testing.T) {
	set, err := rules.New([]rules.Rule{{Name: "r", Routes: []rules.Route{
		{Channels: []string{"d.p*"}, Uplink: "plant"}, {Channels: []string{"d.o*"}, Uplink: "office"}, {Channels: []string{"d.x"}, Debug: true},
	}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []tidegate.Record
	for i := range 2 {
		rec := tidegate.Record{Class: tidegate.ClassReading, Time: time.Unix(int64(i), 0), Boot: time.Duration(i+1) * time.Second, Quality: tidegate.TimeEstimated}
		for _, name := range []string{"o1", "p1", "a", "x", "p2"} {
			rec.Readings = append(rec.Readings, tidegate.Reading{Device: "d", Channel: name, Value: tidegate.Int(int64(i))})
		}
		out := set.Apply(&rec)
		out.Derived = []tidegate.Reading{{Device: "e", Channel: "y", Value: tidegate.Int(int64(i))}}
		out.Apart = append(out.Apart, rules.Apart{Way: rules.Way{Class: tidegate.ClassDebug, Labels: `{"a":"b"}`}, Derived: true, Readings: []tidegate.Reading{{Device: "e", Channel: "z", Value: tidegate.Int(int64(i))}}})
		rec.Readings = out.Readings
		list = split(append(list, rec), &rec, &out)
	}
	var got []string
	for _, r := range list {
		s := fmt.Sprintf("%s/%s%s", r.Class, r.For, r.Labels)
		for _, rd := range r.Readings {
			s += fmt.Sprintf(" %s=%v", rd.Channel, rd.Value)
			if v, _ := rd.Value.Number(); float64(r.Time.Unix()) != v || r.Boot != time.Duration(v+1)*time.Second || r.Quality != tidegate.TimeEstimated {
				t.Errorf("%s: time %v, boot time %v, quality %v", s, r.Time, r.Boot, r.Quality)
			}
		}
		got = append(got, s)
	}
	want := "reading/ a=0, reading/office o1=0, reading/plant p1=0 p2=0, debug/ x=0, reading/ y=0, debug/{\"a\":\"b\"} z=0, " +
		"reading/ a=1, reading/office o1=1, reading/plant p1=1 p2=1, debug/ x=1, reading/ y=1, debug/{\"a\":\"b\"} z=1"
	if strings.Join(got, ", ") != want {
		t.Errorf("got\n%s, want\n%s", strings.Join(got, ", "), want)
	}
	runs := appendRuns(nil, 7, list)
	dec, err := frame.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(7)
	for i := range runs {
		r := &runs[i]
		recs, err := dec.Decode(nil, r.class, r.first, r.body)
		if err != nil || r.first != next || len(recs) != r.records || i > 0 && runs[i-1].class == r.class {
			t.Errorf("run %d: first %d, %d records, class %s, %v; want first %d", i, r.first, r.records, r.class, err, next)
		}
		apart := false
		for _, rec := range recs {
			if x := list[next-7]; x.Class != rec.Class || x.For != rec.For || x.Readings[0] != rec.Readings[0] {
				t.Errorf("record %d is %v, want %v", next, rec, x)
			}
			apart = apart || rec.For != ""
			next++
		}
		if r.apart != apart {
			t.Errorf("run %d: apart is %v, want %v", i, r.apart, apart)
		}
	}
	if len(runs) != 8 || next != 19 {
		t.Errorf("%d runs up to %d, want 8 up to 18", len(runs), next-1)
	}
}
