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
	if got := CRC([]byte("123456789")); got != 0x4b37 {
		t.Errorf("got 0x%04x, want 0x4b37", got)
	}
	if got := CRC([]byte{2, 7}); got != 0x1241 {
		t.Errorf("got 0x%04x, want 0x1241", got)
	}
	frame := []byte{2, 7, 0, 0}
	putCRC(frame)
	if got := hex.EncodeToString(frame); got != "02074112" {
		t.Errorf("got %s, want 02074112", got)
	}
}

// TestPDU has the examples of "MODBUS Application Protocol V1.1b3" sections 6.1 to 6.6, 6.11 and 6.12; of 6.11, whose example writes more
// coils than a Request does, the form.
func TestPDU(t *testing.T) {
	tests := map[string]struct {
		q                  Request
		ask, reply, values string
	}{
		"6.1 coils":             {Request{Table: Coil, Address: 0x13, Quantity: 0x13}, "01 0013 0013", "01 03 cd6b05", "cd6b05"},
		"6.2 discrete inputs":   {Request{Table: Discrete, Address: 0xc4, Quantity: 0x16}, "02 00c4 0016", "02 03 acdb35", "acdb35"},
		"6.3 holding registers": {Request{Table: Holding, Address: 0x6b, Quantity: 3}, "03 006b 0003", "03 06 022b00000064", "022b00000064"},
		"6.4 input registers":   {Request{Table: Input, Address: 8, Quantity: 1}, "04 0008 0001", "04 02 000a", "000a"},
		"6.5 one coil": {
			Request{Table: Coil, Address: 0xac, Quantity: 1, Write: WriteCoil, Values: [4]uint16{1}},
			"05 00ac ff00", "05 00ac ff00", "00acff00",
		},
		"6.5 one coil, off": {
			Request{Table: Coil, Address: 0xac, Quantity: 1, Write: WriteCoil},
			"05 00ac 0000", "05 00ac 0000", "00ac0000",
		},
		"6.6 one register": {
			Request{Table: Holding, Address: 1, Quantity: 1, Write: WriteRegister, Values: [4]uint16{3}},
			"06 0001 0003", "06 0001 0003", "00010003",
		},
		"6.11 coils": {
			Request{Table: Coil, Address: 0x13, Quantity: 4, Write: WriteCoils, Values: [4]uint16{1, 0, 1, 1}},
			"0f 0013 0004 01 0d", "0f 0013 0004", "00130004",
		},
		"6.12 registers": {
			Request{Table: Holding, Address: 1, Quantity: 2, Write: WriteRegisters, Values: [4]uint16{0x000a, 0x0102}},
			"10 0001 0002 04 000a 0102", "10 0001 0002", "00010002",
		},
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
	q := Request{Table: Holding, Address: 0, Quantity: 2}
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

// TestWriteRefused: what a unit repeats of a write has to be what was written.
func TestWriteRefused(t *testing.T) {
	coil := Request{Table: Coil, Address: 5, Quantity: 1, Write: WriteCoil, Values: [4]uint16{1}}
	word := Request{Table: Holding, Address: 5, Quantity: 1, Write: WriteRegister, Values: [4]uint16{7}}
	words := Request{Table: Holding, Address: 5, Quantity: 2, Write: WriteRegisters, Values: [4]uint16{7, 8}}
	tests := map[string]struct {
		q           Request
		reply, want string
	}{
		"exception":            {coil, "85 02", "exception 02 (illegal data address: the unit has no such register)"},
		"exception of another": {coil, "86 02", "a reply to function 0x86, want 0x05"},
		"reply to a read":      {word, "03 02 0007", "a reply to function 0x03, want 0x06"},
		"another coil":         {coil, "05 0006 ff00", "a reply that repeats 00 06 ff 00 of the write, want 00 05 ff 00"},
		"off instead of on":    {coil, "05 0005 0000", "a reply that repeats 00 05 00 00 of the write, want 00 05 ff 00"},
		"another value":        {word, "06 0005 0003", "a reply that repeats 00 05 00 03 of the write, want 00 05 00 07"},
		"another quantity":     {words, "10 0005 0001", "a reply that repeats 00 05 00 01 of the write, want 00 05 00 02"},
		"the whole request":    {words, "10 0005 0002 04 0007 0008", "a reply of 10 bytes to a write, want 5"},
		"cut":                  {word, "06 0005 00", "a reply of 4 bytes to a write, want 5"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := tt.q.values(unhex(t, tt.reply)); err == nil || err.Error() != tt.want || got != nil {
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
	q := Request{Table: Holding, Address: 0x0200, Quantity: 1} // whose echo looks like a reply: function, byte count 2
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
		"B-08 exception, 4 bytes":     {sum(t, "07 83 02")[:8], ""},
		"another unit":                {sum(t, "08 03 02 1234"), "7: a reply of unit 8"},
		"another unit first":          {sum(t, "08 03 02 1234") + good, "7: a reply of unit 8"},
		"another unit's exception":    {sum(t, "08 83 02"), "5: a reply of unit 8"},
		"another unit's write":        {sum(t, "08 06 0001 0002"), "8: a reply of unit 8"},
		"another function":            {sum(t, "07 04 02 1234"), "7: a reply to function 0x04, want 0x03"},
		"B-10 wrong count":            {sum(t, "07 03 04 12345678"), "9: a reply with byte count 4, want 2"},
		"B-10 count 0":                {sum(t, "07 03 00"), "5: a reply with byte count 0, want 2"},
		"B-10 count 255, cut":         {"0703ff" + strings.Repeat("00", 200), ""},
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
	q := Request{Table: Holding, Address: 0, Quantity: 10}
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

// BenchmarkScanRTU finds the largest reply, 125 registers, in what came in, its CRC included.
func BenchmarkScanRTU(b *testing.B) {
	q := Request{Table: Holding, Quantity: 125}
	sent := append(q.appendPDU([]byte{7}), 0, 0)
	putCRC(sent)
	frame := append([]byte{7, 3, 250}, make([]byte, 252)...)
	putCRC(frame)
	b.ReportAllocs()
	for b.Loop() {
		if body, used, err := scanRTU(frame, 7, q, sent); len(body) != 250 || used != len(frame) || err != nil {
			b.Fatal(len(body), used, err)
		}
	}
}

// TestScanAllocatesNothing: no register of a reply costs an allocation, nor does a reply.
func TestScanAllocatesNothing(t *testing.T) {
	q := Request{Table: Holding, Quantity: 125}
	frame := append([]byte{7, 3, 250}, make([]byte, 252)...)
	putCRC(frame)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = scanRTU(frame, 7, q, nil) }); n != 0 {
		t.Errorf("a reply costs %v allocations", n)
	}
}

func TestTableWords(t *testing.T) {
	got := Request{Table: Table(9), Address: 1, Quantity: 1}.String() + ", " + Request{Table: Discrete, Address: 3, Quantity: 2}.String()
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
	f.Add(unhex(f, sum(f, "07 06 0009 0001")), byte(5), uint16(9), uint16(1))
	f.Add(unhex(f, sum(f, "07 06 0009 0002")+sum(f, "07 06 0009 0001")), byte(5), uint16(9), uint16(1))
	f.Add(unhex(f, sum(f, "07 10 0009 0002")), byte(7), uint16(9), uint16(1))
	f.Fuzz(func(t *testing.T, in []byte, table byte, address, quantity uint16) {
		q := fuzzed(table, address, quantity)
		sent := append(q.appendPDU([]byte{7}), 0, 0)
		putCRC(sent)
		order := sent
		if q.Write.isEchoed() {
			sent = nil
		}
		for len(in) > 0 {
			body, used, err := scanRTU(in, 7, q, sent)
			if used < 0 || used > len(in) {
				t.Fatalf("used %d of %d bytes", used, len(in))
			}
			if body != nil || IsException(err) {
				size := 1 + q.replyBytes() + 2
				if body == nil {
					size = 5
				}
				frame := in[used-size : used]
				isRead := q.Write == 0
				if frame[0] != 7 || frame[1]&0x7f != q.function() || bitwise(frame) != 0 || bytes.Equal(frame, sent) ||
					body != nil && isRead && len(body) != q.Bytes() || body != nil && !isRead && !bytes.Equal(frame[:6], order[:6]) {
					t.Fatalf("% x was taken for a reply to %s", frame, q.Deed())
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

// fuzzed makes a request of what the fuzzer draws.
func fuzzed(table byte, address, quantity uint16) Request {
	q := Request{Table: Table(1 + table%4), Address: int(address), Quantity: 1 + int(quantity)%125}
	if table%8 < 4 {
		return q
	}
	q.Values = [MostWritten]uint16{quantity, address, quantity, 1}
	q.Write = []Function{WriteCoil, WriteRegister, WriteCoils, WriteRegisters}[table%4]
	q.Table, q.Quantity = Holding, 1+int(quantity)%MostWritten
	if q.Write == WriteCoil || q.Write == WriteCoils {
		q.Table = Coil
		for i := range q.Values {
			q.Values[i] &= 1
		}
	}
	if q.Write.isEchoed() {
		q.Quantity = 1
	}
	return q
}

func FuzzScanTCP(f *testing.F) {
	f.Add(unhex(f, "0001 0000 0005 07 03 02 1234"))
	f.Add(unhex(f, "0001 0000 0003 07 83 02 0002 0000 0005 07 03 02 1234"))
	f.Add(unhex(f, "0000 0000 0001 01"))
	f.Add(unhex(f, "0001 0000 ffff 07 03"))
	f.Add(unhex(f, "0001 0001 0005 07"))
	f.Fuzz(func(t *testing.T, in []byte) {
		q := Request{Table: Holding, Address: 0, Quantity: 1}
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
			w := Request{Table: Holding, Address: 0, Quantity: 1, Write: WriteRegister, Values: [MostWritten]uint16{7}}
			if body, err := w.values(frame[headerSize:]); err == nil && !bytes.Equal(body, []byte{0, 0, 0, 7}) {
				t.Fatalf("% x was taken for the reply to a write: % x", frame, body)
			}
			in = in[len(frame):]
		}
	})
}

// TestDebts tells stories of what a unit still owes. Each step: what is asked, and how it ends: "ok" values, "no" reply, "ex"ception;
// before that, what Probe says: "" nothing, else the quantity of the probe.
func TestDebts(t *testing.T) {
	type step struct {
		table    Table // of what is written: 0x40 and the table
		quantity int
		probe    string
		end      string
	}
	const write = 0x40
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
		"a write's reply is owed: reads go on, no other write does": {
			{write | Holding, 1, "", "no"},
			{Holding, 1, "", ""},
			{Coil, 1, "", ""},
			{write | Coil, 1, "", ""},
			{write | Holding, 2, "", "no"}, // another function
			{write | Holding, 1, "1", "probe no"},
			{write | Holding, 1, "2", "probe ex"},
			{write | Holding, 1, "1", "probe ok"},
			{write | Holding, 1, "", "ok"},
			{write | Holding, 2, "", "ok"},
		},
		"an exception to a write settles no other function": {
			{write | Holding, 1, "", "no"},
			{write | Holding, 1, "1", "probe no"},
			{write | Holding, 2, "", "ex"},
			{write | Holding, 1, "2", ""},
		},
		"a write settles as a read does": {
			{Holding, 1, "", "no"}, {write | Holding, 1, "", "ok"}, {Holding, 1, "", ""},
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
				q := Request{Table: s.table &^ write, Address: 65530, Quantity: s.quantity}
				if s.table&write != 0 {
					q.Write = map[Table]map[int]Function{Coil: {1: WriteCoil}, Holding: {1: WriteRegister, 2: WriteRegisters}}[q.Table][s.quantity]
				}
				p, ok := l.Probe(q, nil)
				got := ""
				if ok {
					got = strconv.Itoa(p.Quantity)
				}
				if got != s.probe || ok && (p.Table != q.Table || p.Write != 0 || p.Address+p.Quantity > Addresses) {
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
				q := Request{Table: Holding, Address: 0, Quantity: 1}
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

// talker answers what is written with the bytes that says returns, at once.
type talker struct {
	says func(n int, written []byte) []byte
	n    int
	in   []byte
	by   time.Time
}

func (p *talker) SetReadDeadline(t time.Time) error { p.by = t; return nil }
func (*talker) SetWriteDeadline(time.Time) error    { return nil }
func (*talker) Close() error                        { return nil }
func (p *talker) Write(b []byte) (int, error) {
	p.n++
	p.in = append(p.in, p.says(p.n, b)...)
	return len(b), nil
}

func (p *talker) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		time.Sleep(time.Until(p.by))
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

// TestEchoOfAWrite: the right reply to functions 05 and 06 is the request itself. On a line that echoes, the first of two such frames is
// the echo, and one alone is a unit that is silent; on a line that does not, one is the reply.
func TestEchoOfAWrite(t *testing.T) {
	read := Request{Table: Holding, Address: 5, Quantity: 1}
	write := Request{Table: Holding, Address: 5, Quantity: 1, Write: WriteRegister, Values: [MostWritten]uint16{7}}
	value := unhex(t, sum(t, "01 03 02 0007"))
	for name, tt := range map[string]struct {
		echoes bool
		reads  bool // ahead of the write, which shows whether the line echoes
		silent bool
		want   string
	}{
		"no echo, taken":              {reads: true, want: "00050007"},
		"no echo, silent":             {reads: true, silent: true, want: "no reply within 1s to write of holding 5"},
		"echo, taken":                 {echoes: true, reads: true, want: "00050007"},
		"echo, silent":                {echoes: true, reads: true, silent: true, want: "no reply within 1s to write of holding 5, but an echo of the request"},
		"no echo, nothing read ahead": {want: "00050007"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &talker{says: func(_ int, written []byte) (out []byte) {
					if tt.echoes {
						out = append(out, written...)
					}
					switch {
					case written[1] == 3:
						out = append(out, value...)
					case !tt.silent:
						out = append(out, written...)
					}
					return out
				}}
				l := NewRTU(drivers.NewBus("line", nil), 1, time.Second, 9600)
				if tt.reads {
					if got, err := l.Exchange(p, read); err != nil || !bytes.Equal(got, []byte{0, 7}) {
						t.Fatalf("read: % x, %v", got, err)
					}
				}
				body, err := l.Exchange(p, write)
				got := hex.EncodeToString(body)
				if err != nil {
					got = err.Error()
				}
				if got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if got, err := l.Exchange(p, read); err != nil || !bytes.Equal(got, []byte{0, 7}) {
					t.Errorf("read behind it: % x, %v", got, err)
				}
			})
		})
	}
}
