package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// floorsFormat is that of floors as they are written. A reader takes fields that it does not know for nothing.
const floorsFormat = 1

const maxNotes = 16

// floors are what nothing older is taken than.
type floors struct {
	Format    int    `json:"format"`
	Counter   uint64 `json:"counter"`   // of releases
	Pinned    string `json:"pinned"`    // SHA-256 of the root that Root is counted from
	Root      int64  `json:"root"`      // its version
	Online    string `json:"online"`    // the keys of timestamp and snapshot that the next four are of
	Timestamp int64  `json:"timestamp"` // its version
	Signed    string `json:"signed"`    // SHA-256 of what is signed of that timestamp, in canonical form
	Snapshot  int64  `json:"snapshot"`  // highest version that an accepted timestamp names
	Newest    string `json:"newest"`    // newest time signed in a cycle that was good, RFC 3339; "" = none
	Offline   string `json:"offline"`   // the keys of timestamp, snapshot and targets that the next one is of
	Targets   int64  `json:"targets"`   // highest version that an accepted snapshot names
	Torn      bool   `json:"torn"`      // one of two files was damaged: the other one may be older than what the cache proves
}

// openFloors reads the floors. Where they are gone although there is a cache, or damaged, they begin anew, and Damage says so.
func (t *Trust) openFloors(path string) error {
	pair, body, whole, err := durable.OpenPair(path)
	if err != nil && !errors.Is(err, durable.ErrDamaged) {
		return fmt.Errorf("floors: %w", err)
	}
	t.pair = pair
	switch {
	case err != nil:
		t.note(ErrFloors, err)
	case body != nil:
		if err := json.Unmarshal(body, &t.kept); err != nil || t.kept.Format != floorsFormat {
			t.note(ErrFloors, errors.Join(fmt.Errorf("got format %d, want %d", t.kept.Format, floorsFormat), err))
			t.kept = floors{}
		}
		t.floors = t.kept
		t.floors.Torn = t.floors.Torn || !whole
		if err := pair.Damage(); err != nil { // one that is merely older is of a cut between the two
			t.note(ErrFloors, fmt.Errorf("one of two files, the other one is used: %w", err))
		}
	default:
		for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
			if _, err := os.Lstat(t.path(role)); err == nil {
				t.note(ErrFloors, fmt.Errorf("both files are gone, there is a %s", filepath.Base(t.path(role))))
				break
			}
		}
	}
	t.floors.Format = floorsFormat
	return nil
}

// note keeps what was found damaged, the last few, for Damage.
func (t *Trust) note(name, cause error) {
	t.damage = append(t.damage[max(0, len(t.damage)-maxNotes+1):], fmt.Errorf("%w: %w", name, cause))
}

// keep makes f last.
func (t *Trust) keep(f floors) error {
	body, err := json.Marshal(f)
	if err == nil {
		err = t.disk.keep(t.pair, body)
	}
	if err != nil {
		return fmt.Errorf("keep floors: %w", err)
	}
	t.floors, t.kept = f, f
	return nil
}

// raise makes f last, if it does not already.
func (t *Trust) raise(f floors) error {
	if f == t.kept {
		t.floors = f
		return nil
	}
	return t.keep(f)
}

// under is what is left of f under root: versions count for the keys that they were signed by (TUF 5.3.11). Targets that a snapshot names
// are forgotten with those keys too, as TUF forgets them with the snapshot.
func (f floors) under(root *metadata.RootType) floors {
	if online := keySet(root, metadata.TIMESTAMP, metadata.SNAPSHOT); f.Online != online {
		f.Online, f.Timestamp, f.Signed, f.Snapshot, f.Newest = online, 0, "", 0, ""
	}
	if offline := keySet(root, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS); f.Offline != offline {
		f.Offline, f.Targets = offline, 0
	}
	return f
}

// stamped is f with what a timestamp proves, unless it knows of a later one.
func (f floors) stamped(s stamp) floors {
	if s.version <= f.Timestamp {
		return f
	}
	f.Timestamp, f.Signed, f.Snapshot = s.version, s.signed, max(f.Snapshot, s.named.Version)
	return f
}

// keySet is one word for the keys and thresholds of roles.
func keySet(root *metadata.RootType, roles ...string) string {
	var b strings.Builder
	for _, name := range roles {
		role := root.Roles[name]
		b.WriteString(name + " " + strconv.Itoa(role.Threshold) + "\n")
		for _, id := range slices.Compact(slices.Sorted(slices.Values(role.KeyIDs))) {
			b.WriteString(strconv.Quote(id))
			if k := root.Keys[id]; k != nil {
				b.WriteString(" " + strconv.Quote(k.Value.PublicKey))
			}
			b.WriteByte('\n')
		}
	}
	return hash([]byte(b.String()))
}
