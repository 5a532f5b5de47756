package serialtext

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

func TestValidate(t *testing.T) {
	const re2 = "the syntax is RE2: https://golang.org/s/re2syntax"
	const algos = "one of xor, sum8, neg8, crc8, crc8-maxim, crc16-modbus, crc16-arc, crc16-ccitt, crc16-xmodem, crc32"
	for name, tc := range map[string]struct {
		set  func(*Config)
		want []string
	}{
		"good":                        {},
		"good with a settled channel": {set: func(c *Config) { c.Groups = map[string]Group{"temp": {Type: typeNumber, Scale: -0.5}} }},
		"good over the network":       {set: func(c *Config) { c.Port = "tcp://[2001:db8::1]:4001" }},
		"nothing set": {set: func(c *Config) { *c = Config{} }, want: []string{
			"port: is missing; give the serial port, for instance /dev/serial/by-id/usb-... or /dev/ttyUSB0",
			"baud: is out of range (got 0); 50 to 4000000",
			"data_bits: is out of range (got 0); 5 to 8",
			`parity: is not known (got ""); one of none, even, odd, mark, space`,
			`stop_bits: is not known (got ""); one of 1, 2`,
			`framing: is not known (got ""); one of delimiter, length, idle`,
			"idle: is out of range (got 0s); 1ms to 10s",
			"gap: is out of range (got 0s); 1ms to 1h",
			`encoding: is not known (got ""); one of ascii, utf-8, latin1, binary`,
			`decimal: is not known (got ""); one of ., ,`,
			"line: is no expression of 1 to 4096 bytes (got 0 bytes); name what is to become channels, for instance '^T=(?<temp>-?[0-9.]+)$'",
		}},
		"stop bits that Linux does not have": {
			set: func(c *Config) { c.StopBits = "1.5" }, want: []string{`stop_bits: is not known (got "1.5"); one of 1, 2`},
		},
		"address without a port": {
			set:  func(c *Config) { c.Port = "tcp://192.0.2.7" },
			want: []string{"port: is no address (got tcp://192.0.2.7); write tcp://host:port"},
		},
		"numbers out of range": {
			set: func(c *Config) {
				c.Baud, c.DataBits, c.Idle, c.Gap, c.Silence = 4_000_001, 9, time.Minute, 2*time.Hour, time.Millisecond
			},
			want: []string{
				"baud: is out of range (got 4000001); 50 to 4000000",
				"data_bits: is out of range (got 9); 5 to 8",
				"idle: is out of range (got 1m0s); 1ms to 10s",
				"gap: is out of range (got 2h0m0s); 1ms to 1h",
				"silence: is out of range (got 1ms); 1s to 720h, or 0 for never",
			},
		},
		"no delimiter": {set: func(c *Config) { c.Delimiter = "" }, want: []string{"delimiter: is empty; leave it out for newline, or say what ends a line"}},
		"texts too long": {
			set: func(c *Config) { c.Delimiter, c.Start = "123456789", `\x31\x32\x33\x34\x35\x36\x37\x38\x39` },
			want: []string{
				"delimiter: is out of range (got 9 bytes); at most 8 bytes",
				"start: is out of range (got 9 bytes); at most 8 bytes",
			},
		},
		"unknown escapes": {
			set: func(c *Config) { c.Delimiter, c.Start, c.Checksum = `\q`, `\x1`, Sum{Type: "xor", Mark: `*\`} },
			want: []string{
				`delimiter: has a backslash that begins no \r, \n, \t, \\ or \xHH (got "\\q")`,
				`start: has a backslash that begins no \r, \n, \t, \\ or \xHH (got "\\x1")`,
				`checksum.mark: has a backslash that begins no \r, \n, \t, \\ or \xHH (got "*\\")`,
			},
		},
		"length missing":          {set: func(c *Config) { c.Framing = talker.ByLength }, want: []string{"length: is out of range (got 0); 1 to 4096"}},
		"length for nothing":      {set: func(c *Config) { c.Length = 5 }, want: []string{"length: is of no use with framing delimiter (got 5); set framing: length, or leave it out"}},
		"start fills the frame":   {set: func(c *Config) { c.Framing, c.Length, c.Start = talker.ByLength, 2, "AB" }, want: []string{"start: leaves nothing of a frame of 2 bytes (got 2 bytes)"}},
		"checksum without a type": {set: func(c *Config) { c.Checksum.Mark = "*" }, want: []string{`checksum.type: is not known (got ""); ` + algos}},
		"checksum unknown": {
			set: func(c *Config) { c.Checksum = Sum{Type: "md5", Format: "base64", Order: "pdp", Mark: "123456789"} },
			want: []string{
				`checksum.type: is not known (got "md5"); ` + algos,
				`checksum.format: is not known (got "base64"); one of hex, decimal, binary`,
				`checksum.order: is not known (got "pdp"); one of big, little`,
				"checksum.mark: is out of range (got 9 bytes); at most 8 bytes",
			},
		},
		"decimal checksum without a mark": {
			set:  func(c *Config) { c.Checksum = Sum{Type: "sum8", Format: "decimal"} },
			want: []string{"checksum.mark: is missing; a decimal checksum has no fixed length: say what stands before it"},
		},
		"binary checksum before a delimiter": {
			set:  func(c *Config) { c.Checksum = Sum{Type: "sum8", Format: "binary"} },
			want: []string{"checksum.format: cannot be used with framing delimiter: its bytes may be those of the delimiter (got binary); frame by length or idle"},
		},
		"broken expressions": {
			set: func(c *Config) { c.Line, c.Lines, c.Ignore = "(?<a>", []string{"(?<a>x)", "(?<a>x)(?<a>y)"}, "[" },
			want: []string{
				"line: error parsing regexp: missing closing ): `(?<a>` (got (?<a>); " + re2,
				"lines[1]: has two groups of that name (got a); give each form of line an expression of its own under lines",
				"ignore: error parsing regexp: missing closing ]: `[` (got [); " + re2,
			},
		},
		"expression too long": {
			set:  func(c *Config) { c.Line = "(?<a>" + strings.Repeat("x", 4096) + ")" },
			want: []string{"line: is no expression of 1 to 4096 bytes (got 4102 bytes); name what is to become channels, for instance '^T=(?<temp>-?[0-9.]+)$'"},
		},
		"expression without a named group": {
			set:  func(c *Config) { c.Line = "T=([0-9]+)" },
			want: []string{"line: has no named group, so a line would give no channel (got T=([0-9]+)); write (?<temp>...) around what is to be channel temp"},
		},
		"groups with bad names": {
			set: func(c *Config) { c.Line = "(?<_a>x)(?<line_fault>y)" },
			want: []string{
				`line: has a group whose name begins with "_", which is reserved for the gateway itself (got _a)`,
				"line: has a group named like a channel of the driver's own (got line_fault)",
			},
		},
		"channels with faults": {
			set: func(c *Config) {
				c.Line = "(?<a>x)(?<b>y)(?<c>z)(?<d>1)"
				c.Groups = map[string]Group{
					"a": {Type: "int"}, "b": {Type: typeBytes}, "c": {Type: typeText, Scale: 2},
					"d": {Scale: math.NaN()}, "e": {},
				}
			},
			want: []string{
				`channels.a.type: is not known (got "int"); one of integer, number, text, bytes`,
				"channels.b.type: needs encoding: binary (got bytes)",
				"channels.c: scale and offset are for numbers, not for text",
				"channels.d: is not finite (got scale NaN, offset 0)",
				"channels.e: no expression has a group of that name; write (?<e>...) in line",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConfig()
			c.Port, c.Line = "/dev/ttyUSB0", "T=(?<temp>[0-9.]+)"
			if tc.set != nil {
				tc.set(c)
			}
			var got []string
			for _, bad := range c.Validate() {
				got = append(got, bad.Error())
			}
			if g, w := strings.Join(got, "\n"), strings.Join(tc.want, "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
		})
	}
}

func TestChannels(t *testing.T) {
	c := newConfig()
	c.Line = `^A=(?<a>[0-9]+) B=(?<b>[0-9.]+) C=(?<c>\S+)$`
	c.Lines = []string{`^A=(?<a>[0-9.]+) D=(?<d>[0-9]+) E=(?<e>.+) C=(?<c>[0-9]+)$`}
	c.Groups = map[string]Group{"b": {Unit: "Cel", Meaning: "flow"}, "d": {Scale: 0.1}, "e": {Type: typeText}}
	var got []string
	for _, ch := range c.Channels() {
		got = append(got, strings.TrimSpace(ch.Name+" "+ch.Kind.String()+" "+ch.Unit+" "+ch.Meaning))
	}
	want := "a number  what group a of the line says|b number Cel flow|c none  what group c of the line says|" +
		"d number  what group d of the line says|e text  what group e of the line says"
	if g := strings.Join(got, "|"); g != want {
		t.Fatalf("got\n%s\nwant\n%s", g, want)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		`\r\n`: "\r\n", "\r\n": "\r\n", `\t\\\x02"`: "\t\\\x02\"", "": "", `\x00`: "\x00", "'": "'",
	} {
		if got, err := unescape(in); err != nil || string(got) != want {
			t.Errorf("%q: got %q %v, want %q", in, got, err, want)
		}
	}
}

func TestDriver(t *testing.T) {
	if Driver.Name != "serialtext" || Driver.Every != 0 {
		t.Fatalf("%+v", Driver)
	}
	if a, b := Driver.New(), Driver.New(); a == b {
		t.Fatal("New returns the same Config twice")
	}
	var _ drivers.Channeler = Driver.New().(*Config)
	var _ drivers.Config = Driver.New()
}
