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
	Node  string // device node below /dev that it is reached by; /dev/i2c-* where only the machine knows which; "" = none
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
	name, node := "the first I2C bus", "/dev/i2c-*"
	if bus != "" {
		number := strings.TrimPrefix(strings.TrimPrefix(bus, "/dev/i2c-"), "I2C")
		name = "I2C bus " + number
		if _, err := strconv.ParseUint(number, 10, 20); err == nil {
			node = "/dev/i2c-" + number
		}
	}
	return []Claim{{
		What: fmt.Sprintf("address 0x%02x on %s", n, name), Node: node, Field: "address",
		Hint: "read a part by one device; a second part needs an address of its own, by its address pins, or another bus",
	}}
}

// ClaimLine returns the claim of a GPIO line by its name or as chip:line, which the setting at field says. Whether a line with a name is the
// same as one told by its chip only the machine knows.
func ClaimLine(field, line string) Claim {
	node := "/dev/gpiochip*"
	if i := strings.LastIndexByte(line, ':'); i >= 0 {
		if n, err := strconv.Atoi(line[i+1:]); err == nil {
			line = fmt.Sprintf("%s:%d", line[:i], n)
		}
		// what is not called gpiochipN is a chip's label, or may be
		chip := strings.TrimPrefix(line[:i], "/dev/")
		if _, err := strconv.ParseUint(strings.TrimPrefix(chip, "gpiochip"), 10, 20); err == nil && strings.HasPrefix(chip, "gpiochip") {
			node = "/dev/" + chip
		}
	}
	return Claim{What: "GPIO line " + line, Node: node, Field: field, Hint: "a line has one user: name each line in one device only"}
}

// HintSandbox is what to do where a device may not be opened although its mode lets us (EPERM): the service is allowed only the devices that
// the configuration named when its list was written.
const HintSandbox = "the service's sandbox does not let it to this device; as root: tidegate devices --write, then systemctl daemon-reload, " +
	"systemctl restart tidegate"
