package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// plain is what a stream has to lead to, as simply as it can be written.
type plain struct {
	channels map[string]*plainChannel
	answered answer
}

type plainChannel struct {
	values     []float64 // of the minute under way
	minute     int64
	high, over bool
}

func (p *plain) judge(device int, at time.Time, values []float64) {
	second := int64(at.Sub(streamBegin) / time.Second)
	for i, v := range values {
		name := "d" + strconv.Itoa(device) + ".r" + strconv.Itoa(i)
		c := p.channels[name]
		if c == nil {
			c = &plainChannel{}
			p.channels[name] = c
		}
		tell := func(rule string, raised bool, value float64) {
			p.answered.Alarms = append(p.answered.Alarms, told{second, name, rule, raised, value})
		}
		if v > raiseAbove && !c.high || v < clearBelow && c.high {
			c.high = !c.high
			tell("limit", c.high, v)
		}
		if m := second / 60; m != c.minute {
			sum := 0.0
			for _, x := range c.values {
				sum += x
			}
			average := sum / float64(len(c.values))
			if over := average > averageLimit; over != c.over {
				c.over = over
				tell("average", over, average)
			}
			c.minute, c.values = m, c.values[:0]
		}
		c.values = append(c.values, v)
	}
}

// TestRulesJudgeTheStream: tidegate's side says what has to be said, whatever the size of records, so that it is the same work.
func TestRulesJudgeTheStream(t *testing.T) {
	for _, size := range []int{registers, 1} {
		r, err := newRuled(size)
		if err != nil {
			t.Fatal(err)
		}
		p := &plain{channels: map[string]*plainChannel{}}
		values := make([]float64, size)
		for second := range 700 {
			at := streamBegin.Add(time.Duration(second) * time.Second)
			for d := range 40 / size {
				for i := range values {
					values[i] = valueAt(7, d*size+i, second)
				}
				r.put(d, at, values)
				if err := r.judge(d); err != nil {
					t.Fatal(err)
				}
				p.judge(d, at, values)
			}
		}
		got := r.answer()
		for _, a := range []*answer{&got, &p.answered} {
			slices.SortFunc(a.Alarms, func(x, y told) int {
				return cmp.Or(cmp.Compare(x.Second, y.Second), cmp.Compare(x.Channel, y.Channel), cmp.Compare(x.Rule, y.Rule))
			})
		}
		if limits, averages := counted(got); limits < 20 || averages < 10 || got.State == 0 {
			t.Errorf("records of %d: %d and %d alarms, %d bytes of state: too few to compare", size, limits, averages, got.State)
		}
		if err := differs(got, p.answered); err != nil {
			t.Errorf("records of %d: %v", size, err)
		}
	}
}

// TestDiffers: rounding is no difference, all else is.
func TestDiffers(t *testing.T) {
	a := answer{Readings: 2, Alarms: []told{{Second: 60, Channel: "d0.r0", Rule: "average", Raised: true, Value: 73}}}
	same := func(change func(*answer)) error {
		b := answer{Readings: 2, Alarms: slices.Clone(a.Alarms)}
		change(&b)
		return differs(a, b)
	}
	if err := same(func(b *answer) { b.Alarms[0].Value += 1e-13 }); err != nil {
		t.Errorf("rounding: %v", err)
	}
	for name, change := range map[string]func(*answer){
		"value": func(b *answer) { b.Alarms[0].Value += 1e-9 }, "second": func(b *answer) { b.Alarms[0].Second++ },
		"raised": func(b *answer) { b.Alarms[0].Raised = false }, "count": func(b *answer) { b.Alarms = nil }, "readings": func(b *answer) { b.Readings++ },
	} {
		if same(change) == nil {
			t.Errorf("%s: no difference", name)
		}
	}
}

// TestParseBenchmarks reads what go test writes, run by run.
func TestParseBenchmarks(t *testing.T) {
	got := parseBenchmarks("goos: linux\nBenchmarkMixed/reads=40 \t 17018\t 140320 ns/op\t 285062 readings/s\t 0 allocs/op\nPASS\nBenchmarkMixed/reads=40 1 1 ns/op 2 readings/s\n")
	if v := got[[2]string{"BenchmarkMixed/reads=40", "readings/s"}]; !slices.Equal(v, []float64{285062, 2}) || len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

// TestReactDevice: a time is taken from the end of the Read with a flip to the Set of what it demands, and to no other.
func TestReactDevice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "times")
	opened, err := (&reactConfig{Seed: 1, File: file}).Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := opened.(*reactDevice)
	set := func(v bool) {
		if err := d.Set(t.Context(), "relay", tidegate.Bool(v)); err != nil {
			t.Fatal(err)
		}
	}
	set(false) // the safe state of a start
	var high, flips int
	for range 200 {
		list, err := d.Read(t.Context())
		if err != nil || len(list) != registers {
			t.Fatalf("%d readings, %v", len(list), err)
		}
		v, _ := list[0].Value.Number()
		if now := int(v) / 90; now != high {
			high = now
			flips++
			if set(high == 0); !d.waits {
				t.Fatal("what was not demanded is taken for it")
			}
			set(high == 1)
			set(high == 1) // again
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if lines := strings.Count(string(text), "\n"); err != nil || flips < 10 || lines != flips {
		t.Errorf("%d lines for %d flips, %v", lines, flips, err)
	}
	var r reaction
	for u := 1; u <= units; u++ {
		if err := os.WriteFile(filepath.Join(filepath.Dir(file), "u"+strconv.Itoa(u)+".times"), []byte("100 2000000\n150 7000000000\n200 1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.times(filepath.Dir(file), time.Unix(0, 100), time.Unix(0, 200)); err != nil || r.Flips != units || r.Missing != units || r.P50 != 2 || r.P100 != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestRulesReport has a row for each figure, with the median and both ends.
func TestRulesReport(t *testing.T) {
	own := map[[2]string][]float64{}
	for _, y := range yields {
		own[[2]string{y.name, y.unit}] = []float64{1, 3}
	}
	all := []versus{{size: 40, telegraf: []judgedBy{{Rate: 100}}, tidegate: []judgedBy{{Rate: 500}, {Rate: 700}}, limits: 8, averages: 9}}
	got := rulesReport("Today.", plan{runs: 2}, all, own, []reaction{{P99: 1}, {P99: 3}})
	for _, want := range []string{"| 40 readings | 100 | 600 (500 to 700) | 6 | ratio >= 5 | 8, 9 | 0 |", "| reading to output, p99 | ms | 2 (1 to 3) | <= 5 ms |", "when: avg(d0.r0, 1m, tumbling) > 72.0305"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for _, y := range yields {
		if want := "| " + y.what + " | 2 (1 to 3) | " + y.reach + " |"; !strings.Contains(got, want) {
			t.Errorf("no %q", want)
		}
	}
}
