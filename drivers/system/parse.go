package system

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate"
)

func readAtMost(r io.Reader, n int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, n+1))
	if err == nil && int64(len(b)) > n {
		return nil, fmt.Errorf("longer than %d bytes", n)
	}
	return b, err
}

// parseLoad parses /proc/loadavg (proc_loadavg(5)): "0.20 0.18 0.12 1/80 11206".
func parseLoad(s string) ([]tidegate.Value, error) {
	f := strings.Fields(s)
	if len(f) < 3 {
		return nil, fmt.Errorf("got %d words, want 3 or more", len(f))
	}
	out := make([]tidegate.Value, 3)
	for i := range out {
		v, err := decimal(f[i])
		if err != nil {
			return nil, err
		}
		out[i] = tidegate.Float(v)
	}
	return out, nil
}

// parseUptime parses /proc/uptime (proc_uptime(5)): "350735.47 234388.90", in seconds.
func parseUptime(s string) ([]tidegate.Value, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	v, err := decimal(first)
	return []tidegate.Value{tidegate.Float(v)}, err
}

// decimal parses a plain number that is not negative.
func decimal(s string) (float64, error) {
	if strings.Trim(s, "0123456789.") != "" {
		return 0, fmt.Errorf("%.40q is no number", s)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no number", s)
	}
	return v, nil
}

// whole parses a number of the kernel's.
func whole(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no whole number of 64 bits", s)
	}
	return v, nil
}

// parseMemory parses /proc/meminfo (proc_meminfo(5)), lines like "MemTotal:  24684096 kB". Kernels before 3.14 have no MemAvailable,
// and machines without swap have none to report.
func parseMemory(s string) ([]tidegate.Value, error) {
	bytes := map[string]int64{}
	for line := range strings.Lines(s) {
		key, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		switch key {
		case "MemTotal", "MemAvailable", "SwapTotal", "SwapFree":
			if len(f) != 2 || f[1] != "kB" {
				return nil, fmt.Errorf("%s is %.40q, want kB", key, strings.TrimSpace(rest))
			}
			v, err := whole(f[0])
			if err == nil && v > 1<<50 {
				err = errors.New("more than 2^50 kB")
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			bytes[key] = int64(v) << 10
		}
	}
	out := make([]tidegate.Value, 6)
	for i, keys := range [][2]string{{"MemTotal", "MemAvailable"}, {"SwapTotal", "SwapFree"}} {
		total, hasTotal := bytes[keys[0]]
		free, hasFree := bytes[keys[1]]
		if !hasTotal || total == 0 {
			continue
		}
		out[3*i] = tidegate.Int(total)
		if hasFree {
			out[3*i+1] = tidegate.Int(free)
			out[3*i+2] = share(total-min(free, total), total)
		}
	}
	return out, nil
}

// share returns used of total in percent, to the hundredth.
func share[T int64 | uint64](used, total T) tidegate.Value {
	return tidegate.Float(math.Round(10_000*float64(used)/float64(total)) / 100)
}

// busy computes the share of processor time in use between two looks at /proc/stat.
type busy struct {
	used, total uint64
	last        tidegate.Value
}

// parse parses the first line of /proc/stat (proc_stat(5)): "cpu user nice system idle iowait irq softirq steal guest guest_nice", in
// ticks; guests are counted in user and nice already. The first look is compared with the start of the machine.
func (b *busy) parse(s string) ([]tidegate.Value, error) {
	first, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(first)
	if len(f) < 5 || f[0] != "cpu" {
		return nil, fmt.Errorf("first line is %.40q, want cpu and 4 numbers or more", first)
	}
	var total, idle uint64
	for i, word := range f[1:min(len(f), 9)] {
		v, err := whole(word)
		if err != nil {
			return nil, err
		}
		total += v
		if i == 3 || i == 4 {
			idle += v
		}
	}
	used := total - min(idle, total)
	if total > b.total { // else nothing has passed; idle and iowait may even go back a little
		b.last = share(min(used-min(b.used, used), total-b.total), total-b.total)
	}
	b.used, b.total = used, total
	return []tidegate.Value{b.last}, nil
}

// parseThrottled parses the firmware's flags, a hexadecimal number.
func parseThrottled(s string) ([]tidegate.Value, error) {
	v, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(s), "0x"), 16, 32)
	if err != nil {
		return nil, fmt.Errorf("%.40q is no hexadecimal number of 32 bits", s)
	}
	out := make([]tidegate.Value, 4)
	for bit := range out {
		out[bit] = tidegate.Bool(v>>bit&1 == 1)
	}
	return out, nil
}

// parseFlag parses 0 or 1.
func parseFlag(s string) ([]tidegate.Value, error) {
	switch strings.TrimSpace(s) {
	case "0":
		return []tidegate.Value{tidegate.Bool(false)}, nil
	case "1":
		return []tidegate.Value{tidegate.Bool(true)}, nil
	}
	return nil, fmt.Errorf("%.40q is neither 0 nor 1", s)
}

// parseMillidegrees parses a temperature in thousandths of a degree Celsius.
func parseMillidegrees(s string) (float64, error) {
	v, err := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no temperature in millidegrees", s)
	}
	if v < -273_150 || v > 1_000_000 {
		return 0, fmt.Errorf("%d millidegrees is no temperature of a machine", v)
	}
	return float64(v) / 1000, nil
}

// parseNetwork finds the bytes received and sent by one interface in /proc/net/dev (proc_net(5)): "name: received ... sent ...", the
// first and the ninth number.
func parseNetwork(s, name string) (received, sent uint64, err error) {
	var there []string
	for line := range strings.Lines(s) {
		i := strings.LastIndexByte(line, ':') // the name of an alias has a colon
		if i < 0 {
			continue
		}
		who := strings.TrimSpace(line[:i])
		if who != name {
			there = append(there, who)
			continue
		}
		f := strings.Fields(line[i+1:])
		if len(f) < 9 {
			return 0, 0, fmt.Errorf("%s has %d numbers, want 9 or more", name, len(f))
		}
		if received, err = whole(f[0]); err == nil {
			sent, err = whole(f[8])
		}
		return received, sent, err
	}
	return 0, 0, fmt.Errorf("no interface %s; there are: %.200s", name, cmp.Or(strings.Join(there, ", "), "none found"))
}

// A disk is one line of /proc/diskstats.
type disk struct {
	number string // major:minor
	name   string
	wrote  uint64 // sectors of 512 bytes, whatever the disk's own sectors are
}

// parseDisks parses /proc/diskstats (Documentation/admin-guide/iostats.rst of the kernel): major, minor, name, then counters, of which
// the seventh is sectors written.
func parseDisks(s string) ([]disk, error) {
	var out []disk
	for line := range strings.Lines(s) {
		f := strings.Fields(line)
		if len(f) < 10 {
			return nil, fmt.Errorf("line %.40q has %d words, want 10 or more", line, len(f))
		}
		wrote, err := whole(f[9])
		if err == nil && wrote > 1<<53 {
			err = errors.New("more than 2^53 sectors written")
		}
		if err != nil {
			return nil, fmt.Errorf("%.40s: %w", f[2], err)
		}
		out = append(out, disk{number: f[0] + ":" + f[1], name: f[2], wrote: wrote})
	}
	return out, nil
}

// parseMounts finds the file system that holds the absolute path in /proc/self/mountinfo (proc_pid_mountinfo(5)) and returns its type
// and its source.
func parseMounts(s, path string) (kind, source string, err error) {
	best := ""
	for line := range strings.Lines(s) {
		head, tail, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(head), strings.Fields(tail)
		if !ok || len(f) < 6 || len(g) < 2 {
			return "", "", fmt.Errorf("line %.40q is no mount", line)
		}
		point := octal(f[4])
		if !holds(point, path) || len(point) < len(best) { // of two at one place the later one is on top
			continue
		}
		best, kind, source = point, g[0], octal(g[1])
	}
	if best == "" {
		return "", "", fmt.Errorf("no mount holds %s", path)
	}
	return kind, source, nil
}

// holds reports whether path is dir or below it.
func holds(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(dir, "/"))
	return ok && dir != "" && (rest == "" || rest[0] == '/')
}

// octal resolves the escapes of mountinfo: \040 is a blank.
func octal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
