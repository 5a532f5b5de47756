package gpioline

import (
	"errors"
	"fmt"

	"github.com/warthog618/go-gpiocdev"
)

// A Chip is a GPIO chip of this machine.
type Chip struct {
	Name  string // "gpiochip0"
	Label string // what the kernel's driver calls it
	Lines []Line
}

// A Line is one line of a Chip.
type Line struct {
	Offset   int
	Name     string // "" = none
	User     string // who has it, as far as the kernel says; "" = nobody
	IsOutput bool
}

// List lists the GPIO chips of this machine and their lines, without requesting any. The error says which chips it could not open; the others
// are listed.
func List() (out []Chip, err error) {
	for _, name := range gpiocdev.Chips() {
		if realName(name) != name {
			continue // another name of a chip that is in the list
		}
		c, errChip := listChip(name)
		if errChip != nil {
			err = errors.Join(err, fmt.Errorf("list lines of %s: %w", name, explain(name, -1, errChip)))
			continue
		}
		out = append(out, c)
	}
	return out, err
}

func listChip(name string) (Chip, error) {
	c, err := gpiocdev.NewChip(name)
	if err != nil {
		return Chip{}, err
	}
	defer c.Close()
	out := Chip{Name: name, Label: c.Label}
	for i := range c.Lines() {
		l, err := c.LineInfo(i)
		if err != nil {
			return out, fmt.Errorf("line %d: %w", i, err)
		}
		line := Line{Offset: i, Name: l.Name, User: l.Consumer, IsOutput: l.Config.Direction == gpiocdev.LineDirectionOutput}
		if l.Used && line.User == "" {
			line.User = "the kernel"
		}
		out.Lines = append(out.Lines, line)
	}
	return out, nil
}
