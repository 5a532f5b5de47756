package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// How long children may take to end. The gateway ends itself hard after 15 s.
const (
	gatewayEnd  = 30 * time.Second
	receiverEnd = 30 * time.Second
)

// startGateway starts the gateway, or starts it again.
func (d *demonstration) startGateway() (err error) {
	d.gateway, err = d.start("gateway", "run", "--config", filepath.Join(d.dir, "tidegate.yaml"))
	return err
}

// run runs until ctx is done, the time is over or a child ends by itself.
func (d *demonstration) run(ctx, hard context.Context) (err error) {
	d.receiver, err = d.start("receiver", "demo-receive", "--broker", "mqtt://"+d.broker.receiver.address, "--out", filepath.Join(d.dir, "received"))
	if err != nil {
		return err
	}
	if err := d.startGateway(); err != nil {
		return err
	}
	if !d.o.JSON {
		fmt.Fprintf(d.o.Out, "The gateway's page: http://%s   (Ctrl-C ends the demo and prints the account)\n", d.o.Listen)
	}
	var end <-chan time.Time
	if d.o.For > 0 {
		t := time.NewTimer(d.o.For)
		defer t.Stop()
		end = t.C
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for second := 1; ; second++ {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case <-d.gateway.done:
			return d.gateway.ended()
		case <-d.receiver.done:
			return d.receiver.ended()
		case <-tick.C:
		}
		if err := d.trouble(hard, second/20, second%20); err != nil {
			return err
		}
		if second%5 == 0 && !d.o.JSON {
			d.say(second)
		}
	}
}

// trouble makes what goes wrong in each 20 s: the broker is away from second 4 to 9, and the gateway is killed once: with its broker
// away (second 6) in one round, with it there (second 13) in the next.
func (d *demonstration) trouble(hard context.Context, round, second int) error {
	switch {
	case second == 4:
		d.stops++
		return d.broker.stop()
	case second == 9:
		return d.broker.start()
	case second == 6 && round%2 == 0, second == 13 && round%2 == 1:
		return d.kill(hard)
	}
	return nil
}

// kill ends the gateway by SIGKILL and starts it again.
func (d *demonstration) kill(hard context.Context) error {
	if d.volatile() {
		if err := d.gateway.stop(hard, gatewayEnd); err != nil {
			return err
		}
	} else {
		if err := d.gateway.kill(); err != nil {
			return err
		}
		d.kills++
	}
	if err := d.bus.stopped(); err != nil {
		return err
	}
	d.disk += d.gateway.written()
	return d.startGateway()
}

// volatile reports whether the gateway found no tmpfs for its rings. A SIGKILL would cost it what stands in them, so that it is stopped in
// order instead; this is said once.
func (d *demonstration) volatile() bool {
	if d.gentle {
		return true
	}
	s, err := d.o.Status(d.config)
	if err != nil {
		return false
	}
	for _, c := range s.Conditions {
		if c.Code == "rings_volatile" {
			fmt.Fprintf(d.o.Log, "tidegate: the gateway is stopped and started instead of killed, as %s (%s); %s\n", c.Title, c.Detail, c.Remedy)
			d.gentle = true
		}
	}
	return d.gentle
}

// say prints one line on how it goes.
func (d *demonstration) say(second int) {
	s, err := d.o.Status(d.config)
	if err != nil || len(s.Uplinks) == 0 {
		fmt.Fprintf(d.o.Out, "%4d s  the gateway is starting\n", second)
		return
	}
	a := s.Uplinks[0].Account
	fmt.Fprintf(d.o.Out, "%4d s  link %-4s  produced %d, delivered %d, buffered %d; kills %d, broker stops %d%s\n",
		second, s.Link.State, a.Produced, a.Delivered, a.Buffered, d.kills, d.stops, ruleActs(&s))
}

// ruleActs says how the rule of the demo stands, beside what it watches and what it sets.
func ruleActs(s *status.Status) string {
	out := ""
	for _, r := range s.Rules {
		out += "; " + r.Name + map[bool]string{true: " active", false: " idle"}[r.Active]
	}
	for _, want := range [...][3]string{{"boiler", "temp", "boiler"}, {"fan", "relay", "fan"}} {
		for _, dev := range s.Devices {
			for _, v := range dev.Values {
				if dev.Name == want[0] && v.Channel == want[1] && v.Fault == "" {
					out += ", " + strings.TrimSpace(want[2]+" "+v.Value+" "+v.Unit)
				}
			}
		}
	}
	return out
}

// catchUp waits, with the broker there, until the gateway has delivered what it had buffered, for at most 15 s: gateway and receiver pause
// before they connect again. What is not delivered by then is buffered.
func (d *demonstration) catchUp(ctx context.Context) error {
	if err := d.broker.start(); err != nil {
		return err
	}
	end := time.NewTimer(15 * time.Second)
	defer end.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, err := d.o.Status(d.config); err == nil && s.Link.State == "up" && s.Queue.OldestAgeS < 2 {
			return nil
		}
		select {
		case <-d.gateway.done:
			return d.gateway.ended()
		case <-ctx.Done():
			return nil
		case <-end.C:
			return nil
		case <-tick.C:
		}
	}
}

// stop stops the children in order: gateway, then receiver, with the broker there.
func (d *demonstration) stop(hard context.Context) error {
	var failed []string
	if err := d.broker.start(); err != nil { // it may be in the middle of a pause
		failed = append(failed, err.Error())
	}
	if d.gateway != nil {
		if err := d.gateway.stop(hard, gatewayEnd); err != nil {
			failed = append(failed, err.Error())
		}
		if err := d.bus.stopped(); err != nil {
			failed = append(failed, err.Error())
		}
		d.disk += d.gateway.written()
	}
	if d.receiver != nil {
		if err := d.receiver.stop(hard, receiverEnd); err != nil {
			failed = append(failed, err.Error())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("stop the demo: %s", strings.Join(failed, "\n"))
	}
	return nil
}

// signalled reports whether a process ended by that signal.
func signalled(s syscall.WaitStatus, by syscall.Signal) bool { return s.Signaled() && s.Signal() == by }
