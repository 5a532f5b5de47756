package registers

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// bytesOf returns words as the unit would send them when they are read.
func bytesOf(v *Value, words [link.MostWritten]uint16) (b []byte) {
	for _, w := range words[:v.Size] {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return b
}

// TestEncodeIsTheInverse: whatever bits a register holds, the value that is read of them is written as the same value, and without a scale as
// the same bits.
func TestEncodeIsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Entry{Channel: "c", Address: new(0), Write: true}
		r.Type = rapid.SampledFrom([]string{"int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}).Draw(t, "type")
		r.Order = rapid.SampledFrom([]string{"ABCD", "CDAB", "BADC", "DCBA"}).Draw(t, "order")
		isScaled := rapid.Bool().Draw(t, "scaled")
		if isScaled {
			f := float64(rapid.IntRange(1, 999).Draw(t, "factor")) * rapid.SampledFrom([]float64{1, -1}).Draw(t, "sign") /
				math.Pow10(rapid.IntRange(0, 6).Draw(t, "digits"))
			r.Scale, r.Offset = &f, float64(rapid.IntRange(-9999, 9999).Draw(t, "offset"))/100
		}
		vs, errs := r.Values(MostRegisters)
		if errs != nil {
			t.Fatal(errs)
		}
		v := &vs[0]
		var words [link.MostWritten]uint16
		bits := rapid.Uint64().Draw(t, "bits")
		for i := range v.Size {
			words[i] = uint16(bits >> (16 * i))
		}
		read, fault := v.Decode(bytesOf(v, words), tidegate.Value{})
		if fault != "" {
			return // no number
		}
		got, err := v.Encode(read)
		isLong := v.Size == 4 // a scaled integer beyond 2^53 has no double of its own
		if isFloat := strings.HasPrefix(r.Type, "float"); err != nil && isScaled && (isFloat || isLong) {
			return // or a whole number that the scale makes of a fraction, or one beyond the range
		}
		if err != nil {
			t.Fatalf("%v was read of % x, and is not written: %v", read, words[:v.Size], err)
		}
		if !isScaled && got != words {
			t.Fatalf("%v was read of %x, and is written as %x", read, words, got)
		}
		again, fault := v.Decode(bytesOf(v, got), tidegate.Value{})
		a, _ := again.Number()
		b, _ := read.Number()
		if isExact := v.form != formFloat && (!isScaled || v.Size < 4); fault != "" || isExact && a != b || math.Abs(a-b) > 1e-6*math.Abs(b)+1e-6 {
			t.Fatalf("%v is written as %v %s", read, again, fault)
		}
	})
}

func TestEncode(t *testing.T) {
	deci := Entry{Type: "int16", Scale: new(0.1)}
	tests := map[string]struct {
		r    Entry
		val  tidegate.Value
		want string // words, or the error
	}{
		"OK coil on":              {Entry{Table: "coil"}, tidegate.Bool(true), "[1]"},
		"OK coil off":             {Entry{Table: "coil"}, tidegate.Bool(false), "[0]"},
		"OK coil by its text":     {Entry{Table: "coil", Enum: map[int64]string{0: "shut", 1: "open"}}, tidegate.Text("open"), "[1]"},
		"OK one decimal":          {deci, tidegate.Float(21.3), "[213]"},
		"OK negative":             {deci, tidegate.Float(-21.3), "[65323]"},
		"OK integer for a scaled": {deci, tidegate.Int(21), "[210]"},
		"OK offset":               {Entry{Scale: new(0.05), Offset: -40}, tidegate.Float(-39.85), "[3]"},
		"OK least":                {Entry{Type: "int16"}, tidegate.Int(-32768), "[32768]"},
		"OK greatest":             {Entry{}, tidegate.Uint(65535), "[65535]"},
		"OK whole float":          {Entry{}, tidegate.Float(7), "[7]"},
		"OK all bits":             {Entry{Type: "uint64"}, tidegate.Uint(math.MaxUint64), "[65535 65535 65535 65535]"},
		"OK all bits as a float":  {Entry{Type: "uint64"}, tidegate.Float(1 << 63), "[32768 0 0 0]"},
		"OK low word first":       {Entry{Type: "uint32", Order: "CDAB"}, tidegate.Uint(0x12345678), "[22136 4660]"},
		"OK bytes swapped":        {Entry{Order: "BADC"}, tidegate.Uint(0x1234), "[13330]"},
		"OK float32":              {Entry{Type: "float32"}, tidegate.Float(-12.5), "[49480 0]"},
		"OK float32, nearest":     {Entry{Type: "float32"}, tidegate.Float(21.3), "[16810 26214]"},
		"OK float64":              {Entry{Type: "float64"}, tidegate.Float(21.3), "[16437 19660 52428 52429]"},
		"OK text":                 {Entry{Type: "int16", Enum: map[int64]string{-1: "off", 5: "on"}}, tidegate.Text("off"), "[65535]"},
		"OK at max":               {Entry{Scale: new(0.1), Max: new(50.0)}, tidegate.Float(50), "[500]"},
		"between two steps":       {deci, tidegate.Float(21.35), "21.35 is between two steps of the register, 21.3 and 21.4"},
		"a hair beside a step":    {deci, tidegate.Float(math.Nextafter(21.3, 30)), "21.300000000000004 is between two steps of the register, 21.3 and 21.4"},
		"beside the last step":    {Entry{Scale: new(0.1)}, tidegate.Float(-0.04), "-0.04 is no step of the register, the nearest is 0"},
		"a fraction":              {Entry{}, tidegate.Float(2.5), "2.5 is between two steps of the register, 2 and 3"},
		"above the register":      {Entry{Scale: new(0.1)}, tidegate.Float(7000), "7000 is more than the register holds, 0 to 6553.5"},
		"below the register":      {deci, tidegate.Float(-4000), "-4000 is more than the register holds, -3276.8 to 3276.7"},
		"falling scale":           {Entry{Scale: new(-0.1)}, tidegate.Float(1), "1 is more than the register holds, -6553.5 to 0"},
		"negative for unsigned":   {Entry{}, tidegate.Int(-1), "-1 is more than the register holds, 0 to 65535"},
		"too large for signed":    {Entry{Type: "int64"}, tidegate.Uint(1 << 63), "9223372036854775808 is more than the register holds, -9.223372036854776e+18 to 9.223372036854776e+18"},
		"too large, as a float":   {Entry{Type: "int64"}, tidegate.Float(1 << 63), "9.223372036854776e+18 is more than the register holds, -9.223372036854776e+18 to 9.223372036854776e+18"},
		"above max":               {Entry{Scale: new(0.1), Max: new(50.0)}, tidegate.Float(50.1), "50.1 is above max 50"},
		"below min":               {Entry{Min: new(5.0)}, tidegate.Int(4), "4 is below min 5"},
		"NaN":                     {deci, tidegate.Float(math.NaN()), "NaN is no finite number"},
		"infinite":                {Entry{Type: "float64"}, tidegate.Float(math.Inf(-1)), "-Inf is no finite number"},
		"float32 too large":       {Entry{Type: "float32"}, tidegate.Float(1e39), "1e+39 is more than the register holds, up to 3.4028234663852886e+38"},
		"float32 too long":        {Entry{Type: "float32"}, tidegate.Int(16777217), "1.6777217e+07 cannot be held to the last digit, the nearest is 1.6777216e+07"},
		"text for a number":       {Entry{}, tidegate.Text("7"), `"7" is a text, want a number`},
		"yes for a number":        {Entry{}, tidegate.Bool(true), "true is a yes/no, want a number"},
		"nothing":                 {Entry{}, tidegate.Value{}, "nothing is a none, want a number"},
		"number for a coil":       {Entry{Table: "coil"}, tidegate.Int(1), "1 is a number, want true or false"},
		"no such text":            {Entry{Enum: map[int64]string{0: "off", 1: "on"}}, tidegate.Text("of"), `"of" is no text of enum, want one of ["off" "on"]`},
		"number for a text":       {Entry{Enum: map[int64]string{0: "off", 1: "on"}}, tidegate.Int(1), `1 is no text of enum, want one of ["off" "on"]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.r.Channel, tt.r.Address, tt.r.Write = "c", new(0), true
			vs, errs := tt.r.Values(MostRegisters)
			if errs != nil {
				t.Fatal(errs)
			}
			words, err := vs[0].Encode(tt.val)
			got := fmt.Sprint(words[:vs[0].Size])
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (err == nil || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if err != nil || vs[0].Table.IsBits() {
				return
			}
			b := bytesOf(&vs[0], words)
			if !vs[0].Holds(b, words) {
				t.Errorf("% x is not what was written", b)
			}
			for i := range b {
				if b[i] ^= 4; vs[0].Holds(b, words) {
					t.Errorf("% x is taken for what was written", b)
				}
				b[i] ^= 4
			}
		})
	}
}

// TestWriting says by which function an output is written.
func TestWriting(t *testing.T) {
	for name, tt := range map[string]struct {
		r    Entry
		want link.Function
	}{
		"coil":                  {Entry{Table: "coil"}, link.WriteCoil},
		"coil, multiple":        {Entry{Table: "coil", WriteWith: "multiple"}, link.WriteCoils},
		"register":              {Entry{}, link.WriteRegister},
		"register, single":      {Entry{WriteWith: "single"}, link.WriteRegister},
		"register, multiple":    {Entry{WriteWith: "multiple"}, link.WriteRegisters},
		"two registers":         {Entry{Type: "float32"}, link.WriteRegisters},
		"four registers":        {Entry{Type: "int64", WriteWith: "multiple"}, link.WriteRegisters},
		"register with a scale": {Entry{Type: "int16", Scale: new(0.1)}, link.WriteRegister},
	} {
		t.Run(name, func(t *testing.T) {
			tt.r.Channel, tt.r.Address, tt.r.Write = "c", new(9), true
			vs, errs := tt.r.Values(MostRegisters)
			if errs != nil {
				t.Fatal(errs)
			}
			words := [link.MostWritten]uint16{1, 2, 3, 4}
			want := link.Request{Table: vs[0].Table, Address: 9, Quantity: vs[0].Size, Write: tt.want, Values: words}
			if got := vs[0].Writing(words); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestOutputSettings(t *testing.T) {
	const missing = "only what can be set has it; add write: true"
	for name, tt := range map[string]struct {
		r    Entry
		want []string
	}{
		"OK":                    {Entry{Write: true, Type: "int16", Scale: new(0.1), Safe: tidegate.Int(5), Pause: time.Second, Max: new(50.0)}, nil},
		"OK coil":               {Entry{Write: true, Table: "coil", Safe: tidegate.Bool(false)}, nil},
		"OK text":               {Entry{Write: true, Enum: map[int64]string{0: "off", 1: "on"}, Safe: tidegate.Text("off")}, nil},
		"without write":         {Entry{WriteWith: "single", Safe: tidegate.Int(0), Pause: 1}, []string{"write_with: " + missing, "safe: " + missing, "pause: " + missing}},
		"input":                 {Entry{Write: true, Table: "input"}, []string{"write: the unit lets only coils and holding registers be written (got input)"}},
		"discrete":              {Entry{Write: true, Table: "discrete"}, []string{"write: the unit lets only coils and holding registers be written (got discrete)"}},
		"bit of a register":     {Entry{Write: true, Type: "bool", Bit: new(3)}, []string{"write: a bit of a register is not written, as that would write the fifteen others too; write the register as a number"}},
		"string":                {Entry{Write: true, Type: "string", Length: new(2)}, []string{"write: a string is not written"}},
		"two with single":       {Entry{Write: true, Type: "int32", WriteWith: "single"}, []string{"write_with: the value has 2 registers, function 06 writes one (got single); leave it out"}},
		"unknown function":      {Entry{Write: true, WriteWith: "06"}, []string{`write_with: is not known (got "06"); one of single, multiple`}},
		"one text, two numbers": {Entry{Write: true, Enum: map[int64]string{2: "on", 1: "on"}}, []string{"enum: stands for 1 and for 2, so it is not known which to write (got on)"}},
		"pause below 0":         {Entry{Write: true, Pause: -1}, []string{"pause: want 0s to 24h (got -1ns)"}},
		"pause too long":        {Entry{Write: true, Pause: 25 * time.Hour}, []string{"pause: want 0s to 24h (got 25h0m0s)"}},
		"safe beyond max":       {Entry{Write: true, Max: new(5.0), Safe: tidegate.Int(6)}, []string{"safe: 6 is above max 5 (got 6)"}},
		"safe of another kind":  {Entry{Write: true, Table: "coil", Safe: tidegate.Int(0)}, []string{"safe: 0 is a number, want true or false (got 0)"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.r.Channel, tt.r.Address = "c", new(0)
			vs, errs := tt.r.Values(MostRegisters)
			var got []string
			for _, e := range errs {
				got = append(got, e.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if tt.want == nil && (!vs[0].IsOutput || vs[0].Limits.Safe != tt.r.Safe || vs[0].Limits.Pause != tt.r.Pause) {
				t.Errorf("got %+v", vs[0])
			}
		})
	}
	vs, _ := (&Entry{Channel: "c", Address: new(0), Write: true, Min: new(-5.0)}).Values(MostRegisters)
	if l := vs[0].Limits; l.Min != -5 || l.Max != math.MaxFloat64 {
		t.Errorf("got %+v", l)
	}
}
