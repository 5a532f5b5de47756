package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/strict"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// day is when tests happen, unless they say otherwise; metadata are good for a year from then on.
var day = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	root      = metadata.ROOT
	timestamp = metadata.TIMESTAMP
	snapshot  = metadata.SNAPSHOT
	targets   = metadata.TARGETS
)

// A key signs. Its ID is its name, as none of a real repository would be.
type key struct {
	id      string
	private ed25519.PrivateKey
}

func newKey(name string) key {
	seed := sha256.Sum256([]byte(name))
	return key{id: hex.EncodeToString([]byte(name)), private: ed25519.NewKeyFromSeed(seed[:])}
}

func newKeys(name string, n int) (out []key) {
	for i := range n {
		out = append(out, newKey(name+strconv.Itoa(i)))
	}
	return out
}

func (k key) public() *metadata.Key {
	public := hex.EncodeToString(k.private.Public().(ed25519.PublicKey))
	return &metadata.Key{Type: "ed25519", Scheme: "ed25519", Value: metadata.KeyVal{PublicKey: public}}
}

// A repo is a Source whose owner is the test: it holds what would be signed next, by whom, and what is served.
type repo struct {
	t         testing.TB
	root      metadata.RootType
	timestamp metadata.TimestampType
	snapshot  metadata.SnapshotType
	targets   metadata.TargetsType
	signers   map[string][]key
	served    map[string][]byte // by name
	asked     []string
	fault     func(name string) error // nil = all is well
}

// newRepo has version 1 of everything, with one file: root and targets are signed by two of three, the others by one.
func newRepo(t testing.TB) *repo {
	year := day.AddDate(1, 0, 0)
	r := &repo{
		t: t, signers: map[string][]key{}, served: map[string][]byte{},
		root:      metadata.Root(year).Signed,
		timestamp: metadata.Timestamp(year).Signed,
		snapshot:  metadata.Snapshot(year).Signed,
		targets:   metadata.Targets(year).Signed,
	}
	r.root.Version, r.timestamp.Version, r.snapshot.Version, r.targets.Version = 0, 0, 0, 0
	for role, n := range map[string]int{root: 3, targets: 3, timestamp: 1, snapshot: 1} {
		r.grant(role, (n+1)/2, newKeys(role, n)...)
		r.signers[role] = r.signers[role][:(n+1)/2]
	}
	r.add("linux-arm64", []byte("program one"))
	r.publish(root, targets, snapshot, timestamp)
	return r
}

// grant gives a role to these keys and no other, and they sign for it.
func (r *repo) grant(role string, threshold int, keys ...key) {
	r.root.Roles[role] = &metadata.Role{KeyIDs: []string{}, Threshold: threshold}
	for _, k := range keys {
		r.root.Roles[role].KeyIDs = append(r.root.Roles[role].KeyIDs, k.id)
		r.root.Keys[k.id] = k.public()
	}
	r.signers[role] = keys
}

// add puts a file into the targets.
func (r *repo) add(name string, body []byte) *metadata.TargetFiles {
	h256, h512 := sha256.Sum256(body), sha512.Sum512(body)
	custom := json.RawMessage(`{"counter":1}`)
	r.targets.Targets[name] = &metadata.TargetFiles{
		Length: int64(len(body)), Hashes: metadata.Hashes{"sha256": h256[:], "sha512": h512[:]}, Custom: &custom,
	}
	return r.targets.Targets[name]
}

// publish raises the versions of roles, signs and serves them, in that order. Targets and snapshot are named in what stands above them; that has
// to be published then, to say so.
func (r *repo) publish(roles ...string) {
	r.t.Helper()
	for _, role := range roles {
		version, _ := r.state(role)
		*version++
		r.serve(role)
	}
}

func (r *repo) state(role string) (version *int64, signed any) {
	switch role {
	case root:
		return &r.root.Version, &r.root
	case timestamp:
		return &r.timestamp.Version, &r.timestamp
	case snapshot:
		return &r.snapshot.Version, &r.snapshot
	}
	return &r.targets.Version, &r.targets
}

// serve signs a role as it is.
func (r *repo) serve(role string) {
	r.t.Helper()
	version, signed := r.state(role)
	r.put(role, *version, r.sign(signed, r.signers[role]...))
}

// put serves bytes as a role's, and has them named above.
func (r *repo) put(role string, version int64, raw []byte) {
	h256, h512 := sha256.Sum256(raw), sha512.Sum512(raw)
	named := &metadata.MetaFiles{Length: int64(len(raw)), Version: version, Hashes: metadata.Hashes{"sha256": h256[:], "sha512": h512[:]}}
	switch role {
	case snapshot:
		r.timestamp.Meta["snapshot.json"] = named
	case targets:
		r.snapshot.Meta["targets.json"] = named
	}
	r.served[r.name(role, version)] = raw
}

func (r *repo) name(role string, version int64) string {
	if role == timestamp || role != root && !r.root.ConsistentSnapshot {
		return role + ".json"
	}
	return strconv.FormatInt(version, 10) + "." + role + ".json"
}

// sign writes and signs. All that tests write is ASCII: so the canonical form that TUF signs is that of RFC 8785.
func (r *repo) sign(signed any, keys ...key) []byte {
	r.t.Helper()
	body, err := json.Marshal(signed)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.signRaw(body, body, keys...)
}

// signRaw signs one body and serves another one, which is said to mean the same.
func (r *repo) signRaw(body, shown []byte, keys ...key) []byte {
	r.t.Helper()
	payload, err := strict.Canonical(body)
	if err != nil {
		r.t.Fatal(err)
	}
	signatures := []string{}
	for _, k := range keys {
		signatures = append(signatures, fmt.Sprintf(`{"keyid":%q,"sig":"%x"}`, k.id, ed25519.Sign(k.private, payload)))
	}
	return fmt.Appendf(nil, `{"signatures":[%s],"signed":%s}`, strings.Join(signatures, ","), shown)
}

// Metadata serves whatever is there, however long it is: a Source need not be honest.
func (r *repo) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	r.asked = append(r.asked, name)
	if r.fault != nil {
		if err := r.fault(name); err != nil {
			return nil, err
		}
	}
	b, ok := r.served[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, ErrMissing)
	}
	return b, nil
}

// A gateway is who trusts: a folder and what its program has pinned.
type gateway struct {
	t      testing.TB
	dir    string
	pinned []byte
	source *repo
	now    time.Time
	damage []error
	last   Trusted
}

func newGateway(t testing.TB, r *repo) *gateway {
	return &gateway{t: t, dir: tmpfs.Dir(t), pinned: r.served["1.root.json"], source: r, now: day}
}

// refresh starts the program anew and goes through a cycle.
func (g *gateway) refresh() error {
	g.source.asked = nil
	t, err := Open(g.dir, g.pinned)
	if err != nil {
		return err
	}
	g.last, err = t.Refresh(context.Background(), g.source, g.now)
	g.damage = t.Damage()
	return err
}

func (g *gateway) file(role string) string { return filepath.Join(g.dir, "tuf", role+".json") }

// holds returns the versions in the cache; 0 = none.
func (g *gateway) holds() (v Versions) {
	for role, to := range map[string]*int64{root: &v.Root, timestamp: &v.Timestamp, snapshot: &v.Snapshot, targets: &v.Targets} {
		b, err := os.ReadFile(g.file(role))
		if os.IsNotExist(err) {
			continue
		}
		var m struct{ Signed struct{ Version int64 } }
		if err := json.Unmarshal(b, &m); err != nil {
			g.t.Fatal(err)
		}
		*to = m.Signed.Version
	}
	return v
}

func (g *gateway) wantHeld(want Versions) {
	g.t.Helper()
	if got := g.holds(); got != want {
		g.t.Errorf("got versions %+v in the cache, want %+v", got, want)
	}
}

// wantGood goes through a cycle that finds these versions.
func (g *gateway) wantGood(want Versions) {
	g.t.Helper()
	if err := g.refresh(); err != nil {
		g.t.Fatalf("got %v, want a good cycle", err)
	}
	if g.last.Versions != want {
		g.t.Fatalf("got versions %+v, want %+v", g.last.Versions, want)
	}
	g.wantHeld(want)
}

// wantRefused goes through a cycle that ends with an error and leaves these versions.
func (g *gateway) wantRefused(name error, want Versions) {
	g.t.Helper()
	if err := g.refresh(); !errors.Is(err, name) {
		g.t.Fatalf("got error %v, want %v", err, name)
	}
	g.wantHeld(want)
}

// wantAsked says which files the last cycle asked for.
func (g *gateway) wantAsked(want ...string) {
	g.t.Helper()
	if !slices.Equal(g.source.asked, want) {
		g.t.Errorf("asked for %q, want %q", g.source.asked, want)
	}
}

// tree returns all files below the gateway's folder.
func (g *gateway) tree() map[string][]byte {
	g.t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(g.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, g.dir+"/")] = b
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

// clone is another gateway in the same state.
func (g *gateway) clone() *gateway {
	g.t.Helper()
	c := *g
	c.dir = tmpfs.Dir(g.t)
	for name, body := range g.tree() {
		c.write(name, body)
	}
	return &c
}

func (g *gateway) write(name string, body []byte) {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// frozen keeps what is served now, for an attacker to serve it later.
func (r *repo) frozen() *repo {
	c := *r
	c.served = maps.Clone(r.served)
	return &c
}

// edit changes served bytes.
func (r *repo) edit(name, from, to string) {
	r.t.Helper()
	b := r.served[name]
	if bytes.Count(b, []byte(from)) != 1 {
		r.t.Fatalf("%s has %q %d times: %s", name, from, bytes.Count(b, []byte(from)), b)
	}
	r.served[name] = bytes.Replace(b, []byte(from), []byte(to), 1)
}

// digests are the SHA-256 and SHA-512 of a file.
func digests(b []byte) [2]string {
	h256, h512 := sha256.Sum256(b), sha512.Sum512(b)
	return [2]string{hex.EncodeToString(h256[:]), hex.EncodeToString(h512[:])}
}

func canonical(t testing.TB, b []byte) []byte {
	t.Helper()
	out, err := strict.Canonical(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
