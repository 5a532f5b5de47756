package maps

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

// commit is what a revision of a source ends with.
var commit = regexp.MustCompile(`^commit [0-9a-f]{40}$`)

// TestShippedMaps is the linter: each map decodes without a fault, which includes overlaps, units and citations; beyond that, its citations
// can be found again, and its names are lower case and say no unit.
func TestShippedMaps(t *testing.T) {
	if len(Names()) < 3 {
		t.Fatalf("there are %v", Names())
	}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			if err := tidegate.CheckName(name); err != nil || name != strings.ToLower(name) || !strings.Contains(name, "-") {
				t.Errorf("want maker-model in lower case: %v", err)
			}
			m, errs := Load(name)
			for _, e := range errs {
				t.Error(e)
			}
			if strings.TrimSpace(m.Note) == "" || strings.TrimSpace(m.Title) == "" {
				t.Error("no title or no note")
			}
			for _, c := range m.Cite {
				if strings.HasPrefix(c.Document, "github.com/") != commit.MatchString(c.Revision) || len(c.Page) < 10 {
					t.Errorf("a source is cited by its commit, a document by its revision, and both by what to look for: %+v", c)
				}
			}
			values, _ := registers.Lay(m.Registers, registers.Listed(), registers.MostRegisters)
			for i := range values {
				v := &values[i]
				if v.Channel != strings.ToLower(v.Channel) || v.IsOutput {
					t.Errorf("channel %s: want lower case, and no output: what a technician lets be set is his own word", v.Channel)
				}
				if k := v.Kind(); (k == tidegate.KindBool || k == tidegate.KindText) == (v.Unit != "") {
					t.Errorf("channel %s: a number has a unit, and nothing else has: %q", v.Channel, v.Unit)
				}
				if v.Table == link.Coil && len(m.Registers) == 0 {
					t.Error("nothing to read")
				}
			}
		})
	}
}

// TestPZEM decodes the frame that the citation of ESPHome shows: 225.7 V, 0.108 A, 24.4 W, 38 Wh, 50.0 Hz, 1.00.
func TestPZEM(t *testing.T) {
	body := []byte{0x08, 0xd1, 0x00, 0x6c, 0x00, 0x00, 0x00, 0xf4, 0x00, 0x00, 0x00, 0x26, 0x00, 0x00, 0x01, 0xf4, 0x00, 0x64, 0x00, 0x00}
	want := []string{"voltage=225.7 V", "current=0.108 A", "power=24.4 W", "energy=38 Wh", "frequency=50 Hz", "power_factor=1 /", "alarm=none "}
	m, errs := Load("peacefair-pzem004t")
	if errs != nil {
		t.Fatal(errs)
	}
	values, _ := registers.Lay(m.Registers, registers.Listed(), registers.MostRegisters)
	var got []string
	for i := range values {
		if v := &values[i]; v.Table == link.Input {
			val, fault := v.Decode(body[2*v.Address:2*v.End()], tidegate.Value{})
			got = append(got, fmt.Sprintf("%s=%v%s %s", v.Channel, val, fault, v.Unit))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

const good = `title: X
cite:
  - {document: d, revision: r, page: p}
registers:
  - {channel: a, address: 1, unit: V}
`

func TestLoad(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"OK":               {good, ""},
		"OK bits and mask": {good + "  - {channel: b, address: 2, type: bool, bit: 3}\n  - {channel: c, address: 2, type: bool, bit: 4, enum: {0: shut, 1: open}}\n", ""},
		"no cite":          {"title: X\nregisters:\n  - {channel: a, address: 1}\n", "m.yaml:1:1: cite: key is missing; where this is known from"},
		"empty cite":       {"title: X\ncite: []\nregisters:\n  - {channel: a, address: 1}\n", "m.yaml:2:7: cite: lists nothing; say by which document, revision and page it was made"},
		"no page":          {"title: X\ncite:\n  - {document: d, revision: r}\nregisters:\n  - {channel: a, address: 1}\n", "m.yaml:3:5: cite[0].page: key is missing; page or section, or what to look for in the file"},
		"no registers":     {"title: X\ncite:\n  - {document: d, revision: r, page: p}\nregisters:\n", "m.yaml:4:12: registers: lists nothing; list at least one register"},
		"unknown key":      {good + "  - {channel: b, address: 2, ofset: 2}\n", "m.yaml:6:30: registers[1].ofset: unknown key; did you mean \"offset\"?"},
		"leading zero":     {good + "  - {channel: b, address: 010}\n", "m.yaml:6:27: registers[1].address: a whole number is wanted (got 010); leading zeros are ambiguous: write 10, or 8 if octal is meant"},
		"overlap":          {good + "  - {channel: b, address: 0, type: uint32}\n", "m.yaml:6:27: registers[1].address: holding 0..1 of channel b overlaps holding 1 of channel a in registers[0] (got 0)"},
		"name twice":       {good + "  - {channel: a, address: 2}\n", "m.yaml:6:15: registers[1].channel: registers[0] gives a channel of this name already (got a); give each channel a name of its own"},
		"unit":             {good + "  - {channel: b, address: 2, unit: KWh}\n", "m.yaml:6:36: registers[1].unit: unit is not registered for SenML (got KWh); did you mean \"kWh\"?"},
		"type":             {good + "  - {channel: b, address: 2, type: u16}\n", "m.yaml:6:36: registers[1].type: want int16, uint16, int32, uint32, int64, uint64, float32, float64, bool or string (got u16)"},
		"gap":              {"max_gap: 125\n" + good, "m.yaml:1:10: max_gap: want 0 to 124 (got 125)"},
		"quantity":         {"max_quantity: 0\n" + good, "m.yaml:1:15: max_quantity: want 1 to 125 (got 0)"},
		"too many":         {good + "  - {channel: b, address: 2, count: 10000}\n", "m.yaml:5:3: registers: gives 10001 channels, at most 10000; is a count right? list what is looked at, not all there is"},
		"type too long":    {"max_quantity: 1\n" + good + "  - {channel: b, address: 2, type: float32}\n", "m.yaml:7:36: registers[1].type: needs 2 registers in one request, max_quantity is 1 (got float32)"},
		"not YAML":         {"title: [\n", "m.yaml:"},
		"empty":            {"", "m.yaml: file is empty"},
	}
	dir := t.TempDir()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "m.yaml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			m, errs := Load(file)
			var got []string
			for _, e := range errs {
				if e.Field != "map" {
					t.Errorf("a fault of %q, want of map", e.Field)
				}
				got = append(got, strings.TrimPrefix(e.Problem, dir+"/"))
			}
			if all := strings.Join(got, "\n"); tt.want == "" && all != "" || !strings.HasPrefix(all, tt.want) || tt.want != "" && len(got) != 1 {
				t.Errorf("got  %s\nwant %s", all, tt.want)
			}
			if tt.want == "" && len(m.Registers) == 0 {
				t.Error("nothing was read")
			}
		})
	}
}

func TestLoadByName(t *testing.T) {
	for name, want := range map[string]string{
		"eastron-sdm63":  `map: no map of this name comes with the gateway (got eastron-sdm63); did you mean "eastron-sdm630"?`,
		"sdm120":         `map: no map of this name comes with the gateway (got sdm120); did you mean "eastron-sdm120"?`,
		"fridge":         "map: no map of this name comes with the gateway (got fridge); one of eastron-sdm120, eastron-sdm630, peacefair-pzem004t",
		"mine.yaml":      "map: no map of this name comes with the gateway (got mine.yaml); write ./mine.yaml if it is a file in the working directory",
		"./missing.yaml": "map: ./missing.yaml: open file: no such file or directory (got ./missing.yaml); check the path, which is relative to the working directory",
	} {
		_, errs := Load(name)
		if len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("got  %v\nwant %s", errs, want)
		}
	}
}

// FuzzParse: whatever the file holds, it is refused or can be laid out, and each fault is a fault of the setting map.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("max_quantity: 1\n" + good + "  - {channel: b, address: 65535, type: float64, count: 65536, scale: 1e-300}\n"))
	f.Add([]byte("title: X\ncite: &a [*a]\nregisters: [{enum: {1: a, 1: b}}]\n"))
	for _, name := range Names() {
		text, err := shipped.ReadFile(name + ext)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, errs := Parse("m.yaml", text)
		for _, e := range errs {
			if e.Field != "map" || !strings.HasPrefix(e.Problem, "m.yaml") {
				t.Errorf("fault %v", e)
			}
		}
		if errs != nil {
			return
		}
		if values, more := registers.Lay(m.Registers, registers.Listed(), registers.MostRegisters); more != nil || len(values) == 0 || len(m.Cite) == 0 {
			t.Errorf("no fault, but %d values and %v", len(values), more)
		}
	})
}
