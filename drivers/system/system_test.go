package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// files is a file system, by name.
type files map[string]string

func (f files) with(more files) files {
	out := maps.Clone(f)
	maps.Copy(out, more)
	return out
}

func (f files) without(prefixes ...string) files {
	out := files{}
	for name, text := range f {
		keep := true
		for _, p := range prefixes {
			keep = keep && !strings.HasPrefix(name, p)
		}
		if keep {
			out[name] = text
		}
	}
	return out
}

// fakeHost has nothing but files, which may change and fail.
type fakeHost struct {
	drivers.Host
	files  files
	broken map[string]error
}

func (h *fakeHost) Files() fs.FS { return h }

func (h *fakeHost) Open(name string) (fs.File, error) {
	if err := h.broken[name]; err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	m := fstest.MapFS{}
	for n, text := range h.files {
		m[n] = &fstest.MapFile{Data: []byte(text)}
	}
	return m.Open(name)
}

var plainFiles = files{
	"proc/loadavg": "0.20 0.18 0.12 1/80 11206\n",
	"proc/uptime":  "350735.47 234388.90\n",
	"proc/stat":    "cpu  100 20 30 800 50 0 0 0 10 0\ncpu0 100 20 30 800 50 0 0 0 10 0\nintr 1\n",
	"proc/meminfo": "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     250 kB\nSwapTotal:        200 kB\nSwapFree:         150 kB\n",
	"proc/diskstats": " 179       0 mmcblk0 1 2 3 4 5 6 1000 8 9 10 11 0 0 0 0 0 0\n" +
		" 179       2 mmcblk0p2 1 2 3 4 5 6 700 8 9 10 11\n",
	"sys/block/mmcblk0/mmcblk0p2/partition": "2\n",
	"proc/self/mountinfo":                   "22 1 179:2 / / rw - ext4 /dev/root rw\n",
}

var piFiles = plainFiles.with(files{
	"sys/class/thermal/cooling_device0/type":      "gpio-fan\n",
	"sys/class/thermal/thermal_zone0/type":        "cpu-thermal\n",
	"sys/class/thermal/thermal_zone0/temp":        "48312\n",
	"sys/class/hwmon/hwmon0/name":                 "cpu_thermal\n",
	"sys/class/hwmon/hwmon0/temp1_input":          "48312\n",
	"sys/class/hwmon/hwmon1/name":                 "rp1_adc\n",
	"sys/class/hwmon/hwmon1/temp1_input":          "52000\n",
	"sys/class/hwmon/hwmon2/name":                 "rpi_volt\n",
	"sys/class/hwmon/hwmon2/in0_lcrit_alarm":      "1\n",
	"sys/class/hwmon/hwmon3/name":                 "nvme\n",
	"sys/class/hwmon/hwmon3/temp1_input":          "31850\n",
	"sys/class/hwmon/hwmon3/temp1_label":          "Composite\n",
	"sys/class/hwmon/hwmon3/temp2_input":          "-5850\n",
	"sys/class/hwmon/hwmon3/temp2_label":          "Sensor 1\n",
	"sys/class/hwmon/hwmon10/name":                "nvme\n",
	"sys/class/hwmon/hwmon10/temp1_input":         "40850\n",
	"sys/class/hwmon/hwmon10/temp1_label":         "Composite\n",
	"sys/devices/platform/soc/soc:firmware/other": "",
})

// fakeKernel has an ext4 file system on 179:2 at /, one of 9 GB without inodes at /data, tmpfs at /run, and nothing else.
func fakeKernel() kernel {
	return kernel{
		statfs: func(path string) (unix.Statfs_t, error) {
			switch path {
			case "/":
				return unix.Statfs_t{Bsize: 4096, Frsize: 4096, Blocks: 1000, Bfree: 400, Bavail: 350, Files: 200, Ffree: 150}, nil
			case "/data":
				return unix.Statfs_t{Bsize: 1 << 20, Blocks: 9000, Bfree: 9000, Bavail: 9000}, nil
			case "/stale":
				return unix.Statfs_t{}, syscall.ESTALE
			}
			return unix.Statfs_t{}, syscall.ENOENT
		},
		device: func(path string) (uint32, uint32, error) {
			switch path {
			case "/", "/var", "/home":
				return 179, 2, nil
			case "/run":
				return 0, 21, nil
			case "/odd":
				return 8, 99, nil
			case "/denied":
				return 0, 0, syscall.EACCES
			}
			return 0, 0, syscall.ENOENT
		},
	}
}

func newTestConfig() *Config {
	c := Driver.New().(*Config)
	c.kernel = fakeKernel()
	return c
}

func open(t *testing.T, c *Config, h *fakeHost) drivers.Device {
	t.Helper()
	d, err := c.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// read returns one Read, a reading a line, and checks that all are declared.
func read(t *testing.T, c *Config, d drivers.Device) []string {
	t.Helper()
	got, err := d.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]drivers.Channel{}
	for _, ch := range append(Driver.Channels[:len(Driver.Channels):len(Driver.Channels)], c.Channels()...) {
		declared[ch.Name] = ch
	}
	var out []string
	for _, r := range got {
		ch, ok := declared[r.Channel]
		if !ok || r.Unit != ch.Unit || r.Fault == "" && r.Value.Kind() != ch.Kind {
			t.Errorf("%+v is not declared so: %+v", r, ch)
		}
		if r.Fault != "" {
			out = append(out, r.Channel+"! "+r.Fault)
			continue
		}
		out = append(out, strings.TrimSpace(fmt.Sprint(r.Channel, " ", r.Value, " ", r.Unit)))
	}
	return out
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\n\nwant\n%s", g, w)
	}
}

var plainReadings = []string{
	"load1 0.2", "load5 0.18", "load15 0.12", "cpu_used 15 /100", "uptime 350735.47 s",
	"mem_total 1024000 B", "mem_available 256000 B", "mem_used 75 /100", "swap_total 204800 B", "swap_free 153600 B", "swap_used 25 /100",
	"disk_written 512000 B",
	"disk_root_total 4096000 B", "disk_root_available 1433600 B", "disk_root_used 63.16 /100", "disk_root_inodes_used 25 /100",
}

func TestMachineWithoutTemperatures(t *testing.T) {
	c := newTestConfig()
	same(t, read(t, c, open(t, c, &fakeHost{files: plainFiles})), plainReadings...)
}

func TestRaspberryPi(t *testing.T) {
	c := newTestConfig()
	c.Temperatures = []string{"nvme_composite", "nvme_composite_2", "nvme_sensor_1", "rp1_adc_temp1", "cpu_thermal", "nvme"}
	got := read(t, c, open(t, c, &fakeHost{files: piFiles}))
	want := append([]string{"cpu_temp 48.312 Cel"}, plainReadings[:12]...)
	want = append(want, "undervoltage true")
	want = append(want, plainReadings[12:]...)
	want = append(want, "temp_nvme_composite 31.85 Cel", "temp_nvme_composite_2 40.85 Cel", "temp_nvme_sensor_1 -5.85 Cel", "temp_rp1_adc_temp1 52 Cel",
		"temp_cpu_thermal 48.312 Cel",
		"temp_nvme! no temperature nvme; there are: cpu_thermal, nvme_composite, nvme_composite_2, nvme_sensor_1, rp1_adc_temp1")
	same(t, got, want...)
}

func TestNoTemperatures(t *testing.T) {
	c := newTestConfig()
	c.Temperatures = []string{"nvme"}
	got := read(t, c, open(t, c, &fakeHost{files: map[string]string{}}))
	if want := "temp_nvme! no temperature nvme; there are: none found"; got[len(got)-1] != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

func TestFirmwareFlags(t *testing.T) {
	for text, want := range map[string][]string{
		"0\n":     {"undervoltage false", "frequency_capped false", "throttled false", "temp_limited false"},
		"50005\n": {"undervoltage true", "frequency_capped false", "throttled true", "temp_limited false"},
		"0xe000a": {"undervoltage false", "frequency_capped true", "throttled false", "temp_limited true"},
		"offline\n": {
			`undervoltage! parse /sys/devices/platform/soc/soc:firmware/get_throttled: "offline\n" is no hexadecimal number of 32 bits`,
			`frequency_capped! parse /sys/devices/platform/soc/soc:firmware/get_throttled: "offline\n" is no hexadecimal number of 32 bits`,
			`throttled! parse /sys/devices/platform/soc/soc:firmware/get_throttled: "offline\n" is no hexadecimal number of 32 bits`,
			`temp_limited! parse /sys/devices/platform/soc/soc:firmware/get_throttled: "offline\n" is no hexadecimal number of 32 bits`,
		},
	} {
		c := newTestConfig()
		got := read(t, c, open(t, c, &fakeHost{files: piFiles.with(files{throttledFile: text})}))
		same(t, got[13:17], want...)
	}
}

func TestTemperatureOfTheProcessor(t *testing.T) {
	zone := func(n int, kind string, milli int) files {
		dir := fmt.Sprintf("sys/class/thermal/thermal_zone%d/", n)
		return files{dir + "type": kind + "\n", dir + "temp": fmt.Sprintln(milli)}
	}
	chip := func(n int, name, label string, milli int) files {
		dir := fmt.Sprintf("sys/class/hwmon/hwmon%d/", n)
		return files{dir + "name": name + "\n", dir + "temp1_label": label + "\n", dir + "temp1_input": fmt.Sprintln(milli)}
	}
	for name, tc := range map[string]struct {
		files files
		want  string
	}{
		"package before the board's":     {zone(0, "acpitz", 1000).with(zone(1, "x86_pkg_temp", 2000)), "cpu_temp 2 Cel"},
		"chip of an Intel":               {zone(0, "acpitz", 1000).with(chip(0, "coretemp", "Package id 0", 3000)), "cpu_temp 3 Cel"},
		"chip of an AMD":                 {zone(0, "acpitz", 1000).with(chip(0, "k10temp", "Tctl", 4000)), "cpu_temp 4 Cel"},
		"anything with cpu in its name":  {zone(0, "board", 1000).with(zone(1, "littlecpu-thermal", 5000)), "cpu_temp 5 Cel"},
		"else the first thermal zone":    {zone(0, "zz", 6000).with(chip(0, "aa", "x", 1000)), "cpu_temp 6 Cel"},
		"disk temperatures do not count": {chip(0, "nvme", "Composite", 1000), "load1 0.2"},
		"zone without a type":            {files{"sys/class/thermal/thermal_zone0/temp": "1"}, "load1 0.2"},
		"not a number":                   {files{"sys/class/thermal/thermal_zone0/type": "cpu", "sys/class/thermal/thermal_zone0/temp": "N/A"}, `cpu_temp! parse /sys/class/thermal/thermal_zone0/temp: "N/A" is no temperature in millidegrees`},
		"sensor that is not connected":   {zone(0, "cpu", -274000), "cpu_temp! parse /sys/class/thermal/thermal_zone0/temp: -274000 millidegrees is no temperature of a machine"},
		"zone that holds no name":        {zone(0, "--", 5), "load1 0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConfig()
			same(t, read(t, c, open(t, c, &fakeHost{files: plainFiles.with(tc.files)}))[:1], tc.want)
		})
	}
}

func TestWhatVanishesBecomesAFault(t *testing.T) {
	c := newTestConfig()
	c.Temperatures, c.Networks = []string{"nvme_composite"}, []string{"eth0"}
	net := files{"proc/net/dev": "Inter-|   Receive\n face |bytes\n  eth0: 10 0 0 0 0 0 0 0 20 0\n    lo:1 0 0 0 0 0 0 0 2 0\n"}
	h := &fakeHost{files: piFiles.with(net)}
	d := open(t, c, h)
	h.files = h.files.without("proc/loadavg", "sys/class/thermal", "sys/class/hwmon").with(files{
		"proc/meminfo":   "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
		"proc/uptime":    "nan\n",
		"proc/diskstats": "8 0 sda 1 2 3 4 5 6 7\n",
		"proc/net/dev":   "lo: 1 0 0 0 0 0 0 0 2 0\n",
	})
	got := read(t, c, d)
	want := []string{
		"cpu_temp! read /sys/class/thermal/thermal_zone0/temp: file does not exist",
		"load1! read /proc/loadavg: file does not exist",
		"load5! read /proc/loadavg: file does not exist",
		"load15! read /proc/loadavg: file does not exist",
		"cpu_used 15 /100",
		`uptime! parse /proc/uptime: "nan" is no number`,
		"mem_total 1024000 B", "mem_available 256000 B", "mem_used 75 /100",
		"swap_total! the machine has it no longer", "swap_free! the machine has it no longer", "swap_used! the machine has it no longer",
		"disk_written! disk mmcblk0 is gone from /proc/diskstats",
		"undervoltage! the machine has it no longer",
	}
	want = append(want, plainReadings[12:]...)
	want = append(want, "temp_nvme_composite! read /sys/class/hwmon/hwmon3/temp1_input: file does not exist",
		"net_eth0_received! parse /proc/net/dev: no interface eth0; there are: lo",
		"net_eth0_sent! parse /proc/net/dev: no interface eth0; there are: lo")
	same(t, got, want...)

	// The chip comes back under another number.
	h.files = piFiles.with(net).without("sys/class/hwmon/hwmon3").with(files{
		"sys/class/hwmon/hwmon7/name": "nvme", "sys/class/hwmon/hwmon7/temp1_input": "33000", "sys/class/hwmon/hwmon7/temp1_label": "Composite",
	})
	got = read(t, c, d)
	same(t, []string{got[0], got[1], got[18], got[19], got[20]},
		"cpu_temp 48.312 Cel", "load1 0.2", "temp_nvme_composite 33 Cel", "net_eth0_received 10 B", "net_eth0_sent 20 B")
}

// TestWhatComesLater has a machine whose thermal driver is loaded after the gateway started, and whose swap is turned on then: it is reported
// from then on, and a fault when it is gone.
func TestWhatComesLater(t *testing.T) {
	c := newTestConfig()
	c.Disks, c.Disk = nil, ""
	early := plainFiles.without("proc/meminfo", "proc/diskstats").with(files{"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"})
	h := &fakeHost{files: early}
	d := open(t, c, h)
	wantTemp := func(want ...string) {
		t.Helper()
		var got []string
		for _, s := range read(t, c, d) {
			if strings.HasPrefix(s, "cpu_temp") || strings.HasPrefix(s, "swap_used") {
				got = append(got, s)
			}
		}
		same(t, got, want...)
	}
	wantTemp()
	h.files = early.with(files{
		"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "48312\n",
		"proc/meminfo": plainFiles["proc/meminfo"],
	})
	wantTemp("cpu_temp 48.312 Cel", "swap_used 25 /100")
	h.files = early
	wantTemp("cpu_temp! read /sys/class/thermal/thermal_zone0/temp: file does not exist", "swap_used! the machine has it no longer")
	wantTemp("cpu_temp! the machine has it no longer", "swap_used! the machine has it no longer")
}

func TestFilesThatCannotBeRead(t *testing.T) {
	c := newTestConfig()
	c.Disks, c.Disk = nil, ""
	h := &fakeHost{files: piFiles, broken: map[string]error{
		"proc/loadavg": syscall.EACCES, "sys/class/hwmon": syscall.EIO, "sys/class/thermal": syscall.EIO, "proc/meminfo": syscall.EACCES,
	}}
	same(t, read(t, c, open(t, c, h)),
		"cpu_temp! read /sys/class/thermal: input/output error",
		"load1! read /proc/loadavg: permission denied", "load5! read /proc/loadavg: permission denied", "load15! read /proc/loadavg: permission denied",
		"cpu_used 15 /100", "uptime 350735.47 s",
		"mem_total! read /proc/meminfo: permission denied", "mem_available! read /proc/meminfo: permission denied",
		"mem_used! read /proc/meminfo: permission denied", "swap_total! read /proc/meminfo: permission denied",
		"swap_free! read /proc/meminfo: permission denied", "swap_used! read /proc/meminfo: permission denied",
		"undervoltage! read /sys/class/hwmon: input/output error")

	delete(h.broken, "sys/class/thermal")
	h.broken["sys/class/hwmon/hwmon3"] = syscall.EIO
	delete(h.broken, "sys/class/hwmon")
	c.Temperatures = []string{"rp1_adc_temp1"}
	got := read(t, c, open(t, c, h))
	same(t, got[len(got)-1:], "temp_rp1_adc_temp1! read /sys/class/hwmon/hwmon3: input/output error")

	h = &fakeHost{files: plainFiles.with(files{"proc/loadavg": strings.Repeat("1", maxFile+1)})}
	same(t, read(t, c, open(t, c, h))[:1], "load1! read /proc/loadavg: longer than 1048576 bytes")
}

func TestNothingToReport(t *testing.T) {
	c := newTestConfig()
	c.Disks, c.Disk = nil, ""
	if _, err := c.Open(t.Context(), &fakeHost{}); err == nil ||
		err.Error() != "open machine: nothing to report is found: are /proc and /sys mounted?" {
		t.Fatal(err)
	}
	c.Disk = "x"
	if _, err := c.Open(t.Context(), &fakeHost{}); err == nil ||
		err.Error() != `open machine: disk: is no plain absolute path (got "x"); write it as in /var/lib` {
		t.Fatal(err)
	}
}

func TestEndOfContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, h := newTestConfig(), &fakeHost{files: plainFiles}
	d, err := c.Open(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := d.Read(ctx); !errors.Is(err, context.Canceled) || err.Error() != "read machine: context canceled" {
		t.Fatal(err)
	}
	if _, err := c.Open(ctx, h); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(t.Context()); !errors.Is(err, drivers.ErrGone) || err.Error() != "read machine: device is closed: gone" {
		t.Fatal(err)
	}
}

func TestFileSystems(t *testing.T) {
	c := newTestConfig()
	c.Disks = []string{"/data", "/", "/stale", "/not/there"}
	got := read(t, c, open(t, c, &fakeHost{files: plainFiles}))
	same(t, got[12:],
		"disk_data_total 9437184000 B", "disk_data_available 9437184000 B", "disk_data_used 0 /100",
		"disk_root_total 4096000 B", "disk_root_available 1433600 B", "disk_root_used 63.16 /100", "disk_root_inodes_used 25 /100",
		"disk_stale_total! statfs /stale: stale file handle", "disk_stale_available! statfs /stale: stale file handle",
		"disk_stale_used! statfs /stale: stale file handle", "disk_stale_inodes_used! statfs /stale: stale file handle",
		"disk_not_there_total! statfs /not/there: no such file or directory", "disk_not_there_available! statfs /not/there: no such file or directory",
		"disk_not_there_used! statfs /not/there: no such file or directory", "disk_not_there_inodes_used! statfs /not/there: no such file or directory")
}

func TestFillRefusesNonsense(t *testing.T) {
	for want, st := range map[string]unix.Statfs_t{
		"the file system has no size": {Blocks: 1},
		"the file system contradicts itself: 2 of 1 blocks of 512 bytes and 0 of 0 inodes free":                   {Bsize: 512, Blocks: 1, Bfree: 2},
		"the file system contradicts itself: 0 of 1 blocks of 512 bytes and 6 of 5 inodes free":                   {Bsize: 512, Blocks: 1, Files: 5, Ffree: 6},
		"the file system contradicts itself: 0 of 9223372036854775808 blocks of 512 bytes and 0 of 0 inodes free": {Bsize: 512, Blocks: 1 << 63},
	} {
		if got, err := fill(st); err == nil || err.Error() != want {
			t.Errorf("got %v %v, want %s", got, err, want)
		}
	}
}

func TestBytesWritten(t *testing.T) {
	lvm := files{
		"proc/diskstats":               "8 0 sda 0 0 0 0 0 0 4000 0\n8 3 sda3 0 0 0 0 0 0 3000 0\n253 0 dm-0 0 0 0 0 0 0 2000 0\n253 1 dm-1 0 0 0 0 0 0 1000 0\n9 0 md0 0 0 0 0 0 0 500 0\n",
		"sys/block/sda/sda3/partition": "3",
		"sys/block/dm-0/slaves/sda3/x": "",
		"sys/block/dm-0/dm/name":       "luks",
		"sys/block/dm-1/slaves/dm-0/x": "",
		"sys/block/dm-1/dm/name":       "vg-root",
		"sys/block/md0/slaves/sda3/x":  "",
		"sys/block/md0/slaves/sdb3/x":  "",
		"sys/block/loop/slaves/loop/x": "",
		"proc/self/mountinfo":          "",
	}
	mounts := func(s string) files { return files{"proc/self/mountinfo": s} }
	for name, tc := range map[string]struct {
		path         string
		major, minor uint32
		files        files
		want         string
	}{
		"partition":                   {"/", 179, 2, nil, "disk_written 512000 B"},
		"directory that is not there": {"/var/lib/tidegate", 179, 2, nil, "disk_written 512000 B"},
		"LVM on dm-crypt on one disk": {"/", 253, 1, lvm, "disk_written 2048000 B"},
		"RAID on two disks":           {"/", 9, 0, lvm, "disk_written 256000 B"},
		"btrfs on a partition":        {"/", 0, 30, lvm.with(mounts("1 0 0:29 /sub / rw - btrfs /dev/sda3 rw\n")), "disk_written 2048000 B"},
		"btrfs on LVM":                {"/", 0, 30, lvm.with(mounts("1 0 0:29 / / rw - btrfs /dev/mapper/vg-root rw\n")), "disk_written 2048000 B"},
		"root on tmpfs is left out":   {"/", 0, 30, mounts("1 0 0:30 / / rw - tmpfs tmpfs rw\n"), "disk_root_total 4096000 B"},
		"no /proc/diskstats":          {"/", 8, 0, files{"proc/diskstats": ""}, "disk_root_total 4096000 B"},
		"tmpfs by name": {
			"/run", 0, 21, mounts("1 0 179:2 / / rw - ext4 /dev/root rw\n2 1 0:21 / /run rw - tmpfs tmpfs rw\n"),
			"disk_written! find the disk of /run, which is on tmpfs (0:21): file does not exist",
		},
		"disk without a line":            {"/odd", 8, 99, nil, "disk_written! find the disk of /odd, which is on no disk (8:99): file does not exist"},
		"directory that is closed to us": {"/denied", 0, 0, nil, "disk_written! stat /denied: permission denied"},
		"mounts that make no sense":      {"/run", 0, 21, mounts("hello\n"), `disk_written! parse /proc/self/mountinfo: line "hello\n" is no mount`},
		"counters that make no sense": {
			"/", 8, 0,
			files{"proc/diskstats": "8 0 sda\n"},
			`disk_written! parse /proc/diskstats: line "8 0 sda\n" has 3 words, want 10 or more`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestConfig()
			c.Disk = tc.path
			if known := c.kernel.device; tc.path == "/" {
				c.kernel.device = func(string) (uint32, uint32, error) { return tc.major, tc.minor, nil }
			} else {
				c.kernel.device = known
			}
			got := read(t, c, open(t, c, &fakeHost{files: plainFiles.with(tc.files)}))
			same(t, got[11:12], tc.want)
		})
	}
}

func TestNoMountsFile(t *testing.T) {
	c := newTestConfig()
	c.Disk = "/run"
	got := read(t, c, open(t, c, &fakeHost{files: plainFiles.without("proc/self")}))
	same(t, got[11:12], "disk_written! read /proc/self/mountinfo: file does not exist")
}

func TestDiskLayersThatGoRoundInCircles(t *testing.T) {
	m := machine{FS: fstest.MapFS{"sys/block/a/slaves/b/x": {}, "sys/block/b/slaves/a/x": {}}}
	if name, err := m.wholeDisk("a"); err != nil || name != "a" {
		t.Fatalf("%s %v", name, err)
	}
	for _, dir := range []string{"sys/block", "sys/block/a/slaves"} {
		h := &fakeHost{files: files{"sys/block/a/slaves/b/x": ""}, broken: map[string]error{dir: syscall.EIO}}
		if _, err := (machine{FS: h}).wholeDisk("a"); err == nil || err.Error() != "read /"+dir+": input/output error" {
			t.Fatal(err)
		}
	}
}

func TestBytesWrittenNeverGoBack(t *testing.T) {
	c := newTestConfig()
	h := &fakeHost{files: plainFiles}
	d := open(t, c, h)
	for _, tc := range []struct {
		sectors uint64
		want    uint64
	}{
		{1000, 1000}, {1001, 1001}, {4294967000, 4294967000}, {4, 4294967300}, // wrapped round at 2^32
		{1, 4294967301}, // plugged in anew
		{1 << 40, 1<<40 + 4294967300}, {0, 1<<40 + 4294967300},
	} {
		h.files = plainFiles.with(files{"proc/diskstats": fmt.Sprintf("179 0 mmcblk0 1 2 3 4 5 6 %d 8\n", tc.sectors)})
		if got := read(t, c, d)[11]; got != fmt.Sprintf("disk_written %d B", tc.want*512) {
			t.Fatalf("%d sectors: got %s, want %d", tc.sectors, got, tc.want*512)
		}
	}
}

func TestProcessorTime(t *testing.T) {
	var b busy
	for _, tc := range []struct{ in, want string }{
		{"cpu  100 20 30 800 50 0 0 0 10 0", "15"},
		{"cpu  200 20 30 900 50 0 0 0 10 0", "50"},
		{"cpu  200 20 30 900 50 0 0 0 10 0", "50"}, // nothing has passed
		{"cpu  200 20 30 1000 49 0 0 0 10 0", "0"},
		{"cpu  200 20 30 999 49 1 0 0 0 0", "0"}, // idle went back
		{"cpu  300 20 30 999 49 1 0 0 0 0", "100"},
		{"cpu  300 20 30 1999 49", "0"},
	} {
		got, err := b.parse(tc.in + "\ncpu0 1\n")
		if err != nil || got[0].String() != tc.want {
			t.Errorf("%s: got %v %v, want %s", tc.in, got, err, tc.want)
		}
	}
}

func TestChannelsAreAllFound(t *testing.T) {
	for _, ch := range Driver.Channels {
		if got := fixed(ch.Name); got[0].Name != ch.Name {
			t.Errorf("got %s, want %s", got[0].Name, ch.Name)
		}
	}
}

func TestRealKernel(t *testing.T) {
	k := kernel{}.orReal()
	if _, err := k.statfs("/"); err != nil {
		t.Error(err)
	}
	if _, _, err := k.device("/"); err != nil {
		t.Error(err)
	}
	if _, _, err := k.device("/no/such/path"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
