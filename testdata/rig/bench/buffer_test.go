package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSpread: a quantile is not below the truth, and at most a sixteenth above it, also when it was written and read.
func TestSpread(t *testing.T) {
	var s, again spread
	for i := range 1000 {
		s.add(time.Duration(i+1) * 977 * time.Nanosecond)
	}
	if err := again.read(s.String()); err != nil {
		t.Fatal(err)
	}
	for _, q := range []float64{0.001, 0.5, 0.99, 1} {
		truth := time.Duration(q*1000) * 977 * time.Nanosecond
		if got := again.quantile(q); got < truth || got > truth+truth/15 {
			t.Errorf("quantile %v: got %v, want %v or a sixteenth more", q, got, truth)
		}
	}
	if got := (&spread{}).quantile(0.5); got != 0 {
		t.Errorf("nothing was seen: got %v, want 0", got)
	}
	for _, bad := range []string{"x\n", "-1 1\n", "99999 1\n"} {
		if err := again.read(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// TestLoadDevice: it reports at its rate, makes up for what it is late, and counts how long each Read stood.
func TestLoadDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "times")
		d, err := (&loadConfig{Seed: 3, Size: 40, Rate: 400, File: file}).Open(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for n := range 100 {
			list, err := d.Read(t.Context())
			if v, _ := list[0].Value.Number(); err != nil || len(list) != 40 || v != float64(n+1) {
				t.Fatalf("Read %d: %v, %d readings, number %v", n, err, len(list), v)
			}
			time.Sleep(30 * time.Millisecond)
		}
		if took := time.Since(began); took < 9900*time.Millisecond || took > 10*time.Second {
			t.Errorf("4,000 readings at 400 a second took %v", took)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s spread
		if err := s.read(string(text)); err != nil {
			t.Fatal(err)
		}
		if got := s.quantile(1); got < 30*time.Millisecond || got > 32*time.Millisecond {
			t.Errorf("appends of 30 ms: got %v", got)
		}
	})
}

// TestFlows: what is offered is what the table says, and each device within what it may report.
func TestFlows(t *testing.T) {
	for f, want := range map[*flow]float64{&flowMany: 20_000, &flowFew: 20, &flowRare: 20, &flowNone: 0, &flowBusy: 210_000} {
		if got := f.readings(); got != want || f.rate > 20_000 {
			t.Errorf("%s: %v readings a second, %d of one device, want %v and 20,000 at most", f.name, got, f.rate, want)
		}
	}
	if few, rare := flowFew.floor(), flowRare.floor(); few != 204.8 || rare != 40.96 {
		t.Errorf("floors are %v and %v, want 204.8 and 40.96", few, rare)
	}
}

// TestBufferReport: every figure has its line, with floor, ratio and what is to be reached.
func TestBufferReport(t *testing.T) {
	b := bufferFigures{slow: map[*flow]gauge{&flowFew: {Disk: 409.6}}, busy: gauge{P99: 2 * time.Millisecond}, opened: []opening{{1 << 30, "cold", 1500 * time.Millisecond}}}
	text := bufferReport("today", plan{}, &b)
	for _, want := range []string{
		"| 20 readings/s, sync 1s, to the device | bytes per reading | 410 | 205 | 2 | <= 500 |  |",
		"| - append, p99 | ms | 2 |  |  |  | * |",
		"| a store of 1.07 GB opens after kill -9, cold | s | 1.50 |  |  | <= 3 | * |",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	if !isPart(onlyBuffer) || !strings.HasPrefix(text, bufferHeading+"\n") {
		t.Error("it is no part of the report")
	}
}
