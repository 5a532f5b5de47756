package farend

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/sync/receive/subscribe"
)

// A page answers /healthz and /metrics.
type page struct {
	receiver   *receive.Receiver
	subscriber *subscribe.Subscriber
}

// routes returns what answers.
func (p page) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /healthz", p.health)
	m.HandleFunc("GET /metrics", p.metrics)
	return m
}

// health answers "ok", or 503 and a line for each thing that is wrong.
func (p page) health(w http.ResponseWriter, _ *http.Request) {
	var wrong []string
	if err := p.subscriber.Failing(); err != nil {
		wrong = append(wrong, fmt.Sprintf("broker: %v", err))
	}
	if err := p.receiver.Failing(); err != nil {
		wrong = append(wrong, fmt.Sprintf("sink: %v", err))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "ok\n"
	if len(wrong) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		text = strings.Join(wrong, "\n") + "\n"
	}
	write(w, text)
}

// A figure is one metric of each epoch.
type figure struct {
	name, kind, help string
	of               func(*receive.EpochAccount) uint64
}

// figures are what /metrics shows of each epoch.
var figures = []figure{
	{"stored_records_total", "counter", "Records stored.", func(e *receive.EpochAccount) uint64 { return e.StoredRecords }},
	{"stored_readings_total", "counter", "Readings stored.", func(e *receive.EpochAccount) uint64 { return e.StoredReadings }},
	{"duplicate_records_total", "counter", "Records that came again and were dropped.", func(e *receive.EpochAccount) uint64 { return e.Duplicates }},
	{"highest_record", "gauge", "Highest number stored, skipped or declared a gap.", func(e *receive.EpochAccount) uint64 { return e.Highest }},
	{"receipted_record", "gauge", "Number up to which receipts go.", func(e *receive.EpochAccount) uint64 { return e.Upto }},
	{"missing_records", "gauge", "Numbers below the highest of which nothing is known.", func(e *receive.EpochAccount) uint64 { return e.Holes.Len() }},
	{"gaps", "gauge", "Gaps declared.", func(e *receive.EpochAccount) uint64 { return uint64(len(e.Gaps)) }},
	{"gap_readings", "gauge", "Readings known to be lost in gaps.", func(e *receive.EpochAccount) uint64 { return uint64(e.GapCount) }},
	{"gap_readings_at_most", "gauge", "Bound of readings lost in gaps where they are not known exactly.", func(e *receive.EpochAccount) uint64 { return uint64(e.GapAtMost) }},
	{"held_records", "gauge", "Records of which only parts have come.", func(e *receive.EpochAccount) uint64 { return uint64(e.HeldRecords) }},
	{"discarded_records_total", "counter", "Records of which parts were held and given up.", func(e *receive.EpochAccount) uint64 { return e.Discarded }},
}

// metrics answers in Prometheus' text format 0.0.4. Names of gateways and epochs need no escaping: the receiver takes no others.
func (p page) metrics(w http.ResponseWriter, _ *http.Request) {
	a := p.receiver.Account()
	var b strings.Builder
	single := func(name, kind, help string, v uint64) {
		fmt.Fprintf(&b, "# HELP tidegate_receive_%s %s\n# TYPE tidegate_receive_%s %s\ntidegate_receive_%s %d\n", name, help, name, kind, name, v)
	}
	single("payloads_total", "counter", "Payloads taken in since the start.", a.Received)
	single("refused_payloads_total", "counter", "Payloads set aside because they could not be understood.", a.Refused)
	single("forgotten_epochs_total", "counter", "Epochs forgotten because their gateway had too many.", a.Forgot)
	single("connected", "gauge", "1 while the subscription stands.", yes(p.subscriber.Failing() == nil))
	single("storing", "gauge", "1 while the sink takes records.", yes(p.receiver.Failing() == nil))
	for _, f := range figures {
		fmt.Fprintf(&b, "# HELP tidegate_receive_%s %s\n# TYPE tidegate_receive_%s %s\n", f.name, f.help, f.name, f.kind)
		for i := range a.Gateways {
			g := &a.Gateways[i]
			for j := range g.Epochs {
				e := &g.Epochs[j]
				fmt.Fprintf(&b, "tidegate_receive_%s{gateway=%q,epoch=%q} %d\n", f.name, g.Gateway, e.Epoch, f.of(e))
			}
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	write(w, b.String())
}

// yes returns 1 for true.
func yes(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// write writes text; an error means that who asked has gone, and no one is left to tell.
func write(w io.Writer, text string) { _, _ = io.WriteString(w, text) }
