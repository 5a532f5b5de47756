package publish

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
)

// targetName is what gateways take for the name of a file, metadataName what those of metadata look like.
var (
	targetName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	metadataName = regexp.MustCompile(`^(timestamp|[1-9][0-9]*\.(root|snapshot|targets))\.json$`)
)

// Verify checks all that a server would hand out as a gateway does that trusts pinned, the bytes of a root.json (none = 1.root.json), and
// more strictly: each signature, each byte of metadata, each file of each release, and that there is nothing else. It says what is wrong first.
func (r *Repo) Verify(pinned []byte) error {
	if r.targets == nil {
		return fmt.Errorf("verify: %w in %s: nothing is published yet", ErrNoRepository, r.dir)
	}
	for _, step := range []func() error{
		func() error { return r.verifyPinned(pinned) }, r.verifyLinks, r.verifyTime, r.verifySignatures, r.verifyFiles, r.verifyNames,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}

func (r *Repo) verifyPinned(pinned []byte) error {
	if pinned == nil {
		return nil
	}
	m, err := meta.Parse[metadata.RootType](pinned)
	if err != nil {
		return fmt.Errorf("%w: root to begin with: %w", ErrDamaged, err)
	}
	n := m.Signed.Version
	if n < 1 || n > int64(len(r.roots)) {
		return fmt.Errorf("%w: the root to begin with is version %d, the repository has 1 to %d", ErrDamaged, n, len(r.roots))
	}
	if ours, err := meta.Render(r.roots[n-1]); err != nil || !bytes.Equal(ours, pinned) {
		return fmt.Errorf("%w: %d.root.json is not the root to begin with (%v)", ErrDamaged, n, err)
	}
	return nil
}

// verifyLinks wants what is published to be signed as the newest root asks for, and bound by version, length and both hashes.
func (r *Repo) verifyLinks() error {
	if err := meta.Chain(r.newest(), r.timestamp, r.snapshot, r.targets); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	snap, err := meta.Render(r.snapshot)
	if err != nil {
		return err
	}
	now, err := meta.Render(r.targets)
	if err != nil {
		return err
	}
	for _, x := range []struct {
		name string
		got  map[string]*metadata.MetaFiles
		want *metadata.MetaFiles
	}{
		{"snapshot.json", r.timestamp.Signed.Meta, meta.Link(r.snapshot.Signed.Version, snap)},
		{"targets.json", r.snapshot.Signed.Meta, meta.Link(r.targets.Signed.Version, now)},
	} {
		got := x.got[x.name]
		// Hashes.Equal compares those that both have.
		if len(x.got) != 1 || got == nil || got.Version != x.want.Version || got.Length != x.want.Length || len(got.Hashes) != len(x.want.Hashes) ||
			!got.Hashes.Equal(x.want.Hashes) {
			return fmt.Errorf("%w: %s is not the one that is named", ErrDamaged, x.name)
		}
	}
	if r.targets.Signed.Delegations != nil {
		return fmt.Errorf("%w: targets are delegated", ErrDamaged)
	}
	return nil
}

func (r *Repo) verifyTime() error {
	s, err := r.Status()
	if err != nil {
		return err
	}
	if due := s.Expiring(r.now, 0); len(due) > 0 {
		return fmt.Errorf("%w: %s; `refresh` renews the timestamp, `publish` the snapshot, `renew` targets, `root new` a root", ErrExpired, due[0])
	}
	return nil
}

// verifySignatures wants each signature in public to be one that counts: what signs nothing does not belong there.
func (r *Repo) verifySignatures() error {
	for i, m := range r.roots {
		by := []*meta.Root{m}
		if i > 0 {
			by = append(by, r.roots[i-1])
		}
		if err := eachCounts(m, metadata.ROOT, by); err != nil {
			return err
		}
	}
	if err := eachCounts(r.timestamp, metadata.TIMESTAMP, r.roots); err != nil {
		return err
	}
	if err := eachFile[metadata.SnapshotType](r, metadata.SNAPSHOT, maxSnapshot); err != nil {
		return err
	}
	return eachFile[metadata.TargetsType](r, metadata.TARGETS, maxTargets)
}

// eachFile looks at all that there ever was of a kind: one of the roots must have asked for its signatures.
func eachFile[T metadata.Roles](r *Repo, kind string, limit int) error {
	versions, err := r.versions(kind)
	if err != nil {
		return err
	}
	for _, v := range versions {
		m, err := readFile[T](r.public(fmt.Sprintf("%d.%s.json", v, kind)), limit)
		if err != nil {
			return err
		}
		if meta.Version(m) != v {
			return fmt.Errorf("%w: %d.%s.json is version %d", ErrDamaged, v, kind, meta.Version(m))
		}
		if !slices.ContainsFunc(r.roots, func(by *meta.Root) bool { return by.VerifyDelegate(kind, m) == nil }) {
			return fmt.Errorf("%w: no root takes %d.%s.json", ErrDamaged, v, kind)
		}
		if err := eachCounts(m, kind, r.roots); err != nil {
			return err
		}
	}
	return nil
}

func eachCounts[T metadata.Roles](m *metadata.Metadata[T], kind string, by []*meta.Root) error {
	for _, s := range m.Signatures {
		counts := slices.ContainsFunc(by, func(r *meta.Root) bool {
			return slices.Contains(r.Signed.Roles[kind].KeyIDs, s.KeyID) && meta.SignedBy(r.Signed.Keys[s.KeyID], s.KeyID, m)
		})
		if !counts {
			return fmt.Errorf("%w: %s %d: the signature of key %s counts for nothing", ErrDamaged, kind, meta.Version(m), s.KeyID)
		}
	}
	return nil
}

// verifyFiles unpacks each file that gateways are told of, and checks what comes out.
func (r *Repo) verifyFiles() error {
	all, err := listed.Of(r.targets)
	if err != nil {
		return err
	}
	past, err := r.history()
	if err != nil {
		return err
	}
	for _, t := range all {
		if !targetName.MatchString(t.Name) {
			return fmt.Errorf("%w: gateways refuse the name %q", ErrDamaged, t.Name)
		}
		if err := r.verifyFile(t, all, past); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return nil
}

func (r *Repo) verifyFile(t listed.File, all, past []listed.File) error {
	body, err := durable.ReadFile(r.public(t.Stored()), release.MaxProgram)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: the file is missing", ErrDamaged)
	} else if err != nil {
		return err
	}
	if t.Signed.Encoding == release.SBOM {
		if program.Digest(body).SHA256 != t.Signed.SBOM { // its own hashes and length are held against it by verifyNames
			return fmt.Errorf("%w: it is not what is signed", ErrDamaged)
		}
		return nil
	}
	var old []byte
	if t.Signed.Encoding == release.Delta {
		if old, err = r.base(t, past); err != nil {
			return err
		}
	}
	out, err := listed.Unpack(t, body, old)
	if err != nil {
		return err
	}
	p, err := program.Find(program.Of(t.Signed))
	if err != nil {
		return err
	}
	if _, err := program.Check(out, p); err != nil {
		return err
	}
	listed := slices.ContainsFunc(all, func(x listed.File) bool {
		return x.Signed.Encoding == release.SBOM && x.Signed.Program == t.Signed.Program
	})
	if !listed {
		return fmt.Errorf("%w: nothing says what is in the program", ErrDamaged)
	}
	return nil
}

// base returns the program that a delta is made from.
func (r *Repo) base(t listed.File, past []listed.File) ([]byte, error) {
	for _, x := range past {
		if x.Signed.Program.SHA256 == t.Signed.Base && (x.Signed.Encoding == release.Zstd || x.Signed.Encoding == release.Plain) {
			return r.unpack(x)
		}
	}
	return nil, fmt.Errorf("%w: the program that it is made from is nowhere", ErrDamaged)
}

// verifyNames wants nothing in public that nothing names, and each file to hold what its name says.
func (r *Repo) verifyNames() error {
	past, err := r.history()
	if err != nil {
		return err
	}
	named := map[string]listed.File{}
	for _, t := range past {
		named[t.Stored()] = t
	}
	entries, err := os.ReadDir(r.public())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			return fmt.Errorf("%w: %s is no file", ErrDamaged, e.Name())
		}
		if metadataName.MatchString(e.Name()) {
			continue // read above, but for a root behind a hole
		}
		t, ok := named[e.Name()]
		if !ok {
			return fmt.Errorf("%w: nothing names %s; what a cut left half written goes with the next `publish`", ErrDamaged, e.Name())
		}
		body, err := durable.ReadFile(r.public(e.Name()), release.MaxProgram)
		if err != nil {
			return err
		}
		if d := program.Digest(body); d.SHA256 != t.SHA256 || d.SHA512 != t.SHA512 || d.Length != t.Length {
			return fmt.Errorf("%w: %s does not hold what its name says", ErrDamaged, e.Name())
		}
	}
	all, err := r.versions(metadata.ROOT)
	if err == nil && len(all) != len(r.roots) {
		err = fmt.Errorf("%w: there are %d roots, of which %d follow each other", ErrDamaged, len(all), len(r.roots))
	}
	return err
}
