package gpio

import (
	"errors"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// level is the mode of a line that is looked at now and then, and of an output.
type level struct{ *line }

func (level) take(_ time.Time, _ []drivers.Edge, _ uint32, out []tidegate.Reading) []tidegate.Reading {
	return out
}

func (level) settle(_ time.Time, out []tidegate.Reading) []tidegate.Reading { return out }

func (level) due() time.Time { return time.Time{} }

// tell reports the level. An output that was left as it was found and not set is a fault, once.
func (m level) tell(_ time.Time, out []tidegate.Reading) ([]tidegate.Reading, error) {
	isUnset := m.Mode == modeOutput && m.Safe == "" && !m.wasSet.Load()
	on, err := m.pin.Level()
	switch {
	case errors.Is(err, drivers.ErrGone):
		return out, err
	case isUnset && m.wasUnsaid:
		return out, nil
	case isUnset:
		m.wasUnsaid = true
		return append(out, m.fault("output was not set since it was opened, and stands as it was: an output is not read back")), nil
	case err != nil:
		return append(out, m.fault("%v", err)), nil
	}
	return append(out, tidegate.Reading{Channel: m.Channel, Value: tidegate.Bool(on)}), nil
}

// A window counts what comes within a second.
type window struct {
	since time.Time
	n     int
}

// add adds n and returns how many there are within the second.
func (w *window) add(now time.Time, n int) int {
	if now.Sub(w.since) >= time.Second {
		w.since, w.n = now, 0
	}
	w.n += n
	return w.n
}

// changes is the mode edge: each change is a reading, up to so many a second; the rest are told in one.
type changes struct {
	*line
	w    window
	held int          // changes of this second that are not reported
	last drivers.Edge // of these
	lost uint32       // changes of this second that the kernel dropped
}

func (m *changes) take(now time.Time, edges []drivers.Edge, lost uint32, out []tidegate.Reading) []tidegate.Reading {
	out = m.settle(now, out)
	if m.lost += lost; lost > 0 {
		m.w.add(now, int(lost))
	}
	for _, e := range edges {
		if m.w.add(now, 1) > m.most() {
			m.held++
			m.last = e
			continue
		}
		out = append(out, m.reading(e))
	}
	return out
}

func (m *changes) reading(e drivers.Edge) tidegate.Reading {
	return tidegate.Reading{Channel: m.Channel, Value: tidegate.Bool(e.Level), Time: e.Time}
}

func (m *changes) due() time.Time {
	if m.held == 0 && m.lost == 0 {
		return time.Time{}
	}
	return m.w.since.Add(time.Second)
}

// settle tells, when the second is over, what was not reported of it, and where the line has come to.
func (m *changes) settle(now time.Time, out []tidegate.Reading) []tidegate.Reading {
	if at := m.due(); at.IsZero() || now.Before(at) {
		return out
	}
	if m.lost > 0 {
		out = append(out, m.fault("%d changes were dropped by the kernel, which keeps %d of a line: they came faster than they could be taken",
			m.lost, keptEdges))
	}
	if m.held > 0 {
		out = append(out,
			m.fault("%d changes within a second, at most %d can be true: %d are not reported one by one; the contact bounces or the wire picks up noise: set debounce, or most",
				m.w.n, m.most(), m.held),
			m.reading(m.last))
	}
	m.held, m.lost = 0, 0
	return out
}

func (m *changes) tell(now time.Time, out []tidegate.Reading) ([]tidegate.Reading, error) {
	return level{m.line}.tell(now, out)
}

// keptEdges is how many edges the kernel keeps of a line; see drivers.Pin.
const keptEdges = 1024

// counter is the mode counter: edges are added up, dropped ones included.
type counter struct {
	*line
	book    *book
	account *account
	w       window
	over    int    // most edges within a second since the last report, if more than can be true
	lost    uint32 // edges that the kernel dropped since the last report
}

func (m *counter) take(now time.Time, edges []drivers.Edge, lost uint32, out []tidegate.Reading) []tidegate.Reading {
	n := len(edges) + int(lost)
	m.book.add(m.account, n, int(lost))
	if m.lost += lost; m.w.add(now, n) > m.most() {
		m.over = max(m.over, m.w.n)
	}
	return out
}

func (*counter) settle(_ time.Time, out []tidegate.Reading) []tidegate.Reading { return out }

func (*counter) due() time.Time { return time.Time{} }

// tell reports the total, and what is to be known of it.
func (m *counter) tell(_ time.Time, out []tidegate.Reading) ([]tidegate.Reading, error) {
	if m.lost > 0 {
		out = append(out, m.fault("%d edges were dropped by the kernel, which keeps %d of a line; its numbers tell how many, and they are in the total (%d since counting began)",
			m.lost, keptEdges, m.account.lost))
	}
	over := m.over
	m.lost, m.over = 0, 0
	if err := m.book.trouble(m.account); err != nil {
		out = append(out, m.fault("%v", err))
	}
	switch {
	case !m.book.isRead:
	case over > 0:
		out = append(out, m.fault("%d edges within a second, at most %d can be true: the contact bounces or the wire picks up noise; they are in the total: set debounce, or most",
			over, m.most()))
	case m.PerUnit != 0:
		out = append(out, tidegate.Reading{Channel: m.Channel, Unit: m.unit(), Value: tidegate.Float(m.Start + float64(m.account.edges)/m.PerUnit)})
	default:
		out = append(out, tidegate.Reading{Channel: m.Channel, Unit: m.unit(), Value: tidegate.Uint(uint64(m.Start) + m.account.edges)})
	}
	return out, nil
}

// defaultStop is how long no edge may come before a frequency is 0.
const defaultStop = 10 * time.Second

// frequency is the mode frequency: edges between two edges, by the time between these two. So it does not depend on when it is looked at, and edges
// that the kernel dropped count as well.
type frequency struct {
	*line
	from, to drivers.Edge
	has      bool      // from and to are edges
	over     int       // as of counter
	w        window    //
	heard    time.Time // when an edge was taken last, or the line was opened
}

func (m *frequency) take(now time.Time, edges []drivers.Edge, lost uint32, out []tidegate.Reading) []tidegate.Reading {
	if m.heard = now; !m.has {
		m.from, m.has = edges[0], true
	}
	m.to = edges[len(edges)-1]
	if m.w.add(now, len(edges)+int(lost)) > m.most() {
		m.over = max(m.over, m.w.n)
	}
	return out
}

func (*frequency) settle(_ time.Time, out []tidegate.Reading) []tidegate.Reading { return out }

func (*frequency) due() time.Time { return time.Time{} }

// tell reports the frequency since the last report. Where no edge came since, it says nothing, until the time is up.
func (m *frequency) tell(now time.Time, out []tidegate.Reading) ([]tidegate.Reading, error) {
	stop := m.Stop
	if stop == 0 {
		stop = defaultStop
	}
	n, span := m.to.Seq-m.from.Seq, m.to.Stamp-m.from.Stamp
	over := m.over
	m.over = 0
	switch {
	case over > 0:
		out = append(out, m.fault("%d edges within a second, at most %d can be true: the wire picks up noise; set debounce, or most", over, m.most()))
		m.has = false
	case m.has && n > 0 && span <= 0:
		out = append(out, m.fault("%d edges within %v by the kernel's stamps", n, span))
		m.has = false
	case m.has && n > 0:
		out = append(out, m.reading(float64(n)/span.Seconds()))
		m.from = m.to
	case now.Sub(m.heard) >= stop:
		out = append(out, m.reading(0))
		m.has = false
	}
	return out, nil
}

func (m *frequency) reading(hertz float64) tidegate.Reading {
	if m.PerUnit != 0 {
		hertz /= m.PerUnit
	}
	return tidegate.Reading{Channel: m.Channel, Unit: m.unit(), Value: tidegate.Float(hertz)}
}
