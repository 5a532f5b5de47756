package told

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// Status writes how the gateway stands.
func Status(out io.Writer, s *status.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "gateway\t%s\tversion %s, up %s\n", s.Gateway, s.Version, time.Duration(s.UptimeS*1e9).Round(time.Second))
	fmt.Fprintf(w, "link\t%s\t%s since %s\n", s.Link.State, s.Link.Endpoint, s.Link.Since.Format(time.DateTime))
	if s.Link.LastError != "" {
		fmt.Fprintf(w, "\t\tlast error: %s\n", s.Link.LastError)
	}
	fmt.Fprintf(w, "queue\t%d readings\t%d bytes on disk, oldest %s\n", s.Queue.Readings, s.Queue.DiskBytes, time.Duration(s.Queue.OldestAgeS*1e9).Round(time.Second))
	Accounts(w, s)
	for _, d := range s.Devices {
		fmt.Fprintf(w, "device\t%s\t%s: %d reads, %d readings, %d faults", d.Name, d.State, d.Reads, d.Readings, d.Faults)
		if d.EveryRule != "" {
			fmt.Fprintf(w, "; read every %v by rule %s", time.Duration(d.EveryS*1e9).Round(time.Microsecond), d.EveryRule)
		}
		if d.LastError != "" {
			fmt.Fprintf(w, "; %s", d.LastError)
		}
		if d.Hung > 0 {
			fmt.Fprintf(w, "; calls of its driver that hang: %d", d.Hung)
		}
		fmt.Fprintln(w)
	}
	for i := range s.Rules {
		writeRule(w, &s.Rules[i])
	}
	for _, c := range s.Conditions {
		fmt.Fprintf(w, "%s\t%s\t%s; %s\n", c.Severity, c.Code, c.Title, c.Remedy)
		if c.Detail != "" {
			fmt.Fprintf(w, "\t\t%s\n", c.Detail)
		}
	}
	return w.Flush()
}

func writeRule(w io.Writer, r *status.Rule) {
	fmt.Fprintf(w, "rule\t%s\t%s, fired %s", r.Name, r.State(), times(r.Fired))
	if r.Severity != "" {
		fmt.Fprintf(w, "; %s: %s", r.Severity, r.Text)
	}
	fmt.Fprintln(w)
}

// plus returns a part of an account that only some rules make.
func plus(name string, n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" + %s %d", name, n)
}

// Accounts writes the account of each uplink, a line each.
func Accounts(w io.Writer, s *status.Status) {
	for _, u := range s.Uplinks {
		a := u.Account
		fmt.Fprintf(w, "account\t%s\tproduced %d%s = delivered %d + buffered %d + rejected %d + declared %d%s%s%s", u.Name, a.Produced, plus("derived", a.Derived),
			a.Delivered, a.Buffered, a.Rejected, a.DroppedDeclared, plus("filtered", a.Filtered), plus("thinned", a.Thinned), plus("routed", a.Routed))
		if a.Lost != 0 {
			fmt.Fprintf(w, " + LOST %d", a.Lost)
		}
		fmt.Fprintln(w)
	}
}
