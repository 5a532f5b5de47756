package doctor

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// sum returns the bytes of s with their CRC behind them.
func sum(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(binary.LittleEndian.AppendUint16(b, link.CRC(b)))
}

// TestChecksum has the example of "MODBUS over Serial Line V1.02" section 6.2.2.
func TestChecksum(t *testing.T) {
	if got := hex.EncodeToString([]byte(sum("02 07"))); got != "02074112" {
		t.Error(got)
	}
}

// talk makes traffic of pieces: ">" what was written, "<" what was read, each a second after the other but for what follows its request,
// which comes after 20 ms; "~" what came 2 s after that.
func talk(pieces ...string) (list []drivers.Traffic) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, p := range pieces {
		switch p[0] {
		case '>':
			at = at.Add(time.Second)
		case '<':
			at = at.Add(20 * time.Millisecond)
		case '~':
			at = at.Add(2 * time.Second)
		}
		list = append(list, drivers.Traffic{At: at, Last: at, Out: p[0] == '>', Bytes: []byte(p[1:])})
	}
	return list
}

// times returns pieces n times.
func times(n int, pieces ...string) (list []string) {
	for range n {
		list = append(list, pieces...)
	}
	return list
}

func about(pieces ...string) Case {
	return Case{
		Unit: 7, Timeout: 500 * time.Millisecond, Traffic: talk(pieces...),
		Serial: drivers.Serial{Port: "/dev/ttyX", Baud: 9600, DataBits: 8, Parity: "even", StopBits: "1"},
	}
}

// TestDiagnose has the smallest traffic that shows each fault, and the sentence.
func TestDiagnose(t *testing.T) {
	ask, reply := ">"+sum("07 03 0000 0002"), "<"+sum("07 03 04 00010002")
	other, otherReply := ">"+sum("08 03 0000 0001"), "<"+sum("08 03 02 1234")
	zeros := "<" + strings.Repeat("\x00", 9)
	silent := about(times(3, ask)...)
	found := func(c Case, change func(t *Trial)) Case {
		x := Trial{Serial: c.Serial, Unit: c.Unit, Answered: true}
		change(&x)
		c.Trials = []Trial{{Serial: c.Serial, Unit: c.Unit}, x}
		return c
	}
	failed := func(c Case) Case {
		c.Trials = []Trial{{Serial: c.Serial, Unit: c.Unit}}
		return c
	}
	two := about(times(3, ask, "<\x00\x00\x00\x00\x00\x00")...)
	two.Serial.StopBits = "2"
	counted := about(times(3, ask, zeros)...)
	counted.Errors = &drivers.LineErrors{}
	tests := map[string]struct {
		c              Case
		want, evidence string
	}{
		"nothing":                    {about(), "", ""},
		"well":                       {about(times(9, ask, reply, other, otherReply)...), "", ""},
		"well, with an echo":         {about(times(9, ask, "<"+ask[1:]+reply[1:])...), "", ""},
		"an exception":               {about(times(9, ask, "<"+sum("07 83 02"))...), "", ""},
		"one silence":                {about(append(times(9, ask, reply), ask)...), "", ""},
		"zeros, none counted":        {counted, "", ""},
		"zeros, but others are well": {about(times(3, ask, "<\x00", ask, "<\x00", other, otherReply)...), "", ""},
		"bytes too many, and only of this unit": {
			about(times(4, ask, reply, "~\x03\x04\x05", ask, "<\x01\x03\x04\x00\x22\x11\x55\x66\x77\x88\x99", other, otherReply)...),
			"two units have the number 7; take one off the line, and give it another number",
			"bytes of no reply after 4 of 8 requests, 4 replies damaged, and other units are well",
		},
		"a break after each request": {
			about(times(3, ask, "<\x00")...),
			"the wires A and B are swapped; swap them at the gateway if no unit answers, else at unit 7; if that does not help, see whether it has power",
			"a break (one 0x00) after 3 of 3 requests, and no reply of any unit",
		},
		"echo bytes": {
			about(times(4, ask, "<\xfe", reply)...),
			"the line is not terminated: the gateway hears the end of what it sent; put 120 ohms between A and B at both ends of the line, and nowhere else",
			"bytes right behind 4 of 4 requests that are of no reply",
		},
		"noise": {
			about(times(4, ask, reply, "~\xfe\xff")...),
			"the line has no bias: it picks up noise while nobody sends; pull B (+) up and A (-) down by 450 to 650 ohms at one place of the line, " +
				"and connect the common wire", "bytes of no reply after 4 of 4 requests",
		},
		"zeros with a parity": {
			about(times(3, ask, zeros)...),
			"unit 7 has another parity than the port (9600 8E1); set the unit or the address alike, as all units of the line",
			"3 of 3 replies are 0x00 for the most part: characters with a wrong parity or stop bit",
		},
		"zeros, and too few, with two stop bits": {
			two, "unit 7 has another number of stop bits than the port (9600 8E2); set the unit or the address alike, as all units of the line",
			"3 of 3 replies are 0x00 for the most part: characters with a wrong parity or stop bit; some are missing, as where each begins too early",
		},
		"two answers": {
			about(times(3, ask, reply, reply)...), "two units have the number 7; take one off the line, and give it another number",
			"3 of 3 requests were answered twice",
		},
		"damaged answers": {
			about(times(3, ask, "<\x07\x03\x04\x00\x22\x11\x55\x66\x77\x88\x99")...),
			"two units have the number 7; take one off the line, and give it another number",
			"3 of 3 replies are as long as they should be, or longer, and damaged",
		},
		"silent since a while": {
			about(append(times(3, ask, reply), times(3, ask)...)...),
			"unit 7 is dead: it has answered, and does not any more; see whether it has power and both wires of the line",
			"silence after 3 of 6 requests; it has answered before",
		},
		"late": {
			about(times(3, ask, "~"+reply[1:])...), "unit 7 answers later than timeout 500ms; raise timeout, or ask for less",
			"3 of 3 replies came after their timeout",
		},
		"late, while another is asked": {
			about(times(3, ask, other, reply+otherReply[1:])...), "unit 7 answers later than timeout 500ms; raise timeout, or ask for less",
			"3 of 3 replies came after their timeout",
		},
		"halves": {
			about(times(3, ask, reply[:6])...),
			"the replies of unit 7 break off: its driver, or an adapter between, lets go of the line too early; lengthen the unit's turn-off delay, or use an " +
				"adapter that switches by itself", "3 of 3 replies broke off",
		},
		"halves that end in zero": {
			about(times(3, ask, reply[:5])...),
			"the replies of unit 7 break off: its driver, or an adapter between, lets go of the line too early; lengthen the unit's turn-off delay, or use an " +
				"adapter that switches by itself", "3 of 3 replies broke off",
		},
		"one half, then silence": {
			about(append(times(2, ask, reply), ask, reply[:6], ask, ask)...),
			"the line was cut while unit 7 answered; look for a loose or broken wire between the gateway and the unit",
			"the last reply broke off, and 2 requests since then were met by silence",
		},
		"another master": {
			about(times(2, ask, reply, "~"+other[1:]+otherReply[1:])...),
			"another master is on the line; let only one ask: take it off the line, or read its values by Modbus TCP", "2 requests that are not the gateway's",
		},
		"another unit answers": {
			about(times(2, ask, otherReply)...),
			"no unit with the number 7 answers, but another does that nobody asks; compare the number on the unit with the setting unit",
			"2 replies of unit 8, which nobody asks",
		},
		"silent": {
			silent, "unit 7 is silent and has never answered: no power, other settings than 9600 8E1, another number, or A and B swapped; stop the gateway, and " +
				"find out by tidegate read DEVICE --examine", "silence after 3 of 3 requests",
		},
		"silent, has answered long ago": {
			func() Case { c := silent; c.Answered = true; return c }(),
			"unit 7 is dead: it has answered, and does not any more; see whether it has power and both wires of the line",
			"silence after 3 of 3 requests; it has answered before",
		},
		"answers at another speed": {
			found(silent, func(t *Trial) { t.Serial.Baud = 19200 }),
			"unit 7 has another baud rate than the port (9600 8E1); it answers with 19200 8E1: set the unit or the address alike, as all units of the line",
			"silence after 3 of 3 requests; unit 7 answers with 19200 8E1",
		},
		"answers with another parity": {
			found(silent, func(t *Trial) { t.Serial.Parity = "odd" }),
			"unit 7 has another parity than the port (9600 8E1); it answers with 9600 8O1: set the unit or the address alike, as all units of the line",
			"silence after 3 of 3 requests; unit 7 answers with 9600 8O1",
		},
		"answers with another stop bit": {
			found(silent, func(t *Trial) { t.Serial.StopBits = "2" }),
			"unit 7 has another number of stop bits than the port (9600 8E1); it answers with 9600 8E2: set the unit or the address alike, as all units of the line",
			"silence after 3 of 3 requests; unit 7 answers with 9600 8E2",
		},
		"another number answers": {
			found(silent, func(t *Trial) { t.Unit = 9 }),
			"no unit with the number 7 answers, but another does that nobody asks; compare the number on the unit with the setting unit",
			"silence after 3 of 3 requests; unit 9 answers with 9600 8E1",
		},
		"nothing answers": {
			failed(silent),
			"the wires A and B are swapped; swap them at the gateway if no unit answers, else at unit 7; if that does not help, see whether it has power",
			"silence after 3 of 3 requests; no unit answers, whatever the settings",
		},
		"nothing answers but the others": {
			failed(about(times(3, ask, other, otherReply)...)),
			"the wires A and B are swapped; swap them at the gateway if no unit answers, else at unit 7; if that does not help, see whether it has power",
			"silence after 3 of 3 requests; unit 8 answers, and this one neither with other settings nor under another number",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Diagnose(tt.c)
			if got.String() != tt.want || got.Evidence != tt.evidence {
				t.Errorf("got  %s\n     %s\nwant %s\n     %s", got, got.Evidence, tt.want, tt.evidence)
			}
		})
	}
}

// put returns the bits of a number of size bytes as they come over the wire in order.
func put(bits uint64, size int, order string) []byte {
	b := binary.BigEndian.AppendUint64(nil, bits)[8-size:]
	for i := 0; i < size && (order == "BADC" || order == "DCBA"); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	for i := 0; i < size/2 && (order == "CDAB" || order == "DCBA"); i += 2 {
		j := size - 2 - i
		b[i], b[i+1], b[j], b[j+1] = b[j], b[j+1], b[i], b[i+1]
	}
	return b
}

var allOrders = []string{"ABCD", "CDAB", "BADC", "DCBA"}

// TestNumber: what was put in an order is read in it.
func TestNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4, 8}).Draw(t, "size")
		bits := rapid.Uint64().Draw(t, "bits") >> (64 - 8*size)
		order := rapid.SampledFrom(allOrders).Draw(t, "order")
		if got := number(put(bits, size, order), order); got != bits {
			t.Fatalf("got %x, want %x", got, bits)
		}
	})
}

// TestOrder: quantities of the usual kinds are never called wrong in their own order, and mostly found out in another.
func TestOrder(t *testing.T) {
	found, all := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4, 8}).Draw(t, "size")
		truth := rapid.SampledFrom(allOrders).Draw(t, "order")
		isFloat := rapid.Bool().Draw(t, "float")
		base := rapid.Float64Range(0.1, 100000).Draw(t, "base")
		v := Value{IsFloat: isFloat, Order: truth}
		for i := range 12 {
			f := base * (1 + 0.01*float64(i%5))
			bits := uint64(base) + 3*uint64(i)
			switch {
			case isFloat && size == 4:
				bits = uint64(math.Float32bits(float32(f)))
			case isFloat:
				bits = math.Float64bits(f)
			}
			v.Seen = append(v.Seen, put(bits, size, truth))
		}
		if got := v.better(); got != "" {
			t.Fatalf("right order %s called %s", truth, got)
		}
		v.Order = rapid.SampledFrom(allOrders).Draw(t, "configured")
		if v.Order == truth {
			return
		}
		got := v.better()
		if got != "" && got != truth {
			t.Fatalf("configured %s, true %s, called %s", v.Order, truth, got)
		}
		all++
		if got == truth {
			found++
		}
	})
	if found*5 < all {
		t.Errorf("%d of %d found", found, all)
	}
}

// FuzzDiagnose: whatever came, there is no panic, and no diagnosis without cause, remedy and evidence.
func FuzzDiagnose(f *testing.F) {
	f.Add([]byte(sum("07 03 0000 0002")), []byte(sum("07 03 04 00010002")), byte(3))
	f.Add([]byte(sum("07 03 0000 0002")), []byte("\x00"), byte(5))
	f.Add([]byte(sum("07 10 0000 0001 02 0000")), []byte(sum("07 90 01")), byte(9))
	f.Add([]byte{}, []byte(sum("08 03 0000 0001")), byte(4))
	f.Fuzz(func(t *testing.T, out, in []byte, n byte) {
		for _, way := range []string{"<", "~"} {
			c := about(times(int(n%16), ">"+string(out), way+string(in))...)
			d := Diagnose(c)
			if d.Code != "" && (d.Cause == "" || d.Remedy == "" || d.Evidence == "") || strings.ContainsAny(d.String(), "\n") {
				t.Fatalf("%+v", d)
			}
			for _, x := range split(c.Traffic) {
				for _, fr := range x.frames {
					if !bytes.Equal(x.in[fr.from:fr.from+len(fr.bytes)], fr.bytes) || link.CRC(fr.bytes) != 0 {
						t.Fatalf("% x is no frame of % x", fr.bytes, x.in)
					}
				}
			}
		}
	})
}
