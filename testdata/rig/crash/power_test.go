package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestPowerCut: what was on disk before a power cut is delivered; the rest is a gap that is declared and not wider than at_most says; no
// number is used twice, and no alarm comes twice.
func TestPowerCut(t *testing.T) {
	p := newPower(t)
	p.cutOff(*cuts)
	p.finish()
	for _, f := range p.findings() {
		t.Error(f)
	}
	t.Log(p.widest())
	p.tally.Alternate(t)
	p.account.Judge(t)
	fmt.Println(p.account.Line(fmt.Sprintf("| crash/power | receipt | %d power cuts, acknowledged lost 0 |", len(p.cuts))))
}

// TestPowerCutUnsynced proves that TestPowerCut sees what it looks for: the same run, in which no sync reaches the disk, loses what was
// acknowledged. strace takes the system calls away from the gateway as it is.
func TestPowerCutUnsynced(t *testing.T) {
	p := newPower(t)
	p.before = []string{
		bed.Need(t, "strace", "strace"), "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=msync",
		"-e", "inject=msync:retval=0",
	}
	p.cutOff(2)
	p.before = nil
	p.finish()
	found := p.findings()
	if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, "acknowledged lost") }) {
		t.Errorf("nothing acknowledged was lost without syncs: the power cut does not cut. Found: %q", found)
	}
	fmt.Printf("| crash/power | without syncs | %d power cuts | %d findings, as it must be; the first: %s |\n", len(p.cuts), len(found), first(found))
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
	committed uint64   // highest record number that was on disk by the gateway's word
	given     []uint32 // last reply of each meter, a moment after
	when      time.Time
}

func newPower(t *testing.T) *power {
	p := &power{t: t, meters: bed.NewMeters(t, 4, 6), has: map[uint64]bool{}, content: map[uint64]string{}}
	p.meters.PhaseLength = 100 // each alarm is a commit: 2 s apart leave the rest to buffer.sync
	dir := bed.Dir(t, false)
	p.disk = bed.NewDisk(t, dir, 256<<20)
	p.broker = bed.NewBroker(t, dir)
	p.gateway = bed.NewGateway(t, programs, dir)
	p.gateway.State = filepath.Join(p.disk.Mount, "state")
	p.gateway.Configure(p.meters.Devices(20*time.Millisecond), bed.Toggle, p.broker.URL(), "receipt", ", compress: none")
	p.broker.Start()
	p.receiver = bed.NewReceiver(t, programs, dir, p.broker.URL())
	p.tapped = filepath.Join(dir, "tapped")
	return p
}

// listen starts a subscriber that writes down all that the gateway says, duplicates included, until the broker ends.
func (p *power) listen(n int) {
	_, port, _ := strings.Cut(p.broker.Address, ":")
	p.tap = bed.Start(p.t, "mosquitto_sub", fmt.Sprintf("%s-%d", p.tapped, n), false, nil,
		bed.Need(p.t, "mosquitto_sub", "mosquitto-clients"), "-h", "127.0.0.1", "-p", port, "-q", "1", "-t", "tg/v1/+/up/#", "-F", "%t %x")
}

// cutOff runs the gateway and cuts the power, so many times; in every other life the broker is away for the second half.
func (p *power) cutOff(times int) {
	draw := drawn(p.t)
	for n := range times {
		p.broker.Start()
		p.listen(n)
		p.gateway.FreshRings()
		p.gateway.Run(p.before...)
		bed.Wait(p.t, "first commit", 60*time.Second, func() bool {
			if p.gateway.Ended() {
				p.t.Fatalf("the gateway has ended:\n%s", p.gateway.Tail())
			}
			return p.gateway.Committed() > 0
		})
		time.Sleep(between(draw, 500*time.Millisecond, 3*time.Second))
		if n%2 == 1 {
			p.broker.Stop()
			// The next commit is of what no receiver has: only that can be lost although it was acknowledged.
			before := p.gateway.Committed()
			bed.Wait(p.t, "commit without a broker", 60*time.Second, func() bool { return p.gateway.Committed() > before })
			time.Sleep(between(draw, 0, 2*time.Second))
		}
		c := cut{committed: p.gateway.Committed(), when: time.Now()}
		p.disk.Cut(p.gateway.Process)
		p.meters.Stopped()
		c.given = p.meters.Given()
		p.cuts = append(p.cuts, c)
		p.tap.Kill()
	}
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

// findings returns what is wrong.
func (p *power) findings() []string {
	out := slices.Clone(p.reused)
	gaps := p.gaps()
	if len(gaps) != len(p.cuts) {
		out = append(out, fmt.Sprintf("%d gaps of power cuts are declared, want %d", len(gaps), len(p.cuts)))
	}
	begin := uint64(1)
	for i, c := range p.cuts {
		lost := 0
		for n := begin; n <= c.committed; n++ {
			if !p.has[n] {
				lost++
			}
		}
		if lost > 0 {
			out = append(out, fmt.Sprintf("cut %d: acknowledged lost: %d of the records %d to %d", i+1, lost, begin, c.committed))
		}
		if i >= len(gaps) {
			break
		}
		begin = gaps[i].To + 1
		// What is missing must be the last that was answered before the cut, and within what the gap says.
		missing := 0
		for u, list := range p.missing(i) {
			missing += len(list) * p.meters.Channels()
			if len(list) > 0 && (list[len(list)-1]+1 < c.given[u] || int(list[len(list)-1]-list[0]) != len(list)-1) {
				out = append(out, fmt.Sprintf("cut %d: of meter %d the numbers %v are missing, the last answered is %d", i+1, u+1, list, c.given[u]))
			}
		}
		if missing > int(gaps[i].AtMost) {
			out = append(out, fmt.Sprintf("cut %d: %d readings are missing, the gap says at most %d", i+1, missing, gaps[i].AtMost))
		}
	}
	for _, g := range p.far.Gateways {
		for _, e := range g.Epochs {
			if len(e.Holes.Ranges) > 0 {
				out = append(out, fmt.Sprintf("numbers %v are neither stored nor declared", e.Holes))
			}
		}
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

// widest says how far before its cut the oldest reading was answered that is missing.
func (p *power) widest() string {
	worst, readings := time.Duration(0), 0
	most := 0
	for i, c := range p.cuts {
		n := 0
		for u, list := range p.missing(i) {
			n += len(list) * p.meters.Channels()
			if len(list) > 0 {
				worst = max(worst, c.when.Sub(p.meters.Answered(u+1, list[0])))
			}
		}
		readings += n
		most = max(most, n)
	}
	return fmt.Sprintf("widest gap: %v and %d readings before its cut; %d readings in all", worst.Round(time.Millisecond), most, readings)
}
