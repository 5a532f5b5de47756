package system

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// ofProcessor are the names under which machines show the temperature of their processor, the best first.
var ofProcessor = []string{
	"cpu_thermal", "x86_pkg_temp", "coretemp_package_id_0", "k10temp_tctl", "soc_thermal", "cpu0_thermal", "cpu_0_thermal",
}

func temperatureChannel(name string) drivers.Channel {
	return drivers.Channel{Name: "temp_" + name, Kind: tidegate.KindFloat, Unit: "Cel", Meaning: "temperature " + name}
}

// temperatures returns the files of all temperatures, by names that last: the type of a thermal zone (Documentation/driver-api/thermal),
// or chip and label of a hwmon temperature (Documentation/hwmon/sysfs-interface.rst), in plain words; _2, _3 tell doubles apart.
func (m machine) temperatures() (map[string]string, error) {
	out := map[string]string{}
	add := func(name, file string) {
		if name == "" {
			return // nothing to tell it by
		}
		unique := name
		for i := 2; out[unique] != ""; i++ {
			unique = fmt.Sprintf("%s_%d", name, i)
		}
		out[unique] = file
	}
	zones, err := m.names("sys/class/thermal")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(zones, byNumber)
	for _, zone := range zones {
		dir := path.Join("sys/class/thermal", zone)
		if !strings.HasPrefix(zone, "thermal_zone") || !m.exists(path.Join(dir, "temp")) {
			continue
		}
		kind, err := m.line(path.Join(dir, "type"))
		if err != nil {
			continue
		}
		add(plain(kind), path.Join(dir, "temp"))
	}
	isZone := maps.Clone(out) // the kernel shows thermal zones as hwmon chips of the same name, too
	chips, err := m.names("sys/class/hwmon")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(chips, byNumber)
	for _, chip := range chips {
		dir := path.Join("sys/class/hwmon", chip)
		name, err := m.line(path.Join(dir, "name"))
		if err != nil || isZone[plain(name)] != "" {
			continue
		}
		files, err := m.names(dir)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(files, byNumber)
		for _, file := range files {
			which, ok := strings.CutSuffix(file, "_input")
			if !ok || !strings.HasPrefix(which, "temp") {
				continue
			}
			label, err := m.line(path.Join(dir, which+"_label"))
			if err != nil {
				label = which
			}
			add(plain(name+" "+label), path.Join(dir, file))
		}
	}
	return out, nil
}

// byNumber compares names by length first, so that zone10 comes after zone9.
func byNumber(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// processor returns the temperature of the processor.
func (m machine) processor() part {
	p := m.thermometer(func(all map[string]string) string {
		names := slices.Sorted(maps.Keys(all))
		for _, name := range ofProcessor {
			if all[name] != "" {
				return name
			}
		}
		for _, word := range []string{"cpu", "soc", "core"} {
			if i := slices.IndexFunc(names, func(s string) bool { return strings.Contains(s, word) }); i >= 0 {
				return names[i]
			}
		}
		for _, name := range names {
			if strings.Contains(all[name], "thermal_zone") {
				return name
			}
		}
		return ""
	})
	p.channels = fixed("cpu_temp")
	return p
}

// temperature returns the one called name.
func (m machine) temperature(name string) part {
	p := m.thermometer(func(map[string]string) string { return name })
	p.channels, p.wanted = []drivers.Channel{temperatureChannel(name)}, true
	return p
}

// thermometer returns the temperature that choose chooses by name; "" = there is none. The kernel's running numbers may change when a chip
// goes and comes, so the file is looked for anew whenever it is not there.
func (m machine) thermometer(choose func(map[string]string) string) part {
	file := ""
	return part{read: func() ([]tidegate.Value, error) {
		if file == "" {
			all, err := m.temperatures()
			if err != nil {
				return nil, err
			}
			name := choose(all)
			if name == "" {
				return []tidegate.Value{{}}, nil
			}
			if file = all[name]; file == "" {
				return nil, fmt.Errorf("no temperature %s; there are: %.300s", name, cmp.Or(strings.Join(slices.Sorted(maps.Keys(all)), ", "), "none found"))
			}
		}
		text, err := m.text(file)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				file = ""
			}
			return nil, err
		}
		v, err := parseMillidegrees(text)
		if err != nil {
			return nil, fmt.Errorf("parse /%s: %w", file, err)
		}
		return []tidegate.Value{tidegate.Float(v)}, nil
	}}
}
