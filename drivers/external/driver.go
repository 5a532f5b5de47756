package external

import (
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// chanFault is the channel that every program has beside those of its settings.
const chanFault = "line_fault"

// Driver describes programs that write readings.
var Driver = drivers.Driver{
	Name: "external",
	Doc: `Any program that writes its readings to standard output, one line of JSON each, as {"channel":"temp","value":21.5,"unit":"Cel"}.
With mode talk it runs on and writes when it likes; with poll it is asked by a line {"read":7} on standard input and ends its answer
with {"done":7}; with once it is started for each reading and ends. Outputs are set by {"set":"relay","value":true,"id":8}, and
answered by {"ack":8} or {"nack":8,"error":"why"}. The program is executed without a shell, by the gateway's user and within its
sandbox. It is started again when it ends, hangs or floods, a limited number of times an hour, and anew when its file changes.
A line that is not exactly of this kind is never a value: the channel "line_fault" says what was wrong, and with how many.`,
	Channels: []drivers.Channel{
		{Name: chanFault, Kind: tidegate.KindText, Meaning: "what was wrong with a line that was not used; only ever a fault"},
	},
	Every: 0, // but see Config.Every
	New: func() drivers.Config {
		return &Config{Mode: modeTalk, Timeout: time.Minute, Grace: 2 * time.Second, Starts: 10, Memory: 256, Lines: 100}
	},
	Sample: `- name: sockets
  driver: external
  every: 10s
  mode: once
  command: [/usr/bin/awk, '/^TCP:/ { printf "{\"channel\":\"tcp\",\"value\":%d}\n", $3 }', /proc/net/sockstat]
  channels:
    - {name: tcp, type: integer, meaning: TCP sockets in use}
`,
}
