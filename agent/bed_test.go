package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer/salvage"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/modbus"
	"github.com/tidegate-io/tidegate/drivers/sim"
	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// broker is a real broker whose connections are pipes, and which can be away or deaf.
type broker struct {
	t *testing.T

	mu     sync.Mutex    // guards all below
	server *mochi.Server // nil = it is away
	deaf   bool          // what it says does not arrive
	conns  map[net.Conn]bool
	dials  int // that were tried
	take   mochi.InlineSubFn
}

// newBroker returns a broker that is there until the test ends.
func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, conns: map[net.Conn]bool{}}
	b.come()
	t.Cleanup(func() {
		if b.server != nil {
			b.leave()
		}
	})
	return b
}

// come makes it be there. It has forgotten what it retained.
func (b *broker) come() {
	b.t.Helper()
	s := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 86400})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		b.t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.server = s
	take := b.take
	b.mu.Unlock()
	if take != nil {
		b.subscribe(take)
	}
}

// leave ends the broker with all its connections, until come.
func (b *broker) leave() {
	b.t.Helper()
	b.mu.Lock()
	s := b.server
	b.server = nil
	b.mu.Unlock()
	b.cut()
	if err := s.Close(); err != nil {
		b.t.Error(err)
	}
}

// subscribe hands what gateways publish to take, from now on.
func (b *broker) subscribe(take mochi.InlineSubFn) {
	b.t.Helper()
	b.mu.Lock()
	s := b.server
	b.take = take
	b.mu.Unlock()
	if err := s.Subscribe(receive.Filter, 1, take); err != nil {
		b.t.Fatal(err)
	}
}

// publish publishes for the far end.
func (b *broker) publish(topic string, body []byte, retain bool) error {
	b.mu.Lock()
	s := b.server
	b.mu.Unlock()
	if s == nil {
		return errors.New("broker is away")
	}
	return s.Publish(topic, body, retain, 1)
}

func (b *broker) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := b.server
	if s == nil {
		return nil, errors.New("connect: connection refused")
	}
	near, far := net.Pipe()
	b.conns[near] = true
	go func() { _ = s.EstablishConnection("pipe", far) }() // it ends with an error when it is cut
	return &line{Conn: near, broker: b}, nil
}

// line is a connection of which nothing arrives while its broker is deaf.
type line struct {
	net.Conn
	broker *broker
}

func (l *line) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		l.broker.mu.Lock()
		deaf := l.broker.deaf
		l.broker.mu.Unlock()
		if err != nil || !deaf {
			return n, err
		}
	}
}

// cut ends all connections.
func (b *broker) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		_ = c.Close() // a pipe's Close does not fail
	}
	clear(b.conns)
}

// setDeaf says whether what the broker says is lost.
func (b *broker) setDeaf(to bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deaf = to
}

// tried returns how often somebody dialled.
func (b *broker) tried() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dials
}

// far is a far end: the receiver of the project, with a store in memory.
type far struct {
	receiver *receive.Receiver

	mu     sync.Mutex // guards all below
	ledger *receive.Ledger
	stored []receive.Stored
}

func (f *far) Load(context.Context) (*receive.Ledger, error) { return f.ledger, nil }
func (f *far) Close() error                                  { return nil }

func (f *far) Write(_ context.Context, b receive.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored = append(f.stored, b.Records...)
	return nil
}

// records returns what is stored, in the order in which it was.
func (f *far) records() []receive.Stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.stored)
}

// newFar makes a far end that gives receipts and lives as long as the test.
func newFar(t *testing.T, b *broker) *far {
	t.Helper()
	f := &far{ledger: receive.NewLedger()}
	var err error
	f.receiver, err = receive.New(t.Context(), receive.Options{
		Sink: f,
		Publish: func(_ context.Context, topic string, body []byte, retain bool) error {
			return b.publish(topic, body, retain)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.receiver.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	take := func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		err := f.receiver.Take(ctx, receive.Payload{Topic: p.TopicName, Body: slices.Clone(p.Payload)})
		if err != nil && ctx.Err() == nil {
			t.Errorf("take %s: %v", p.TopicName, err)
		}
	}
	b.subscribe(take)
	return f
}

// tally is what a far end has of one channel, or how often a text came.
type tally map[string]int

// check judges everything that arrived: nothing twice, rising numbers in each lane, no gaps but as many as said, nothing refused.
func (f *far) check(t *testing.T, gaps int) {
	t.Helper()
	seen, last := map[string]bool{}, map[string]uint64{}
	for _, s := range f.records() {
		id := fmt.Sprintf("%s/%d", s.Epoch, s.Record.Number)
		if seen[id] {
			t.Errorf("record %s is stored twice", id)
		}
		seen[id] = true
		lane := s.Epoch + "/" + s.Lane
		if s.Record.Number <= last[lane] {
			t.Errorf("lane %s: record %d is stored after %d", lane, s.Record.Number, last[lane])
		}
		last[lane] = s.Record.Number
	}
	a := f.receiver.Account()
	if a.Refused != 0 {
		t.Errorf("receiver refused %d payloads", a.Refused)
	}
	got := 0
	for _, g := range a.Gateways {
		for _, e := range g.Epochs {
			got += len(e.Gaps)
			if len(e.Holes.Ranges) != 0 || e.HeldRecords != 0 {
				t.Errorf("epoch %s: holes %v, %d records of which parts are missing", e.Epoch, e.Holes, e.HeldRecords)
			}
		}
	}
	if got != gaps {
		t.Errorf("%d gaps were declared, want %d", got, gaps)
	}
}

// counted returns the values of channel n of device, as they arrived, sorted; it is an error that one stands there twice.
func (f *far) counted(t *testing.T, device string) []int64 {
	t.Helper()
	var out []int64
	for _, s := range f.records() {
		for _, r := range s.Record.Readings {
			if v, ok := r.Value.Number(); ok && r.Device == device && r.Channel == "n" {
				out = append(out, int64(v))
			}
		}
	}
	slices.Sort(out)
	return out
}

// wantCounts says that device's counter arrived from 1 to last, each once.
func (f *far) wantCounts(t *testing.T, device string, last int) {
	t.Helper()
	got := f.counted(t, device)
	if len(got) != last {
		t.Errorf("%s: %d values of n arrived, want %d", device, len(got), last)
	}
	for i, n := range got {
		if n != int64(i+1) {
			t.Errorf("%s: value %d of n is %d, want %d", device, i, n, i+1)
			return
		}
	}
}

// texts returns how often each fault or text of the channel arrived.
func (f *far) texts(device, channel string) tally {
	out := tally{}
	for _, s := range f.records() {
		for _, r := range s.Record.Readings {
			if r.Device != device || r.Channel != channel {
				continue
			}
			if r.Fault != "" {
				out[r.Fault]++
			} else {
				out[r.Value.String()]++
			}
		}
	}
	return out
}

// alarms returns the state ("raised", "cleared") of each alarm of the rule, in the order in which they arrived.
func (f *far) alarms(t *testing.T, rule string) []string {
	t.Helper()
	var out []string
	for _, s := range f.records() {
		for _, r := range s.Record.Readings {
			if r.Device != "_rules" || r.Channel != rule {
				continue
			}
			var a struct{ State string }
			if err := json.Unmarshal([]byte(r.Value.String()), &a); err != nil {
				t.Fatalf("alarm %q: %v", r.Value, err)
			}
			out = append(out, a.State)
		}
	}
	return out
}

// bed is a gateway on a machine of its own.
type bed struct {
	t     testing.TB
	dir   string // state
	rings string
	host  *drivertest.Host
	list  []drivers.Driver
	parts agent.Parts
}

// newBed returns a gateway in fake time: it is made inside the test's bubble. b may be nil; a test that has several brokers sets Dial.
func newBed(t testing.TB, b *broker, more ...drivers.Driver) *bed {
	t.Helper()
	dir := tmpfs.Dir(t)
	x := &bed{
		t: t, dir: filepath.Join(dir, "state"), rings: filepath.Join(dir, "rings"), host: &drivertest.Host{},
		list: append([]drivers.Driver{sim.Driver, modbus.Driver}, more...),
	}
	began := time.Now()
	x.parts = agent.Parts{
		Host: x.host, RingDir: x.rings, Version: "test", Log: slog.New(slog.DiscardHandler), Written: func() uint64 { return 0 },
		Clock: func() clock.Stamp {
			now := time.Now()
			return clock.Stamp{Wall: now.Truncate(time.Microsecond), Boot: now.Sub(began).Truncate(time.Microsecond) + time.Hour, Synced: true}
		},
		Statfs:  func(string) (free, total int64, err error) { return 100 << 30, 200 << 30, nil },
		Salvage: salvaged,
	}
	if os.Getenv("AGENT_LOG") != "" { // for whoever looks for the cause of a failure
		x.parts.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if b != nil {
		x.parts.Dial = b.dial
	}
	return x
}

// salvaged reads a damaged store in this process.
func salvaged(dir string) (io.ReadCloser, error) {
	var b bytes.Buffer
	err := salvage.Write(dir, &b)
	return io.NopCloser(&b), err
}

// load returns the configuration of text, behind gateway.id and state_dir.
func (x *bed) load(text string) *config.Config { return x.loadChanged(text, "", "") }

// loadChanged is load with the first old replaced.
func (x *bed) loadChanged(text, old, next string) *config.Config {
	x.t.Helper()
	text = "gateway: {id: gw-1}\nstate_dir: " + x.dir + "\n" + text
	if old != "" {
		text = strings.Replace(text, old, next, 1)
	}
	cfg, faults, err := config.Parse("test.yaml", []byte(text), x.list)
	if err != nil {
		x.t.Fatalf("%v: %v", err, faults)
	}
	return cfg
}

// running is a gateway that runs.
type running struct {
	*agent.Agent
	t    testing.TB
	ctx  context.Context
	stop context.CancelFunc
	done chan error
}

// start runs a gateway with that configuration; it fails the test unless stopped with end.
func (x *bed) start(text string) *running {
	x.t.Helper()
	a, err := agent.New(x.load(text), x.parts)
	if err != nil {
		x.t.Fatal(err)
	}
	r := &running{Agent: a, t: x.t, done: make(chan error, 1)}
	r.ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.done <- a.Run(r.ctx) }()
	return r
}

// end stops the gateway in order.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// device returns the state of a device.
func (r *running) device(name string) status.Device {
	r.t.Helper()
	s := r.Status()
	for _, d := range s.Devices {
		if d.Name == name {
			return d
		}
	}
	r.t.Fatalf("no device %q in the status", name)
	return status.Device{}
}

// conditions returns the codes of the conditions that hold.
func (r *running) conditions() string {
	var out []string
	for _, c := range r.Status().Conditions {
		out = append(out, c.Code)
	}
	return strings.Join(out, " ")
}

// wantAccount says that all that was produced is delivered.
func wantAccount(t testing.TB, s status.Status, produced uint64) {
	t.Helper()
	want := status.Account{Produced: produced, Delivered: produced}
	if s.Account != want {
		t.Errorf("account is %+v, want %+v", s.Account, want)
	}
	if s.Queue.Records != 0 || s.Queue.Readings != 0 {
		t.Errorf("%d records, %d readings are still in the queue", s.Queue.Records, s.Queue.Readings)
	}
}

// bubble runs f in fake time, on one thread: up to Go 1.26 the race detector crashes where timers of one bubble fire on two threads at once
// (runtime.timers.raceCtx is the bubble's, and a select runs a timer itself beside synctest.Run). It is quicker, too.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f)
}

// readings returns a Read of n channels of one number each.
func readings(n int, v int64) []tidegate.Reading {
	out := make([]tidegate.Reading, n)
	for i := range out {
		out[i] = tidegate.Reading{Channel: fmt.Sprintf("c%d", i), Value: tidegate.Int(v)}
	}
	return out
}
