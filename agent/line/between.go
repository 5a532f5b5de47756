package line

import "github.com/tidegate-io/tidegate/agent/box"

// A want is what another goroutine wants to be run between two entries.
type want struct {
	run    func() error
	behind box.Place // not before ring 1 is judged up to here
}

// between runs f between two entries, in the order of the calls; any goroutine may call it.
func (j *judge) between(f func() error) { j.after(0, f) }

// after is between, when ring 1 is judged up to place.
func (j *judge) after(place box.Place, f func() error) {
	j.mu.Lock()
	j.wants = append(j.wants, want{f, place})
	j.mu.Unlock()
	j.signal()
}

// takeOver takes over what other goroutines left.
func (j *judge) takeOver() error {
	j.mu.Lock()
	asked, n := j.asked, 0
	for n < len(j.wants) && j.wants[n].behind <= j.input {
		n++
	}
	wants := j.wants[:n:n]
	j.asked, j.wants = nil, j.wants[n:]
	j.mu.Unlock()
	j.declared = append(j.declared, asked...)
	for _, w := range wants {
		if err := w.run(); err != nil {
			return err
		}
	}
	return nil
}
