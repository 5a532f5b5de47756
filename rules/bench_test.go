package rules

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// BenchmarkThresholds: readings of one channel through ten threshold rules on it.
func BenchmarkThresholds(b *testing.B) {
	var list []Rule
	for i := range 10 {
		list = append(list, Rule{Name: fmt.Sprint("r", i), When: must(b, fmt.Sprintf("meter1.temp > %d", 80+i)), Clear: must(b, fmt.Sprintf("meter1.temp < %d", 70-i)), Severity: SeverityInfo, Text: "t"})
	}
	s := newSet(b, list...)
	rec := record(0, temp(20))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rec.Boot += time.Millisecond
		rec.Readings[0].Value = tidegate.Float(float64(20 + i%40))
		s.Apply(rec)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "readings/s")
}

// BenchmarkMixed: 100 rules, ten of which look at each reading, a third of them over windows.
func BenchmarkMixed(b *testing.B) {
	var list []Rule
	for i := range 100 {
		group := i / 10
		var text string
		switch i % 3 {
		case 0:
			text = fmt.Sprintf("avg(d.c%d, 1m) > 80", group)
		case 1:
			text = fmt.Sprintf("d.c%d > 80 and not (d.c%d < -5)", group, group)
		default:
			text = fmt.Sprintf("abs(d.c%d - 20) > 60 or d.c%d == 999", group, group)
		}
		list = append(list, Rule{Name: fmt.Sprint("r", i), When: must(b, text), Severity: SeverityInfo, Text: "t"})
	}
	s := newSet(b, list...)
	rec := &tidegate.Record{Class: tidegate.ClassReading}
	for i := range 10 {
		rec.Readings = append(rec.Readings, tidegate.Reading{Device: "d", Channel: fmt.Sprint("c", i), Value: tidegate.Float(20)})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rec.Boot += time.Millisecond
		for j := range rec.Readings {
			rec.Readings[j].Value = tidegate.Float(float64(20 + (i+j)%40))
		}
		s.Apply(rec)
	}
	b.ReportMetric(float64(b.N*10)/b.Elapsed().Seconds(), "readings/s")
}
