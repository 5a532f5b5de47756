package modbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// TestEchoingLine reads a unit through a real port on lines that echo and lines that do not, with echo set and without: an echo is never
// a value, and a setting that is wrong is named.
func TestEchoingLine(t *testing.T) {
	const silent = "unit 3 on PORT: read of holding 7: write: line does not give back what is sent: echo is set, but none of 8 bytes came back " +
		"within 100ms of the last bit; leave echo out if the adapter keeps it back, else see whether the transceiver gets to sending"
	for name, tt := range map[string]struct {
		echo string
		kind slave.Kind
		want string
	}{
		"set, and it echoes":                        {"yes", slave.EchoFirst, "a=7"},
		"not set, and it does not":                  {"no", slave.Intact, "a=7"},
		"not set, but it echoes":                    {"no", slave.EchoFirst, "a=7"},
		"not set, but it echoes and nobody answers": {"no", slave.Echo, "unit 3 on PORT: no reply within 300ms to read of holding 7, but an echo of the request"},
		"set, and it echoes and nobody answers":     {"yes", slave.Echo, "unit 3 on PORT: no reply within 300ms to read of holding 7"},
		"set, but nothing comes back":               {"yes", slave.Silent, silent},
		"set, but the unit's reply comes instead": {"yes", slave.Intact, "unit 3 on PORT: read of holding 7: write: line does not give back what is sent: " +
			"byte 3 of 8 came back as 0x02, want 0x00; a second master or a late reply on the line, or noise"},
	} {
		t.Run(name, func(t *testing.T) {
			far, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer far.Close()
			var wrong atomic.Bool
			wrong.Store(true)
			s := &slave.Slave{Units: []byte{3}, Values: echoAddress, Fault: func(slave.Request) slave.Fault {
				if wrong.Load() {
					return slave.Fault{Kind: tt.kind}
				}
				return slave.Fault{Kind: map[string]slave.Kind{"yes": slave.EchoFirst, "no": slave.Intact}[tt.echo]}
			}}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- s.ServeRTU(ctx, far.Master) }()
			defer func() {
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			}()
			c := config(false, Register{Channel: "a", Address: new(7)})
			c.Address, c.Timeout = fmt.Sprintf("rtu://%s?echo=%s", far.Path, tt.echo), 300*time.Millisecond
			d, err := c.Open(ctx, board.New(nil))
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Read(ctx)
			text := show(got)
			if err != nil {
				text = err.Error()
			}
			if want := strings.ReplaceAll(tt.want, "PORT", far.Path); text != want || errors.Is(err, drivers.ErrGone) {
				t.Errorf("got  %s\nwant %s", text, want)
			}
			wrong.Store(false) // somebody has seen to the line
			for range 3 {
				if got, err = d.Read(ctx); err == nil {
					break
				}
			}
			if show(got) != "a=7" {
				t.Errorf("then: got %s, %v", show(got), err)
			}
		})
	}
}
