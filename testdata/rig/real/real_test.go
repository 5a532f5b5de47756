// Package real runs the gateway between parts that are nobody's but theirs: a slave of libmodbus on a serial line of socat, a
// recorded serial log, mosquitto, mosquitto_sub with jq or node, and a decoder in another language. Every delivered value must be
// one that the slave or the talker sent, and none may be missing but what was in flight at the stop.
package real

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var (
	runFor   = flag.Duration("for", 8*time.Second, "how long the gateway runs before it is stopped")
	programs bed.Programs
)

func TestMain(m *testing.M) { os.Exit(bed.Main(m, &programs)) }

// toBase64 makes lines {"topic","payload"} of mosquitto_sub's lines, as the decoder wants them. gzip is no text, so it comes in hexadecimal.
var toBase64 = map[string]struct {
	format string
	argv   []string
}{
	"none": {"%j", []string{"jq", "-c", "{topic, payload: (.payload|@base64)}"}},
	"gzip": {`{"topic":"%t","hex":"%x"}`, []string{
		"node", "-e",
		`require("readline").createInterface({input:process.stdin}).on("line",l=>{const m=JSON.parse(l);` +
			`console.log(JSON.stringify({topic:m.topic,payload:Buffer.from(m.hex,"hex").toString("base64")}))})`,
	}},
}

func TestRealInput(t *testing.T) {
	for compress := range toBase64 {
		t.Run(compress, func(t *testing.T) { t.Parallel(); realInput(t, compress) })
	}
}

func realInput(t *testing.T, compress string) {
	dir := bed.Dir(t, false)
	slave, port := startSlave(t, dir)
	talker := newTalker(t)
	broker := bed.NewBroker(t, dir)
	broker.Start()
	published := filepath.Join(dir, "published")
	_, tcp, _ := strings.Cut(broker.Address, ":")
	sub := bed.Start(t, "mosquitto_sub", published, false, nil, bed.Need(t, "mosquitto_sub", "mosquitto-clients"),
		"-h", "127.0.0.1", "-p", tcp, "-q", "1", "-t", "tg/v1/+/up/#", "-F", toBase64[compress].format)

	g := bed.NewGateway(t, programs, dir)
	g.Configure(devices(port, talker.pair.Path), "", broker.URL(), "puback", ", compress: "+compress)
	g.Run()
	bed.Wait(t, "the first reading of the slave", 60*time.Second, func() bool {
		s, ok := g.Status()
		return ok && len(s.Devices) == 2 && s.Devices[0].Reads > 0
	})
	talker.talk()
	time.Sleep(*runFor)
	stop := time.Now()
	g.Terminate(60 * time.Second)
	talker.stop()
	settled(t, published)
	sub.Kill()
	slave.Kill()

	got := decode(t, dir, published, compress)
	rows := truth(t, slave.Log)
	flight := compareSlave(t, rows, got["meter"])
	lines, missing := talker.compare(t, got["console"], stop)
	fmt.Printf("| real | %s | slave answered %d replies of 34 values, delivered %d, in flight %d, missing 0, extra 0 | talker said %d lines, delivered %d, in flight %d |\n",
		compress, len(rows), len(got["meter"]), flight, lines, lines-missing, missing)
}

// startSlave builds the slave and starts it on one end of a serial line; it returns the other end.
func startSlave(t *testing.T, dir string) (*bed.Process, string) {
	t.Helper()
	program := filepath.Join(dir, "slave")
	if out, err := exec.Command(bed.Need(t, "gcc", "gcc"), "-O", "-Wall", "-o", program, "testdata/slave.c", "-lmodbus").CombinedOutput(); err != nil {
		t.Fatalf("build the slave: %v; it needs: apt-get install gcc libc6-dev libmodbus-dev\n%s", err, out)
	}
	near, far := filepath.Join(dir, "near"), filepath.Join(dir, "far")
	bed.Start(t, "socat", filepath.Join(dir, "socat.log"), false, nil, bed.Need(t, "socat", "socat"), "pty,raw,echo=0,link="+near, "pty,raw,echo=0,link="+far)
	bed.Wait(t, "socat's line", 30*time.Second, func() bool {
		_, errNear := os.Stat(near)
		_, errFar := os.Stat(far)
		return errNear == nil && errFar == nil
	})
	return bed.Start(t, "slave", filepath.Join(dir, "slave.ndjson"), false, nil, program, far), near
}

// devices returns the configuration of slave and talker.
func devices(port, console string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: meter\n    driver: modbus\n    every: 50ms\n    address: rtu://%s?baud=115200&parity=none&stop=1\n    unit: 1\n    timeout: 20s\n    registers:\n", port)
	fmt.Fprintln(&b, "      - {channel: n, table: holding, address: 0, type: uint32}")
	at := 2
	for _, order := range []string{"ABCD", "CDAB", "BADC", "DCBA"} {
		for _, x := range []struct {
			short, long string
			size        int
		}{{"i16", "int16", 1}, {"u16", "uint16", 1}, {"i32", "int32", 2}, {"u32", "uint32", 2}, {"f32", "float32", 2}, {"i64", "int64", 4}, {"u64", "uint64", 4}, {"f64", "float64", 4}} {
			fmt.Fprintf(&b, "      - {channel: %s_%s, table: holding, address: %d, type: %s, order: %s}\n", x.short, order, at, x.long, order)
			at += x.size
		}
	}
	fmt.Fprintf(&b, "      - {channel: temp, table: holding, address: %d, type: int16, scale: 0.1, unit: Cel}\n", at)
	fmt.Fprintf(&b, "  - {name: console, driver: serialtext, port: %s, baud: 115200, line: '^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$', ignore: '^[*#s]'}\n", console)
	return b.String()
}

// settled waits until nothing more comes to the consumer: its file has not grown for 2 s.
func settled(t *testing.T, path string) {
	t.Helper()
	size, since := int64(-1), time.Now()
	bed.Wait(t, "the consumer", time.Minute, func() bool {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() != size {
			size, since = st.Size(), time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
}

// decode has the decoder in JavaScript take apart what was published, and returns the readings of each record by device.
func decode(t *testing.T, dir, published, compress string) map[string][]map[string]any {
	t.Helper()
	in, err := os.Open(published)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	argv := toBase64[compress].argv
	c := exec.Command(bed.Need(t, argv[0], argv[0]), argv[1:]...)
	var lines, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = in, &lines, &errs
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v: %s", argv[0], err, errs.String())
	}
	path := filepath.Join(dir, "published.ndjson")
	if err := os.WriteFile(path, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bed.Need(t, "node", "nodejs"), "../checkers/decode.js", path).Output()
	if err != nil {
		t.Fatalf("decode.js: %v", err)
	}
	got := map[string][]map[string]any{}
	var seq string
	for line := range strings.Lines(string(out)) {
		var x struct {
			Ep, Seq, Series, Kind string
			V                     any
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatalf("decode.js printed %q: %v", line, err)
		}
		device, channel, _ := strings.Cut(x.Series, "/")
		if key := x.Ep + x.Seq; key != seq {
			seq = key
			got[device] = append(got[device], map[string]any{})
		}
		got[device][len(got[device])-1][channel] = x.V
	}
	return got
}

// truth reads the slave's log: its rows by running number from 1.
func truth(t *testing.T, path string) (rows []map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		row := map[string]string{}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatalf("%s: %q: %v", path, lines.Text(), err)
		}
		rows = append(rows, row)
		if row["n"] != strconv.Itoa(len(rows)) {
			t.Fatalf("%s: line %d has number %s", path, len(rows), row["n"])
		}
	}
	return rows
}

// same reports whether a delivered value is the one that was sent: the number, to the last bit, or where JSON's numbers end its digits.
func same(got any, want string) bool {
	if f, ok := got.(float64); ok {
		w, err := strconv.ParseFloat(want, 64)
		return err == nil && f == w
	}
	return got == want
}

// compareSlave fails the test unless each delivered record is a row of the slave's log, each row but those in flight is there, and none
// twice; it returns how many were in flight.
func compareSlave(t *testing.T, rows []map[string]string, got []map[string]any) (inFlight int) {
	t.Helper()
	seen := make([]int, len(rows)+1)
	for _, rec := range got {
		f, _ := rec["n"].(float64)
		n := int(f)
		if n < 1 || n > len(rows) {
			t.Errorf("extra: the slave never sent %v", rec)
			continue
		}
		seen[n]++
		want := rows[n-1]
		if len(rec) != len(want) {
			t.Errorf("reply %d: got %d values, want %d: %v", n, len(rec), len(want), rec)
		}
		for channel, v := range rec {
			if !same(v, want[channel]) {
				t.Errorf("reply %d: %s: got %v, the slave sent %s", n, channel, v, want[channel])
			}
		}
	}
	for n := 1; n <= len(rows); n++ {
		switch {
		case seen[n] > 1:
			t.Errorf("reply %d came %d times", n, seen[n])
		case seen[n] == 0 && n == len(rows):
			inFlight++ // one stop, one device: at most the last one
		case seen[n] == 0:
			t.Errorf("reply %d of %d is missing", n, len(rows))
		}
	}
	if len(got) < 20 {
		t.Errorf("%d replies were delivered, too few to say anything", len(got))
	}
	return inFlight
}

// A talker plays a recorded serial log.
type talker struct {
	pair  *pty.Pair
	lines []string

	mu   sync.Mutex // guards sent
	sent []time.Time
	end  chan struct{}
	done sync.WaitGroup
	t    *testing.T
}

func newTalker(t *testing.T) *talker {
	t.Helper()
	b, err := os.ReadFile("testdata/console.log")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	k := &talker{pair: pair, lines: strings.SplitAfter(strings.TrimSuffix(string(b), "\r\n"), "\r\n"), end: make(chan struct{}), t: t}
	t.Cleanup(func() {
		if err := pair.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// talk plays the log, a line every 30 ms, each in two pieces.
func (k *talker) talk() {
	k.done.Go(func() {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for _, line := range k.lines {
			half := len(line) / 2
			for _, piece := range []string{line[:half], line[half:]} {
				if _, err := k.pair.Master.WriteString(piece); err != nil {
					k.t.Errorf("talk: %v", err)
					return
				}
			}
			k.mu.Lock()
			k.sent = append(k.sent, time.Now())
			k.mu.Unlock()
			select {
			case <-k.end:
				return
			case <-tick.C:
			}
		}
	})
}

func (k *talker) stop() { close(k.end); k.done.Wait() }

var spoken = regexp.MustCompile(`^T=(-?[0-9]+\.[0-9]) N=([0-9]+)\r\n$`)

// compare fails the test unless the delivered records are the lines that were sent, in order, but for the last ones before the stop.
func (k *talker) compare(t *testing.T, got []map[string]any, stop time.Time) (lines, missing int) {
	t.Helper()
	kept := got[:0]
	for _, rec := range got {
		if _, fault := rec["line_fault/fault"]; !fault {
			kept = append(kept, rec)
		}
	}
	at, negative := 0, 0
	for i, when := range k.sent {
		m := spoken.FindStringSubmatch(k.lines[i])
		if m == nil {
			continue
		}
		lines++
		if at < len(kept) && same(kept[at]["n"], m[2]) {
			if !same(kept[at]["temp"], m[1]) || len(kept[at]) != 2 {
				t.Errorf("line %q was delivered as %v", k.lines[i], kept[at])
			}
			if strings.HasPrefix(m[1], "-") {
				negative++
			}
			at++
			continue
		}
		missing++
		if when.Before(stop.Add(-time.Second)) {
			t.Errorf("line %q is missing; it was sent %v before the stop", k.lines[i], stop.Sub(when))
		}
	}
	if at < len(kept) {
		t.Errorf("extra: %d records, the first %v", len(kept)-at, kept[at])
	}
	if negative == 0 {
		t.Error("no negative value was among them")
	}
	return lines, missing
}
