package publish

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
)

// Status is how a repository stands.
type Status struct {
	Roles    []RoleStatus    `json:"roles"`    // what is published
	Drafts   []DraftStatus   `json:"drafts"`   // what waits for signatures or for `publish`
	Releases []ReleaseStatus `json:"releases"` // those that gateways see
}

// RoleStatus is how a piece of metadata stands.
type RoleStatus struct {
	Role      keyfile.Role `json:"role"`
	Version   int64        `json:"version"`
	Expires   time.Time    `json:"expires"`
	Threshold int          `json:"threshold"`
	Keys      []string     `json:"keys"` // ids of those that may sign it
}

// DraftStatus is how a draft stands.
type DraftStatus struct {
	Role    keyfile.Role `json:"role"`
	Version int64        `json:"version"`
	Expires time.Time    `json:"expires"`
	Signed  []string     `json:"signed"`  // ids of the keys that have
	Missing int          `json:"missing"` // signatures, of those that the root in force then asks for
	Open    []string     `json:"open"`    // ids of the keys whose signature would count
	Before  int          `json:"before"`  // root: signatures missing of those that the root before asks for
}

// ReleaseStatus is how a release stands.
type ReleaseStatus struct {
	Counter   uint64         `json:"counter"`
	Version   string         `json:"version"`
	Platforms []string       `json:"platforms"`
	Files     int            `json:"files"`
	Bytes     int64          `json:"bytes"`
	Stage     release.Stage  `json:"stage"` // signed, in hundredths of a percent
	Halt      bool           `json:"halt"`
	Held      *release.Stage `json:"held,omitempty"` // by the key that is online
}

// Status says how the repository stands.
func (r *Repo) Status() (Status, error) {
	s := Status{Roles: []RoleStatus{}, Drafts: []DraftStatus{}}
	if by := r.newest(); by != nil {
		s.Roles = append(s.Roles, roleStatus(by, keyfile.Root, by.Signed.Version, by.Signed.Expires))
		if r.targets != nil {
			s.Roles = append(
				s.Roles, roleStatus(by, keyfile.Targets, r.targets.Signed.Version, r.targets.Signed.Expires),
				roleStatus(by, keyfile.Snapshot, r.snapshot.Signed.Version, r.snapshot.Signed.Expires),
				roleStatus(by, keyfile.Timestamp, r.timestamp.Signed.Version, r.timestamp.Signed.Expires),
			)
		}
	}
	if err := r.draftStatus(&s); err != nil {
		return s, err
	}
	hold, err := r.hold()
	if err != nil {
		return s, err
	}
	s.Releases, err = releasesOf(r.targets, hold)
	return s, err
}

func roleStatus(by *meta.Root, role keyfile.Role, version int64, expires time.Time) RoleStatus {
	x := by.Signed.Roles[string(role)]
	return RoleStatus{Role: role, Version: version, Expires: expires, Threshold: x.Threshold, Keys: x.KeyIDs}
}

func (r *Repo) draftStatus(s *Status) error {
	next, err := readDraft[metadata.RootType](r, metadata.ROOT, maxRoot)
	if err != nil {
		return err
	}
	if next != nil {
		d := draftOf(next, keyfile.Root, next, next.Signed.Expires)
		if before := r.newest(); before != nil {
			old := draftOf(before, keyfile.Root, next, next.Signed.Expires)
			d.Before = old.Missing
			d.Signed, d.Open = union(d.Signed, old.Signed), union(d.Open, old.Open)
		}
		s.Drafts = append(s.Drafts, d)
	}
	m, err := readDraft[metadata.TargetsType](r, metadata.TARGETS, maxTargets)
	if err != nil || m == nil {
		return err
	}
	by, err := r.inForce()
	if err != nil {
		return err
	}
	s.Drafts = append(s.Drafts, draftOf(by, keyfile.Targets, m, m.Signed.Expires))
	return nil
}

func draftOf[T metadata.Roles](by *meta.Root, role keyfile.Role, m *metadata.Metadata[T], expires time.Time) DraftStatus {
	signed := meta.Signers(by, string(role), m)
	x := by.Signed.Roles[string(role)]
	return DraftStatus{
		Role: role, Version: meta.Version(m), Expires: expires, Signed: signed, Missing: max(0, x.Threshold-len(signed)),
		Open: slices.DeleteFunc(slices.Clone(x.KeyIDs), func(id string) bool { return slices.Contains(signed, id) }),
	}
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// releasesOf lists the releases that m names, by counter.
func releasesOf(m *meta.Targets, hold release.Hold) ([]ReleaseStatus, error) {
	all, err := listed.Of(m)
	if err != nil {
		return nil, err
	}
	out := []ReleaseStatus{}
	for _, t := range all {
		if len(out) == 0 || out[len(out)-1].Counter != t.Signed.Counter {
			out = append(out, ReleaseStatus{Counter: t.Signed.Counter, Version: t.Signed.Version, Stage: t.Signed.Stage, Halt: t.Signed.Halt})
			if stage, held := hold[t.Signed.Counter]; held {
				out[len(out)-1].Held = &stage
			}
		}
		x := &out[len(out)-1]
		x.Files++
		x.Bytes += t.Length
		if p := program.Of(t.Signed); !slices.Contains(x.Platforms, p) {
			x.Platforms = append(x.Platforms, p)
		}
	}
	return out, nil
}

// onlineNotice is how long before it expires what the online machine renews several times a day is late.
const onlineNotice = 24 * time.Hour

// Expiring says of each piece of metadata that expires within that time from now when it does, the first one first. Snapshot and timestamp,
// which never last long, are said when they should have been renewed: a day before, or within that time if it is shorter.
func (s Status) Expiring(now time.Time, within time.Duration) []string {
	var due []RoleStatus
	for _, x := range s.Roles {
		notice := within
		if !x.Role.Offline() {
			notice = min(within, onlineNotice)
		}
		if x.Expires.Before(now.Add(notice)) {
			due = append(due, x)
		}
	}
	slices.SortFunc(due, func(a, b RoleStatus) int { return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.Role, b.Role)) })
	var out []string
	for _, x := range due {
		out = append(out, fmt.Sprintf("%s %d: %s", x.Role, x.Version, x.Expires.Format(time.RFC3339)))
	}
	return out
}
