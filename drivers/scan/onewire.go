package scan

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// A OneWire is a part on a 1-Wire bus, as the kernel lists it.
type OneWire struct {
	ID    string `json:"id"`              // "28-0123456789ab"
	Part  string `json:"part,omitempty"`  // by its family; "" = not known
	Block string `json:"block,omitempty"` // for the configuration
}

// families are the parts by the family code that their id begins with (Analog Devices application note 155).
func families() map[string]string {
	return map[string]string{
		"10": "DS18S20, a thermometer", "22": "DS1822, a thermometer", "28": "DS18B20, a thermometer", "3b": "DS1825 or MAX31850, a thermometer",
		"42": "DS28EA00, a thermometer", "01": "DS1990A, a number", "26": "DS2438, a battery monitor", "29": "DS2408, eight outputs", "3a": "DS2413, two outputs",
	}
}

// oneWire lists the parts that the kernel has found. It looks for them by itself, every ten seconds.
func (m *Machine) oneWire() []OneWire {
	names, _ := fs.Glob(m.Host.Files(), "sys/bus/w1/devices/*-*") // its one error is of the pattern
	var out []OneWire
	thermometers := 0
	for _, name := range names {
		w := OneWire{ID: path.Base(name)}
		family, _, _ := strings.Cut(w.ID, "-")
		w.Part = families()[family]
		if strings.HasSuffix(w.Part, "a thermometer") && m.has("ds18b20") {
			thermometers++
			w.Block = block(fmt.Sprintf("temp%d", thermometers), "ds18b20",
				[2]string{"parts", fmt.Sprintf("[{channel: temp, id: %s}]", w.ID)})
		}
		out = append(out, w)
	}
	return out
}

// has reports whether there is a driver of that name.
func (m *Machine) has(name string) bool {
	for _, d := range m.Drivers {
		if d.Name == name {
			return true
		}
	}
	return false
}
