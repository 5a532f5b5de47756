package demo

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/sync/receive"
)

// An account is where all readings of the simulated bus went: answered = produced + in_flight, produced = delivered + buffered + rejected +
// dropped_declared + lost. Answered is counted at the far end of the bus; delivered and doubled in the receiver's files; buffered
// in the gateway's store.
type account struct {
	Answered        uint64  `json:"answered"`
	Produced        uint64  `json:"produced"`
	Delivered       uint64  `json:"delivered"`
	Duplicates      uint64  `json:"duplicates"` // records that came more than once and were dropped by the receiver
	Buffered        uint64  `json:"buffered"`
	Rejected        uint64  `json:"rejected"`
	DroppedDeclared uint64  `json:"dropped_declared"`
	InFlight        uint64  `json:"in_flight"`
	Doubled         uint64  `json:"doubled"`
	Lost            int64   `json:"lost"`
	Seconds         float64 `json:"seconds"`
	ReadingsPerS    float64 `json:"readings_per_s"`
	WireBytes       uint64  `json:"wire_bytes"`
	DiskBytes       uint64  `json:"disk_bytes"`
	Kills           int     `json:"kills"`
	BrokerStops     int     `json:"broker_stops"`
}

// print writes the account to w.
func (a *account) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(a)
	}
	_, err := fmt.Fprintf(w, `
The bus answered %d readings in %.0f s; %d of them were in flight when the gateway was stopped or killed (%d kills).
produced %d = delivered %d + buffered %d + rejected %d + declared %d + lost %d
%d records came twice and were dropped by the receiver; %d readings are stored twice.
%d bytes on the wire, %d bytes to the disk; the broker was stopped %d times.
`, a.Answered, a.Seconds, a.InFlight, a.Kills, a.Produced, a.Delivered, a.Buffered, a.Rejected, a.DroppedDeclared, a.Lost,
		a.Duplicates, a.Doubled, a.WireBytes, a.DiskBytes, a.BrokerStops)
	return err
}

// judge returns nil where nothing is lost or doubled and something was delivered, else an error wrapping ErrAccount.
func (a *account) judge() error {
	switch {
	case a.Lost != 0 || a.Doubled != 0:
		return fmt.Errorf("%w: %d readings lost, %d doubled; want 0 and 0. This is a defect: please report it", ErrAccount, a.Lost, a.Doubled)
	case a.Delivered == 0:
		return fmt.Errorf("%w: nothing was delivered; let it run for some seconds", ErrAccount)
	}
	return nil
}

// seen is what was found of one meter: for each running number, how many readings came with it.
type seen struct {
	readings map[uint32]int
	records  map[uint32]int // records that bear the number: more than one is a double
}

// receivedRecord collects the lines of one record in the receiver's files.
type receivedRecord struct {
	device string
	n      uint32
	count  int
}

// countReceived reads the receiver's files.
func countReceived(dir string) (map[string]*seen, error) {
	files, err := filepath.Glob(filepath.Join(dir, "readings-*.ndjson"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	out := map[string]*seen{}
	for _, path := range files {
		if err := countFile(path, out); err != nil {
			return nil, fmt.Errorf("count %s: %w", path, err)
		}
	}
	return out, nil
}

func countFile(path string, out map[string]*seen) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	var key string
	var rec receivedRecord
	for lines.Scan() {
		var x struct {
			Epoch   string   `json:"ep"`
			Seq     uint64   `json:"seq"`
			Device  string   `json:"device"`
			Channel string   `json:"channel"`
			V       *float64 `json:"v"`
		}
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return err
		}
		if k := fmt.Sprint(x.Epoch, " ", x.Seq); k != key {
			rec.book(out)
			key, rec = k, receivedRecord{device: x.Device}
		}
		if x.V == nil || !isMeter(x.Device) {
			continue
		}
		rec.count++
		if x.Channel == "n" {
			rec.n = uint32(*x.V)
		}
	}
	rec.book(out)
	return lines.Err()
}

func (r *receivedRecord) book(out map[string]*seen) {
	if r.count == 0 || r.n == 0 {
		return
	}
	s := out[r.device]
	if s == nil {
		s = &seen{readings: map[uint32]int{}, records: map[uint32]int{}}
		out[r.device] = s
	}
	s.readings[r.n] += r.count
	s.records[r.n]++
}

// countBuffered reads what the stopped gateway still has for the receiver.
func countBuffered(cfg *config.Config) (out map[string]*seen, err error) {
	out = map[string]*seen{}
	q, err := agent.OpenOffline(cfg, "demo", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	err = q.Buffered(func(r tidegate.Record) error {
		rec := receivedRecord{}
		for i := range r.Readings {
			x := &r.Readings[i]
			if x.Fault != "" || !isMeter(x.Device) {
				continue
			}
			rec.device = x.Device
			rec.count++
			if f, ok := x.Value.Number(); ok && x.Channel == "n" {
				rec.n = uint32(f)
			}
		}
		rec.book(out)
		return nil
	})
	return out, err
}

// settle compares the truth of the bus with what was found.
func settle(bus *bus, received, buffered map[string]*seen, far *receive.Account) account {
	var a account
	answered, ends := bus.truth()
	for u := 1; u <= units; u++ {
		got, kept := received[meters[u]], buffered[meters[u]]
		if got == nil {
			got = &seen{}
		}
		if kept == nil {
			kept = &seen{}
		}
		a.Answered += uint64(answered[u]) * channels
		for n := uint32(1); n <= answered[u]; n++ {
			switch {
			case got.records[n] > 0:
				a.Delivered += uint64(min(got.readings[n]/got.records[n], channels))
				a.Doubled += uint64((got.records[n] - 1) * channels)
				a.Lost += int64(channels - min(got.readings[n]/got.records[n], channels))
			case kept.records[n] > 0:
				a.Buffered += channels
			case slices.Contains(ends[u], n):
				a.InFlight += channels
			default:
				a.Lost += channels
			}
		}
	}
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			a.Duplicates += e.Duplicates
			for _, gap := range e.Gaps {
				missing := uint64(max(0, gap.Count-int64(gap.LateReadings)))
				if gap.Cause == tidegate.CauseRejected {
					a.Rejected += missing
				} else {
					a.DroppedDeclared += missing
				}
			}
		}
	}
	a.Lost -= int64(a.Rejected + a.DroppedDeclared)
	a.Produced = a.Answered - a.InFlight
	return a
}
