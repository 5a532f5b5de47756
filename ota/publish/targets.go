package publish

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/delta"
	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/sbom"
	"github.com/tidegate-io/tidegate/ota/release"
)

// history returns the files of all releases that there ever were: those that gateways see, those that they saw, and the draft's.
func (r *Repo) history() ([]listed.File, error) {
	versions, err := r.versions(metadata.TARGETS)
	if err != nil {
		return nil, err
	}
	slices.Sort(versions)
	seen := map[string]listed.File{}
	add := func(m *meta.Targets) error {
		all, err := listed.Of(m)
		for _, t := range all {
			seen[t.Stored()] = t
		}
		return err
	}
	for _, v := range versions {
		m, err := readFile[metadata.TargetsType](r.public(fmt.Sprintf("%d.targets.json", v)), maxTargets)
		if err == nil {
			err = add(m)
		}
		if err != nil {
			return nil, err
		}
	}
	d, err := readDraft[metadata.TargetsType](r, metadata.TARGETS, maxTargets)
	if err == nil && d != nil {
		err = add(d)
	}
	return slices.Collect(maps.Values(seen)), err
}

// A Release is one to be added.
type Release struct {
	Fields   release.File // Counter, Version, Hardware, MinAgent, MaxAgent, Tenant, Stage
	Programs []*program.Program
	Plain    bool // each program as it is, too
	Deltas   int  // from how many of the releases before, 0 = none
	Keep     int  // how many releases gateways see, this one included
	Expires  time.Time
}

// Add makes the files of a release and drafts the targets that name them.
func (r *Repo) Add(n Release) error {
	past, err := r.history()
	if err != nil {
		return err
	}
	if len(n.Programs) == 0 {
		return errors.New("add release: got no program, want one at least")
	}
	highest := uint64(0)
	for _, t := range past {
		highest = max(highest, t.Signed.Counter)
	}
	if n.Fields.Counter <= highest {
		return fmt.Errorf("add release: %w: got %d, %d has been there", ErrCounter, n.Fields.Counter, highest)
	}
	var made []listed.File
	for i, p := range n.Programs {
		for _, q := range n.Programs[:i] {
			if p.Platform.Name == q.Platform.Name {
				return fmt.Errorf("add release: got two programs for %s", p.Platform.Name)
			}
		}
		for _, t := range past {
			if t.Signed.Program.SHA256 == p.Digest.SHA256 {
				return fmt.Errorf("add release: %w: that for %s is the one of release %d; a gateway on which it failed would not try it again", ErrSame, p.Platform.Name, t.Signed.Counter)
			}
		}
		files, err := r.make(n, p, past)
		if err != nil {
			return fmt.Errorf("add release: %s: %w", p.Platform.Name, err)
		}
		made = append(made, files...)
	}
	return r.draftTargets(n.Expires, func(m *meta.Targets) error {
		if err := listed.Put(m, made); err != nil {
			return err
		}
		return listed.Keep(m, n.Keep)
	})
}

// make writes the files of a program into the draft.
func (r *Repo) make(n Release, p *program.Program, past []listed.File) ([]listed.File, error) {
	list, err := sbom.Make(n.Fields.Version, p.Digest, p.Build)
	if err != nil {
		return nil, err
	}
	f := n.Fields
	f.GOOS, f.GOARCH, f.GOARM, f.Program, f.SBOM = p.Platform.GOOS, p.Platform.GOARCH, p.Platform.GOARM, p.Digest, program.Digest(list).SHA256
	base := fmt.Sprintf("tidegate-%d-%s", f.Counter, p.Platform.Name)
	whole, err := delta.Make(nil, p.Body)
	if err != nil {
		return nil, err
	}
	var out []listed.File
	write := func(name string, as release.Encoding, from string, body []byte) error {
		f.Encoding, f.Base = as, from
		d := program.Digest(body)
		t := listed.File{Name: base + name, Length: d.Length, SHA256: d.SHA256, SHA512: d.SHA512, Signed: f}
		out = append(out, t)
		return durable.WriteFile(r.draft("files", t.Stored()), body, 0o644)
	}
	err = errors.Join(write(".cdx.json", release.SBOM, "", list), write(".zst", release.Zstd, "", whole))
	if n.Plain {
		err = errors.Join(err, write("", release.Plain, "", p.Body))
	}
	if err != nil {
		return nil, err
	}
	for _, t := range bases(past, p.Platform.Name, n.Deltas) {
		old, err := r.unpack(t)
		if err != nil {
			return nil, fmt.Errorf("delta from release %d: %w", t.Signed.Counter, err)
		}
		d, err := delta.Make(old, p.Body)
		if err != nil {
			return nil, fmt.Errorf("delta from release %d: %w", t.Signed.Counter, err)
		}
		if len(d) >= len(whole) { // worth nothing
			continue
		}
		if err := write(fmt.Sprintf("-from-%d.delta", t.Signed.Counter), release.Delta, t.Signed.Program.SHA256, d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// bases returns the whole programs of the newest n releases for a platform.
func bases(past []listed.File, platform string, n int) []listed.File {
	var out []listed.File
	for _, t := range past {
		if t.Signed.Encoding == release.Zstd && program.Of(t.Signed) == platform {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b listed.File) int {
		return cmp.Compare(b.Signed.Counter, a.Signed.Counter)
	})
	return out[:min(max(n, 0), len(out))]
}

// unpack returns the program that a file of encoding zstd or plain holds.
func (r *Repo) unpack(t listed.File) ([]byte, error) {
	body, err := durable.ReadFile(r.public(t.Stored()), release.MaxProgram)
	if errors.Is(err, os.ErrNotExist) {
		body, err = durable.ReadFile(r.draft("files", t.Stored()), release.MaxProgram)
	}
	if err != nil {
		return nil, err
	}
	return listed.Unpack(t, body, nil)
}

// draftTargets drafts the next targets: the draft that there is, else what is published, changed.
func (r *Repo) draftTargets(expires time.Time, change func(*meta.Targets) error) error {
	m, err := readDraft[metadata.TargetsType](r, metadata.TARGETS, maxTargets)
	switch {
	case err != nil:
		return err
	case m != nil:
	case r.targets != nil:
		m, err = meta.Copy(r.targets)
	default:
		m = metadata.Targets()
	}
	if err != nil {
		return err
	}
	m.ClearSignatures()
	if m.Signed.Version, err = r.next(metadata.TARGETS); err != nil {
		return err
	}
	if m.Signed.Expires = expires.UTC().Truncate(time.Second); !expires.After(r.now) {
		return fmt.Errorf("targets: %w: it would on %s", ErrExpired, expires.Format(time.RFC3339))
	}
	if err := change(m); err != nil {
		return err
	}
	return writeDraft(r, metadata.TARGETS, m, maxTargets)
}

// Stage drafts targets in which a release has another stage, or is halted.
func (r *Repo) Stage(counter uint64, stage release.Stage, halt bool, expires time.Time) error {
	return r.draftTargets(expires, func(m *meta.Targets) error {
		all, err := listed.Of(m)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(t listed.File) bool { return t.Signed.Counter != counter })
		if len(all) == 0 {
			return fmt.Errorf("%w: %d; `status` lists those that gateways see", ErrUnknown, counter)
		}
		for i := range all {
			all[i].Signed.Stage, all[i].Signed.Halt = stage, halt
		}
		return listed.Put(m, all)
	})
}

// Renew drafts the same targets for longer.
func (r *Repo) Renew(expires time.Time) error {
	return r.draftTargets(expires, func(*meta.Targets) error { return nil })
}
