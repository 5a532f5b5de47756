package lang

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/unit"
)

var update = flag.Bool("update", false, "write the reference into rules/README.md")

// TestReference: the table of functions in README is that of the code.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n| function | wants | gives | |\n|---|---|---|---|\n")
	for _, f := range functions {
		args := f.args
		if args == "" {
			args = "nothing"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s: `%s` |\n", f.name, args, f.gives, f.doc, f.example)
	}
	b.WriteString("\n`to` knows these units, and converts within a row:\n\n")
	kinds := map[string]string{}
	for _, u := range unit.All() {
		kinds[unit.Dimension(u)] = fmt.Sprintf("- %s: `%s`\n", unit.Dimension(u), strings.Join(unit.Kin(u), " "))
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		b.WriteString(kinds[kind])
	}
	const begin, end, path = "<!-- functions: written by go test ./rules/lang -update -->", "<!-- end -->", "../README.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("README has no place for the functions")
	}
	want := before + begin + b.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Error("the reference in rules/README.md is not that of the code: go test ./rules/lang -update")
	}
}

// TestExamples: each example in the table can be read, and is a condition or a value.
func TestExamples(t *testing.T) {
	s := Schema{Channels: map[string]Channel{}, Open: func(string) bool { return true }}
	for _, f := range []struct{ name, unit string }{{"meter1.power", "W"}, {"boiler.pressure", "Pa"}, {"meter1.temp", "Cel"}} {
		s.Channels[f.name] = Channel{Name: f.name, Kind: tidegate.KindFloat, Unit: f.unit, Every: 1e9}
	}
	for _, f := range functions {
		if _, faults := Compile(f.example, Value, s); len(faults) > 0 {
			t.Errorf("%s: %v", f.example, faults[0])
		}
		if !strings.Contains(f.example, f.name+"(") {
			t.Errorf("%s: the example does not call it", f.name)
		}
	}
}
