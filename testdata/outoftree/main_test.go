package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/describe"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
)

// TestProgram builds the program as its users do, and runs it: each file in testdata/script is a story. Go's cache of results does not
// see what the build is made of: -count=1.
func TestProgram(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=v7", "-o", filepath.Join(bin, "tidegate"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			rings, err := os.MkdirTemp("/dev/shm", "tidegate-plant-")
			e.Defer(func() { _ = os.RemoveAll(rings) })
			e.Setenv("RUNTIME_DIRECTORY", rings)
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"scale": scale},
	})
}

// scale NAME: puts a balance with 100 g on it at a serial port, and sets the variable to the port.
func scale(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: scale NAME")
	}
	p, err := pty.Open()
	ts.Check(err)
	ts.Setenv(args[0], p.Path)
	ts.Defer(func() { _ = p.Close() })
	go func() {
		for in := bufio.NewScanner(p.Master); in.Scan(); {
			answer := "ES\r\n"
			if in.Text() == "SI" {
				answer = "S S     100.00 g\r\n"
			}
			if _, err := p.Master.WriteString(answer); err != nil {
				return
			}
		}
	}()
}

// TestDescribed: sample configuration and schema of this list know its own driver and none that is left out.
func TestDescribed(t *testing.T) {
	sample := describe.Sample(list(), "balance")
	cfg, faults, err := config.Parse("sample.yaml", []byte(sample), list())
	if err != nil || len(faults) > 0 || len(cfg.Devices) != 1 || cfg.Devices[0].Driver != "balance" {
		t.Errorf("sample: %v, %v\n%s", err, faults, sample)
	}
	text, err := describe.Schema(list())
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	err = errors.Join(err, compiler.AddResource("schema.json", parsed))
	if err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for block, want := range map[string]string{
		`{"name": "scale", "driver": "balance", "port": "/dev/ttyUSB0"}`:              "",
		`{"name": "scale", "driver": "balance", "port": "/dev/ttyUSB0", "baud": "x"}`: "/devices/0/baud",
		`{"name": "scale", "driver": "balance", "port": "/dev/ttyUSB0", "unit": 1}`:   "unit",
		`{"name": "oven", "driver": "ds18b20"}`:                                       "/devices/0/driver",
	} {
		var doc any
		if err := json.Unmarshal([]byte(`{"gateway": {"id": "gw-t"}, "uplink": {"url": "mqtt://127.0.0.1"}, "devices": [`+block+`]}`), &doc); err != nil {
			t.Fatal(err)
		}
		err := schema.Validate(doc)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", block, err, want)
		}
	}
}
