package drivers

import (
	"fmt"
	"strconv"
	"strings"
)

// A Claimer is a Config that says what its device takes for itself, so that two devices on one part or line are found before they are
// opened. Ports are told by PortUser.
type Claimer interface {
	// Claims returns what the device takes. It is called on valid configurations, and touches no hardware.
	Claims() []Claim
}

// A Claim is a part or a line that a device takes for itself. Claims of the same What are in each other's way, whatever their drivers.
type Claim struct {
	What  string // for the technician, and the same text for the same thing: see ClaimI2C, ClaimLine
	For   string // devices that take it for the same are in nobody's way: the port whose direction a line turns; "" = nobody shares it
	Field string // path of the key within the block that says it, as in FieldError
	Hint  string // what to do where another device has it already
}

// ClaimI2C returns the claim of the part at address, as the settings `bus` and `address` say. A bus has several names (1, I2C1, /dev/i2c-1),
// which count as one; which number the first bus has ("") only the machine knows.
func ClaimI2C(bus, address string) []Claim {
	n, err := ParseI2CAddress(address)
	if err != nil {
		return nil // Validate says so
	}
	name := "the first I2C bus"
	if bus != "" {
		name = "I2C bus " + strings.TrimPrefix(strings.TrimPrefix(bus, "/dev/i2c-"), "I2C")
	}
	return []Claim{{
		What: fmt.Sprintf("address 0x%02x on %s", n, name), Field: "address",
		Hint: "read a part by one device; a second part needs an address of its own, by its address pins, or another bus",
	}}
}

// ClaimLine returns the claim of a GPIO line by its name or as chip:line, which the setting at field says. Whether a line with a name is the
// same as one told by its chip only the machine knows.
func ClaimLine(field, line string) Claim {
	if i := strings.LastIndexByte(line, ':'); i >= 0 {
		if n, err := strconv.Atoi(line[i+1:]); err == nil {
			line = fmt.Sprintf("%s:%d", line[:i], n)
		}
	}
	return Claim{What: "GPIO line " + line, Field: field, Hint: "a line has one user: name each line in one device only"}
}
