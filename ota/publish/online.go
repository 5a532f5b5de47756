package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/release"
)

// timeField is the field of timestamp.json that says when it was signed: a gateway without a clock of its own knows that it is not earlier.
const timeField = "x-tidegate-time"

// Online is what the machine that publishes signs with, and for how long.
type Online struct {
	Keys      []*keyfile.Private // of snapshot and timestamp; several of one role while it goes from one key to the next
	Snapshot  time.Duration
	Timestamp time.Duration
}

// of returns the keys for a role. Each must be one that root names, or before did.
func (o Online) of(role keyfile.Role, roots ...*meta.Root) ([]*keyfile.Private, error) {
	var out []*keyfile.Private
	for _, k := range o.Keys {
		if k.Role != role {
			continue
		}
		known := false
		for _, r := range roots {
			known = known || r != nil && slices.Contains(r.Signed.Roles[string(role)].KeyIDs, k.ID)
		}
		if !known {
			return nil, fmt.Errorf("%w: the root does not name the %s key %s", ErrKey, role, k.ID)
		}
		out = append(out, k)
	}
	return out, nil
}

// Publish makes what was drafted and signed public, and a snapshot and a timestamp of it. The order is such that whoever asks at any moment
// gets what fits together: files, targets, snapshot, timestamp, and a new root where it fits. gap is true where it does not, as keys go from
// one to the next and none was there to sign for both roots: for a moment gateways get what their root does not take, and ask again later.
func (r *Repo) Publish(o Online) (gap bool, err error) {
	next, err := readDraft[metadata.RootType](r, metadata.ROOT, maxRoot)
	if err != nil {
		return false, err
	}
	newTargets, err := readDraft[metadata.TargetsType](r, metadata.TARGETS, maxTargets)
	if err != nil {
		return false, err
	}
	by, now := next, newTargets
	if by == nil {
		by = r.newest()
	}
	if now == nil {
		now = r.targets
	}
	if err := r.mayPublish(by, next, now); err != nil {
		return false, err
	}
	snap, stamp, err := r.seal(o, by, now)
	if err != nil {
		return false, err
	}
	if err := r.sweep(); err != nil {
		return false, err
	}
	if newTargets != nil {
		if err := r.publishTargets(newTargets); err != nil {
			return false, err
		}
	}
	if err := write(r, metadata.SNAPSHOT, snap); err != nil {
		return false, err
	}
	if next == nil {
		err = r.writeTimestamp(stamp)
	} else {
		gap, err = r.publishRoot(next, stamp, snap, now)
	}
	if err != nil {
		return gap, err
	}
	return gap, errors.Join(r.removeDraft(metadata.ROOT), r.removeDraft(metadata.TARGETS), r.load())
}

// mayPublish says what is missing before anything is written.
func (r *Repo) mayPublish(by, next *meta.Root, now *meta.Targets) error {
	if by == nil || now == nil {
		return fmt.Errorf("publish: %w: there are no targets yet; `add` a release first", ErrDraft)
	}
	if next != nil {
		if err := meta.CheckRoot(next, r.newest(), meta.Version(r.newestOrNone())+1); err != nil {
			return fmt.Errorf("publish root %d: %w", next.Signed.Version, err)
		}
	}
	if err := meta.Enough(by, metadata.TARGETS, now); err != nil {
		return fmt.Errorf("publish targets %d: %w; sign a draft of it (`renew` makes one)", now.Signed.Version, err)
	}
	if by.Signed.IsExpired(r.now) {
		return fmt.Errorf("publish root %d: %w on %s; `root new` drafts another", by.Signed.Version, ErrExpired, by.Signed.Expires.Format(time.RFC3339))
	}
	if now.Signed.IsExpired(r.now) {
		return fmt.Errorf("publish targets %d: %w on %s; `renew` drafts others", now.Signed.Version, ErrExpired, now.Signed.Expires.Format(time.RFC3339))
	}
	return nil
}

// newestOrNone is the newest root, or one of version 0.
func (r *Repo) newestOrNone() *meta.Root {
	if r.newest() == nil {
		return &meta.Root{}
	}
	return r.newest()
}

// seal makes the snapshot of targets and its timestamp, for gateways that trust by and for those that trust the root before.
func (r *Repo) seal(o Online, by *meta.Root, now *meta.Targets) (*meta.Snapshot, *meta.Timestamp, error) {
	keys, err := o.of(keyfile.Snapshot, by, r.newest())
	if err != nil {
		return nil, nil, err
	}
	body, err := meta.Render(now)
	if err != nil {
		return nil, nil, err
	}
	snap := metadata.Snapshot(r.now.Add(o.Snapshot).Truncate(time.Second))
	if snap.Signed.Version, err = r.next(metadata.SNAPSHOT); err != nil {
		return nil, nil, err
	}
	snap.Signed.Meta["targets.json"] = meta.Link(now.Signed.Version, body)
	for _, k := range keys {
		if err := meta.Sign(snap, k); err != nil {
			return nil, nil, err
		}
	}
	if err := meta.Enough(by, metadata.SNAPSHOT, snap); err != nil {
		return nil, nil, fmt.Errorf("sign snapshot: %w; give --snapshot-key", err)
	}
	hold, err := r.hold()
	if err != nil {
		return nil, nil, err
	}
	stamp, err := r.stamp(o, by, snap, hold, now)
	return snap, stamp, err
}

// stamp makes the next timestamp, of snap; what is held back of releases that targets do not name any more is dropped.
func (r *Repo) stamp(o Online, by *meta.Root, snap *meta.Snapshot, hold release.Hold, now *meta.Targets) (*meta.Timestamp, error) {
	keys, err := o.of(keyfile.Timestamp, by, r.newest())
	if err != nil {
		return nil, err
	}
	body, err := meta.Render(snap)
	if err != nil {
		return nil, err
	}
	m := metadata.Timestamp(r.now.Add(o.Timestamp).Truncate(time.Second))
	if r.timestamp != nil {
		m.Signed.Version = r.timestamp.Signed.Version + 1
	}
	m.Signed.Meta["snapshot.json"] = meta.Link(snap.Signed.Version, body)
	all, err := listed.Of(now)
	if err != nil {
		return nil, err
	}
	held := map[string]any{}
	for counter, stage := range hold {
		if slices.ContainsFunc(all, func(t listed.File) bool { return t.Signed.Counter == counter }) {
			held[strconv.FormatUint(counter, 10)] = int(stage)
		}
	}
	m.Signed.UnrecognizedFields = map[string]any{timeField: r.now.UTC().Format(time.RFC3339)}
	if len(held) > 0 {
		m.Signed.UnrecognizedFields[release.HoldField] = held
	}
	for _, k := range keys {
		if err := meta.Sign(m, k); err != nil {
			return nil, err
		}
	}
	if err := meta.Enough(by, metadata.TIMESTAMP, m); err != nil {
		return nil, fmt.Errorf("sign timestamp: %w; give --timestamp-key", err)
	}
	return m, nil
}

// hold returns what the published timestamp holds back.
func (r *Repo) hold() (release.Hold, error) {
	if r.timestamp == nil || r.timestamp.Signed.UnrecognizedFields[release.HoldField] == nil {
		return release.Hold{}, nil
	}
	body, err := json.Marshal(r.timestamp.Signed.UnrecognizedFields[release.HoldField])
	if err != nil {
		return nil, err
	}
	return release.DecodeHold(body)
}

// publishTargets writes the files of releases, then the targets that name them.
func (r *Repo) publishTargets(m *meta.Targets) error {
	all, err := listed.Of(m)
	if err != nil {
		return err
	}
	for _, t := range all {
		from, to := r.draft("files", t.Stored()), r.public(t.Stored())
		if _, err := os.Stat(to); err == nil {
			continue
		}
		if err := os.Rename(from, to); err != nil {
			return fmt.Errorf("publish %s: %w", t.Name, err)
		}
		r.changed()
	}
	if err := errors.Join(durable.SyncDir(r.public()), durable.SyncDir(r.draft("files"))); err != nil {
		return err
	}
	return write(r, metadata.TARGETS, m)
}

// publishRoot writes the next root and the timestamp, in an order in which each moment has what fits together: the timestamp first if the
// root before takes all that is new, else the root first. gap is true where the new root does not take what is old either.
func (r *Repo) publishRoot(next *meta.Root, stamp *meta.Timestamp, snap *meta.Snapshot, now *meta.Targets) (gap bool, err error) {
	before := r.newest()
	if before != nil && meta.Chain(before, stamp, snap, now) == nil {
		if err := r.writeTimestamp(stamp); err != nil {
			return false, err
		}
		return false, write(r, metadata.ROOT, next)
	}
	if err := write(r, metadata.ROOT, next); err != nil {
		return false, err
	}
	gap = before != nil && meta.Chain(next, r.timestamp, r.snapshot, r.targets) != nil
	return gap, r.writeTimestamp(stamp)
}

func (r *Repo) writeTimestamp(m *meta.Timestamp) error {
	body, err := meta.Render(m)
	if err != nil {
		return err
	}
	if len(body) > maxTimestamp {
		return fmt.Errorf("timestamp: %w: got %d bytes, want at most %d", ErrTooLong, len(body), maxTimestamp)
	}
	return r.writePublic("timestamp.json", body)
}

// write writes VERSION.KIND.json.
func write[T metadata.Roles](r *Repo, kind string, m *metadata.Metadata[T]) error {
	body, err := meta.Render(m)
	if err != nil {
		return err
	}
	return r.writePublic(fmt.Sprintf("%d.%s.json", meta.Version(m), kind), body)
}

// Refresh makes a new timestamp of what is published, and before it a new snapshot if its key is there and half of its life is over.
func (r *Repo) Refresh(o Online) error {
	hold, err := r.hold()
	if err != nil {
		return err
	}
	return r.refresh(o, hold)
}

func (r *Repo) refresh(o Online, hold release.Hold) error {
	if r.targets == nil {
		return fmt.Errorf("%w in %s: nothing is published yet", ErrNoRepository, r.dir)
	}
	by, snap := r.newest(), r.snapshot
	keys, err := o.of(keyfile.Snapshot, by)
	if err != nil {
		return err
	}
	if len(keys) > 0 && snap.Signed.Expires.Before(r.now.Add(o.Snapshot/2)) {
		if snap, _, err = r.seal(o, by, r.targets); err != nil {
			return err
		}
		if err := write(r, metadata.SNAPSHOT, snap); err != nil {
			return err
		}
	}
	stamp, err := r.stamp(o, by, snap, hold, r.targets)
	if err != nil {
		return err
	}
	if err := r.writeTimestamp(stamp); err != nil {
		return err
	}
	return r.load()
}

// Hold narrows a release to a stage until it is held otherwise; 0 = halt, All = what was signed. It never widens what was signed.
func (r *Repo) Hold(o Online, counter uint64, stage release.Stage) error {
	all, err := listed.Of(r.targets)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(t listed.File) bool { return t.Signed.Counter == counter }) {
		return fmt.Errorf("hold: %w: %d; `status` lists those that gateways see", ErrUnknown, counter)
	}
	hold, err := r.hold()
	if err != nil {
		return err
	}
	if hold[counter] = stage; stage >= release.All {
		delete(hold, counter)
	}
	return r.refresh(o, hold)
}
