package gpioline

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// named returns a chip of n lines, some of which have names.
func named(name, label string, n int, names map[int]string) chip {
	c := chip{name: name, label: label, lines: make([]string, n)}
	for i, s := range names {
		c.lines[i] = s
	}
	return c
}

func TestFind(t *testing.T) {
	pi5 := []chip{
		named("gpiochip10", "gpio-brcmstb@107d508500", 32, map[int]string{0: "-", 1: "2712_BOOT_CS_N", 2: "-"}),
		named("gpiochip4", "pinctrl-rp1", 54, map[int]string{0: "ID_SDA", 4: "GPIO4", 17: "GPIO17"}),
		named("gpiochip5", "mcp2221_gpio", 4, nil),
	}
	pi3 := []chip{named("gpiochip0", "pinctrl-bcm2835", 54, map[int]string{2: "SDA1", 4: "GPIO_GCLK", 17: "GPIO17"})}
	board := []chip{
		named("gpiochip0", "1e780000.gpio", 208, map[int]string{8: "GPIO0", 25: "GPIO17"}),
		named("gpiochip1", "twin", 2, map[int]string{0: "X"}), named("gpiochip2", "twin", 2, map[int]string{1: "X"}),
	}
	for _, tt := range []struct {
		list       []chip
		name, want string
	}{
		{pi5, "GPIO17", "gpiochip4 17 <nil>"},
		{pi3, "GPIO17", "gpiochip0 17 <nil>"},
		{board, "GPIO17", "gpiochip0 25 <nil>"},
		{pi3, "GPIO4", "gpiochip0 4 <nil>"}, // bears another name
		{pi3, "GPIO_GCLK", "gpiochip0 4 <nil>"},
		{pi5, "GPIO0", "gpiochip4 0 <nil>"},
		{pi5, "pinctrl-rp1:17", "gpiochip4 17 <nil>"},
		{pi5, "gpiochip5:3", "gpiochip5 3 <nil>"},
		{pi5, "/dev/gpiochip5:3", "gpiochip5 3 <nil>"},
		{pi5, "gpiochip5:4", " 0 line 4 is not there: gpiochip5 has 4 lines, from 0"},
		{pi3, "gpiochip4:17", " 0 there is no chip gpiochip4; there is gpiochip0 (pinctrl-bcm2835, 54 lines)"},
		{board, "twin:0", " 0 2 chips are called twin: gpiochip1 (twin, 2 lines), gpiochip2 (twin, 2 lines); say which of them"},
		{board, "X", " 0 2 lines have this name: gpiochip1:0, gpiochip2:1; say which of them"},
		{pi3, "GPIO28", " 0 no line has this name on gpiochip0 (pinctrl-bcm2835, 54 lines); see gpioinfo for the names, or give chip:line for a line without one"},
		{pi3, "GPIO04", " 0 no line has this name on gpiochip0 (pinctrl-bcm2835, 54 lines); see gpioinfo for the names, or give chip:line for a line without one"},
		{pi3, "", " 0 no line has this name on gpiochip0 (pinctrl-bcm2835, 54 lines); see gpioinfo for the names, or give chip:line for a line without one"},
		{pi3, "gpiochip0:", " 0 want a name such as GPIO17 or chip:line such as gpiochip0:17"},
		{pi3, "gpiochip0:-1", " 0 want a name such as GPIO17 or chip:line such as gpiochip0:17"},
		{pi3, ":4", " 0 want a name such as GPIO17 or chip:line such as gpiochip0:17"},
		{nil, "GPIO17", " 0 this machine shows no GPIO chip"},
	} {
		c, offset, err := find(tt.name, tt.list)
		if got := fmt.Sprint(c.name, " ", offset, " ", err); got != tt.want {
			t.Errorf("%s\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
	if _, _, err := find("GPIO4", board); err == nil {
		t.Error("GPIO4 is found by number on a board that is no Raspberry Pi")
	}
}

func TestExplain(t *testing.T) {
	for err, want := range map[error]string{
		unix.EBUSY:  "line is in use by another program or the kernel: device or resource busy",
		unix.EINVAL: "the board uses this line for something else (an overlay, a bus), or it cannot do what is asked (pull, edges, debounce): invalid argument",
		unix.ENXIO:  "the chip has no interrupt for this line, so that it sees no edges: no such device or address",
		unix.EACCES: "permission denied; put the gateway's user into the group: sudo usermod -aG gpio USER",
		unix.EPERM:  "operation not permitted; " + drivers.HintSandbox,
		unix.EIO:    "input/output error",
	} {
		if got := explain("gpiochip97", 3, err); got.Error() != want || !errors.Is(got, err) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	for consumer, want := range map[string]string{
		"": "another program or the kernel", "spi0 CS0": `"spi0 CS0"`, "tidegate": "a gateway, perhaps this one: give each line to one device only",
	} {
		if got := called(consumer); got != want {
			t.Errorf("%s: got %s, want %s", consumer, got, want)
		}
	}
}

// TestRequestWithoutChip asks the machine that the tests run on, for a line that none has.
func TestRequestWithoutChip(t *testing.T) {
	if _, err := Request(t.Context(), "NO-SUCH-LINE", drivers.PinConfig{}); err == nil {
		t.Error("there is such a line")
	}
}
