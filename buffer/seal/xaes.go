package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// An xaes is a key of XAES-256-GCM, c2sp.org/XAES-256-GCM.
type xaes struct {
	block cipher.Block
	k1    [aes.BlockSize]byte // of CMAC, NIST SP 800-38B section 6.1
}

// newXAES takes a key of 32 bytes.
func newXAES(key []byte) (*xaes, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &xaes{block: b}
	b.Encrypt(x.k1[:], x.k1[:])
	high := x.k1[0] >> 7
	for i := range x.k1 {
		x.k1[i] <<= 1
		if i+1 < len(x.k1) {
			x.k1[i] |= x.k1[i+1] >> 7
		}
	}
	x.k1[len(x.k1)-1] ^= 0b10000111 * high
	return x, nil
}

// derive returns AES-256-GCM under the key that the first half of a nonce of 24 bytes makes, and the other half, which is its nonce.
func (x *xaes) derive(nonce []byte) (cipher.AEAD, []byte) {
	key := make([]byte, 0, 2*aes.BlockSize)
	for counter := range byte(2) {
		m := append([]byte{0, counter + 1, 'X', 0}, nonce[:12]...)
		subtle.XORBytes(m, m, x.k1[:])
		x.block.Encrypt(m, m)
		key = append(key, m...)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	aead, err := cipher.NewGCM(b)
	if err != nil {
		panic(err) // the block has 16 bytes
	}
	return aead, nonce[12:]
}
