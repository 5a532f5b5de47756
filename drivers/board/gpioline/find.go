package gpioline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/warthog618/go-gpiocdev"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// A chip is a GPIO chip as the kernel shows it.
type chip struct {
	name  string   // for instance "gpiochip0"; the number may be another after the next start
	label string   // of its kernel driver, for instance "pinctrl-rp1"
	lines []string // names of its lines by number; "" = none
}

// headers are the labels of the chips that a Raspberry Pi's header is on: Pi 0 to 3, Pi 4, Pi 5. Their line N is what manuals call GPIO N.
var headers = []string{"pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"}

// lastOnHeader is the highest GPIO number on that header.
const lastOnHeader = 27

// chips returns the machine's GPIO chips, and why one of them cannot be looked at.
func chips() (list []chip, err error) {
	for _, name := range gpiocdev.Chips() {
		if f, e := os.Lstat("/dev/" + name); e == nil && f.Mode()&os.ModeSymlink != 0 {
			continue // another name of a chip that is in the list, see realName
		}
		c, e := look(name)
		if e != nil {
			err = fmt.Errorf("look at %s: %w", name, explain(name, -1, e))
			continue
		}
		list = append(list, c)
	}
	return list, err
}

func look(name string) (chip, error) {
	c, err := gpiocdev.NewChip(name)
	if err != nil {
		return chip{}, err
	}
	defer c.Close()
	out := chip{name: c.Name, label: c.Label, lines: make([]string, c.Lines())}
	for i := range out.lines {
		l, err := c.LineInfo(i)
		if err != nil {
			return chip{}, err
		}
		out.lines[i] = l.Name
	}
	return out, nil
}

// find returns where the line is that goes by name: its name on some chip, chip:line by the chip's name or label, or GPIO0 to GPIO27 on a
// Raspberry Pi whose lines bear other names.
func find(name string, list []chip) (c chip, offset int, err error) {
	if len(list) == 0 {
		return chip{}, 0, errors.New("this machine shows no GPIO chip")
	}
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return findNumber(name[:i], name[i+1:], list)
	}
	var at []string
	for _, x := range list {
		for i, l := range x.lines {
			if l == name && name != "" {
				c, offset, at = x, i, append(at, x.name+":"+strconv.Itoa(i))
			}
		}
	}
	switch {
	case len(at) == 1:
		return c, offset, nil
	case len(at) > 1:
		return chip{}, 0, fmt.Errorf("%d lines have this name: %s; say which of them", len(at), strings.Join(at, ", "))
	}
	if c, offset, ok := findOnHeader(name, list); ok {
		return c, offset, nil
	}
	return chip{}, 0, fmt.Errorf("no line has this name on %s; see gpioinfo for the names, or give chip:line for a line without one", describe(list))
}

func findNumber(on, number string, list []chip) (c chip, offset int, err error) {
	offset, err = strconv.Atoi(number)
	if err != nil || offset < 0 || on == "" {
		return chip{}, 0, errors.New("want a name such as GPIO17 or chip:line such as gpiochip0:17")
	}
	on = realName(on)
	var of []chip
	for _, x := range list {
		if x.name == on || x.label == on {
			of = append(of, x)
		}
	}
	switch {
	case len(of) == 0:
		return chip{}, 0, fmt.Errorf("there is no chip %s; there is %s", on, describe(list))
	case len(of) > 1:
		return chip{}, 0, fmt.Errorf("%d chips are called %s: %s; say which of them", len(of), on, describe(of))
	case offset >= len(of[0].lines):
		return chip{}, 0, fmt.Errorf("line %d is not there: %s has %d lines, from 0", offset, on, len(of[0].lines))
	}
	return of[0], offset, nil
}

// realName returns the name of a chip that goes by name or path, as gpiochip4 is another name of gpiochip0 on a Raspberry Pi 5.
func realName(name string) string {
	base := filepath.Base(name)
	if to, err := filepath.EvalSymlinks("/dev/" + base); err == nil {
		return filepath.Base(to)
	}
	return base
}

// findOnHeader finds GPIO n by its number: on a Pi 3, for instance, GPIO4 bears the name GPIO_GCLK.
func findOnHeader(name string, list []chip) (c chip, offset int, ok bool) {
	number, isNumber := strings.CutPrefix(name, "GPIO")
	n, err := strconv.Atoi(number)
	i := slices.IndexFunc(list, func(c chip) bool { return slices.Contains(headers, c.label) })
	if !isNumber || err != nil || number != strconv.Itoa(n) || n < 0 || n > lastOnHeader || i < 0 || n >= len(list[i].lines) {
		return chip{}, 0, false
	}
	return list[i], n, true
}

// describe returns names, labels and sizes of chips, for the technician.
func describe(list []chip) string {
	out := make([]string, 0, len(list))
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s (%s, %d lines)", c.name, c.label, len(c.lines)))
	}
	return strings.Join(out, ", ")
}

// explain adds to err, of a request for line offset of the chip called name, what a technician can do about it. A negative offset is the chip.
func explain(name string, offset int, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("line is in use by %s: %w", consumerOf(name, offset), err)
	case errors.Is(err, unix.EINVAL) && isOld(name):
		return fmt.Errorf("%w; the kernel is too old: Linux 5.10 or newer is needed", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the board uses this line for something else (an overlay, a bus), or it cannot do what is asked (pull, edges, debounce): %w", err)
	case errors.Is(err, unix.ENXIO):
		return fmt.Errorf("the chip has no interrupt for this line, so that it sees no edges: %w", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; %s", err, drivers.HintSandbox)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w; put the gateway's user into the group: sudo usermod -aG gpio USER", err)
	}
	return err
}

// isOld reports whether the kernel is older than its second interface for GPIO lines.
func isOld(name string) bool {
	c, err := gpiocdev.NewChip(name)
	if err != nil {
		return false
	}
	defer c.Close()
	return c.UapiAbiVersion() < 2
}

// consumerOf returns who uses the line, as gpioinfo shows it.
func consumerOf(name string, offset int) string {
	const unknown = "another program or the kernel"
	c, err := gpiocdev.NewChip(name)
	if err != nil {
		return unknown
	}
	defer c.Close()
	info, err := c.LineInfo(offset)
	if err != nil {
		return unknown
	}
	return called(info.Consumer)
}

// called returns what is said of a consumer called so.
func called(consumer string) string {
	switch consumer {
	case "":
		return "another program or the kernel"
	case consumerName:
		return "a gateway, perhaps this one: give each line to one device only"
	}
	return strconv.Quote(consumer)
}
