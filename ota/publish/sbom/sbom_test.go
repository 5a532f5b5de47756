package sbom

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidegate-io/tidegate/ota/release"
)

var digest = release.Digest{Length: 1, SHA256: strings.Repeat("0123456789abcdef", 4), SHA512: strings.Repeat("0123456789abcdef", 8)}

// build is what a program of two modules says, one of them replaced by a folder.
func build() *buildinfo.BuildInfo {
	return &buildinfo.BuildInfo{
		GoVersion: "go1.26.0 X:nodwarf5", Path: "example.com/gateway/cmd/tidegate", Main: debug.Module{Path: "example.com/gateway", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.com/lib", Version: "v1.2.3", Sum: "h1:c3VtIG9mIHRoZSBmaWxlcyBvZiBhIG1vZHVsZTEyMzQ="},
			{Path: "example.com/Fork", Version: "v0.0.0-20260101000000-0123456789ab+incompatible", Replace: &debug.Module{Path: "./fork"}},
		},
		Settings: []debug.BuildSetting{{Key: "GOARCH", Value: "arm64"}, {Key: "-trimpath", Value: "true"}},
	}
}

// itself is what this test's own program says, without what differs between the ways to run it.
func itself(t *testing.T) *buildinfo.BuildInfo {
	t.Helper()
	b, err := buildinfo.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSchema holds lists against the schema that CycloneDX publishes, and reads them with its library.
func TestSchema(t *testing.T) {
	schema := compile(t)
	for name, b := range map[string]*buildinfo.BuildInfo{"two modules": build(), "this program": itself(t), "no modules": {GoVersion: "go1.26.0", Path: "x/y", Main: debug.Module{Path: "x"}}} {
		t.Run(name, func(t *testing.T) {
			body, err := Make("v1.4.0", digest, b)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(tree); err != nil {
				t.Errorf("%s\n%v", body, err)
			}
			var bom cdx.BOM
			if err := cdx.NewBOMDecoder(bytes.NewReader(body), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
				t.Fatal(err)
			}
			check(t, &bom, b)
		})
	}
}

// compile returns the schema of CycloneDX 1.5, which bears the ids of the two that it refers to.
func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for name, id := range map[string]string{"bom-1.5": "bom-1.5", "spdx": "spdx", "jsf-0.82": "jsf-0.82"} {
		files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "schema", name+".schema*.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("got %v (%v), want a schema of %s", files, err, name)
		}
		f, err := os.Open(files[0])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		tree, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+id+".schema.json", tree); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("http://cyclonedx.org/schema/bom-1.5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check wants each module once, under an id of its own, and the program to depend on all.
func check(t *testing.T, bom *cdx.BOM, b *buildinfo.BuildInfo) {
	t.Helper()
	main := bom.Metadata.Component
	if main.Name != b.Path || main.Version != "v1.4.0" || main.Type != cdx.ComponentTypeApplication || (*main.Hashes)[0].Value != digest.SHA256 || (*main.Hashes)[1].Value != digest.SHA512 {
		t.Errorf("got the program %+v", main)
	}
	var want, got, refs []string
	want = append(want, "std@"+strings.Fields(strings.TrimPrefix(b.GoVersion, "go"))[0])
	for _, m := range b.Deps {
		switch {
		case m.Replace == nil:
			want = append(want, m.Path+"@"+m.Version)
		case m.Replace.Version == "":
			want = append(want, m.Replace.Path+"@unknown")
		default:
			want = append(want, m.Replace.Path+"@"+m.Replace.Version)
		}
	}
	for _, c := range *bom.Components {
		got, refs = append(got, c.Name+"@"+c.Version), append(refs, c.BOMRef)
		if c.PackageURL != c.BOMRef || !strings.HasPrefix(c.PackageURL, "pkg:golang/") {
			t.Errorf("%s: got URL %s and id %s", c.Name, c.PackageURL, c.BOMRef)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got components %q, want %q", got, want)
	}
	if on := *(*bom.Dependencies)[0].Dependencies; (*bom.Dependencies)[0].Ref != main.BOMRef || !slices.Equal(on, refs) || len(slices.Compact(on)) != len(want) {
		t.Errorf("the program depends on %q, want %q", on, refs)
	}
}

// TestSame wants the same bytes from the same program, and others from another one.
func TestSame(t *testing.T) {
	one, err := Make("v1.4.0", digest, build())
	if err != nil {
		t.Fatal(err)
	}
	turned := build()
	slices.Reverse(turned.Deps)
	two, err := Make("v1.4.0", digest, turned)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("got other bytes for the same program (%v)", err)
	}
	other := digest
	other.SHA256 = strings.Repeat("fedcba9876543210", 4)
	three, err := Make("v1.4.0", other, build())
	if err != nil || serialOf(t, three) == serialOf(t, one) {
		t.Errorf("another program has the serial number %s too (%v)", serialOf(t, three), err)
	}
}

func serialOf(t *testing.T, body []byte) string {
	t.Helper()
	var l list
	if err := json.Unmarshal(body, &l); err != nil {
		t.Fatal(err)
	}
	return l.SerialNumber
}

func TestURL(t *testing.T) {
	body, err := Make("v1.4.0", digest, build())
	if err != nil {
		t.Fatal(err)
	}
	var l list
	if err := json.Unmarshal(body, &l); err != nil {
		t.Fatal(err)
	}
	got := []string{l.Metadata.Component.PURL}
	for _, c := range l.Components {
		got = append(got, c.PURL)
	}
	want := []string{"pkg:golang/example.com/gateway@v1.4.0#cmd/tidegate", "pkg:golang/./fork@unknown", "pkg:golang/example.com/lib@v1.2.3", "pkg:golang/std@1.26.0"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	fork := l.Components[0].Properties
	if len(fork) != 1 || fork[0].Value != "example.com/Fork@v0.0.0-20260101000000-0123456789ab+incompatible" {
		t.Errorf("got %+v, want what the folder replaces", fork)
	}
}

func TestNoModule(t *testing.T) {
	if _, err := Make("v1", digest, &buildinfo.BuildInfo{GoVersion: "go1.26.0", Path: "command-line-arguments"}); err == nil || !strings.Contains(err.Error(), "build it from a module") {
		t.Errorf("got %v", err)
	}
}
