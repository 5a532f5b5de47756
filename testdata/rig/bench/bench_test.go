package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSlaveAnswers asks over a real connection and compares all registers.
func TestSlaveAnswers(t *testing.T) {
	near, far := net.Pipe()
	s := &slave{seed: 7}
	done := make(chan error)
	go func() { done <- s.serve(far) }()
	ask := func(unit, code byte, first, count uint16) []byte {
		q := []byte{0x12, 0x34, 0, 0, 0, 6, unit, code}
		q = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(q, first), count)
		if _, err := near.Write(q); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 6)
		if _, err := io.ReadFull(near, head); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(head[:4], q[:4]) {
			t.Fatalf("head % x, want % x", head[:4], q[:4])
		}
		body := make([]byte, binary.BigEndian.Uint16(head[4:]))
		if _, err := io.ReadFull(near, body); err != nil {
			t.Fatal(err)
		}
		return body
	}
	for n := uint32(1); n <= 3; n++ {
		body := ask(3, 3, 0, 2*registers)
		if len(body) != 3+4*registers {
			t.Fatalf("body of %d bytes, want %d", len(body), 3+4*registers)
		}
		for reg := range registers {
			got := binary.BigEndian.Uint32(body[3+4*reg:])
			if reg == regTime {
				if d := uint32(time.Now().UnixMilli()) - got; d > 1000 {
					t.Errorf("time is off by %d ms", d)
				}
			} else if got != value(7, 3, n, reg) {
				t.Errorf("register %d of reply %d: got %d, want %d", reg, n, got, value(7, 3, n, reg))
			}
		}
	}
	for name, body := range map[string][]byte{
		"unit 51":         ask(51, 3, 0, 80),
		"function 4":      ask(1, 4, 0, 80),
		"part of a reply": ask(1, 3, 0, 78),
	} {
		if len(body) != 3 || body[1]&0x80 == 0 {
			t.Errorf("%s: answer % x, want an exception", name, body)
		}
	}
	if c := s.counts(); c.Units[3] != 3 || c.Units[1] != 0 || c.Refused != 3 {
		t.Errorf("counts %v, refused %d", c.Units, c.Refused)
	}
	near.Close()
	if err := <-done; err != io.EOF {
		t.Errorf("serve ends with %v", err)
	}
}

// telegrafPayload is n replies of unit 2, from reply first on, as Telegraf writes them.
func telegrafPayload(seed uint64, first, n uint32, leave int) []byte {
	var ms []string
	for i := first; i < first+n; i++ {
		var fs []string
		for reg := range registers {
			if reg != leave {
				fs = append(fs, fmt.Sprintf(`"r%d":%d`, reg, value(seed, 2, i, reg)))
			}
		}
		ms = append(ms, `{"fields":{`+strings.Join(fs, ",")+`},"name":"modbus","tags":{"slave_id":"2"},"timestamp":1}`)
	}
	return []byte(`{"metrics":[` + strings.Join(ms, ",") + `]}`)
}

// tidegatePayload is the same as a SenML pack, with something that the gateway says of itself in between.
func tidegatePayload(t *testing.T, seed uint64, first, n uint32) []byte {
	es := []string{`{"bn":"urn:tidegate:gw-bench:","n":"_gateway/gap","ep":"e","seq":1,"vs":"{}"}`}
	for i := first; i < first+n; i++ {
		for reg := range registers {
			seq := ""
			if reg == 0 {
				seq = fmt.Sprintf(`,"seq":%d`, i+1)
			}
			es = append(es, fmt.Sprintf(`{"n":"u2/r%d","v":%d%s}`, reg, value(seed, 2, i, reg), seq))
		}
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte("[" + strings.Join(es, ",") + "]")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLedger enters the same replies as both sides write them and looks at what is missing, doubled and wrong.
func TestLedger(t *testing.T) {
	const seed = 9
	end := counts{}
	end.Units[2] = 10
	for name, tt := range map[string]struct {
		decode  func(arrival) ([]reply, error)
		payload func(first, n uint32) []byte
	}{
		"telegraf": {decodeTelegraf, func(first, n uint32) []byte { return telegrafPayload(seed, first, n, -1) }},
		"tidegate": {decodeTidegate, func(first, n uint32) []byte { return tidegatePayload(t, seed, first, n) }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(seed, end)
			at := time.UnixMilli(5_000_000)
			l.add(arrival{at: at, payload: tt.payload(1, 4)}, tt.decode)
			l.add(arrival{at: at, payload: tt.payload(4, 2)}, tt.decode) // 4 again
			l.add(arrival{at: at, payload: tt.payload(8, 1)}, tt.decode)
			answered, delivered := l.between(counts{}, end)
			if answered != 10 || delivered != 6 || l.duplicates != 1 || l.wrong+l.partial+l.strange != 0 {
				t.Errorf("answered %d delivered %d duplicates %d wrong %d partial %d strange %d (%v)",
					answered, delivered, l.duplicates, l.wrong, l.partial, l.strange, l.why)
			}
			// 6, 7 and 9 are missing; 10, the last, may be in flight.
			if got := l.missing(end); got != 3 {
				t.Errorf("missing %d, want 3", got)
			}
			l.seed++
			l.add(arrival{at: at, payload: tt.payload(6, 1)}, tt.decode)
			if l.wrong != 1 { // only the random register depends on the seed
				t.Errorf("wrong %d, want 1", l.wrong)
			}
			l.add(arrival{at: at, payload: tt.payload(11, 1)}, tt.decode)
			l.add(arrival{at: at, payload: []byte("?")}, tt.decode)
			if l.strange != 2 {
				t.Errorf("strange %d, want 2", l.strange)
			}
		})
	}
	l := newLedger(seed, end)
	l.add(arrival{at: time.Now(), payload: telegrafPayload(seed, 1, 1, 17)}, decodeTelegraf)
	if l.partial != 1 {
		t.Errorf("partial %d, want 1", l.partial)
	}
}

// TestLatency takes it from the register that holds the time of the answer, across the wrap at 2^32.
func TestLatency(t *testing.T) {
	l := newLedger(1, counts{Units: [units + 1]uint32{2: 1}})
	sent := uint32(1<<32 - 100)
	l.add(arrival{at: time.UnixMilli(7<<32 + 150)}, func(arrival) ([]reply, error) {
		return []reply{{unit: 2, values: map[int]uint32{regNumber: 1, regTime: sent}}}, nil
	})
	if got := l.late[2][1]; got != 250*time.Millisecond {
		t.Errorf("late by %v, want 250ms", got)
	}
}

// TestCatchRate works on a backlog of 4 replies that comes 2 s after the broker and takes 1 s.
func TestCatchRate(t *testing.T) {
	base := time.Now()
	var c course
	c.back.at, c.caught.at = base, base.Add(10*time.Second)
	c.back.counts.Units[1] = 4
	l := newLedger(1, counts{Units: [units + 1]uint32{1: 6}})
	for n, s := range map[int]float64{1: 2, 2: 2.5, 3: 3, 4: 3, 5: 3, 6: 9} {
		l.first[1][n] = base.Add(time.Duration(s * float64(time.Second)))
	}
	rate, waited, caught, behind := catchRate(l, c)
	if rate != 5*registers || waited != 2 || caught != 3 || behind != 0 {
		t.Errorf("rate %v waited %v caught %v behind %v, want %d, 2, 3, 0", rate, waited, caught, behind, 5*registers)
	}
	l.first[1][1], l.first[1][2] = time.Time{}, base.Add(11*time.Second)
	rate, waited, caught, behind = catchRate(l, c)
	if rate != 0 || waited != 3 || caught != 0 || behind != 2*registers {
		t.Errorf("rate %v waited %v caught %v behind %v, want 0, 3, 0, %d", rate, waited, caught, behind, 2*registers)
	}
}

// TestTable writes ratios only where both sides delivered.
func TestTable(t *testing.T) {
	a, b := result{Delivered: 1, CPU: 10, LostKill: 200}, result{Delivered: 1, CPU: 5}
	got := table(map[string][]result{"telegraf": {a, a, {Delivered: 1, CPU: 30}}, "tidegate": {b}})
	if want := "| CPU | s per million readings | 10 (10 to 30) | 5 | 0.500 | ratio <= 0.7 |\n"; !strings.Contains(got, want) {
		t.Errorf("no line %q in:\n%s", want, got)
	}
	b.Delivered = 0.99
	got = table(map[string][]result{"telegraf": {a}, "tidegate": {b}})
	if want := "| CPU | s per million readings | 10 | 5 | - | ratio <= 0.7 |\n"; !strings.Contains(got, want) || !strings.Contains(got, "No ratios") {
		t.Errorf("no line %q in:\n%s", want, got)
	}
}

// TestSyncsBetween counts calls, not their ends, within the time asked for.
func TestSyncsBetween(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace")
	text := "10 100.000000 fsync(3) = 0\n10 101.000000 msync(0x7f, 4096, MS_SYNC <unfinished ...>\n11 101.100000 fdatasync(4) = 0\n" +
		"10 101.200000 <... msync resumed>) = 0\n11 101.300000 +++ exited with 0 +++\n12 102.000000 fsync(3) = 0\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := syncsBetween(file, time.Unix(100, 500e6), time.Unix(102, 0))
	if n != 2 || err != nil {
		t.Errorf("got %d, %v, want 2", n, err)
	}
}

// TestBrokerAndWire sends through the wire with mosquitto's own publisher's protocol, cuts it, and joins it again.
func TestBrokerAndWire(t *testing.T) {
	address, stop, err := startBroker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	w, err := newWire(address)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := subscribe(address, []string{"a/#", "b/c"})
	if err != nil {
		t.Fatal(err)
	}
	publish := []byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01x" + "\x30\x08\x00\x03a/bxyz")
	send := func() error {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(publish); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 4))
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	w.cut()
	if err := send(); err == nil {
		t.Error("the wire is cut, and something went through")
	}
	if err := w.join(); err != nil {
		t.Fatal(err)
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); sub.bytes.Load() < 6 && time.Since(begin) < 5*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	got, err := sub.close()
	if err != nil || len(got) != 2 || got[1].topic != "a/b" || string(got[1].payload) != "xyz" {
		t.Errorf("got %v, %v", got, err)
	}
	if n := w.up.Load(); n != int64(2*len(publish)) {
		t.Errorf("%d bytes up, want %d", n, 2*len(publish))
	}
	w.cut()
}
