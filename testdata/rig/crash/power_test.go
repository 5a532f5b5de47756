package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestPowerCut: what was on disk before a power cut is delivered; the rest is a gap that is declared and not wider than at_most says; no
// number is used twice, and no alarm comes twice.
func TestPowerCut(t *testing.T) {
	measure(t, cutByImage, *cuts, func(t *testing.T, draw *rand.Rand, n int) *outcome {
		p := newPower(t, draw)
		p.cutOff(n)
		return p.judge()
	})
}

// TestPowerCutInDrain: the same while what a life without a broker has left is delivered, acknowledged and forgotten.
func TestPowerCutInDrain(t *testing.T) {
	t.Parallel()
	measure(t, cutInDrain, max(2, *cuts/4), func(t *testing.T, draw *rand.Rand, n int) *outcome {
		p := newPower(t, draw)
		p.drains = true
		p.cutOff(n)
		return p.judge()
	})
}

// judge lets the gateway deliver all, and returns what came of the cuts.
func (p *power) judge() *outcome {
	p.finish()
	o, found := p.findings()
	for _, f := range found {
		p.t.Error(f)
	}
	p.tally.Alternate(p.t)
	p.account.Judge(p.t)
	fmt.Println(p.account.Line(fmt.Sprintf("| crash/power | receipt | %d power cuts, acknowledged lost %d |", len(p.cuts), o.lost)))
	return o
}

// TestPowerCutUnsynced proves that TestPowerCut sees what it looks for: the same run, in which no sync reaches the disk, loses what was
// acknowledged. strace takes the system calls away from the gateway as it is.
func TestPowerCutUnsynced(t *testing.T) {
	p := newPower(t, rand.New(rand.NewPCG(rand.Uint64(), 0)))
	p.before = injecting(t, "msync", "retval=0")
	p.cutOff(2)
	p.before = nil
	p.finish()
	o, found := p.findings()
	if o.lost == 0 {
		t.Errorf("nothing acknowledged was lost without syncs: the power cut does not cut. Found: %q", found)
	}
	fmt.Printf("| crash/power | without syncs | %d power cuts | %d findings, as it must be; the first: %s |\n", len(p.cuts), len(found), first(found))
}

// injecting is what stands in front of a command line whose system calls are tampered with as strace(1) is told.
func injecting(t *testing.T, call, how string) []string {
	return []string{
		bed.Need(t, "strace", "strace"), "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
		"-e", "inject=" + call + ":" + how,
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return list[0]
}

// power is a gateway on a disk of its own.
type power struct {
	t        *testing.T
	meters   *bed.Meters
	disk     *bed.Disk
	broker   *bed.Broker
	tap      *bed.Process
	tapped   string
	receiver *bed.Receiver
	gateway  *bed.Gateway
	before   []string // in front of the gateway's command line
	machine  machine  // that the gateway runs on
	draw     *rand.Rand
	drains   bool // cuts come while a backlog is delivered

	cuts    []cut
	tally   *bed.Tally
	account *bed.Account
	far     *receive.Account
	has     map[uint64]bool   // numbers that the receiver stored
	content map[uint64]string // of each number that was ever on the wire
	reused  []string
}

// cut is one power cut.
type cut struct {
	committed uint64        // highest record number that was on disk by the gateway's word
	given     []uint32      // last reply of each meter, a moment after
	when      time.Time     // of it
	commit    time.Duration // the longest that one took, as far as it can be seen from outside: between two that were told of, without sync
	start     time.Duration // from the start of the process to its first commit
}

// A machine is what loses its power.
type machine interface {
	on() time.Time         // starts the gateway, with no rings, and says when
	committed() uint64     // the highest number that is on disk, as the gateway says; 0 = none, or no answer
	link() string          // state of the uplink
	commit() time.Duration // what nearly all commits took at most, as the gateway says
	poise()                // waits for a moment worth it
	cut() time.Time        // takes the power, and says when
}

// here is this machine, on which a gateway runs as a process, with its state on a disk in an image.
type here struct {
	*power
	isCut *atomic.Bool // the end of the process is ours
}

func (h here) on() time.Time {
	h.gateway.FreshRings()
	h.isCut.Store(false)
	begin := time.Now()
	h.gateway.Run(h.before...)
	return begin
}

func (h here) committed() uint64 {
	if h.gateway.Ended() && !h.isCut.Load() {
		h.t.Errorf("the gateway has ended:\n%s", h.gateway.Tail())
	}
	return h.gateway.Committed()
}

func (h here) link() string { s, _ := h.gateway.Status(); return s.Link.State }

func (h here) commit() time.Duration {
	s, _ := h.gateway.Status()
	return seconds(s.Queue.CommitP99S)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (h here) poise() {}

func (h here) cut() time.Time {
	now := time.Now()
	h.isCut.Store(true)
	h.disk.Cut(h.gateway.Process)
	return now
}

const (
	readEvery = 20 * time.Millisecond // of each meter
	widest    = 30 * time.Second      // of readings is what a gap may say at most: far below all the numbers that are leased
)

// syncEvery is what the gateways of the rig have as buffer.sync.
const syncEvery = time.Second

func newPower(t *testing.T, draw *rand.Rand) *power {
	p := &power{t: t, draw: draw, meters: bed.NewMeters(t, 4, 6), has: map[uint64]bool{}, content: map[uint64]string{}}
	p.meters.PhaseLength = 100 // each alarm is a commit: 2 s apart leave the rest to buffer.sync
	dir := bed.Dir(t, false)
	p.disk = bed.NewDisk(t, dir, 256<<20)
	p.broker = bed.NewBroker(t, dir)
	p.gateway = bed.NewGateway(t, programs, dir)
	p.gateway.State = filepath.Join(p.disk.Mount, "state")
	p.gateway.Configure(p.meters.Devices(readEvery), bed.Toggle, p.broker.URL(), "receipt", ", compress: none")
	p.broker.Start()
	p.receiver = bed.NewReceiver(t, programs, dir, p.broker.URL())
	p.tapped, p.machine = filepath.Join(dir, "tapped"), here{p, new(atomic.Bool)}
	return p
}

// listen starts a subscriber that writes down all that the gateway says, duplicates included, until the broker ends.
func (p *power) listen(n int) {
	_, port, _ := strings.Cut(p.broker.Address, ":")
	p.tap = bed.Start(p.t, "mosquitto_sub", fmt.Sprintf("%s-%d", p.tapped, n), false, nil,
		bed.Need(p.t, "mosquitto_sub", "mosquitto-clients"), "-h", "127.0.0.1", "-p", port, "-q", "1", "-t", "tg/v1/+/up/#", "-F", "%t %x")
}

// patience bounds what takes a second; on an emulated machine beside other work it is thirty times slower.
const patience = 4 * time.Minute

// cutOff runs the gateway and cuts the power, so many times; in every other life the broker is away for the second half.
func (p *power) cutOff(times int) {
	for n := range times {
		if p.drains {
			p.broker.Stop()
		} else {
			p.broker.Start()
			p.listen(n)
		}
		begin := p.machine.on()
		w := p.follow()
		bed.Wait(p.t, "first commit", patience, func() bool { return w.seen() > 0 })
		c := cut{start: time.Since(begin)}
		p.live(n, w)
		said := p.machine.commit() // where alarms are committed between, what is seen from outside says too little
		c.committed = p.machine.committed()
		p.machine.poise()
		c.commit = max(said, w.sofar())
		c.when = p.machine.cut()
		w.end()
		p.meters.Stopped()
		c.given = p.meters.Given()
		if w.first.IsZero() {
			w.first = c.when // it was under way
		}
		c.commit = max(c.commit, w.first.Sub(p.firstAnswer(c.given))-syncEvery)
		p.cuts = append(p.cuts, c)
		p.tap.Kill()
	}
}

// firstAnswer returns when a meter was first answered in the life that has just ended: a commit that is the first of its life has none before it, from which
// it could be measured.
func (p *power) firstAnswer(given []uint32) (at time.Time) {
	for u := range given {
		before := uint32(0)
		if n := len(p.cuts); n > 0 {
			before = p.cuts[n-1].given[u]
		}
		if given[u] == before {
			continue
		}
		if t := p.meters.Answered(u+1, before+1); at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}

// live lets a life go on until the moment of its cut.
func (p *power) live(n int, w *watched) {
	another := func() {
		before := w.seen()
		bed.Wait(p.t, "another commit", patience, func() bool { return w.seen() > before })
	}
	switch {
	case p.drains:
		another()
		time.Sleep(between(p.draw, time.Second, 4*time.Second))
		p.broker.Start()
		p.listen(n)
		bed.Wait(p.t, "the first of the backlog", patience, func() bool { return p.machine.link() == "up" })
		time.Sleep(between(p.draw, 0, 3*time.Second))
	case n%2 == 1:
		time.Sleep(between(p.draw, 500*time.Millisecond, 3*time.Second))
		p.broker.Stop()
		another() // of what no receiver has: only that can be lost although it was acknowledged
		time.Sleep(between(p.draw, 0, 2*time.Second))
	default:
		time.Sleep(between(p.draw, 500*time.Millisecond, 3*time.Second))
	}
}

// watched follows what a gateway says is on disk.
type watched struct {
	over chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex // guards all below
	high    uint64
	at      time.Time     // when it came to be high
	longest time.Duration // between two
	asked   time.Duration // that it took to be told
	first   time.Time     // when the first of this life was told of
}

func (p *power) follow() *watched {
	w := &watched{over: make(chan struct{})}
	isFirst := len(p.cuts) == 0
	w.done.Go(func() {
		for {
			select {
			case <-w.over:
				return
			case <-time.After(lookEvery):
			}
			began := time.Now()
			n := p.machine.committed()
			w.mu.Lock()
			if now := time.Now(); n > w.high {
				if w.high > 0 {
					w.longest = max(w.longest, now.Sub(w.at))
				}
				if w.first.IsZero() && (w.high > 0 || isFirst) { // what is told of before is of the life before
					w.first = now
				}
				w.high, w.at, w.asked = n, now, now.Sub(began)
			}
			w.mu.Unlock()
		}
	})
	return w
}

// seen returns the highest number that is on disk, 0 = none yet.
func (w *watched) seen() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.high
}

// lookEvery is how often it is asked for.
const lookEvery = 20 * time.Millisecond

// sofar returns the longest commit: the one under way, or that has to begin, counts for as long as it takes by now. The one before may have been over as
// long before it was told of as it takes to ask, which on an emulated machine is much.
func (w *watched) sofar() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := max(w.longest, time.Since(w.at)) + lookEvery + w.asked
	return longest - min(syncEvery, longest)
}

func (w *watched) end() {
	close(w.over)
	w.done.Wait()
}

// finish lets the gateway deliver all that it has after the last cut, and settles the account.
func (p *power) finish() {
	p.broker.Start()
	p.receiver.Restart()
	p.listen(len(p.cuts))
	p.gateway.FreshRings()
	p.gateway.Drain(p.meters, bed.Toggle, p.broker.URL(), "receipt", ", compress: none")
	p.far = p.receiver.Finish()
	p.tap.Kill()
	p.tally = bed.NewTally(p.meters)
	err := bed.Stored(p.receiver.Out, func(r *bed.Record) {
		p.has[r.Seq] = true
		p.tally.Add(r)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	for n := range len(p.cuts) + 1 {
		path := fmt.Sprintf("%s-%d", p.tapped, n)
		if err := cutBack(path); err != nil {
			p.t.Fatal(err)
		}
		if err := bed.Tapped(path, p.compare); err != nil {
			p.t.Fatal(err)
		}
	}
	p.account = p.tally.Settle(p.far)
	// Readings lost to a power cut are declared by at most so many; how many it were only the meters know.
	declared := int64(0)
	for _, list := range p.tally.Missing() {
		declared += int64(len(list)) * int64(p.meters.Channels())
	}
	p.account.DroppedDeclared += declared
	p.account.Lost -= declared
}

// cutBack cuts a tap's file back to its last whole line: the tap was killed.
func cutBack(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, int64(strings.LastIndexByte(string(b), '\n')+1))
}

// compare holds a record on the wire against an earlier one with the same number.
func (p *power) compare(r *bed.Record) {
	text := r.Epoch + r.Content()
	if old, ok := p.content[r.Seq]; ok && old != text && len(p.reused) < 10 {
		p.reused = append(p.reused, fmt.Sprintf("number %d used twice: %s and %s", r.Seq, old, text))
	}
	p.content[r.Seq] = text
}

// gaps returns the gaps of power cuts, rising.
func (p *power) gaps() (out []receive.Gap) {
	for _, g := range p.far.Gateways {
		for _, e := range g.Epochs {
			for _, gap := range e.Gaps {
				if gap.Cause == "power_cut" {
					out = append(out, gap)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b receive.Gap) int { return int(int64(a.From) - int64(b.From)) })
	return out
}

// findings returns what came of the cuts, and what is wrong in words.
func (p *power) findings() (*outcome, []string) {
	out := slices.Clone(p.reused)
	o := &outcome{cases: len(p.cuts), told: true, twice: p.account.Doubled + int64(len(p.reused)), wrong: p.account.Altered + p.account.Extra, unreported: holes(p.far)}
	if o.unreported > 0 {
		out = append(out, fmt.Sprintf("%d numbers are neither stored nor declared", o.unreported))
	}
	gaps := p.gaps()
	if len(gaps) != len(p.cuts) {
		o.unreported++
		out = append(out, fmt.Sprintf("%d gaps of power cuts are declared, want %d", len(gaps), len(p.cuts)))
	}
	begin := uint64(1)
	for i, c := range p.cuts {
		o.start = max(o.start, c.start)
		lost := int64(0)
		for n := begin; n <= c.committed; n++ {
			if !p.has[n] {
				lost++
			}
		}
		if lost > 0 {
			o.lost += lost * int64(p.meters.Channels())
			out = append(out, fmt.Sprintf("cut %d: acknowledged lost: %d of the records %d to %d", i+1, lost, begin, c.committed))
		}
		if i >= len(gaps) {
			break
		}
		begin = gaps[i].To + 1
		out = append(out, p.gone(i, &gaps[i], o)...)
	}
	return o, out
}

// gone judges what is missing behind a cut: it must be the last that was answered before, within what the gap says, and no older than sync and two
// commits.
func (p *power) gone(i int, gap *receive.Gap, o *outcome) (out []string) {
	c := &p.cuts[i]
	missing, oldest := 0, time.Duration(0)
	for u, list := range p.missing(i) {
		if len(list) == 0 {
			continue
		}
		missing += len(list) * p.meters.Channels()
		if list[len(list)-1]+1 < c.given[u] || int(list[len(list)-1]-list[0]) != len(list)-1 {
			o.unreported += int64(p.meters.Channels())
			out = append(out, fmt.Sprintf("cut %d: of meter %d the numbers %v are missing, the last answered is %d", i+1, u+1, list, c.given[u]))
		}
		oldest = max(oldest, c.when.Sub(p.meters.Answered(u+1, list[0])))
	}
	o.window, o.limit = max(o.window, oldest), max(o.limit, oldest.Seconds()/(syncEvery+2*c.commit).Seconds())
	p.t.Logf("cut %d: %d readings are missing, the gap says at most %d; answered up to %v before, where a commit took up to %v", i+1, missing, gap.AtMost, oldest, c.commit)
	if most := p.meters.Units * p.meters.Channels() * int(widest/readEvery); int(gap.AtMost) > most {
		out = append(out, fmt.Sprintf("cut %d: the gap says at most %d readings, want at most the %d of %v", i+1, gap.AtMost, most, widest))
	}
	if most := int(gap.AtMost); missing > most {
		o.unreported += int64(missing - most)
		out = append(out, fmt.Sprintf("cut %d: %d readings are missing, the gap says at most %d", i+1, missing, most))
	}
	return out
}

// missing returns what is missing of each meter between cut i and the one before.
func (p *power) missing(i int) [][]uint32 {
	out := p.tally.Missing()
	for u := range out {
		low := uint32(0)
		if i > 0 {
			low = p.cuts[i-1].given[u]
		}
		out[u] = slices.DeleteFunc(out[u], func(n uint32) bool { return n <= low || n > p.cuts[i].given[u] })
	}
	return out
}
