package serialtext

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"regexp/syntax"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

func TestNumber(t *testing.T) {
	for in, want := range map[string]struct {
		ch    Group
		comma bool
		v     tidegate.Value
		fault string
	}{
		"0":                     {v: tidegate.Int(0)},
		"-17":                   {v: tidegate.Int(-17)},
		"+5":                    {v: tidegate.Int(5)},
		"0012":                  {v: tidegate.Int(12)},
		"9223372036854775807":   {v: tidegate.Int(math.MaxInt64)},
		"-9223372036854775808":  {v: tidegate.Int(math.MinInt64)},
		"9223372036854775808":   {v: tidegate.Uint(1 << 63)},
		"+18446744073709551615": {v: tidegate.Uint(math.MaxUint64)},
		"18446744073709551616":  {fault: `beyond 64 bits: "18446744073709551616"`},
		"-9223372036854775809":  {fault: `beyond 64 bits: "-9223372036854775809"`},
		"21.5":                  {v: tidegate.Float(21.5)},
		"-.5":                   {v: tidegate.Float(-0.5)},
		"5.":                    {v: tidegate.Float(5)},
		"1e3":                   {v: tidegate.Float(1000)},
		"-2.5E-3":               {v: tidegate.Float(-0.0025)},
		"1e-400":                {v: tidegate.Float(0)},
		"1e999":                 {fault: `beyond the range of a number: "1e999"`},
		"":                      {fault: `empty`},
		".":                     {fault: `not a decimal number: "."`},
		"-":                     {fault: `not a decimal number: "-"`},
		"--1":                   {fault: `not a decimal number: "--1"`},
		"1.2.3":                 {fault: `not a decimal number: "1.2.3"`},
		"1e":                    {fault: `not a decimal number: "1e"`},
		"1e+":                   {fault: `not a decimal number: "1e+"`},
		"e5":                    {fault: `not a decimal number: "e5"`},
		"NaN":                   {fault: `not a decimal number: "NaN"`},
		"-Inf":                  {fault: `not a decimal number: "-Inf"`},
		"infinity":              {fault: `not a decimal number: "infinity"`},
		"0x10":                  {fault: `not a decimal number: "0x10"`},
		"0x1p-2":                {fault: `not a decimal number: "0x1p-2"`},
		"1_000":                 {fault: `not a decimal number: "1_000"`},
		" 1":                    {fault: `not a decimal number: " 1"`},
		"１２":                    {fault: `not a decimal number: "\uff11\uff12"`},
		"21,5":                  {comma: true, v: tidegate.Float(21.5)},
		"2.1":                   {comma: true, fault: `not a decimal number: "2.1"`},
		"1,2,3":                 {comma: true, fault: `not a decimal number: "1,2,3"`},
		"213":                   {ch: Group{Scale: 0.1}, v: tidegate.Float(21.3)},
		"-40":                   {ch: Group{Scale: 1.8, Offset: 32}, v: tidegate.Float(-40)},
		"1e300":                 {ch: Group{Scale: 1e300}, fault: `beyond the range of a number: "1e300"`},
		"7":                     {ch: Group{Type: typeNumber}, v: tidegate.Float(7)},
		"-9007199254740992":     {ch: Group{Type: typeNumber}, v: tidegate.Float(-1 << 53)},
		"9007199254740993":      {ch: Group{Type: typeNumber}, v: tidegate.Float(1 << 53)},
		"18446744073709551614":  {ch: Group{Type: typeNumber}, v: tidegate.Float(1 << 64)},
		"18446744073709551617":  {ch: Group{Type: typeNumber}, v: tidegate.Float(1 << 64)},
		"9223372036854775809": {
			ch:    Group{Type: typeInteger},
			fault: `beyond an integer of 64 bits with a sign; settle the channel's type as number or text: "9223372036854775809"`,
		},
		"9007199254740993.0":            {ch: Group{Type: typeNumber}, v: tidegate.Float(1 << 53)},
		"7.0":                           {ch: Group{Type: typeInteger}, fault: `not an integer: "7.0"`},
		"300" + strings.Repeat("0", 80): {fault: `beyond 64 bits: "300` + strings.Repeat("0", 61) + `" and 19 bytes more`},
	} {
		v, fault := number([]byte(in), want.comma, &channel{Group: want.ch})
		if !v.Equal(want.v) || fault != want.fault {
			t.Errorf("%q: got %v %v %q, want %v %v %q", in, v.Kind(), v, fault, want.v.Kind(), want.v, want.fault)
		}
	}
}

func TestNumberKeepsEveryInteger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i, u := rapid.Int64().Draw(t, "i"), rapid.Uint64().Draw(t, "u")
		for s, want := range map[string]tidegate.Value{fmt.Sprint(i): tidegate.Int(i), fmt.Sprint(u): tidegate.Uint(u)} {
			got, fault := number([]byte(s), false, &channel{})
			if fault != "" || got.String() != want.String() || got.Kind() == tidegate.KindFloat {
				t.Fatalf("%s became %v (%v, %q)", s, got, got.Kind(), fault)
			}
		}
		for _, settled := range []string{typeInteger, typeNumber} { // what is declared is what comes
			ch := &channel{Group: Group{Type: settled}}
			for _, s := range []string{fmt.Sprint(i), fmt.Sprint(u)} {
				if got, fault := number([]byte(s), false, ch); fault == "" && got.Kind() != ch.kind() {
					t.Fatalf("%s of type %s became %v, declared is %v", s, settled, got.Kind(), ch.kind())
				}
			}
		}
		f := rapid.Float64Range(-1e18, 1e18).Draw(t, "f")
		if got, fault := number(fmt.Appendf(nil, "%.17e", f), false, &channel{}); fault != "" || got != tidegate.Float(f) {
			t.Fatalf("%.17e became %v %q", f, got, fault)
		}
	})
}

func TestGuessedValue(t *testing.T) {
	for in, want := range map[string]struct {
		v     tidegate.Value
		fault string
	}{
		"21.5":  {v: tidegate.Float(21.5)},
		"7":     {v: tidegate.Int(7)},
		"run":   {v: tidegate.Text("run")},
		"1.2.3": {v: tidegate.Text("1.2.3")},
		"12 kg": {v: tidegate.Text("12 kg")},
		"-":     {v: tidegate.Text("-")},
		"Nano":  {v: tidegate.Text("Nano")},
		"21 °C": {v: tidegate.Text("21 °C")},
		"nan":   {fault: `not a decimal number: "nan"`},
		"+Inf":  {fault: `not a decimal number: "+Inf"`},
		"0x10":  {fault: `not a decimal number: "0x10"`},
		"-0b1":  {fault: `not a decimal number: "-0b1"`},
		"1_0":   {fault: `not a decimal number: "1_0"`},
		"1e999": {fault: `beyond the range of a number: "1e999"`},
		"１２":    {fault: `not a decimal number: "\uff11\uff12"`},
		"１２.５":  {fault: `not a decimal number: "\uff11\uff12.\uff15"`},
		"٣":     {fault: `not a decimal number: "\u0663"`},
		"":      {fault: `empty`},
		"a\x00": {fault: `not text: "a\x00"`},
		"\xff":  {fault: `not text: "\xff"`},
	} {
		if v, fault := (&channel{}).value([]byte(in), false); !v.Equal(want.v) || fault != want.fault {
			t.Errorf("%q: got %v %q, want %v %q", in, v, fault, want.v, want.fault)
		}
	}
}

func TestGuessedType(t *testing.T) {
	for expr, want := range map[string]string{
		`(?<x>[0-9]+)`:              typeInteger,
		`(?<x>-?\d{1,5})`:           typeInteger,
		`(?<x>[-+]?[0-9.]+)`:        typeNumber,
		`(?<x>-?\d+(\.\d+)?)`:       typeNumber,
		`(?<x>\d+(?:[eE]-?\d+)?)`:   typeNumber,
		`(?<x>(?i)\d+e\d)`:          typeNumber,
		`(?<x>\S+)`:                 typeGuess,
		`(?<x>.*)`:                  typeGuess,
		`(?s)(?<x>.)`:               typeGuess,
		`(?<x>[A-Z]+)`:              typeGuess,
		`(?<x>[0-9A-F]{2})`:         typeGuess,
		`(?<x>-)`:                   typeGuess,
		`(?<x>)`:                    typeGuess,
		`a(b(?<x>0|1)|c)`:           typeInteger,
		`(?<x>on|off|[0-9])`:        typeGuess,
		"(?<x>[0-9\u0660-\u0669]+)": typeGuess,
	} {
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if got := guessTypes(tree)["x"]; got != want {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

func TestSelfStarting(t *testing.T) {
	for exprs, want := range map[string]bool{
		`^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$`: true,
		`^\$GPRMC,(?<t>[0-9.]+)`:                true,
		`^T`:                                    true,
		"^T=(?<t>[0-9]+)$\n^P=(?<p>[0-9]+)$":    true,
		"^T=(?<t>[0-9]+)$\n^P=(?<p>T[0-9]+)$":   false, // of P=T1, T1 may be left ... and = as well
		`T=(?<t>[0-9]+)$`:                       false,
		`^(?<t>[0-9]+),`:                        false,
		`^T=(?<t>.*)$`:                          false,
		`^T=(?<t>[^;]*);$`:                      false,
		`^TT=(?<t>[0-9]+)$`:                     false,
		`(?m)^T=(?<t>[0-9]+)$`:                  false,
		`(?i)^T=(?<t>[a-s]+)$`:                  false,
		`^T=(?<t>[0-9]+)$|^P=1`:                 false,
		`^T=(?<t>(?i)xt)`:                       false,
	} {
		var trees []*syntax.Regexp
		for _, expr := range strings.Split(exprs, "\n") {
			tree, err := syntax.Parse(expr, syntax.Perl)
			if err != nil {
				t.Fatal(err)
			}
			trees = append(trees, tree)
		}
		if got := selfStarting(trees); got != want {
			t.Errorf("%s: got %v, want %v", exprs, got, want)
		}
	}
}

// read compiles the expression and returns what becomes of one line, as text.
func readLine(t *testing.T, set func(*Config), text string) string {
	t.Helper()
	c := newConfig()
	c.Port, c.Line = "p", `^T=(?<temp>[^ ]*) N=(?<n>[0-9]+)(?: (?<state>.+))?$`
	if set != nil {
		set(c)
	}
	if bad := c.Validate(); len(bad) > 0 {
		t.Fatal(bad)
	}
	p, _ := c.compile()
	out, bad, skip := p.read(nil, []byte(text))
	return show(out, bad, skip)
}

func show(out []tidegate.Reading, bad talker.Refusal, skip bool) string {
	if skip {
		return "ignored"
	}
	var b strings.Builder
	for _, r := range out {
		if r.Fault != "" {
			fmt.Fprintf(&b, "%s!%s ", r.Channel, r.Fault)
			continue
		}
		fmt.Fprintf(&b, "%s=%v:%s%s ", r.Channel, r.Value, r.Value.Kind(), r.Unit)
	}
	return strings.TrimSpace(b.String() + string(bad))
}

func TestLine(t *testing.T) {
	encoding := func(e string) func(*Config) { return func(c *Config) { c.Encoding = e } }
	for name, tc := range map[string]struct {
		set      func(*Config)
		in, want string
	}{
		"values":                      {in: "T=-21.5 N=7", want: "temp=-21.5:number n=7:number"},
		"group that takes no part":    {in: "T=1 N=2 on", want: "temp=1:number n=2:number state=on:text"},
		"bad field beside a good one": {in: "T=NaN N=7", want: `temp!not a decimal number: "NaN" n=7:number`},
		"line that does not match":    {in: "boot ok", want: `no_match: line does not match the expression: "boot ok"`},
		"match without a group": {
			set: func(c *Config) { c.Line = `^OK|(?<x>[0-9])$` }, in: "OK", want: `no_match: line does not match the expression: "OK"`,
		},
		"second expression": {set: func(c *Config) { c.Lines = []string{`^P=(?<p>[0-9]+)$`} }, in: "P=9", want: "p=9:number"},
		"ignored line":      {set: func(c *Config) { c.Ignore = `^#` }, in: "# boot", want: "ignored"},
		"settled type, unit and scale": {
			set: func(c *Config) {
				c.Groups = map[string]Group{"temp": {Type: typeNumber, Unit: "Cel", Scale: 0.1}, "n": {Type: typeText}}
			},
			in: "T=215 N=007", want: "temp=21.5:numberCel n=007:text",
		},
		"word where a number is settled": {
			set: func(c *Config) { c.Groups = map[string]Group{"temp": {Type: typeNumber}} }, in: "T=ERR N=7", want: `temp!not a decimal number: "ERR" n=7:number`,
		},
		"NUL":                  {in: "T=1 N=2 a\x00", want: `bad_bytes: character 10 is no ascii text: "T=1 N=2 a\x00"`},
		"byte of latin1":       {in: "T=1 N=2 \xb0C", want: `bad_bytes: character 9 is no ascii text: "T=1 N=2 \xb0C"`},
		"UTF-8 in ASCII":       {in: "T=1 N=2 °C", want: `bad_bytes: character 9 is no ascii text: "T=1 N=2 \u00b0C"`},
		"DEL":                  {in: "T=1 N=2 \x7f", want: `bad_bytes: character 9 is no ascii text: "T=1 N=2 \x7f"`},
		"tab":                  {in: "T=1 N=2 a\tb", want: "temp=1:number n=2:number state=a\tb:text"},
		"UTF-8":                {set: encoding(encUTF8), in: "T=1 N=2 °C", want: "temp=1:number n=2:number state=°C:text"},
		"broken UTF-8":         {set: encoding(encUTF8), in: "T=1 N=2 °\xc2", want: `bad_bytes: character 10 is no utf-8 text: "T=1 N=2 \u00b0\xc2"`},
		"surrogate":            {set: encoding(encUTF8), in: "\xed\xa0\x80", want: `bad_bytes: character 1 is no utf-8 text: "\xed\xa0\x80"`},
		"C1 control character": {set: encoding(encUTF8), in: "T=1 N=2 \xc2\x85", want: `bad_bytes: character 9 is no utf-8 text: "T=1 N=2 \u0085"`},
		"latin1":               {set: encoding(encLatin1), in: "T=1 N=2 \xb0C", want: "temp=1:number n=2:number state=°C:text"},
		"control byte of latin1": {
			set: encoding(encLatin1), in: "T=1 N=2 \x85", want: `bad_bytes: character 9 is no latin1 text: "T=1 N=2 \x85"`,
		},
		"bytes": {
			set: func(c *Config) { c.Encoding, c.Groups = encBinary, map[string]Group{"state": {Type: typeBytes}} },
			in:  "T=1 N=2 \x00\xff", want: "temp=1:number n=2:number state=00ff:bytes",
		},
		"text field of a binary line": {set: encoding(encBinary), in: "T=\xff N=2", want: `temp!not text: "\xff" n=2:number`},
		"checksum before the expression": {
			set: func(c *Config) { c.Checksum = Sum{Type: "sum8", Mark: ";", Format: "decimal"} }, in: "T=1 N=2;159",
			want: "temp=1:number n=2:number",
		},
		"wrong checksum of a line that matches": {
			set: func(c *Config) { c.Checksum = Sum{Type: "sum8", Mark: ";", Format: "decimal"} }, in: "T=1 N=2;160",
			want: `checksum: got a0, want 9f: "T=1 N=2;160"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := readLine(t, tc.set, tc.in); got != tc.want {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestCheckValues(t *testing.T) {
	want := map[string]uint32{
		"xor": 0x31, "sum8": 0xdd, "neg8": 0x23, "crc8": 0xf4, "crc8-maxim": 0xa1, "crc16-modbus": 0x4b37, "crc16-arc": 0xbb3d,
		"crc16-ccitt": 0x29b1, "crc16-xmodem": 0x31c3, "crc32": 0xcbf43926,
	}
	if len(algorithms) != len(want) {
		t.Fatalf("%d algorithms, %d check values", len(algorithms), len(want))
	}
	for _, a := range algorithms {
		if got := a.sum([]byte("123456789")); got != want[a.name] {
			t.Errorf("%s: got %x, want %x", a.name, got, want[a.name])
		}
	}
}

func TestChecksum(t *testing.T) {
	nmea := Sum{Type: "xor", Mark: "*"}
	for name, tc := range map[string]struct {
		sum             Sum
		start, in, want string
	}{
		"NMEA 0183, small letters":    {sum: nmea, start: "$", in: "GPGLL,5300.97914,N,00259.98174,E,125926,A*28", want: "GPGLL,5300.97914,N,00259.98174,E,125926,A"},
		"one digit":                   {sum: nmea, in: "A*1", want: `! checksum: "1" is no hex checksum of 1 bytes: "A*1"`},
		"three digits":                {sum: nmea, in: "A*041", want: `! checksum: "041" is no hex checksum of 1 bytes: "A*041"`},
		"no digits":                   {sum: nmea, in: "A*ZZ", want: `! checksum: "ZZ" is no hex checksum of 1 bytes: "A*ZZ"`},
		"sign for a digit":            {sum: nmea, in: "A*+1", want: `! checksum: "+1" is no hex checksum of 1 bytes: "A*+1"`},
		"no mark":                     {sum: nmea, in: "A", want: `! checksum: missing, no "*" in "A"`},
		"wrong":                       {sum: nmea, in: "A*42", want: `! checksum: got 42, want 41: "A*42"`},
		"last of several marks":       {sum: nmea, in: "A*B*29", want: "A*B"},
		"two bytes, big":              {sum: Sum{Type: "crc16-modbus"}, in: "1234567894B37", want: "123456789"},
		"two bytes, little":           {sum: Sum{Type: "crc16-modbus", Order: "little"}, in: "123456789374b", want: "123456789"},
		"binary, little":              {sum: Sum{Type: "crc16-modbus", Format: "binary", Order: "little"}, in: "123456789\x37\x4b", want: "123456789"},
		"binary, big":                 {sum: Sum{Type: "crc32", Format: "binary"}, in: "123456789\xcb\xf4\x39\x26", want: "123456789"},
		"binary after a mark":         {sum: Sum{Type: "crc16-arc", Format: "binary", Mark: "!"}, in: "123456789!\xbb\x3d\x00", want: `! checksum: "\xbb=\x00" is no binary checksum of 2 bytes: "123456789!\xbb=\x00"`},
		"too short":                   {sum: Sum{Type: "crc32"}, in: "1234567", want: `! checksum: missing, 7 bytes are too few: "1234567"`},
		"decimal":                     {sum: Sum{Type: "sum8", Format: "decimal", Mark: ","}, in: "123456789,221", want: "123456789"},
		"decimal beyond its size":     {sum: Sum{Type: "sum8", Format: "decimal", Mark: ","}, in: "1,256", want: `! checksum: "256" is no decimal checksum of 1 bytes: "1,256"`},
		"decimal with a sign":         {sum: Sum{Type: "sum8", Format: "decimal", Mark: ","}, in: "1,+49", want: `! checksum: "+49" is no decimal checksum of 1 bytes: "1,+49"`},
		"start and mark summed":       {sum: Sum{Type: "xor", Mark: "!", CoversMarks: true}, start: "/", in: "123456789!3F", want: "123456789"},
		"start and mark summed wrong": {sum: Sum{Type: "xor", Mark: "!", CoversMarks: true}, start: "/", in: "123456789!31", want: `! checksum: got 31, want 3f: "123456789!31"`},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConfig()
			c.Checksum, c.Start = tc.sum, tc.start
			got, bad := newCheck(c).verify([]byte(tc.in))
			if s := string(got); bad == "" && s != tc.want || bad != "" && "! "+string(bad) != tc.want {
				t.Errorf("got %q %s, want %s", s, bad, tc.want)
			}
		})
	}
}

// TestChecksumSeesEveryFlippedBit flips each bit of a line with a CRC.
func TestChecksumSeesEveryFlippedBit(t *testing.T) {
	c := newConfig()
	c.Checksum = Sum{Type: "crc16-modbus", Mark: "*"}
	k := newCheck(c)
	line := fmt.Appendf(nil, "T=21.5 N=123*%04X", k.sum([]byte("T=21.5 N=123")))
	if _, bad := k.verify(line); bad != "" {
		t.Fatal(bad)
	}
	for i := range 8 * len(line) {
		broken := bytes.Clone(line)
		broken[i/8] ^= 1 << (i % 8)
		if text, bad := k.verify(broken); bad == "" && !bytes.EqualFold(broken, line) {
			t.Errorf("bit %d: %q passed as %q", i, broken, text)
		}
	}
}

// again is a port on which the same lines come with every Read.
type again struct{ drivertest.Wire }

func (*again) Read(p []byte) (int, error) {
	return copy(p, "T=21.5 N=123456\r\nT=-3.25 N=123457\r\n"), nil
}

func BenchmarkLine(b *testing.B) {
	c := newConfig()
	c.Port, c.Line = "p", `^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$`
	h := &drivertest.Host{Ports: map[string]drivertest.Opener{"p": func(context.Context) (drivers.Port, error) { return &again{}, nil }}}
	d, err := c.Open(b.Context(), h)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if out, err := d.Read(b.Context()); err != nil || len(out) != 2 {
			b.Fatal(out, err)
		}
	}
}
