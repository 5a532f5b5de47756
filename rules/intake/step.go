// Package intake changes the readings of devices before anything else sees them: it puts a text or a keyed hash in the place of values, and
// converts numbers to other units. It knows readings and nothing else.
package intake

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/unit"
)

// A Step says what is done with the readings of some channels.
type Step struct {
	Do       Doing
	Channels []string // "device.channel"; * stands for any characters
	Text     string   // redact: what stands in the place of values
	Key      Key      // hash
	Unit     string   // convert: to what
}

// Doing says what a Step does.
type Doing byte

// What a Step can do.
const (
	Redact  Doing = 1 // a text stands in the place of the value
	Hash    Doing = 2 // HMAC-SHA256 of the value, the first 128 bits in lower-case hexadecimal
	Convert Doing = 3 // the number in another unit
)

// Bounds of a Key, in bytes.
const (
	KeyLeast = 16
	KeyMost  = 4096
)

// A Key is that of hashes. It does not show itself, wherever it is printed with what it is in.
type Key struct{ at *string }

// NewKey returns the key of these bytes.
func NewKey(text string) Key { return Key{&text} }

// bytes returns the bytes of k.
func (k Key) bytes() []byte {
	if k.at == nil {
		return nil
	}
	return []byte(*k.at)
}

// String says what s does, for people.
func (s *Step) String() string {
	names := strings.Join(s.Channels, ", ")
	switch s.Do {
	case Hash:
		return "hash " + names + " with a key"
	case Convert:
		return "convert " + names + " to " + s.Unit
	}
	return fmt.Sprintf("redact %s: %q stands there", names, s.Text)
}

// hides reports whether s is there so that nobody sees the value.
func (s *Step) hides() bool { return s.Do == Redact || s.Do == Hash }

// Concerns reports whether s has to do with the channel called name, "device.channel".
func (s *Step) Concerns(name string) bool { return filter.MatchAny(s.Channels, name) }

// Mark tells what s does with the values of a channel from what others do. It does not tell the key.
func (s *Step) Mark() string {
	key := ""
	if s.Do == Hash {
		mac := hmac.New(sha256.New, s.Key.bytes())
		key = string(mac.Sum(nil)[:4])
	}
	return fmt.Sprintf("%d %q %x %s\n", s.Do, s.Text, key, s.Unit)
}

// After returns kind and unit of a channel behind s, which concerns it and of which no more than these may be known before. The error says why s
// cannot be done with its values.
func (s *Step) After(k tidegate.Kind, u string) (tidegate.Kind, string, error) {
	if s.Do != Convert {
		return tidegate.KindText, "", nil
	}
	switch k {
	case tidegate.KindBool, tidegate.KindText, tidegate.KindBytes:
		return k, u, fmt.Errorf("it is a %s, no number", k)
	case tidegate.KindNone:
		if u == "" {
			return tidegate.KindFloat, s.Unit, nil // whether it can be done shows when it is read
		}
	}
	if u == "" {
		return k, u, errors.New("it has no unit")
	}
	if _, err := unit.Convert(u, s.Unit); err != nil {
		return k, u, err
	}
	return tidegate.KindFloat, s.Unit, nil
}

// of returns s for one device, with the patterns only that may stand for a channel of it. ok is false where there is none.
func (s *Step) of(device string) (out Step, ok bool) {
	out = *s
	out.Channels = nil
	for _, p := range s.Channels {
		first, _, open := strings.Cut(p, "*")
		if strings.HasPrefix(first, device+".") || open && strings.HasPrefix(device+".", first) {
			out.Channels = append(out.Channels, p)
		}
	}
	return out, len(out.Channels) > 0
}
