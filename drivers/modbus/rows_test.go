package modbus

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	agentconfig "github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/maps"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// crc appends the CRC to an RTU frame, bit by bit as "MODBUS over Serial Line V1.02" section 6.2.2 tells it.
func crc(b []byte) []byte {
	sum := uint16(0xffff)
	for _, c := range b {
		sum ^= uint16(c)
		for range 8 {
			odd := sum & 1
			sum >>= 1
			if odd == 1 {
				sum ^= 0xa001
			}
		}
	}
	return binary.LittleEndian.AppendUint16(b, sum)
}

// piece is a part of what the far end says.
type piece struct {
	after time.Duration
	bytes []byte
}

// rawLine returns a host on whose line or connections the n-th request, from 1, is answered with the pieces that says returns, each after its
// pause. It counts how often it was opened.
func rawLine(t *testing.T, says func(n int, asked []byte) []piece) (h *fakeHost, opened *int) {
	t.Helper()
	opened = new(int)
	var wg sync.WaitGroup
	n := 0
	h = &fakeHost{open: func(context.Context) (drivers.Port, error) {
		*opened++
		near, far := newLine()
		wg.Go(func() {
			b := make([]byte, 300)
			for {
				m, err := far.Read(b)
				if err != nil {
					return
				}
				n++
				for _, p := range says(n, b[:m]) {
					time.Sleep(p.after)
					if _, err := far.Write(p.bytes); err != nil {
						return
					}
				}
			}
		})
		return near, nil
	}}
	t.Cleanup(func() {
		if h.bus != nil {
			if err := h.bus.Close(); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
	})
	return h, opened
}

// bytesOf reads hexadecimal.
func bytesOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFaultRows has the rows of the list of faults that concern frames, each by its name: what comes instead of the reply to the first
// request (RTU: unit 3, holding 7..8; TCP: the same, transaction 6), what the first Read says and how long it takes. The second Read is
// right in any case.
func TestFaultRows(t *testing.T) {
	const (
		rtu = "unit 3 on /dev/ttyX: "
		tcp = "unit 3 on meter:502: "
		no  = "no reply within 1s to read of holding 7..8"
	)
	frame := func(s string) []byte { return crc(bytesOf(t, s)) }
	for name, tt := range map[string]struct {
		onTCP  bool
		pieces []piece
		want   string
		atMost time.Duration
		opens  int // after the second Read
	}{
		"B-08 exception of 4 bytes":        {pieces: []piece{{0, frame("03 83 02")[:4]}}, want: rtu + "read of holding 7..8: got 4 bytes, want a reply of 9: 03 83 02 61"},
		"B-08 exception of 2 bytes":        {pieces: []piece{{0, bytesOf(t, "03 83")}}, want: rtu + "read of holding 7..8: got 2 bytes, want a reply of 9: 03 83"},
		"B-09 reply of another unit":       {pieces: []piece{{0, frame("04 03 04 0001 0002")}}, want: rtu + no + ", but a reply of unit 4"},
		"B-09 and then the right one":      {pieces: []piece{{0, frame("04 03 04 0001 0002")}, {900 * time.Millisecond, frame("03 03 04 0007 0008")}}, want: "a=7 b=8"},
		"B-10 byte count for one register": {pieces: []piece{{0, frame("03 03 02 0007")}}, want: rtu + "read of holding 7..8: a reply with byte count 2, want 4", atMost: 300 * time.Millisecond},
		"B-10 byte count 0":                {pieces: []piece{{0, frame("03 03 00")}}, want: rtu + "read of holding 7..8: a reply with byte count 0, want 4", atMost: 300 * time.Millisecond},
		"B-10 byte count 255":              {pieces: []piece{{0, frame("03 03 ff 0007 0008")}}, want: rtu + "read of holding 7..8: got 9 bytes, want a reply of 9: 03 03 ff 00 07 00 08 "},
		"B-10 TCP byte count 0":            {onTCP: true, pieces: []piece{{0, bytesOf(t, "0006 0000 0003 03 03 00")}}, want: tcp + "read of holding 7..8: a reply with byte count 0, want 4", atMost: time.Millisecond},
		"B-10 TCP byte count 255":          {onTCP: true, pieces: []piece{{0, bytesOf(t, "0006 0000 0007 03 03 ff 0007 0008")}}, want: tcp + "read of holding 7..8: a reply with byte count 255, want 4", atMost: time.Millisecond},
		"B-11 MBAP length 0":               {onTCP: true, pieces: []piece{{0, bytesOf(t, "0006 0000 0000 03")}}, want: tcp + "read of holding 7..8: read: gone: a header with length 0, want 3 to 254", atMost: time.Millisecond, opens: 2},
		"B-11 MBAP length 1":               {onTCP: true, pieces: []piece{{0, bytesOf(t, "0006 0000 0001 03")}}, want: tcp + "read of holding 7..8: read: gone: a header with length 1, want 3 to 254", atMost: time.Millisecond, opens: 2},
		"B-11 MBAP length 65535":           {onTCP: true, pieces: []piece{{0, bytesOf(t, "0006 0000 ffff 03 03 04 0007 0008")}}, want: tcp + "read of holding 7..8: read: gone: a header with length 65535, want 3 to 254", atMost: time.Millisecond, opens: 2},
		"B-11 header only":                 {onTCP: true, pieces: []piece{{0, bytesOf(t, "00 00 00 00 00 01 01")}}, want: tcp + "read of holding 7..8: read: gone: a header with length 1, want 3 to 254", atMost: time.Millisecond, opens: 2},
		"B-12 transaction n-1":             {onTCP: true, pieces: []piece{{0, bytesOf(t, "0005 0000 0007 03 03 04 0001 0002")}}, want: tcp + no + ", but a reply to transaction 5, want 6"},
		"B-12 n-1, then the right one":     {onTCP: true, pieces: []piece{{0, bytesOf(t, "0005 0000 0007 03 03 04 0001 0002 0006 0000 0007 03 03 04 0007 0008")}}, want: "a=7 b=8", atMost: time.Millisecond},
		"B-12 random transaction":          {onTCP: true, pieces: []piece{{0, bytesOf(t, "beef 0000 0007 03 03 04 0001 0002")}}, want: tcp + no + ", but a reply to transaction 48879, want 6"},
		"B-14 never answers":               {onTCP: true, want: tcp + no},
		"B-14 one byte a second":           {onTCP: true, pieces: []piece{{0, []byte{0}}, {time.Second, []byte{6}}, {time.Second, []byte{0}}}, want: tcp + "read of holding 7..8: read: gone: a frame that does not end within 1s: 00", opens: 2},
		"F-42 late":                        {pieces: []piece{{1500 * time.Millisecond, frame("03 03 04 0001 0002")}}, want: rtu + no},
		"F-42 twice":                       {pieces: []piece{{0, append(frame("03 03 04 0007 0008"), frame("03 03 04 0007 0008")...)}}, want: "a=7 b=8"},
		"F-42 another unit's":              {pieces: []piece{{0, frame("05 03 04 0001 0002")}}, want: rtu + no + ", but a reply of unit 5"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, opened := rawLine(t, func(n int, asked []byte) []piece {
					if n == 1 {
						return tt.pieces
					}
					if tt.onTCP {
						return []piece{{0, append(append([]byte{}, asked[:2]...), bytesOf(t, "0000 0007 03 03 04 0007 0008")...)}}
					}
					out := []byte{3, 3, 2 * asked[5]} // a probe is answered as well
					for i := range asked[5] {
						out = append(out, 0, asked[3]+i)
					}
					return []piece{{0, crc(out)}}
				})
				d := openDevice(t, config(tt.onTCP, Register{Channel: "a", Address: new(7)}, Register{Channel: "b", Address: new(8)}), h)
				if tt.onTCP {
					d.(*device).link = link.NewTCP(3, time.Second, 5)
				}
				start := time.Now()
				rs, err := d.Read(t.Context())
				took, got := time.Since(start), show(rs)
				if err != nil {
					got = err.Error()
				}
				if !strings.HasPrefix(got, tt.want) {
					t.Errorf("first Read:\n got %s\nwant %s", got, tt.want)
				}
				if atMost := max(tt.atMost, 0); atMost > 0 && took > atMost || took > 1200*time.Millisecond {
					t.Errorf("first Read took %v", took)
				}
				if strings.Contains(tt.want, "no reply") && took < time.Second {
					t.Errorf("it was waited for %v only", took)
				}
				if isGone := errors.Is(err, drivers.ErrGone); isGone != (tt.opens == 2) {
					t.Errorf("gone: %v", isGone)
				}
				if rs, err := d.Read(t.Context()); show(rs) != "a=7 b=8" || err != nil {
					t.Errorf("second Read: %s, %v", show(rs), err)
				}
				if *opened != max(tt.opens, 1) {
					t.Errorf("opened %d times, want %d", *opened, max(tt.opens, 1))
				}
			})
		})
	}
}

// TestB14OthersAreUnaffected: beside a slave that takes the connection and says nothing, and one that sends a byte a second, another one on a
// connection of its own is read as if they were not there.
func TestB14OthersAreUnaffected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mute, _ := rawLine(t, func(int, []byte) []piece { return nil })
		slow, _ := rawLine(t, func(int, []byte) []piece {
			return []piece{{0, []byte{0}}, {time.Second, []byte{0}}, {time.Second, []byte{0}}}
		})
		good, _ := plug(t, &slave.Slave{Units: []byte{3}, Values: echoAddress}, true)
		open := func(h *fakeHost) drivers.Device {
			return openDevice(t, config(true, Register{Channel: "a", Address: new(7)}), h)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, h := range []*fakeHost{mute, slow} {
			d := open(h)
			wg.Go(func() {
				for ctx.Err() == nil {
					start := time.Now()
					if rs, err := d.Read(ctx); err == nil || time.Since(start) > 2100*time.Millisecond {
						t.Errorf("%s, %v after %v", show(rs), err, time.Since(start))
					}
				}
			})
		}
		d := open(good)
		for range 600 {
			start := time.Now()
			if rs, err := d.Read(t.Context()); err != nil || show(rs) != "a=7" || time.Since(start) > time.Millisecond {
				t.Fatalf("%s, %v after %v", show(rs), err, time.Since(start))
			}
			time.Sleep(100 * time.Millisecond)
		}
		stop()
		wg.Wait()
	})
}

// TestB15NamesFileAndLine: what is out of range in the configuration is named with file, line and column.
func TestB15NamesFileAndLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gw.yaml")
	for name, tt := range map[string]struct{ text, want string }{
		"B-15 range beyond the table": {"registers: [{channel: a, address: 65530, count: 20}]", ":6:39: devices[0].registers[0].address: 20 registers from here on end beyond 65535 (got 65530)"},
		"B-15 quantity 0":             {"registers: [{channel: a, address: 0, count: 0}]", ":6:49: devices[0].registers[0].count: want 1 to 65536 (got 0)"},
		"B-15 quantity 126":           {"max_quantity: 126\n    registers: [{channel: a, address: 0}]", ":6:19: devices[0].max_quantity: one request asks for 1 to 125 registers (got 126)"},
		"B-15 string of 126":          {"registers: [{channel: a, address: 0, type: string, length: 126}]", ":6:64: devices[0].registers[0].length: want 1 to 125 registers (got 126)"},
		"unknown map":                 {"map: eastron-sdm360", `:6:10: devices[0].map: no map of this name comes with the gateway (got eastron-sdm360); did you mean "eastron-sdm630"?`},
	} {
		t.Run(name, func(t *testing.T) {
			text := "devices:\n  - name: m\n    driver: modbus\n    address: tcp://192.0.2.1\n    unit: 1\n    " + tt.text + "\nuplink: {url: \"mqtt://127.0.0.1\"}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, faults, err := agentconfig.Load(file, []drivers.Driver{Driver})
			var got []string
			for _, f := range faults {
				got = append(got, f.String())
			}
			if err == nil || len(got) != 1 || got[0] != file+tt.want {
				t.Errorf("got  %v\nwant %s", fmt.Sprint(got), file+tt.want)
			}
		})
	}
}

// TestReadmeIsRight: the blocks of README.md are a configuration, its outputs, and a map, and work as they stand there.
func TestReadmeIsRight(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, part := range strings.Split(string(readme), "```yaml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) != 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	c, faults, err := agentconfig.Parse("README.md", []byte(blocks[0]+blocks[1]+"uplink: {url: \"mqtt://127.0.0.1\"}\n"), []drivers.Driver{Driver})
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	var outputs []string
	for _, ch := range c.Devices[0].Channels {
		if ch.Output {
			outputs = append(outputs, fmt.Sprintf("%s %v %+v", ch.Name, ch.Kind, ch.Limits))
		}
	}
	want := "[valve yes/no {Min:0 Max:0 Pause:1s Safe:false} setpoint number {Min:5 Max:30 Pause:0s Safe:18} mode text {Min:0 Max:0 Pause:0s Safe:}]"
	if got := fmt.Sprint(outputs); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if m, errs := maps.Parse("README.md", []byte(blocks[2])); errs != nil || len(m.Registers) != 3 {
		t.Errorf("%+v, %v", m, errs)
	}
}
