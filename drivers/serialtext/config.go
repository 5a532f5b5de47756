package serialtext

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// Config is what the user sets for one talker.
type Config struct {
	Port     string `yaml:"port" doc:"serial port, best by its lasting name (/dev/serial/by-id/...), or tcp://host:port of a device server"`
	Baud     int    `yaml:"baud" doc:"bit/s, 50 to 4000000"`
	DataBits int    `yaml:"data_bits" doc:"5 to 8"`
	Parity   string `yaml:"parity" doc:"none, even, odd, mark or space"`
	StopBits string `yaml:"stop_bits" doc:"1 or 2"`

	Framing   string        `yaml:"framing" doc:"how a frame ends: delimiter, length or idle"`
	Delimiter string        `yaml:"delimiter" doc:"1 to 8 bytes that end a frame; \\r \\n \\t \\xHH are understood; CR around a line is dropped"`
	Length    int           `yaml:"length" doc:"bytes of a frame with framing by length, start and checksum included; 1 to 4096"`
	Idle      time.Duration `yaml:"idle" doc:"pause that ends a frame with framing by idle time; 1ms to 10s"`
	Start     string        `yaml:"start" doc:"text with which every frame begins, at most 8 bytes; what stands before it is dropped, and the line does not show it"`
	Gap       time.Duration `yaml:"gap" doc:"longest pause within a frame; after it the half frame is dropped; 1ms to 1h"`
	Silence   time.Duration `yaml:"silence" doc:"report a fault of all channels when no frame came for so long; 1s to 720h; 0 = never"`

	Encoding string `yaml:"encoding" doc:"bytes a line may hold: ascii, utf-8, latin1 (becomes UTF-8), or binary; control characters but tab only with binary"`
	Decimal  string `yaml:"decimal" doc:"decimal mark of the talker's numbers: . or ,"`
	Checksum Sum    `yaml:"checksum" doc:"checksum at the end of every frame; a frame with a wrong one is never a value"`

	Line   string           `yaml:"line" doc:"regular expression (RE2) that a line matches; its named groups become channels"`
	Lines  []string         `yaml:"lines" doc:"further expressions, tried in order when line does not match"`
	Ignore string           `yaml:"ignore" doc:"lines that match this expression are dropped without a word"`
	Groups map[string]Group `yaml:"channels" doc:"what is known of a channel, by the name of its group"`
}

// Sum describes the checksum of a frame. It stands at the frame's end; the line that the expression sees ends before it.
type Sum struct {
	Type        string `yaml:"type" doc:"xor, sum8, neg8, crc8, crc8-maxim, crc16-modbus, crc16-arc, crc16-ccitt, crc16-xmodem or crc32; empty = none"`
	Format      string `yaml:"format" doc:"how it is written: hex (default), decimal or binary"`
	Order       string `yaml:"order" doc:"of its bytes when there are several: big (default) or little"`
	Mark        string `yaml:"mark" doc:"text before it, as * in NMEA 0183, at most 8 bytes; empty = it is the last bytes of the frame"`
	CoversMarks bool   `yaml:"covers_marks" doc:"start and mark are summed as well"`
}

// Group is what the user knows of one channel.
type Group struct {
	Type    string  `yaml:"type" doc:"integer, number, text or bytes; empty = as the expression and the value suggest"`
	Unit    string  `yaml:"unit" doc:"unit, for instance Cel"`
	Scale   float64 `yaml:"scale" doc:"a number is multiplied by it; 0 or left out = 1"`
	Offset  float64 `yaml:"offset" doc:"then this is added"`
	Meaning string  `yaml:"meaning" doc:"one line for the technician"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	_, bad := c.compile()
	return slices.Concat(c.checkPort(), c.checkFraming(), c.checkSum(), bad)
}

// Channels returns the groups of the expressions, in their order.
func (c *Config) Channels() []drivers.Channel {
	p, _ := c.compile()
	out := make([]drivers.Channel, 0, len(p.channels))
	for _, ch := range p.channels {
		meaning := cmp.Or(ch.Meaning, "what group "+ch.name+" of the line says")
		out = append(out, drivers.Channel{Name: ch.name, Kind: ch.kind(), Unit: ch.Unit, Meaning: meaning})
	}
	return out
}

// Open gets the port from h. The port itself is opened by the first Read.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open talker: %w", bad[0])
	}
	p, _ := c.compile()
	bus, err := talker.Open(ctx, h, drivers.Serial{
		Port: c.Port, Baud: c.Baud, DataBits: c.DataBits, Parity: c.Parity, StopBits: c.StopBits,
	})
	if err != nil {
		return nil, fmt.Errorf("open talker on %s: %w", c.Port, err)
	}
	return &device{talker: talker.New(bus, c.rules()), lines: p}, nil
}

// rules returns how frames are told apart.
func (c *Config) rules() talker.Rules {
	r := talker.Rules{Framing: c.Framing, Length: c.Length, Patience: c.Gap, Silence: c.Silence, Name: "talker"}
	if c.Framing == talker.ByIdle {
		r.Patience = c.Idle
	}
	if c.Encoding != encBinary && c.Checksum.Format != "binary" {
		r.Around = "\r\n"
	}
	r.Delimiter, _ = unescape(c.Delimiter) // Validate has seen to both
	r.Start, _ = unescape(c.Start)
	return r
}

// Ports returns the talker's port. It is part of drivers.PortUser.
func (c *Config) Ports() []drivers.PortUse { return talker.Uses(c.Port) }

func (c *Config) checkPort() []drivers.FieldError {
	errs := talker.CheckPort(c.Port)
	if c.Baud < 50 || c.Baud > 4_000_000 {
		errs = append(errs, talker.OutOfRange("baud", strconv.Itoa(c.Baud), "50 to 4000000"))
	}
	if c.DataBits < 5 || c.DataBits > 8 {
		errs = append(errs, talker.OutOfRange("data_bits", strconv.Itoa(c.DataBits), "5 to 8"))
	}
	errs = append(errs, drivers.OneOf("parity", c.Parity, "none", "even", "odd", "mark", "space")...)
	return append(errs, drivers.OneOf("stop_bits", c.StopBits, "1", "2")...)
}

func (c *Config) checkFraming() []drivers.FieldError {
	errs := drivers.OneOf("framing", c.Framing, talker.ByDelimiter, talker.ByLength, talker.ByIdle)
	_, bad := checkText("delimiter", c.Delimiter)
	if errs = append(errs, bad...); c.Framing == talker.ByDelimiter && c.Delimiter == "" {
		errs = append(errs, drivers.FieldError{Field: "delimiter", Problem: "is empty", Hint: `leave it out for newline, or say what ends a line`})
	}
	n, bad := checkText("start", c.Start)
	if errs = append(errs, bad...); len(bad) == 0 && c.Framing == talker.ByLength && c.Length >= 1 && n >= c.Length {
		errs = append(errs, drivers.FieldError{
			Field: "start", Got: fmt.Sprintf("%d bytes", n),
			Problem: fmt.Sprintf("leaves nothing of a frame of %d bytes", c.Length),
		})
	}
	switch {
	case c.Framing == talker.ByLength && (c.Length < 1 || c.Length > talker.MaxFrame):
		errs = append(errs, talker.OutOfRange("length", strconv.Itoa(c.Length), "1 to 4096"))
	case c.Framing != talker.ByLength && c.Length != 0:
		errs = append(errs, drivers.FieldError{
			Field: "length", Got: strconv.Itoa(c.Length),
			Problem: "is of no use with framing " + c.Framing, Hint: "set framing: length, or leave it out",
		})
	}
	if c.Idle < time.Millisecond || c.Idle > 10*time.Second {
		errs = append(errs, talker.OutOfRange("idle", c.Idle.String(), "1ms to 10s"))
	}
	if c.Gap < time.Millisecond || c.Gap > time.Hour {
		errs = append(errs, talker.OutOfRange("gap", c.Gap.String(), "1ms to 1h"))
	}
	if c.Silence != 0 && (c.Silence < time.Second || c.Silence > 720*time.Hour) {
		errs = append(errs, talker.OutOfRange("silence", c.Silence.String(), "1s to 720h, or 0 for never"))
	}
	errs = append(errs, drivers.OneOf("encoding", c.Encoding, encASCII, encUTF8, encLatin1, encBinary)...)
	return append(errs, drivers.OneOf("decimal", c.Decimal, ".", ",")...)
}

func (c *Config) checkSum() []drivers.FieldError {
	s := c.Checksum
	if s == (Sum{}) {
		return nil
	}
	errs := drivers.OneOf("checksum.type", s.Type, sumNames()...)
	errs = append(errs, drivers.OneOf("checksum.format", s.Format, "", "hex", "decimal", "binary")...)
	errs = append(errs, drivers.OneOf("checksum.order", s.Order, "", "big", "little")...)
	_, bad := checkText("checksum.mark", s.Mark)
	errs = append(errs, bad...)
	if s.Format == "decimal" && s.Mark == "" {
		errs = append(errs, drivers.FieldError{
			Field: "checksum.mark", Problem: "is missing",
			Hint: "a decimal checksum has no fixed length: say what stands before it",
		})
	}
	if s.Format == "binary" && c.Framing == talker.ByDelimiter {
		errs = append(errs, drivers.FieldError{
			Field: "checksum.format", Got: s.Format,
			Problem: "cannot be used with framing delimiter: its bytes may be those of the delimiter", Hint: "frame by length or idle",
		})
	}
	return errs
}

// unescape resolves the escapes of Go strings, so that '\r\n' means the same in single and double quotes of YAML.
func unescape(s string) (string, error) {
	return strconv.Unquote(`"` + strings.NewReplacer(`"`, `\x22`, "\n", `\n`).Replace(s) + `"`)
}

// checkText checks a setting of 0 to 8 bytes, escapes resolved.
func checkText(field, s string) (n int, errs []drivers.FieldError) {
	b, err := unescape(s)
	switch {
	case err != nil:
		errs = append(errs, drivers.FieldError{Field: field, Got: strconv.Quote(s), Problem: `has a backslash that begins no \r, \n, \t, \\ or \xHH`})
	case len(b) > 8:
		errs = append(errs, talker.OutOfRange(field, fmt.Sprintf("%d bytes", len(b)), "at most 8 bytes"))
	}
	return len(b), errs
}
