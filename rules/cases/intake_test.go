package cases

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIntake: what is read in a case is as devices report it, and what rules see is what redact, hash and convert make of it, also where only other
// rules are chosen, and after a restart.
func TestIntake(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = `channels: {b.p: {unit: hPa}, b.badge: {kind: text}, b.card: {kind: text}, other.p: {unit: hPa}}
rules:
  - {name: hide, do: [{convert: {channels: [b.p], unit: bar}}, {redact: {channels: [b.badge]}}, {hash: {channels: [b.card], key_file: KEY}}]}
  - {name: high, when: b.p > 3, do: [{alarm: {severity: info, text: x}}]}
  - {name: same, when: b.badge == "redacted" and b.card == "78a2a623f2a67c4e9fc8c4c656437504", do: [{alarm: {severity: info, text: x}}]}
  - {name: raw, when: b.badge == "A4711" or b.card == "A4711" or other.p < 200, do: [{alarm: {severity: info, text: x}}]}
cases:
  - name: as rules see it
    ONLY
    restart: true
    steps:
      - {at: 0s, b.p: 2500, b.badge: "A4711", b.card: "A4711", other.p: 250}
      - {at: 1s, b.p: 3500}
      - {at: 2s, b.p: 2500, fault: {b.badge: "A4711"}}
    want: [{at: 0s, raised: same}, {at: 1s, raised: high}, {at: 2s, cleared: high}]
`
	for _, only := range []string{"only: [high, same, raw]", "only: [hide, high, same, raw]", "zone: UTC"} {
		if r := try(t, strings.NewReplacer("KEY", key, "ONLY", only).Replace(text)); !r.Good {
			var out strings.Builder
			t.Errorf("%s: %v\n%s", only, r.Write(&out, false), &out)
		}
	}
	_, faults, err := Run("t", []byte(strings.NewReplacer("KEY", "/nowhere", "ONLY", "zone: UTC").Replace(text)), alone)
	if err != nil || len(faults) != 1 || !strings.Contains(faults[0].String(), "key_file: open file") {
		t.Errorf("without the key: %v, %v", faults, err)
	}
}
