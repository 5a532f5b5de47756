package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/status"
)

// codes returns what b shows, as code@since in seconds.
func codes(b *board) string {
	var out []string
	for _, c := range b.list() {
		out = append(out, c.Code+"@"+c.Since.UTC().Format("05"))
	}
	return strings.Join(out, " ")
}

func TestBoard(t *testing.T) {
	now := time.Unix(1, 0)
	b := newBoard(func() time.Time { return now })
	want := func(want string) {
		t.Helper()
		if got := codes(b); got != want {
			t.Errorf("conditions are %q, want %q", got, want)
		}
		now = now.Add(time.Second)
	}
	if l := b.list(); l == nil || len(l) != 0 {
		t.Errorf("list is %v, want empty and not null", l)
	}
	b.set("device_fault", "meter1", true, "no reply")
	want("device_fault:meter1@01")
	b.set("device_fault", "meter1", true, "wrong CRC")
	want("device_fault:meter1@01")
	if c := b.list()[0]; c.Detail != "wrong CRC" || c.Severity != "warning" || c.Title == "" || c.Remedy == "" {
		t.Errorf("condition is %+v", c)
	}
	b.set("device_fault", "meter2", true, "")
	b.set("clock_unsynced", "", true, "")
	b.set("disk_full", "", true, "")
	want("disk_full@03 device_fault:meter1@01 device_fault:meter2@03 clock_unsynced@03")
	b.set("limit_shrunk", "", true, "") // the full disk explains it
	want("disk_full@03 device_fault:meter1@01 device_fault:meter2@03 clock_unsynced@03")
	b.set("disk_full", "", false, "")
	want("device_fault:meter1@01 device_fault:meter2@03 limit_shrunk@04 clock_unsynced@03")
	for _, name := range []string{"meter1", "meter2"} {
		b.set("device_fault", name, false, "")
	}
	b.set("limit_shrunk", "", false, "")
	b.setSince("uplink_down", "one", true, "refused", time.Unix(59, 0))
	want("uplink_down:one@59 clock_unsynced@03")
	b.set("no_such_code", "", true, "")
	want("uplink_down:one@59 clock_unsynced@03")
}

func TestConditionsAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range conditions {
		if seen[c.code] {
			t.Errorf("%s stands twice", c.code)
		}
		seen[c.code] = true
		if c.title == "" || c.remedy == "" || !slices.Contains([]string{"info", "warning", "error"}, c.severity) {
			t.Errorf("row %+v is not complete", c)
		}
		if c.depends != "" && !slices.ContainsFunc(conditions, func(x condition) bool { return x.code == c.depends }) {
			t.Errorf("%s depends on %q, which is none", c.code, c.depends)
		}
	}
	s := status.Status{}
	if s.Worst() != "" {
		t.Errorf("worst of nothing is %q", s.Worst())
	}
	for _, severity := range []string{"info", "error", "warning"} {
		s.Conditions = append(s.Conditions, status.Condition{Severity: severity})
	}
	if s.Worst() != "error" {
		t.Errorf("worst is %q, want error", s.Worst())
	}
}

// TestDropsAreShownForAnHour: what was dropped before the process began does not count.
func TestDropsAreShownForAnHour(t *testing.T) {
	var d drops
	began := time.Unix(0, 0).UTC()
	for _, step := range []struct {
		at    time.Duration
		total uint64
		want  string // since when, "" = not shown
	}{
		{0, 5, ""},
		{time.Minute, 5, ""},
		{2 * time.Minute, 6, "2m0s"},
		{30 * time.Minute, 8, "2m0s"},
		{89 * time.Minute, 8, "2m0s"},
		{90 * time.Minute, 8, ""},
		{100 * time.Minute, 9, "1h40m0s"},
	} {
		got := ""
		if holds, since := d.see(step.total, clock.Stamp{Wall: began.Add(step.at), Boot: step.at}); holds {
			got = since.Sub(began).String()
		}
		if got != step.want {
			t.Errorf("after %v: shown since %q, want %q", step.at, got, step.want)
		}
	}
}
