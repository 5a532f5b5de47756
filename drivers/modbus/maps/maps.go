// Package maps reads register maps: what a kind of Modbus device holds where, as data. The maps in this folder come with the gateway. Each
// says by which document or source it was made; a map that cannot say so is refused.
package maps

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

//go:embed *.yaml
var shipped embed.FS

// ext is the end of a map's file name.
const ext = ".yaml"

// mostChannels is how many channels a map gives at most.
const mostChannels = 10_000

// Map is what one kind of device holds.
type Map struct {
	Title       string            `yaml:"title" check:"required" doc:"maker and model, as its label says"`
	Note        string            `yaml:"note" doc:"for the technician: line settings as delivered, traps"`
	Cite        []Cite            `yaml:"cite" check:"required" doc:"where this is known from"`
	MaxGap      int               `yaml:"max_gap" doc:"how many registers between those listed the device lets be read, 0 to 124; a device's own max_gap may be more"`
	MaxQuantity int               `yaml:"max_quantity" doc:"how many registers it lets one request ask for, 1 to 125, not set = 125; a device's own max_quantity may be less"`
	Registers   []registers.Entry `yaml:"registers" check:"required" doc:"what to read, as in a device's settings"`
}

// Cite is a document or source that a map was made by.
type Cite struct {
	Document string `yaml:"document" check:"required" doc:"title, or repository and path"`
	Revision string `yaml:"revision" check:"required" doc:"version, date or commit"`
	Page     string `yaml:"page" check:"required" doc:"page or section, or what to look for in the file"`
}

// Names returns the names of the maps that come with the gateway, sorted.
func Names() []string {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		return nil // it is there: the build put it in
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ext))
	}
	return out
}

// Load returns the map that the setting map names: one that comes with the gateway, or, where a slash is in it, the file at that path. The
// faults are those of the setting map; with faults the Map holds what could be read.
func Load(name string) (Map, []drivers.FieldError) {
	if strings.Contains(name, "/") {
		text, refusal := strict.ReadFile(name, strict.Public, strict.MaxBytes)
		if refusal != nil {
			doc := strict.New(name)
			doc.Refuse("", refusal)
			return Map{}, told(doc)
		}
		return Parse(name, text)
	}
	if !slices.Contains(Names(), name) {
		hint := "one of " + strings.Join(Names(), ", ")
		switch {
		case strings.HasSuffix(name, ext):
			hint = "write ./" + name + " if it is a file in the working directory"
		default:
			hint = strict.DidYouMean(name, Names(), hint)
		}
		return Map{}, []drivers.FieldError{{Field: "map", Got: strict.Show(name), Problem: "no map of this name comes with the gateway", Hint: hint}}
	}
	text, err := shipped.ReadFile(name + ext)
	if err != nil {
		return Map{}, []drivers.FieldError{{Field: "map", Got: strict.Show(name), Problem: err.Error()}}
	}
	return Parse(path.Join("maps", name+ext), text)
}

// What can be wrong with a map beyond the form of the file.
const (
	emptyList   strict.Site = "lists nothing"
	tooMany     strict.Site = "gives %d channels, at most %d"
	outOfRange  strict.Site = "want %d to %d"
	badRegister strict.Site = "%s"
	unitUnknown strict.Site = "unit is not registered for SenML"
)

// Parse is Load for a text; file stands for it in faults.
func Parse(file string, text []byte) (Map, []drivers.FieldError) {
	var m Map
	doc := strict.New(file)
	doc.Parse(text)
	if !doc.Decode(&m, nil) {
		return m, told(doc)
	}
	m.check(doc)
	return m, told(doc)
}

// check notes what is wrong with m.
func (m *Map) check(doc *strict.Doc) {
	if len(m.Cite) == 0 && !doc.Faulty("cite") {
		doc.Add("cite", emptyList, "", "say by which document, revision and page it was made")
	}
	if len(m.Registers) == 0 && !doc.Faulty("registers") {
		doc.Add("registers", emptyList, "", "list at least one register")
	}
	if m.MaxGap < 0 || m.MaxGap >= registers.MostRegisters {
		doc.Add("max_gap", outOfRange, fmt.Sprint(m.MaxGap), "", 0, registers.MostRegisters-1)
	}
	most := m.MaxQuantity
	if doc.Given("max_quantity") && (most < 1 || most > registers.MostRegisters) {
		doc.Add("max_quantity", outOfRange, fmt.Sprint(most), "", 1, registers.MostRegisters)
	}
	if most < 1 || most > registers.MostRegisters {
		most = registers.MostRegisters
	}
	n := 0
	for _, r := range m.Registers {
		if n++; r.Count != nil {
			n += min(max(*r.Count, 1), link.Addresses) - 1
		}
	}
	if n > mostChannels {
		doc.Add("registers", tooMany, "", "is a count right? list what is looked at, not all there is", n, mostChannels)
		return
	}
	_, errs := registers.Lay(m.Registers, registers.Listed(), most)
	for _, e := range errs {
		if !doc.Faulty(e.Field) {
			doc.Add(e.Field, badRegister, e.Got, e.Hint, e.Problem)
		}
	}
	for i, r := range m.Registers {
		if _, ok := tidegate.UnitMeaning(r.Unit); r.Unit != "" && !ok {
			at := registers.Listed().Field(i, "unit")
			doc.Add(at, unitUnknown, strict.Show(r.Unit), strict.DidYouMean(r.Unit, tidegate.Units(), "see RFC 8428 section 12.1 and RFC 8798"))
		}
	}
}

// told returns what is wrong with a file as faults of the setting map, each with file, line and column.
func told(doc *strict.Doc) []drivers.FieldError {
	var out []drivers.FieldError
	for _, f := range doc.Faults() {
		out = append(out, drivers.FieldError{Field: "map", Problem: f.String()})
	}
	return out
}
