package link

import (
	"strings"
	"testing"
	"unicode"
)

// TestExplain: the first two pairs are the examples of "MODBUS Application Protocol V1.1b3" 6.3 and 6.1.
func TestExplain(t *testing.T) {
	for name, tt := range map[string]struct {
		out         bool
		bytes, want string
	}{
		"request":            {true, "11 03 00 6b 00 03 76 87", "request to unit 17: function 03, holding 107..109 (quantity 3), CRC right"},
		"reply":              {false, "11 03 06 02 2b 00 00 00 64 c8 ba", "reply of unit 17: function 03, holding, 6 bytes of values, CRC right"},
		"one coil":           {true, "01 01 00 13 00 01 0c 0f", "request to unit 1: function 01, coil 19 (quantity 1), CRC right"},
		"exception":          {false, "0a 81 02 b0 53", "reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC right"},
		"wrong CRC":          {false, "0a 81 02 b0 54", "reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC 0x54b0 is WRONG, want 0x53b0"},
		"incomplete":         {false, "11 03 06 02 2b 00 00", ""},
		"nothing":            {false, "", ""},
		"noise behind":       {false, "0a 81 02 b0 53 ff", "reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC right; 1 bytes more behind it"},
		"noise":              {false, "ff ff ff ff ff ff ff ff", "reply of unit 255: function 7f, exception ff (not in the specification), CRC 0xffff is WRONG, want 0x4040; 3 bytes more behind it"},
		"echo":               {false, "11 03 00 6b 00 03 76 87", "echo of the request to unit 17: function 03, holding 107..109 (quantity 3), CRC right"},
		"echo, incomplete":   {false, "11 03 00 6b 00 03 76 87 11", ""},
		"echo and reply":     {false, "11 03 00 6b 00 03 76 87 0a 81 02 b0 53", "echo, then reply of unit 10: function 01, exception 02 (illegal data address: the unit has no such register), CRC right"},
		"TCP request":        {true, "15 01 00 00 00 06 ff 04 00 64 00 01", "request to unit 255: function 04, input 100 (quantity 1), transaction 5377"},
		"TCP reply":          {false, "15 01 00 00 00 05 ff 04 02 12 34", "reply of unit 255: function 04, input, 2 bytes of values, transaction 5377"},
		"TCP bytes miss":     {false, "15 01 00 00 00 05 ff 04 04 12 34", "reply of unit 255: function 04, input, 4 bytes of values said, 2 there, transaction 5377"},
		"TCP exception":      {false, "00 00 00 00 00 03 01 83 0b", "reply of unit 1: function 03, exception 0b (gateway target device does not respond), transaction 0"},
		"TCP, incomplete":    {false, "15 01 00 00 00 05 ff 04", ""},
		"TCP, half a header": {false, "15 81 00 00 00", ""},
		"RTU, not TCP":       {true, "01 03 00 00 00 02 c4 0b", "request to unit 1: function 03, holding 0..1 (quantity 2), CRC right"},
		"other function":     {true, "01 2b 0e 01 00 70 77", "request to unit 1: function 2b, 3 bytes more, CRC right"},
	} {
		if got := Explain(tt.out, unhex(t, tt.bytes)); got != tt.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, tt.want)
		}
	}
}

// FuzzExplain: whatever comes, it is one line.
func FuzzExplain(f *testing.F) {
	for _, s := range []string{"1103006b00037687", "0a8102b053", "150100000005ff04021234", "", "1103006b000376871103006b00037687"} {
		f.Add(true, unhex(f, s))
		f.Add(false, unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, out bool, b []byte) {
		if s := Explain(out, b); strings.ContainsFunc(s, unicode.IsControl) || len(s) > 1000 {
			t.Errorf("% x: %q", b, s)
		}
	})
}
