package agent

import (
	"slices"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/status"
)

// note keeps counts and newest values for the status. raw is list as the driver has returned it: whether an output is what it was set to
// shows there.
func (r *reader) note(list, raw []tidegate.Reading, now clock.Stamp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.outs) > 0 {
		r.answerLocked(func(channel string) (report, bool) { return r.reportOf(raw, channel) })
	}
	s := &r.state
	s.LastRead = status.Time{Time: now.Wall}
	s.Reads++
	s.State, s.LastError = "ok", ""
	for i := range list {
		x := &list[i]
		if x.Fault != "" {
			s.Faults++
			s.State, s.LastError = "fault", x.Channel+": "+x.Fault
		} else {
			s.Readings++
		}
		r.newestLocked(i, x, now)
	}
}

// Bounds of what the status shows of a device: channels, and bytes of a text.
const (
	shownValues = 64
	shownBytes  = 200
)

// newestLocked keeps x, which came i-th: most devices report the same channels each time.
func (r *reader) newestLocked(i int, x *tidegate.Reading, now clock.Stamp) {
	if i >= len(r.newest) || r.newest[i].Channel != x.Channel {
		i = slices.IndexFunc(r.newest, func(y tidegate.Reading) bool { return y.Channel == x.Channel })
		if i < 0 && len(r.newest) < shownValues {
			i = len(r.newest)
			r.newest = append(r.newest, tidegate.Reading{})
		}
		if i < 0 {
			return
		}
	}
	r.newest[i] = *x
	r.newest[i].Time = now.Wall
}

// status returns the device's state.
func (r *reader) status() status.Device {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.EveryS = r.interval().Seconds()
	s.Hung = int(r.hung.Load()) + r.out.Hung()
	for i := range r.newest {
		x := &r.newest[i]
		v := status.Value{Channel: x.Channel, Unit: x.Unit, Fault: x.Fault, Time: x.Time}
		if x.Fault == "" {
			v.Value = shown(x.Value)
		}
		s.Values = append(s.Values, v)
	}
	return s
}

// shown returns v as text, cut where it is long.
func shown(v tidegate.Value) string {
	text, ok := v.Text()
	if !ok || len(text) <= shownBytes {
		return v.String()
	}
	n := shownBytes
	for v.Kind() == tidegate.KindText && n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return tidegate.RawValue(v.Kind(), 0, text[:n]).String() + "..."
}
