package forward_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/forward"
	"github.com/tidegate-io/tidegate/sync/forward/uplink"
	"github.com/tidegate-io/tidegate/sync/mqtt"
	"github.com/tidegate-io/tidegate/sync/profile"
	"github.com/tidegate-io/tidegate/sync/wire"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// load makes records as fifty Modbus units of forty registers give them: running numbers, slow waves, one random in forty.
type load struct {
	rnd  *rand.Rand
	tick int
	next uint64
	at   time.Time
}

// records returns what all units answer in so many rounds, 100 ms apart.
func (l *load) records(rounds int) []tidegate.Record {
	var out []tidegate.Record
	for range rounds {
		l.tick++
		l.at = l.at.Add(100 * time.Millisecond)
		for d := range 50 {
			l.next++
			r := tidegate.Record{Number: l.next, Class: tidegate.ClassReading, Time: l.at.Add(time.Duration(d) * 137 * time.Microsecond)}
			for c := range 40 {
				v := uint64(l.tick*40 + c)
				switch {
				case c == 39:
					v = uint64(l.rnd.Uint32())
				case c >= 20:
					v = uint64(20000 + 5000*math.Sin(float64(l.tick)/500+float64(c)))
				}
				r.Readings = append(r.Readings, tidegate.Reading{
					Device: fmt.Sprintf("meter%d", d), Channel: fmt.Sprintf("r%d", c), Value: tidegate.Uint(v),
				})
			}
			out = append(out, r)
		}
	}
	return out
}

func newLoad() *load { return &load{rnd: rand.New(rand.NewPCG(1, 2)), at: time.Now()} }

// cpu returns the processor time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGzipLevels says what each level costs and gains on batches of 4,000 readings.
func BenchmarkGzipLevels(b *testing.B) {
	l := newLoad()
	var raw [][]byte
	for range 20 {
		p := wire.Pack{Gateway: "gw-bench", Epoch: "01hzy3", Records: l.records(2)}
		body, err := wire.AppendSenML(nil, &p)
		if err != nil {
			b.Fatal(err)
		}
		raw = append(raw, body)
	}
	for level := 0; level <= 6; level++ {
		b.Run(fmt.Sprint("level ", level), func(b *testing.B) {
			z, err := kgzip.NewWriterLevel(nil, level)
			if err != nil {
				b.Fatal(err)
			}
			var out bytes.Buffer
			size, n := 0, 0
			for b.Loop() {
				out.Reset()
				z.Reset(&out)
				if _, err := z.Write(raw[n%len(raw)]); err != nil {
					b.Fatal(err)
				}
				if err := z.Close(); err != nil {
					b.Fatal(err)
				}
				size += out.Len()
				n++
			}
			b.ReportMetric(float64(size)/float64(n)/4000, "bytes/reading")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n)/4000, "ns/reading")
			r, err := gzip.NewReader(&out)
			if err != nil {
				b.Fatal(err)
			}
			var back bytes.Buffer
			if _, err := back.ReadFrom(r); err != nil || !bytes.Equal(back.Bytes(), raw[(n-1)%len(raw)]) {
				b.Fatalf("the standard library reads something else: %v", err)
			}
		})
	}
}

// backlog is a Source that holds frames in memory, each as the store would.
type backlog struct {
	mu     sync.Mutex
	frames []buffer.Look
	done   tidegate.Ranges
	over   chan struct{}
	last   uint64
}

func (q *backlog) Next(class tidegate.Class, from buffer.Place, maxBytes int) ([]buffer.Look, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []buffer.Look
	for i := range q.frames {
		k := q.frames[i]
		if class != k.Class || k.Last < from.Number {
			continue
		}
		if maxBytes -= len(k.Body); maxBytes < 0 && len(out) > 0 {
			break
		}
		if k.Want = q.done.Missing(tidegate.Range{First: k.First, Last: k.Last}); len(k.Want) > 0 {
			out = append(out, k)
		}
	}
	return out, nil
}

func (q *backlog) Changed() <-chan struct{} { return nil }

func (q *backlog) Ack(_ string, rs tidegate.Ranges) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done.AddAll(rs)
	if q.done.Covers(tidegate.Range{First: 1, Last: q.last}) {
		close(q.over)
	}
	return nil
}

func (q *backlog) Reject(epoch string, r tidegate.Range, why string) error {
	return fmt.Errorf("record %d: %s", r.First, why)
}

// BenchmarkCatchUp empties a backlog of frames of 4,000 readings into a real mosquitto.
func BenchmarkCatchUp(b *testing.B) {
	addr := broker(b)
	enc, err := frame.NewEncoder()
	if err != nil {
		b.Fatal(err)
	}
	l, frames := newLoad(), []buffer.Look(nil)
	l.at = l.at.Add(-time.Hour)
	for range 250 { // a million readings
		recs := l.records(2)
		body, err := enc.AppendColumns(nil, recs)
		if err != nil {
			b.Fatal(err)
		}
		k := buffer.Look{EpochID: "01hzy3"}
		k.Epoch, k.Class, k.First, k.Last, k.Count = 1, tidegate.ClassReading, recs[0].Number, recs[len(recs)-1].Number, 4000
		k.T0, k.T1, k.Body = recs[0].Time.UnixMilli(), recs[len(recs)-1].Time.UnixMilli(), body
		frames = append(frames, k)
	}
	b.ResetTimer()
	used, readings, size := cpu(), 0, uint64(0)
	var busy time.Duration // without the second in which retained receipts are waited for
	for b.Loop() {
		q := &backlog{frames: frames, over: make(chan struct{}), last: l.next}
		st, took := run(b, addr, q)
		busy += took
		readings += int(st.Confirmed.Readings)
		size += st.Confirmed.Bytes
	}
	b.ReportMetric(float64(readings)/busy.Seconds(), "readings/s")
	b.ReportMetric(float64((cpu()-used).Nanoseconds())/float64(readings), "cpu-ns/reading")
	b.ReportMetric(float64(size)/float64(readings), "bytes/reading")
}

// run forwards q to the broker until all of it is confirmed, and returns how long that took from when the connection was up.
func run(b testing.TB, addr string, q *backlog) (forward.Stats, time.Duration) {
	b.Helper()
	p, _ := profile.ByName("generic")
	dec, err := frame.NewDecoder()
	if err != nil {
		b.Fatal(err)
	}
	f, err := forward.New(forward.Options{
		Name: "cloud", Gateway: "gw-bench", Source: q, Readings: 5000, Every: 200 * time.Millisecond, Gzip: true,
		MaxPayload: p.MaxPayload, Decode: dec.Decode, Encode: p.Encode,
		Open: func(ctx context.Context) (uplink.Uplink, error) {
			u, err := mqtt.Open(ctx, mqtt.Options{URLs: []string{"mqtt://" + addr}, ClientID: "gw-bench", Profile: p, Gateway: "gw-bench"})
			if err != nil {
				return nil, err
			}
			return u, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	select {
	case <-q.over:
	case <-time.After(60 * time.Second):
		b.Errorf("not all was confirmed within a minute: %+v", f.Stats())
	}
	st := f.Stats()
	took := time.Since(st.Since)
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	return f.Stats(), took
}

// broker starts mosquitto and returns its address.
func broker(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Fatal("this test needs mosquitto: apt-get install mosquitto")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := "listener " + addr[strings.LastIndex(addr, ":")+1:] + " 127.0.0.1\nallow_anonymous true\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for range 1000 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return addr
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("mosquitto does not listen within 10 s")
	return ""
}

// TestBacklogToMosquitto: everything goes through the real codec, payload, uplink and broker, and comes out again.
func TestBacklogToMosquitto(t *testing.T) {
	addr := broker(t)
	l := newLoad()
	var frames []buffer.Look
	var all []tidegate.Record
	for range 20 {
		recs := l.records(1)
		all = append(all, recs...)
		k := buffer.Look{EpochID: "01hzy3"}
		k.Epoch, k.Class, k.First, k.Last, k.Count = 1, tidegate.ClassReading, recs[0].Number, recs[len(recs)-1].Number, 2000
		k.T0, k.T1, k.Body = recs[0].Time.UnixMilli(), recs[len(recs)-1].Time.UnixMilli(), frame.AppendRows(nil, recs)
		frames = append(frames, k)
	}
	sub := exec.Command("mosquitto_sub", "-h", "127.0.0.1", "-p", addr[strings.LastIndex(addr, ":")+1:], "-t", "tg/v1/gw-bench/up/data",
		"-q", "1", "-C", "8", "-F", "%x", "-W", "30")
	var out bytes.Buffer
	sub.Stdout = &out
	if err := sub.Start(); err != nil {
		t.Fatalf("this test needs mosquitto_sub: apt-get install mosquitto-clients: %v", err)
	}
	time.Sleep(300 * time.Millisecond) // until it has subscribed
	st, _ := run(t, addr, &backlog{frames: frames, over: make(chan struct{}), last: l.next})
	if st.Confirmed.Readings != 40000 || st.Connects != 1 || st.Resent != 0 {
		t.Errorf("stats %+v", st)
	}
	if err := sub.Wait(); err != nil {
		t.Fatalf("mosquitto_sub: %v after %d bytes", err, out.Len())
	}
	n := 0
	for line := range strings.Lines(out.String()) {
		var zipped []byte
		if _, err := fmt.Sscanf(line, "%x", &zipped); err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(bytes.NewReader(zipped))
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		p, err := wire.DecodeSenML(body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Records {
			got, want := &p.Records[i], &all[n]
			if got.Number != want.Number || len(got.Readings) != 40 || !same(got.Readings, want.Readings) {
				t.Fatalf("got record %+v, want %+v", got, want)
			}
			n++
		}
	}
	if n != len(all) {
		t.Errorf("%d records came, want %d", n, len(all))
	}
}

func same(a, b []tidegate.Reading) bool {
	for i := range a {
		x, _ := a[i].Value.Number()
		y, _ := b[i].Value.Number()
		if a[i].Device != b[i].Device || a[i].Channel != b[i].Channel || x != y {
			return false
		}
	}
	return true
}
