package meta

import (
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
)

// minThreshold is how many people sign a root or a release at least: one stolen key must not be enough.
const minThreshold = 2

// AddKey lets p sign for its role.
func AddKey(m *Root, p keyfile.Public) error {
	for role, x := range m.Signed.Roles {
		if slices.Contains(x.KeyIDs, p.ID) {
			return fmt.Errorf("%w: key %s stands for %s already; one key, one role", ErrKey, p.ID, role)
		}
	}
	key := &metadata.Key{Type: metadata.KeyTypeEd25519, Scheme: metadata.KeySchemeEd25519, Value: metadata.KeyVal{PublicKey: p.Key}}
	if id, err := key.ID(); err != nil || id != p.ID {
		return fmt.Errorf("%w: got key id %s, want %s (%v)", ErrKey, p.ID, id, err)
	}
	return m.Signed.AddKey(key, string(p.Role))
}

// CheckKeys says what is wrong with the keys of a root.
func CheckKeys(m *Root, now time.Time) error {
	for _, role := range keyfile.Roles() {
		r := m.Signed.Roles[string(role)]
		switch {
		case role.Offline() && r.Threshold < minThreshold:
			return fmt.Errorf("%s: got threshold %d, want at least %d: one stolen key must not be enough", role, r.Threshold, minThreshold)
		case role.Offline() && len(r.KeyIDs) <= r.Threshold:
			return fmt.Errorf("%s: got %d keys for a threshold of %d, want one more at least: one may be lost", role, len(r.KeyIDs), r.Threshold)
		case !role.Offline() && (len(r.KeyIDs) < 1 || r.Threshold != 1):
			return fmt.Errorf("%s: got %d keys and threshold %d, want a key and threshold 1", role, len(r.KeyIDs), r.Threshold)
		}
	}
	if !m.Signed.Expires.After(now) {
		return fmt.Errorf("root: %w: it would on %s", ErrExpired, m.Signed.Expires.Format(time.RFC3339))
	}
	return nil
}

// RemoveKey takes the key of that id, or of the only one that begins so, out of its role.
func RemoveKey(m *Root, begin string) error {
	const shortest = 8
	var found []string
	for id := range m.Signed.Keys {
		if len(begin) >= shortest && len(id) >= len(begin) && id[:len(begin)] == begin {
			found = append(found, id)
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("%w: %d keys of the root have an id that begins with %q, want one (%d characters or more); `status` lists them", ErrKey, len(found), begin, shortest)
	}
	for role, x := range m.Signed.Roles {
		if slices.Contains(x.KeyIDs, found[0]) {
			return m.Signed.RevokeKey(found[0], role)
		}
	}
	return fmt.Errorf("%w: %s stands for no role", ErrKey, found[0])
}
