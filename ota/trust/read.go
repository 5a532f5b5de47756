package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/strict"
)

// timeLayout is how TUF writes times (specification 4.1); lastYear is the last one that is taken for no mistake.
const (
	timeLayout = "2006-01-02T15:04:05Z"
	lastYear   = 2199
)

var (
	specVersion = regexp.MustCompile(`^1\.[0-9]{1,4}(\.[0-9]{1,4})?$`)
	// targetName keeps out "..", "//", a slash at either end, and all that a shell, a URL or another file system knows as special.
	targetName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$`)
)

// read decodes metadata of a role of at most limit bytes. What it returns, written again, is what stands there: so what is verified later is
// what was read.
func read[T metadata.Roles](role string, limit int, raw []byte) (*metadata.Metadata[T], error) {
	if len(raw) > limit {
		return nil, fmt.Errorf("%s.json: %w: got %d bytes, want at most %d", role, ErrLength, len(raw), limit)
	}
	got, err := strict.Canonical(raw) // go-tuf panics on some nulls, takes the last of two names, and any case
	if err != nil {
		return nil, malformed(role, err)
	}
	m, err := new(metadata.Metadata[T]).FromBytes(raw)
	if err != nil {
		return nil, malformed(role, err)
	}
	again, err := m.ToBytes(false)
	if err == nil {
		again, err = strict.Canonical(again)
	}
	if err != nil {
		return nil, malformed(role, err)
	}
	if !bytes.Equal(got, again) {
		return nil, malformed(role, fmt.Errorf("got fields that are not read as they are written, %d bytes of %d", len(again), len(got)))
	}
	if err := checkHead(&m.Signed); err != nil {
		return nil, malformed(role, err)
	}
	return m, nil
}

func malformed(role string, cause error) error {
	return fmt.Errorf("%s.json: %w: %w", role, ErrMalformed, cause)
}

// checkHead looks at what the metadata of all roles have.
func checkHead(signed any) error {
	var spec string
	var version int64
	var expires time.Time
	switch s := signed.(type) {
	case *metadata.RootType:
		spec, version, expires = s.SpecVersion, s.Version, s.Expires
	case *metadata.TimestampType:
		spec, version, expires = s.SpecVersion, s.Version, s.Expires
	case *metadata.SnapshotType:
		spec, version, expires = s.SpecVersion, s.Version, s.Expires
	case *metadata.TargetsType:
		spec, version, expires = s.SpecVersion, s.Version, s.Expires
	}
	switch {
	case !specVersion.MatchString(spec):
		return fmt.Errorf("got spec_version %q, want 1.x", spec)
	case version < 1: // strict knows the upper end
		return fmt.Errorf("got version %d, want 1 to %d", version, int64(strict.MaxInteger))
	case expires.Location() != time.UTC || expires.Nanosecond() != 0 || expires.Year() > lastYear:
		return fmt.Errorf("got expires %s, want %s up to the year %d", expires.Format(time.RFC3339Nano), timeLayout, lastYear)
	}
	return nil
}

func readRoot(raw []byte) (*metadata.Metadata[metadata.RootType], error) {
	m, err := read[metadata.RootType](metadata.ROOT, MaxRoot, raw)
	if err != nil {
		return nil, err
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		if r := m.Signed.Roles[name]; r == nil || r.Threshold < 1 {
			return nil, malformed(metadata.ROOT, fmt.Errorf("got no role %s with a threshold, want at least 1", name))
		}
	}
	return m, nil
}

func readTimestamp(raw []byte) (*metadata.Metadata[metadata.TimestampType], error) {
	m, err := read[metadata.TimestampType](metadata.TIMESTAMP, MaxTimestamp, raw)
	if err != nil {
		return nil, err
	}
	return m, checkNamed(metadata.TIMESTAMP, m.Signed.Meta, metadata.SNAPSHOT, MaxSnapshot)
}

func readSnapshot(raw []byte) (*metadata.Metadata[metadata.SnapshotType], error) {
	m, err := read[metadata.SnapshotType](metadata.SNAPSHOT, MaxSnapshot, raw)
	if err != nil {
		return nil, err
	}
	return m, checkNamed(metadata.SNAPSHOT, m.Signed.Meta, metadata.TARGETS, MaxTargets)
}

// checkNamed looks at what one role says of the next: nothing else, and all that the next one is held against.
func checkNamed(role string, meta map[string]*metadata.MetaFiles, next string, limit int64) error {
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		if name != next+".json" {
			return fmt.Errorf("%s.json: %w: got %q, want %s.json only", role, ErrDelegation, name, next)
		}
	}
	named := meta[next+".json"]
	switch {
	case named == nil:
		return malformed(role, fmt.Errorf("got no %s.json", next))
	case named.Version < 1:
		return malformed(role, fmt.Errorf("got version %d of %s.json, want at least 1", named.Version, next))
	case named.Length < 1 || named.Length > limit:
		return fmt.Errorf("%s.json: %w: got %d for %s.json, want 1 to %d", role, ErrLength, named.Length, next, limit)
	case len(named.Hashes["sha256"]) != sha256.Size:
		return fmt.Errorf("%s.json: %w: got a sha256 of %d bytes for %s.json, want %d", role, ErrHash, len(named.Hashes["sha256"]), next, sha256.Size)
	}
	return nil
}

// matches holds bytes against what was said of them.
func matches(role string, named *metadata.MetaFiles, raw []byte) error {
	if int64(len(raw)) != named.Length {
		return fmt.Errorf("%s.json: %w: got %d bytes, want %d", role, ErrLength, len(raw), named.Length)
	}
	sum256, sum512 := sha256.Sum256(raw), sha512.Sum512(raw)
	if want := named.Hashes["sha256"]; !bytes.Equal(want, sum256[:]) {
		return fmt.Errorf("%s.json: %w: got sha256 %x, want %x", role, ErrHash, sum256, []byte(want))
	}
	if want, ok := named.Hashes["sha512"]; ok && !bytes.Equal(want, sum512[:]) {
		return fmt.Errorf("%s.json: %w: got sha512 %x, want %x", role, ErrHash, sum512, []byte(want))
	}
	return nil
}

func readTargets(raw []byte) (*metadata.Metadata[metadata.TargetsType], error) {
	m, err := read[metadata.TargetsType](metadata.TARGETS, MaxTargets, raw)
	if err != nil {
		return nil, err
	}
	if m.Signed.Delegations != nil {
		return nil, fmt.Errorf("targets.json: %w: got %d roles", ErrDelegation, len(m.Signed.Delegations.Roles))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Signed.Targets)) {
		if err := checkTarget(name, m.Signed.Targets[name]); err != nil {
			return nil, fmt.Errorf("targets.json: %w", err)
		}
	}
	return m, nil
}

func checkTarget(name string, f *metadata.TargetFiles) error {
	switch n256, n512 := len(f.Hashes["sha256"]), len(f.Hashes["sha512"]); {
	case len(name) > MaxName:
		return fmt.Errorf("%w: got %d bytes, want at most %d", ErrName, len(name), MaxName)
	case !targetName.MatchString(name):
		return fmt.Errorf("%w: %q: want letters, digits and ._+- between slashes, each part beginning with a letter, a digit or _", ErrName, name)
	case f.Length < 1 || f.Length > MaxFile:
		return fmt.Errorf("%s: %w: got %d, want 1 to %d", name, ErrLength, f.Length, MaxFile)
	case n256 != sha256.Size || n512 != sha512.Size:
		return fmt.Errorf("%s: %w: got a sha256 of %d bytes and a sha512 of %d, want %d and %d", name, ErrHash, n256, n512, sha256.Size, sha512.Size)
	case f.Custom == nil || (*f.Custom)[0] != '{':
		return fmt.Errorf("%s: %w: got no custom object", name, ErrMalformed)
	}
	return nil
}

// files are those of targets that were read.
func files(targets *metadata.TargetsType, consistent bool) []File {
	out := make([]File, 0, len(targets.Targets))
	for _, name := range slices.Sorted(maps.Keys(targets.Targets)) {
		f := targets.Targets[name]
		one := File{
			Name: name, Stored: name, Length: f.Length, SHA256: f.Hashes["sha256"].String(), SHA512: f.Hashes["sha512"].String(), Custom: *f.Custom,
		}
		if consistent {
			one.Stored = path.Join(path.Dir(name), one.SHA256+"."+path.Base(name))
		}
		out = append(out, one)
	}
	return out
}

// signedPart returns what is signed of metadata that were read, as it stands there, and its fields.
func signedPart(raw []byte) (signed json.RawMessage, fields map[string]json.RawMessage, err error) {
	var m map[string]json.RawMessage
	if err = json.Unmarshal(raw, &m); err == nil {
		err = json.Unmarshal(m["signed"], &fields)
	}
	return m["signed"], fields, err
}

// verify says whether enough keys that root has for a role have signed m. Keys that are not Ed25519, and IDs without a key, count for nothing;
// go-tuf counts a key once, under however many IDs it stands.
func verify(root *metadata.Metadata[metadata.RootType], role string, m any) error {
	keys := map[string]*metadata.Key{}
	for id, k := range root.Signed.Keys {
		raw, err := hex.DecodeString(k.Value.PublicKey)
		if err == nil && len(raw) == ed25519.PublicKeySize && k.Type == metadata.KeyTypeEd25519 && k.Scheme == metadata.KeySchemeEd25519 {
			keys[id] = k
		}
	}
	usable := &metadata.Role{Threshold: root.Signed.Roles[role].Threshold}
	for _, id := range root.Signed.Roles[role].KeyIDs {
		if keys[id] != nil {
			usable.KeyIDs = append(usable.KeyIDs, id)
		}
	}
	if len(usable.KeyIDs) == 0 {
		return fmt.Errorf("%s.json: %w: root has no ed25519 key for it, want %d", role, ErrSignature, usable.Threshold)
	}
	by := metadata.Metadata[metadata.RootType]{Signed: metadata.RootType{Keys: keys, Roles: map[string]*metadata.Role{role: usable}}}
	if err := by.VerifyDelegate(role, m); err != nil {
		return fmt.Errorf("%s.json: %w: %w", role, ErrSignature, err)
	}
	return nil
}
