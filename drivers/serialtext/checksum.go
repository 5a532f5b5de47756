package serialtext

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
	"strconv"

	"github.com/tidegate-io/tidegate/drivers/talker"
)

// An algorithm computes a checksum of size bytes. The CRCs are named as in the catalogue of parametrised CRC algorithms by G. Cook;
// their check values (of "123456789") stand in the test.
type algorithm struct {
	name string
	size int
	sum  func([]byte) uint32
}

var algorithms = []algorithm{
	{"xor", 1, func(b []byte) uint32 { return uint32(fold(b, func(a, c byte) byte { return a ^ c })) }}, // NMEA 0183
	{"sum8", 1, func(b []byte) uint32 { return uint32(fold(b, func(a, c byte) byte { return a + c })) }},
	{"neg8", 1, func(b []byte) uint32 { return uint32(-fold(b, func(a, c byte) byte { return a + c })) }}, // all bytes with it sum to 0
	{"crc8", 1, func(b []byte) uint32 { return crc(b, 8, 0x07, 0, false) }},                               // CRC-8/SMBUS
	{"crc8-maxim", 1, func(b []byte) uint32 { return crc(b, 8, 0x31, 0, true) }},                          // 1-Wire
	{"crc16-modbus", 2, func(b []byte) uint32 { return crc(b, 16, 0x8005, 0xffff, true) }},
	{"crc16-arc", 2, func(b []byte) uint32 { return crc(b, 16, 0x8005, 0, true) }},
	{"crc16-ccitt", 2, func(b []byte) uint32 { return crc(b, 16, 0x1021, 0xffff, false) }}, // CRC-16/IBM-3740, often called CCITT-FALSE
	{"crc16-xmodem", 2, func(b []byte) uint32 { return crc(b, 16, 0x1021, 0, false) }},
	{"crc32", 4, crc32.ChecksumIEEE},
}

func sumNames() []string {
	var out []string
	for _, a := range algorithms {
		out = append(out, a.name)
	}
	return out
}

func fold(b []byte, f func(a, c byte) byte) (out byte) {
	for _, c := range b {
		out = f(out, c)
	}
	return out
}

// crc computes a CRC of width bits (8 or 16); reflected = least significant bit first. poly is written the same way in both cases.
func crc(b []byte, width int, poly, start uint32, reflected bool) uint32 {
	reg := start
	for _, c := range b {
		if reflected {
			c = bits.Reverse8(c)
		}
		reg ^= uint32(c) << (width - 8)
		for range 8 {
			carry := reg >> (width - 1) & 1
			reg = reg<<1 ^ poly*carry
		}
	}
	if reg <<= 32 - width; reflected { // nothing but the register is left
		return bits.Reverse32(reg)
	}
	return reg >> (32 - width)
}

// A check verifies the checksum of frames.
type check struct {
	algorithm
	format string // "hex", "decimal" or "binary"
	little bool
	mark   string
	covers bool   // start and mark too
	start  string // of the frames
}

// newCheck returns the check that c asks for; nil = none.
func newCheck(c *Config) *check {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == c.Checksum.Type })
	if i < 0 {
		return nil
	}
	k := &check{algorithm: algorithms[i], format: cmp.Or(c.Checksum.Format, "hex"), little: c.Checksum.Order == "little"}
	k.covers = c.Checksum.CoversMarks
	k.mark, _ = unescape(c.Checksum.Mark) // Validate has seen to both
	k.start, _ = unescape(c.Start)
	return k
}

// verify returns text without mark and checksum. The text has lost its start already.
func (k *check) verify(text []byte) ([]byte, talker.Refusal) {
	body, written, bad := k.split(text)
	if bad != "" {
		return nil, bad
	}
	got, ok := k.parse(written)
	if !ok {
		return nil, talker.Refusal(fmt.Sprintf("%s: %s is no %s checksum of %d bytes: %s", talker.BadSum, talker.Excerpt(written), k.format, k.size, talker.Excerpt(text)))
	}
	covered := body
	if k.covers {
		covered = slices.Concat([]byte(k.start), body, []byte(k.mark))
	}
	if want := k.sum(covered); got != want {
		return nil, talker.Refusal(fmt.Sprintf("%s: got %0*x, want %0*x: %s", talker.BadSum, 2*k.size, got, 2*k.size, want, talker.Excerpt(text)))
	}
	return body, ""
}

func (k *check) split(text []byte) (body, written []byte, bad talker.Refusal) {
	if len(k.mark) > 0 {
		at := bytes.LastIndex(text, []byte(k.mark))
		if at < 0 {
			return nil, nil, talker.Refusal(fmt.Sprintf("%s: missing, no %+q in %s", talker.BadSum, k.mark, talker.Excerpt(text)))
		}
		return text[:at], text[at+len(k.mark):], ""
	}
	n := k.size
	if k.format == "hex" {
		n *= 2
	}
	if len(text) < n {
		return nil, nil, talker.Refusal(fmt.Sprintf("%s: missing, %d bytes are too few: %s", talker.BadSum, len(text), talker.Excerpt(text)))
	}
	return text[:len(text)-n], text[len(text)-n:], ""
}

// parse returns the checksum as it is written in b.
func (k *check) parse(b []byte) (sum uint32, ok bool) {
	switch k.format {
	case "decimal":
		v, err := strconv.ParseUint(string(b), 10, 8*k.size)
		return uint32(v), err == nil && talker.Digits(string(b)) == len(b)
	case "hex":
		raw, err := hex.DecodeString(string(b))
		if err != nil {
			return 0, false
		}
		b = raw
	}
	for i, c := range b {
		if k.little {
			sum |= uint32(c) << (8 * (i & 3))
		} else {
			sum = sum<<8 | uint32(c)
		}
	}
	return sum, len(b) == k.size
}
