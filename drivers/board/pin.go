package board

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/warthog618/go-gpiocdev"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// edgeBuffer is how many edges the kernel keeps of one line while nobody takes them (its default is 16); what is beyond shows as a
// jump of Edge.Seq.
const edgeBuffer = 1024

// A gpioLine is what a pin needs of a requested line.
type gpioLine interface {
	Value() (int, error)
	SetValue(value int) error
	Close() error
}

// Pin requests the GPIO line by name ("GPIO17") or as chip:line ("gpiochip0:17"); it is given back when ctx is done or the Pin is
// closed. An output is back in the kernel's hands then, which on most boards keeps the level.
func (h *Host) Pin(ctx context.Context, line string, c drivers.PinConfig) (drivers.Pin, error) {
	chip, offset, err := findLine(line)
	if err != nil {
		return nil, fmt.Errorf("open pin %s: %w", line, err)
	}
	return newPin(ctx, line, c, func(options ...gpiocdev.LineReqOption) (gpioLine, error) {
		l, err := gpiocdev.RequestLine(chip, offset, options...)
		if err != nil {
			return nil, explainLine(chip, offset, err)
		}
		return l, nil
	})
}

// findLine returns where the line is that goes by name or chip:line.
func findLine(name string) (chip string, offset int, err error) {
	if chip, number, ok := strings.Cut(name, ":"); ok {
		offset, err := strconv.Atoi(number)
		if err != nil || offset < 0 || chip == "" {
			return "", 0, errors.New("want a name such as GPIO17 or chip:line such as gpiochip0:17")
		}
		return chip, offset, nil
	}
	chip, offset, err = gpiocdev.FindLine(name)
	if err == nil {
		return chip, offset, nil
	}
	chips := gpiocdev.Chips()
	if len(chips) == 0 {
		return "", 0, fmt.Errorf("%w; this machine shows no GPIO chip, or the gateway's user is not in group gpio", err)
	}
	return "", 0, fmt.Errorf("%w; there is %s, see gpioinfo for the names of their lines", err, strings.Join(chips, ", "))
}

// explainLine adds to err what a technician can do about it.
func explainLine(chip string, offset int, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("line is in use by %s: %w", consumerOf(chip, offset), err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the board uses this line for something else, or has no such line: %w", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w; put the gateway's user into the group: sudo usermod -aG gpio USER", err)
	}
	return err
}

// consumerOf returns who uses the line, as gpioinfo shows it.
func consumerOf(chip string, offset int) string {
	const unknown = "another program or the kernel"
	c, err := gpiocdev.NewChip(chip)
	if err != nil {
		return unknown
	}
	defer c.Close()
	info, err := c.LineInfo(offset)
	if err != nil || info.Consumer == "" {
		return unknown
	}
	return strconv.Quote(info.Consumer)
}

// A pin is a requested GPIO line.
type pin struct {
	name   string
	line   gpioLine
	config drivers.PinConfig
	edges  chan drivers.Edge
	closed chan struct{} // closed by Close
	once   sync.Once

	mu    sync.Mutex
	level bool // guarded by mu; of an output, as last set
}

var _ drivers.Pin = (*pin)(nil)

// newPin requests a line with request and makes a Pin of it.
func newPin(ctx context.Context, name string, c drivers.PinConfig,
	request func(options ...gpiocdev.LineReqOption) (gpioLine, error),
) (*pin, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open pin %s: %w", name, err)
	}
	p := &pin{name: name, config: c, level: c.Initial, edges: make(chan drivers.Edge), closed: make(chan struct{})}
	options, err := p.options()
	if err != nil {
		return nil, fmt.Errorf("open pin %s: %w", name, err)
	}
	if p.line, err = request(options...); err != nil {
		return nil, fmt.Errorf("open pin %s: %w", name, err)
	}
	context.AfterFunc(ctx, func() { _ = p.Close() })
	return p, nil
}

// options translates the configuration, or says what is wrong with it.
func (p *pin) options() ([]gpiocdev.LineReqOption, error) {
	c := p.config
	o := []gpiocdev.LineReqOption{gpiocdev.WithConsumer("tidegate")}
	if c.ActiveLow {
		o = append(o, gpiocdev.AsActiveLow)
	}
	if c.Output {
		if c.Edge != "" || c.Pull != "" || c.Debounce != 0 {
			return nil, errors.New("edges, pull and debounce are for inputs only")
		}
		return append(o, gpiocdev.AsOutput(bit(c.Initial))), nil
	}
	o = append(o, gpiocdev.AsInput)
	switch c.Pull {
	case "":
	case "up":
		o = append(o, gpiocdev.WithPullUp)
	case "down":
		o = append(o, gpiocdev.WithPullDown)
	case "none":
		o = append(o, gpiocdev.LineBiasDisabled)
	default:
		return nil, fmt.Errorf("pull is %q, want up, down or none", c.Pull)
	}
	if c.Edge == "" {
		return o, nil
	}
	edges := map[string]gpiocdev.LineEdge{
		"rising": gpiocdev.LineEdgeRising, "falling": gpiocdev.LineEdgeFalling,
		"both": gpiocdev.LineEdgeBoth,
	}
	edge, ok := edges[c.Edge]
	if !ok {
		return nil, fmt.Errorf("edge is %q, want rising, falling or both", c.Edge)
	}
	o = append(o, edge, gpiocdev.WithEventBufferSize(edgeBuffer), gpiocdev.WithEventHandler(p.take))
	if c.Debounce > 0 {
		o = append(o, gpiocdev.WithDebounce(c.Debounce))
	}
	return o, nil
}

// take is called by the line's watcher for each edge, and holds it up until the edge is taken: meanwhile the kernel keeps the next
// ones, so that a chattering line costs no memory and no processor time.
func (p *pin) take(e gpiocdev.LineEvent) {
	edge := drivers.Edge{Level: e.Type == gpiocdev.LineEventRisingEdge, Boot: e.Timestamp, Seq: e.LineSeqno}
	select {
	case p.edges <- edge:
	case <-p.closed:
	}
}

func (p *pin) Wait(ctx context.Context) (drivers.Edge, error) {
	if p.config.Edge == "" {
		return drivers.Edge{}, fmt.Errorf("pin %s: opened without edges", p.name)
	}
	select {
	case <-p.closed:
		return drivers.Edge{}, p.gone()
	default:
	}
	select {
	case e := <-p.edges:
		return e, nil
	case <-ctx.Done():
		return drivers.Edge{}, fmt.Errorf("wait for pin %s: %w", p.name, ctx.Err())
	case <-p.closed:
		return drivers.Edge{}, p.gone()
	}
}

func (p *pin) Level() (bool, error) {
	select {
	case <-p.closed:
		return false, p.gone()
	default:
	}
	if p.config.Output {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.level, nil
	}
	v, err := p.line.Value()
	if err != nil {
		return false, p.failure("read", err)
	}
	return v != 0, nil
}

func (p *pin) Set(level bool) error {
	if !p.config.Output {
		return fmt.Errorf("pin %s: opened as an input", p.name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.line.SetValue(bit(level)); err != nil {
		return p.failure("set", err)
	}
	p.level = level
	return nil
}

func (p *pin) Close() error {
	var err error
	p.once.Do(func() {
		close(p.closed) // first: it frees the line's watcher, which Close of the line waits for
		err = p.line.Close()
	})
	return err
}

func (p *pin) gone() error { return fmt.Errorf("pin %s: closed: %w", p.name, drivers.ErrGone) }

func (p *pin) failure(verb string, err error) error {
	if errors.Is(err, gpiocdev.ErrClosed) || errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%s pin %s: %w: %w", verb, p.name, drivers.ErrGone, err)
	}
	return fmt.Errorf("%s pin %s: %w", verb, p.name, err)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
