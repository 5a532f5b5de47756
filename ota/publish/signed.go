package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
)

func readFile[T metadata.Roles](path string, limit int) (*metadata.Metadata[T], error) {
	body, err := durable.ReadFile(path, int64(limit))
	if err != nil {
		return nil, err
	}
	m, err := meta.Parse[T](body)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return m, nil
}

// readDraft returns a draft, nil where there is none or where it was published already.
func readDraft[T metadata.Roles](r *Repo, kind string, limit int) (*metadata.Metadata[T], error) {
	m, err := readFile[T](r.draft(kind+".json"), limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	published := int64(0)
	switch {
	case kind == metadata.ROOT && r.newest() != nil:
		published = r.newest().Signed.Version
	case kind == metadata.TARGETS && r.targets != nil:
		published = r.targets.Signed.Version
	}
	if meta.Version(m) <= published { // a cut came before it was removed
		return nil, nil
	}
	return m, nil
}

func writeDraft[T metadata.Roles](r *Repo, kind string, m *metadata.Metadata[T], limit int) error {
	b, err := meta.Render(m)
	if err != nil {
		return err
	}
	if len(b) > limit {
		return fmt.Errorf("%s: %w: got %d bytes, want at most %d; --keep fewer releases", kind, ErrTooLong, len(b), limit)
	}
	return durable.WriteFile(r.draft(kind+".json"), b, 0o644)
}

// Sign adds the key's signature to the draft of its role.
func (r *Repo) Sign(key *keyfile.Private) error {
	body, err := r.Draft(key.Role)
	if err != nil {
		return err
	}
	s, err := meta.SignDetached(body, key)
	if err != nil {
		return err
	}
	return r.Attach(s)
}

// Draft returns the bytes of a draft that is to be signed.
func (r *Repo) Draft(role keyfile.Role) ([]byte, error) {
	if !role.Offline() {
		return nil, fmt.Errorf("%w: %s is signed by `publish` and `refresh`, without one", ErrDraft, role)
	}
	body, err := durable.ReadFile(r.draft(string(role)+".json"), maxTargets)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is none of %s to be signed", ErrDraft, role)
	}
	return body, err
}

// Attach adds a signature to the draft that it is of.
func (r *Repo) Attach(s meta.Signature) error {
	in, err := r.inForce()
	if err != nil {
		return err
	}
	switch s.Role {
	case keyfile.Root:
		return attach[metadata.RootType](r, s, maxRoot, in, r.newest())
	case keyfile.Targets:
		return attach[metadata.TargetsType](r, s, maxTargets, in)
	}
	return fmt.Errorf("%w: got a signature of %q, want root or targets", ErrKey, s.Role)
}

// attach adds s to its draft; the keys that roots name for the role may sign.
func attach[T metadata.Roles](r *Repo, s meta.Signature, limit int, roots ...*meta.Root) error {
	m, err := readDraft[T](r, string(s.Role), limit)
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("%w: there is none of %s to be signed", ErrDraft, s.Role)
	}
	if s.Version != meta.Version(m) {
		return fmt.Errorf("%w: the signature is of version %d of %s, the draft is version %d", ErrDraft, s.Version, s.Role, meta.Version(m))
	}
	var sig metadata.HexBytes
	if quoted, err := json.Marshal(s.Sig); err != nil || json.Unmarshal(quoted, &sig) != nil {
		return fmt.Errorf("%w: got a signature that is no hex", ErrSignatures)
	}
	for _, by := range roots {
		if by == nil || !slices.Contains(by.Signed.Roles[string(s.Role)].KeyIDs, s.KeyID) {
			continue
		}
		m.Signatures = slices.DeleteFunc(m.Signatures, func(x metadata.Signature) bool { return x.KeyID == s.KeyID })
		m.Signatures = append(m.Signatures, metadata.Signature{KeyID: s.KeyID, Signature: sig})
		slices.SortFunc(m.Signatures, func(a, b metadata.Signature) int { return bytes.Compare([]byte(a.KeyID), []byte(b.KeyID)) })
		if !meta.SignedBy(by.Signed.Keys[s.KeyID], s.KeyID, m) {
			return fmt.Errorf("%w: the signature of key %s does not fit the draft: it was made of other bytes", ErrSignatures, s.KeyID)
		}
		return writeDraft(r, string(s.Role), m, limit)
	}
	return fmt.Errorf("%w: key %s may not sign %s", ErrKey, s.KeyID, s.Role)
}
