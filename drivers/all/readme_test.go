package all

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/drivers"
)

var update = flag.Bool("update", false, "write the table of drivers into drivers/README.md")

const (
	tableHead = "<!-- table: go test ./drivers/all -run TestReadmeTable -update -->\n"
	tableEnd  = "<!-- end of table -->\n"
)

// TestReadmeTable keeps the table of supported devices in drivers/README.md what the drivers say of themselves.
func TestReadmeTable(t *testing.T) {
	const path = "../README.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, okHead := strings.Cut(string(text), tableHead)
	have, after, okEnd := strings.Cut(rest, tableEnd)
	if !okHead || !okEnd {
		t.Fatalf("%s has no table between %q and %q", path, tableHead, tableEnd)
	}
	var want strings.Builder
	want.WriteString("| driver | serves | reports | usual interval |\n|---|---|---|---|\n")
	for _, d := range Drivers() {
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", d.Name, firstSentence(d.Doc), channelsOf(d), everyOf(d))
	}
	switch {
	case have == want.String():
	case *update:
		if err := os.WriteFile(path, []byte(before+tableHead+want.String()+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table is not up to date; go test ./drivers/all -run TestReadmeTable -update\ngot:\n%s\nwant:\n%s", have, want.String())
	}
}

func firstSentence(doc string) string {
	s := strings.Join(strings.Fields(doc), " ")
	if i := strings.Index(s, ". "); i >= 0 {
		s = s[:i]
	}
	return strings.ReplaceAll(strings.TrimSuffix(s, "."), "|", `\|`)
}

func channelsOf(d drivers.Driver) string {
	var out []string
	for _, c := range d.Channels {
		s := c.Name
		if c.Unit != "" {
			s += " (" + c.Unit + ")"
		}
		if c.Output {
			s += ", can be set"
		}
		out = append(out, s)
	}
	if _, ok := d.New().(drivers.Channeler); ok {
		out = append(out, "what its settings say")
	}
	return strings.ReplaceAll(strings.Join(out, "; "), "|", `\|`)
}

func everyOf(d drivers.Driver) string {
	if d.Every == 0 {
		return "when the device speaks"
	}
	return d.Every.String()
}
