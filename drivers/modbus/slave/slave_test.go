package slave

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers/board/pty"
)

// twice answers each register with twice its address, and odd addresses as set bits.
func twice(q Request, out []uint16) Exception {
	if q.Address >= 9000 {
		return IllegalAddress
	}
	for i := range out {
		out[i] = 2 * (q.Address + uint16(i))
		if q.Table <= Discretes {
			out[i] = (q.Address + uint16(i)) % 2
		}
	}
	return NoException
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCRC has the example of "MODBUS over Serial Line V1.02" section 6.2.2 and the check value of CRC-16/MODBUS.
func TestCRC(t *testing.T) {
	if lo, hi := crc16([]byte{2, 7}); lo != 0x41 || hi != 0x12 {
		t.Errorf("got %02x %02x, want 41 12", lo, hi)
	}
	if lo, hi := crc16([]byte("123456789")); lo != 0x37 || hi != 0x4b {
		t.Errorf("got %02x %02x, want 37 4b", lo, hi)
	}
}

// talk sends hexadecimal bytes to s and returns what comes back until it is silent.
func talk(t *testing.T, s *Slave, onTCP bool, send string) string {
	t.Helper()
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() {
		if onTCP {
			served <- s.ServeTCP(t.Context(), far)
		} else {
			served <- s.ServeRTU(t.Context(), far)
		}
	}()
	if _, err := near.Write(unhex(t, send)); err != nil {
		t.Fatal(err)
	}
	var got []byte
	b := make([]byte, 600)
	for {
		if near.SetReadDeadline(time.Now().Add(time.Second)) != nil {
			break // the slave has hung up
		}
		n, err := near.Read(b)
		if got = append(got, b[:n]...); err != nil {
			break
		}
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		return hex.EncodeToString(got) + " " + err.Error()
	}
	return hex.EncodeToString(got)
}

// rtu appends the CRC to hexadecimal bytes.
func rtu(t *testing.T, s string) string {
	lo, hi := crc16(unhex(t, s))
	return strings.ReplaceAll(s, " ", "") + hex.EncodeToString([]byte{lo, hi})
}

func TestAnswers(t *testing.T) {
	tests := map[string]struct {
		onTCP      bool
		send, want string
	}{
		"RTU/registers":                  {false, rtu(t, "05 03 0003 0002"), rtu(t, "05 03 04 0006 0008")},
		"RTU/input registers":            {false, rtu(t, "06 04 0001 0001"), rtu(t, "06 04 02 0002")},
		"RTU/bits":                       {false, rtu(t, "05 01 0001 000a"), rtu(t, "05 01 02 5501")},
		"RTU/noise first":                {false, "00ff" + rtu(t, "05 03 0003 0001"), rtu(t, "05 03 02 0006")},
		"RTU/two at once":                {false, rtu(t, "05 03 0003 0001") + rtu(t, "06 03 0004 0001"), rtu(t, "05 03 02 0006") + rtu(t, "06 03 02 0008")},
		"RTU/another unit":               {false, rtu(t, "07 03 0003 0001"), ""},
		"RTU/wrong CRC":                  {false, "05030003000100ff", ""},
		"RTU/refused by Values":          {false, rtu(t, "05 03 2328 0001"), rtu(t, "05 83 02")},
		"RTU/quantity 0":                 {false, rtu(t, "05 03 0003 0000"), rtu(t, "05 83 03")},
		"RTU/quantity 126":               {false, rtu(t, "05 03 0003 007e"), rtu(t, "05 83 03")},
		"RTU/2001 bits":                  {false, rtu(t, "05 02 0003 07d1"), rtu(t, "05 82 03")},
		"RTU/beyond the end":             {false, rtu(t, "05 03 ffff 0002"), rtu(t, "05 83 02")},
		"RTU/write":                      {false, rtu(t, "05 06 0001 0002"), rtu(t, "05 86 01")},
		"RTU/write several":              {false, rtu(t, "05 10 0001 0001 02 1234"), rtu(t, "05 90 01")},
		"TCP/registers":                  {true, "abcd 0000 0006 05 03 0003 0002", "abcd00000007050304" + "00060008"},
		"TCP/write":                      {true, "0001 0000 0006 05 06 0001 0002", "0001000000030586" + "01"},
		"TCP/a request of wrong size":    {true, "0001 0000 0005 05 03 0003 00", "0001000000030583" + "03"},
		"TCP/protocol 1 ends it":         {true, "0001 0001 0006 05 03 0003 0002", " read request: protocol is 0x0001, want 0"},
		"TCP/length 1 ends it":           {true, "0001 0000 0001 05 03", " read request: length is 1, want 2 to 254"},
		"TCP/length 65535 ends it":       {true, "0001 0000 ffff 05 03", " read request: length is 65535, want 2 to 254"},
		"TCP/half a request is nobody's": {true, "0001 0000 0006 05 03 0003", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Slave{Units: []byte{5, 6}, Values: twice}
				if got := talk(t, s, tt.onTCP, tt.send); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

// TestWrites: what is written is read back, and what is no write is refused. The pairs are those of "MODBUS Application Protocol V1.1b3"
// sections 6.5, 6.6, 6.11 and 6.12.
func TestWrites(t *testing.T) {
	tests := map[string]struct{ write, want, read, then string }{
		"one coil":          {"05 05 00ac ff00", "05 05 00ac ff00", "05 01 00ac 0002", "05 01 01 03"},
		"one coil, off":     {"05 05 00ad 0000", "05 05 00ad 0000", "05 01 00ac 0002", "05 01 01 00"},
		"one register":      {"05 06 0001 0003", "05 06 0001 0003", "05 03 0001 0002", "05 03 04 00030004"},
		"coils":             {"05 0f 0013 000a 02 cd01", "05 0f 0013 000a", "05 01 0013 000b", "05 01 02 cd05"},
		"registers":         {"05 10 0001 0002 04 000a0102", "05 10 0001 0002", "05 03 0000 0004", "05 03 08 0000000a01020006"},
		"neither on nor":    {"05 05 00ac 0001", "05 85 03", "05 01 00ac 0001", "05 01 01 00"},
		"no registers":      {"05 10 0001 0000 00", "05 90 03", "05 03 0001 0001", "05 03 02 0002"},
		"too few bytes":     {"05 10 0001 0002 02 000a", "05 90 03", "05 03 0001 0001", "05 03 02 0002"},
		"124 registers":     {"05 10 0001 007c f8" + strings.Repeat("0007", 124), "05 90 03", "05 03 0001 0001", "05 03 02 0002"},
		"beyond the end":    {"05 10 ffff 0002 04 00010002", "05 90 02", "05 03 0001 0001", "05 03 02 0002"},
		"another unit's":    {"06 06 0001 0003", "06 06 0001 0003", "05 03 0001 0001", "05 03 02 0002"},
		"what Under denies": {"05 06 2328 0003", "05 06 2328 0003", "05 03 2328 0001", "05 83 02"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &Bank{Under: twice}
				s := &Slave{Units: []byte{5, 6}, Values: b.Values, Write: b.Write}
				if got, want := talk(t, s, false, rtu(t, tt.write)), rtu(t, tt.want); got != want {
					t.Errorf("write: got  %s\nwant %s", got, want)
				}
				if got, want := talk(t, s, false, rtu(t, tt.read)), rtu(t, tt.then); got != want {
					t.Errorf("read: got  %s\nwant %s", got, want)
				}
			})
		})
	}
}

// TestCounts: what is true to the protocol is counted, when it is written; lies are not.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faults := []Fault{{}, {Kind: WrongCRC}, {Kind: Silent}, {Late: true}, {Kind: Twice}, {Exception: 6}, {Kind: Noise}, {}, {Kind: Echo}, {Late: true}}
		i := 0
		b := &Bank{Under: twice}
		var answered []uint16
		s := &Slave{
			Units: []byte{5}, Values: b.Values, Write: b.Write,
			Answered: func(q Request) { answered = append(answered, q.Address) },
			Fault:    func(Request) Fault { i++; return faults[i-1] },
		}
		send := ""
		for n := range len(faults) {
			order := "05 03 000" + strconv.Itoa(n) + " 0002"
			if n == 7 || n == 8 {
				order = "05 06 0001 0007"
			}
			send += rtu(t, order)
		}
		talk(t, s, false, send)
		if got, want := s.Count(5), (Count{Requests: 4, Values: 8, Writes: 1, Exceptions: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		// The first late reply went out ahead of the next; the last one never did.
		if len(answered) != 4 || answered[0] != 0 || answered[1] != 3 || answered[2] != 4 || answered[3] != 6 {
			t.Errorf("answered %v", answered)
		}
	})
}

// broken can be read but not written.
type broken struct{ io.Reader }

var errBroken = errors.New("broken")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestServeEnds(t *testing.T) {
	s := &Slave{Units: []byte{5}, Values: twice, Fault: func(Request) Fault { return Fault{Delay: time.Hour} }}
	synctest.Test(t, func(t *testing.T) {
		for _, ask := range []string{"", rtu(t, "05 03 0000 0001")} { // while it waits for a request, and while it delays a reply
			ctx, cancel := context.WithCancel(t.Context())
			near, far := net.Pipe()
			done := make(chan error)
			go func() { done <- s.ServeRTU(ctx, far) }()
			if _, err := near.Write(unhex(t, ask)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			cancel()
			if err := <-done; err != nil {
				t.Errorf("got %v", err)
			}
		}
	})
	s.Fault = nil
	err := s.ServeRTU(t.Context(), broken{bytes.NewReader(unhex(t, rtu(t, "05 03 0000 0001")))})
	if err == nil || err.Error() != "answer unit 5: broken" {
		t.Errorf("got %v", err)
	}
}

// TestForeignMaster: mbpoll, which is built on libmodbus, reads this slave over TCP and over a pseudo-terminal.
func TestForeignMaster(t *testing.T) {
	mbpoll, err := exec.LookPath("mbpoll")
	if err != nil {
		t.Fatalf("%v; install it: apt-get install mbpoll", err)
	}
	bank := &Bank{Under: twice}
	s := &Slave{Units: []byte{5}, Values: bank.Values, Write: bank.Write}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := s.ServeTCP(ctx, c); err != nil {
					t.Error(err)
				}
			})
		}
	})
	pair, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		if err := errors.Join(l.Close(), pair.Close()); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		wg.Wait()
	}()
	wg.Go(func() {
		if err := s.ServeRTU(ctx, pair.Master); err != nil {
			t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	wires := map[string][]string{
		"TCP": {"-m", "tcp", "-p", port, "127.0.0.1"},
		"RTU": {"-m", "rtu", "-b", "115200", "-P", "none", pair.Path},
	}
	tests := map[string]struct {
		args []string
		want []string
	}{
		"holding":  {[]string{"-t", "4", "-r", "100", "-c", "3"}, []string{"[100]: \t200", "[101]: \t202", "[102]: \t204"}},
		"input":    {[]string{"-t", "3", "-r", "7", "-c", "125"}, []string{"[7]: \t14", "[131]: \t262"}},
		"coil":     {[]string{"-t", "0", "-r", "1", "-c", "9"}, []string{"[1]: \t1", "[2]: \t0", "[9]: \t1"}},
		"discrete": {[]string{"-t", "1", "-r", "2", "-c", "2"}, []string{"[2]: \t0", "[3]: \t1"}},
		"refused":  {[]string{"-t", "4", "-r", "9000"}, []string{"Illegal data address"}},
	}
	poll := func(t *testing.T, want []string, args ...string) {
		t.Helper()
		args = append([]string{"-0", "-1", "-q", "-a", "5"}, args...)
		// Its exit code is 1 where the unit refuses: what it prints is what counts.
		out, _ := exec.CommandContext(t.Context(), mbpoll, args...).CombinedOutput()
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				t.Errorf("mbpoll %s: no %q in:\n%s", strings.Join(args, " "), w, out)
			}
		}
	}
	for wire, end := range wires {
		for name, tt := range tests {
			t.Run(wire+"/"+name, func(t *testing.T) { poll(t, tt.want, slices.Concat(tt.args, end)...) })
		}
		t.Run(wire+"/writes", func(t *testing.T) {
			for _, w := range []struct{ what, values, reads []string }{
				{[]string{"-t", "4", "-r", "200"}, []string{"7"}, []string{"[200]: \t7"}},                                       // function 06
				{[]string{"-t", "4", "-r", "210"}, []string{"8", "9"}, []string{"[210]: \t8", "[211]: \t9"}},                    // 16
				{[]string{"-t", "0", "-r", "220"}, []string{"1"}, []string{"[220]: \t1"}},                                       // 05
				{[]string{"-t", "0", "-r", "230"}, []string{"1", "0", "1"}, []string{"[230]: \t1", "[231]: \t0", "[232]: \t1"}}, // 15
			} {
				poll(t, []string{"Written " + strconv.Itoa(len(w.values)) + " reference"}, slices.Concat(w.what, end, w.values)...)
				poll(t, w.reads, slices.Concat(w.what, []string{"-c", strconv.Itoa(len(w.values))}, end)...)
			}
		})
	}
	if got := s.Count(5); got.Writes != 8 {
		t.Errorf("mbpoll wrote %d times, want 8", got.Writes)
	}
}
