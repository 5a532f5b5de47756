package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// A Key is 32 bytes that nobody may know. It prints as its ID.
type Key struct{ secret [32]byte }

// An ID names a key without telling it: 32 bits of a hash of it, never 0, which stands for none.
type ID uint32

// String returns id as 8 hexadecimal digits.
func (id ID) String() string { return fmt.Sprintf("%08x", uint32(id)) }

// errNoKey is the error of ParseKey, which must not tell what it was given.
var errNoKey = errors.New("not 32 random bytes: as they are, as 64 hexadecimal digits or in base64")

// ParseKey reads a key: 32 bytes as they are, or in one line as 64 hexadecimal digits or in base64 (RFC 4648, both alphabets, with padding or
// without). Errors never hold any of it.
func ParseKey(text []byte) (k Key, err error) {
	b := text
	if len(text) != len(k.secret) {
		if b, err = decode(string(bytes.TrimSpace(text))); err != nil || len(b) != len(k.secret) {
			return Key{}, fmt.Errorf("%d bytes, %w", len(text), errNoKey)
		}
	} else if !bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return Key{}, fmt.Errorf("32 characters that can be typed, %w", errNoKey)
	}
	if bytes.Count(b, b[:1]) == len(b) {
		return Key{}, fmt.Errorf("one byte %d times, %w", len(b), errNoKey)
	}
	copy(k.secret[:], b)
	return k, nil
}

func decode(s string) ([]byte, error) {
	if len(s) == hex.EncodedLen(len(Key{}.secret)) {
		return hex.DecodeString(s)
	}
	for _, e := range [...]*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding} {
		if b, err := e.Strict().DecodeString(s); err == nil {
			return b, nil
		}
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// ID returns the name of k.
func (k *Key) ID() ID {
	return max(ID(binary.BigEndian.Uint32(k.derive("id", 4))), 1)
}

// derive returns n bytes that are good for one use of k, and tell nothing of k or of another use.
func (k *Key) derive(use string, n int) []byte {
	b, err := hkdf.Key(sha256.New, k.secret[:], nil, "tidegate buffer "+use, n)
	if err != nil {
		panic(err) // n is below 255 hashes
	}
	return b
}

// Format prints the ID, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.ID().String())
}
