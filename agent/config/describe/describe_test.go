package describe

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/all"
)

//go:generate go test -run TestEtc -update

var update = flag.Bool("update", false, "write the files that are compared with")

const etc = "../../../etc/"

// active is the driver that the sample file uses.
func active(list []drivers.Driver) string {
	for _, d := range list {
		if d.Name == "system" {
			return d.Name
		}
	}
	return "sim"
}

// TestEtc: the sample and the schema in etc are what the structs say.
func TestEtc(t *testing.T) {
	schema, err := Schema(all.Drivers())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"tidegate.yaml":        Sample(all.Drivers(), active(all.Drivers())),
		"tidegate.schema.json": string(schema),
	} {
		if *update {
			if err := os.WriteFile(etc+name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(etc + name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("etc/%s is not what the structs say; run: go generate ./agent/config/describe", name)
		}
	}
}

// compile returns the schema of list, after checking it against the meta-schema.
func compile(t *testing.T, list []drivers.Driver) *jsonschema.Schema {
	t.Helper()
	text, err := Schema(list)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("tidegate.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("tidegate.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge returns what the schema says of a YAML text, as an editor would.
func judge(s *jsonschema.Schema, text []byte) error {
	asJSON, err := yaml.YAMLToJSON(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// TestSampleIsGood: the sample file can be used as it stands, and says all defaults: with every # of a setting that has a value taken
// away it is the same configuration.
func TestSampleIsGood(t *testing.T) {
	list := all.Drivers()
	schema := compile(t, list)
	sample := Sample(list, active(list))
	cfg, faults, err := config.Parse("sample", []byte(sample), list)
	if err != nil || len(faults) > 0 {
		t.Fatalf("%v %v", err, faults)
	}
	if err := judge(schema, []byte(sample)); err != nil {
		t.Error(err)
	}
	var spelt strings.Builder
	for line := range strings.Lines(sample) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch bare := strings.TrimPrefix(key, "# "); bare {
		case "state_dir", "listen":
			line = bare + ": " + value
		case "confirm", "compress", "profile", "username", "name":
			if strings.HasPrefix(line, "  # ") && bare != "name" {
				line = "  " + bare + ": " + value
			}
		}
		spelt.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	again, faults, err := config.Parse("spelt", []byte(spelt.String()), list)
	if err != nil {
		t.Fatalf("%v %v", err, faults)
	}
	if changes, restart := config.Diff(cfg, again); !changes.None() || len(restart) > 0 || spelt.String() == sample {
		t.Errorf("with its defaults spelt out the sample is another configuration: %+v %v", changes, restart)
	}
	for _, want := range []string{
		"# state_dir: /var/lib/tidegate\n", "#   max_bytes: 512MB\n", "#   keep: 7d\n", "  #   every: 1s\n", "# listen: \"\"\n",
		"#     do:\n", "#       - alarm:\n", "#           severity:\n", "#       - set:\n",
	} {
		if !strings.Contains(sample, "\n"+want) {
			t.Errorf("sample has no line %q", want)
		}
	}
}

// TestDriversSamples: each driver's sample block is a good device, for us and for the schema.
func TestDriversSamples(t *testing.T) {
	list := all.Drivers()
	schema := compile(t, list)
	for _, d := range list {
		var text strings.Builder
		text.WriteString("devices:\n")
		for line := range strings.Lines(Entry(d.Sample)) {
			text.WriteString("  " + line)
		}
		text.WriteString("\nuplink: {url: \"mqtt://127.0.0.1\"}\n")
		cfg, faults, err := config.Parse(d.Name, []byte(text.String()), list)
		if err != nil || len(faults) > 0 {
			t.Errorf("%s: %v %v", d.Name, err, faults)
		} else if cfg.Devices[0].Every != d.Every && !strings.Contains(d.Sample, "every:") {
			t.Errorf("%s: every %v, want %v", d.Name, cfg.Devices[0].Every, d.Every)
		}
		if err := judge(schema, []byte(text.String())); err != nil {
			t.Errorf("%s: schema: %v", d.Name, err)
		}
		if s := Settings(d); !strings.HasPrefix(s, "## ") {
			t.Errorf("%s: settings begin with %.20q", d.Name, s)
		}
	}
}

// TestSchemaAgrees: the schema accepts every good file of testdata/config and finds most of the bad ones.
func TestSchemaAgrees(t *testing.T) {
	schema := compile(t, caseDrivers())
	dirs, err := filepath.Glob("../../../testdata/config/*/tidegate.yaml")
	if err != nil || len(dirs) < 100 {
		t.Fatalf("%d cases, %v", len(dirs), err)
	}
	var found, missed []string
	for _, file := range dirs {
		name := filepath.Base(filepath.Dir(file))
		if !isForm(name) && !strings.HasPrefix(name, "good_") {
			continue // among them the alias bomb, which an ordinary YAML reader does not survive
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		verdict := judge(schema, text)
		switch good := strings.HasPrefix(name, "good_"); {
		case good && verdict != nil:
			t.Errorf("%s: %v", name, verdict)
		case !good && verdict != nil:
			found = append(found, name)
		case !good:
			missed = append(missed, name)
		}
	}
	t.Logf("finds %d; misses, of what is a matter of form, %v", len(found), missed)
	if len(missed) > len(found)/3 {
		t.Errorf("the schema misses %v", missed)
	}
}

// TestRealDrivers loads each file of testdata/config/drivers with the drivers of this build and compares what is said with the text
// file beside it. The contract's own file is among them.
func TestRealDrivers(t *testing.T) {
	schema := compile(t, all.Drivers())
	files, err := filepath.Glob("../../../testdata/config/drivers/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, faults, err := config.Parse(filepath.Base(file), text, all.Drivers())
		var got strings.Builder
		for _, f := range faults {
			got.WriteString(f.String() + "\n")
		}
		if err == nil {
			got.WriteString("good\n")
		}
		wantFile := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(wantFile, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, readErr := os.ReadFile(wantFile)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if got.String() != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got.String(), want)
		}
		good := strings.HasPrefix(filepath.Base(file), "good_")
		if good != (err == nil) {
			t.Errorf("%s: files called good_... are accepted, others are not", file)
		}
		if verdict := judge(schema, text); good && verdict != nil {
			t.Errorf("%s: schema: %v", file, verdict)
		}
	}
}

// isForm reports whether what is wrong in a case is a matter of keys and values, which a schema can see.
func isForm(name string) bool {
	return strings.HasPrefix(name, "key_") || strings.HasPrefix(name, "value_")
}

// meter and talker have the keys of the drivers that testdata/config uses.
type meter struct {
	inert     `yaml:"-"`
	Address   string             `yaml:"address"`
	Unit      int                `yaml:"unit"`
	Timeout   time.Duration      `yaml:"timeout"`
	Registers []register         `yaml:"registers"`
	Factors   map[string]float64 `yaml:"factors"`
}

type register struct {
	Channel string           `yaml:"channel"`
	Address *int             `yaml:"address"`
	Kind    string           `yaml:"kind"`
	Scale   *float64         `yaml:"scale"`
	Output  bool             `yaml:"output"`
	Unit    string           `yaml:"unit"`
	Enum    map[int64]string `yaml:"enum"`
}

type talker struct {
	inert `yaml:"-"`
	Port  string `yaml:"port"`
}

type inert struct{}

func (inert) Validate() []drivers.FieldError { return nil }

func (inert) Open(context.Context, drivers.Host) (drivers.Device, error) {
	return nil, errors.New("no hardware here")
}

func caseDrivers() []drivers.Driver {
	return []drivers.Driver{
		{Name: "meter", Every: time.Second, New: func() drivers.Config { return &meter{} }},
		{Name: "talker", New: func() drivers.Config { return &talker{} }},
	}
}

// TestSchemaRefusesDrivers that could not be configured.
func TestSchemaRefusesDrivers(t *testing.T) {
	for want, cfg := range map[string]func() drivers.Config{
		`driver d: key "every" is every device's`: func() drivers.Config {
			return &struct {
				Every int `yaml:"every"`
				inert `yaml:"-"`
			}{}
		},
		`driver d: hook: no file can hold a setting of Go type func()`: func() drivers.Config {
			return &struct {
				Hook  func() `yaml:"hook"`
				inert `yaml:"-"`
			}{}
		},
	} {
		if _, err := Schema([]drivers.Driver{{Name: "d", New: cfg}}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
