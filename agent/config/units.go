package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules/unit"
)

// unitsAs are units by the names that people know them by.
var unitsAs = map[string]string{"°C": "Cel", "degC": "Cel", "Celsius": "Cel", "%": "/100", "rpm": "1/min", "Ω": "Ohm"}

// UnitHint says what to write for a unit that is not registered for SenML: the registered one that is meant, or those of the same kind; other
// where none is known.
func UnitHint(symbol, other string) string {
	if as := unitsAs[symbol]; as != "" {
		return fmt.Sprintf("write %q", as)
	}
	kin := slices.DeleteFunc(unit.Kin(symbol), func(u string) bool { _, ok := tidegate.UnitMeaning(u); return !ok })
	if len(kin) > 0 {
		return other + ", and rules convert it; registered of its kind: " + strings.Join(kin, ", ")
	}
	return strict.DidYouMean(symbol, tidegate.Units(), other)
}
