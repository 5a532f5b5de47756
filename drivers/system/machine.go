package system

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// kernel is what the machine is asked beside its files.
type kernel struct {
	statfs func(path string) (unix.Statfs_t, error)
	device func(path string) (major, minor uint32, err error) // of the file system that holds path
}

// orReal returns k, or the real kernel in place of the zero value.
func (k kernel) orReal() kernel {
	if k.statfs != nil {
		return k
	}
	return kernel{
		statfs: func(path string) (st unix.Statfs_t, err error) {
			return st, unix.Statfs(path, &st)
		},
		device: func(path string) (major, minor uint32, err error) {
			var st unix.Stat_t
			if err := unix.Stat(path, &st); err != nil {
				return 0, 0, err
			}
			return unix.Major(st.Dev), unix.Minor(st.Dev), nil
		},
	}
}

// machine is one Linux system.
type machine struct {
	fs.FS // from its root
	kernel
}

// maxFile bounds what is read of one file, in bytes. The longest are mountinfo and diskstats of machines with hundreds of mounts.
const maxFile = 1 << 20

// text returns what stands in the file called name, which has no leading slash.
func (m machine) text(name string) (string, error) {
	f, err := m.Open(name)
	if err != nil {
		return "", readError(name, err)
	}
	b, err := readAtMost(f, maxFile)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", readError(name, err)
	}
	return string(b), nil
}

func readError(name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("read /%s: %w", name, err)
}

// line returns the file without white space around it.
func (m machine) line(name string) (string, error) {
	s, err := m.text(name)
	return strings.TrimSpace(s), err
}

// names returns what is in the directory called name; none when there is no such directory.
func (m machine) names(name string) ([]string, error) {
	entries, err := fs.ReadDir(m.FS, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, readError(name, err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, nil
}

// exists reports whether there is a file called name.
func (m machine) exists(name string) bool {
	_, err := fs.Stat(m.FS, name)
	return err == nil
}

// fromFile returns a part that parses one file.
func (m machine) fromFile(name string, parse func(string) ([]tidegate.Value, error), channels ...string) part {
	return part{channels: fixed(channels...), read: func() ([]tidegate.Value, error) {
		s, err := m.text(name)
		if err != nil {
			return nil, err
		}
		values, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("parse /%s: %w", name, err)
		}
		return values, nil
	}}
}

// parts returns what every machine may have.
func (m machine) parts() []part {
	return []part{
		m.processor(),
		m.fromFile("proc/loadavg", parseLoad, "load1", "load5", "load15"),
		m.fromFile("proc/stat", new(busy).parse, "cpu_used"),
		m.fromFile("proc/uptime", parseUptime, "uptime"),
		m.fromFile("proc/meminfo", parseMemory, "mem_total", "mem_available", "mem_used", "swap_total", "swap_free", "swap_used"),
	}
}

// throttledFile is where the firmware driver of a Raspberry Pi shows its flags (bits 0 to 3 of the firmware's "get throttled": what is
// so now).
const throttledFile = "sys/devices/platform/soc/soc:firmware/get_throttled"

// pi returns the flags of a Raspberry Pi. Kernels without the firmware's file have a hwmon chip that knows of undervoltage alone.
func (m machine) pi() []part {
	flags := m.fromFile(throttledFile, parseThrottled, "undervoltage", "frequency_capped", "throttled", "temp_limited")
	if m.exists(throttledFile) {
		return []part{flags}
	}
	return []part{{channels: fixed("undervoltage"), read: func() ([]tidegate.Value, error) {
		chips, err := m.names("sys/class/hwmon")
		if err != nil {
			return nil, err
		}
		for _, chip := range chips {
			dir := path.Join("sys/class/hwmon", chip)
			if name, err := m.line(path.Join(dir, "name")); err != nil || name != "rpi_volt" {
				continue // a chip that does not even tell its name is not the one
			}
			return m.fromFile(path.Join(dir, "in0_lcrit_alarm"), parseFlag, "undervoltage").read()
		}
		return []tidegate.Value{{}}, nil
	}}}
}

// networkChannels returns the channels of one network interface.
func networkChannels(name string) []drivers.Channel {
	prefix := "net_" + plain(name)
	return []drivers.Channel{
		{Name: prefix + "_received", Kind: tidegate.KindInt, Unit: "B", Meaning: "bytes received by " + name + " since the machine started"},
		{Name: prefix + "_sent", Kind: tidegate.KindInt, Unit: "B", Meaning: "bytes sent by " + name + " since the machine started"},
	}
}

// network returns the traffic of one network interface.
func (m machine) network(name string) part {
	var received, sent counter
	p := m.fromFile("proc/net/dev", func(s string) ([]tidegate.Value, error) {
		in, out, err := parseNetwork(s, name)
		if err != nil {
			return nil, err
		}
		return []tidegate.Value{tidegate.Int(received.count(in)), tidegate.Int(sent.count(out))}, nil
	})
	p.channels, p.wanted = networkChannels(name), true
	return p
}

// counter makes a counter of the kernel one that never goes back: 32-bit kernels let theirs wrap round at 2^32, and a device that was
// plugged in anew begins at 0.
type counter struct {
	last, base uint64
}

// count returns the count so far; raw is what the kernel says.
func (c *counter) count(raw uint64) int64 {
	if raw < c.last {
		if c.last>>32 == 0 && c.last-raw > 1<<31 {
			c.base += 1 << 32
		} else {
			c.base += c.last
		}
	}
	c.last = raw
	return int64((c.base + raw) & math.MaxInt64)
}
