package stored

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tidegate-io/tidegate/buffer/seal"
)

// lockedVersion begins a small value that is sealed; others begin with version.
const lockedVersion = 2

// Overhead is how many bytes more a value takes that is locked.
const Overhead = seal.Overhead + 1 + 4

// isSecret reports whether the value under key holds readings, or what was made of them: a frame, what a rule keeps, records set aside.
func isSecret(key []byte) bool {
	if key[0] == KeyMeta {
		word, _ := ParseMeta(key)
		return word == MetaRule
	}
	return key[0] == KeyFrame || key[0] == KeyRejected
}

// Lock returns value, a frame of AppendFrame or another value before Bind, as it is stored under key: sealed, where it is secret and keys has one to
// seal with and it is not sealed yet. A frame is bound to its header by that (number, class, epoch, count and times), another value to its key.
func Lock(keys *seal.Keys, key, value []byte) []byte {
	isFrame := key[0] == KeyFrame
	if keys.To() == 0 || !isSecret(key) || isFrame && value[3]&markSealed != 0 || !isFrame && value[0] == lockedVersion {
		return value
	}
	if isFrame {
		b := append(make([]byte, 0, len(value)+seal.Overhead), value[:HeaderSize]...)
		b[3] |= markSealed
		b = keys.Seal(b, value[HeaderSize:], b[:sumAt])
		sumFrame(b)
		return b
	}
	b := append(make([]byte, 0, len(value)+Overhead), lockedVersion)
	b = keys.Seal(b, value, key)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Unlock returns the value that Lock made b of, which is no frame; one in the clear is returned as it is. Errors wrap seal.ErrKey where keys lacks the key, else
// ErrDamaged.
func Unlock(keys *seal.Keys, key, b []byte) ([]byte, error) {
	id, err := LockedWith(key, b)
	if id == 0 || err != nil {
		return b, err
	}
	value, err := keys.Open(b[1:len(b)-4], key)
	if err != nil {
		return nil, fmt.Errorf("value under key %q: %w", key, damagedUnless(err))
	}
	return value, nil
}

// LockedWith returns the key that b, which is no frame and is stored under key, is sealed with; 0 = none. Errors wrap ErrDamaged.
func LockedWith(key, b []byte) (seal.ID, error) {
	if !isSecret(key) || len(b) == 0 || b[0] != lockedVersion {
		return 0, nil
	}
	n := len(b) - 4
	if n < 1 || binary.BigEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return 0, fmt.Errorf("value of %d bytes under key %q: CRC is wrong: %w", len(b), key, ErrDamaged)
	}
	id, err := seal.SealedWith(b[1:n])
	if err != nil {
		return 0, fmt.Errorf("value under key %q: %w", key, damagedUnless(err))
	}
	return id, nil
}

// damagedUnless makes err wrap ErrDamaged, unless a key is missing.
func damagedUnless(err error) error {
	if errors.Is(err, seal.ErrKey) {
		return err
	}
	return fmt.Errorf("%w: %w", err, ErrDamaged)
}
