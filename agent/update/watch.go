package update

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/ota/trial"
)

// A sighting is how often something went well, and when it last did so once more.
type sighting struct {
	kind  byte // 'd' device, 'u' uplink, 'r' rules
	first uint64
	n     uint64    // since the first look, that is since this process began
	at    time.Time // zero = never
	holds bool      // it stands well now
}

// A watch follows what goes well, from one status to the next.
type watch struct {
	seen map[string]sighting // by kind and name
}

// look takes in one status.
func (w *watch) look(s status.Status) {
	now := time.Now()
	for _, d := range s.Devices {
		w.note('d', d.Name, d.Reads, 0, d.State == "ok", now)
	}
	for _, u := range s.Uplinks {
		if s.Epoch == "" {
			break // the store is not open: what was delivered is not known yet
		}
		w.note('u', u.Name, u.Account.Delivered, u.Account.Delivered, u.Link.State == "up", now)
	}
	if len(s.Rules) > 0 {
		w.note('r', "", s.Judged, 0, true, now)
	}
}

// note takes in one count; before is where it began, of counts that are older than this process.
func (w *watch) note(kind byte, name string, count, before uint64, holds bool, now time.Time) {
	key := string(kind) + name
	x, known := w.seen[key]
	if !known {
		x = sighting{kind: kind, first: before}
	}
	if n := count - min(x.first, count); n > x.n {
		x.n, x.at = n, now
	}
	x.holds = holds
	w.seen[key] = x
}

// baseline returns what went well within recent.
func (w *watch) baseline(now time.Time, recent time.Duration) (b trial.Baseline) {
	for key, x := range w.seen {
		if !x.holds || now.Sub(x.at) > recent {
			continue
		}
		switch x.kind {
		case 'd':
			b.Devices = append(b.Devices, key[1:])
		case 'u':
			b.Uplinks = append(b.Uplinks, key[1:])
		case 'r':
			b.Rules = true
		}
	}
	slices.SortFunc(b.Devices, cmp.Compare)
	slices.SortFunc(b.Uplinks, cmp.Compare)
	return b
}

// sight returns what went well since this process began.
func (w *watch) sight() trial.Sight {
	s := trial.Sight{Reads: map[string]uint64{}, Kept: map[string]uint64{}}
	for key, x := range w.seen {
		switch x.kind {
		case 'd':
			if x.holds {
				s.Reads[key[1:]] = x.n
			}
		case 'u':
			s.Kept[key[1:]] = x.n
		case 'r':
			s.Judged = x.n
		}
	}
	return s
}
