package rules

import "strings"

// maxKnown bounds the channels of which a memo remembers something.
const maxKnown = 10_000

// A memo remembers something by channel. What it does not know is worked out by others, and each time anew beyond its bound.
type memo[T any] struct {
	by map[string]map[string]T
	n  int
}

// get returns what is known of a channel.
func (m *memo[T]) get(device, channel string) (v T, known bool) {
	v, known = m.by[device][channel]
	return v, known
}

// put remembers v, as far as there is room, and reports whether there was. The names may be parts of larger texts.
func (m *memo[T]) put(device, channel string, v T) bool {
	if m.n >= maxKnown {
		return false
	}
	m.n++
	byChannel := m.by[device]
	if byChannel == nil {
		byChannel = map[string]T{}
		if m.by == nil {
			m.by = map[string]map[string]T{}
		}
		m.by[strings.Clone(device)] = byChannel
	}
	byChannel[strings.Clone(channel)] = v
	return true
}
