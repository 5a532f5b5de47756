package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/program/programtest"
	"github.com/tidegate-io/tidegate/ota/release"
)

// makeReleases makes a repository with releases for this machine: releases DIR COUNTER...; what a server hands out of it is DIR/public, and
// root.json beside it is what a gateway trusts.
func makeReleases(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: releases DIR COUNTER...")
	}
	dir := ts.MkAbs(args[0])
	now := time.Now()
	keys := map[keyfile.Role][]*keyfile.Private{}
	var public []keyfile.Public
	for _, role := range keyfile.Roles() {
		n := 1
		if role.Offline() {
			n = 3
		}
		for range n {
			k, err := keyfile.New(role)
			ts.Check(err)
			keys[role], public = append(keys[role], k), append(public, k.Public)
		}
	}
	ts.Check(publish.Init(dir, publish.Keys{Public: public, Threshold: 2}, now, now.Add(publish.RootLife)))
	r, err := publish.Open(dir, now)
	ts.Check(err)
	ts.Check(errors.Join(r.Lock(), r.Sign(keys[keyfile.Root][0]), r.Sign(keys[keyfile.Root][1])))
	for _, arg := range args[1:] {
		counter, err := strconv.ParseUint(arg, 10, 64)
		ts.Check(err)
		p, err := program.Find(runtime.GOOS + "-" + runtime.GOARCH)
		ts.Check(err)
		path := ts.MkAbs("program")
		ts.Check(os.WriteFile(path, programtest.Make(p.GOOS, p.GOARCH, p.GOARM, []byte("release "+arg)), 0o700))
		one, err := program.Read(path, p)
		ts.Check(err)
		fields := release.File{Counter: counter, Version: fmt.Sprintf("v1.%d.0", counter), Stage: release.All}
		ts.Check(r.Add(publish.Release{Fields: fields, Programs: []*program.Program{one}, Keep: 4, Expires: now.Add(publish.TargetsLife)}))
		ts.Check(errors.Join(r.Sign(keys[keyfile.Targets][0]), r.Sign(keys[keyfile.Targets][1])))
		_, err = r.Publish(publish.Online{
			Keys:     []*keyfile.Private{keys[keyfile.Snapshot][0], keys[keyfile.Timestamp][0]},
			Snapshot: publish.SnapshotLife, Timestamp: publish.TimestampLife,
		})
		ts.Check(err)
	}
	ts.Check(r.Close())
	root, err := os.ReadFile(filepath.Join(dir, "public", "1.root.json"))
	ts.Check(errors.Join(err, os.WriteFile(filepath.Join(dir, "root.json"), root, 0o644)))
}
