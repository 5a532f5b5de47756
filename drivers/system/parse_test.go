package system

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate"
)

func TestParseErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		err  func() error
		want string
	}{
		"load too short":       {fails(parseLoad, "0.1 0.2"), "got 2 words, want 3 or more"},
		"load no number":       {fails(parseLoad, "0.1 0.2 x 1/2 3"), `"x" is no number`},
		"load infinite":        {fails(parseLoad, "0.1 0.2 Inf"), `"Inf" is no number`},
		"load hexadecimal":     {fails(parseLoad, "0x1 0.2 1"), `"0x1" is no number`},
		"load two points":      {fails(parseLoad, "0.1.2 0.2 1"), `"0.1.2" is no number`},
		"uptime empty":         {fails(parseUptime, ""), `"" is no number`},
		"uptime negative":      {fails(parseUptime, "-5 6"), `"-5" is no number`},
		"uptime endless":       {fails(parseUptime, strings.Repeat("9", 500)), `"` + strings.Repeat("9", 40) + `" is no number`},
		"memory in MB":         {fails(parseMemory, "MemTotal: 5 MB"), `MemTotal is "5 MB", want kB`},
		"memory no number":     {fails(parseMemory, "SwapFree: -5 kB"), `SwapFree: "-5" is no whole number of 64 bits`},
		"memory beyond reason": {fails(parseMemory, "MemTotal: 1125899906842625 kB"), "MemTotal: more than 2^50 kB"},
		"processor empty":      {fails(new(busy).parse, ""), `first line is "", want cpu and 4 numbers or more`},
		"processor no number":  {fails(new(busy).parse, "cpu 1 2 3 x"), `"x" is no whole number of 64 bits`},
		"flag":                 {fails(parseFlag, "2"), `"2" is neither 0 nor 1`},
		"throttled":            {fails(parseThrottled, "100000000"), `"100000000" is no hexadecimal number of 32 bits`},
		"network too short":    {network("eth0: 1 2 3"), "eth0 has 3 numbers, want 9 or more"},
		"network no number":    {network("eth0: 1 2 3 4 5 6 7 8 -9"), `"-9" is no whole number of 64 bits`},
		"network empty":        {network(""), "no interface eth0; there are: none found"},
		"disk no number":       {fails(parseDisks, "8 0 sda 1 2 3 4 5 6 x 8"), `sda: "x" is no whole number of 64 bits`},
		"disk beyond reason":   {fails(parseDisks, "8 0 sda 1 2 3 4 5 6 9007199254740993 8"), "sda: more than 2^53 sectors written"},
	} {
		if err := tc.err(); err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
}

func fails[T any](parse func(string) (T, error), s string) func() error {
	return func() error { _, err := parse(s); return err }
}

func network(s string) func() error {
	return func() error { _, _, err := parseNetwork(s, "eth0"); return err }
}

func TestParseNetwork(t *testing.T) {
	const s = "Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" +
		"    lo: 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\n  eth0:18446744073709551615 9 0 0 0 0 0 0 7 0 0 0 0 0 0 0\neth0:1: 3 9 0 0 0 0 0 0 4 0 0 0 0 0 0 0\n"
	for name, want := range map[string][2]uint64{"lo": {1, 1}, "eth0": {math.MaxUint64, 7}, "eth0:1": {3, 4}} {
		if in, out, err := parseNetwork(s, name); err != nil || in != want[0] || out != want[1] {
			t.Errorf("%s: got %d %d %v, want %v", name, in, out, err, want)
		}
	}
}

func TestParseMounts(t *testing.T) {
	const s = `1 0 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
2 1 0:21 / /run rw - tmpfs tmpfs rw
3 1 8:1 / /mnt/usb\040stick rw master:1 shared:2 - vfat /dev/sda1 rw
4 1 0:30 / /data rw - btrfs /dev/sdb1 rw
5 1 0:31 / /data rw - nfs4 server:/x rw
`
	for path, want := range map[string]string{
		"/":                "ext4 /dev/root",
		"/running":         "ext4 /dev/root",
		"/run":             "tmpfs tmpfs",
		"/run/lock/x":      "tmpfs tmpfs",
		"/mnt/usb stick/a": "vfat /dev/sda1",
		"/data/x":          "nfs4 server:/x", // mounted over the other
	} {
		if kind, source, err := parseMounts(s, path); err != nil || kind+" "+source != want {
			t.Errorf("%s: got %s %s %v, want %s", path, kind, source, err, want)
		}
	}
	if _, _, err := parseMounts("1 0 8:1 / /a rw - ext4 x rw\n", "/b"); err == nil || err.Error() != "no mount holds /b" {
		t.Error(err)
	}
}

func TestOctal(t *testing.T) {
	for in, want := range map[string]string{"a": "a", `a\040b`: "a b", `\134`: `\`, `\8`: `\8`, `\999`: `\999`, `a\04`: `a\04`, `\777`: `\777`} {
		if got := octal(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"cpu-thermal": "cpu_thermal", "Package id 0": "package_id_0", "--": "", "coretemp Core 1": "coretemp_core_1", "ä": "", "/var/lib": "var_lib",
	} {
		if got := plain(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	long := "/" + strings.Repeat("x", 60)
	c := &Config{
		Disks:        []string{"/", "var", "/var/../x", "/var/lib", "/var_lib", long, "/a\x00"},
		Disk:         "relative",
		Temperatures: []string{"", "CPU", "nvme_composite", "nvme_composite"},
		Networks:     []string{"eth0", "", "a/b", "0123456789abcdef", "ETH0"},
	}
	want := []string{
		`disks[1]: is no plain absolute path (got "var"); write it as in /var/lib`,
		`disks[2]: is no plain absolute path (got "/var/../x"); write it as in /var/lib`,
		"disks[4]: gives the same channels as disks[3] (got /var_lib)",
		"disks[5]: gives channel disk_" + long[1:] + "_total, whose name is 71 bytes long, at most 64 are allowed (got " + long + ")",
		`disks[6]: is no plain absolute path (got "/a\x00"); write it as in /var/lib`,
		`disk: is no plain absolute path (got "relative"); write it as in /var/lib`,
		`temperatures[0]: is no name of a temperature (got ""); small letters, digits and single underscores, as in nvme_composite`,
		`temperatures[1]: is no name of a temperature (got "CPU"); small letters, digits and single underscores, as in nvme_composite`,
		"temperatures[3]: gives the same channels as temperatures[2] (got nvme_composite)",
		`networks[1]: is no name of a network interface (got "")`,
		`networks[2]: is no name of a network interface (got "a/b")`,
		`networks[3]: is no name of a network interface (got "0123456789abcdef")`,
		"networks[4]: gives the same channels as networks[0] (got ETH0)",
	}
	var got []string
	for _, bad := range c.Validate() {
		got = append(got, bad.Error())
	}
	same(t, got, want...)
	if bad := Driver.New().Validate(); len(bad) > 0 {
		t.Error(bad)
	}
}

// FuzzParsers feeds any text to every parser: no panic, no value that is not finite, and no error longer than a line.
func FuzzParsers(f *testing.F) {
	for name, text := range piFiles {
		_ = name
		f.Add(text)
	}
	f.Add("  eth0:1 2 3 4 5 6 7 8 9\n")
	f.Add("1 0 179:2 / /a\\040b rw,noatime shared:1 - ext4 /dev/root rw\n")
	f.Add("MemTotal: 0 kB\nMemAvailable: 5 kB\nSwapTotal: 1 kB\nSwapFree: 9 kB\n")
	f.Add("cpu 18446744073709551615 18446744073709551615 1 1 1\n")
	f.Add("50005\n")
	f.Fuzz(func(t *testing.T, s string) {
		var b busy
		for name, parse := range map[string]func(string) ([]tidegate.Value, error){
			"load": parseLoad, "uptime": parseUptime, "memory": parseMemory, "busy": b.parse, "busy again": b.parse,
			"throttled": parseThrottled, "flag": parseFlag,
			"temperature": func(s string) ([]tidegate.Value, error) {
				v, err := parseMillidegrees(s)
				return []tidegate.Value{tidegate.Float(v)}, err
			},
			"network": func(s string) ([]tidegate.Value, error) {
				var c counter
				in, _, err := parseNetwork(s, "eth0")
				return []tidegate.Value{tidegate.Int(c.count(in))}, err
			},
			"disks": func(s string) ([]tidegate.Value, error) {
				var c counter
				disks, err := parseDisks(s)
				var out []tidegate.Value
				for _, d := range disks {
					out = append(out, tidegate.Int(c.count(d.wrote)*512))
				}
				return out, err
			},
			"mounts": func(s string) ([]tidegate.Value, error) {
				_, _, err := parseMounts(s, "/var/lib")
				return nil, err
			},
		} {
			got, err := parse(s)
			if err != nil {
				if text := err.Error(); text == "" || len(text) > 600 || strings.Contains(text, "\n") {
					t.Fatalf("%s: error %q", name, text)
				}
				continue
			}
			for _, v := range got {
				if n, ok := v.Number(); ok && (math.IsNaN(n) || math.IsInf(n, 0) || n < 0 && name != "temperature") {
					t.Fatalf("%s: %v", name, v)
				}
			}
		}
		if p := plain(s); p != "" && len(p) < 50 {
			if err := tidegate.CheckName("temp_" + p); err != nil {
				t.Fatal(fmt.Errorf("plain name %q: %w", p, err))
			}
		}
	})
}
