package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/strict"
)

// A stamp is what a timestamp says.
type stamp struct {
	version int64
	expires time.Time
	named   *metadata.MetaFiles // snapshot.json
	signed  string              // hash of what is signed, in canonical form: however it is laid out and whoever signed it
	at      time.Time           // when it was signed; zero = it does not say
	hold    json.RawMessage
}

func (c *cycle) checkTimestamp(raw []byte) (stamp, error) {
	m, err := readTimestamp(raw)
	if err == nil {
		err = verify(c.root, metadata.TIMESTAMP, m)
	}
	if err != nil {
		return stamp{}, err
	}
	s := stamp{version: m.Signed.Version, expires: m.Signed.Expires, named: m.Signed.Meta["snapshot.json"]}
	signed, fields, err := signedPart(raw)
	if err == nil {
		signed, err = strict.Canonical(signed)
	}
	if at := fields["x-tidegate-time"]; err == nil && at != nil {
		s.at, err = time.Parse(`"`+timeLayout+`"`, string(at))
	}
	if err != nil {
		return stamp{}, malformed(metadata.TIMESTAMP, err)
	}
	s.signed, s.hold = hash(signed), fields["x-tidegate-hold"]
	return s, nil
}

func (c *cycle) checkSnapshot(raw []byte) (*metadata.Metadata[metadata.SnapshotType], error) {
	m, err := readSnapshot(raw)
	if err == nil {
		err = verify(c.root, metadata.SNAPSHOT, m)
	}
	return m, err
}

func (c *cycle) checkTargets(raw []byte) (*metadata.Metadata[metadata.TargetsType], error) {
	m, err := readTargets(raw)
	if err == nil {
		err = verify(c.root, metadata.TARGETS, m)
	}
	return m, err
}

// inspect reads the cache behind its root, moves what is damaged to quarantine, and raises floors to what is whole. They are there already,
// unless they were damaged themselves. What is of other keys than root has now proves nothing and is deleted (TUF 5.3.11).
func (c *cycle) inspect() error {
	t := c.t
	before, f := t.floors, t.floors.under(&c.root.Signed)
	online := c.same(before.Online, f.Online, metadata.TIMESTAMP, metadata.SNAPSHOT)
	offline := c.same(before.Offline, f.Offline, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS)
	var timestamp stamp
	var snapshot *metadata.Metadata[metadata.SnapshotType]
	var targets *metadata.Metadata[metadata.TargetsType]
	c.cached = map[string][]byte{}
	err := errors.Join(
		c.look(metadata.TIMESTAMP, MaxTimestamp, online, func(raw []byte) (err error) { timestamp, err = c.checkTimestamp(raw); return err }),
		c.look(metadata.SNAPSHOT, MaxSnapshot, online, func(raw []byte) (err error) { snapshot, err = c.checkSnapshot(raw); return err }),
		c.look(metadata.TARGETS, MaxTargets, offline, func(raw []byte) (err error) { targets, err = c.checkTargets(raw); return err }),
	)
	if err != nil {
		return err
	}
	if online && c.cached[metadata.TIMESTAMP] != nil {
		f = f.stamped(timestamp)
	}
	if online && c.cached[metadata.SNAPSHOT] != nil {
		f.Snapshot = max(f.Snapshot, snapshot.Signed.Version)
	}
	if offline && c.cached[metadata.SNAPSHOT] != nil {
		f.Targets = max(f.Targets, snapshot.Signed.Meta["targets.json"].Version)
	}
	if offline && c.cached[metadata.TARGETS] != nil {
		f.Targets = max(f.Targets, targets.Signed.Version)
	}
	f.Torn = false
	t.floors = f
	return nil
}

// same says whether the keys of roles are those that the cache was accepted by. Where floors do not know, as they were damaged, the root does
// that the cycle began with.
func (c *cycle) same(was, is string, roles ...string) bool {
	if was == is || was != "" && !c.t.floors.Torn {
		return was == is
	}
	return c.cachedRoot == nil || keySet(&c.cachedRoot.Signed, roles...) == is
}

// look takes what the cache has of a role into c.cached, if its keys are the same ones and check has nothing against it.
func (c *cycle) look(role string, limit int64, same bool, check func(raw []byte) error) error {
	raw, err := c.t.cached(role, limit)
	switch {
	case err != nil:
	case raw == nil:
		return nil
	case !same:
		return c.t.disk.remove(c.t.path(role))
	default:
		err = check(raw)
	}
	if err != nil {
		return c.t.quarantine(role, err)
	}
	c.cached[role] = raw
	return nil
}

// updateTimestamp takes the source's timestamp (TUF 5.4).
func (c *cycle) updateTimestamp() error {
	raw, err := c.fetch("timestamp.json", MaxTimestamp)
	if err != nil {
		return err
	}
	s, err := c.checkTimestamp(raw)
	if err != nil {
		return err
	}
	f := c.t.floors
	switch {
	case s.version < f.Timestamp:
		return fmt.Errorf("timestamp.json: %w: got version %d, want at least %d", ErrRollback, s.version, f.Timestamp)
	case s.version == f.Timestamp && s.signed != f.Signed:
		return fmt.Errorf("timestamp.json: %w: version %d, got signed bytes of SHA-256 %s, want %s", ErrChanged, s.version, s.signed, f.Signed)
	case s.named.Version < f.Snapshot:
		return fmt.Errorf("timestamp.json: %w: got version %d of snapshot.json, want at least %d", ErrRollback, s.named.Version, f.Snapshot)
	}
	c.now = later(c.now, s.at)
	if err := errors.Join(live(metadata.ROOT, c.root.Signed.Expires, c.now), live(metadata.TIMESTAMP, s.expires, c.now)); err != nil {
		return err
	}
	if err := c.t.raise(f.stamped(s)); err != nil {
		return err
	}
	c.timestamp = s
	return c.t.save(metadata.TIMESTAMP, raw, c.cached[metadata.TIMESTAMP])
}

// get returns the file of a role that was named: what the cache has, where it is just that.
func (c *cycle) get(role string, named *metadata.MetaFiles) ([]byte, error) {
	if raw := c.cached[role]; raw != nil && matches(role, named, raw) == nil {
		return raw, nil
	}
	raw, err := c.fetch(c.versioned(role, named.Version), named.Length)
	if err != nil {
		return nil, err
	}
	return raw, matches(role, named, raw)
}

// current says whether metadata of a role are those that were named, and still to be used.
func (c *cycle) current(role string, version int64, expires time.Time, named *metadata.MetaFiles) error {
	if version != named.Version {
		return fmt.Errorf("%s.json: %w: got %d, want %d", role, ErrVersion, version, named.Version)
	}
	return live(role, expires, c.now)
}

// updateSnapshot takes the snapshot that the timestamp names (TUF 5.5).
func (c *cycle) updateSnapshot() error {
	raw, err := c.get(metadata.SNAPSHOT, c.timestamp.named)
	if err != nil {
		return err
	}
	m, err := c.checkSnapshot(raw)
	if err == nil {
		err = c.current(metadata.SNAPSHOT, m.Signed.Version, m.Signed.Expires, c.timestamp.named)
	}
	if err != nil {
		return err
	}
	f, named := c.t.floors, m.Signed.Meta["targets.json"]
	if named.Version < f.Targets {
		return fmt.Errorf("snapshot.json: %w: got version %d of targets.json, want at least %d", ErrRollback, named.Version, f.Targets)
	}
	f.Targets = named.Version
	if err := c.t.raise(f); err != nil {
		return err
	}
	c.snapshot = m
	return c.t.save(metadata.SNAPSHOT, raw, c.cached[metadata.SNAPSHOT])
}

// updateTargets takes the targets that the snapshot names (TUF 5.6, without delegations).
func (c *cycle) updateTargets() error {
	named := c.snapshot.Signed.Meta["targets.json"]
	raw, err := c.get(metadata.TARGETS, named)
	if err != nil {
		return err
	}
	m, err := c.checkTargets(raw)
	if err == nil {
		err = c.current(metadata.TARGETS, m.Signed.Version, m.Signed.Expires, named)
	}
	if err != nil {
		return err
	}
	c.targets = m
	if err := c.t.save(metadata.TARGETS, raw, c.cached[metadata.TARGETS]); err != nil {
		return err
	}
	// Only now: a time at which something else is expired is a signer's mistake, or worse, and is forgotten with this cycle.
	f := c.t.floors
	if text := c.timestamp.at.Format(timeLayout); !c.timestamp.at.IsZero() && text > f.Newest { // RFC 3339 in UTC: in order of time
		f.Newest = text
	}
	return c.t.raise(f)
}

// trusted is what all of it says.
func (c *cycle) trusted() Trusted {
	out := Trusted{
		Files: files(&c.targets.Signed, c.root.Signed.ConsistentSnapshot), Hold: c.timestamp.hold,
		Versions: Versions{c.root.Signed.Version, c.timestamp.version, c.snapshot.Signed.Version, c.targets.Signed.Version},
		Expires:  c.root.Signed.Expires,
	}
	for _, e := range []time.Time{c.timestamp.expires, c.snapshot.Signed.Expires, c.targets.Signed.Expires} {
		if e.Before(out.Expires) {
			out.Expires = e
		}
	}
	return out
}
