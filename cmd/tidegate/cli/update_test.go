package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/publishtest"
	"github.com/tidegate-io/tidegate/ota/release"
)

// makeReleases makes a repository with releases for this machine: releases DIR COUNTER...; what a server hands out of it is DIR/public, and
// root.json beside it is what a gateway trusts.
func makeReleases(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: releases DIR COUNTER...")
	}
	o, err := publishtest.New(ts.MkAbs(args[0]), time.Now())
	ts.Check(err)
	for _, arg := range args[1:] {
		counter, err := strconv.ParseUint(arg, 10, 64)
		ts.Check(err)
		one, err := publishtest.Program(ts.MkAbs("."), []byte("release "+arg))
		ts.Check(err)
		fields := release.File{Counter: counter, Version: fmt.Sprintf("v1.%d.0", counter), Stage: release.All}
		ts.Check(o.Release(publish.Release{Fields: fields, Programs: []*program.Program{one}}))
	}
	root, err := o.Root()
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(o.Dir, "root.json"), root, 0o644))
}
