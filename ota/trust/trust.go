// Package trust finds out which files the owner of this gateway has signed: a client of TUF (The Update Framework, specification 1.0), over
// the formats of go-tuf, with a cycle of its own. What a TUF client leaves open is closed here:
//
//   - Bytes are read strictly (package strict), and what was read must be, written again, what was signed.
//   - Ed25519 only. What metadata say of an algorithm chooses none: other keys may stand there, and count for nothing.
//   - Lengths and hashes are asked for all the way: timestamp, snapshot, targets, files. All sizes have a limit.
//   - Delegations are refused by name.
//   - The cache is written so that it holds over a power cut. What is damaged in it is moved to quarantine and fetched again in the same cycle.
//   - Floors below which nothing is taken lie beside the cache, twice, with checksums (README.md). They are tied to the keys of the roles,
//     so that rotating these in root recovers from versions that an attacker drove up; the release counter's floor is tied to nothing.
//
// A cycle that finds nothing new writes nothing. One that is cut off anywhere leaves what the next one goes on from.
package trust

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// Limits of what is read, in bytes, and of how many new roots a cycle takes.
const (
	MaxRoot      = 64 << 10
	MaxTimestamp = 4 << 10
	MaxSnapshot  = 64 << 10
	MaxTargets   = 256 << 10
	MaxRoots     = 32
	MaxFile      = 256 << 20 // of a target
	MaxName      = 255       // of a target
)

// What metadata are refused for, and what is found damaged, by name. Errors wrap one of them, or what the Source returned.
var (
	ErrNoTrust    = errors.New("no trust root: there are no updates")
	ErrMalformed  = errors.New("metadata are malformed")
	ErrSignature  = errors.New("signatures do not reach the threshold")
	ErrExpired    = errors.New("metadata are expired (or the clock is wrong)")
	ErrRollback   = errors.New("metadata are older than what was trusted before")
	ErrChanged    = errors.New("metadata changed under the same version")
	ErrVersion    = errors.New("metadata have another version than announced")
	ErrLength     = errors.New("length is wrong")
	ErrHash       = errors.New("hash is wrong")
	ErrDelegation = errors.New("targets are delegated, which is not taken")
	ErrName       = errors.New("name of a target is not taken")
	ErrRoots      = errors.New("too many new roots for one cycle: the next one goes on")
	ErrMissing    = fs.ErrNotExist // where a Source has no such file
	ErrCache      = errors.New("cached metadata were damaged")
	ErrFloors     = errors.New("floors were damaged")
)

// Reason returns the name of why err was returned: "" where it is nil or not of this package, so what a Source returned.
func Reason(err error) string {
	for _, r := range []struct {
		is   error
		name string
	}{
		// Where several places were asked, what is certain comes before what may only have followed from it.
		{ErrNoTrust, "no-trust"}, // it wraps what is wrong with the root
		{ErrSignature, "bad-signature"},
		{ErrRollback, "rollback"},
		{ErrExpired, "expired"},
		{ErrDelegation, "delegated"},
		{ErrMalformed, "malformed"},
		{ErrChanged, "changed"},
		{ErrVersion, "wrong-version"},
		{ErrName, "bad-name"},
		{ErrRoots, "too-many-roots"},
		{ErrHash, "wrong-hash"},
		{ErrLength, "wrong-length"},
		{ErrCache, "cache-damaged"},
		{ErrFloors, "floors-damaged"},
		{ErrMissing, "missing"},
	} {
		if errors.Is(err, r.is) {
			return r.name
		}
	}
	return ""
}

// A Source has metadata files by name: "timestamp.json", "2.root.json". It returns at most limit bytes, or an error, which wraps ErrMissing
// where it has no such file. It bounds its time itself.
type Source interface {
	Metadata(ctx context.Context, name string, limit int64) ([]byte, error)
}

// A File is what is signed of one target. All fields are always there.
type File struct {
	Name   string // path below the targets of a source: letters, digits and ._+- between slashes, at most MaxName bytes
	Stored string // its name at a source: where snapshots are consistent, the last element of Name behind its SHA-256 and a dot
	Length int64  // bytes, 1 to MaxFile
	SHA256 string // lower-case hex
	SHA512 string
	Custom []byte // a JSON object, as it stands there
}

// Versions are those of the metadata.
type Versions struct{ Root, Timestamp, Snapshot, Targets int64 }

// Trusted is what a cycle has found.
type Trusted struct {
	Files    []File // sorted by name
	Versions Versions
	Expires  time.Time       // when the first of the metadata does
	Hold     json.RawMessage // "x-tidegate-hold" of the timestamp, as it stands there; nil = none
}

// A Trust keeps what is trusted, below one folder. It is for one goroutine and one process at a time.
type Trust struct {
	cache  string // folder of the cache
	pinned []byte
	first  *metadata.Metadata[metadata.RootType] // of pinned
	pair   *durable.Pair
	floors floors
	kept   floors // those on disk; none = damaged
	damage []error
	disk   disk
}

// disk is what changes files, each over a power cut.
type disk struct {
	write  func(path string, body []byte, mode os.FileMode) error
	rename func(from, to string) error
	remove func(path string) error
	mkdir  func(path string) error
	keep   func(p *durable.Pair, body []byte) error
}

// Open reads the floors below dir, which is made where it is missing; pinned is the root.json that trust begins with. It wraps ErrNoTrust where
// pinned is empty, and says what is wrong with it where it is not good: then there are no updates.
func Open(dir string, pinned []byte) (*Trust, error) {
	if len(pinned) == 0 {
		return nil, ErrNoTrust
	}
	first, err := readRoot(pinned)
	if err == nil {
		err = verify(first, metadata.ROOT, first)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: pinned root: %w", ErrNoTrust, err)
	}
	t := &Trust{
		cache: filepath.Join(dir, "tuf"), pinned: pinned, first: first,
		disk: disk{write: durable.WriteFile, rename: durable.Rename, remove: durable.Remove, mkdir: durable.Mkdir, keep: (*durable.Pair).Write},
	}
	if err := durable.Mkdir(t.cache); err != nil {
		return nil, err
	}
	if err := t.openFloors(filepath.Join(dir, "floors")); err != nil {
		return nil, err
	}
	return t, nil
}

// Refresh goes through one cycle (TUF 5.3 to 5.6). Expiry is judged by now or Newest, whichever is later. What is accepted before an error stays
// accepted: a new root, a newer timestamp.
func (t *Trust) Refresh(ctx context.Context, src Source, now time.Time) (Trusted, error) {
	c := cycle{t: t, ctx: ctx, src: src}
	if err := c.roots(); err != nil {
		return Trusted{}, err
	}
	if err := c.inspect(); err != nil {
		return Trusted{}, err
	}
	c.now = later(now, t.Newest())
	if err := live(metadata.ROOT, c.root.Signed.Expires, c.now); err != nil {
		return Trusted{}, err
	}
	for _, step := range []func() error{c.updateTimestamp, c.updateSnapshot, c.updateTargets} {
		if err := step(); err != nil {
			return Trusted{}, err
		}
	}
	return c.trusted(), nil
}

// Counter is the release counter's floor: releases below it are not taken. 0 where none was set, or where both files of it were damaged: the
// caller sets it again from what it knows to have run.
func (t *Trust) Counter() uint64 { return t.floors.Counter }

// RaiseCounter sets the release counter's floor to n and makes that last; a lower n changes nothing.
func (t *Trust) RaiseCounter(n uint64) error {
	if n <= t.floors.Counter {
		return nil
	}
	next := t.floors
	next.Counter = n
	// Twice, so that either file knows it: nothing else does.
	if err := t.keep(next); err != nil {
		return err
	}
	return t.keep(next)
}

// Newest is the newest time that the online keys have signed ("x-tidegate-time" of a timestamp) in a cycle that was good, so one at which nothing
// was expired; it is not earlier now. Zero where none is known, also after those keys were rotated.
func (t *Trust) Newest() time.Time {
	at, err := time.Parse(time.RFC3339, t.floors.Newest)
	if err != nil {
		return time.Time{} // empty
	}
	return at
}

// Damage returns what was found damaged since it was last called, and repaired: errors wrapping ErrCache or ErrFloors. Floors are rebuilt from
// what the cache proves, all but the counter's, which is 0 then.
func (t *Trust) Damage() []error {
	found := t.damage
	t.damage = nil
	return found
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// live says whether metadata of a role are still to be used.
func live(role string, expires, now time.Time) error {
	if expires.After(now) {
		return nil
	}
	return fmt.Errorf("%s.json: %w: it was good until %s, now it is %s", role, ErrExpired, expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

func hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
