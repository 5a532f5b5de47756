package told

import (
	"fmt"
	"io"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// All of these fit a terminal of 60 columns, but for long names and reasons.

// Queue writes how the buffer stands.
func Queue(w io.Writer, s *status.Status) error {
	q := &s.Queue
	fmt.Fprintf(w, "gateway  %s\nepoch    %s, next record %d\n", s.Gateway, s.Epoch, s.NextRecord)
	fmt.Fprintf(w, "queue    %d readings in %d records\n", q.Readings, q.Records)
	if q.Readings > 0 {
		fmt.Fprintf(w, "         the oldest is %s old\n", time.Duration(q.OldestAgeS*1e9).Round(time.Second))
	}
	fmt.Fprintf(w, "         %s waits, %s kept beside\n", size(q.Bytes), size(q.KeptBytes))
	fmt.Fprintf(w, "disk     %s, limit %s\n", size(q.DiskBytes), size(q.LimitBytes))
	keys(w, q)
	card(w, q)
	scrub(w, q)
	_, err := fmt.Fprintf(w, "gaps     %d\n", q.Gaps)
	for i := range s.Uplinks {
		err = account(w, &s.Uplinks[i])
	}
	return err
}

// keys writes what of the buffer is sealed with which key.
func keys(w io.Writer, q *status.Queue) {
	for _, k := range q.Keys {
		name, use := k.ID, "old"
		if k.ID == "" {
			name = "none"
		}
		if k.Seals {
			use = "of now"
		}
		fmt.Fprintf(w, "key      %s, %s\n", name, use)
		switch {
		case k.Records == 0 && k.Rules == 0 && k.Rejected == 0 && !k.Seals:
			fmt.Fprintln(w, "         nothing is left: take it out of buffer.old_keys")
			continue
		case k.ID == "":
			fmt.Fprintf(w, "         %d readings in the clear\n", k.Readings)
		default:
			fmt.Fprintf(w, "         %d frames of %d readings\n", k.Frames, k.Readings)
		}
		fmt.Fprintf(w, "         states of %d rules, %d runs of records aside\n", k.Rules, k.Rejected)
	}
}

// card writes what goes to the disk, and how long it takes.
func card(w io.Writer, q *status.Queue) {
	fmt.Fprintf(w, "card     %s written in 24 h", size(q.WrittenPerDayBytes))
	if q.WrittenLimitBytes > 0 {
		fmt.Fprintf(w, ", limit %s", size(q.WrittenLimitBytes))
	}
	fmt.Fprintln(w)
	if q.WrittenProjectedBytes > 0 {
		fmt.Fprintf(w, "         %s a day at the rate of now\n", size(q.WrittenProjectedBytes))
	}
	fmt.Fprintf(w, "         commits take %.4g s, one in 100 %.4g s\n", q.CommitP50S, q.CommitP99S)
}

// scrub writes how the verification of what is stored gets on.
func scrub(w io.Writer, q *status.Queue) {
	s := &q.Scrub
	fmt.Fprintf(w, "verified %d of %d segments, %d records damaged\n", s.Segments, s.Of, s.Damaged)
	if s.LastEnd == nil {
		fmt.Fprintln(w, "         never to the end yet")
	} else {
		fmt.Fprintf(w, "         last by %s, %d damaged\n", s.LastEnd.UTC().Format(time.RFC3339), s.LastDamaged)
	}
	if q.Memory {
		fmt.Fprintln(w, "memory   no disk can be written: all this is in memory")
	}
}

// account writes the account of an uplink, a line a figure that is not 0.
func account(w io.Writer, u *status.Uplink) error {
	a := &u.Account
	fmt.Fprintf(w, "uplink   %s\n", u.Name)
	for _, x := range []struct {
		n       uint64
		what    string
		however bool
	}{
		{a.Produced, "produced", true},
		{a.Derived, "+ derived", false},
		{a.Delivered, "= delivered", true},
		{a.Buffered, "+ buffered", true},
		{a.Rejected, "+ rejected", true},
		{a.DroppedDeclared, "+ declared", true},
		{a.Filtered, "+ filtered", false},
		{a.Thinned, "+ thinned", false},
		{a.Routed, "+ routed", false},
	} {
		if x.n > 0 || x.however {
			fmt.Fprintf(w, "  %14d  %s\n", x.n, x.what)
		}
	}
	if a.Lost != 0 {
		fmt.Fprintf(w, "  %14d  + LOST\n", a.Lost)
	}
	return nil
}

// size returns n bytes in words: three digits or so, by powers of 1000.
func size(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, u
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// between returns two times in words; the day of the second where it is another.
func between(from, to time.Time) string {
	from, to = from.Local(), to.Local()
	if from.Format(time.DateOnly) == to.Format(time.DateOnly) {
		return from.Format(time.DateTime) + " to " + to.Format(time.TimeOnly)
	}
	return from.Format(time.DateTime) + " to " + to.Format(time.DateTime)
}

// Segments lists what is stored.
func Segments(w io.Writer, list []status.Segment) error {
	for i := range list {
		s := &list[i]
		drop := ""
		if s.Dropping {
			drop = ", is being dropped"
		}
		fmt.Fprintf(w, "%s  %s%s\n  records %d to %d: %d of them, %d readings\n  %s\n", s.Name, size(s.Bytes), drop, s.First, s.Last, s.Records, s.Readings, between(s.From, s.To))
	}
	_, err := fmt.Fprintf(w, "%d segments\n", len(list))
	return err
}

// Rejected lists what is set aside.
func Rejected(w io.Writer, list *status.RejectedList) error {
	records, readings := uint64(0), uint64(0)
	for i := range list.Rejected {
		r := &list.Rejected[i]
		records, readings = records+r.Records, readings+r.Readings
		numbers := fmt.Sprintf("record %d", r.First)
		if r.First != r.Last {
			numbers = fmt.Sprintf("records %d to %d", r.First, r.Last)
		}
		fmt.Fprintf(w, "%s  %s, %s, %s\n  epoch %s\n", r.Uplink, numbers, r.Class, number(r.Readings, "reading"), r.Epoch)
		if !r.From.IsZero() {
			fmt.Fprintf(w, "  %s\n", between(r.From.Time, r.To.Time))
		}
		fmt.Fprintf(w, "  %s\n", r.Why)
	}
	if list.More > 0 {
		fmt.Fprintf(w, "and %d more\n", list.More)
	}
	_, err := fmt.Fprintf(w, "set aside: %s, %s\n", number(records, "record"), number(readings, "reading"))
	return err
}

// number returns n of a thing, in words.
func number(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Requeued says what goes again.
func Requeued(w io.Writer, r *status.Requeued, running bool) error {
	when := "to be sent again when the gateway runs"
	if running {
		when = "to be sent again"
	}
	_, err := fmt.Fprintf(w, "uplink %s: %s, %s, %s\n", r.Uplink, number(r.Records, "record"), number(r.Readings, "reading"), when)
	for _, s := range r.Stay {
		_, err = fmt.Fprintf(w, "set aside still: %s\n", s)
	}
	return err
}
