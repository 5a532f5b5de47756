// Package keyfile keeps the keys that sign releases: Ed25519, one key a file, for one role of TUF. A private key lies in a file that a
// passphrase encrypts (age with scrypt, as text); those of snapshot and timestamp may lie there plain, as a machine uses them that nobody
// sits at. Its public half lies beside it in FILE.pub.
package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// A Role is what a key signs.
type Role string

// The roles of TUF.
const (
	Root      Role = "root"
	Targets   Role = "targets"
	Snapshot  Role = "snapshot"
	Timestamp Role = "timestamp"
)

// Roles are all of them.
func Roles() []Role { return []Role{Root, Targets, Snapshot, Timestamp} }

// Offline reports whether people sign with the keys of r, on machines that have no network.
func (r Role) Offline() bool { return r == Root || r == Targets }

func (r Role) check() error {
	for _, x := range Roles() {
		if r == x {
			return nil
		}
	}
	return fmt.Errorf("got role %q, want root, targets, snapshot or timestamp", r)
}

// A Public is the public half of a key.
type Public struct {
	Role Role   `json:"role"`
	ID   string `json:"keyid"`  // TUF's: SHA-256 of the key's canonical JSON, in hex
	Key  string `json:"public"` // 32 bytes in hex
}

// A Private is a key that signs. Nothing prints its secret.
type Private struct {
	Public
	key ed25519.PrivateKey
}

// String returns the public half.
func (p *Private) String() string { return fmt.Sprintf("%s key %s", p.Role, p.ID) }

// GoString returns the public half.
func (p *Private) GoString() string { return p.String() }

// MarshalJSON returns the public half.
func (p *Private) MarshalJSON() ([]byte, error) { return json.Marshal(p.Public) }

// secret is what lies in the file.
type secret struct {
	Public
	Seed string `json:"seed"` // 32 bytes in hex (RFC 8032 section 5.1.5)
}

// Longest file that is read, shortest passphrase that is taken for a new one, and the most work that decrypting one may be: 2^20 is four
// times what New asks for, and 1 GiB of memory.
const (
	maxFile       = 64 << 10
	minPassphrase = 12
	maxWork       = 20
)

// Work is how much it is to try one passphrase: 2^Work rounds of scrypt, about a second.
const Work = 18

// What key files are refused for.
var (
	ErrPassphrase = errors.New("wrong passphrase")
	ErrOpen       = errors.New("key file that others can read")
	ErrPlain      = errors.New("key file that is not encrypted")
	ErrExists     = errors.New("there is one already")
)

// New makes a key and returns what signs.
func New(role Role) (*Private, error) {
	if err := role.check(); err != nil {
		return nil, err
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return &Private{Public: of(role, public), key: key}, nil
}

func of(role Role, key ed25519.PublicKey) Public {
	h := hex.EncodeToString(key)
	id := sha256.Sum256(fmt.Appendf(nil, `{"keytype":"ed25519","keyval":{"public":"%s"},"scheme":"ed25519"}`, h))
	return Public{Role: role, ID: hex.EncodeToString(id[:]), Key: h}
}

// Sign returns the signature of text.
func (p *Private) Sign(text []byte) []byte { return ed25519.Sign(p.key, text) }

// Secret returns the key itself, for libraries that sign.
func (p *Private) Secret() ed25519.PrivateKey { return p.key }

// Write makes path, which may not exist, for its owner only, and path.pub. Without a passphrase the key lies there plain, which is refused
// for roles that are offline. work is Work but in tests.
func (p *Private) Write(path string, passphrase []byte, work int) error {
	for _, f := range []string{path, path + ".pub"} {
		if _, err := os.Lstat(f); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("write key: %s: %w; keys are never written over", f, ErrExists)
		}
	}
	body, err := json.Marshal(secret{p.Public, hex.EncodeToString(p.key.Seed())})
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	body = append(body, '\n')
	if passphrase == nil && p.Role.Offline() {
		return fmt.Errorf("write key: %w: a %s key is always encrypted", ErrPlain, p.Role)
	}
	if passphrase != nil {
		if body, err = encrypt(body, passphrase, work); err != nil {
			return fmt.Errorf("write key: %w", err)
		}
	}
	public, err := json.Marshal(p.Public)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	if err := durable.WriteFile(path, body, 0o600); err != nil {
		return err
	}
	return durable.WriteFile(path+".pub", append(public, '\n'), 0o644)
}

func encrypt(body, passphrase []byte, work int) ([]byte, error) {
	if len(passphrase) < minPassphrase {
		return nil, fmt.Errorf("got a passphrase of %d characters, want at least %d", len(passphrase), minPassphrase)
	}
	to, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	to.SetWorkFactor(work)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(body)
	err = errors.Join(err, w.Close(), text.Close()) // in this order, and before the bytes are looked at
	return out.Bytes(), err
}

// Read returns the key in a file. passphrase is asked where the file is encrypted.
func Read(path string, passphrase func() ([]byte, error)) (*Private, error) {
	p, err := read(path, passphrase)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return p, nil
}

func read(path string, passphrase func() ([]byte, error)) (*Private, error) {
	body, mode, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	if mode&0o077 != 0 {
		return nil, fmt.Errorf("%w: mode %04o; chmod 600 it, and make a new key if somebody may have read it", ErrOpen, mode)
	}
	encrypted := strings.HasPrefix(string(body), armor.Header)
	if encrypted {
		phrase, err := passphrase()
		if err != nil {
			return nil, err
		}
		if body, err = decrypt(body, phrase); err != nil {
			return nil, err
		}
	}
	var s secret
	if err := decode(body, &s); err != nil {
		return nil, fmt.Errorf("%w; want a file that `tidegate-release keys new` wrote", err)
	}
	if s.Role.Offline() && !encrypted {
		return nil, fmt.Errorf("%w: a %s key always is; make a new key, as this one may have been read", ErrPlain, s.Role)
	}
	seed, err := hex.DecodeString(s.Seed)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("got no seed of %d bytes", ed25519.SeedSize)
	}
	key := ed25519.NewKeyFromSeed(seed)
	public := of(s.Role, key.Public().(ed25519.PublicKey))
	if public != s.Public {
		return nil, errors.New("its secret is that of another key")
	}
	return &Private{Public: public, key: key}, s.Role.check()
}

func decrypt(body, passphrase []byte) ([]byte, error) {
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	id.SetMaxWorkFactor(maxWork)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(body)), id)
	if wrong := (*age.NoIdentityMatchError)(nil); errors.As(err, &wrong) {
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	return out, nil
}

// ReadPublic returns the public half of a key, from its .pub.
func ReadPublic(path string) (p Public, err error) {
	body, _, err := readBounded(path)
	if err != nil {
		return Public{}, fmt.Errorf("read public key: %w", err)
	}
	if strings.HasPrefix(string(body), armor.Header) {
		return Public{}, fmt.Errorf("read public key %s: it is a private one; its public half is %s.pub", path, path)
	}
	if err := decode(body, &p); err != nil {
		return Public{}, fmt.Errorf("read public key %s: %w; want a .pub that `tidegate-release keys new` wrote", path, err)
	}
	key, err := hex.DecodeString(p.Key)
	if err != nil || len(key) != ed25519.PublicKeySize || of(p.Role, key) != p {
		return Public{}, fmt.Errorf("read public key %s: key and keyid do not belong together", path)
	}
	if err := p.Role.check(); err != nil {
		return Public{}, fmt.Errorf("read public key %s: %w", path, err)
	}
	return p, nil
}

// decode reads one JSON object with no other fields than those of out.
func decode(body []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return errors.New("got no key") // the cause might quote a secret
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("got something behind the key")
	}
	return nil
}

func readBounded(path string) ([]byte, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = fmt.Errorf("%s: got more than %d bytes", path, maxFile)
	}
	return body, s.Mode().Perm(), err
}
