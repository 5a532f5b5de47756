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
