package board

import (
	"context"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board/gpioline"
)

// Pin requests the GPIO line by name ("GPIO17") or as chip:line ("gpiochip0:17", or by the chip's label "pinctrl-rp1:17"). GPIO0 to GPIO27
// are found on a Raspberry Pi even where its lines bear other names. The line is given back when ctx is done or the Pin is closed.
func (h *Host) Pin(ctx context.Context, line string, c drivers.PinConfig) (drivers.Pin, error) {
	p, err := gpioline.Request(ctx, line, c)
	if err != nil {
		return nil, err
	}
	return p, nil
}
