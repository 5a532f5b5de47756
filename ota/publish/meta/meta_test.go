package meta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
)

// soon is when the metadata of the tests expire.
var soon = time.Date(2027, 11, 28, 12, 0, 0, 0, time.UTC)

// made returns a root and its keys, three of root and targets, one of the others.
func made(t *testing.T) (*Root, map[keyfile.Role][]*keyfile.Private) {
	t.Helper()
	m, keys := metadata.Root(soon), map[keyfile.Role][]*keyfile.Private{}
	for _, role := range keyfile.Roles() {
		n := 1
		if role.Offline() {
			n, m.Signed.Roles[string(role)].Threshold = 3, 2
		}
		for range n {
			k, err := keyfile.New(role)
			if err := errors.Join(err, AddKey(m, k.Public)); err != nil {
				t.Fatal(err)
			}
			keys[role] = append(keys[role], k)
		}
	}
	if err := CheckKeys(m, soon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	return m, keys
}

func bytesOf[T metadata.Roles](t *testing.T, m *metadata.Metadata[T]) []byte {
	t.Helper()
	b, err := Render(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestParse wants what is written to be read as it was, and nothing that differs by a byte or has a null, at some of which the library panics.
func TestParse(t *testing.T) {
	root, keys := made(t)
	if err := Sign(root, keys[keyfile.Root][0]); err != nil {
		t.Fatal(err)
	}
	now := metadata.Targets(soon)
	custom := json.RawMessage(`{"a":1}`)
	now.Signed.Targets["x"] = &metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": make([]byte, 32)}, Custom: &custom}
	snap, stamp := metadata.Snapshot(soon), metadata.Timestamp(soon)
	snap.Signed.Meta["targets.json"] = Link(1, []byte("x"))
	for name, x := range map[string]struct {
		body  []byte
		parse func([]byte) ([]byte, error)
	}{
		"root": {bytesOf(t, root), again[metadata.RootType]}, "targets": {bytesOf(t, now), again[metadata.TargetsType]},
		"snapshot": {bytesOf(t, snap), again[metadata.SnapshotType]}, "timestamp": {bytesOf(t, stamp), again[metadata.TimestampType]},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := x.parse(x.body); err != nil || !bytes.Equal(got, x.body) {
				t.Fatalf("got %s, %v, want %s", got, err, x.body)
			}
			var tree map[string]any
			if err := json.Unmarshal(x.body, &tree); err != nil {
				t.Fatal(err)
			}
			text := string(x.body)
			bad := append(nulled(t, tree, tree), []byte(text[1:]), []byte(text[:len(text)-1]), []byte(text+"\n"), []byte(" "+text), []byte(strings.Replace(text, "version", "Version", 1)),
				[]byte(strings.Replace(text, `"version":1`, `"version":1,"version":1`, 1)), []byte(strings.Replace(text, `"version":1`, `"version":1.0`, 1)), []byte(strings.Replace(text, `:`, `: `, 1)), nil)
			for _, b := range bad {
				if _, err := x.parse(b); err == nil {
					t.Errorf("%s was read", b)
				}
			}
			if name != "root" {
				if _, err := again[metadata.RootType](x.body); err == nil {
					t.Error("it was read as a root")
				}
			}
		})
	}
}

func again[T metadata.Roles](b []byte) ([]byte, error) {
	m, err := Parse[T](b)
	if err != nil {
		return nil, err
	}
	m, err = Copy(m)
	if err != nil {
		return nil, err
	}
	return Render(m)
}

// nulled returns tree with null in the place of each value of sub in turn, which is in it.
func nulled(t *testing.T, tree, sub map[string]any) [][]byte {
	t.Helper()
	var out [][]byte
	for k, v := range sub {
		sub[k] = nil
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, append(b, '\n'))
		sub[k] = v
		if below, ok := v.(map[string]any); ok {
			out = append(out, nulled(t, tree, below)...)
		}
	}
	return out
}

func TestRootWithoutARole(t *testing.T) {
	root, _ := made(t)
	delete(root.Signed.Roles, "snapshot")
	if _, err := Parse[metadata.RootType](bytesOf(t, root)); err == nil || err.Error() != "got no role snapshot" {
		t.Errorf("got %v", err)
	}
}

// TestRootWithoutAKey names a key that is not there: the library would panic.
func TestRootWithoutAKey(t *testing.T) {
	root, keys := made(t)
	id := keys[keyfile.Targets][0].ID
	delete(root.Signed.Keys, id)
	if _, err := Parse[metadata.RootType](bytesOf(t, root)); err == nil || err.Error() != `got no key "`+id+`" of role targets` {
		t.Errorf("got %v", err)
	}
}

// TestEnough counts signatures as gateways do: of different keys that the role has.
func TestEnough(t *testing.T) {
	root, keys := made(t)
	people := keys[keyfile.Targets]
	now := metadata.Targets(soon)
	for i, x := range []struct {
		key  *keyfile.Private
		have int
	}{{people[0], 1}, {people[0], 1}, {keys[keyfile.Root][0], 1}, {keys[keyfile.Timestamp][0], 1}, {people[2], 2}, {people[1], 3}} {
		if err := Sign(now, x.key); err != nil {
			t.Fatal(err)
		}
		err := Enough(root, "targets", now)
		if got := len(Signers(root, "targets", now)); got != x.have || (err == nil) != (x.have >= 2) || err != nil && !errors.Is(err, ErrSignatures) {
			t.Errorf("signature %d: got %d of 2, %v, want %d", i, got, err, x.have)
		}
	}
	if n := len(now.Signatures); n != 5 {
		t.Errorf("got %d signatures, want each key's once", n)
	}
	now.Signed.Version++
	if got := Signers(root, "targets", now); len(got) != 0 {
		t.Errorf("after a change: got %v, want none", got)
	}
}

// TestOneOnlineKeyIsEnough wants the roles that machines sign for to ask for one signature, whatever wrote the root.
func TestOneOnlineKeyIsEnough(t *testing.T) {
	for _, role := range []keyfile.Role{keyfile.Snapshot, keyfile.Timestamp} {
		for _, threshold := range []int{0, 2} {
			root, _ := made(t)
			root.Signed.Roles[string(role)].Threshold = threshold
			want := fmt.Sprintf("%s: got 1 keys and threshold %d, want a key and threshold 1", role, threshold)
			if err := CheckKeys(root, soon.Add(-time.Hour)); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
}

func TestCheckRoot(t *testing.T) {
	first, keys := made(t)
	people := keys[keyfile.Root]
	for _, k := range people[:2] {
		if err := Sign(first, k); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckRoot(first, nil, 1); err != nil {
		t.Fatal(err)
	}
	second, err := Copy(first)
	if err != nil {
		t.Fatal(err)
	}
	second.ClearSignatures()
	second.Signed.Version = 2
	fresh, err := keyfile.New(keyfile.Root)
	if err := errors.Join(err, RemoveKey(second, people[0].ID), AddKey(second, fresh.Public), Sign(second, fresh), Sign(second, people[1])); err != nil {
		t.Fatal(err)
	}
	if err := CheckRoot(second, first, 2); !errors.Is(err, ErrSignatures) || !strings.HasPrefix(err.Error(), "by the keys before: ") {
		t.Errorf("one key of before: got %v", err)
	}
	if err := Sign(second, people[0]); err != nil { // he may not any more, but he could before
		t.Fatal(err)
	}
	if err := CheckRoot(second, first, 2); err != nil {
		t.Errorf("got %v", err)
	}
	if err := CheckRoot(second, first, 3); err == nil {
		t.Error("version 2 passes for 3")
	}
	own, err := Copy(second)
	if err != nil {
		t.Fatal(err)
	}
	own.ClearSignatures()
	if err := errors.Join(Sign(own, people[0]), Sign(own, people[1])); err != nil {
		t.Fatal(err)
	}
	if err := CheckRoot(own, first, 2); !errors.Is(err, ErrSignatures) {
		t.Errorf("one key of its own: got %v", err)
	}
	second.Signed.ConsistentSnapshot = false
	if err := CheckRoot(second, first, 2); err == nil || err.Error() != "got no consistent snapshots" {
		t.Errorf("no consistent snapshots: got %v", err)
	}
}

// TestChain wants each piece to be signed.
func TestChain(t *testing.T) {
	root, keys := made(t)
	for _, unsigned := range []keyfile.Role{"", keyfile.Timestamp, keyfile.Snapshot, keyfile.Targets} {
		stamp, snap, now := metadata.Timestamp(soon), metadata.Snapshot(soon), metadata.Targets(soon)
		var err error
		if unsigned != keyfile.Timestamp {
			err = Sign(stamp, keys[keyfile.Timestamp][0])
		}
		if unsigned != keyfile.Snapshot {
			err = errors.Join(err, Sign(snap, keys[keyfile.Snapshot][0]))
		}
		for _, k := range keys[keyfile.Targets] {
			if unsigned != keyfile.Targets {
				err = errors.Join(err, Sign(now, k))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		err = Chain(root, stamp, snap, now)
		if unsigned == "" && err != nil || unsigned != "" && (!errors.Is(err, ErrSignatures) || !strings.HasPrefix(err.Error(), string(unsigned)+" 1: ")) {
			t.Errorf("without signatures of %q: got %v", unsigned, err)
		}
	}
}

// FuzzParse wants any bytes to be refused or to be what is written again, and nobody to have signed them.
func FuzzParse(f *testing.F) {
	t := &testing.T{}
	root, _ := made(t)
	now := metadata.Targets(soon)
	custom := json.RawMessage(`{"a":1}`)
	now.Signed.Targets["x"] = &metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": make([]byte, 32)}, Custom: &custom}
	f.Add(bytesOf(t, root))
	f.Add(bytesOf(t, now))
	f.Add(bytesOf(t, metadata.Snapshot(soon)))
	f.Add(bytesOf(t, metadata.Timestamp(soon)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := Parse[metadata.TargetsType](b); err == nil && (!bytes.Equal(bytesOf(t, m), b) || Enough(root, "targets", m) == nil) {
			t.Fatalf("%s is signed", b)
		}
		if m, err := Parse[metadata.SnapshotType](b); err == nil && Enough(root, "snapshot", m) == nil {
			t.Fatalf("%s is signed", b)
		}
		if m, err := Parse[metadata.TimestampType](b); err == nil && Enough(root, "timestamp", m) == nil {
			t.Fatalf("%s is signed", b)
		}
		if m, err := Parse[metadata.RootType](b); err == nil && CheckRoot(m, root, 2) == nil {
			t.Fatalf("%s is signed", b)
		}
	})
}
