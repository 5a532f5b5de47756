package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
		if x.V == nil || !strings.HasPrefix(x.Device, "meter") {
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
func countBuffered(o *options, cfg *config.Config) (out map[string]*seen, err error) {
	out = map[string]*seen{}
	q, err := agent.OpenOffline(cfg, o.log())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	err = q.Buffered(func(r tidegate.Record) error {
		rec := receivedRecord{}
		for i := range r.Readings {
			x := &r.Readings[i]
			if x.Fault != "" || !strings.HasPrefix(x.Device, "meter") {
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
func settle(bus *demoBus, received, buffered map[string]*seen, far receive.Account) account {
	var a account
	answered, ends := bus.truth()
	for u := 1; u <= demoUnits; u++ {
		name := fmt.Sprintf("meter%d", u)
		got, kept := received[name], buffered[name]
		if got == nil {
			got = &seen{}
		}
		if kept == nil {
			kept = &seen{}
		}
		a.Answered += uint64(answered[u]) * demoChannels
		for n := uint32(1); n <= answered[u]; n++ {
			switch {
			case got.records[n] > 0:
				a.Delivered += uint64(min(got.readings[n]/got.records[n], demoChannels))
				a.Doubled += uint64((got.records[n] - 1) * demoChannels)
				a.Lost += int64(demoChannels - min(got.readings[n]/got.records[n], demoChannels))
			case kept.records[n] > 0:
				a.Buffered += demoChannels
			case slices.Contains(ends[u], n):
				a.InFlight += demoChannels
			default:
				a.Lost += demoChannels
			}
		}
	}
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			a.Duplicates += e.Duplicates
			for _, gap := range e.Gaps {
				if gap.Cause == tidegate.CauseRejected {
					a.Rejected += uint64(gap.Count)
				} else {
					a.DroppedDeclared += uint64(gap.Count)
				}
			}
		}
	}
	a.Lost -= int64(a.Rejected + a.DroppedDeclared)
	a.Produced = a.Answered - a.InFlight
	return a
}
