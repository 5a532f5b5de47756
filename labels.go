package tidegate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// The limits of Labels. They bound what labels add to a record on the wire.
const (
	MaxLabels = 16  // labels of one record
	MaxLabel  = 256 // bytes of the text of one
)

// SummaryLabel is the label of records that stand for others, which were thinned out because the buffer was full. Its text is the window that each stands for,
// as time.Duration writes it. No rule can give it.
const SummaryLabel = "thinned"

// Labels are texts by name that say more of readings than their device and channel: {"batch": "4711", "mode": "maintenance"}. Their names are
// as CheckName has it.
type Labels map[string]string

// Check reports what is wrong with l: too many, a name that CheckName refuses, a text that is empty, too long or not UTF-8.
func (l Labels) Check() error {
	if len(l) > MaxLabels {
		return fmt.Errorf("got %d labels, want at most %d", len(l), MaxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("label %q: %w", name, err)
		}
		switch text := l[name]; {
		case text == "":
			return fmt.Errorf("label %s: text is empty", name)
		case len(text) > MaxLabel:
			return fmt.Errorf("label %s: text is %d bytes long, at most %d are allowed", name, len(text), MaxLabel)
		case !utf8.ValidString(text):
			return fmt.Errorf("label %s: text is not UTF-8", name)
		}
	}
	return nil
}

// String returns l as a JSON object in the order of the names, "" where there are none: the form in which records carry labels. Equal labels
// give equal texts.
func (l Labels) String() string {
	if len(l) == 0 {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(map[string]string(l)); err != nil { // of texts there is none
		return ""
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
