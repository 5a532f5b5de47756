package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/past"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// streamRules are what tidegate judges a channel of the stream by.
const streamRules = `rules:
  - name: limit-%[1]s-%[2]s
    when: %[1]s.%[2]s > %[3]v
    clear: %[1]s.%[2]s < %[4]v
    do: [{alarm: {severity: warning, text: "high"}}]
  - name: average-%[1]s-%[2]s
    when: avg(%[1]s.%[2]s, 1m, tumbling) > %[5]v
    do: [{alarm: {severity: warning, text: "high for a minute"}}]
`

// ruled is tidegate's judge of the stream: a Record of each device, which goes the way that the gateway's judge lets it go.
type ruled struct {
	set    *rules.Set
	recs   []tidegate.Record
	rec    *tidegate.Record // under way
	follow func(rules.Outcome)
	found  answer
	failed error
}

// streamBoot is the boot time at streamBegin: a whole minute.
const streamBoot = time.Hour

// newRuled returns the judge of records of so many readings.
func newRuled(size int) (*ruled, error) {
	r := &ruled{}
	var list []rules.Rule
	schema := lang.Schema{Open: func(string) bool { return true }}
	compile := func(text string) (*lang.Program, error) {
		p, faults := lang.Compile(text, lang.Condition, schema)
		if len(faults) > 0 {
			return nil, fmt.Errorf("%s: %w", text, faults[0])
		}
		return p, nil
	}
	for d := range streamChannels / size {
		rec := tidegate.Record{Class: tidegate.ClassReading}
		device := "d" + strconv.Itoa(d)
		for i := range size {
			channel := "r" + strconv.Itoa(i)
			rec.Readings = append(rec.Readings, tidegate.Reading{Device: device, Channel: channel})
			name := device + "." + channel
			over, err := compile(fmt.Sprintf("%s > %v", name, raiseAbove))
			if err != nil {
				return nil, err
			}
			under, err := compile(fmt.Sprintf("%s < %v", name, clearBelow))
			if err != nil {
				return nil, err
			}
			average, err := compile(fmt.Sprintf("avg(%s, 1m, tumbling) > %v", name, averageLimit))
			if err != nil {
				return nil, err
			}
			list = append(list,
				rules.Rule{Name: "limit-" + device + "-" + channel, When: over, Clear: under, Severity: rules.SeverityWarning, Text: "high"},
				rules.Rule{Name: "average-" + device + "-" + channel, When: average, Severity: rules.SeverityWarning, Text: "high for a minute"})
		}
		r.recs = append(r.recs, rec)
	}
	set, err := rules.New(list, streamBoot)
	r.set, r.follow = set, r.take
	return r, err
}

func (r *ruled) put(device int, at time.Time, values []float64) {
	rec := &r.recs[device]
	rec.Time, rec.Boot = at, streamBoot+at.Sub(streamBegin)
	for i := range rec.Readings {
		rec.Readings[i].Value = tidegate.Float(values[i])
	}
}

func (r *ruled) judge(device int) error {
	r.rec = &r.recs[device]
	past.Judge(r.set, r.rec, r.follow)
	return r.failed
}

// take makes of an outcome what the gateway makes of it: readings of the alarms. State was encoded; the bytes are counted.
func (r *ruled) take(out rules.Outcome) {
	for i := range out.Changed {
		r.found.State += len(out.Changed[i].Key) + len(out.Changed[i].Body)
	}
	for _, a := range out.Alarms {
		if _, err := a.Reading(); err != nil {
			r.failed = err
			return
		}
		t := told{Second: int64((a.Boot - streamBoot) / time.Second), Channel: a.Channel, Raised: a.Raised}
		t.Rule, _, _ = strings.Cut(a.Rule, "-")
		t.Value, _ = a.Value.Number()
		if t.Rule == "average" {
			shown, _, _ := r.set.Show(a.Rule, r.rec.Boot)
			for _, s := range shown {
				if strings.HasPrefix(s.Text, "avg(") {
					t.Value, _ = s.Value.Number()
				}
			}
		}
		r.found.Alarms = append(r.found.Alarms, t)
	}
}

func (r *ruled) answer() answer { return r.found }
