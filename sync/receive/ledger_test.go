package receive

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// set returns the ranges of pairs.
func set(pairs ...[2]uint64) Ranges {
	var r Ranges
	for _, p := range pairs {
		r.Add(tidegate.Range{First: p[0], Last: p[1]})
	}
	return r
}

func TestReceipt(t *testing.T) {
	every := func(step, n uint64) Ranges { // n single numbers, step apart
		var r Ranges
		for i := uint64(1); i <= n; i++ {
			r.Add(tidegate.Range{First: i * step, Last: i * step})
		}
		return r
	}
	tests := map[string]struct {
		row   Row
		upto  uint64
		holes string
	}{
		"nothing is there":              {Row{}, 0, "[]"},
		"all is there":                  {Row{Stored: set([2]uint64{1, 9})}, 9, "[]"},
		"the first is missing":          {Row{Stored: set([2]uint64{2, 9})}, 9, "[{1 1}]"},
		"two holes":                     {Row{Stored: set([2]uint64{1, 3}, [2]uint64{5, 7}, [2]uint64{10, 10})}, 10, "[{4 4} {8 9}]"},
		"skipped numbers are no hole":   {Row{Stored: set([2]uint64{1, 3}, [2]uint64{6, 7}), Skipped: set([2]uint64{4, 5}, [2]uint64{8, 8})}, 8, "[]"},
		"a gap is no hole":              {Row{Stored: set([2]uint64{1, 3}, [2]uint64{9, 9}), Gaps: []Gap{{Open: set([2]uint64{4, 7})}}}, 9, "[{8 8}]"},
		"a gap at the end counts":       {Row{Stored: set([2]uint64{1, 3}), Gaps: []Gap{{Open: set([2]uint64{4, 7})}}}, 7, "[]"},
		"the 64th hole is told":         {Row{Stored: every(2, 64)}, 128, "64"},
		"upto stops before the 65th":    {Row{Stored: every(2, 65)}, 128, "64"},
		"upto stops before the 65th, 2": {Row{Stored: every(2, 1000)}, 128, "64"},
		"the highest number of all":     {Row{Stored: set([2]uint64{1, 4}, [2]uint64{6, math.MaxUint64})}, math.MaxUint64, "[{5 5}]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			upto, holes := tt.row.Receipt()
			got := fmt.Sprint(holes)
			if len(holes) == wire.MaxHoles {
				got = "64"
			}
			if upto != tt.upto || got != tt.holes {
				t.Errorf("got upto %d holes %s, want %d %s", upto, got, tt.upto, tt.holes)
			}
		})
	}
}

// TestRowAgainstMap compares a Row with a plain map of what each number is, under random changes.
func TestRowAgainstMap(t *testing.T) {
	const top = 400
	rapid.Check(t, func(t *rapid.T) {
		var row Row
		var is [top + 1]byte // 0 unknown, 's' stored, 'k' skipped, 'g' in a gap
		draw := func() tidegate.Range {
			a := rapid.Uint64Range(1, top-40).Draw(t, "first")
			return tidegate.Range{First: a, Last: a + rapid.Uint64Range(0, rapid.SampledFrom([]uint64{1, 3, 39}).Draw(t, "most")).Draw(t, "more")}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			x := draw()
			var c Change
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				c.Stored.Add(x)
				for n := x.First; n <= x.Last; n++ {
					if is[n] == 'g' {
						c.Late = append(c.Late, Late{Number: n, Readings: 2})
					}
					is[n] = 's'
				}
			case 1:
				c.Skipped.Add(x)
				for n := x.First; n <= x.Last; n++ {
					if is[n] != 's' {
						is[n] = 'k'
					}
				}
			case 2:
				c.Gaps = []tidegate.Gap{{From: x.First, To: x.Last, Count: 100, Cause: tidegate.CauseOverflow}}
				for n := x.First; n <= x.Last; n++ {
					if is[n] == 0 {
						is[n] = 'g'
					}
				}
			}
			row.Apply(&c)
			checkRow(t, &row, is[:])
		}
		text, err := json.Marshal(&row)
		if err != nil {
			t.Fatal(err)
		}
		var back Row
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(&back)
		if err != nil || string(again) != string(text) {
			t.Fatalf("JSON\n%s\nbecomes\n%s\n%v", text, again, err)
		}
	})
}

// checkRow compares row, its holes and its receipt with what each number is.
func checkRow(t *rapid.T, row *Row, is []byte) {
	top, holes := uint64(0), 0
	for n := 1; n < len(is); n++ {
		got := byte(0)
		if row.Stored.Contains(uint64(n)) {
			got = 's'
		}
		if row.Skipped.Contains(uint64(n)) {
			got += 'k'
		}
		for i := range row.Gaps {
			if row.Gaps[i].Open.Contains(uint64(n)) {
				got += 'g'
			}
		}
		if got != is[n] {
			t.Fatalf("number %d is %q, want %q", n, got, is[n])
		}
		if is[n] != 0 {
			top = uint64(n)
		}
	}
	upto, told := row.Receipt()
	var want tidegate.Ranges
	for n := uint64(1); n <= top; n++ {
		if is[n] == 0 {
			if is[n-1] != 0 || n == 1 {
				if holes++; holes > wire.MaxHoles {
					top = n - 1
					break
				}
			}
			want.Add(tidegate.Range{First: n, Last: n})
		}
	}
	if upto != top || !reflect.DeepEqual(told, want) {
		t.Fatalf("receipt: got %d %v, want %d %v", upto, told, top, want)
	}
	if all := row.Holes(); holes <= wire.MaxHoles && !reflect.DeepEqual(all, want) {
		t.Fatalf("holes: got %v, want %v", all, want)
	}
}

// TestGapShrinks follows one gap through late records, a second declaration and the account.
func TestGapShrinks(t *testing.T) {
	l := NewLedger()
	k := Key{"g", "e"}
	c := Change{Key: k, Stored: set([2]uint64{1, 2}), Records: 2, Readings: 20, Turn: 1}
	c.Gaps = []tidegate.Gap{{From: 2, To: 10, Count: 90, AtMost: 100, Cause: tidegate.CausePowerCut}}
	l.Apply([]Change{c}, 0)
	l.Apply([]Change{{Key: k, Stored: set([2]uint64{5, 5}), Records: 1, Readings: 10, Late: []Late{{5, 10}}}}, 2)
	l.Apply([]Change{{
		Key: k, Gaps: []tidegate.Gap{
			{From: 3, To: 4, Count: 5, Cause: tidegate.CauseDamaged},  // all of it in the first
			{From: 9, To: 12, Count: 7, Cause: tidegate.CauseDamaged}, // 11 and 12 are its own
			{From: 7, To: 6, Count: 7, Cause: tidegate.CauseDamaged},  // upside down
			{From: 0, To: 0, Count: 7, Cause: tidegate.CauseDamaged},  // there is no record 0
			{From: 1, To: 2, Count: 7, Cause: tidegate.CauseOverflow},
		}, // stored
	}}, 0)
	got, err := json.Marshal(l.Account())
	want := `{"gateways":[{"gateway":"g","epochs":[{"epoch":"e","stored_records":3,"stored_readings":30,"duplicates":0,"highest":12,"upto":12,` +
		`"holes":[],"skipped":0,"gaps":[` +
		`{"from":2,"to":10,"count":90,"at_most":100,"cause":"power_cut","t0":0,"t1":0,"open":[[3,4],[6,10]],"late_records":1,"late_readings":10},` +
		`{"from":9,"to":12,"count":7,"at_most":0,"cause":"damaged","t0":0,"t1":0,"open":[[11,12]]}],` +
		`"gap_count":87,"gap_at_most":90,"held_records":0,"held_parts":0,"discarded":0}]}],"received_payloads":0,"refused_payloads":2}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s\nwant %s\n%v", got, want, err)
	}
}

// TestRowStaysSmall wants skipped numbers and gaps folded once there are many, without a number changing sides.
func TestRowStaysSmall(t *testing.T) {
	var row Row
	for n := uint64(1); n <= 6000; n += 3 {
		row.Apply(&Change{
			Stored: set([2]uint64{n, n}), Skipped: set([2]uint64{n + 1, n + 1}),
			Gaps: []tidegate.Gap{{From: n + 2, To: n + 2, Count: 1, Cause: tidegate.CauseRejected}},
		})
	}
	if got := len(row.Skipped.Ranges); got > maxSkipped {
		t.Errorf("%d runs of skipped numbers, want at most %d", got, maxSkipped)
	}
	if len(row.Gaps) != maxGaps || row.Gaps[0].Count != 1001 || row.Gaps[0].Cause != tidegate.CauseRejected || row.Gaps[0].Open.Len() != 1001 {
		t.Errorf("%d gaps, the first %+v", len(row.Gaps), row.Gaps[0].Gap)
	}
	if upto, holes := row.Receipt(); upto != 6000 || holes != nil {
		t.Errorf("receipt %d %v", upto, holes)
	}
	row.Apply(&Change{Gaps: []tidegate.Gap{{From: 7000, To: 7000, Cause: tidegate.CauseDamaged}}})
	row.Apply(&Change{Gaps: make([]tidegate.Gap, 0)})
	for n := uint64(7001); n < 7001+maxGaps; n++ {
		row.Apply(&Change{Gaps: []tidegate.Gap{{From: n, To: n, Cause: tidegate.CauseDamaged}}})
	}
	if row.Gaps[0].Cause != causeMerged {
		t.Errorf("the merged gap's cause is %q, want %q", row.Gaps[0].Cause, causeMerged)
	}
}

func TestRangesJSON(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"read":            {"[[5,9],[1,2]]", "[[1,2],[5,9]]"},
		"empty":           {"[]", "[]"},
		"largest numbers": {"[[18446744073709551614,18446744073709551615]]", "[[18446744073709551614,18446744073709551615]]"},
		"upside down":     {"[[2,1]]", "read ranges: last 1 is below first 2"},
		"no pairs":        {"[1]", "read ranges: json: cannot unmarshal number into Go value of type [2]uint64"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var r Ranges
			got := ""
			if err := r.UnmarshalJSON([]byte(tt.text)); err != nil {
				got = err.Error()
			} else if b, err := json.Marshal(r); err != nil {
				t.Fatal(err)
			} else {
				got = string(b)
			}
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
