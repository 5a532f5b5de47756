// Package publishtest has, for tests, whoever owns gateways: a repository of releases, the people who sign, and their keys.
package publishtest

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/program/programtest"
	"github.com/tidegate-io/tidegate/ota/release"
)

// An Owner has a repository in Dir. Two of three people sign each root and release.
type Owner struct {
	Dir  string
	Now  time.Time
	keys map[keyfile.Role][]*keyfile.Private
}

// New makes a repository in dir, whose first root is signed and goes public with the first release.
func New(dir string, now time.Time) (*Owner, error) {
	o := &Owner{Dir: dir, Now: now, keys: map[keyfile.Role][]*keyfile.Private{}}
	var public []keyfile.Public
	for _, role := range keyfile.Roles() {
		n := 1
		if role.Offline() {
			n = 3
		}
		for range n {
			k, err := keyfile.New(role)
			if err != nil {
				return nil, err
			}
			o.keys[role], public = append(o.keys[role], k), append(public, k.Public)
		}
	}
	if err := publish.Init(dir, publish.Keys{Public: public, Threshold: 2}, now, now.Add(publish.RootLife)); err != nil {
		return nil, err
	}
	return o, o.Do(func(r *publish.Repo) error { return o.sign(r, keyfile.Root) })
}

// sign has two of three sign the draft of a role.
func (o *Owner) sign(r *publish.Repo, role keyfile.Role) error {
	return errors.Join(r.Sign(o.keys[role][0]), r.Sign(o.keys[role][2]))
}

// Do changes the repository as a command does.
func (o *Owner) Do(f func(*publish.Repo) error) error {
	r, err := publish.Open(o.Dir, o.Now)
	if err != nil {
		return err
	}
	if err = r.Lock(); err == nil {
		err = f(r)
	}
	return errors.Join(err, r.Close())
}

// Online is the machine that publishes.
func (o *Owner) Online() publish.Online {
	return publish.Online{
		Keys:     []*keyfile.Private{o.keys[keyfile.Snapshot][0], o.keys[keyfile.Timestamp][0]},
		Snapshot: publish.SnapshotLife, Timestamp: publish.TimestampLife,
	}
}

// Release has a release signed, and publishes it. It is valid for as long as is usual, and four are kept.
func (o *Owner) Release(n publish.Release) error {
	n.Keep, n.Expires = 4, o.Now.Add(publish.TargetsLife)
	return o.Do(func(r *publish.Repo) error {
		if err := r.Add(n); err != nil {
			return err
		}
		return o.publish(r)
	})
}

// publish has the draft of the targets signed, and makes it public.
func (o *Owner) publish(r *publish.Repo) error {
	err := o.sign(r, keyfile.Targets)
	if err == nil {
		_, err = r.Publish(o.Online())
	}
	return err
}

// Stage has a release signed for another share of the gateways, and publishes that.
func (o *Owner) Stage(counter uint64, to release.Stage) error {
	return o.Do(func(r *publish.Repo) error {
		if err := r.Stage(counter, to, false, o.Now.Add(publish.TargetsLife)); err != nil {
			return err
		}
		return o.publish(r)
	})
}

// Rotate drafts and signs a root with other keys of snapshot and timestamp; it goes public with the next release.
func (o *Owner) Rotate() error {
	keys := maps.Clone(o.keys)
	var remove []string
	var add []keyfile.Public
	for _, role := range []keyfile.Role{keyfile.Snapshot, keyfile.Timestamp} {
		k, err := keyfile.New(role)
		if err != nil {
			return err
		}
		remove, add = append(remove, keys[role][0].ID), append(add, k.Public)
		keys[role] = []*keyfile.Private{k}
	}
	o.keys = keys
	return o.Do(func(r *publish.Repo) error {
		if err := r.NewRoot(remove, add, o.Now.Add(publish.RootLife)); err != nil {
			return err
		}
		return o.sign(r, keyfile.Root)
	})
}

// Public is the folder that a server hands out.
func (o *Owner) Public() string { return filepath.Join(o.Dir, "public") }

// Root is the root.json that gateways trust, once a release is public.
func (o *Owner) Root() ([]byte, error) { return os.ReadFile(filepath.Join(o.Public(), "1.root.json")) }

// Program returns a program for this machine that holds body, by way of a file in dir. It does nothing.
func Program(dir string, body []byte) (*program.Program, error) {
	p, err := program.Find(runtime.GOOS + "-" + runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, programtest.Make(p.GOOS, p.GOARCH, p.GOARM, body), 0o700); err != nil {
		return nil, err
	}
	return program.Read(path, p)
}
