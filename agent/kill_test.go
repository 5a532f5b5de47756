package agent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// killed names, in the environment of a child process, the directory of the gateway that it is.
const killed = "TIDEGATE_TEST_KILLED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killed); dir != "" {
		fmt.Println(runKilled(dir)) // it is killed before it comes here
		os.Exit(1)
	}
	if dir := os.Getenv(secretDir); dir != "" {
		fmt.Println(runSecret(dir)) // it is killed before it comes here
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killedConfig is a device that a rule has read 500 times a second since its first Read, with an alarm each 50th time, and an uplink that leads nowhere.
const killedConfig = `
devices: [{name: a, driver: counter, every: 24h}]
rules:
  - {name: quick, when: a.n == 1, clear: a.n == -1, do: [{interval: {device: a, every: 2ms}}]}
  - {name: tens, when: a.phase >= 25, do: [{alarm: {severity: info, text: half}}]}
  - {name: sum, do: [{derive: {channel: b.n, value: total(a.n)}}, {derive: {channel: b.half, value: a.phase >= 25}}]}
  - name: less
    do:
      - drop: {channels: [a.gone, b.half, a.raw]}
      - thin: {channels: [a.thin], every: 20ms, as: avg}
      - thin: {channels: [a.slim], every: 20ms}
      - deadband: {channels: [a.held], by: 5, heartbeat: 0s}
  - {name: burst, when: a.phase == 10, do: [{snapshot: {channels: [a.raw, a.slim], before: 10m}}]}
buffer: {sync: 100ms}
uplink: {url: "mqtt://broker.test", confirm: receipt}
`

// runKilled runs the gateway in dir until it is killed.
func runKilled(dir string) error {
	counter, err := openCounter(dir)
	if err != nil {
		return err
	}
	list := []drivers.Driver{counter.driver()}
	rest, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		return err
	}
	text := "gateway: {id: gw-1}\nstate_dir: " + filepath.Join(dir, "state") + string(rest)
	cfg, _, err := config.Parse("child.yaml", []byte(text), list)
	if err != nil {
		return err
	}
	a, err := agent.New(cfg, agent.Parts{
		Host: &drivertest.Host{}, RingDir: filepath.Join(dir, "rings"), Log: slog.New(slog.DiscardHandler),
		Dial: (&broker{}).dial, // which is away
	})
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

// counter is a device whose counter outlives the process: it says how many Reads were answered.
type counter struct{ file *os.File }

func openCounter(dir string) (*counter, error) {
	f, err := os.OpenFile(filepath.Join(dir, "counter"), os.O_RDWR|os.O_CREATE, 0o600)
	return &counter{f}, err
}

// answered returns the number of the last Read.
func (c *counter) answered() (uint64, error) {
	var b [8]byte
	if n, err := c.file.ReadAt(b[:], 0); err != nil && n > 0 {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// driver returns the driver of the counter.
func (c *counter) driver() drivers.Driver {
	p := newPlay()
	p.read = func(context.Context, int) ([]tidegate.Reading, error) {
		n, err := c.answered()
		if err != nil {
			return nil, err
		}
		n++
		if _, err := c.file.WriteAt(binary.LittleEndian.AppendUint64(nil, n), 0); err != nil {
			return nil, err
		}
		return []tidegate.Reading{
			{Channel: "n", Value: tidegate.Uint(n)},
			{Channel: "phase", Value: tidegate.Uint(n % 50)},
			{Channel: "gone", Value: tidegate.Uint(n)},
			{Channel: "thin", Value: tidegate.Uint(n)},
			{Channel: "held", Value: tidegate.Uint(n)},
			{Channel: "raw", Value: tidegate.Uint(n)},
			{Channel: "slim", Value: tidegate.Uint(n)},
		}, nil
	}
	d := p.driver("counter", time.Second)
	for _, name := range []string{"phase", "gone", "thin", "held", "raw", "slim"} {
		d.Channels = append(d.Channels, drivers.Channel{Name: name, Kind: tidegate.KindUint})
	}
	return d
}

// TestKill kills a gateway without a link three times in mid-work, and lets a fourth one deliver: nothing that a Read returned is lost
// but what was on its way from the device, nothing comes twice, each alarm once, and no gap is declared. What rules derive comes once, and what they
// drop, thin out and hold back is counted to the reading, and what a snapshot gives out of that comes once.
func TestKill(t *testing.T) {
	const kills = 3
	dir := tmpfs.Dir(t)
	c, killedAt := killIt(t, dir, killedConfig, kills)
	booted := new(clock.Clock).Now().Boot
	bubble(t, func(t *testing.T) { judgeKilled(t, dir, c, killedAt, booted) })
}

// newCounter opens the counter in dir for a test.
func newCounter(t *testing.T, dir string) *counter {
	t.Helper()
	c, err := openCounter(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.file.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// killIt runs a gateway of that configuration in dir, with the counter for a device, and kills it that often in mid-work.
func killIt(t *testing.T, dir, configuration string, kills int) (c *counter, killedAt []uint64) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	c = newCounter(t, dir)
	for i := range kills {
		before, err := c.answered()
		if err != nil {
			t.Fatal(err)
		}
		child := exec.Command(exe, "-test.run=^$")
		child.Env = append(os.Environ(), killed+"="+dir)
		var said bytes.Buffer
		child.Stdout, child.Stderr = &said, &said
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(20 * time.Second)
		for n := before; n < before+150+uint64(i)*7; n, err = c.answered() {
			if err != nil || time.Now().After(deadline) {
				_, _ = child.Process.Kill(), child.Wait() // it has hung
				t.Fatalf("%d Reads, %v: %s", n-before, err, &said)
			}
			time.Sleep(time.Millisecond)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("child ended by itself: %v: %s", err, &said)
		}
		at, err := c.answered()
		if err != nil {
			t.Fatal(err)
		}
		killedAt = append(killedAt, at)
	}
	return c, killedAt
}

// judgeKilled starts the gateway of dir once more, with a link, on a machine that was booted as long ago as booted says: boot time goes on.
func judgeKilled(t *testing.T, dir string, c *counter, kills []uint64, booted time.Duration) {
	b := newBroker(t)
	f := newFar(t, b)
	x := newBed(t, b, c.driver())
	x.after(dir, booted)
	g := x.start(killedConfig)
	time.Sleep(10 * time.Second)
	g.end()
	answered, err := c.answered()
	if err != nil {
		t.Fatal(err)
	}
	s := g.Status()
	lost := answered - s.Account.Produced/perRead
	t.Logf("%d Reads answered, %d of them on their way when the gateway was killed", answered, lost)
	checkLess(t, f, s, answered-lost)
	checkBursts(t, f, kills, answered)
	if lost > uint64(len(kills)) {
		t.Errorf("%d Reads are lost, at most one a kill may have been on its way", lost)
	}
	f.check(t, 0)
	counts := f.counted(t, "a")
	for i := 1; i < len(counts); i++ {
		if counts[i] == counts[i-1] {
			t.Errorf("n = %d arrived twice", counts[i])
		}
	}
	if len(counts) != int(answered-lost) || counts[len(counts)-1] != int64(answered) {
		t.Errorf("%d values of n arrived, the last %d; want %d, the last %d", len(counts), counts[len(counts)-1], answered-lost, answered)
	}
	sums, sum := f.counted(t, "b"), int64(0)
	for i := range sums {
		if sum += counts[min(i, len(counts)-1)]; sums[i] != sum { // each went into the total once
			t.Fatalf("derived total %d is %d, want %d", i, sums[i], sum)
		}
	}
	if len(sums) != len(counts) {
		t.Errorf("%d totals arrived, want %d", len(sums), len(counts))
	}
	alarms := f.alarms(t, "tens")
	for i, a := range alarms {
		if want := [2]string{"raised", "cleared"}[i%2]; a != want {
			t.Errorf("alarm %d is %s, want %s", i, a, want)
		}
	}
	if n := int(answered)/25 - 1; len(alarms) < n || len(alarms) > n+2 {
		t.Errorf("%d alarms arrived, want about %d", len(alarms), n)
	}
}

// after makes x go on in dir, where a gateway was killed, on a machine that was booted as long ago as booted says.
func (x *bed) after(dir string, booted time.Duration) {
	x.dir, x.parts.RingDir = filepath.Join(dir, "state"), filepath.Join(dir, "rings")
	fake := x.parts.Clock
	x.parts.Clock = func() clock.Stamp {
		now := fake()
		now.Boot += booted
		return now
	}
}

// perRead is how many readings the counter returns with each Read.
const perRead = 7

// checkLess compares what arrived with what the rules of killedConfig make of so many Reads, and with the account.
func checkLess(t *testing.T, f *far, s status.Status, reads uint64) {
	t.Helper()
	at := map[string][]float64{} // what arrived, by channel
	for _, r := range f.records() {
		for _, x := range r.Record.Readings {
			if v, ok := x.Value.Number(); ok && x.Device != "_rules" {
				at[x.Device+"."+x.Channel] = append(at[x.Device+"."+x.Channel], v)
			}
		}
	}
	for name := range at {
		slices.Sort(at[name])
	}
	n, thin := at["a.n"], at["a.thin"]
	var held []float64
	for _, v := range n {
		if len(held) == 0 || v-held[len(held)-1] >= 5 {
			held = append(held, v)
		}
	}
	if !slices.Equal(at["a.held"], held) {
		t.Errorf("%d values went through the deadband, want %d: %v", len(at["a.held"]), len(held), at["a.held"])
	}
	next := 0
	for i, avg := range thin { // each value went into one average
		first, sum := next, 0.0
		for sum == 0 || next < len(n) && sum/float64(next-first) < avg {
			sum += n[next]
			next++
		}
		if sum/float64(next-first) != avg {
			t.Fatalf("average %d is %v, and no average of values from %v on", i, avg, n[first])
		}
	}
	if len(n)-next > 12 || len(thin) < len(n)/20 {
		t.Errorf("%d averages stand for %d of %d values", len(thin), next, len(n))
	}
	raw, slim := at["a.raw"], at["a.slim"]
	want := status.Account{
		Produced: perRead * reads, Derived: 2 * reads,
		Thinned: 2*reads - uint64(len(thin)+len(slim)), Filtered: 4*reads - uint64(len(held)+len(raw)), // a.gone, b.half
		Delivered: 3*reads + uint64(len(thin)+len(held)+len(raw)+len(slim)), // a.n, a.phase, b.n
	}
	if s.Account != want || s.Queue.Readings != 0 {
		t.Errorf("account is %+v, want %+v; %d readings are still in the queue", s.Account, want, s.Queue.Readings)
	}
	if len(at["a.gone"])+len(at["b.half"]) != 0 {
		t.Errorf("%d readings arrived that were dropped", len(at["a.gone"])+len(at["b.half"]))
	}
}

// checkBursts compares what the snapshots of killedConfig gave out with what they have to: all that was read since the last one, each once and with the
// time at which it was read, but what was kept back when a kill came.
func checkBursts(t *testing.T, f *far, kills []uint64, answered uint64) {
	t.Helper()
	times := map[string]map[uint64]time.Time{"n": {}, "raw": {}, "slim": {}}
	restored := 0
	for _, r := range f.records() {
		for _, x := range r.Record.Readings {
			n, _ := x.Value.Number()
			list := times[x.Channel]
			if list == nil || x.Device != "a" {
				continue
			}
			if !list[uint64(n)].IsZero() {
				t.Errorf("%s = %v arrived twice", x.Channel, n)
			}
			if !x.Time.IsZero() {
				restored++
			}
			if list[uint64(n)] = x.Time; x.Time.IsZero() {
				list[uint64(n)] = r.Record.Time
			}
		}
	}
	for _, channel := range []string{"raw", "slim"} {
		for n, at := range times[channel] {
			if !at.Equal(times["n"][n]) {
				t.Errorf("%s = %d is of %v, want %v", channel, n, at, times["n"][n])
			}
		}
	}
	for m := uint64(10); m <= answered; m += 50 {
		gone := false // what was read before is
		for n := m; n > max(m, 50)-50 && n > 0; n-- {
			if times["n"][n].IsZero() {
				continue // it was on its way from the device when the gateway was killed
			}
			isCut := slices.ContainsFunc(kills, func(at uint64) bool { return at >= n && at <= m })
			gone = gone || times["raw"][n].IsZero()
			if gone != times["raw"][n].IsZero() || gone && (!isCut || n == m) || !gone && times["slim"][n].IsZero() {
				t.Errorf("snapshot at %d: of %d came raw %v, slim %v; killed at %v", m, n, times["raw"][n], times["slim"][n], kills)
			}
		}
	}
	for n := range times["raw"] {
		if n > (answered+40)/50*50-40 {
			t.Errorf("raw = %d arrived before a snapshot", n)
		}
	}
	if least := 2 * int(answered) * 8 / 10; restored < least {
		t.Errorf("%d readings were given out, want %d at least", restored, least)
	}
}
