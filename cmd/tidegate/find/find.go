// Package find is `tidegate scan`: it looks for devices, shows how far it is, and prints what it found.
package find

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
	"github.com/tidegate-io/tidegate/drivers/board/gpioline"
	"github.com/tidegate-io/tidegate/drivers/modbus/sweep"
	"github.com/tidegate-io/tidegate/drivers/scan"
)

// A Finder is what is to be found, and how.
type Finder struct {
	Drivers  []drivers.Driver
	Out      io.Writer // takes what was found
	AsJSON   bool      // print one JSON object
	Identify bool      // ask parts on I2C who they are
	Ports    []string  // serial ports to search for Modbus units; none = all
	Units    []uint    // none = all
	Baud     []int     // none = all usual ones
	Parity   []string  // none = all
	Whole    bool      // go on though a unit was found
}

// Kinds are what can be looked for.
func Kinds() []string { return append(scan.Kinds(), "modbus") }

// Scan looks for what kinds name, all but Modbus if there are none, and prints it.
func (f *Finder) Scan(ctx context.Context, kinds ...string) error {
	show := newShow(os.Stderr)
	m := &scan.Machine{
		Host: board.New(nil), Drivers: f.Drivers, Identify: f.Identify, Chips: chips, Doing: show.say,
		May: func(path string) bool { return unix.Access(path, unix.R_OK|unix.W_OK) == nil },
	}
	r := m.Run(ctx, kinds...)
	show.wipe()
	if f.AsJSON {
		return json.NewEncoder(f.Out).Encode(r)
	}
	return r.Print(f.Out)
}

// chips lists the machine's GPIO lines.
func chips() ([]scan.Chip, error) {
	list, err := gpioline.List()
	out := make([]scan.Chip, len(list))
	for i, c := range list {
		out[i] = scan.Chip{Name: c.Name, Label: c.Label}
		for _, l := range c.Lines {
			out[i].Lines = append(out[i].Lines, scan.Line(l))
		}
	}
	return out, err
}

// A modbusFound is what scan modbus found, as --json has it.
type modbusFound struct {
	Port     string `json:"port"`
	Unit     byte   `json:"unit"`
	Settings string `json:"settings"`
	Reply    string `json:"reply"`
	Block    string `json:"block"`
}

// Modbus searches the serial ports for units, and prints those that answered. A program without the driver modbus could not read them:
// that is an error.
func (f *Finder) Modbus(ctx context.Context) error {
	if !slices.ContainsFunc(f.Drivers, func(d drivers.Driver) bool { return d.Name == "modbus" }) {
		return errors.New("this program was built without the driver modbus, so it cannot read units that it finds; search with a program that has it")
	}
	host := board.New(nil)
	ports, err := f.modbusPorts(host)
	if err != nil {
		return err
	}
	show := newShow(os.Stderr)
	defer show.wipe()
	out := []modbusFound{}
	var failed []error
	for _, port := range ports {
		found, err := f.sweep(ctx, host, port, show)
		for _, x := range found {
			out = append(out, modbusFound{port, x.Unit, x.Serial.Settings(), x.Reply, modbusBlock(x)})
		}
		if err != nil && ctx.Err() == nil {
			failed = append(failed, err)
		}
	}
	show.wipe()
	if f.AsJSON {
		err = json.NewEncoder(f.Out).Encode(map[string]any{"modbus": out})
	} else {
		err = f.print(out)
	}
	if len(out) == 0 && err == nil && len(failed) == 0 {
		fmt.Fprintf(os.Stderr, "no unit answered on %s; look at A and B (swap them), at the supply, and whether it speaks Modbus RTU at all\n", strings.Join(ports, ", "))
	}
	return errors.Join(append(failed, err)...)
}

// modbusPorts returns the ports to search: those asked for, else all that are free to use.
func (f *Finder) modbusPorts(host drivers.Host) (out []string, err error) {
	if len(f.Ports) > 0 {
		return f.Ports, nil
	}
	for _, p := range scan.Ports(host.Files()) {
		if p.Problem == "" {
			out = append(out, p.Name())
		}
	}
	if len(out) == 0 {
		return nil, errors.New("this machine shows no serial port; plug the adapter in, or name one: tidegate scan modbus --port /dev/ttyUSB0")
	}
	return out, nil
}

// sweep searches one port, and shows how far it is.
func (f *Finder) sweep(ctx context.Context, host drivers.Host, port string, show *show) ([]sweep.Found, error) {
	units := make([]byte, len(f.Units))
	for i, u := range f.Units {
		if u < sweep.FirstUnit || u > sweep.LastUnit {
			return nil, fmt.Errorf("--unit is %d, want %d to %d", u, sweep.FirstUnit, sweep.LastUnit)
		}
		units[i] = byte(u)
	}
	for _, p := range f.Parity {
		if !slices.Contains([]string{"none", "even", "odd"}, p) {
			return nil, fmt.Errorf("--parity is %q, want none, even or odd", p)
		}
	}
	plan := sweep.NewPlanOf(port, units, f.Baud, f.Parity)
	if plan.Size() == 0 {
		return nil, fmt.Errorf("nothing to search on %s: no usual setting has these speeds and parities", port)
	}
	fmt.Fprintf(os.Stderr, "%s: up to %d requests, at most %v; Ctrl-C keeps what was found\n", port, plan.Size(), plan.Estimate().Round(time.Second))
	s := sweep.Search{
		Host: host, Plan: plan, IsWhole: f.Whole,
		Step: func(done, most int, left time.Duration) { show.bar(port, done, most, left) },
		Found: func(x sweep.Found) {
			show.wipe()
			fmt.Fprintf(os.Stderr, "%s: unit %d answers at %s: %s\n", port, x.Unit, x.Serial.Settings(), x.Reply)
		},
	}
	return s.Run(ctx)
}

// modbusBlock is a configuration block for a unit.
func modbusBlock(x sweep.Found) string {
	parity := x.Serial.Parity
	return fmt.Sprintf("- name: unit%d\n  driver: modbus\n  address: rtu://%s?baud=%d&parity=%s&stop=%s\n  unit: %d\n"+
		"  registers:\n    - {channel: r0, table: holding, address: 0, type: uint16}   # what is there is in the device's manual\n",
		x.Unit, x.Serial.Port, x.Serial.Baud, parity, x.Serial.StopBits, x.Unit)
}

// print writes what was found, so that the whole can be a file.
func (f *Finder) print(list []modbusFound) error {
	if len(list) == 0 {
		return nil
	}
	var b strings.Builder
	for _, x := range list {
		fmt.Fprintf(&b, "# %s unit %d at %s: %s\n", x.Port, x.Unit, x.Settings, x.Reply)
	}
	b.WriteString("devices:\n")
	for _, x := range list {
		b.WriteString("  " + strings.ReplaceAll(strings.TrimSuffix(x.Block, "\n"), "\n", "\n  ") + "\n")
	}
	_, err := io.WriteString(f.Out, b.String())
	return err
}

// A show is one line on a terminal that says what goes on.
type show struct {
	w     *os.File
	isOn  bool
	until time.Time // when the line may be written again
}

func newShow(w *os.File) *show {
	_, err := unix.IoctlGetTermios(int(w.Fd()), unix.TCGETS)
	return &show{w: w, isOn: err == nil}
}

// say shows what is done.
func (s *show) say(what string) {
	if s.isOn {
		fmt.Fprintf(s.w, "\r\x1b[K%s", what)
	}
}

// bar shows how much of all is done, at most five times a second.
func (s *show) bar(what string, done, most int, left time.Duration) {
	if now := time.Now(); now.Before(s.until) {
		return
	} else {
		s.until = now.Add(200 * time.Millisecond)
	}
	const width = 30
	full := width * done / max(most, 1)
	s.say(fmt.Sprintf("%s [%s%s] %d of %d, at most %v left", what, strings.Repeat("#", full), strings.Repeat(".", width-full), done, most, left.Round(time.Second)))
}

// wipe takes the line away.
func (s *show) wipe() {
	if s.isOn {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}
