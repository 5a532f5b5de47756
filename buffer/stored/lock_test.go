package stored

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/tidegate-io/tidegate/buffer/seal"
)

func lockKeys(t testing.TB) *seal.Keys {
	t.Helper()
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	k, err := seal.ParseKey(b)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := seal.New(&k)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

var lockedFrame = Frame{Epoch: 3, Class: 1, First: 10, Last: 12, Count: 30, T0: -1, T1: 1700000000000, Body: []byte("21.5 degC")}

func TestFrameIsSealed(t *testing.T) {
	keys := lockKeys(t)
	key := Segment{1, 3, 7}.FrameKey(10)
	for _, apart := range []bool{false, true} {
		want := lockedFrame
		want.Apart = apart
		clear := AppendFrame(nil, &want)
		b := Lock(keys, key, clear)
		if len(b) != len(clear)+seal.Overhead || bytes.Contains(b, []byte("21.5")) {
			t.Fatalf("sealed is %q, of %d bytes, want %d", b, len(b), len(clear)+seal.Overhead)
		}
		if again := Lock(keys, key, b); !bytes.Equal(again, b) {
			t.Error("what is sealed was sealed once more")
		}
		want.Sealed = keys.To()
		got, err := ParseFrame(b, keys)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		if _, err := ParseFrame(b, nil); !errors.Is(err, seal.ErrKey) || errors.Is(err, ErrDamaged) {
			t.Errorf("without the key: got %v, want ErrKey", err)
		}
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if got, err := ParseFrame(b, keys); !errors.Is(err, ErrDamaged) || errors.Is(err, seal.ErrKey) {
					t.Fatalf("bit %d of byte %d: got %+v, %v, want ErrDamaged", bit, i, got, err)
				}
				if i >= sumAt && i < HeaderSize {
					b[i] ^= 1 << bit
					continue
				}
				// Of somebody who makes the CRC fit, too, nothing comes through but what is no longer marked as sealed, which is no body then.
				sumFrame(b)
				got, err := ParseFrame(b, keys)
				if err == nil && (i != 3 || got.Sealed != 0 || bytes.Contains(got.Body, []byte("21.5"))) {
					t.Fatalf("bit %d of byte %d and the CRC: got %+v", bit, i, got)
				}
				if isID := i > HeaderSize && i <= HeaderSize+4; err != nil && errors.Is(err, seal.ErrKey) != isID {
					t.Fatalf("bit %d of byte %d and the CRC: got %v, of the key: %v", bit, i, err, isID)
				}
				b[i] ^= 1 << bit
				sumFrame(b)
			}
		}
		for i := range b {
			if _, err := ParseFrame(b[:i], keys); !errors.Is(err, ErrDamaged) {
				t.Fatalf("cut to %d bytes: got %v, want ErrDamaged", i, err)
			}
		}
	}
}

// TestSealedFrameIsNoOther: a sealed body behind the header of another frame is damage, whichever field differs.
func TestSealedFrameIsNoOther(t *testing.T) {
	keys := lockKeys(t)
	b := Lock(keys, Segment{1, 3, 7}.FrameKey(10), AppendFrame(nil, &lockedFrame))
	for name, change := range map[string]func(*Frame){
		"epoch": func(f *Frame) { f.Epoch++ },
		"class": func(f *Frame) { f.Class++ },
		"first": func(f *Frame) { f.First-- },
		"last":  func(f *Frame) { f.Last++ },
		"count": func(f *Frame) { f.Count++ },
		"t0":    func(f *Frame) { f.T0++ },
		"t1":    func(f *Frame) { f.T1++ },
		"apart": func(f *Frame) { f.Apart = true },
	} {
		f := lockedFrame
		change(&f)
		other := Lock(keys, Segment{1, 3, 7}.FrameKey(10), AppendFrame(nil, &f))
		moved := append(bytes.Clone(other[:HeaderSize]), b[HeaderSize:]...)
		sumFrame(moved)
		if got, err := ParseFrame(moved, keys); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %+v, %v, want ErrDamaged", name, got, err)
		}
	}
}

func TestSealedValues(t *testing.T) {
	keys := lockKeys(t)
	rule, aside := MetaKey(MetaRule, "hot"), RejectedKey("a", 1, 2)
	for _, key := range [][]byte{rule, aside} {
		value := Seal([]byte("21.5 degC"))
		b := Lock(keys, key, value)
		if len(b) != len(value)+Overhead || bytes.Contains(b, []byte("21.5")) {
			t.Fatalf("sealed is %q, of %d bytes, want %d", b, len(b), len(value)+Overhead)
		}
		if again := Lock(keys, key, b); !bytes.Equal(again, b) {
			t.Error("what is sealed was sealed once more")
		}
		if got, err := Unlock(keys, key, b); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("got %q, %v", got, err)
		}
		if id, err := LockedWith(key, b); id != keys.To() || err != nil {
			t.Errorf("sealed with %s, %v", id, err)
		}
		if _, err := Unlock(nil, key, b); !errors.Is(err, seal.ErrKey) || errors.Is(err, ErrDamaged) {
			t.Errorf("without the key: got %v, want ErrKey", err)
		}
		for _, other := range [][]byte{MetaKey(MetaRule, "cold"), RejectedKey("a", 1, 3), RejectedKey("b", 1, 2)} {
			if got, err := Unlock(keys, other, b); !errors.Is(err, ErrDamaged) {
				t.Errorf("under %q: got %q, %v, want ErrDamaged", other, got, err)
			}
		}
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				got, err := Unlock(keys, key, b)
				if err == nil {
					_, err = Unseal("value", got) // its version was flipped: it is taken for one in the clear
				}
				if !errors.Is(err, ErrDamaged) || errors.Is(err, seal.ErrKey) {
					t.Fatalf("bit %d of byte %d: got %q, %v, want ErrDamaged", bit, i, got, err)
				}
				b[i] ^= 1 << bit
			}
			if _, err := LockedWith(key, b[:i]); i > 0 && !errors.Is(err, ErrDamaged) {
				t.Fatalf("cut to %d bytes: got %v, want ErrDamaged", i, err)
			}
		}
	}
	for _, key := range [][]byte{MetaKey(MetaPosition, ""), MetaKey(MetaCursor, "rule"), MetaKey(MetaEpoch, EpochName(1)), Segment{1, 1, 1}.Key(KeyIndex)} {
		value := Seal([]byte("x"))
		if b := Lock(keys, key, value); !bytes.Equal(b, value) {
			t.Errorf("under %q: %q was sealed", key, b)
		}
	}
	if b := Lock(nil, rule, Seal([]byte("x"))); !bytes.Equal(b, Seal([]byte("x"))) {
		t.Errorf("sealed without a key: %q", b)
	}
}

// TestIndexOfSealed: how it is stored, and that one frame after the other is counted.
func TestIndexOfSealed(t *testing.T) {
	f := lockedFrame
	f.Sealed = 0xca2413df
	x := Index{}.With(&f, 100)
	f.First, f.Last = 13, 15
	x = x.With(&f, 100)
	if x.Frames != 2 || x.Sealed != f.Sealed {
		t.Errorf("got %+v", x)
	}
	if got := hex.EncodeToString(x.Encode()); got != "0108dfa790d10c023cc8010180a0abfef962010a059dcbeca6" {
		t.Errorf("encoded as %s", got)
	}
	got, err := DecodeIndex(x.Encode())
	if err != nil || !reflect.DeepEqual(got, x) {
		t.Errorf("got %+v, %v, want %+v", got, err, x)
	}
}

// sealedVectors are a stored frame that another program made (see package seal), sealed in both ways: all versions of ours have to read it.
var sealedVectors = []string{
	"0101000200000003000000000000000a000000000000000c0000001effffffffffffffff0000018bcfe568005f1473a001ca2413df404142434445464748494a4b4c4d4e4f50515253545556575e016ed4ab6700b948c458b3283d8f9e0cafed229f27a9822d",
	"0101000200000003000000000000000a000000000000000c0000001effffffffffffffff0000018bcfe568002ec450d202ca2413df404142434445464748494a4b4c4d4e4f5051525354555657580161d4e0d4b7be74e7bba8f0f6b1032f9656edfb44edaac4",
}

func TestSealedVectors(t *testing.T) {
	want := lockedFrame
	want.Sealed = lockKeys(t).To()
	for _, v := range sealedVectors {
		b, err := hex.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseFrame(b, lockKeys(t)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// FuzzSealed gives any bytes, with a CRC that fits and without, to the decoder of frames and of sealed values: of what is sealed nothing comes out but what was
// sealed, and nothing panics.
func FuzzSealed(f *testing.F) {
	keys := lockKeys(f)
	key := MetaKey(MetaRule, "hot")
	for _, v := range sealedVectors {
		b, err := hex.DecodeString(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(Lock(keys, key, Seal([]byte("21.5 degC"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		for range 2 {
			fr, err := ParseFrame(b, keys)
			if err == nil && fr.Sealed != 0 {
				clear := fr
				clear.Sealed = 0
				if want := lockedFrame; !reflect.DeepEqual(clear, want) {
					t.Fatalf("got %+v, which nobody sealed", fr)
				}
			}
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, seal.ErrKey) {
				t.Fatalf("frame: got %v", err)
			}
			v, err := Unlock(keys, key, b)
			if err == nil && len(b) > 0 && b[0] == lockedVersion && string(v) != string(Seal([]byte("21.5 degC"))) {
				t.Fatalf("got %q, which nobody sealed", v)
			}
			if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, seal.ErrKey) {
				t.Fatalf("value: got %v", err)
			}
			if len(b) < HeaderSize {
				return
			}
			sumFrame(b)
		}
	})
}
