package modbus

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/maps"
)

// decode reads one device's block strictly, as the agent does, without the keys that are the agent's.
func decode(t *testing.T, text string) *Config {
	t.Helper()
	block := struct {
		Name   string        `yaml:"name"`
		Driver string        `yaml:"driver"`
		Every  time.Duration `yaml:"every"`
		Config `yaml:",inline"`
	}{Config: *Driver.New().(*Config)}
	if err := yaml.UnmarshalWithOptions([]byte(text), &block, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return &block.Config
}

func TestSampleIsRight(t *testing.T) {
	text := strings.ReplaceAll("  "+strings.TrimPrefix(Driver.Sample, "- "), "\n  ", "\n")
	c := decode(t, strings.TrimPrefix(text, "  "))
	for _, e := range c.Validate() {
		t.Error(e)
	}
	want := []string{
		"energy float kWh holding 0..1", "power float W holding 12..13, float",
		"phase0 float V input 100, signed", "phase1 float V input 101, signed", "phase2 float V input 102, signed",
		"state text  holding 40", "door yes/no  holding 41 bit 3", "valve yes/no  coil 5, output",
	}
	var got []string
	for _, ch := range c.Channels() {
		kind := ch.Kind.String()
		if kind == "number" {
			kind = map[bool]string{true: "float", false: "integer"}[fmt.Sprint(uint8(ch.Kind)) == "1"]
		}
		got = append(got, fmt.Sprintf("%s %s %s %s", ch.Name, kind, ch.Unit, ch.Meaning))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestContractIsAccepted reads the block of the outside contract as it stands there.
func TestContractIsAccepted(t *testing.T) {
	c := decode(t, `
name: meter1
driver: modbus
every: 100ms
address: tcp://127.0.0.1:5020        # or rtu:///dev/ttyUSB0?baud=9600&parity=even
unit: 1
timeout: 1s
registers:
  - {channel: r, table: holding, address: 0, type: uint32, count: 40}   # r0 .. r39, two registers each
  - {channel: temp, table: input, address: 100, type: int16, scale: 0.1, unit: Cel}
`)
	for _, e := range c.Validate() {
		t.Error(e)
	}
	chs := c.Channels()
	if len(chs) != 41 || chs[0].Name != "r0" || chs[39].Name != "r39" || chs[40].Name != "temp" || chs[40].Unit != "Cel" {
		t.Errorf("channels: %v", chs)
	}
}

func TestAddress(t *testing.T) {
	const serial = "rtu:///dev/ttyUSB0"
	usb := func(baud int, parity, stop string) string {
		return fmt.Sprintf("%+v", drivers.Serial{Port: "/dev/ttyUSB0", Baud: baud, DataBits: 8, Parity: parity, StopBits: stop})
	}
	turned := func(direction string, echo bool) string {
		return fmt.Sprintf("%+v", drivers.Serial{
			Port: "/dev/ttyUSB0", Baud: 19200, DataBits: 8, Parity: "even", StopBits: "1", Direction: direction, Echo: echo,
		})
	}
	const ways = "want kernel, rts, rts-low, or a GPIO line as GPIO17 or gpiochip0:17"
	const form = "want tcp://host:port or rtu:///dev/ttyUSB0?baud=9600&parity=even"
	tests := map[string]struct{ address, want string }{
		"OK TCP":                  {"tcp://192.0.2.7:5020", "192.0.2.7:5020"},
		"OK TCP, usual port":      {"tcp://meter.local", "meter.local:502"},
		"OK TCP, IPv6":            {"tcp://[2001:db8::7]", "[2001:db8::7]:502"},
		"OK RTU, usual settings":  {serial, usb(19200, "even", "1")},
		"OK RTU, all settings":    {serial + "?baud=9600&parity=odd&stop=2&data=8", usb(9600, "odd", "2")},
		"OK RTU, no parity":       {serial + "?parity=none", usb(19200, "none", "2")},
		"OK RTU, 8N1":             {serial + "?parity=none&stop=1", usb(19200, "none", "1")},
		"OK RTU, kernel turns":    {serial + "?rs485=kernel", turned("kernel", false)},
		"OK RTU, RTS turns":       {serial + "?rs485=rts&echo=no", turned("rts", false)},
		"OK RTU, RTS turns, low":  {serial + "?echo=yes&rs485=rts-low", turned("rts-low", true)},
		"OK RTU, GPIO turns":      {serial + "?rs485=GPIO17", turned("GPIO17", false)},
		"OK RTU, chip and line":   {serial + "?rs485=gpiochip0:17", turned("gpiochip0:17", false)},
		"OK RTU, line by its use": {serial + "?rs485=RS485_DE", turned("RS485_DE", false)},
		"direction misspelt":      {serial + "?rs485=kernal", `error: rs485 is "kernal", ` + ways},
		"direction in capitals":   {serial + "?rs485=RTS", `error: rs485 is "RTS", ` + ways},
		"direction is yes":        {serial + "?rs485=yes", `error: rs485 is "yes", ` + ways},
		"direction is empty":      {serial + "?rs485=", `error: rs485 is "", ` + ways},
		"direction in two words":  {serial + "?rs485=GPIO%2017", `error: rs485 is "GPIO 17", ` + ways},
		"echo is on":              {serial + "?echo=on", `error: echo is "on", want yes or no`},
		"empty":                   {"", "error: " + form},
		"other scheme":            {"udp://x:1", "error: " + form},
		"no scheme":               {"192.0.2.7:502", "error: first path segment in URL cannot contain colon; " + form},
		"no host":                 {"tcp://:502", "error: no host; write tcp://host:port"},
		"port out of range":       {"tcp://x:70000", "error: port is 70000, want 1 to 65535"},
		"port 0":                  {"tcp://x:0", "error: port is 0, want 1 to 65535"},
		"port is a word":          {"tcp://x:http", "error: invalid port \":http\" after host; " + form},
		"unit in the path":        {"tcp://x/3", "error: nothing but host and port belongs into a TCP address; the unit is a setting of its own"},
		"unit in the query":       {"tcp://x?unit=3", "error: nothing but host and port belongs into a TCP address; the unit is a setting of its own"},
		"two slashes":             {"rtu://dev/ttyUSB0", "error: the path needs three slashes; write rtu:///dev/ttyUSB0"},
		"no port":                 {"rtu:///", "error: no serial port; write rtu:///dev/ttyUSB0"},
		"relative path":           {"rtu:ttyUSB0", "error: no serial port; write rtu:///dev/ttyUSB0"},
		"broken settings":         {serial + "?baud=%zz", "error: settings after the question mark: invalid URL escape \"%zz\""},
		"baud is a word":          {serial + "?baud=fast", `error: baud is "fast", want 50 to 4000000`},
		"baud out of range":       {serial + "?baud=49", `error: baud is "49", want 50 to 4000000`},
		"parity unknown":          {serial + "?parity=mark", `error: parity is "mark", want none, even or odd`},
		"stop bits unknown":       {serial + "?stop=3", `error: stop is "3", want 1 or 2`},
		"seven bits":              {serial + "?data=7", `error: data is "7", but RTU frames need 8 bits`},
		"unknown setting":         {serial + "?speed=9600", `error: "speed" is no setting of a serial line, want baud, parity, stop, data, rs485 or echo`},
		"setting twice":           {serial + "?baud=9600&baud=19200", "error: baud is set 2 times"},
		"control character in it": {"tcp://x\n", "error: net/url: invalid control character in URL; " + form},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := parseAddress(tt.address)
			got := a.name
			if a.isSerial {
				got = fmt.Sprintf("%+v", a.serial)
			}
			if err != nil {
				got = "error: " + err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestOpenAsksForItsLine(t *testing.T) {
	h := &fakeHost{}
	c := config(false, Register{Channel: "a", Address: new(0)})
	openDevice(t, c, h)
	if want := (drivers.Serial{Port: "/dev/ttyX", Baud: 19200, DataBits: 8, Parity: "even", StopBits: "1"}); h.serial != want {
		t.Errorf("got %+v, want %+v", h.serial, want)
	}
	c.Address = "tcp://x"
	openDevice(t, c, h)
	if h.dialed != "x:502" {
		t.Errorf("got %s", h.dialed)
	}
	c.Unit = 300
	if _, err := c.Open(t.Context(), h); err == nil || err.Error() != "open modbus unit 300: unit: a unit is 0 to 255 (got 300)" {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	good := func() *Config { return config(true, Register{Channel: "a", Address: new(0)}) }
	with := func(rs ...Register) func(c *Config) { return func(c *Config) { c.Registers = rs } }
	at := func(r Register) func(c *Config) {
		return func(c *Config) {
			if r.Channel == "" {
				r.Channel = "a"
			}
			if r.Address == nil {
				r.Address = new(0)
			}
			c.Registers = []Register{r}
		}
	}
	const count = `addresses count from 0: "40001" in a manual is table holding, address 0`
	tests := map[string]struct {
		change func(c *Config)
		want   []string
	}{
		"OK":                   {func(*Config) {}, nil},
		"OK unit 0 over TCP":   {func(c *Config) { c.Unit = 0 }, nil},
		"OK last register":     {at(Register{Address: new(65535)}), nil},
		"OK last bit":          {at(Register{Table: "coil", Address: new(65535)}), nil},
		"OK bits of one":       {with(Register{Channel: "a", Address: new(1), Type: "bool", Bit: new(0)}, Register{Channel: "b", Address: new(1), Type: "bool", Bit: new(15)}), nil},
		"OK same in two":       {with(Register{Channel: "a", Address: new(1)}, Register{Channel: "b", Address: new(1), Table: "input"}), nil},
		"OK all registers":     {at(Register{Count: new(65536)}), nil},
		"OK enum of int64":     {at(Register{Type: "int64", Enum: map[int64]string{math.MinInt64: "low", math.MaxInt64: "high"}}), nil},
		"address":              {func(c *Config) { c.Address = "meter" }, []string{"address: want tcp://host:port or rtu:///dev/ttyUSB0?baud=9600&parity=even (got meter)"}},
		"unit 256":             {func(c *Config) { c.Unit = 256 }, []string{"unit: a unit is 0 to 255 (got 256)"}},
		"unit 0 on a line":     {func(c *Config) { c.Address, c.Unit = rtuAddress, 0 }, []string{"unit: a unit on a serial line is 1 to 247 (got 0)"}},
		"unit 248 on a line":   {func(c *Config) { c.Address, c.Unit = rtuAddress, 248 }, []string{"unit: a unit on a serial line is 1 to 247 (got 248)"}},
		"timeout 0":            {func(c *Config) { c.Timeout = 0 }, []string{"timeout: want 10ms to 1m (got 0s)"}},
		"timeout too long":     {func(c *Config) { c.Timeout = time.Hour }, []string{"timeout: want 10ms to 1m (got 1h0m0s)"}},
		"gap below 0":          {func(c *Config) { c.MaxGap = -1 }, []string{"max_gap: want 0 to 124 registers (got -1)"}},
		"gap too wide":         {func(c *Config) { c.MaxGap = 125 }, []string{"max_gap: want 0 to 124 registers (got 125)"}},
		"B-15 quantity 0":      {func(c *Config) { c.MaxQuantity = 0 }, []string{"max_quantity: one request asks for 1 to 125 registers (got 0)"}},
		"B-15 quantity 126":    {func(c *Config) { c.MaxQuantity = 126 }, []string{"max_quantity: one request asks for 1 to 125 registers (got 126)"}},
		"nothing to read":      {with(), []string{"registers: nothing to read; list at least one register, or name a map"}},
		"no channel":           {with(Register{Address: new(0)}), []string{"registers[0].channel: name is empty"}},
		"bad channel":          {at(Register{Channel: "a b"}), []string{`registers[0].channel: name contains ' ', allowed are A-Z a-z 0-9 . _ - (got a b)`}},
		"channel too long":     {at(Register{Channel: strings.Repeat("a", 63), Count: new(11)}), []string{"registers[0].channel: name is 65 bytes long, at most 64 are allowed (got " + strings.Repeat("a", 63) + ")"}},
		"unknown table":        {at(Register{Table: "holdings"}), []string{"registers[0].table: want holding, input, coil or discrete (got holdings)"}},
		"no address":           {with(Register{Channel: "a"}), []string{"registers[0].address: not set; " + count}},
		"address below 0":      {at(Register{Address: new(-1)}), []string{"registers[0].address: want 0 to 65535 (got -1); " + count}},
		"address too high":     {at(Register{Address: new(65536)}), []string{"registers[0].address: want 0 to 65535 (got 65536); " + count}},
		"B-15 beyond the end":  {at(Register{Address: new(65530), Count: new(20)}), []string{"registers[0].address: 20 registers from here on end beyond 65535 (got 65530)"}},
		"half beyond the end":  {at(Register{Address: new(65535), Type: "uint32"}), []string{"registers[0].address: 2 registers from here on end beyond 65535 (got 65535)"}},
		"count 0":              {at(Register{Count: new(0)}), []string{"registers[0].count: want 1 to 65536 (got 0)"}},
		"count below 0":        {at(Register{Count: new(-3)}), []string{"registers[0].count: want 1 to 65536 (got -3)"}},
		"count far too large":  {at(Register{Count: new(math.MaxInt)}), []string{fmt.Sprintf("registers[0].count: want 1 to 65536 (got %d)", math.MaxInt)}},
		"unknown type":         {at(Register{Type: "u16"}), []string{"registers[0].type: want int16, uint16, int32, uint32, int64, uint64, float32, float64, bool or string (got u16)"}},
		"unknown order":        {at(Register{Order: "big"}), []string{"registers[0].order: want ABCD, CDAB, BADC or DCBA (got big)"}},
		"number in a coil":     {at(Register{Table: "coil", Type: "uint16"}), []string{"registers[0].type: coils and discrete inputs are bool (got uint16); leave type out"}},
		"bit of a coil":        {at(Register{Table: "discrete", Bit: new(1)}), []string{"registers[0].bit: coils and discrete inputs have no bits (got 1); address names the bit"}},
		"bit of a number":      {at(Register{Bit: new(1)}), []string{"registers[0].bit: only a bool is a bit of a register (got 1); set type: bool"}},
		"bool without bit":     {at(Register{Type: "bool"}), []string{"registers[0].bit: not set; say which bit of the register it is, 0 (lowest) to 15"}},
		"bit 16":               {at(Register{Type: "bool", Bit: new(16)}), []string{"registers[0].bit: want 0 (lowest) to 15 (got 16)"}},
		"row of bits":          {at(Register{Type: "bool", Bit: new(1), Count: new(3)}), []string{"registers[0].count: a row of bits of a register has no meaning (got 3); list the bits one by one"}},
		"string, no length":    {at(Register{Type: "string"}), []string{"registers[0].length: not set; say how many registers the string has, two characters each"}},
		"string, length 0":     {at(Register{Type: "string", Length: new(0)}), []string{"registers[0].length: want 1 to 125 registers (got 0)"}},
		"string, length 126":   {at(Register{Type: "string", Length: new(126)}), []string{"registers[0].length: want 1 to 125 registers (got 126)"}},
		"string, word order":   {at(Register{Type: "string", Length: new(2), Order: "CDAB"}), []string{"registers[0].order: the characters of a string come first register first (got CDAB); want ABCD or BADC"}},
		"length of a number":   {at(Register{Length: new(2)}), []string{"registers[0].length: only a string has a length (got 2)"}},
		"string over quantity": {func(c *Config) { at(Register{Type: "string", Length: new(9)})(c); c.MaxQuantity = 8 }, []string{"registers[0].length: needs 9 registers in one request, max_quantity is 8 (got 9)"}},
		"type over quantity":   {func(c *Config) { at(Register{Type: "float64"})(c); c.MaxQuantity = 3 }, []string{"registers[0].type: needs 4 registers in one request, max_quantity is 3 (got float64)"}},
		"scale 0":              {at(Register{Scale: new(0.0)}), []string{"registers[0].scale: want a number other than 0 (got 0)"}},
		"scale not a number":   {at(Register{Scale: new(math.NaN())}), []string{"registers[0].scale: want a number other than 0 (got NaN)"}},
		"scale of a bit":       {at(Register{Table: "coil", Scale: new(2.0)}), []string{"registers[0].scale: only numbers are scaled (got 2)"}},
		"offset of a string":   {at(Register{Type: "string", Length: new(1), Offset: 2}), []string{"registers[0].offset: only numbers have an offset (got 2)"}},
		"offset infinite":      {at(Register{Offset: math.Inf(1)}), []string{"registers[0].offset: want a number (got +Inf)"}},
		"min above max":        {at(Register{Min: new(2.0), Max: new(1.0)}), []string{"registers[0].min: is above max, which is 1 (got 2)"}},
		"min not a number":     {at(Register{Min: new(math.NaN())}), []string{"registers[0].min: want a number (got NaN)"}},
		"max of a bit":         {at(Register{Table: "coil", Max: new(1.0)}), []string{"registers[0].max: only numbers have bounds (got 1)"}},
		"empty enum":           {at(Register{Enum: map[int64]string{}}), []string{"registers[0].enum: lists nothing; leave it out, or list the numbers with their texts"}},
		"enum of a float":      {at(Register{Type: "float32", Enum: map[int64]string{1: "on"}}), []string{"registers[0].enum: only integers and bools have texts"}},
		"enum of a scaled":     {at(Register{Scale: new(0.1), Enum: map[int64]string{1: "on"}}), []string{"registers[0].enum: a scaled number has no texts; leave out scale and offset"}},
		"enum out of range": {
			at(Register{Type: "int16", Enum: map[int64]string{32767: "a", 32768: "b", -32768: "c", -32769: "d"}}),
			[]string{"registers[0].enum: the register holds -32768 to 32767 (got -32769)", "registers[0].enum: the register holds -32768 to 32767 (got 32768)"},
		},
		"enum of a bit":      {at(Register{Table: "coil", Enum: map[int64]string{2: "a"}}), []string{"registers[0].enum: the register holds 0 to 1 (got 2)"}},
		"enum of a register": {at(Register{Enum: map[int64]string{65535: "a", 65536: "b"}}), []string{"registers[0].enum: the register holds 0 to 65535 (got 65536)"}},
		"channel twice": {
			with(Register{Channel: "r", Address: new(0), Count: new(10)}, Register{Channel: "r7", Address: new(20)}, Register{Channel: "r", Address: new(30), Count: new(3)}),
			[]string{
				"registers[1].channel: registers[0] gives a channel of this name already (got r7); give each channel a name of its own",
				"registers[2].channel: registers[0] gives a channel of this name already (got r0); give each channel a name of its own",
			},
		},
		"overlap": {
			with(Register{Channel: "a", Address: new(10), Type: "uint32"}, Register{Channel: "b", Address: new(11)}),
			[]string{"registers[1].address: holding 11 of channel b overlaps holding 10..11 of channel a in registers[0] (got 11)"},
		},
		"overlap with what is listed later": {
			with(Register{Channel: "a", Address: new(11)}, Register{Channel: "b", Address: new(10), Type: "uint32"}),
			[]string{"registers[1].address: holding 10..11 of channel b overlaps holding 11 of channel a in registers[0] (got 10)"},
		},
		"overlap with a long one": {
			with(Register{Channel: "s", Address: new(0), Type: "string", Length: new(20)}, Register{Channel: "b", Address: new(3)}, Register{Channel: "c", Address: new(19)}),
			[]string{
				"registers[1].address: holding 3 of channel b overlaps holding 0..19 of channel s in registers[0] (got 3)",
				"registers[2].address: holding 19 of channel c overlaps holding 0..19 of channel s in registers[0] (got 19)",
			},
		},
		"overlap of rows, said once": {
			with(Register{Channel: "a", Address: new(0), Count: new(10)}, Register{Channel: "b", Address: new(0), Count: new(10)}),
			[]string{"registers[1].address: holding 0 of channel b0 overlaps holding 0 of channel a0 in registers[0] (got 0)"},
		},
		"the same bit twice": {
			with(Register{Channel: "a", Address: new(1), Type: "bool", Bit: new(3)}, Register{Channel: "b", Address: new(1), Type: "bool", Bit: new(3)}),
			[]string{"registers[1].address: holding 1 of channel b overlaps holding 1 of channel a in registers[0] (got 1)"},
		},
		"a bit and its register": {
			with(Register{Channel: "a", Address: new(1), Type: "bool", Bit: new(3)}, Register{Channel: "b", Address: new(1)}),
			[]string{"registers[1].address: holding 1 of channel b overlaps holding 1 of channel a in registers[0] (got 1)"},
		},
		"OK map":           {func(c *Config) { c.Map, c.Registers = "eastron-sdm120", nil }, nil},
		"OK map and more":  {func(c *Config) { c.Map = "eastron-sdm120" }, nil},
		"unknown map":      {func(c *Config) { c.Map = "eastron-sdm12" }, []string{`map: no map of this name comes with the gateway (got eastron-sdm12); did you mean "eastron-sdm120"?`}},
		"map and quantity": {func(c *Config) { c.Map, c.MaxQuantity, c.Registers = "peacefair-pzem004t", 1, nil }, slices.Repeat([]string{"map: needs 2 registers in one request, max_quantity is 1 (got uint32)"}, 3)},
		"channel of the map": {
			func(c *Config) { c.Map, c.Registers[0].Channel = "eastron-sdm120", "power" },
			[]string{"registers[0].channel: map eastron-sdm120 gives a channel of this name already (got power); give each channel a name of its own"},
		},
		"register of the map": {
			func(c *Config) {
				c.Map = "eastron-sdm120"
				c.Registers = []Register{{Channel: "x", Table: "holding", Address: new(12)}, {Channel: "y", Table: "input", Address: new(13)}}
			},
			[]string{"registers[1].address: input 13 of channel y overlaps input 12..13 of channel power in map eastron-sdm120 (got 13)"},
		},
		"all at once": {
			func(c *Config) {
				*c = Config{Address: "x", Unit: -1, MaxGap: 500, MaxQuantity: 126, Registers: []Register{{Type: "x", Order: "x", Table: "x"}}}
			},
			[]string{
				"address: want tcp://host:port or rtu:///dev/ttyUSB0?baud=9600&parity=even (got x)",
				"unit: a unit is 0 to 255 (got -1)", "timeout: want 10ms to 1m (got 0s)", "max_gap: want 0 to 124 registers (got 500)",
				"max_quantity: one request asks for 1 to 125 registers (got 126)",
				"registers[0].table: want holding, input, coil or discrete (got x)", "registers[0].address: not set; " + count,
				"registers[0].order: want ABCD, CDAB, BADC or DCBA (got x)",
				"registers[0].type: want int16, uint16, int32, uint32, int64, uint64, float32, float64, bool or string (got x)",
				"registers[0].channel: name is empty",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := good()
			tt.change(c)
			var got []string
			for _, e := range c.Validate() {
				got = append(got, e.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestDocNamesTheMaps: whoever reads what the driver serves finds each map by its name, in the driver's text, in the setting's and in README.md.
func TestDocNamesTheMaps(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	field, _ := reflect.TypeFor[Config]().FieldByName("Map")
	for _, name := range maps.Names() {
		for where, text := range map[string]string{"Doc": Driver.Doc, "doc of map": field.Tag.Get("doc"), "README.md": string(readme)} {
			if !strings.Contains(text, name) {
				t.Errorf("%s does not name %s", where, name)
			}
		}
	}
}

// TestMapIsRead: the limits of a map hold, and its registers come first.
func TestMapIsRead(t *testing.T) {
	c := config(false, Register{Channel: "extra", Address: new(0)})
	c.Map = "eastron-sdm630"
	for _, e := range c.Validate() {
		t.Fatal(e)
	}
	l, _ := c.check()
	if l.maxGap != 16 || l.maxQuantity != 80 {
		t.Errorf("gap %d, quantity %d", l.maxGap, l.maxQuantity)
	}
	d := openDevice(t, c, &fakeHost{}).(*device)
	if len(d.plan) != 2 || d.plan[1].String() != "input 0..79" {
		t.Errorf("plan: %v", d.plan)
	}
	chs := c.Channels()
	if len(chs) != len(d.readings) || chs[0].Name != "voltage_l1" || chs[0].Unit != "V" || chs[len(chs)-1].Name != "extra" {
		t.Errorf("channels: %v", chs)
	}
	c.Map = "none"
	if chs := c.Channels(); len(chs) != 1 || chs[0].Name != "extra" {
		t.Errorf("channels despite a fault: %v", chs)
	}
}
