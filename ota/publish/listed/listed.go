// Package listed is the files that targets of TUF list: programs whole and as deltas, and what is in them. It reads no folder.
package listed

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/delta"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
)

// ErrDamaged is wrapped by errors about files that are not what is signed.
var ErrDamaged = errors.New("repository is damaged or was tampered with")

// A File is one of a release.
type File struct {
	Name   string
	Length int64
	SHA256 string // lower-case hex
	SHA512 string
	Signed release.File
}

// Stored is its name in public.
func (t File) Stored() string { return t.SHA256 + "." + t.Name }

// Of returns the files that m names, by counter and name.
func Of(m *meta.Targets) ([]File, error) {
	if m == nil {
		return nil, nil
	}
	var out []File
	for name, x := range m.Signed.Targets {
		if x.Custom == nil {
			return nil, fmt.Errorf("%w: targets: %s has no signed fields", ErrDamaged, name)
		}
		f, err := release.Decode(*x.Custom)
		if err != nil {
			return nil, fmt.Errorf("%w: targets: %s: %w", ErrDamaged, name, err)
		}
		out = append(out, File{Name: name, Length: x.Length, SHA256: x.Hashes["sha256"].String(), SHA512: x.Hashes["sha512"].String(), Signed: f})
	}
	slices.SortFunc(out, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Signed.Counter, b.Signed.Counter), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// Put names files in m.
func Put(m *meta.Targets, files []File) error {
	for _, t := range files {
		custom, err := t.Signed.Encode()
		if err != nil {
			return err
		}
		h, err := hex.DecodeString(t.SHA256)
		h2, err2 := hex.DecodeString(t.SHA512)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		m.Signed.Targets[t.Name] = &metadata.TargetFiles{Length: t.Length, Hashes: metadata.Hashes{"sha256": h, "sha512": h2}, Custom: (*json.RawMessage)(&custom)}
	}
	return nil
}

// Keep leaves the newest releases in m. What it drops stays in public, for gateways in the middle of a download and for deltas.
func Keep(m *meta.Targets, releases int) error {
	all, err := Of(m)
	if err != nil {
		return err
	}
	counters := map[uint64]bool{}
	for _, t := range all {
		counters[t.Signed.Counter] = true
	}
	sorted := slices.Sorted(maps.Keys(counters))
	for _, t := range all {
		if i, _ := slices.BinarySearch(sorted, t.Signed.Counter); i < len(sorted)-max(releases, 1) {
			delete(m.Signed.Targets, t.Name)
		}
	}
	return nil
}

// Unpack returns the program that body, the file of t, holds or makes of old, and checks both.
func Unpack(t File, body, old []byte) ([]byte, error) {
	if d := program.Digest(body); d.Length != t.Length || d.SHA256 != t.SHA256 || d.SHA512 != t.SHA512 {
		return nil, fmt.Errorf("%w: %s is not what is signed: got %d bytes with SHA-256 %s, want %d and %s", ErrDamaged, t.Name, d.Length, d.SHA256, t.Length, t.SHA256)
	}
	if t.Signed.Encoding != release.Plain {
		var out bytes.Buffer
		if err := delta.Apply(&out, bytes.NewReader(body), old, t.Signed.Program.Length); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, t.Name, err)
		}
		body = out.Bytes()
	}
	if d := program.Digest(body); d != t.Signed.Program {
		return nil, fmt.Errorf("%w: %s does not become the program that is signed", ErrDamaged, t.Name)
	}
	return body, nil
}

// Summary returns what a person should compare before signing a draft: one line each.
func Summary(role keyfile.Role, draft []byte) ([]string, error) {
	if role == keyfile.Root {
		m, err := meta.Parse[metadata.RootType](draft)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", meta.ErrDraft, err)
		}
		out := []string{fmt.Sprintf("root %d, expires %s", m.Signed.Version, m.Signed.Expires.Format(time.RFC3339))}
		for _, role := range keyfile.Roles() {
			x := m.Signed.Roles[string(role)]
			for _, id := range x.KeyIDs {
				out = append(out, fmt.Sprintf("%s: %d of %d, key %s", role, x.Threshold, len(x.KeyIDs), id))
			}
		}
		return out, nil
	}
	m, err := meta.Parse[metadata.TargetsType](draft)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", meta.ErrDraft, err)
	}
	out := []string{fmt.Sprintf("targets %d, expires %s", m.Signed.Version, m.Signed.Expires.Format(time.RFC3339))}
	all, err := Of(m)
	seen := map[string]bool{}
	for _, t := range all {
		f := t.Signed
		line := fmt.Sprintf("release %d %s %s for %v, halt %t: program %s", f.Counter, f.Version, program.Of(f), f.Stage, f.Halt, f.Program.SHA256)
		if !seen[line] {
			seen[line] = true
			out = append(out, line)
		}
	}
	return out, err
}
