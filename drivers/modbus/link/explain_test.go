package link

import (
	"strings"
	"testing"
	"unicode"
)

// TestExplain: the reads and writes are the examples of "MODBUS Application Protocol V1.1b3" 6.1, 6.3, 6.5, 6.6, 6.11 and 6.12.
func TestExplain(t *testing.T) {
	for name, tt := range map[string]struct {
		out         bool
		bytes, want string
	}{
		"request":                 {true, "11 03 00 6b 00 03 76 87", "request to unit 17: function 03, holding 107..109 (quantity 3), CRC right"},
		"reply":                   {false, "11 03 06 02 2b 00 00 00 64 c8 ba", "reply of unit 17: function 03, holding, 6 bytes of values, CRC right"},
		"one coil":                {true, "01 01 00 13 00 01 0c 0f", "request to unit 1: function 01, coil 19 (quantity 1), CRC right"},
		"exception":               {false, "0a 81 02 b0 53", "reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC right"},
		"wrong CRC":               {false, "0a 81 02 b0 54", "reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC 0x54b0 is WRONG, want 0x53b0"},
		"incomplete":              {false, "11 03 06 02 2b 00 00", ""},
		"nothing":                 {false, "", ""},
		"noise behind":            {false, "0a 81 02 b0 53 ff", "reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC right; 1 bytes more behind it"},
		"noise":                   {false, "ff ff ff ff ff ff ff ff", "reply of unit 255: function 7f, exception ff (not in the specification), CRC 0xffff is WRONG, want 0x4040; 3 bytes more behind it"},
		"echo":                    {false, "11 03 00 6b 00 03 76 87", "echo of the request to unit 17: function 03, holding 107..109 (quantity 3), CRC right"},
		"echo, incomplete":        {false, "11 03 00 6b 00 03 76 87 11", ""},
		"echo and reply":          {false, "11 03 00 6b 00 03 76 87 0a 81 02 b0 53", "echo, then reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC right"},
		"TCP request":             {true, "15 01 00 00 00 06 ff 04 00 64 00 01", "request to unit 255: function 04, input 100 (quantity 1), transaction 5377"},
		"TCP reply":               {false, "15 01 00 00 00 05 ff 04 02 12 34", "reply of unit 255: function 04, input, 2 bytes of values, transaction 5377"},
		"TCP bytes miss":          {false, "15 01 00 00 00 05 ff 04 04 12 34", "reply of unit 255: function 04, input, 4 bytes of values said, 2 there, transaction 5377"},
		"TCP exception":           {false, "00 00 00 00 00 03 01 83 0b", "reply of unit 1: function 03, exception 0b (gateway target device does not respond), transaction 0"},
		"TCP, incomplete":         {false, "15 01 00 00 00 05 ff 04", ""},
		"TCP, half a header":      {false, "15 81 00 00 00", ""},
		"RTU, not TCP":            {true, "01 03 00 00 00 02 c4 0b", "request to unit 1: function 03, holding 0..1 (quantity 2), CRC right"},
		"write of a coil":         {true, "SUM 11 05 00 ac ff 00", "request to unit 17: function 05, coil 172 = on, CRC right"},
		"coil off":                {false, "SUM 11 05 00 ac 00 00", "reply of unit 17: function 05, coil 172 = off, CRC right"},
		"neither on nor off":      {true, "SUM 11 05 00 ac 00 01", "request to unit 17: function 05, coil 172 = 0x0001, which is neither on (ff00) nor off (0000), CRC right"},
		"write of a register":     {true, "SUM 11 06 00 01 00 03", "request to unit 17: function 06, holding 1 = 3 (0x0003), CRC right"},
		"register written":        {false, "SUM 11 06 00 01 00 03", "reply of unit 17: function 06, holding 1 = 3 (0x0003), CRC right"},
		"write of coils":          {true, "SUM 11 0f 00 13 00 0a 02 cd 01", "request to unit 17: function 0f, coil 19..28 (quantity 10) = cd 01, CRC right"},
		"coils written":           {false, "SUM 11 0f 00 13 00 0a", "reply of unit 17: function 0f, coil 19..28 (quantity 10) written, CRC right"},
		"write of registers":      {true, "SUM 11 10 00 01 00 02 04 00 0a 01 02", "request to unit 17: function 10, holding 1..2 (quantity 2) = 00 0a 01 02, CRC right"},
		"registers written":       {false, "SUM 11 10 00 01 00 02", "reply of unit 17: function 10, holding 1..2 (quantity 2) written, CRC right"},
		"at 0, like a header":     {true, "SUM 01 10 00 00 00 04 08 00 01 00 02 00 03 00 04", "request to unit 1: function 10, holding 0..3 (quantity 4) = 00 01 00 02 00 03 00 04, CRC right"},
		"many registers":          {true, "SUM 01 10 00 00 00 09 12 " + strings.Repeat("00 07 ", 9), "request to unit 1: function 10, holding 0..8 (quantity 9) = 00 07 00 07 00 07 00 07 00 07 00 07 00 07 00 07 ..., CRC right"},
		"echo of a longer write":  {false, "SUM 11 10 00 01 00 02 04 00 0a 01 02", "echo of the request to unit 17: function 10, holding 1..2 (quantity 2) = 00 0a 01 02, CRC right"},
		"write refused":           {false, "SUM 11 86 03", "reply of unit 17: function 06, exception 03 (illegal data value: the unit does not take this quantity, or this value), CRC right"},
		"TCP write":               {true, "15 01 00 00 00 06 ff 05 00 64 ff 00", "request to unit 255: function 05, coil 100 = on, transaction 5377"},
		"TCP registers written":   {false, "15 01 00 00 00 06 ff 10 00 64 00 02", "reply of unit 255: function 10, holding 100..101 (quantity 2) written, transaction 5377"},
		"write that is cut short": {true, "SUM 11 10 00 01 00 02", "request to unit 17: function 10, 4 bytes more, CRC right"},
		"other function":          {true, "01 2b 0e 01 00 70 77", "request to unit 1: function 2b, 3 bytes more, CRC right"},
	} {
		if frame, ok := strings.CutPrefix(tt.bytes, "SUM "); ok {
			tt.bytes = sum(t, frame)
		}
		if got := Explain(tt.out, unhex(t, tt.bytes)); got != tt.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, tt.want)
		}
	}
}

// FuzzExplain: whatever comes, it is one line.
func FuzzExplain(f *testing.F) {
	for _, s := range []string{"1103006b00037687", "0a8102b053", "150100000005ff04021234", "", "1103006b000376871103006b00037687", sum(f, "110500acff00"), sum(f, "11100001000204000a0102")} {
		f.Add(true, unhex(f, s))
		f.Add(false, unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, out bool, b []byte) {
		if s := Explain(out, b); strings.ContainsFunc(s, unicode.IsControl) || len(s) > 1000 {
			t.Errorf("% x: %q", b, s)
		}
	})
}
