package strict

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

type inner struct {
	Text  string            `yaml:"text" check:"required"`
	Word  string            `yaml:"word" check:"enum=one|two"`
	Whole int               `yaml:"whole" check:"min=-3 max=10"`
	Small int8              `yaml:"small"`
	Big   uint64            `yaml:"big"`
	Float *float64          `yaml:"float"`
	Yes   bool              `yaml:"yes"`
	Pause time.Duration     `yaml:"pause" check:"max=5s"`
	Any   tidegate.Value    `yaml:"any"`
	List  []string          `yaml:"list"`
	Deep  []inner           `yaml:"deep"`
	Names map[string]string `yaml:"names"`
	Enum  map[int64]string  `yaml:"enum"`
	More  *inner            `yaml:"more"`
}

// FuzzDecode: whatever the text, decoding ends with a sound struct or with faults, and neither panics nor hangs.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"text: a\n", "text: &a x\nlist: [*a, *a]\n", "deep:\n- text: 'x'\n  more: {text: \"y\\n\"}\n", "a: &a\n  b: *a\n",
		"names: {a: b, 1: 2}\nenum: {0: off, 0x10: on}\n", "pause: 10\nwhole: 010\nfloat: 1,5\nyes: on\nany: no\n", "text: |\n  x\n  y\n",
		"text: >-\n  x\n\n  y\n# c\nlist:\n  - a # b\n  -\n", "? a\n: b\n", "%YAML 1.2\n---\na: 1\n", "---\n- a\n---\n", "\xef\xbb\xbftext: a\r\n",
		"<<: {a: b}\n", "text: !!str 5\n", "[[[[{a: [", "- - - - a\n", "text: a: b\n", "\ttext: a\n", "text: \"\\q\"\n", "deep: [{more: ~}]\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := New("fuzz.yaml")
		d.Parse([]byte(s))
		var v inner
		d.Decode(&v, nil)
		for _, fault := range d.Faults() {
			if fault.Line < 0 || fault.Col < 0 || fault.Line > 0 && fault.Col == 0 || fault.Problem == "" || fault.Hint == "" && fault.Site != moreFaults {
				if fault.Site != missingKey {
					t.Errorf("incomplete fault %+v", fault)
				}
			}
			_ = fault.String()
		}
		if d.Sound() && v.Text == "" {
			t.Errorf("sound without a text: %+v", v)
		}
	})
}
