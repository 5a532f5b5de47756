package config

import "testing"

func TestUnitHint(t *testing.T) {
	for unit, want := range map[string]string{
		"bar":     "as it stands, and rules convert it; registered of its kind: Pa, hPa",
		"kPa":     "as it stands, and rules convert it; registered of its kind: Pa, hPa",
		"°C":      `write "Cel"`,
		"CEL":     `did you mean "Cel"?`,
		"widgets": "as it stands",
	} {
		if got := UnitHint(unit, "as it stands"); got != want {
			t.Errorf("%s: got %q, want %q", unit, got, want)
		}
	}
}
