// Package meta is the metadata of TUF for who signs it: it reads and writes pieces strictly, signs them, and says who has. It is the door of
// go-tuf on the side of the publisher and knows no repository.
package meta

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/program"
)

// Pieces of metadata.
type (
	Root      = metadata.Metadata[metadata.RootType]
	Timestamp = metadata.Metadata[metadata.TimestampType]
	Snapshot  = metadata.Metadata[metadata.SnapshotType]
	Targets   = metadata.Metadata[metadata.TargetsType]
)

// What is refused, by name.
var (
	ErrSignatures = errors.New("not enough signatures")
	ErrKey        = errors.New("not a key of this role")
	ErrDraft      = errors.New("draft")
	ErrExpired    = errors.New("expired")
)

// Render returns the only bytes that stand for m.
func Render[T metadata.Roles](m *metadata.Metadata[T]) ([]byte, error) {
	b, err := m.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("write metadata: %w", err)
	}
	return append(b, '\n'), nil
}

// Parse reads what Render wrote, and nothing else: no other order, spelling or field that signatures do not cover.
func Parse[T metadata.Roles](body []byte) (*metadata.Metadata[T], error) {
	if err := checkNulls(body); err != nil {
		return nil, err
	}
	m, err := new(metadata.Metadata[T]).FromBytes(body)
	if err != nil {
		return nil, err
	}
	if again, err := Render(m); err != nil || !bytes.Equal(again, body) {
		return nil, errors.New("got bytes that this program would not have written")
	}
	if r, ok := any(m).(*Root); ok {
		if err := checkRoles(r); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// checkRoles wants each role to be there, and each key that it names.
func checkRoles(r *Root) error {
	for _, role := range keyfile.Roles() {
		x := r.Signed.Roles[string(role)]
		if x == nil {
			return fmt.Errorf("got no role %s", role)
		}
		for _, id := range x.KeyIDs {
			if r.Signed.Keys[id] == nil {
				return fmt.Errorf("got no key %.64q of role %s", id, role)
			}
		}
	}
	return nil
}

// checkNulls refuses nulls, at some of which the library would panic.
func checkNulls(body []byte) error {
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		t, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case t == nil:
			return errors.New("got a null")
		}
	}
}

// Version returns that of m.
func Version[T metadata.Roles](m *metadata.Metadata[T]) int64 {
	switch s := any(&m.Signed).(type) {
	case *metadata.RootType:
		return s.Version
	case *metadata.TargetsType:
		return s.Version
	case *metadata.SnapshotType:
		return s.Version
	case *metadata.TimestampType:
		return s.Version
	}
	return 0
}

// Sign adds the key's signature to m in the place of an older one.
func Sign[T metadata.Roles](m *metadata.Metadata[T], key *keyfile.Private) error {
	signer, err := signature.LoadED25519Signer(key.Secret())
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	m.Signatures = slices.DeleteFunc(m.Signatures, func(s metadata.Signature) bool { return s.KeyID == key.ID })
	if _, err := m.Sign(signer); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}

// Signers returns which of the role's keys in r have signed m.
func Signers[T metadata.Roles](r *Root, role string, m *metadata.Metadata[T]) []string {
	var out []string
	for _, id := range r.Signed.Roles[role].KeyIDs {
		if SignedBy(r.Signed.Keys[id], id, m) {
			out = append(out, id)
		}
	}
	return out
}

// Enough wants m to have the signatures that r asks for.
func Enough[T metadata.Roles](r *Root, role string, m *metadata.Metadata[T]) error {
	err := r.VerifyDelegate(role, m)
	if err == nil {
		return nil
	}
	if got, want := len(Signers(r, role, m)), r.Signed.Roles[role].Threshold; got < want {
		return fmt.Errorf("%w: got %d, want %d", ErrSignatures, got, want)
	}
	return fmt.Errorf("%w: %w", ErrSignatures, err)
}

// SignedBy asks the library about one key at a time: it says no more than yes or no about a role.
func SignedBy[T metadata.Roles](key *metadata.Key, id string, m *metadata.Metadata[T]) bool {
	one := metadata.Root()
	one.Signed.Keys = map[string]*metadata.Key{id: key}
	one.Signed.Roles[metadata.TARGETS] = &metadata.Role{KeyIDs: []string{id}, Threshold: 1}
	return one.VerifyDelegate(metadata.TARGETS, m) == nil
}

// CheckRoot wants next to be version n, signed as it asks for itself and as the one before asks for, which may be nil.
func CheckRoot(next, before *Root, n int64) error {
	if next.Signed.Version != n {
		return fmt.Errorf("got version %d, want %d", next.Signed.Version, n)
	}
	if !next.Signed.ConsistentSnapshot {
		return errors.New("got no consistent snapshots")
	}
	if before != nil {
		if err := Enough(before, metadata.ROOT, next); err != nil {
			return fmt.Errorf("by the keys before: %w", err)
		}
	}
	return Enough(next, metadata.ROOT, next)
}

// A Signature is one person's, made on a machine of their own.
type Signature struct {
	Role    keyfile.Role `json:"role"`
	Version int64        `json:"version"`
	KeyID   string       `json:"keyid"`
	Sig     string       `json:"sig"` // hex
}

// SignDetached signs the bytes of a draft and returns what Attach takes.
func SignDetached(draft []byte, key *keyfile.Private) (Signature, error) {
	switch key.Role {
	case keyfile.Root:
		return detached[metadata.RootType](draft, key)
	case keyfile.Targets:
		return detached[metadata.TargetsType](draft, key)
	}
	return Signature{}, fmt.Errorf("sign: %w: got a %s key, want one of root or targets; `publish` uses the others", ErrKey, key.Role)
}

func detached[T metadata.Roles](draft []byte, key *keyfile.Private) (Signature, error) {
	m, err := Parse[T](draft)
	if err != nil {
		return Signature{}, fmt.Errorf("sign: %w: want the draft of a %s.json for a %s key: %w", ErrDraft, key.Role, key.Role, err)
	}
	if err := Sign(m, key); err != nil {
		return Signature{}, err
	}
	last := m.Signatures[len(m.Signatures)-1]
	return Signature{Role: key.Role, Version: Version(m), KeyID: key.ID, Sig: last.Signature.String()}, nil
}

// Copy returns a copy that shares nothing.
func Copy[T metadata.Roles](m *metadata.Metadata[T]) (*metadata.Metadata[T], error) {
	body, err := Render(m)
	if err != nil {
		return nil, err
	}
	return Parse[T](body)
}

// Link names a piece of metadata by all that binds it.
func Link(version int64, body []byte) *metadata.MetaFiles {
	d := program.Digest(body)
	h, _ := hex.DecodeString(d.SHA256) // it was encoded just now
	h2, _ := hex.DecodeString(d.SHA512)
	return &metadata.MetaFiles{Version: version, Length: d.Length, Hashes: metadata.Hashes{"sha256": h, "sha512": h2}}
}

// Chain wants all to be signed as by asks for.
func Chain(by *Root, stamp *Timestamp, snap *Snapshot, now *Targets) error {
	if err := Enough(by, metadata.TIMESTAMP, stamp); err != nil {
		return fmt.Errorf("timestamp %d: %w", stamp.Signed.Version, err)
	}
	if err := Enough(by, metadata.SNAPSHOT, snap); err != nil {
		return fmt.Errorf("snapshot %d: %w", snap.Signed.Version, err)
	}
	if err := Enough(by, metadata.TARGETS, now); err != nil {
		return fmt.Errorf("targets %d: %w", now.Signed.Version, err)
	}
	return nil
}
