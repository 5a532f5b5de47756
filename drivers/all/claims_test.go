package all

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/tidegate-io/tidegate/drivers"
)

// TestClaims has what each driver's device takes for itself, and the setting that says so.
func TestClaims(t *testing.T) {
	want := map[string]string{
		"ads1x15":    "address: address 0x48 on I2C bus 1",
		"bme280":     "address: address 0x76 on I2C bus 1",
		"ds18b20":    "parts[0].id: 1-Wire part 28-0316a2795bff\nparts[1].id: 1-Wire part 28-0417c1b3aeff",
		"external":   "",
		"gpio":       "lines[0].line: GPIO line GPIO17\nlines[1].line: GPIO line GPIO27\nlines[2].line: GPIO line GPIO22\nlines[3].line: GPIO line GPIO23\nlines[4].line: GPIO line GPIO24",
		"i2cmap":     "address: address 0x48 on I2C bus 1",
		"ina219":     "address: address 0x40 on I2C bus 1",
		"modbus":     "address: GPIO line GPIO17 for /dev/ttyUSB0",
		"nmea":       "",
		"pms5003":    "",
		"serialtext": "",
		"sim":        "",
		"system":     "",
	}
	for _, d := range Drivers() {
		of, ok := want[d.Name]
		if !ok {
			t.Errorf("driver %s has no row here: add what its device takes for itself", d.Name)
			continue
		}
		c := d.New()
		f, err := parser.ParseBytes([]byte(strings.Replace(d.Sample, "parity=even", "rs485=GPIO17", 1)), 0)
		if err != nil {
			t.Fatalf("driver %s: %v", d.Name, err)
		}
		block := f.Docs[0].Body
		if list, ok := block.(*ast.SequenceNode); ok {
			block = list.Values[0]
		}
		if err := yaml.NodeToValue(block, c); err != nil {
			t.Fatalf("driver %s: %v", d.Name, err)
		}
		if bad := c.Validate(); len(bad) > 0 {
			t.Errorf("driver %s: %v", d.Name, bad)
		}
		var got []string
		if user, ok := c.(drivers.Claimer); ok {
			for _, claim := range user.Claims() {
				text := fmt.Sprintf("%s: %s for %s", claim.Field, claim.What, claim.For)
				got = append(got, strings.TrimSuffix(text, " for "))
			}
		}
		if strings.Join(got, "\n") != of {
			t.Errorf("driver %s takes\n%s, want\n%s", d.Name, strings.Join(got, "\n"), of)
		}
	}
}
