package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// TestMain lets the test's own binary be the program.
func TestMain(m *testing.M) {
	if os.Getenv("TIDEGATE_RECEIVE_TEST") == "main" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestCommandRefuses(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]struct {
		args []string
		want string
	}{
		"nothing given":    {nil, "--broker and --out must be given; for instance --broker mqtt://127.0.0.1:1883 --out ./received"},
		"an argument":      {[]string{"x"}, `unknown command "x" for "tidegate-receive"`},
		"an unknown flag":  {[]string{"--brokr", "x"}, "unknown flag: --brokr"},
		"a bad broker":     {[]string{"--broker", "h:1", "--out", dir}, `broker: got "h:1", want mqtt://host[:port] or mqtts://host[:port]`},
		"no directory":     {[]string{"--broker", "mqtt://h", "--out", "/dev/null/x"}, "open NDJSON sink: make directory: mkdir /dev/null: not a directory"},
		"a taken port":     {[]string{"--broker", "mqtt://h", "--out", dir, "--listen", "127.0.0.1:99999"}, "listen: listen tcp: address 99999: invalid port"},
		"an odd directory": {[]string{"--broker", "mqtt://h", "--out", odd(t)}, "DIR: readings-000001.ndjson is there but no ledger: what it holds would be stored again; restore the ledger or move the readings files away"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := command(&bytes.Buffer{}, &bytes.Buffer{})
			c.SetArgs(append([]string{}, tt.args...))
			err := c.ExecuteContext(context.Background())
			if err == nil {
				t.Fatalf("got nothing, want %s", tt.want)
			}
			got := err.Error()
			if i := strings.Index(got, "ledger: "); strings.HasPrefix(got, "open /") && i > 0 {
				got = "DIR: " + got[i+len("ledger: "):]
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// odd returns a directory with readings and no ledger.
func odd(t *testing.T) string {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readings-000001.ndjson"), []byte("{}\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A broker is a mosquitto that can be killed and started again.
type broker struct {
	t    *testing.T
	port int
	conf string
	cmd  *exec.Cmd
}

// newBroker starts one that keeps sessions on disk.
func newBroker(t *testing.T) *broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, port: l.Addr().(*net.TCPAddr).Port, conf: filepath.Join(t.TempDir(), "mosquitto.conf")}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Started by root mosquitto would become another user, to whom the test's files are closed.
	conf := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nuser root\nlog_type error\npersistence true\npersistence_location %s/\n"+
		"autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n", b.port, t.TempDir())
	if err := os.WriteFile(b.conf, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	b.start()
	t.Cleanup(b.kill)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	b.cmd = exec.Command(path, "-c", b.conf)
	if err := b.cmd.Start(); err != nil {
		b.t.Fatalf("%v; on Debian: apt-get install mosquitto", err)
	}
}

func (b *broker) kill() {
	if b.cmd.Process.Kill() == nil {
		_ = b.cmd.Wait()
	}
}

func (b *broker) url() string { return fmt.Sprintf("mqtt://127.0.0.1:%d", b.port) }

// A gateway publishes records until a receipt has covered each, and forgets those that one has. It stands in for the real one:
// records of one to five readings, cut into batches at random and anew at each send; every 50th number is skipped and every 97th
// was lost, which the next record declares; it makes records until it is told to finish.
type gateway struct {
	name, epoch string
	url         string
	rate        uint64 // records it makes each round
	last        atomic.Uint64
	finished    atomic.Bool // it makes no more

	mu        sync.Mutex
	confirmed tidegate.Ranges
}

func (g *gateway) skipped(n uint64) bool { return n%50 == 0 }
func (g *gateway) lost(n uint64) bool    { return n%97 == 0 && !g.skipped(n) && !g.skipped(n+1) }

// record returns the record n.
func (g *gateway) record(n uint64) tidegate.Record {
	r := tidegate.Record{Number: n, Time: time.Unix(1792000000, 0).Add(time.Duration(n) * time.Millisecond)}
	for i := range 1 + n%5 {
		r.Readings = append(r.Readings, tidegate.Reading{Device: "d", Channel: fmt.Sprintf("c%d", i), Value: tidegate.Uint(n)})
	}
	if n > 1 && g.lost(n-1) {
		r.Readings = append(r.Readings, wire.GapReading(tidegate.Gap{From: n - 1, To: n - 1, Count: 3, Cause: tidegate.CauseOverflow}))
	}
	return r
}

// run publishes until all is confirmed or ctx is done.
func (g *gateway) run(ctx context.Context) error {
	for ctx.Err() == nil {
		o := paho.NewClientOptions().AddBroker(strings.Replace(g.url, "mqtt", "tcp", 1)).SetClientID(g.name).SetAutoReconnect(false).
			SetWriteTimeout(time.Second).SetConnectTimeout(2 * time.Second).SetKeepAlive(2 * time.Second).SetPingTimeout(time.Second)
		c := paho.NewClient(o)
		if token := c.Connect(); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		c.Subscribe("tg/v1/"+g.name+"/down/receipt", 1, func(_ paho.Client, m paho.Message) { g.receipt(m.Payload()) }).WaitTimeout(time.Second)
		done := g.publish(ctx, c)
		c.Disconnect(50)
		if done {
			return nil
		}
	}
	return ctx.Err()
}

// receipt notes what a receipt covers.
func (g *gateway) receipt(body []byte) {
	r, err := wire.ParseReceipt(body)
	if err != nil || r.Epoch != g.epoch {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	next := uint64(1)
	for _, h := range r.Holes {
		g.confirmed.Add(tidegate.Range{First: next, Last: h.First - 1})
		next = h.Last + 1
	}
	g.confirmed.Add(tidegate.Range{First: next, Last: r.Upto})
}

// missing returns what is not confirmed yet.
func (g *gateway) missing() tidegate.Ranges {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.confirmed.Missing(tidegate.Range{First: 1, Last: g.last.Load()})
}

// publish makes records and sends them while c is connected and not too many are on their way, and once more what no receipt has covered when none has come
// for 200 ms, then for twice as long: who sends faster than the far end stores would make it wait for ever. true = all is confirmed.
func (g *gateway) publish(ctx context.Context, c paho.Client) bool {
	const patience = 200 * time.Millisecond
	left, progress, wait := uint64(0), time.Now(), patience
	for ctx.Err() == nil && c.IsConnectionOpen() {
		finished, missing := g.finished.Load(), g.missing()
		if !finished && missing.Len() < 100*g.rate {
			made := g.last.Add(g.rate)
			g.send(c, made-g.rate+1, made)
		}
		if len(missing) == 0 && finished {
			return true
		}
		if n := missing.Len(); n != left {
			left, progress, wait = n, time.Now(), patience
		}
		if time.Since(progress) > wait {
			for _, x := range missing {
				g.send(c, x.First, x.Last)
			}
			progress, wait = time.Now(), 2*wait
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// send publishes the records from first to last, cut at random.
func (g *gateway) send(c paho.Client, first, last uint64) {
	for n := first; n <= last; {
		to := min(last, n+rand.Uint64N(30))
		g.sendPack(c, n, to)
		n = to + 1
	}
}

// sendPack publishes the records from n to to in one payload.
func (g *gateway) sendPack(c paho.Client, n, to uint64) {
	p := wire.Pack{Gateway: g.name, Epoch: g.epoch}
	for ; n <= to; n++ {
		switch {
		case g.skipped(n):
			p.Skip.Add(tidegate.Range{First: n, Last: n})
		case !g.lost(n):
			p.Records = append(p.Records, g.record(n))
		}
	}
	body, err := wire.AppendSenML(nil, &p)
	if err != nil {
		return // only numbers that were lost: the next pack declares them
	}
	c.Publish("tg/v1/"+g.name+"/up/data", 1, false, body).WaitTimeout(time.Second)
}

// text is a buffer that may be read while a process writes to it.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (x *text) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.Write(b)
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.b.String()
}

// start starts the program as a process.
func start(t *testing.T, b *broker, dir string, out, log io.Writer) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--broker", b.url(), "--out", dir, "--json", "-v", "--max-bytes", "100000", "--receipt-every", "1ms")
	cmd.Env = append(os.Environ(), "TIDEGATE_RECEIVE_TEST=main")
	cmd.Stdout, cmd.Stderr = out, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestKilled kills the receiver twenty times with SIGKILL and the broker three times while three gateways publish, and wants each
// record that a receipt let a gateway forget to be stored, and each once.
func TestKilled(t *testing.T) {
	b, dir := newBroker(t), t.TempDir()
	gateways := []*gateway{
		{name: "gw-1", epoch: "e1", rate: 20, url: b.url()},
		{name: "gw-2", epoch: "e1", rate: 12, url: b.url()},
		{name: "gw-3", epoch: "e3", rate: 3, url: b.url()},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	for _, g := range gateways {
		go func() { ended <- g.run(ctx) }()
	}
	for i := range 20 { // which takes as long as it takes to start a program, twenty times
		var log text
		cmd := start(t, b, dir, &text{}, &log)
		for deadline := time.Now().Add(5 * time.Second); !strings.Contains(log.String(), "subscribed") && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond) // not all get so far: the broker may be away
		}
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		if i%6 == 5 {
			b.kill()
			b.start()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("receiver %d ended by itself: %v", i, err)
		}
		if err := cmd.Wait(); !strings.Contains(err.Error(), "killed") {
			t.Fatalf("receiver %d: %v", i, err)
		}
	}
	var out, log text
	cmd := start(t, b, dir, &out, &log)
	for _, g := range gateways {
		g.finished.Store(true)
	}
	defer time.AfterFunc(time.Minute, cancel).Stop()
	for !strings.Contains(log.String(), "subscribed") && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	for range gateways {
		if err := <-ended; err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			for _, g := range gateways {
				t.Logf("missing of %s: %v", g.name, g.missing())
			}
			t.Fatalf("not all is confirmed: %v; the receiver says\n%s", err, log.String())
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var account receive.Account
	if err := json.Unmarshal([]byte(out.String()), &account); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	judge(t, dir, account, gateways)
}

// judge compares files and account with what the gateways had.
func judge(t *testing.T, dir string, account receive.Account, gateways []*gateway) {
	t.Helper()
	found := lines(t, dir)
	var doubled, lost, extra, duplicates int
	for i, g := range gateways {
		last := g.last.Load()
		var records, readings, gaps uint64
		for n := uint64(1); n <= last; n++ {
			id := fmt.Sprintf("%s %s %d", g.name, g.epoch, n)
			got, want := found[id], 0
			delete(found, id)
			if !g.skipped(n) && !g.lost(n) {
				want = len(g.record(n).Readings)
				records++
				readings += uint64(want)
			} else if g.lost(n) {
				gaps++
			}
			switch {
			case got < want:
				lost++
			case got > want:
				doubled++
			}
		}
		if i >= len(account.Gateways) || account.Gateways[i].Gateway != g.name {
			t.Fatalf("account: %+v", account)
		}
		e := account.Gateways[i].Epochs[0]
		duplicates += int(e.Duplicates)
		if e.StoredRecords != records || e.StoredReadings != readings || len(e.Holes.Ranges) > 0 || e.Upto != last || uint64(len(e.Gaps)) != gaps {
			t.Errorf("account of %s: %d records, %d readings, upto %d, %d gaps, holes %v; want %d, %d, %d, %d, none", g.name,
				e.StoredRecords, e.StoredReadings, e.Upto, len(e.Gaps), e.Holes.Ranges, records, readings, last, gaps)
		}
	}
	for range found {
		extra++
	}
	t.Logf("lost %d, doubled %d, extra %d, duplicates dropped %d, refused %d", lost, doubled, extra, duplicates, account.Refused)
	if lost+doubled+extra > 0 || account.Refused > 0 {
		t.Errorf("want all 0 but the duplicates")
	}
}

// lines counts the readings in the files of dir, by record.
func lines(t *testing.T, dir string) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "readings-*.ndjson"))
	if err != nil || len(files) < 2 {
		t.Fatalf("files %v, %v; want several", files, err)
	}
	slices.Sort(files)
	found := map[string]int{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var x struct {
				Gw, Ep string
				Seq    uint64
			}
			if err := json.Unmarshal(s.Bytes(), &x); err != nil {
				t.Fatalf("%s: %q: %v", name, s.Text(), err)
			}
			found[fmt.Sprintf("%s %s %d", x.Gw, x.Ep, x.Seq)]++
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return found
}
