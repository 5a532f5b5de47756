package i2cmap

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// fakes are the parts of the built-in maps as their documents describe them, after power-on.
func fakes() map[string]*drivertest.I2CPart {
	degrees := func(sixteenths int) []byte { return []byte{byte(sixteenths >> 4), byte(sixteenths << 4)} }
	return map[string]*drivertest.I2CPart{
		"tmp105": {Held: map[byte][]byte{0: degrees(376), 1: {0}, 2: {0x4b, 0}, 3: {0x50, 0}}},
		"tmp421": {Held: map[byte][]byte{0: degrees(376), 1: degrees(-204), 8: {0}, 9: {0}, 0x0a: {0x1c}, 0x0b: {7}, 0xfe: {0x55}, 0xff: {0x21}}},
		"mcp9808": {Held: map[byte][]byte{
			1: {0, 0}, 5: {0xe1, 0x94}, 6: {0, 0x54}, 7: {4, 0}, 8: {3},
		}},
		"sht4x": {Held: map[byte][]byte{0xfd: {0x66, 0x66, crc8([]byte{0x66, 0x66}), 0x72, 0xb0, crc8([]byte{0x72, 0xb0})}}},
	}
}

// goods are what the fakes read as.
var goods = map[string]string{
	"tmp105":  "temperature=23.5 Cel",
	"tmp421":  "local=23.5 Cel, remote=-12.75 Cel",
	"mcp9808": "temperature=25.25 Cel",
	"sht4x":   "temperature=25 Cel, humidity=50.0006103609 %RH",
}

func named(t *testing.T, name string) *Config {
	t.Helper()
	m, err := load(name)
	if err != nil {
		t.Fatal(err)
	}
	c := Driver.New().(*Config)
	c.Map, c.Address = name, m.Addresses[0]
	return c
}

func open(t *testing.T, c *Config, p *drivertest.I2CPart) drivers.Device {
	t.Helper()
	n, err := drivers.ParseI2CAddress(c.Address)
	if err != nil {
		t.Fatal(err)
	}
	b := &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{n: p}}
	d, err := c.Open(t.Context(), &drivertest.Host{I2CBuses: map[string]i2c.Bus{drivertest.Any: b}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// show returns what a Read gave as text.
func show(rs []tidegate.Reading, err error) string {
	var out []string
	for _, r := range rs {
		s := strings.TrimSpace(fmt.Sprintf("%s=%v %s", r.Channel, r.Value, r.Unit))
		if r.Fault != "" {
			s = r.Channel + "!" + r.Fault
		}
		out = append(out, s)
	}
	if err != nil {
		out = append(out, "error: "+err.Error())
	}
	return strings.Join(out, ", ")
}

// TestMaps is the linter over all maps that are shipped: each compiles, says what it serves and from which document, has texts, and is
// what the driver says of itself; and the part that its document describes reads as it should.
func TestMaps(t *testing.T) {
	var parts []string
	for i := range Driver.Parts {
		p := &Driver.Parts[i]
		parts = append(parts, fmt.Sprintf("%s %x %v", p.Name, p.Addresses, p.Settings))
	}
	for _, name := range names() {
		t.Run(name, func(t *testing.T) {
			m, err := load(name)
			if err != nil {
				t.Fatal(err)
			}
			if bad := named(t, name).Validate(); len(bad) > 0 {
				t.Error(bad)
			}
			if len(strings.Fields(m.Part)) < 2 || len(strings.Fields(m.Source)) < 8 || !strings.ContainsAny(m.Source, "0123456789") {
				t.Errorf("part %q, source %q: want the document with revision and page, or the source with its commit", m.Part, m.Source)
			}
			var addresses []uint16
			for _, a := range m.Addresses {
				n, err := drivers.ParseI2CAddress(a)
				if err != nil {
					t.Error(err)
				}
				addresses = append(addresses, n)
			}
			if !slices.ContainsFunc(parts, func(s string) bool { return strings.HasSuffix(s, fmt.Sprintf(" %x [map: %s]", addresses, name)) }) {
				t.Errorf("no part of the driver has %x and map: %s: %v", addresses, name, parts)
			}
			for _, r := range m.Registers {
				if _, ok := tidegate.UnitMeaning(r.Unit); !ok || r.Meaning == "" {
					t.Errorf("channel %s: unit %q, meaning %q", r.Channel, r.Unit, r.Meaning)
				}
			}
			if !strings.Contains(Driver.Doc, name) {
				t.Errorf("the driver's Doc does not name %s", name)
			}
			synctest.Test(t, func(t *testing.T) {
				d := open(t, named(t, name), fakes()[name])
				for range 2 {
					if got := show(d.Read(t.Context())); got != goods[name] {
						t.Errorf("got  %s\nwant %s", got, goods[name])
					}
				}
			})
		})
	}
	if len(parts) != len(names()) {
		t.Errorf("%d parts and %d maps", len(parts), len(names()))
	}
}

// TestTMP105 reads what the emulated part of qemu holds at 23.5, 85.25 and -12.75 Cel, and what lies at and beyond the ends.
func TestTMP105(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fakes()["tmp105"]
		d := open(t, named(t, "tmp105"), p)
		start := time.Now()
		for _, of := range []struct{ raw, want string }{
			{"\x17\x80", "temperature=23.5 Cel"},
			{"\x55\x40", "temperature=85.25 Cel"},
			{"\xf3\x40", "temperature=-12.75 Cel"},
			{"\x00\x00", "temperature=0 Cel"},
			{"\xff\xf0", "temperature=-0.0625 Cel"},
			{"\x7d\x00", "temperature=125 Cel"},
			{"\x7d\x10", "temperature!temperature is 125.0625 Cel, want -40 to 125 (0x7d10)"},
			{"\xd8\x00", "temperature=-40 Cel"},
			{"\xd7\xf0", "temperature!temperature is -40.0625 Cel, want -40 to 125 (0xd7f0)"},
			{"\xff\xff", "temperature!all bits of temperature are set (0xffff): nothing drives the bus"},
			{"\x17\x81", "temperature!temperature reads 0x1781, want the bits 0xf zero: it is another part"},
		} {
			p.Held[0] = []byte(of.raw)
			if got := show(d.Read(t.Context())); got != of.want {
				t.Errorf("%x: got %s, want %s", of.raw, got, of.want)
			}
		}
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("took %v, want 500ms for the first conversion only", took)
		}
		p.Held[1] = []byte{0}
		want := "error: read part at 0x48 on drivertest: register 0x01 reads 0x00, want 0x60 in the bits 0x7f: the part was reset, or another program uses it, or nothing drives the bus"
		if got := show(d.Read(t.Context())); got != want {
			t.Errorf("after a reset: got %s", got)
		}
		if got := show(d.Read(t.Context())); !strings.HasPrefix(got, "temperature!") || p.Held[1][0] != 0x60 {
			t.Errorf("not set up again: %s, register 1 holds %x", got, p.Held[1])
		}
	})
}

// TestUnhappy has parts with something wrong: none of it is a value.
func TestUnhappy(t *testing.T) {
	with := func(name string, register byte, b ...byte) (string, *drivertest.I2CPart) {
		p := fakes()[name]
		p.Held[register] = b
		return name, p
	}
	type part struct {
		name string
		p    *drivertest.I2CPart
	}
	of := func(name string, p *drivertest.I2CPart) part { return part{name, p} }
	for want, of := range map[string]part{
		"error: read part at 0x48 on drivertest: write register 0x01: drivertest: no such device or address":                                                       {"tmp105", nil},
		"error: read part at 0x4c on drivertest: register 0xfe reads 0xff, want 0x55 in the bits 0xff: it is another part, or nothing drives the bus":              of(with("tmp421", 0xfe, 0xff)),
		"error: read part at 0x4c on drivertest: register 0xff reads 0x22, want 0x21 in the bits 0xff: it is another part, or nothing drives the bus":              of(with("tmp421", 0xff, 0x22)),
		"error: read part at 0x18 on drivertest: register 0x07 reads 0x0200, want 0x0400 in the bits 0xff00: it is another part, or nothing drives the bus":        of(with("mcp9808", 7, 2, 0)),
		"local=23.5 Cel, remote!the diode is not connected (OPEN), or the supply is too low for the converter (PVLD): remote reads 0x0001, want the bits 0x3 zero": of(with("tmp421", 1, 0, 1)),
		"temperature!checksum of 0x6667 is 0x93, want 0xa2: the transfer was disturbed, or it is another part, " +
			"humidity!checksum of 0x6667 is 0x93, want 0xa2: the transfer was disturbed, or it is another part": of(with("sht4x", 0xfd, 0x66, 0x67, crc8([]byte{0x66, 0x66}), 0x72, 0xb0, 0)),
		"temperature=25 Cel, humidity!humidity is 118.998092622 %RH, want 0 to 100 (0xfffe)": of(with("sht4x", 0xfd, 0x66, 0x66, crc8([]byte{0x66, 0x66}), 0xff, 0xfe, crc8([]byte{0xff, 0xfe}))),
		"temperature=25.25 Cel": of(with("mcp9808", 5, 0xe1, 0x94)),
		"temperature=-0.25 Cel": of(with("mcp9808", 5, 0x1f, 0xfc)),
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := show(open(t, named(t, of.name), of.p).Read(t.Context())); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestCRC8 is the example of the SHT3x-DIS data sheet, version 5, table 20.
func TestCRC8(t *testing.T) {
	if got := crc8([]byte{0xbe, 0xef}); got != 0x92 {
		t.Errorf("got %x, want 92", got)
	}
}

// block is a part described in the block: a door contact and a counter behind 16-bit register numbers.
func block() *Config {
	return &Config{
		Address:  "0x20",
		Identity: []Check{{Register: "0x0100", Want: "0xa5"}},
		Init:     []Write{{Register: "0x0200", Value: "0x01"}},
		Registers: []Register{
			{Channel: "door", Register: "0x0001", Width: 1, Shift: 2, Bits: 2, Enum: map[int64]string{0: "closed", 1: "open"}},
			{Channel: "count", Register: "0x0010", Width: 3, Order: "little", Min: new(0.0), Max: new(16e6)},
			{Channel: "level", Register: "0x0020", Width: 2, Signed: true, Scale: new(0.1), Unit: "cm", Min: new(-10.0), Max: new(300.0), Ones: true},
		},
	}
}

// TestBlock reads that part over 16-bit register numbers.
func TestBlock(t *testing.T) {
	b := newWide()
	d, err := block().Open(t.Context(), &drivertest.Host{I2CBuses: map[string]i2c.Bus{"": b}})
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		register string
		b        []byte
		want     string
	}{
		{"0001", []byte{0xf6}, "door=open, count=12345, level=213.3 cm"},
		{"0001", []byte{0x02}, "door=closed, count=12345, level=213.3 cm"},
		{"0001", []byte{0x0a}, "door!door is 2, which the map has no text for (0x0a), count=12345, level=213.3 cm"},
		{"0020", []byte{0xff, 0xff}, "door!door is 2, which the map has no text for (0x0a), count=12345, level=-0.1 cm"},
		{"0010", []byte{0xff, 0xff, 0xff}, "door!door is 2, which the map has no text for (0x0a), count!all bits of count are set (0xffffff): nothing drives the bus, level=-0.1 cm"},
	} {
		b.held[of.register] = of.b
		if got := show(d.Read(t.Context())); got != of.want {
			t.Errorf("got  %s\nwant %s", got, of.want)
		}
	}
}

// wide is a bus with one part whose registers have numbers of two bytes.
type wide struct {
	mu   sync.Mutex
	held map[string][]byte // guarded by mu
}

// newWide returns the bus with the part of block.
func newWide() *wide {
	return &wide{held: map[string][]byte{"0100": {0xa5}, "0200": {0}, "0001": {0xf6}, "0010": {0x39, 0x30, 0}, "0020": {0x08, 0x55}}}
}

func (b *wide) String() string { return "wide" }

func (b *wide) SetSpeed(physic.Frequency) error { return nil }

func (b *wide) Tx(_ uint16, w, r []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(w) < 2 || b.held[fmt.Sprintf("%x", w[:2])] == nil {
		return errors.New("remote I/O error")
	}
	if len(w) > 2 {
		b.held[fmt.Sprintf("%x", w[:2])] = slices.Clone(w[2:])
	}
	copy(r, b.held[fmt.Sprintf("%x", w[:2])])
	return nil
}

func TestValidate(t *testing.T) {
	change := func(f func(c *Config)) *Config { c := block(); f(c); return c }
	dir := t.TempDir()
	file := func(name, text string) *Config {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return &Config{Address: "0x20", Map: path}
	}
	const good = "addresses: [\"0x20\"]\nidentity: [{register: \"0x00\", want: \"0x55\"}]\nregisters: [{channel: a, register: \"0x01\", width: 1, min: 0, max: 9}]\n"
	if got := file("good.yaml", good).Validate(); len(got) > 0 {
		t.Errorf("a good file: %v", got)
	}
	pipe := filepath.Join(dir, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint((&Config{Address: "0x20", Map: pipe}).Validate()); !strings.Contains(got, "is no ordinary file") {
		t.Errorf("a pipe: %s", got)
	}
	for want, c := range map[string]*Config{
		"[]":        block(),
		"[address]": change(func(c *Config) { c.Address = "32" }),
		`[map: is not built in; there are mcp9808, sht4x, tmp105, tmp421; a file needs a slash, for instance ./part.yaml (got "lm75")]`: {Address: "0x48", Map: "lm75"},
		"[map: stands beside settings that a map has itself (got tmp105); leave out identity, init, settle and registers, or map]":      change(func(c *Config) { c.Map, c.Address = "tmp105", "0x48" }),
		`[address: is none that the part can have (got "0x21"); one of 0x44, 0x45]`:                                                     {Address: "0x21", Map: "sht4x"},
		"unknown field": file("unknown.yaml", good+"adresses: []\n"),
		"is no map: ":   file("twice.yaml", good+good),
		"is no map: 20000 brackets are opened, at most 1000 are allowed": file("nested.yaml", strings.Repeat("[", 20_000)),
		"is longer than 32768 bytes":                                     file("long.yaml", strings.Repeat("#", 32769)),
		"is no ordinary file":                                            {Address: "0x20", Map: dir + "/"},
		"no such file":                                                   {Address: "0x20", Map: "./nothing.yaml"},
		"[map: registers are too few":                                    file("empty.yaml", "part: none\n"),
		`[map: registers[0].register is "1", want 0x and 2 to 4 hexadecimal digits, two a byte, in quotes]`:                                 file("bare.yaml", strings.Replace(good, `"0x01"`, "0x01", 1)),
		`[map: lists an address that is none (got "32"); want 0x`:                                                                           file("address.yaml", strings.Replace(good, `"0x20"`, "0x20", 1)),
		`[identity[0].register: is "", want 0x and 2 to 4 hexadecimal digits, two a byte, in quotes]`:                                       change(func(c *Config) { c.Identity[0].Register = "" }),
		`[identity[0].want: is "0x5", want 0x and 2 to 16 hexadecimal digits, two a byte, in quotes]`:                                       change(func(c *Config) { c.Identity[0].Want = "0x5" }),
		`[identity[0].mask: is "0xffff", want 0x and 2 to 2 hexadecimal digits, two a byte, in quotes]`:                                     change(func(c *Config) { c.Identity[0].Mask = "0xffff" }),
		"[identity[0].want: is 0xa5, with bits that the mask 0xf0 leaves out]":                                                              change(func(c *Config) { c.Identity[0].Mask = "0xf0" }),
		`[init[0].value: is "", want 0x and 0 to 16 hexadecimal digits, two a byte, in quotes]`:                                             change(func(c *Config) { c.Init[0].Value = "" }),
		"[settle: is out of range (got 11s); 0 to 10s]":                                                                                     change(func(c *Config) { c.Settle = 11 * time.Second }),
		"[registers[1].channel: is there twice (got \"door\")]":                                                                             change(func(c *Config) { c.Registers[1].Channel = "door" }),
		"[registers[0].width: is out of range (got 7); 1 to 6 bytes]":                                                                       change(func(c *Config) { c.Registers[0].Width = 7 }),
		"[registers[0].at: leaves no 1 bytes of 2 (got 2)]":                                                                                 change(func(c *Config) { c.Registers[0].Length, c.Registers[0].At = 2, 2 }),
		"[registers[0].length: is out of range (got 33); 1 to 32 bytes]":                                                                    change(func(c *Config) { c.Registers[0].Length = 33 }),
		"[registers[0].shift: leaves nothing of 8 bits (got 8)":                                                                             change(func(c *Config) { c.Registers[0].Shift = 8 }),
		"[registers[0].bits: are more than the 6 that there are (got 7)]":                                                                   change(func(c *Config) { c.Registers[0].Bits = 7 }),
		"[registers[1].crc: is there after each two bytes, so length is a multiple of three and a value at most two bytes (got sensirion)]": change(func(c *Config) { c.Registers[1].CRC = "sensirion" }),
		"[registers[0].enum: lists nothing (got {}); leave it out, or list the numbers with their texts]":                                   change(func(c *Config) { c.Registers[0].Enum = map[int64]string{} }),
		"[registers[1].min: and max are needed (got nothing); what the document says that the part can measure]":                            change(func(c *Config) { c.Registers[1].Max = nil }),
		"[registers[1].min: is not below max, which is -1 (got 0)]":                                                                         change(func(c *Config) { c.Registers[1].Max = new(-1.0) }),
		"[registers[2].scale: makes no number of a register (got 0)]":                                                                       change(func(c *Config) { c.Registers[2].Scale = new(0.0) }),
		"[identity: has nothing that tells the part from a bus without one, which reads as 0x00 or 0xff everywhere; compare a register that reads something else, or write one in init, or use a checksum for all registers]": change(func(c *Config) {
			c.Identity, c.Init = []Check{{Register: "0x0100", Want: "0xff"}}, nil
		}),
	} {
		got := fmt.Sprint(c.Validate())
		if isWhole := strings.HasPrefix(want, "[") && strings.HasSuffix(want, "]") && want != "[address]"; isWhole && got != want || !strings.Contains(got, strings.Trim(want, "[] ")) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestEachTransferFails fails each transfer of the first Reads in turn: that Read is an error, and the next one is right.
func TestEachTransferFails(t *testing.T) {
	for name, want := range goods {
		synctest.Test(t, func(t *testing.T) {
			for n := 1; n <= 24; n++ {
				c := named(t, name)
				addr, _ := drivers.ParseI2CAddress(c.Address)
				nak := errors.New("drivertest: remote I/O error")
				b := &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{addr: fakes()[name]}, Fail: func(i int) error {
					if i == n {
						return nak
					}
					return nil
				}}
				d, err := c.Open(t.Context(), &drivertest.Host{I2CBuses: map[string]i2c.Bus{"": b}})
				if err != nil {
					t.Fatal(err)
				}
				bad := 0
				for range 4 {
					rs, err := d.Read(t.Context())
					if err != nil {
						if bad++; !errors.Is(err, nak) {
							t.Errorf("%s, transfer %d: %v", name, n, err)
						}
					} else if got := show(rs, nil); got != want {
						t.Errorf("%s, transfer %d: %s", name, n, got)
					}
				}
				if bad > 1 {
					t.Errorf("%s, transfer %d: %d Reads failed", name, n, bad)
				}
			}
		})
	}
}

// TestConformance has a part with an identity, one with checksums and a pause, and one described in the block; drivers/all has the sample's,
// which has neither.
func TestConformance(t *testing.T) {
	for _, name := range []string{"sht4x", "tmp421"} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, Driver, conformance.Options{
				Config:      func() drivers.Config { return named(t, name) },
				IsUnchecked: name != "sht4x",
				Far: func(h *drivertest.Host) {
					parts := map[uint16]*drivertest.I2CPart{}
					addr, _ := drivers.ParseI2CAddress(named(t, name).Address)
					parts[addr] = fakes()[name]
					h.I2CBuses = map[string]i2c.Bus{drivertest.Any: &drivertest.I2CBus{Parts: parts}}
				},
			})
		})
	}
	t.Run("block", func(t *testing.T) {
		conformance.Run(t, Driver, conformance.Options{
			Config: func() drivers.Config { return block() },
			Far: func(h *drivertest.Host) {
				h.I2CBuses = map[string]i2c.Bus{drivertest.Any: newWide()}
			},
		})
	})
}

// TestNumbers puts numbers into bytes by the definition of a register, among bits that belong to others, and reads them back.
func TestNumbers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := Register{
			Channel: "n", Register: "0x00", Width: rapid.IntRange(1, 6).Draw(rt, "width"), At: rapid.IntRange(0, 4).Draw(rt, "at"),
			Signed: rapid.Bool().Draw(rt, "signed"), Order: rapid.SampledFrom([]string{"", "big", "little"}).Draw(rt, "order"),
			Min: new(-1e15), Max: new(1e15), Ones: true,
		}
		r.Shift = rapid.IntRange(0, 8*r.Width-1).Draw(rt, "shift")
		r.Bits = rapid.IntRange(1, 8*r.Width-r.Shift).Draw(rt, "bits")
		low, high := int64(0), int64(1)<<r.Bits-1
		if r.Signed {
			low, high = -(int64(1) << (r.Bits - 1)), int64(1)<<(r.Bits-1)-1
		}
		n := rapid.Int64Range(low, high).Draw(rt, "n")
		others := rapid.Uint64().Draw(rt, "others")
		own := (uint64(1)<<r.Bits - 1) << r.Shift
		raw := others&^own | uint64(n)<<r.Shift&own
		b := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, "bytes")
		for i := range r.Width {
			at := r.At + r.Width - 1 - i
			if r.Order == "little" {
				at = r.At + i
			}
			b[at] = byte(raw >> (8 * i))
		}
		p, bad := (&Map{Identity: []Check{{Register: "0x01", Want: "0x55"}}, Registers: []Register{r}}).compile()
		if len(bad) > 0 {
			rt.Fatal(bad)
		}
		if got := p.values[0].reading(b, false); got.Value != tidegate.Int(n) {
			rt.Errorf("got %+v, want %d", got, n)
		}
	})
}

// FuzzMap: whatever a map file holds, loading it ends; and what is found good reads any bytes as values within their limits, or faults.
func FuzzMap(f *testing.F) {
	for _, name := range names() {
		text, err := builtIn.ReadFile("maps/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, []byte{0x17, 0x80, 0xff, 0xff, 0, 0})
	}
	f.Add([]byte("registers: [{channel: a, register: \"0x01\", width: 6, order: little, shift: 3, bits: 44, signed: true, min: -1, max: 1}]\n"), []byte{1})
	f.Add([]byte("registers: &a [*a]\n"), []byte{1})
	f.Fuzz(func(t *testing.T, text, b []byte) {
		m, err := parse(text)
		if err != nil {
			return
		}
		p, bad := m.compile()
		if len(bad) > 0 {
			return
		}
		b = append(b, make([]byte, 32)...)
		for i := range p.values {
			v := &p.values[i]
			tr := p.reads[v.transfer]
			r := v.reading(b[:tr.length], tr.crc)
			n, isNumber := r.Value.Number()
			switch {
			case r.Fault != "":
			case v.enum == nil && !(isNumber && n >= v.min && n <= v.max):
				t.Errorf("%s is %v, want %v to %v", v.channel, r.Value, v.min, v.max)
			case v.enum != nil && !slices.Contains(slices.Collect(maps.Values(v.enum)), r.Value.String()):
				t.Errorf("%s is %v", v.channel, r.Value)
			}
		}
	})
}
