package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Port is a serial port.
type Port struct {
	Path     string `json:"path"`               // for instance /dev/ttyUSB0
	Lasting  string `json:"lasting,omitempty"`  // its name that does not change with the order of plugging in; "" = it has none
	Adapter  string `json:"adapter,omitempty"`  // what it is: the USB adapter's own words, else the kernel driver's name
	Problem  string `json:"problem,omitempty"`  // why it was not listened to
	Heard    string `json:"heard,omitempty"`    // what talks there; "" = nothing did, which a device that is only asked does not
	Settings string `json:"settings,omitempty"` // at which that was understood, for instance "9600 8N1"
	Block    string `json:"block,omitempty"`    // for the configuration
}

// Name returns the name that belongs into a configuration.
func (p *Port) Name() string {
	if p.Lasting != "" {
		return p.Lasting
	}
	return p.Path
}

// listenFor is how long a port is listened to at each setting: devices that talk by themselves mostly do once a second.
const listenFor = 1200 * time.Millisecond

// talkers are the settings that talkers have, likely first.
func talkers() []drivers.Serial {
	var out []drivers.Serial
	for _, baud := range []int{9600, 115200, 4800, 38400, 19200, 57600, 2400} {
		out = append(out, drivers.Serial{Baud: baud, DataBits: 8, Parity: "none", StopBits: "1"})
	}
	for _, baud := range []int{9600, 19200} {
		out = append(out, drivers.Serial{Baud: baud, DataBits: 8, Parity: "even", StopBits: "1"})
	}
	return out
}

// serial lists the ports and listens to each that is free.
func (m *Machine) serial(ctx context.Context) []Port {
	ports := Ports(m.Host.Files())
	for i := range ports {
		if p := &ports[i]; p.Problem == "" && ctx.Err() == nil {
			m.doing("listening to %s", p.Path)
			m.listen(ctx, p)
		}
	}
	return ports
}

// Ports returns the serial ports of the machine whose file system is files: those with a UART behind them. Problem says which of them
// must be left alone.
func Ports(files fs.FS) []Port {
	names, _ := fs.Glob(files, "sys/class/tty/*") // its one error is of the pattern
	lasting := lastingNames(files)
	console := strings.Fields(text(files, "sys/class/tty/console/active"))
	var out []Port
	for _, name := range names {
		if _, err := fs.Stat(files, path.Join(name, "device")); err != nil {
			continue // a virtual terminal
		}
		if text(files, path.Join(name, "type")) == "0" {
			continue // the kernel has room for a UART there, and found none
		}
		base := path.Base(name)
		p := Port{Path: "/dev/" + base, Lasting: lasting[base], Adapter: adapter(files, name)}
		if slices.Contains(console, base) {
			p.Problem = "the kernel's console is on it"
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Port) int { return natural(a.Path, b.Path) })
	return out
}

// natural compares names with numbers at their ends: ttyUSB2 comes ahead of ttyUSB10.
func natural(a, b string) int {
	stem := func(s string) (string, int) {
		word := strings.TrimRight(s, "0123456789")
		n, _ := strconv.Atoi(s[len(word):]) // "" = 0
		return word, n
	}
	wa, na := stem(a)
	wb, nb := stem(b)
	if wa != wb {
		return strings.Compare(wa, wb)
	}
	return na - nb
}

// lastingNames returns the lasting names of ports: by-id first, which follows the adapter, then by-path, which follows the socket.
func lastingNames(files fs.FS) map[string]string {
	out := map[string]string{}
	for _, dir := range []string{"dev/serial/by-path", "dev/serial/by-id"} {
		links, err := fs.ReadDir(files, dir)
		if err != nil {
			continue // no USB adapter is plugged in
		}
		for _, l := range links {
			name := path.Join(dir, l.Name())
			if target, err := fs.ReadLink(files, name); err == nil {
				out[path.Base(target)] = "/" + name
			}
		}
	}
	return out
}

// adapter says what is behind the port at name in /sys/class/tty.
func adapter(files fs.FS, name string) string {
	driver := ""
	if link, err := fs.ReadLink(files, path.Join(name, "device", "driver")); err == nil {
		driver = path.Base(link)
	}
	link, err := fs.ReadLink(files, name)
	if err != nil {
		return driver
	}
	for dir := path.Join(path.Dir(name), link); strings.Count(dir, "/") > 2; dir = path.Dir(dir) {
		vendor := text(files, path.Join(dir, "idVendor"))
		if vendor == "" {
			continue
		}
		words := []string{text(files, path.Join(dir, "manufacturer")), text(files, path.Join(dir, "product"))}
		what := strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
		what = strings.TrimSpace(fmt.Sprintf("%s (USB %s:%s)", what, vendor, text(files, path.Join(dir, "idProduct"))))
		if serial := text(files, path.Join(dir, "serial")); serial != "" {
			what += ", serial number " + serial
		}
		return what
	}
	return driver
}

// text returns the content of a small file without the white space around it, "" where it cannot be read.
func text(files fs.FS, name string) string {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimRight(string(b), "\x00"))
}

// listen finds out what talks on p.
func (m *Machine) listen(ctx context.Context, p *Port) {
	for i, s := range talkers() {
		s.Port = p.Path
		heard, err := m.hear(ctx, s)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.Problem = err.Error()
			return
		case i == 0 && len(heard) == 0:
			return // at other settings it would be heard too, only not understood
		}
		if m.recognise(p, s, heard) {
			return
		}
		if i == 0 {
			p.Heard = fmt.Sprintf("%d bytes that make no sense at any usual setting", len(heard))
		}
	}
}

// recognise asks the drivers whose device says b.
func (m *Machine) recognise(p *Port, s drivers.Serial, b []byte) bool {
	for _, d := range m.Drivers {
		if d.Hear == nil {
			continue
		}
		what, settings := d.Hear(b)
		if what == "" {
			continue
		}
		p.Heard, p.Settings = what, s.Settings()
		if settings != nil {
			keys := [][2]string{{"port", p.Name()}, {"baud", strconv.Itoa(s.Baud)}}
			if s.Parity != "none" {
				keys = append(keys, [2]string{"parity", s.Parity})
			}
			p.Block = block(d.Name, d.Name, append(keys, settings...)...)
		}
		return true
	}
	return false
}

// heardMost is how much of what is heard is kept, in bytes.
const heardMost = 8 << 10

// hear returns what comes in at s within listenFor.
func (m *Machine) hear(ctx context.Context, s drivers.Serial) (heard []byte, err error) {
	ctx, cancel := context.WithCancel(ctx) // with its end the next settings may be another's
	defer cancel()
	bus, err := m.Host.Serial(ctx, s)
	if err != nil {
		return nil, err
	}
	err = bus.Do(ctx, func(p drivers.Port) error {
		end := time.Now().Add(listenFor)
		if err := p.SetReadDeadline(end); err != nil {
			return err
		}
		in := make([]byte, 512)
		for len(heard) < heardMost && time.Now().Before(end) {
			n, err := p.Read(in)
			heard = append(heard, in[:n]...)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return heard, err
}
