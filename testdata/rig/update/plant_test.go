package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// every is the interval of the slave's Reads.
const every = 200 * time.Millisecond

// A plant is a whole gateway with what is around it.
type plant struct {
	*testing.T
	x        times
	dir      string
	repo     *repo
	server   *bed.Server
	broker   *bed.Broker
	receiver *bed.Receiver
	meters   *bed.Meters
	gateway  *bed.Gateway
	super    *supervisor
	settings settings
}

// settings are what differs between runs.
type settings struct {
	root      string // what is trusted; "" = the repository's
	from      string // "" = no place
	automatic bool
	trial     time.Duration
}

func newPlant(t *testing.T) *plant {
	p := &plant{T: t, x: now(), dir: bed.Dir(t, false)}
	p.repo = newRepo(t, filepath.Join(p.dir, "repository"))
	p.server = bed.NewServer(t, p.repo.dir, p.dir)
	p.broker = bed.NewBroker(t, p.dir)
	p.onlyKnown()
	p.broker.Start()
	p.receiver = bed.NewReceiver(t, programs, p.dir, p.broker.URL())
	p.meters = bed.NewMeters(t, 1, 2)
	p.gateway = bed.NewGateway(t, programs, p.dir)
	p.super = &supervisor{
		t: t, x: p.x, state: p.gateway.State, lib: built.lib, args: []string{"run", "--config", p.gateway.Config()}, dir: p.dir, rings: p.gateway.Rings,
		ended: p.meters.Stopped,
	}
	p.settings = settings{from: p.server.URL, automatic: true, trial: p.x.trial}
	p.configure()
	return p
}

// onlyKnown has the broker drop what is not of the gateway that it knows, as brokers of clouds do.
func (p *plant) onlyKnown() {
	acl := filepath.Join(p.dir, "acl")
	err := os.WriteFile(acl, []byte("topic readwrite tg/v1/rig/#\n"), 0o644)
	path := filepath.Join(p.dir, "mosquitto.conf")
	text, err2 := os.ReadFile(path)
	text = append(text, "user root\nacl_file "+acl+"\n"...)
	if err := errors.Join(err, err2, os.WriteFile(path, text, 0o644)); err != nil {
		p.Fatal(err)
	}
}

// configure writes the configuration.
func (p *plant) configure() {
	from, root := "", cmp.Or(p.settings.root, p.repo.trusted())
	if p.settings.from != "" {
		from = fmt.Sprintf("  from: [%q]\n  every: %v\n", p.settings.from, p.x.every)
		if strings.HasPrefix(p.settings.from, "https:") {
			from += fmt.Sprintf("  ca: %s\n", p.server.CA)
		}
	}
	update := fmt.Sprintf("update:\n  root: %s\n%s  automatic: %v\n  trial: %v\n  settle: %v\n", root, from, p.settings.automatic, p.settings.trial, p.x.settle)
	p.gateway.Configure(p.meters.Devices(every)+"  - {name: sim, driver: sim, every: 500ms}\n", bed.Toggle+update, p.broker.URL(), "receipt", "")
}

// wait waits until there, and says what the supervisor saw where it waits in vain.
func (p *plant) wait(what string, there func() bool) {
	p.Helper()
	for begin := time.Now(); !there(); time.Sleep(200 * time.Millisecond) {
		if time.Since(begin) > p.x.patience() {
			p.Fatalf("%s: not after %v\n%s", what, p.x.patience(), p.story())
		}
	}
}

// story tells what was started, and the end of the log.
func (p *plant) story() string {
	var b strings.Builder
	for _, s := range p.super.all() {
		fmt.Fprintf(&b, "%s release %d from slot %s, start %d of a trial: %s %s\n", s.began.Format("15:04:05.000"), s.release, s.slot, s.attempt, s.ended.Format("15:04:05.000"), s.how)
	}
	log, err := os.ReadFile(filepath.Join(p.dir, "gateway.log"))
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	b.Write(log[max(0, len(log)-6000):])
	return b.String()
}

// started waits for a start that is one as wanted, behind the first so many, and returns how many starts there are then, with it.
func (p *plant) started(what string, behind int, is func(start) bool) (s start, n int) {
	p.Helper()
	p.wait(what, func() bool {
		list := p.super.all()
		for i := behind; i < len(list); i++ {
			if is(list[i]) {
				s, n = list[i], i+1
				return true
			}
		}
		return false
	})
	return s, n
}

// reads waits for a reply that the slave has given after at, and returns when that was.
func (p *plant) reads(at time.Time) (first time.Time) {
	p.Helper()
	p.wait("a Read of the slave", func() bool {
		for n := p.meters.Given()[0]; n > 0; n-- {
			t := p.meters.Answered(1, n)
			if !t.After(at) {
				break
			}
			first = t
		}
		return !first.IsZero()
	})
	return first
}

// pause returns the longest time between two replies of the slave, from the nth on.
func (p *plant) pause(n uint32) (longest time.Duration) {
	for n = max(n, 1) + 1; n <= p.meters.Given()[0]; n++ {
		longest = max(longest, p.meters.Answered(1, n).Sub(p.meters.Answered(1, n-1)))
	}
	return longest
}

// outcomes returns what the receiver was told so far, in order.
func (p *plant) outcomes() []bed.Outcome {
	p.Helper()
	list, err := bed.Outcomes(p.receiver.Out)
	if err != nil {
		p.Error(err)
	}
	return list
}

// of returns the outcomes of a release that are no refusals.
func of(list []bed.Outcome, counter int) []bed.Outcome {
	return slices.DeleteFunc(slices.Clone(list), func(o bed.Outcome) bool { return o.Counter != counter || o.Result == "refused" })
}

// outcome waits until the receiver is told what became of a release.
func (p *plant) outcome(counter int) (o bed.Outcome) {
	p.Helper()
	p.wait(fmt.Sprintf("the outcome of release %d", counter), func() bool {
		list := of(p.outcomes(), counter)
		if len(list) > 0 {
			o = list[0]
		}
		return len(list) > 0
	})
	return o
}

// command runs a command of the package's program, as a person would, and returns what it says and its exit status.
func (p *plant) command(args ...string) (out string, code int) {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), p.x.patience())
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(built.lib, "tidegate"), append(args, "--config", p.gateway.Config())...)
	c.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+p.gateway.Rings, "TIDEGATE_LIB="+built.lib)
	b, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		p.Fatal(err)
	}
	return string(b), c.ProcessState.ExitCode()
}

// must is command that has to go well.
func (p *plant) must(args ...string) string {
	p.Helper()
	out, code := p.command(args...)
	if code != 0 {
		p.Fatalf("tidegate %s: exit status %d: %s\n%s", strings.Join(args, " "), code, out, p.story())
	}
	return out
}

// again stops the gateway in order, and starts it with other settings.
func (p *plant) again(change func(s *settings)) {
	p.Helper()
	p.super.end()
	change(&p.settings)
	p.configure()
	p.super.run()
}

// settle stops all, has what is buffered delivered, and judges the account. Its line is for the table.
func (p *plant) settle() string {
	p.Helper()
	p.super.end()
	p.broker.Start()
	p.gateway.Drain(p.meters, bed.Toggle, p.broker.URL(), "receipt", "")
	far := p.receiver.Finish()
	y := bed.NewTally(p.meters)
	if err := bed.Stored(p.receiver.Out, y.Add); err != nil {
		p.Fatal(err)
	}
	a := y.Settle(far)
	for _, err := range y.Said {
		p.Error(err)
	}
	a.Judge(p)
	if a.Rejected != 0 || a.DroppedDeclared != 0 {
		p.Errorf("rejected %d, declared %d: both must be 0", a.Rejected, a.DroppedDeclared)
	}
	y.Once(p)
	for _, g := range far.Gateways {
		if g.Gateway != "rig" {
			p.Errorf("the receiver knows a gateway %s", g.Gateway)
		}
	}
	return fmt.Sprintf("answered %d, delivered %d, in flight %d, lost %d, doubled %d", a.Answered, a.Delivered, a.InFlight, a.Lost, a.Doubled)
}
