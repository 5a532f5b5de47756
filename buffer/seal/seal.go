// Package seal encrypts and authenticates what the store keeps of readings (AEAD), under keys that rotate. It knows no store and does no I/O.
// buffer/README.md says what is sealed, and what that is good for.
package seal

import (
	"cmp"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sys/cpu"
)

// ErrKey is wrapped where the key that something is sealed with is missing.
var ErrKey = errors.New("no key for it")

// ErrChanged is wrapped where a key fits and yet does not open what is sealed: it was changed, or stands in the place of something else.
var ErrChanged = errors.New("not what was sealed")

// Overhead is how many bytes more than its text something sealed has.
const Overhead = headSize + nonceSize + tagSize

// A sealed text is its head {kind u8, id u32 big-endian}, nonce, cipher text and authentication code. The kind says how it was made, so that a store
// moves between machines.
const (
	headSize  = 1 + 4
	nonceSize = 24
	tagSize   = 16
)

// Kinds. Both take nonces of 192 bits, which are drawn at random for each text: there is no counter that a crash or a restored backup could turn
// back. Of n texts under one key two have the same nonce with a probability below n^2 / 2^193: 2^-33 for 2^80 of them. A gateway that sealed a thousand
// a second would need a hundred years for 2^42.
const (
	kindAES    byte = 1 // XAES-256-GCM, c2sp.org/XAES-256-GCM: AES-256-GCM (NIST SP 800-38D) under a key made for each nonce
	kindChaCha byte = 2 // XChaCha20-Poly1305, as golang.org/x/crypto/chacha20poly1305 has it
)

// Keys are the key that is sealed with and those that only open. They are safe for concurrent use and do not change. A nil *Keys has none.
type Keys struct {
	to   *ways
	kind byte
	from map[ID]*ways
}

// ways are both kinds of one key.
type ways struct {
	key    Key
	id     ID
	aes    *xaes
	chacha cipher.AEAD
}

// New returns keys that seal with to and open what was sealed with to or one of old; nil = what is written stays in the clear.
// The error says that two different ones have one ID.
func New(to *Key, old ...Key) (*Keys, error) {
	k := &Keys{kind: kindChaCha, from: map[ID]*ways{}}
	if hasAES() {
		k.kind = kindAES
	}
	if to != nil {
		old = slices.Concat([]Key{*to}, old)
	}
	for i, x := range old {
		id := x.ID()
		if before := k.from[id]; before != nil && before.key != x {
			return nil, fmt.Errorf("two different keys go by the name %s", id)
		} else if before != nil {
			continue
		}
		w, err := x.ways()
		if err != nil {
			return nil, err
		}
		k.from[id] = w
		if i == 0 && to != nil {
			k.to = w
		}
	}
	return k, nil
}

// hasAES reports whether this machine works AES-GCM out in hardware, and Go lets it. Without that ChaCha20-Poly1305 is faster, and how long it takes tells
// nothing of the key.
func hasAES() bool {
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ
	case "arm64":
		return cpu.ARM64.HasAES && cpu.ARM64.HasPMULL
	}
	return false
}

// To returns the key that is sealed with; zero = what is written stays in the clear.
func (k *Keys) To() ID {
	if k == nil || k.to == nil {
		return 0
	}
	return k.to.id
}

// Has reports whether what is sealed with id can be opened. Nothing is needed for what is in the clear, 0.
func (k *Keys) Has(id ID) bool {
	return id == 0 || k != nil && k.from[id] != nil
}

// Same reports whether k and other hold the same, the same one to seal with.
func (k *Keys) Same(other *Keys) bool {
	return k.To() == other.To() && slices.Equal(k.IDs(), other.IDs())
}

// IDs returns the keys, rising.
func (k *Keys) IDs() []ID {
	if k == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(k.from))
}

// String names the keys by their IDs.
func (k *Keys) String() string {
	var names []string
	for _, id := range k.IDs() {
		names = append(names, id.String())
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

// Seal appends the sealed text to dst. with is what Open has to be given too: where it stands, so that it is worth nothing elsewhere. There must be a key to seal
// with. text and dst must not overlap.
func (k *Keys) Seal(dst, text, with []byte) []byte {
	dst = slices.Grow(dst, len(text)+Overhead)
	dst = append(dst, k.kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(k.To()))
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	dst = append(dst, nonce[:]...)
	return k.to.seal(dst, k.kind, nonce[:], text, with)
}

// SealedWith returns the key that b is sealed with, which may be any bytes: the error wraps ErrChanged where they cannot be sealed.
func SealedWith(b []byte) (ID, error) {
	if len(b) < Overhead {
		return 0, fmt.Errorf("sealed text has %d bytes, at least %d: %w", len(b), Overhead, ErrChanged)
	}
	id := ID(binary.BigEndian.Uint32(b[1:]))
	if kind := b[0]; kind != kindAES && kind != kindChaCha || id == 0 {
		return 0, fmt.Errorf("sealed in way %d with key %s, ways are %d and %d: %w", kind, id, kindAES, kindChaCha, ErrChanged)
	}
	return id, nil
}

// Open returns the text that Seal made b of, as a slice of its own. Errors wrap ErrKey or ErrChanged.
func (k *Keys) Open(b, with []byte) ([]byte, error) {
	id, err := SealedWith(b)
	if err != nil {
		return nil, err
	}
	if !k.Has(id) {
		return nil, fmt.Errorf("sealed with key %s, there is %s: %w", id, k, ErrKey)
	}
	text, err := k.from[id].open(b[0], b[headSize:headSize+nonceSize], b[headSize+nonceSize:], with)
	if err != nil {
		return nil, fmt.Errorf("sealed with key %s: %w", id, ErrChanged)
	}
	return text, nil
}

func (w *ways) seal(dst []byte, kind byte, nonce, text, with []byte) []byte {
	if kind == kindAES {
		aead, rest := w.aes.derive(nonce)
		return aead.Seal(dst, rest, text, with)
	}
	return w.chacha.Seal(dst, nonce, text, with)
}

func (w *ways) open(kind byte, nonce, b, with []byte) ([]byte, error) {
	dst := make([]byte, 0, len(b)-tagSize)
	if kind == kindAES {
		aead, rest := w.aes.derive(nonce)
		return aead.Open(dst, rest, b, with)
	}
	return w.chacha.Open(dst, nonce, b, with)
}

// ways makes both kinds of key, each with a key of its own (HKDF-SHA-256, RFC 5869).
func (k *Key) ways() (*ways, error) {
	a, err := newXAES(k.derive("aes", chacha20poly1305.KeySize))
	if err != nil {
		return nil, err
	}
	c, err := chacha20poly1305.NewX(k.derive("chacha", chacha20poly1305.KeySize))
	if err != nil {
		return nil, err
	}
	return &ways{key: *k, id: k.ID(), aes: a, chacha: c}, nil
}
