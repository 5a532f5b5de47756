package registers

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// encode is the independent encoder: it writes the big-endian bytes of a number and then permutes them as the letters of the
// table in doc.go say.
func encode(t *rapid.T, typ, order string, bits uint64) []byte {
	letters := map[string]map[int]string{
		"ABCD": {1: "AB", 2: "ABCD", 4: "ABCDEFGH"},
		"CDAB": {1: "AB", 2: "CDAB", 4: "GHEFCDAB"},
		"BADC": {1: "BA", 2: "BADC", 4: "BADCFEHG"},
		"DCBA": {1: "BA", 2: "DCBA", 4: "HGFEDCBA"},
	}
	width, err := strconv.Atoi(strings.TrimLeft(typ, "uintfloa"))
	if err != nil {
		t.Fatal(err)
	}
	big := binary.BigEndian.AppendUint64(nil, bits)[8-width/8:]
	out := make([]byte, len(big))
	for i, c := range letters[order][width/16] {
		out[i] = big[c-'A']
	}
	return out
}

func TestDecodeAllTypesAndOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ := rapid.SampledFrom([]string{"int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}).Draw(t, "type")
		order := rapid.SampledFrom([]string{"ABCD", "CDAB", "BADC", "DCBA"}).Draw(t, "order")
		bits := rapid.Uint64().Draw(t, "bits")
		var want tidegate.Value
		switch typ {
		case "int16":
			want = tidegate.Int(int64(int16(bits)))
		case "uint16":
			want = tidegate.Uint(uint64(uint16(bits)))
		case "int32":
			want = tidegate.Int(int64(int32(bits)))
		case "uint32":
			want = tidegate.Uint(uint64(uint32(bits)))
		case "int64":
			want = tidegate.Int(int64(bits))
		case "uint64":
			want = tidegate.Uint(bits)
		case "float32":
			want = tidegate.Float(float64(math.Float32frombits(uint32(bits))))
		case "float64":
			want = tidegate.Float(math.Float64frombits(bits))
		}
		r := Entry{Channel: "c", Address: new(0), Type: typ, Order: order}
		vs, errs := r.Values(125)
		if errs != nil {
			t.Fatal(errs)
		}
		got, fault := vs[0].Decode(encode(t, typ, order, bits), tidegate.Value{})
		if f, ok := want.Number(); ok && !isFinite(f) {
			if fault == "" {
				t.Fatalf("%s %s: got %v, want a fault", typ, order, got)
			}
			return
		}
		if fault != "" || !got.Equal(want) {
			t.Fatalf("%s %s: got %v %q, want %v", typ, order, got, fault, want)
		}
		if k := vs[0].Kind(); k != got.Kind() {
			t.Fatalf("%s: kind %d was announced, got %d", typ, k, got.Kind())
		}
	})
}

// TestScaledValuesAreDecimal compares with exact arithmetic: a scaled integer is the double nearest to the decimal result.
func TestScaledValuesAreDecimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.Int32().Draw(t, "raw")
		scale := fmt.Sprintf("%de-%d", rapid.IntRange(1, 999).Draw(t, "factor"), rapid.IntRange(0, 6).Draw(t, "digits"))
		offset := fmt.Sprintf("%de-%d", rapid.IntRange(-9999, 9999).Draw(t, "offset"), rapid.IntRange(0, 4).Draw(t, "decimals"))
		exact := func(s string) *big.Rat {
			r, ok := new(big.Rat).SetString(s)
			if !ok {
				t.Fatal(s)
			}
			return r
		}
		want, _ := new(big.Rat).Add(new(big.Rat).Mul(big.NewRat(int64(raw), 1), exact(scale)), exact(offset)).Float64()
		f, _ := strconv.ParseFloat(scale, 64)
		o, _ := strconv.ParseFloat(offset, 64)
		r := Entry{Channel: "c", Address: new(0), Type: "int32", Scale: &f, Offset: o}
		vs, errs := r.Values(125)
		if errs != nil {
			t.Fatal(errs)
		}
		got, fault := vs[0].Decode(binary.BigEndian.AppendUint32(nil, uint32(raw)), tidegate.Value{})
		n, _ := got.Number()
		isExact := math.Abs(float64(raw)*vs[0].factor)+math.Abs(vs[0].addend) < 1<<53 // else the last digit may be off
		if fault != "" || isExact && n != want || math.Abs(n-want) > 4e-16*math.Abs(want)+1e-15 {
			t.Fatalf("%d x %s + %s: got %v %q, want %v", raw, scale, offset, got, fault, want)
		}
	})
}

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		r    Entry
		b    []byte
		want string
		kind tidegate.Kind
	}{
		"OK one decimal":           {Entry{Type: "int16", Scale: new(0.1)}, []byte{0, 213}, "21.3", tidegate.KindFloat},
		"OK negative":              {Entry{Type: "int16", Scale: new(0.1)}, []byte{0xff, 0x2b}, "-21.3", tidegate.KindFloat},
		"OK three decimals":        {Entry{Scale: new(0.001)}, []byte{0xd6, 0xd7}, "54.999", tidegate.KindFloat},
		"OK odd factor":            {Entry{Scale: new(0.05), Offset: -40}, []byte{0, 3}, "-39.85", tidegate.KindFloat},
		"OK large factor":          {Entry{Scale: new(1000.0)}, []byte{0, 3}, "3000", tidegate.KindFloat},
		"OK factor of many digits": {Entry{Scale: new(0.1234567890123456789)}, []byte{0, 2}, "0.24691357802469135", tidegate.KindFloat},
		"OK tiny factor":           {Entry{Scale: new(1e-30)}, []byte{0, 2}, "2e-30", tidegate.KindFloat},
		"OK huge factor":           {Entry{Scale: new(1e300)}, []byte{0, 2}, "2e+300", tidegate.KindFloat},
		"OK offset only":           {Entry{Offset: 0.5}, []byte{0, 2}, "2.5", tidegate.KindFloat},
		"OK scaled float":          {Entry{Type: "float32", Scale: new(0.1)}, []byte{0x41, 0xac, 0, 0}, "2.15", tidegate.KindFloat},
		"OK all bits of int64":     {Entry{Type: "int64"}, []byte{0x80, 0, 0, 0, 0, 0, 0, 1}, "-9223372036854775807", tidegate.KindInt},
		"OK lowest bit":            {Entry{Type: "bool", Bit: new(0)}, []byte{0, 1}, "true", tidegate.KindBool},
		"OK highest bit":           {Entry{Type: "bool", Bit: new(15)}, []byte{0x7f, 0xff}, "false", tidegate.KindBool},
		"OK bit of swapped bytes":  {Entry{Type: "bool", Bit: new(15), Order: "BADC"}, []byte{0, 0x80}, "true", tidegate.KindBool},
		"OK word for a number":     {Entry{Enum: map[int64]string{1: "on"}}, []byte{0, 1}, "on", tidegate.KindText},
		"OK word for a negative":   {Entry{Type: "int16", Enum: map[int64]string{-1: "off"}}, []byte{0xff, 0xff}, "off", tidegate.KindText},
		"OK word for a bit":        {Entry{Type: "bool", Bit: new(1), Enum: map[int64]string{1: "open"}}, []byte{0, 2}, "open", tidegate.KindText},
		"OK text":                  {Entry{Type: "string", Length: new(3)}, []byte("AB1 \x00x"), "AB1", tidegate.KindText},
		"OK text to the end":       {Entry{Type: "string", Length: new(2)}, []byte("a°C"), "a°C", tidegate.KindText},
		"OK text of swapped bytes": {Entry{Type: "string", Length: new(2), Order: "BADC"}, []byte("BADC"), "ABCD", tidegate.KindText},
		"OK empty text":            {Entry{Type: "string", Length: new(1)}, []byte{0, 0}, "", tidegate.KindText},
		"OK at the bounds":         {Entry{Min: new(2.0), Max: new(2.0)}, []byte{0, 2}, "2", tidegate.KindUint},
		"fault: no such word":      {Entry{Enum: map[int64]string{1: "on"}}, []byte{0, 2}, "!got 2, which enum does not list", tidegate.KindText},
		"fault: no word for a bit": {Entry{Type: "bool", Bit: new(1), Enum: map[int64]string{1: "open"}}, []byte{0, 0}, "!got 0, which enum does not list", tidegate.KindText},
		"fault: no word so large":  {Entry{Type: "uint64", Enum: map[int64]string{1: "on"}}, []byte{255, 255, 255, 255, 255, 255, 255, 255}, "!got 18446744073709551615, which enum does not list", tidegate.KindText},
		"fault: below min":         {Entry{Type: "int16", Scale: new(0.1), Min: new(-40.0)}, []byte{0x80, 0}, "!got -3276.8, below min -40", tidegate.KindFloat},
		"fault: above max":         {Entry{Max: new(100.0)}, []byte{0xff, 0xff}, "!got 65535, above max 100", tidegate.KindUint},
		"fault: not a number":      {Entry{Type: "float32"}, []byte{0x7f, 0xc0, 0, 0}, "!the device says NaN: it has no value", tidegate.KindFloat},
		"fault: infinite by scale": {
			Entry{Type: "float64", Scale: new(1e10)},
			[]byte{0x7f, 0xe1, 0xcc, 0xf3, 0x85, 0xeb, 0xc8, 0xa0},
			"!got 1e+308, which scale and offset take beyond the range of a number", tidegate.KindFloat,
		},
		"fault: infinite":           {Entry{Type: "float64"}, []byte{0xff, 0xf0, 0, 0, 0, 0, 0, 0}, "!the device says -Inf: it has no value", tidegate.KindFloat},
		"fault: text is not UTF-8":  {Entry{Type: "string", Length: new(1)}, []byte{0xff, 0x41}, "!text is not UTF-8: ff 41", tidegate.KindText},
		"fault: text is half UTF-8": {Entry{Type: "string", Length: new(1)}, []byte{'a', 0xc2}, "!text is not UTF-8: 61 c2", tidegate.KindText},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.r.Channel, tt.r.Address = "c", new(0)
			vs, errs := tt.r.Values(125)
			if errs != nil {
				t.Fatal(errs)
			}
			v, fault := vs[0].Decode(tt.b, tidegate.Text("another"))
			got := v.String()
			if fault != "" {
				got = "!" + fault
			} else if v.Kind() != tt.kind {
				t.Errorf("kind is %d, want %d", v.Kind(), tt.kind)
			}
			if got != tt.want || vs[0].Kind() != tt.kind {
				t.Errorf("got %s, announced %d; want %s, %d", got, vs[0].Kind(), tt.want, tt.kind)
			}
			if again, fault2 := vs[0].Decode(tt.b, v); !again.Equal(v) || fault2 != fault {
				t.Errorf("second time: %v %q", again, fault2)
			}
		})
	}
}

func TestFlagOfCoils(t *testing.T) {
	v := Value{Table: link.Coil, form: formBit, Size: 1}
	if got, fault := v.Flag(true); fault != "" || !got.Equal(tidegate.Bool(true)) {
		t.Errorf("got %v %q", got, fault)
	}
	v.enum = map[int64]string{0: "shut"}
	if got, fault := v.Flag(false); fault != "" || !got.Equal(tidegate.Text("shut")) {
		t.Errorf("got %v %q", got, fault)
	}
}
