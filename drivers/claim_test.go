package drivers_test

import (
	"fmt"
	"testing"

	"github.com/tidegate-io/tidegate/drivers"
)

func TestClaims(t *testing.T) {
	i2c := func(bus, address string) string {
		claims := drivers.ClaimI2C(bus, address)
		if len(claims) != 1 {
			return fmt.Sprint(claims)
		}
		return claims[0].Field + ": " + claims[0].What
	}
	line := func(name string) string {
		c := drivers.ClaimLine("lines[3].line", name)
		return c.Field + ": " + c.What
	}
	for _, c := range []struct{ got, want string }{
		{i2c("1", "0x76"), "address: address 0x76 on I2C bus 1"},
		{i2c("I2C1", "0x76"), "address: address 0x76 on I2C bus 1"},
		{i2c("/dev/i2c-1", "0x76"), "address: address 0x76 on I2C bus 1"},
		{i2c("11", "0x4A"), "address: address 0x4a on I2C bus 11"},
		{i2c("", "0x4a"), "address: address 0x4a on the first I2C bus"},
		{i2c("1", "76"), "[]"},
		{line("GPIO17"), "lines[3].line: GPIO line GPIO17"},
		{line("gpiochip0:17"), "lines[3].line: GPIO line gpiochip0:17"},
		{line("gpiochip0:017"), "lines[3].line: GPIO line gpiochip0:17"},
		{line("a:b"), "lines[3].line: GPIO line a:b"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// Where a part or line is found without asking the machine, its node is told; else all that it may be.
func TestNodesOfClaims(t *testing.T) {
	i2c := func(bus string) string { return drivers.ClaimI2C(bus, "0x76")[0].Node }
	line := func(name string) string { return drivers.ClaimLine("line", name).Node }
	for _, c := range []struct{ got, want string }{
		{i2c("1"), "/dev/i2c-1"},
		{i2c("I2C1"), "/dev/i2c-1"},
		{i2c("/dev/i2c-11"), "/dev/i2c-11"},
		{i2c(""), "/dev/i2c-*"},
		{i2c("../mem"), "/dev/i2c-*"},
		{i2c("-1"), "/dev/i2c-*"},
		{line("GPIO17"), "/dev/gpiochip*"},
		{line("gpiochip0:17"), "/dev/gpiochip0"},
		{line("/dev/gpiochip2:5"), "/dev/gpiochip2"},
		{line("pinctrl-bcm2711:17"), "/dev/gpiochip*"},
		{line("0:17"), "/dev/gpiochip*"},
		{line("gpiochip../mem:17"), "/dev/gpiochip*"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
