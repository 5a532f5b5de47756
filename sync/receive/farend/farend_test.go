package farend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/sync/receive/sink"
	"github.com/tidegate-io/tidegate/sync/receive/subscribe"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// mosquitto starts a broker and returns its port and what ends it.
func mosquitto(t testing.TB) (port int, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\nuser root\nlog_type error\nmax_inflight_messages 1000\nmax_queued_messages 0\nset_tcp_nodelay true\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	cmd := exec.Command(path, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v; on Debian: apt-get install mosquitto", err)
	}
	stop = func() {
		if cmd.Process.Kill() == nil {
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return port, stop
}

// A farEnd is Run in the background.
type farEnd struct {
	port   int    // of the broker
	page   string // address of the page
	kill   func() // of the broker
	end    context.CancelFunc
	ended  chan error
	result receive.Account
}

// run starts a broker and a far end that stores into a new directory.
func run(t testing.TB) *farEnd {
	t.Helper()
	port, kill := mosquitto(t)
	return runAt(t, port, kill, t.TempDir())
}

// runAt starts a far end on a broker that runs.
func runAt(t testing.TB, port int, kill func(), dir string) *farEnd {
	t.Helper()
	f := &farEnd{ended: make(chan error, 1), port: port, kill: kill}
	ctx, cancel := context.WithCancel(context.Background())
	f.end = cancel
	ready := make(chan net.Addr, 1)
	o := Options{
		Directory: dir, Listen: "127.0.0.1:0", Ready: func(a net.Addr) { ready <- a },
		Broker: subscribe.Options{URL: fmt.Sprintf("mqtt://127.0.0.1:%d", f.port), ID: "far-end"},
	}
	go func() {
		var err error
		f.result, err = Run(ctx, o)
		f.ended <- err
	}()
	select {
	case a := <-ready:
		f.page = "http://" + a.String()
	case err := <-f.ended:
		t.Fatal(err)
	}
	return f
}

// get returns the status and text of one page.
func (f *farEnd) get(t testing.TB, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(f.page + path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// until waits for ok, at most ten seconds.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 10 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// gateway connects as one and returns receipts.
func gateway(t testing.TB, port int, name string) (paho.Client, chan wire.Receipt) {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(fmt.Sprintf("tcp://127.0.0.1:%d", port)).SetClientID(name).SetAutoReconnect(false))
	until(t, "connection", func() bool {
		token := c.Connect()
		return token.WaitTimeout(10*time.Second) && token.Error() == nil
	})
	receipts := make(chan wire.Receipt, 1000)
	token := c.Subscribe("tg/v1/"+name+"/down/receipt", 1, func(_ paho.Client, m paho.Message) {
		if r, err := wire.ParseReceipt(m.Payload()); err == nil {
			receipts <- r
		}
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	return c, receipts
}

// pack returns the records first to last, of so many readings each, as SenML.
func pack(t testing.TB, name string, first, last uint64, readings int) []byte {
	t.Helper()
	p := wire.Pack{Gateway: name, Epoch: "k3f9"}
	for n := first; n <= last; n++ {
		r := tidegate.Record{Number: n, Time: time.UnixMicro(1792000000006000 + int64(n))}
		for i := range readings {
			r.Readings = append(r.Readings, tidegate.Reading{Device: "meter1", Channel: fmt.Sprintf("r%d", i), Value: tidegate.Uint(n), Unit: "V"})
		}
		p.Records = append(p.Records, r)
	}
	b, err := wire.AppendSenML(nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPage follows health and metrics from the first payload to the broker's death, and the account at the end.
func TestPage(t *testing.T) {
	f := run(t)
	until(t, "subscription", func() bool { code, text := f.get(t, "/healthz"); return code == 200 && text == "ok\n" })
	c, receipts := gateway(t, f.port, "gw-1")
	c.Publish("tg/v1/gw-1/up/data", 1, false, pack(t, "gw-1", 1, 3, 2))
	c.Publish("tg/v1/gw-1/up/data", 1, false, "[")
	c.Publish("tg/v1/gw-1/up/data", 1, false, pack(t, "gw-1", 2, 5, 2))
	wantReceipt(t, receipts, 5)
	code, text := f.get(t, "/metrics")
	for _, want := range []string{
		"tidegate_receive_payloads_total 3\n", "tidegate_receive_refused_payloads_total 1\n", "tidegate_receive_connected 1\n",
		"# TYPE tidegate_receive_stored_records_total counter\n",
		`tidegate_receive_stored_records_total{gateway="gw-1",epoch="k3f9"} 5` + "\n",
		`tidegate_receive_stored_readings_total{gateway="gw-1",epoch="k3f9"} 10` + "\n",
		`tidegate_receive_duplicate_records_total{gateway="gw-1",epoch="k3f9"} 2` + "\n",
		`tidegate_receive_receipted_record{gateway="gw-1",epoch="k3f9"} 5` + "\n",
		`tidegate_receive_missing_records{gateway="gw-1",epoch="k3f9"} 0` + "\n",
	} {
		if code != 200 || !strings.Contains(text, want) {
			t.Errorf("status %d, no %q in\n%s", code, want, text)
		}
	}
	if code, _ := f.get(t, "/"); code != 404 {
		t.Errorf("/ answers %d, want 404", code)
	}
	late, again := gateway(t, f.port, "gw-1") // takes the name over: the retained receipt comes at once
	wantReceipt(t, again, 5)
	late.Disconnect(10)
	f.kill()
	until(t, "end of health", func() bool {
		code, text := f.get(t, "/healthz")
		return code == 503 && strings.HasPrefix(text, "broker: ")
	})
	f.end()
	if err := <-f.ended; err != nil {
		t.Fatal(err)
	}
	if g := f.result.Gateways; len(g) != 1 || g[0].Epochs[0].StoredRecords != 5 {
		t.Errorf("account: %+v", f.result)
	}
}

// wantReceipt waits for a receipt up to a number.
func wantReceipt(t testing.TB, receipts <-chan wire.Receipt, upto uint64) {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case r := <-receipts:
			if r.Upto == upto && r.Epoch == "k3f9" {
				return
			}
		case <-late:
			t.Fatalf("no receipt up to %d within 10 s", upto)
		}
	}
}

// TestReceiptsAreGivenUnasked wants a gateway that sends nothing to be told what there is: by the receiver's start, and by a broker
// that has forgotten all that was retained.
func TestReceiptsAreGivenUnasked(t *testing.T) {
	dir := t.TempDir()
	s, err := sink.OpenNDJSON(dir, sink.NDJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := receive.New(t.Context(), receive.Options{Sink: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := receive.Payload{Topic: "tg/v1/gw-1/up/data", Body: pack(t, "gw-1", 1, 7, 1), Done: cancel}
	if err := errors.Join(r.Take(ctx, p), r.Run(ctx), s.Close()); err != nil {
		t.Fatal(err)
	}
	port, kill := mosquitto(t)
	_, receipts := gateway(t, port, "gw-1")
	f := runAt(t, port, kill, dir)
	wantReceipt(t, receipts, 7)
	f.end()
	if err := <-f.ended; err != nil {
		t.Fatal(err)
	}
}

// TestRunRefuses wants Run to give up what it has opened.
func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := Options{Directory: dir, Broker: subscribe.Options{URL: "mqtt://127.0.0.1:1", ID: "x"}, Listen: taken.Addr().String()}
	_, err = Run(t.Context(), o)
	if want := fmt.Sprintf("listen: listen tcp %s: bind: address already in use", taken.Addr()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	s, err := sink.OpenNDJSON(dir, sink.NDJSONOptions{})
	if err != nil {
		t.Fatalf("the directory is still locked: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkTake measures records taken in and written to disk with the ledger, without a broker: payloads of 200 readings, as
// records of one reading and of forty, in groups of up to 20 payloads.
func BenchmarkTake(b *testing.B) {
	for _, readings := range []int{1, 40} {
		b.Run(fmt.Sprintf("readings=%d", readings), func(b *testing.B) {
			s, err := sink.OpenNDJSON(b.TempDir(), sink.NDJSONOptions{})
			if err != nil {
				b.Fatal(err)
			}
			r, err := receive.New(b.Context(), receive.Options{Sink: s})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error)
			go func() { ended <- r.Run(ctx) }()
			per := uint64(200 / readings)
			var bodies [][]byte
			for i := range uint64(b.N) {
				bodies = append(bodies, pack(b, "gw-1", i*per+1, (i+1)*per, readings))
			}
			free := make(chan struct{}, 20) // as many as mosquitto lets be under way
			b.ResetTimer()
			for _, body := range bodies {
				free <- struct{}{}
				if err := r.Take(ctx, receive.Payload{Topic: "tg/v1/gw-1/up/data", Body: body, Done: func() { <-free }}); err != nil {
					b.Fatal(err)
				}
			}
			cancel()
			if err := errors.Join(<-ended, s.Close()); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)*float64(per)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(b.N)*200/b.Elapsed().Seconds(), "readings/s")
		})
	}
}

// BenchmarkMosquitto measures the same through mosquitto, and the time from a publish to its receipt while nothing else is sent.
func BenchmarkMosquitto(b *testing.B) {
	for _, readings := range []int{1, 40} {
		b.Run(fmt.Sprintf("readings=%d", readings), func(b *testing.B) {
			f := run(b)
			until(b, "subscription", func() bool { code, _ := f.get(b, "/healthz"); return code == 200 })
			c, receipts := gateway(b, f.port, "gw-1")
			per := uint64(200 / readings)
			free := make(chan struct{}, 64)
			b.ResetTimer()
			for i := range uint64(b.N) {
				free <- struct{}{}
				token := c.Publish("tg/v1/gw-1/up/data", 1, false, pack(b, "gw-1", i*per+1, (i+1)*per, readings))
				go func() { token.Wait(); <-free }()
			}
			for (<-receipts).Upto < uint64(b.N)*per {
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)*float64(per)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(b.N)*200/b.Elapsed().Seconds(), "readings/s")
			time.Sleep(300 * time.Millisecond)
			began := time.Now()
			last := uint64(b.N)*per + 1
			c.Publish("tg/v1/gw-1/up/data", 1, false, pack(b, "gw-1", last, last, 1))
			for (<-receipts).Upto < last {
			}
			b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ms/receipt")
			f.end()
			if err := <-f.ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}
