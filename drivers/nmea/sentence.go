package nmea

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	gonmea "github.com/adrianmo/go-nmea"

	"github.com/tidegate-io/tidegate/drivers/talker"
)

// A kind is one kind of sentence that is used.
type kind struct {
	name    string
	least   int // fields that it must have
	rank    int // of two sentences that give the same, the one with the higher rank counts
	timedBy int // number of the field with its time; -1 = it has none
	take    func(e *epoch, k *kind, f []string)
}

// mostFields is more than any kind has (GSV of NMEA 4.10 has 20): what has more is none.
const mostFields = 32

// kinds returns the kinds by name.
func kinds() map[string]*kind {
	out := map[string]*kind{}
	for _, k := range []*kind{
		{"RMC", 9, 4, 0, takeRMC},
		{"GGA", 10, 5, 0, takeGGA},
		{"GNS", 10, 6, 0, takeGNS},
		{"GLL", 6, 3, 4, takeGLL},
		{"VTG", 8, 2, -1, takeVTG},
		{"GSA", 17, 1, -1, takeGSA},
		{"ZDA", 4, 1, 0, takeZDA},
	} {
		out[k.name] = k
	}
	return out
}

// isGNSS reports whether the talker id is that of a satellite receiver: NMEA Revealed, "Talker IDs"; GQ and GI are QZSS and NavIC since 4.11.
func isGNSS(id string) bool {
	return slices.Contains([]string{"GP", "GN", "GL", "GA", "GB", "BD", "GQ", "QZ", "GI"}, id)
}

// errOther is the error of sentences that are not for us.
var errOther = errors.New("of another talker or kind")

// A sumError says that a sentence has no checksum, or a wrong one.
type sumError struct{ got, want string }

func (e *sumError) Error() string {
	if e.got == "" {
		return "missing"
	}
	return fmt.Sprintf("got %.8s, want %s", e.got, e.want)
}

// A parser cuts sentences up and passes over those that are not for us.
type parser struct {
	kinds map[string]*kind
	cut   gonmea.SentenceParser
}

func newParser() *parser {
	p := &parser{kinds: kinds()}
	p.cut.CheckCRC = func(s gonmea.BaseSentence, fields string) error {
		if want := gonmea.Checksum(fields); s.Checksum != want {
			return &sumError{s.Checksum, want}
		}
		return nil
	}
	p.cut.OnBaseSentence = func(s *gonmea.BaseSentence) error {
		if p.kinds[s.Type] == nil || !isGNSS(s.Talker) {
			return errOther
		}
		return nil
	}
	p.cut.CustomParsers = map[string]gonmea.ParserFunc{}
	for name := range p.kinds {
		p.cut.CustomParsers[name] = func(s gonmea.BaseSentence) (gonmea.Sentence, error) { return s, nil }
	}
	return p
}

// line returns the sentence in text. stray is what stood before it and is not used. A nil kind without a refusal is a sentence that
// is not for us.
func (p *parser) line(text []byte) (k *kind, fields []string, stray, bad talker.Refusal) {
	if i := bytes.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return nil, nil, "", talker.Refusal(fmt.Sprintf("%s: byte %d is no printable ASCII: %s", talker.BadBytes, i+1, talker.Excerpt(text)))
	}
	at := bytes.LastIndexByte(text, '$')
	switch {
	case at < 0 && text[0] == '!': // AIS
		return nil, nil, "", ""
	case at < 0:
		return nil, nil, "", talker.Refusal(fmt.Sprintf("%s: line does not begin with $: %s", talker.NoStart, talker.Excerpt(text)))
	case at > 0 && !isTagBlock(text[:at]):
		stray = talker.Refusal(fmt.Sprintf("%s: %d bytes stand before the start of a sentence: %s", talker.HalfFrame, at, talker.Excerpt(text[:at])))
	}
	text = text[at:]
	s, err := p.cut.Parse(string(text))
	var sum *sumError
	switch {
	case errors.Is(err, errOther):
		return nil, nil, stray, ""
	case errors.As(err, &sum):
		return nil, nil, stray, talker.Refusal(fmt.Sprintf("%s: %v: %s", talker.BadSum, sum, talker.Excerpt(text)))
	case err != nil:
		return nil, nil, stray, talker.Refusal(fmt.Sprintf("%s: %v: %s", talker.NoMatch, err, talker.Excerpt(text)))
	}
	base, ok := s.(gonmea.BaseSentence)
	if !ok {
		return nil, nil, stray, talker.Refusal(fmt.Sprintf("%s: %s", talker.NoMatch, talker.Excerpt(text)))
	}
	k = p.kinds[base.Type]
	if n := len(base.Fields); n < k.least || n > mostFields {
		return nil, nil, stray, talker.Refusal(fmt.Sprintf("%s: %s has %d fields, want %d to %d: %s", talker.NoMatch, k.name, n, k.least, mostFields, talker.Excerpt(text)))
	}
	return k, base.Fields, stray, ""
}

// isTagBlock reports whether b is what NMEA 4.0 allows before a sentence: \...\
func isTagBlock(b []byte) bool {
	return len(b) > 1 && b[0] == '\\' && bytes.IndexByte(b[1:], '\\') == len(b)-2
}

// hear is Driver.Hear: it lists the sentences of satellite receivers in b, at most eight kinds.
func hear(b []byte) string {
	var heard []string
	var p gonmea.SentenceParser
	p.OnBaseSentence = func(s *gonmea.BaseSentence) error {
		if isGNSS(s.Talker) && !slices.Contains(heard, s.Prefix()) && len(heard) < 8 {
			heard = append(heard, s.Prefix())
		}
		return errOther
	}
	for line := range bytes.Lines(b) {
		if at := bytes.LastIndexByte(line, '$'); at >= 0 {
			_, _ = p.Parse(string(line[at:])) // what is no sentence is not heard
		}
	}
	if len(heard) == 0 {
		return ""
	}
	return "GNSS receiver (NMEA 0183): " + strings.Join(heard, " ")
}
