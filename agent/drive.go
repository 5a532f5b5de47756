package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/rules/intake"
)

const (
	// askMost bounds a Set that somebody waits for: 5 s for the driver, 3 s until it is given up.
	askMost = 10 * time.Second
	// backMost is how long after an output was set its device may take to report it.
	backMost = 10 * time.Second
)

// Drive sets the output called name, "device.channel", to what text says by the channel's kind, within its limits, and then waits for
// what the device reports of it. The error says why it was not set. Whatever a rule demands later wins over it.
func (a *Agent) Drive(ctx context.Context, name, text string) (status.Output, error) {
	a.mu.Lock()
	cfg := a.cfg
	a.mu.Unlock()
	dev, ch, err := cfg.Output(name)
	if err != nil {
		return status.Output{}, err
	}
	v, err := output.Parse(ch, text)
	if err != nil {
		return status.Output{}, fmt.Errorf("set %s: %w", name, err)
	}
	a.mu.Lock()
	d := a.devices[dev.Name]
	a.mu.Unlock()
	if d == nil {
		return status.Output{}, fmt.Errorf("set %s: the device does not run now; try again", name)
	}
	asking, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	if err := d.out.Ask(asking, ch.Name, v); err != nil {
		a.log.Warn("output not set by hand", "device", dev.Name, "channel", ch.Name, "value", v.String(), "err", err)
		return status.Output{}, fmt.Errorf("set %s to %s: %w", name, v, err)
	}
	a.log.Info("output set by hand", "device", dev.Name, "channel", ch.Name, "value", v.String())
	s := status.Output{Channel: name, Value: output.JSON(v), ReadBack: output.JSON(tidegate.Value{})}
	back, err := d.reader.readBack(ctx, ch.Name)
	if err != nil {
		s.Why = err.Error()
		return s, nil
	}
	s.ReadBack, s.Agrees = output.JSON(d.reader.seen(ch.Name, back)), output.Agree(v, back)
	return s, nil
}

// locksOf returns what outputs keep to under cfg, which names no output that is not there.
func locksOf(cfg *config.Config) (list []output.Lock) {
	name := func(text string) (n output.Name) {
		if d, ch, err := cfg.Output(text); err == nil {
			n = output.Name{Device: d.Name, Channel: ch.Name}
		}
		return n
	}
	for _, k := range cfg.Interlocks {
		x := output.Lock{Output: name(k.Output), MinOn: k.MinOn, MinOff: k.MinOff, MaxRise: k.MaxRise, MaxFall: k.MaxFall, Pause: k.Pause}
		for _, text := range k.Exclusive {
			x.Exclusive = append(x.Exclusive, name(text))
		}
		list = append(list, x)
	}
	return list
}

// A lookout waits for what a Read says of one channel that begins after it was made.
type lookout struct {
	channel string
	from    uint64      // number of the first Read that counts
	found   chan report // has room for one
}

// A report is what a Read says of a channel, or why it does not.
type report struct {
	value tidegate.Value
	err   error
}

// readBack has the device read at once, and returns what it reports of the channel.
func (r *reader) readBack(ctx context.Context, channel string) (tidegate.Value, error) {
	l := lookout{channel: channel, found: make(chan report, 1)}
	r.mu.Lock()
	l.from = r.begun + 1
	r.outs = append(r.outs, l)
	r.mu.Unlock()
	select {
	case r.poke <- struct{}{}:
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, backMost)
	defer cancel()
	select {
	case x := <-l.found:
		return x.value, x.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.outs {
		if r.outs[i].found == l.found {
			r.outs = append(r.outs[:i], r.outs[i+1:]...)
			break
		}
	}
	return tidegate.Value{}, fmt.Errorf("not read back: the device has not reported it within %v", backMost)
}

// answer tells those who wait for the Read under way that it failed.
func (r *reader) answer(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answerLocked(func(string) (x report, ok bool) { return report{err: fmt.Errorf("not read back: %w", err)}, true })
}

// answerLocked gives those who wait for the Read under way, or an earlier one, what look says of their channels.
func (r *reader) answerLocked(look func(channel string) (x report, ok bool)) {
	rest := r.outs[:0]
	for _, l := range r.outs {
		if x, ok := look(l.channel); ok && l.from <= r.begun {
			l.found <- x
		} else {
			rest = append(rest, l)
		}
	}
	r.outs = rest
}

// reportOf returns what list says of the channel.
func (r *reader) reportOf(list []tidegate.Reading, channel string) (x report, ok bool) {
	for i := range list {
		if y := &list[i]; y.Channel == channel && y.Fault != "" {
			if r.intake.HidesOf(channel) {
				return report{err: errors.New("not read back: " + intake.HiddenFault)}, true
			}
			return report{err: errors.New("not read back: " + y.Fault)}, true
		} else if y.Channel == channel {
			return report{value: y.Value}, true
		}
	}
	// A talker may report it with another line.
	return report{err: errors.New("not read back: the device does not report it")}, r.every > 0
}
