package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
)

// An Alarm was raised or cleared by a rule.
type Alarm struct {
	Rule     string
	Raised   bool // else cleared
	Severity Severity
	Text     string
	Channel  string         // "device.channel" whose value decided; "" when the rule was removed
	Value    tidegate.Value // that value; none when the rule was removed
	Boot     time.Duration  // when
}

// alarmText is the text of an alarm's reading, as JSON; README.md describes it.
type alarmText struct {
	State    string   `json:"state"` // "raised" or "cleared"
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Channel  string   `json:"channel,omitempty"`
	Value    any      `json:"value,omitempty"` // number, true/false or text
}

// Reading returns a as a reading of the device "_rules", channel = the rule's name, whose value is the JSON text
// {"state","severity","text","channel","value"}. Its time is the record's.
func (a Alarm) Reading() (tidegate.Reading, error) {
	t := alarmText{State: "cleared", Severity: a.Severity, Text: a.Text, Channel: a.Channel, Value: jsonValue(a.Value)}
	if a.Raised {
		t.State = "raised"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(t); err != nil {
		return tidegate.Reading{}, fmt.Errorf("encode alarm of rule %q: %w", a.Rule, err)
	}
	text := strings.TrimSuffix(b.String(), "\n")
	return tidegate.Reading{Device: RulesDevice, Channel: a.Rule, Value: tidegate.Text(text)}, nil
}

// jsonValue returns v as encoding/json takes it; what is no finite number, which JSON has not, becomes text.
func jsonValue(v tidegate.Value) any {
	switch v.Kind() {
	case tidegate.KindNone:
		return nil
	case tidegate.KindBool:
		b, _ := v.Bool()
		return b
	case tidegate.KindFloat:
		if f, _ := v.Number(); math.IsInf(f, 0) || math.IsNaN(f) {
			return v.String()
		}
		return json.Number(v.String())
	case tidegate.KindInt, tidegate.KindUint:
		return json.Number(v.String())
	}
	return v.String()
}
