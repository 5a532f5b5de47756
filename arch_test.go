package tidegate_test

import (
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHouse judges this tree by theRules.
func TestHouse(t *testing.T) {
	found, err := judge(os.DirFS("."), theRules)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// TestRulesAreUsed finds rows of the table that name files which are gone: an exception does not outlive its cause.
func TestRulesAreUsed(t *testing.T) {
	for _, r := range theRules.files {
		if _, err := os.Stat(r.what); err != nil {
			t.Errorf("table of long files: %v: delete the row", err)
		}
	}
	rows := map[string][]row{
		"folders": theRules.folders, "ignored": theRules.ignored, "layers": theRules.layers, "doors": theRules.doors, "reach": theRules.reach,
		"goroutines": theRules.goroutines, "variables": theRules.variables, "once": theRules.once, "files": theRules.files,
		"packages": theRules.packages, "interfaces": theRules.interfaces, "words": theRules.words, "named": theRules.named,
		"drivers": theRules.drivers, "support": theRules.support,
	}
	for name, rs := range rows {
		seen := map[string]bool{}
		for _, r := range rs {
			if r.why == "" {
				t.Errorf("table of %s: %s has no reason", name, r.what)
			}
			if seen[r.what] {
				t.Errorf("table of %s: %s stands twice", name, r.what)
			}
			seen[r.what] = true
		}
	}
}

// goodHouse is a small tree without a violation.
func goodHouse() map[string]string {
	return map[string]string{
		"doc.go":                  "// Package tidegate holds the words.\npackage tidegate\n",
		"rules/rules.go":          "// Package rules judges.\npackage rules\n\nimport _ \"" + module + "\"\n",
		"drivers/drivers.go":      "// Package drivers says what a driver is.\npackage drivers\n\n// A Driver is data.\ntype Driver struct{ Name string }\n",
		"drivers/fan/fan.go":      "// Package fan blows.\npackage fan\n\nimport \"" + module + "/drivers\"\n\n// Driver is the fan's.\nvar Driver = drivers.Driver{Name: \"fan\"}\n",
		"drivers/fan/blade/x.go":  "// Package blade is the fan's own.\npackage blade\n\nimport \"errors\"\n\n// ErrBent is another's error.\nvar ErrBent = errors.ErrUnsupported\n",
		"drivers/all/all.go":      "// Package all is the list.\npackage all\n\nimport (\n\t\"" + module + "/drivers\"\n\t\"" + module + "/drivers/fan\"\n)\n\n// List is all of them.\nfunc List() []drivers.Driver { return []drivers.Driver{fan.Driver} }\n",
		"agent/agent.go":          "// Package agent puts it together.\npackage agent\n\nfunc work() {\n\tgo func() {}()\n}\n",
		"buffer/buffer.go":        "// Package buffer keeps.\npackage buffer\n\nimport \"errors\"\n\n// ErrFull is an error.\nvar ErrFull = errors.New(\"full\")\n\nvar sizes = map[string]int{\"a\": 1}\n\nfunc size(sizes int) int { sizes = 2; return sizes }\n",
		"buffer/disk/disk.go":     "// Package disk is the door.\npackage disk\n\nimport _ \"github.com/dgraph-io/badger/v4\"\n",
		"sync/receive/receive.go": "// Package receive is the far end.\npackage receive\n\nimport _ \"" + module + "/sync/wire\"\n",
		"sync/wire/wire.go":       "// Package wire encodes.\npackage wire\n",
		"bin/x.go":                "not Go at all",
		"testdata/rig/x.go":       "package main\n\nfunc init() {}\n",
		"buffer/buffer_test.go":   "package buffer\n\nimport _ \"pgregory.net/rapid\"\n\nvar state int\n\nfunc init() { state = 1; go size(1) }\n",
	}
}

// TestJudgeSees plants one violation of each kind into a good tree and wants it named, and nothing else.
func TestJudgeSees(t *testing.T) {
	long := func(n int) string { return strings.Repeat("//\n", n) }
	body := func(n int) string { return strings.Repeat("\t_ = 1\n", n) }
	tests := map[string]struct {
		file string
		text string // "+..." = added to the file of the good tree; "-" = the file is deleted
		want []string
	}{
		"nothing": {"rules/rules.go", "+", nil},
		"top-level folder": {
			"pkg/README.md", "x",
			[]string{"pkg:0: top-level folder pkg (the top level is fixed: find its place in one of the folders that are)"},
		},
		"placeholder in Go": {
			"rules/rules.go", "+// TO" + "DO: later\n",
			[]string{"rules/rules.go:5: placeholder TO" + "DO (nothing is left for later: finish it or leave it out)"},
		},
		"placeholder in a rig": {
			"testdata/rig/run.sh", "#!/bin/sh\n# FIX" + "ME\n",
			[]string{"testdata/rig/run.sh:2: placeholder FIX" + "ME (nothing is left for later: finish it or leave it out)"},
		},
		"test passed over": {
			"rules/rules_test.go", "package rules\n\nfunc f(t interface{ Skip(...any) }) { t.Ski" + "p() }\n",
			[]string{"rules/rules_test.go:3: placeholder t.Ski" + "p( (nothing is left for later: finish it or leave it out)"},
		},
		"linter silenced": {
			"Makefile", "lint: # no" + "lint\n",
			[]string{"Makefile:1: placeholder no" + "lint (nothing is left for later: finish it or leave it out)"},
		},
		"goroutine, sleep and library of tests in what serves tests": {
			"drivers/drivertest/x.go", "// Package drivertest fakes.\npackage drivertest\n\nimport (\n\t\"time\"\n\n\t_ \"pgregory.net/rapid\"\n)\n\nfunc f() {\n\tgo time.Sleep(1)\n}\n", nil,
		},
		"import of what serves tests": {
			"drivers/fan/more.go", "package fan\n\nimport _ \"" + module + "/drivers/drivertest\"\n",
			[]string{
				"drivers/fan/more.go:3: drivers/fan imports drivers/drivertest (a driver knows its part and the Host, nothing else)",
				"drivers/fan/more.go:3: drivers/fan imports drivers/drivertest (what serves tests does not ship)",
			},
		},
		"package in no layer": {
			"sync/ftp/ftp.go", "// Package ftp is new.\npackage ftp\n",
			[]string{"sync/ftp/ftp.go:2: package sync/ftp is in no layer (each package has its row in the table of layers)"},
		},
		"import upwards": {
			"rules/more.go", "package rules\n\nimport _ \"" + module + "/agent\"\n",
			[]string{"rules/more.go:3: rules imports agent (pure: no clock, device, network or disk)"},
		},
		"import of what is below": {"drivers/fan/more.go", "package fan\n\nimport _ \"" + module + "/drivers/fan/blade\"\n", nil},
		"import of what is below another": {
			"drivers/all/more.go", "package all\n\nimport _ \"" + module + "/drivers/fan/blade\"\n",
			[]string{"drivers/all/more.go:3: drivers/all imports drivers/fan/blade (the list of drivers, and nothing but the list)"},
		},
		"import of a neighbour": {
			"drivers/fan/more.go", "package fan\n\nimport _ \"" + module + "/drivers/all\"\n",
			[]string{"drivers/fan/more.go:3: drivers/fan imports drivers/all (a driver knows its part and the Host, nothing else)"},
		},
		"import through a wrong door": {
			"drivers/fan/more.go", "package fan\n\nimport _ \"go.bug.st/serial\"\n",
			[]string{"drivers/fan/more.go:3: drivers/fan imports go.bug.st/serial, the door of which is drivers/board (Read returns (0, nil) on timeout: one place knows)"},
		},
		"import of what tests only may": {
			"drivers/fan/more.go", "package fan\n\nimport _ \"pgregory.net/rapid\"\n",
			[]string{"drivers/fan/more.go:3: drivers/fan imports pgregory.net/rapid, the door of which is tests (property tests)"},
		},
		"import without a door": {
			"drivers/fan/fan_test.go", "package fan\n\nimport _ \"example.com/left/pad\"\n",
			[]string{"drivers/fan/fan_test.go:3: drivers/fan imports example.com/left/pad, which has no door (each outside library has its row in the table of doors)"},
		},
		"import of exec": {
			"drivers/fan/more.go", "package fan\n\nimport _ \"os/exec\"\n",
			[]string{"drivers/fan/more.go:3: drivers/fan imports os/exec, the door of which is buffer/salvage, cmd/tidegate/demo, cmd/tidegate/releases, drivers/external (fixed argument vectors only, never a shell; demo runs its gateway and receiver, releases this very program once more)"},
		},
		"reach through another package": {
			"sync/wire/more.go", "package wire\n\nimport _ \"net/http\"\n",
			[]string{"sync/wire/more.go:3: sync/wire reaches net/http by sync/wire (pure)"},
		},
		"go statement": {
			"rules/more.go", "package rules\n\nfunc f() {\n\tgo f()\n}\n",
			[]string{"rules/more.go:4: go statement in rules (goroutines start where they are waited for: everything else is called, and returns)"},
		},
		"goroutine by a method": {
			"rules/more.go", "package rules\n\nimport \"sync\"\n\nfunc f() {\n\tvar g sync.WaitGroup\n\tg.Go(f)\n}\n",
			[]string{"rules/more.go:7: call of a method Go in rules (goroutines start where they are waited for: everything else is called, and returns)"},
		},
		"init": {
			"rules/more.go", "package rules\n\nfunc init() {}\n",
			[]string{"rules/more.go:3: init function (importing a package does nothing)"},
		},
		"sleep": {
			"agent/more.go", "package agent\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n",
			[]string{"agent/more.go:5: time.Sleep (a sleep cannot be ended: wait for a timer and ctx)"},
		},
		"variable without value": {
			"rules/more.go", "package rules\n\nvar count int\n",
			[]string{"rules/more.go:3: package-level variable count (a package has no state: only errors, tables and Driver stand there)"},
		},
		"variable of a lock": {
			"rules/more.go", "package rules\n\nimport \"sync\"\n\nvar pool = sync.Pool{}\n",
			[]string{"rules/more.go:5: package-level variable pool (a package has no state: only errors, tables and Driver stand there)"},
		},
		"variable of a call": {
			"rules/more.go", "package rules\n\nimport \"os\"\n\nvar host = os.Getpid()\n",
			[]string{
				"rules/more.go:3: rules reaches os by rules (rules replay must never touch the machine)",
				"rules/more.go:5: package-level variable host (a package has no state: only errors, tables and Driver stand there)",
			},
		},
		"table worked out": {"rules/more.go", "package rules\n\nvar squares = func() (t [9]int) {\n\tfor i := range t {\n\t\tt[i] = i * i\n\t}\n\treturn t\n}()\n", nil},
		"variable worked out": {
			"rules/more.go", "package rules\n\nvar state = func() *int { return new(int) }()\n",
			[]string{"rules/more.go:3: package-level variable state (a package has no state: only errors, tables and Driver stand there)"},
		},
		"table changed": {
			"buffer/more.go", "package buffer\n\nfunc f() {\n\tsizes[\"b\"] = 2\n}\n",
			[]string{"buffer/more.go:4: package-level variable sizes is changed (a package has no state: pass it)"},
		},
		"table changed by delete": {
			"buffer/more.go", "package buffer\n\nfunc f() { delete(sizes, \"a\") }\n",
			[]string{"buffer/more.go:3: package-level variable sizes is changed (a package has no state: pass it)"},
		},
		"long file": {
			"rules/more.go", "package rules\n" + long(400),
			[]string{"rules/more.go:401: 401 lines, at most 400 without a row in the table (a file is read in one go; what grows beyond has two subjects)"},
		},
		"far too long file": {
			"rules/more.go", "package rules\n" + long(600),
			[]string{"rules/more.go:601: 601 lines, at most 600 (a file is read in one go; what grows beyond has two subjects)"},
		},
		"large package": {
			"doc.go", "+" + long(549),
			[]string{
				"doc.go:2: package . has 551 lines, at most 550 (the words only: smaller than other packages)",
				"doc.go:551: 551 lines, at most 400 without a row in the table (a file is read in one go; what grows beyond has two subjects)",
			},
		},
		"long function": {
			"rules/more.go", "package rules\n\nfunc f() {\n" + body(59) + "}\n",
			[]string{"rules/more.go:3: function f has 61 lines, at most 60 (a function does one thing)"},
		},
		"large interface": {
			"rules/more.go", "package rules\n\ntype f interface {\n\ta()\n\tb()\n\tc()\n\td()\n\te()\n}\n",
			[]string{"rules/more.go:3: interface f has 5 methods, at most 4 (a large interface has few who can implement it)"},
		},
		"package without comment": {
			"rules/rules.go", "package rules\n",
			[]string{"rules/rules.go:1: package rules has no comment (a package says what it is for)"},
		},
		"package comment twice": {
			"rules/xmore.go", "// Package rules again.\npackage rules\n",
			[]string{"rules/xmore.go:2: package rules has its comment twice, in rules/rules.go as well (there is one place to read)"},
		},
		"function without comment": {
			"rules/more.go", "package rules\n\nfunc F() {}\n",
			[]string{"rules/more.go:3: exported F has no comment (what others call says units, ranges and errors)"},
		},
		"method without comment": {
			"rules/more.go", "package rules\n\n// T is a type.\ntype T[K any] struct{}\n\nfunc (t *T[K]) Do() {}\n\ntype u int\n\nfunc (u) Do() {}\n",
			[]string{"rules/more.go:6: exported T.Do has no comment (what others call says units, ranges and errors)"},
		},
		"type without comment": {
			"rules/more.go", "package rules\n\ntype T int\n",
			[]string{"rules/more.go:3: exported T has no comment (what others use says units, ranges and errors)"},
		},
		"constant without comment": {
			"rules/more.go", "package rules\n\nconst (\n\tA = 1 // is one\n\tB = 2\n)\n",
			[]string{"rules/more.go:5: exported B has no comment (what others use says units, ranges and errors)"},
		},
		"forbidden word": {
			"rules/more.go", "package rules\n\n// LastEvents counts.\nfunc LastEvents() {}\n",
			[]string{"rules/more.go:4: exported name LastEvents says \"events\"; our word is record, edge or condition (one word per idea)"},
		},
		"forbidden word in a field": {
			"rules/more.go", "package rules\n\n// T is a type.\ntype T struct {\n\tMQTTClient int\n\tDatabase int\n}\n",
			[]string{"rules/more.go:5: exported name T.MQTTClient says \"client\"; our word is gateway or uplink (one word per idea)"},
		},
		"driver of another name": {
			"drivers/fan/fan.go", "// Package fan blows.\npackage fan\n\n// Driver is the fan's.\nvar Driver = drivers.Driver{Name: \"van\"}\n",
			[]string{"drivers/fan/fan.go:5: Driver.Name is \"van\", want \"fan\" (a driver's folder exports one Driver named like the folder, and drivers/all lists it)"},
		},
		"folder without driver": {
			"drivers/pump/pump.go", "// Package pump pumps.\npackage pump\n",
			[]string{"drivers/pump/pump.go:2: driver folder drivers/pump declares Driver 0 times, want once (a driver's folder exports one Driver named like the folder, and drivers/all lists it)"},
		},
		"driver not listed": {
			"drivers/pump/pump.go", "// Package pump pumps.\npackage pump\n\n// Driver is the pump's.\nvar Driver = drivers.Driver{Name: \"pump\"}\n",
			[]string{"drivers/pump/pump.go:5: drivers/all does not list pump.Driver (a driver's folder exports one Driver named like the folder, and drivers/all lists it)"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files := goodHouse()
			if more, ok := strings.CutPrefix(tt.text, "+"); ok {
				files[tt.file] += more
			} else {
				files[tt.file] = tt.text
			}
			house := fstest.MapFS{}
			for _, p := range slices.Sorted(maps.Keys(files)) {
				house[path.Clean(p)] = &fstest.MapFile{Data: []byte(files[p])}
			}
			found, err := judge(house, theRules)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range found {
				got = append(got, v.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestLinks wants each relative link of the manuals to lead somewhere.
func TestLinks(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "-co", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Fatalf("list manuals: %v; the tree must be a git clone", err)
	}
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	for file := range strings.FieldsSeq(string(out)) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(path.Join(path.Dir(file), m[1])); err != nil {
				t.Errorf("%s: link to %s leads nowhere", file, m[1])
			}
		}
	}
}
