package outcome

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/ota/release"
)

func line(gateway string, counter int, result, reason string) string {
	return fmt.Sprintf(`{"gateway":%q,"counter":%d,"result":%q,"reason":%q,"time":"2026-11-28T12:00:00Z"}`, gateway, counter, result, reason)
}

func TestRead(t *testing.T) {
	text := strings.Join([]string{
		line("gw-1", 7, "failed", "crashed"), line("gw-1", 7, "kept", ""), // tried again by hand
		line("gw-2", 7, "kept", ""), line("gw-2", 7, "failed", "hung"), // the last one counts
		line("gw-3", 7, "failed", "hung"), line("gw-3", 6, "kept", ""),
		line("gw-4", 7, "refused", "other-hardware"), line("gw-5", 7, "refused", ""), line("gw-6", 7, "started", ""), line("gw-7", 8, "failed", "crashed"),
		"", "nonsense", `{"gateway":"","counter":7,"result":"failed"}`, `{"gateway":"gw-8","result":"failed"}`, `{"gateway":"gw-8","counter":"7","result":"failed"}`,
		line("gw-9", 7, "failed", strings.Repeat("x", 200<<10)), line("gw-10", 7, "kept", ""), line("gw-11", 7, "failed", "cut")[:40],
	}, "\n")
	c, err := Read(strings.NewReader(text), 7)
	want := Count{Counter: 7, Kept: 2, Failed: 2, Refused: 2, Other: 1, Unreadable: 6, Reasons: map[string]int{"hung": 2, "other-hardware": 1}}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v, %v\nwant %+v", c, err, want)
	}
	if _, err := Read(iotest.ErrReader(errors.New("card gone")), 7); err == nil || err.Error() != "read outcomes: card gone" {
		t.Errorf("got %v", err)
	}
	if c, err := Read(strings.NewReader(""), 7); err != nil || c.Tried() != 0 || c.Over(0, 0) {
		t.Errorf("nothing: got %+v, %v", c, err)
	}
}

// TestLongLine: a line that is too long is one that cannot be read, whatever is in it and behind it.
func TestLongLine(t *testing.T) {
	good, spaces := line("gw-1", 7, "kept", ""), strings.Repeat(" ", maxLine+1000)
	for text, kept := range map[string]int{"x" + spaces + "\n" + good: 1, good + spaces: 0, "x" + spaces: 0, good + "\n" + good + spaces + "\n": 1} {
		if c, err := Read(strings.NewReader(text), 7); err != nil || c.Unreadable != 1 || c.Kept != kept {
			t.Errorf("%.20q and so on: got %+v, %v, want 1 unreadable, %d kept", text, c, err, kept)
		}
	}
}

func TestOver(t *testing.T) {
	for _, tt := range []struct {
		kept, failed int
		share        release.Stage
		least        int
		want         bool
	}{
		{98, 2, 200, 20, false},
		{97, 3, 200, 20, true},
		{9799, 200, 200, 20, true},
		{9800, 200, 200, 20, false},
		{0, 19, 200, 20, false},
		{0, 20, 200, 20, true},
		{19, 1, 0, 20, true},
		{20, 0, 0, 20, false},
		{0, 100, release.All, 20, false},
		{0, 1, 0, 0, true},
		{0, 0, 0, 0, false},
	} {
		c := Count{Kept: tt.kept, Failed: tt.failed, Refused: 1000, Other: 1000}
		if got := c.Over(tt.share, tt.least); got != tt.want {
			t.Errorf("%d kept, %d failed, at most %v of %d: got %t", tt.kept, tt.failed, tt.share, tt.least, got)
		}
	}
}

// TestReadReceived takes what tidegate-receive writes: most lines are other readings, and who published counts, not who it says it is.
func TestReadReceived(t *testing.T) {
	head := `{"gw":%q,"ep":"k3f9","seq":48211,"lane":"data","device":%q,"channel":%q,"t":1792000000.006,`
	say := func(gateway, outcome string) string {
		text, _ := json.Marshal(outcome) // a text
		return fmt.Sprintf(head, gateway, "_gateway", "update") + `"vs":` + string(text) + "}"
	}
	text := strings.Join([]string{
		fmt.Sprintf(head, "gw-1", "meter1", "r0") + `"v":21.5,"u":"Cel"}`, fmt.Sprintf(head, "gw-1", "_gateway", "gap") + `"vs":"{}"}`,
		fmt.Sprintf(head, "gw-1", "_gateway", "update") + `"v":1}`, // no text
		say("gw-1", `{"gateway":"gw-1","counter":7,"version":"v1.7.0","result":"kept","slot":"b"}`),
		say("gw-2", `{"gateway":"gw-1","counter":7,"version":"v1.7.0","result":"failed","reason":"hung","slot":"package"}`), // it lies
		say("gw-3", `{"gateway":"gw-3","counter":6,"version":"v1.6.0","result":"failed"}`), say("gw-4", "nonsense"),
		say("gw-2", `{"gateway":"gw-2","counter":0,"version":"","result":"refused","reason":"known-bad"}`), // of no release
		fmt.Sprintf(head, "gw-1", "meter1", "update") + `"vs":"{\"counter\":7,\"result\":\"failed\"}"}`,    // a device that is called so
	}, "\n")
	c, err := Read(strings.NewReader(text), 7)
	if want := (Count{Counter: 7, Kept: 1, Failed: 1, Unreadable: 1, Reasons: map[string]int{"hung": 1}}); err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v, %v\nwant %+v", c, err, want)
	}
}

// TestReadAgainstModel wants the last result of each gateway to count, whatever the order.
func TestReadAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last := map[string]string{}
		var b strings.Builder
		for range rapid.IntRange(0, 50).Draw(t, "lines") {
			g := fmt.Sprint(rapid.IntRange(1, 9).Draw(t, "gateway"))
			counter := rapid.IntRange(6, 8).Draw(t, "counter")
			result := rapid.SampledFrom([]string{"kept", "failed", "refused", "x"}).Draw(t, "result")
			b.WriteString(line(g, counter, result, "") + "\n")
			if counter == 7 {
				last[g] = result
			}
		}
		want := map[string]int{}
		for _, result := range last {
			want[result]++
		}
		c, err := Read(strings.NewReader(b.String()), 7)
		if err != nil || c.Kept != want["kept"] || c.Failed != want["failed"] || c.Refused != want["refused"] || c.Other != want["x"] || c.Unreadable != 0 {
			t.Fatalf("got %+v (%v), want %v", c, err, want)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(line("gw-1", 7, "kept", "") + "\n" + line("gw-1", 7, "failed", "hung")))
	f.Add([]byte("\n\n{\n"))
	f.Add([]byte(`{"gw":"gw-1","device":"_gateway","channel":"update","vs":"{\"counter\":7,\"result\":\"failed\"}"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Read(strings.NewReader(string(b)), 7)
		lines := strings.Count(string(b), "\n") + 1
		if err != nil || c.Tried()+c.Refused+c.Other+c.Unreadable > lines {
			t.Fatalf("got %+v (%v) of %d lines", c, err, lines)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Fatal(err)
		}
	})
}
