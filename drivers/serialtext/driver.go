package serialtext

import (
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// chanFault is the channel that every talker has beside those of its expressions.
const chanFault = "line_fault"

// Driver describes talkers on a serial port.
var Driver = drivers.Driver{
	Name: "serialtext",
	Doc: `Talkers on a serial port (or behind a serial device server, tcp://host:port): devices that send lines of text by themselves.
Named groups of the expression in "line" become channels, as in '^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$'.
Frames end with a delimiter (default: newline), after a fixed length, or with a pause; the longest is 4096 bytes.
Numbers are plain decimal ones; NaN, Inf and hexadecimal are refused. A group that can only match digits is an integer, with a
decimal point a number; any other group is a number if it reads as one, else text. Settle it under "channels".
A line that does not match, is too long, cut short, has odd bytes or a wrong checksum is never a value: the channel
"line_fault" says what was wrong, and with how many. The talker needs the port for itself; this driver never writes to it.`,
	Channels: []drivers.Channel{
		{Name: chanFault, Kind: tidegate.KindText, Meaning: "what was wrong with a line that was not used; only ever a fault"},
	},
	Every: 0,
	Hear:  hear,
	New:   func() drivers.Config { return newConfig() },
	Sample: `name: console
driver: serialtext
port: /dev/ttyUSB1
baud: 115200
line: '^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$'
channels:
  temp: {type: number, unit: Cel, meaning: temperature of the boiler}
silence: 1m
`,
}

func newConfig() *Config {
	return &Config{
		Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1",
		Framing: talker.ByDelimiter, Delimiter: `\n`, Idle: 20 * time.Millisecond, Gap: time.Second,
		Silence: time.Hour, Encoding: encASCII, Decimal: ".",
	}
}
