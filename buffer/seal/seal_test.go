package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testKey(t testing.TB, first byte) *Key {
	t.Helper()
	b := make([]byte, 32)
	for i := range b {
		b[i] = first + byte(i)
	}
	k, err := ParseKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return &k
}

// keysOf returns keys that seal in the way of kind.
func keysOf(t testing.TB, kind byte, to *Key, old ...Key) *Keys {
	t.Helper()
	k, err := New(to, old...)
	if err != nil {
		t.Fatal(err)
	}
	k.kind = kind
	return k
}

// TestXAES: vectors of c2sp.org/XAES-256-GCM, of which the first has the highest bit of L clear, the second set.
func TestXAES(t *testing.T) {
	for _, v := range []struct {
		key        byte
		with, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		x, err := newXAES(bytes.Repeat([]byte{v.key}, 32))
		if err != nil {
			t.Fatal(err)
		}
		aead, nonce := x.derive([]byte("ABCDEFGHIJKLMNOPQRSTUVWX"))
		if got := hex.EncodeToString(aead.Seal(nil, nonce, []byte("XAES-256-GCM"), []byte(v.with))); got != v.want {
			t.Errorf("got %s, want %s", got, v.want)
		}
	}
}

// vectors are sealed texts that another program made (HKDF, AES-GCM and ChaCha20-Poly1305 of Python's cryptography, HChaCha20 by hand): all versions of
// ours, on all machines, have to open them.
var vectors = []string{
	"01ca2413df404142434445464748494a4b4c4d4e4f50515253545556575e016ed4ab6700b94857d82990bfb7a5ff760ca4b8d73a1a03",
	"02ca2413df404142434445464748494a4b4c4d4e4f5051525354555657580161d4e0d4b7be749ac4a595472b1a9c9635cc77b7a10c3f",
}

func TestVectors(t *testing.T) {
	k := keysOf(t, kindAES, testKey(t, 0))
	if got := k.To().String(); got != "ca2413df" {
		t.Errorf("the key is called %s, want ca2413df", got)
	}
	for _, v := range vectors {
		b, err := hex.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := k.Open(b, []byte("m|rule|hot"))
		if err != nil || string(got) != "21.5 degC" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

// TestComesBackElseNothing: every bit of what is sealed, of what it is bound to and of its length counts.
func TestComesBackElseNothing(t *testing.T) {
	for _, kind := range []byte{kindAES, kindChaCha} {
		for _, text := range []string{"", "21.5 degC", strings.Repeat("x", 100)} {
			k := keysOf(t, kind, testKey(t, 0))
			with := []byte("place")
			b := k.Seal([]byte("before"), []byte(text), with)
			if string(b[:6]) != "before" || len(b) != 6+len(text)+Overhead {
				t.Fatalf("got %d bytes, %q", len(b), b[:6])
			}
			b = b[6:]
			if id, err := SealedWith(b); id != k.To() || err != nil || b[0] != kind {
				t.Errorf("sealed with %s in way %d, %v; want %s, %d", id, b[0], err, k.To(), kind)
			}
			if got, err := k.Open(b, with); err != nil || string(got) != text {
				t.Fatalf("got %q, %v, want %q", got, err, text)
			}
			for i := range b {
				for bit := range 8 {
					b[i] ^= 1 << bit
					got, err := k.Open(b, with)
					if !errors.Is(err, ErrChanged) && !(i >= 1 && i < headSize && errors.Is(err, ErrKey)) {
						t.Fatalf("bit %d of byte %d: got %q, %v", bit, i, got, err)
					}
					b[i] ^= 1 << bit
				}
				if got, err := k.Open(b[:i], with); !errors.Is(err, ErrChanged) {
					t.Fatalf("cut to %d bytes: got %q, %v", i, got, err)
				}
			}
			for _, other := range []string{"", "plac", "Place", "place "} {
				if got, err := k.Open(b, []byte(other)); !errors.Is(err, ErrChanged) {
					t.Errorf("in the place of %q: got %q, %v", other, got, err)
				}
			}
		}
	}
}

func TestKeysThatOnlyOpen(t *testing.T) {
	a, b := testKey(t, 1), testKey(t, 2)
	with := []byte("place")
	first := keysOf(t, kindAES, a).Seal(nil, []byte("text"), with)
	both := keysOf(t, kindChaCha, b, *a)
	if got, err := both.Open(first, with); err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
	if id, _ := SealedWith(both.Seal(nil, nil, nil)); id != b.ID() || both.To() != id {
		t.Errorf("sealed with %s, want the new key %s", id, b.ID())
	}
	if got, err := keysOf(t, kindAES, b).Open(first, with); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), a.ID().String()) {
		t.Errorf("without the old key: got %q, %v, want ErrKey with the name of it", got, err)
	}
	off := keysOf(t, kindAES, nil, *a)
	if got, err := off.Open(first, with); err != nil || off.To() != 0 || string(got) != "text" {
		t.Errorf("switched off: got %q, %v, seals with %s", got, err, off.To())
	}
	var none *Keys
	if _, err := none.Open(first, with); !errors.Is(err, ErrKey) || none.To() != 0 || none.String() != "none" || !none.Has(0) || none.Has(a.ID()) {
		t.Errorf("no keys: got %v", err)
	}
	if k, err := New(a, *b, *a); err != nil || k.To() != a.ID() || len(k.IDs()) != 2 {
		t.Errorf("a key that stands there twice: got %s, %v", k, err)
	}
	for _, c := range []struct {
		a, b *Keys
		same bool
	}{
		{none, off, false},
		{off, keysOf(t, kindAES, a), false},
		{both, keysOf(t, kindAES, b, *a), true},
		{both, keysOf(t, kindAES, a, *b), false},
		{none, keysOf(t, kindAES, nil), true},
	} {
		if c.a.Same(c.b) != c.same || c.b.Same(c.a) != c.same {
			t.Errorf("%s with %s and %s with %s are the same: want %v", c.a, c.a.To(), c.b, c.b.To(), c.same)
		}
	}
}

// TestTwoKeysOfOneName: it is looked for by its name what something is sealed with.
func TestTwoKeysOfOneName(t *testing.T) {
	var a, b Key // found among 2^17
	binary.BigEndian.PutUint64(a.secret[:], 32614)
	binary.BigEndian.PutUint64(b.secret[:], 137757)
	if keys, err := New(&a, b); err == nil || a.ID() != 0x5204bcd4 || b.ID() != a.ID() {
		t.Errorf("two keys are called %s and %s, got %s, want an error", a.ID(), b.ID(), keys)
	}
}

// TestNonces: they are random, all of their bits, and the bound that package seal states holds for numbers of texts that no gateway comes to.
func TestNonces(t *testing.T) {
	k := keysOf(t, kindAES, testKey(t, 0))
	const n = 4096
	seen := map[string]bool{}
	var ones [8 * nonceSize]int
	for range n {
		nonce := k.Seal(nil, nil, nil)[headSize : headSize+nonceSize]
		if seen[string(nonce)] {
			t.Fatal("a nonce came twice")
		}
		seen[string(nonce)] = true
		for i := range ones {
			ones[i] += int(nonce[i/8] >> (i % 8) & 1)
		}
	}
	for i, got := range ones { // a fair bit is 10 standard deviations off once in 10^23
		if sigma := math.Sqrt(n) / 2; math.Abs(float64(got)-n/2) > 10*sigma {
			t.Errorf("bit %d is set %d times of %d", i, got, n)
		}
	}
	century := 1000 * 100 * 366 * 86400.0 // texts, a thousand a second
	if century > math.Exp2(42) || 2*80-8*nonceSize-1 != -33 {
		t.Errorf("the bound is not as the comment at kinds says: %g texts", century)
	}
}

func TestParseKey(t *testing.T) {
	raw := bytes.Repeat([]byte{0xa5, 0x01, 0xfe, 0x80}, 8)
	want, err := ParseKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)) + "\n", base64.StdEncoding.EncodeToString(raw) + "\r\n", " " + base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	} {
		if got, err := ParseKey([]byte(s)); err != nil || got != want {
			t.Errorf("%q: got %s, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "\n", string(raw[:31]), string(raw) + "\n", hex.EncodeToString(raw[:31]), hex.EncodeToString(raw) + "00", hex.EncodeToString(raw)[:63] + "g", hex.EncodeToString(raw[:16]),
		base64.StdEncoding.EncodeToString(raw[:31]), base64.StdEncoding.EncodeToString(append(raw, 1)), strings.Repeat("\x00", 32), strings.Repeat("ab", 32), "correct horse battery staple 123",
	} {
		got, err := ParseKey([]byte(s))
		if !errors.Is(err, errNoKey) || got != (Key{}) {
			t.Errorf("%q: got %s, %v, want an error", s, got, err)
		}
		if len(s) > 8 && err != nil && strings.Contains(err.Error(), s[:8]) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
}

// TestKeysDoNotShow: however a key, or what holds one, gets into a text, the key does not.
func TestKeysDoNotShow(t *testing.T) {
	k := testKey(t, 0)
	copy(k.secret[:], "ABCDEFGHIJ") // so that it would show as text too
	keys := keysOf(t, kindAES, k)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", *k, "pointer", k, "keys", keys)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", *k, "pointer", k, "keys", keys)
	for _, v := range []any{*k, k, []Key{*k}, struct{ K Key }{*k}, keys} {
		fmt.Fprintf(&log, "%v %+v %#v %s %q %x %d\n", v, v, v, v, v, v, v)
	}
	text := log.String()
	for _, secret := range []string{string(k.secret[:8]), hex.EncodeToString(k.secret[:8]), "65 66 67", "0x41, 0x42", base64.StdEncoding.EncodeToString(k.secret[:9])} {
		if strings.Contains(text, secret) {
			t.Errorf("it shows as %q in %s", secret, text)
		}
	}
	if !strings.Contains(text, k.ID().String()) {
		t.Errorf("it has no name in %s", text)
	}
}

func TestAnythingComesBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		k := keysOf(t, rapid.SampledFrom([]byte{kindAES, kindChaCha}).Draw(r, "kind"), testKey(t, rapid.ByteRange(128, 255).Draw(r, "key")))
		text, with := rapid.SliceOf(rapid.Byte()).Draw(r, "text"), rapid.SliceOf(rapid.Byte()).Draw(r, "with")
		got, err := k.Open(k.Seal(nil, text, with), with)
		if err != nil || !bytes.Equal(got, text) {
			r.Fatalf("got %x, %v, want %x", got, err, text)
		}
	})
}

// FuzzOpen gives any bytes to Open: nothing that Seal did not make comes out, and nothing panics. The corpus holds both kinds.
func FuzzOpen(f *testing.F) {
	k := keysOf(f, kindAES, testKey(f, 0))
	for _, v := range vectors {
		b, err := hex.DecodeString(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "m|rule|hot")
	}
	f.Fuzz(func(t *testing.T, b []byte, with string) {
		text, err := k.Open(b, []byte(with))
		switch {
		case err == nil && string(text) == "21.5 degC" && with == "m|rule|hot" && (hex.EncodeToString(b) == vectors[0] || hex.EncodeToString(b) == vectors[1]):
		case err == nil:
			t.Fatalf("%x opened as %q", b, text)
		case !errors.Is(err, ErrChanged) && !errors.Is(err, ErrKey):
			t.Fatalf("got %v, want ErrChanged or ErrKey", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, kind := range []byte{kindAES, kindChaCha} {
		for _, size := range []int{200, 40 << 10, 200 << 10} {
			b.Run(fmt.Sprintf("%s/%d", map[byte]string{kindAES: "aes", kindChaCha: "chacha"}[kind], size), func(b *testing.B) {
				k := keysOf(b, kind, testKey(b, 0))
				text, dst := make([]byte, size), make([]byte, 0, size+Overhead)
				b.SetBytes(int64(size))
				for b.Loop() {
					dst = k.Seal(dst[:0], text, nil)
				}
			})
		}
	}
}
