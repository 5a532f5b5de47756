package told

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

func TestQueueInWords(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	end := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := &status.Status{
		Gateway: "gw", Epoch: "0123456789abcdef", NextRecord: 4711,
		Queue: status.Queue{
			Records: 12, Readings: 480, Bytes: 1999, KeptBytes: 12_340_000, DiskBytes: 999, LimitBytes: 512_000_000, OldestAgeS: 61.6, Gaps: 3,
			Keys:               []status.Key{{ID: "ca2413df", Seals: true, Frames: 3, Records: 9, Readings: 460, Rules: 2, Rejected: 1}, {Records: 1, Readings: 20}, {ID: "5b57d3f4"}},
			WrittenPerDayBytes: 1_200_000, WrittenLimitBytes: 50_000_000, WrittenProjectedBytes: 3_400_000, CommitP50S: 0.0125, CommitP99S: 0.3,
			Scrub: status.Scrub{Segments: 3, Of: 12, LastEnd: &end, LastDamaged: 2}, Memory: true,
		},
		Uplinks: []status.Uplink{
			{Name: "cloud", Account: status.Account{Produced: 1000, Delivered: 500, Buffered: 480, Rejected: 20}},
			{Name: "site", Account: status.Account{Produced: 1000, Delivered: 900, Routed: 99, Lost: 1}},
		},
	}
	segments := []status.Segment{
		{Name: "reading/1/3", First: 1, Last: 9, Records: 8, Readings: 320, Bytes: 4096, From: at, To: at.Add(time.Hour)},
		{Name: "alarm/1/4", First: 5, Last: 5, Records: 1, Readings: 1, Bytes: 100, From: at, To: at.Add(30 * time.Hour), Dropping: true},
	}
	rejected := &status.RejectedList{
		More: 2,
		Rejected: []status.Rejected{
			{Uplink: "cloud", Epoch: "0123456789abcdef", First: 7, Last: 7, Class: "reading", Records: 1, Readings: 1, From: status.Time{Time: at}, To: status.Time{Time: at}, Why: "too large"},
			{Uplink: "cloud", Epoch: "0123456789abcdef", First: 9, Last: 10, Class: "reading", Records: 2, Readings: 80, Why: "no frame"},
		},
	}
	requeued := &status.Requeued{Uplink: "cloud", Records: 1, Readings: 40, Stay: []string{"records 9 to 10: no frame"}}
	for _, c := range []struct {
		name, want string
		write      func(b *strings.Builder) error
	}{
		{"queue", `gateway  gw
epoch    0123456789abcdef, next record 4711
queue    480 readings in 12 records
         the oldest is 1m2s old
         2.0 kB waits, 12.3 MB kept beside
disk     999 B, limit 512.0 MB
key      ca2413df, of now
         3 frames of 460 readings
         states of 2 rules, 1 runs of records aside
key      none, old
         20 readings in the clear
         states of 0 rules, 0 runs of records aside
key      5b57d3f4, old
         nothing is left: take it out of buffer.old_keys
card     1.2 MB written in 24 h, limit 50.0 MB
         3.4 MB a day at the rate of now
         commits take 0.0125 s, one in 100 0.3 s
verified 3 of 12 segments, 0 records damaged
         last by 2026-03-01T12:00:00Z, 2 damaged
memory   no disk can be written: all this is in memory
gaps     3
uplink   cloud
            1000  produced
             500  = delivered
             480  + buffered
              20  + rejected
               0  + declared
uplink   site
            1000  produced
             900  = delivered
               0  + buffered
               0  + rejected
               0  + declared
              99  + routed
               1  + LOST
`, func(b *strings.Builder) error { return Queue(b, s) }},
		{"segments", `reading/1/3  4.1 kB
  records 1 to 9: 8 of them, 320 readings
  2026-03-01 12:00:00 to 13:00:00
alarm/1/4  100 B, is being dropped
  records 5 to 5: 1 of them, 1 readings
  2026-03-01 12:00:00 to 2026-03-02 18:00:00
2 segments
`, func(b *strings.Builder) error { return Segments(b, segments) }},
		{"rejected", `cloud  record 7, reading, 1 reading
  epoch 0123456789abcdef
  2026-03-01 12:00:00 to 12:00:00
  too large
cloud  records 9 to 10, reading, 80 readings
  epoch 0123456789abcdef
  no frame
and 2 more
set aside: 3 records, 81 readings
`, func(b *strings.Builder) error { return Rejected(b, rejected) }},
		{"requeued", `uplink cloud: 1 record, 40 readings, to be sent again when the gateway runs
set aside still: records 9 to 10: no frame
`, func(b *strings.Builder) error { return Requeued(b, requeued, false) }},
	} {
		var b strings.Builder
		if err := c.write(&b); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, b.String(), c.want)
		}
		for _, l := range strings.Split(b.String(), "\n") {
			if len(l) > 60 && c.name != "requeued" {
				t.Errorf("%s: %d columns: %s", c.name, len(l), l)
			}
		}
	}
}
