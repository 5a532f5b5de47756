package web

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate/agent/status"
)

// A metric is one line of /metrics without labels.
type metric struct {
	name, kind, help string
	value            func(*status.Status) float64
}

// metrics are the figures of the gateway as a whole, in the order in which they are shown.
var metrics = []metric{
	{"tidegate_uptime_seconds", "gauge", "Time since the gateway started.", func(s *status.Status) float64 { return s.UptimeS }},
	{"tidegate_clock_synced", "gauge", "1 when the clock is synchronised.", func(s *status.Status) float64 { return flag(s.Clock.Synced) }},
	{"tidegate_next_record", "counter", "Number that the next record gets.", func(s *status.Status) float64 { return float64(s.NextRecord) }},
	{"tidegate_confirmed_record", "counter", "All records up to this number are done.", func(s *status.Status) float64 { return float64(s.ConfirmedRecord) }},
	{"tidegate_queue_records", "gauge", "Records buffered.", func(s *status.Status) float64 { return float64(s.Queue.Records) }},
	{"tidegate_queue_readings", "gauge", "Readings buffered.", func(s *status.Status) float64 { return float64(s.Queue.Readings) }},
	{"tidegate_queue_bytes", "gauge", "Bytes of the records buffered, estimated.", func(s *status.Status) float64 { return float64(s.Queue.Bytes) }},
	{"tidegate_queue_kept_bytes", "gauge", "Bytes of what is stored beside: delivered and kept, or set aside.", func(s *status.Status) float64 { return float64(s.Queue.KeptBytes) }},
	{"tidegate_queue_disk_bytes", "gauge", "Bytes that the store takes on disk.", func(s *status.Status) float64 { return float64(s.Queue.DiskBytes) }},
	{"tidegate_queue_limit_bytes", "gauge", "Limit of the store.", func(s *status.Status) float64 { return float64(s.Queue.LimitBytes) }},
	{"tidegate_queue_written_per_day_bytes", "gauge", "Bytes that the gateway wrote to disk in the last 24 hours, what the file system adds estimated.", func(s *status.Status) float64 { return float64(s.Queue.WrittenPerDayBytes) }},
	{"tidegate_queue_written_projected_bytes", "gauge", "Bytes that a day comes to at the rate of the last quarter of an hour, 0 before one is over.", func(s *status.Status) float64 { return float64(s.Queue.WrittenProjectedBytes) }},
	{"tidegate_queue_written_limit_bytes", "gauge", "Limit of the bytes written a day, 0 where there is none.", func(s *status.Status) float64 { return float64(s.Queue.WrittenLimitBytes) }},
	{"tidegate_queue_commit_median_seconds", "gauge", "Median of the commits of the day.", func(s *status.Status) float64 { return s.Queue.CommitP50S }},
	{"tidegate_queue_commit_slow_seconds", "gauge", "What one in a hundred commits of the day takes, or more.", func(s *status.Status) float64 { return s.Queue.CommitP99S }},
	{"tidegate_queue_oldest_age_seconds", "gauge", "Age of the oldest record buffered.", func(s *status.Status) float64 { return s.Queue.OldestAgeS }},
	{"tidegate_queue_thinned_readings_total", "counter", "Readings for which summaries stand, as the buffer was full.", func(s *status.Status) float64 { return float64(s.Queue.Thinned) }},
	{"tidegate_gaps_total", "counter", "Gaps declared.", func(s *status.Status) float64 { return float64(s.Queue.Gaps) }},
	{"tidegate_delivered_records_total", "counter", "Records confirmed by the far side.", func(s *status.Status) float64 { return float64(s.Delivered.Records) }},
	{"tidegate_rules_late_readings_total", "counter", "Readings that rules did not look at: older than the newest of their channel.", func(s *status.Status) float64 { return float64(s.RulesLate) }},
	{"tidegate_delivered_bytes_total", "counter", "Payload bytes sent by this process.", func(s *status.Status) float64 { return float64(s.Delivered.Bytes) }},
}

// accounts are the terms of the account of one uplink.
var accounts = []struct {
	name, help string
	value      func(*status.Account) float64
}{
	{"produced", "Readings produced.", func(a *status.Account) float64 { return float64(a.Produced) }},
	{"derived", "Readings derived by rules, or in the place of others, beside those produced.", func(a *status.Account) float64 { return float64(a.Derived) }},
	{"filtered", "Readings that rules kept from going further.", func(a *status.Account) float64 { return float64(a.Filtered) }},
	{"thinned", "Readings for which others stand: by a rule, or as the buffer was full.", func(a *status.Account) float64 { return float64(a.Thinned) }},
	{"routed", "Readings that, by a rule, go to another uplink only or stay on the gateway.", func(a *status.Account) float64 { return float64(a.Routed) }},
	{"delivered", "Readings delivered.", func(a *status.Account) float64 { return float64(a.Delivered) }},
	{"buffered", "Readings buffered.", func(a *status.Account) float64 { return float64(a.Buffered) }},
	{"rejected", "Readings set aside.", func(a *status.Account) float64 { return float64(a.Rejected) }},
	{"dropped_declared", "Readings dropped and declared as gaps.", func(a *status.Account) float64 { return float64(a.DroppedDeclared) }},
	{"lost", "Readings that the account misses: other than 0 is a defect.", func(a *status.Account) float64 { return float64(a.Lost) }},
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// writeMetrics writes s in the Prometheus text format 0.0.4.
func writeMetrics(b *bytes.Buffer, s *status.Status) {
	head(b, "tidegate_build_info", "gauge", "1; the version that runs.")
	line(b, "tidegate_build_info", label("version", s.Version), 1)
	for _, m := range metrics {
		head(b, m.name, m.kind, m.help)
		line(b, m.name, "", m.value(s))
	}
	for _, m := range accounts {
		name := "tidegate_account_" + m.name + "_readings"
		head(b, name, "gauge", m.help)
		for i := range s.Uplinks {
			line(b, name, label("uplink", s.Uplinks[i].Name), m.value(&s.Uplinks[i].Account))
		}
	}
	head(b, "tidegate_uplink_up", "gauge", "1 while the uplink is connected.")
	for i := range s.Uplinks {
		line(b, "tidegate_uplink_up", label("uplink", s.Uplinks[i].Name), flag(s.Uplinks[i].Link.State == "up"))
	}
	for _, m := range []struct {
		name, help string
		value      func(*status.Device) float64
	}{
		{"tidegate_device_reads_total", "Reads that returned readings.", func(d *status.Device) float64 { return float64(d.Reads) }},
		{"tidegate_device_readings_total", "Readings of the device.", func(d *status.Device) float64 { return float64(d.Readings) }},
		{"tidegate_device_faults_total", "Faults of the device.", func(d *status.Device) float64 { return float64(d.Faults) }},
		{"tidegate_device_hung", "Calls of the device's driver that do not return.", func(d *status.Device) float64 { return float64(d.Hung) }},
		{"tidegate_device_interval_seconds", "Interval between Reads now, 0 where the device reports by itself.", func(d *status.Device) float64 { return d.EveryS }},
		{"tidegate_device_ok", "1 while the device is read without faults.", func(d *status.Device) float64 { return flag(d.State == "ok") }},
	} {
		kind := "counter"
		if !strings.HasSuffix(m.name, "_total") {
			kind = "gauge"
		}
		head(b, m.name, kind, m.help)
		for i := range s.Devices {
			line(b, m.name, label("device", s.Devices[i].Name), m.value(&s.Devices[i]))
		}
	}
	head(b, "tidegate_condition", "gauge", "1 for each condition that holds.")
	for _, c := range s.Conditions {
		line(b, "tidegate_condition", label("code", c.Code)+","+label("severity", c.Severity), 1)
	}
}

func head(b *bytes.Buffer, name, kind, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// label returns name="value", with value escaped as the format wants it.
func label(name, value string) string {
	return name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

func line(b *bytes.Buffer, name, labels string, v float64) {
	b.WriteString(name)
	if labels != "" {
		b.WriteString("{" + labels + "}")
	}
	b.WriteString(" " + strconv.FormatFloat(v, 'f', -1, 64) + "\n")
}
