package link

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestChecksum has the check value of the catalogue of CRC algorithms (CRC-16/MODBUS: 0x4b37) and the example of "MODBUS over
// Serial Line V1.02" section 6.2.2 (02 07 gives 0x1241).
func TestChecksum(t *testing.T) {
	if got := checksum([]byte("123456789")); got != 0x4b37 {
		t.Errorf("got 0x%04x, want 0x4b37", got)
	}
	if got := checksum([]byte{2, 7}); got != 0x1241 {
		t.Errorf("got 0x%04x, want 0x1241", got)
	}
	frame := []byte{2, 7, 0, 0}
	putCRC(frame)
	if got := hex.EncodeToString(frame); got != "02074112" {
		t.Errorf("got %s, want 02074112", got)
	}
}

// TestPDU has the examples of "MODBUS Application Protocol V1.1b3" sections 6.1 to 6.4.
func TestPDU(t *testing.T) {
	tests := map[string]struct {
		q                  Request
		ask, reply, values string
	}{
		"6.1 coils":             {Request{Coil, 0x13, 0x13}, "01 0013 0013", "01 03 cd6b05", "cd6b05"},
		"6.2 discrete inputs":   {Request{Discrete, 0xc4, 0x16}, "02 00c4 0016", "02 03 acdb35", "acdb35"},
		"6.3 holding registers": {Request{Holding, 0x6b, 3}, "03 006b 0003", "03 06 022b00000064", "022b00000064"},
		"6.4 input registers":   {Request{Input, 8, 1}, "04 0008 0001", "04 02 000a", "000a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.q.appendPDU(nil); !bytes.Equal(got, unhex(t, tt.ask)) {
				t.Errorf("asks % x, want %s", got, tt.ask)
			}
			if got, err := tt.q.values(unhex(t, tt.reply)); err != nil || !bytes.Equal(got, unhex(t, tt.values)) {
				t.Errorf("got % x, %v; want %s", got, err, tt.values)
			}
		})
	}
}

func TestPDURefused(t *testing.T) {
	q := Request{Holding, 0, 2}
	tests := map[string]struct{ reply, want string }{
		"nothing":                  {"", "a reply of 0 bytes, want at least 2"},
		"function only":            {"03", "a reply of 1 bytes, want at least 2"},
		"exception":                {"83 02", "exception 02 (illegal data address: the unit has no such register)"},
		"exception, too long":      {"83 02 00", "an exception of 3 bytes, want 2"},
		"exception of another":     {"84 02", "a reply to function 0x84, want 0x03"},
		"another function":         {"04 04 00010002", "a reply to function 0x04, want 0x03"},
		"count 0":                  {"03 00", "a reply with byte count 0, want 4"},
		"count 255":                {"03 ff 00010002", "a reply with byte count 255, want 4"},
		"count 2":                  {"03 02 0001", "a reply with byte count 2, want 4"},
		"fewer bytes than it says": {"03 04 000100", "a reply with 3 bytes of values, want 4"},
		"more bytes than it says":  {"03 04 0001000200", "a reply with 5 bytes of values, want 4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := q.values(unhex(t, tt.reply)); err == nil || err.Error() != tt.want || got != nil {
				t.Errorf("got % x, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// sum appends the CRC to a frame in hexadecimal.
func sum(t testing.TB, s string) string {
	f := append(unhex(t, s), 0, 0)
	putCRC(f)
	return hex.EncodeToString(f)
}

func TestScanRTU(t *testing.T) {
	q := Request{Holding, 0x0200, 1} // whose echo looks like a reply: function, byte count 2
	ask := sum(t, "07 03 0200 0001")
	good := sum(t, "07 03 02 1234")
	tests := map[string]struct {
		in   string
		want string // values, or "used: error", or "" for more
	}{
		"nothing":                     {"", ""},
		"one byte":                    {"07", ""},
		"half":                        {good[:8], ""},
		"reply":                       {good, "1234"},
		"noise first":                 {"00ff" + good, "1234"},
		"half a reply first":          {good[:8] + good, "7: a reply with CRC"}, // it may hide a frame: the rest is dropped with it
		"echo":                        {ask, "8: an echo of the request"},
		"half an echo":                {ask[:14], ""},
		"echo and reply":              {ask + good, "8: an echo of the request"},
		"noise and echo":              {"00" + ask, "8: a reply with CRC"},
		"exception":                   {sum(t, "07 83 02"), "5: exception 02"},
		"exception, 4 bytes (B-08)":   {sum(t, "07 83 02")[:8], ""},
		"another unit":                {sum(t, "08 03 02 1234"), "7: a reply of unit 8"},
		"another unit first":          {sum(t, "08 03 02 1234") + good, "7: a reply of unit 8"},
		"another unit's exception":    {sum(t, "08 83 02"), "5: a reply of unit 8"},
		"another unit's write":        {sum(t, "08 06 0001 0002"), "8: a reply of unit 8"},
		"another function":            {sum(t, "07 04 02 1234"), "7: a reply to function 0x04, want 0x03"},
		"wrong count (B-10)":          {sum(t, "07 03 04 12345678"), "9: a reply with byte count 4, want 2"},
		"count 0 (B-10)":              {sum(t, "07 03 00"), "5: a reply with byte count 0, want 2"},
		"count 255, cut (B-10)":       {"0703ff" + strings.Repeat("00", 200), ""},
		"wrong CRC":                   {"070302123400ff", "7: a reply with CRC"},
		"frame within a frame's half": {"070302", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			body, used, err := scanRTU(unhex(t, tt.in), 7, q, unhex(t, ask))
			got := hex.EncodeToString(body)
			if body == nil && used > 0 {
				got = strconv.Itoa(used) + ": " + err.Error()
			}
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFrameInsideReply: a text register may hold the bytes of a frame; they are not one while the reply is under way.
func TestFrameInsideReply(t *testing.T) {
	q := Request{Holding, 0, 10}
	ask := unhex(t, sum(t, "07 03 0000 000a"))
	inner := sum(t, "07 83 02")
	whole := unhex(t, sum(t, "07 03 14"+inner+strings.Repeat("41", 15)))
	for n := range whole {
		if body, used, err := scanRTU(whole[:n], 7, q, ask); body != nil || used != 0 || err != nil {
			t.Fatalf("of %d bytes: got % x, %d, %v", n, body, used, err)
		}
	}
	if body, _, err := scanRTU(whole, 7, q, ask); err != nil || len(body) != 20 {
		t.Errorf("got % x, %v", body, err)
	}
	// Damaged, it is dropped as a whole.
	whole[20] ^= 1
	if body, used, err := scanRTU(whole, 7, q, ask); body != nil || used != len(whole) || IsException(err) {
		t.Errorf("got % x, %d, %v", body, used, err)
	}
}

func TestTableWords(t *testing.T) {
	got := Request{Table(9), 1, 1}.String() + ", " + Request{Discrete, 3, 2}.String()
	if got != "table(9) 1, discrete 3..4" {
		t.Error(got)
	}
}

// bitwise is a CRC written a second time, to judge what the parser accepts.
func bitwise(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

func FuzzScanRTU(f *testing.F) {
	f.Add(unhex(f, sum(f, "07 03 02 1234")), byte(3), uint16(0), uint16(1))
	f.Add(unhex(f, sum(f, "07 83 02")), byte(3), uint16(0x200), uint16(1))
	f.Add(unhex(f, "07 83 02 c0"), byte(3), uint16(0), uint16(125))
	f.Add(unhex(f, "00"+sum(f, "07 01 03 cd6b05")), byte(1), uint16(0x13), uint16(0x13))
	f.Add(unhex(f, sum(f, "08 03 02 1234")+sum(f, "07 03 02 1234")), byte(3), uint16(9), uint16(1))
	f.Fuzz(func(t *testing.T, in []byte, table byte, address, quantity uint16) {
		q := Request{Table(1 + table%4), int(address), 1 + int(quantity)%125}
		sent := append(q.appendPDU([]byte{7}), 0, 0)
		putCRC(sent)
		for len(in) > 0 {
			body, used, err := scanRTU(in, 7, q, sent)
			if used < 0 || used > len(in) {
				t.Fatalf("used %d of %d bytes", used, len(in))
			}
			if body != nil || IsException(err) {
				size := 3 + len(body) + 2
				if body == nil {
					size = 5
				}
				frame := in[used-size : used]
				if frame[0] != 7 || frame[1]&0x7f != byte(q.Table) || bitwise(frame) != 0 || bytes.Equal(frame, sent) ||
					body != nil && len(body) != q.Bytes() {
					t.Fatalf("% x was taken for a reply to %v", frame, q)
				}
			}
			if used == 0 {
				return
			}
			if body == nil && err == nil {
				t.Fatalf("%d bytes were passed over without a reason", used)
			}
			in = in[used:]
		}
	})
}

func FuzzScanTCP(f *testing.F) {
	f.Add(unhex(f, "0001 0000 0005 07 03 02 1234"))
	f.Add(unhex(f, "0001 0000 0003 07 83 02 0002 0000 0005 07 03 02 1234"))
	f.Add(unhex(f, "0000 0000 0001 01"))
	f.Add(unhex(f, "0001 0000 ffff 07 03"))
	f.Add(unhex(f, "0001 0001 0005 07"))
	f.Fuzz(func(t *testing.T, in []byte) {
		q := Request{Holding, 0, 1}
		for {
			frame, err := scanTCP(in)
			if err != nil || frame == nil {
				if err == nil && len(in) >= maxTCP {
					t.Fatalf("wants more than %d bytes", len(in))
				}
				return
			}
			if len(frame) < headerSize+2 || len(frame) > maxTCP || int(binary.BigEndian.Uint16(frame[4:])) != len(frame)-6 {
				t.Fatalf("frame % x", frame)
			}
			if body, err := q.values(frame[headerSize:]); err == nil && len(body) != 2 {
				t.Fatalf("% x gave % x", frame, body)
			}
			in = in[len(frame):]
		}
	})
}

// TestDebts tells stories of what a unit still owes. Each step: what is asked, and how it ends: "ok" values, "no" reply, "ex"ception;
// before that, what Probe says: "" nothing, else the quantity of the probe.
func TestDebts(t *testing.T) {
	type step struct {
		table    Table
		quantity int
		probe    string
		end      string
	}
	tests := map[string][]step{
		"values settle all": {
			{Holding, 2, "", "no"}, {Holding, 4, "", "no"}, {Holding, 2, "1", "no"}, {Holding, 6, "", "ok"}, {Holding, 2, "", "ok"}, {Holding, 4, "", "ok"},
		},
		"another shape may go": {
			{Holding, 2, "", "no"}, {Input, 2, "", "no"}, {Holding, 3, "", "no"}, {Holding, 2, "1", ""}, {Input, 2, "1", ""}, {Coil, 5, "", "no"}, {Coil, 8, "9", ""},
		},
		"a probe has a shape of its own": {
			{Holding, 1, "", "no"}, {Holding, 1, "2", "probe no"}, {Holding, 1, "3", "probe no"}, {Holding, 3, "4", ""},
		},
		"a probe's values settle": {
			{Holding, 1, "", "no"}, {Holding, 1, "2", "probe ok"}, {Holding, 1, "", "ok"},
		},
		"an exception of nobody's debt": {
			{Holding, 1, "", "ex"}, {Holding, 1, "", "ex"},
		},
		"an exception settles the oldest of its table only": {
			{Input, 1, "", "no"},
			{Holding, 1, "", "no"},
			{Holding, 2, "", "no"},
			{Holding, 2, "3", "probe ex"},
			{Holding, 1, "", "no"},
			{Holding, 2, "4", "probe ex"},
			{Holding, 2, "", ""},
			{Holding, 3, "2", ""},
			{Input, 1, "2", ""},
		},
		"four probes write off what is older than they": {
			{Holding, 1, "", "no"},
			{Holding, 1, "2", "probe no"},
			{Holding, 1, "3", "probe no"},
			{Holding, 1, "4", "probe no"},
			{Holding, 1, "5", "probe no"},
			{Holding, 1, "", "no"},
			{Holding, 2, "6", ""},
			{Holding, 5, "6", ""},
			{Holding, 1, "6", ""},
		},
		"many debts: nothing but probes": {
			{Holding, 1, "", "no"},
			{Holding, 2, "", "no"},
			{Holding, 3, "", "no"},
			{Holding, 4, "", "no"},
			{Holding, 5, "", "no"},
			{Holding, 6, "", "no"},
			{Holding, 7, "", "no"},
			{Holding, 8, "", "no"},
			{Holding, 9, "10", ""},
			{Coil, 1, "9", ""},
		},
		"many debts and refused probes: an end": {
			{Holding, 1, "", "no"},
			{Holding, 2, "", "no"},
			{Holding, 3, "", "no"},
			{Holding, 4, "", "no"},
			{Holding, 5, "", "no"},
			{Holding, 6, "", "no"},
			{Holding, 7, "", "no"},
			{Holding, 8, "", "no"},
			{Holding, 9, "10", "probe ex"},
			{Holding, 9, "1", "probe ex"},
			{Holding, 9, "2", "probe ex"},
			{Holding, 9, "3", "probe ex"},
			{Holding, 9, "", "no"},
			{Holding, 8, "", ""},
			{Holding, 3, "4", ""},
		},
		"refused probes beside debts of another table": {
			{Coil, 1, "", "no"},
			{Coil, 9, "", "no"},
			{Coil, 17, "", "no"},
			{Coil, 25, "", "no"},
			{Coil, 33, "", "no"},
			{Coil, 41, "", "no"},
			{Coil, 49, "", "no"},
			{Coil, 57, "", "no"},
			{Holding, 1, "2", "probe ex"},
			{Holding, 1, "2", "probe ex"},
			{Holding, 1, "2", "probe ex"},
			{Holding, 1, "2", "probe ex"},
			{Holding, 1, "", ""},
			{Coil, 1, "", ""},
			{Coil, 57, "1", ""},
		},
	}
	ends := map[string]error{"ok": nil, "no": NoReply{}, "ex": Exception(6)}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			l := NewRTU(drivers.NewBus("line", nil), 1, time.Second, 9600)
			for i, s := range steps {
				q := Request{s.table, 65530, s.quantity}
				p, ok := l.Probe(q, nil)
				got := ""
				if ok {
					got = strconv.Itoa(p.Quantity)
				}
				if got != s.probe || ok && (p.Table != q.Table || p.Address+p.Quantity > Addresses) {
					t.Fatalf("step %d: probe %+v %v, want quantity %q", i, p, ok, s.probe)
				}
				end, isProbe := strings.CutPrefix(s.end, "probe ")
				if isProbe {
					q = p
				}
				if err, ok := ends[end]; ok {
					l.account(q, err)
				}
			}
		})
	}
}

// lateport takes part of what is written, or nothing, because the deadline has passed.
type lateport struct {
	drivers.Port
	takes int
	err   error
	after time.Duration
}

func (p *lateport) SetReadDeadline(time.Time) error  { return nil }
func (p *lateport) SetWriteDeadline(time.Time) error { return nil }
func (p *lateport) Read([]byte) (int, error) {
	time.Sleep(time.Second)
	return 0, os.ErrDeadlineExceeded
}
func (p *lateport) Write([]byte) (int, error) { time.Sleep(p.after); return p.takes, p.err }

// TestWriteWhoseTimeIsOver: where nothing went out because ctx was done, the port others share is left alone, and no reply is owed.
func TestWriteWhoseTimeIsOver(t *testing.T) {
	stuck := fmt.Errorf("%w: the port takes no more: %w", drivers.ErrGone, os.ErrDeadlineExceeded)
	for name, tt := range map[string]struct {
		port lateport
		gone bool
	}{
		"over before":     {lateport{takes: 0, err: os.ErrDeadlineExceeded}, false},
		"half is out":     {lateport{takes: 3, err: os.ErrDeadlineExceeded}, true},
		"stuck in it":     {lateport{takes: 0, err: stuck}, true},
		"nothing taken":   {lateport{takes: 0, err: os.ErrDeadlineExceeded, after: 2 * time.Second}, true},
		"something wrong": {lateport{takes: 0, err: io.ErrClosedPipe}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := Request{Holding, 0, 1}
				rtu := NewRTU(drivers.NewBus("line", nil), 1, time.Second, 9600)
				for name, l := range map[string]interface {
					Exchange(p drivers.Port, q Request) ([]byte, error)
				}{"RTU": rtu, "TCP": NewTCP(1, time.Second, 0)} {
					if _, err := l.Exchange(&tt.port, q); err == nil || errors.Is(err, drivers.ErrGone) != tt.gone {
						t.Errorf("%s: %v, want it gone: %v", name, err, tt.gone)
					}
				}
				if _, owes := rtu.Probe(q, nil); owes != tt.gone {
					t.Errorf("a reply is owed: %v", owes)
				}
			})
		})
	}
}
