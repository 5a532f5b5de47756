// Package gpio reads and drives lines of GPIO chips through the kernel's character device: levels, edges with the kernel's stamp,
// pulse counters that go on over restarts, frequencies, and outputs with a safe state. One device is up to 32 lines, of one chip or
// several.
//
// # Which line
//
// Lines go by the name that gpioinfo shows, for instance GPIO17: names stay, while the numbers of chips are given out at each start
// and differ between boards (the header of a Raspberry Pi 5 has been gpiochip4 and gpiochip0; a USB expander moves them too). GPIO17
// is line 17 of the header on every Raspberry Pi, the 5 included. Where its own name is another (a Pi 3 calls GPIO4 GPIO_GCLK, and
// GPIO2 SDA1), GPIO0 to GPIO27 are found all the same, by number on the chip pinctrl-bcm2835, pinctrl-bcm2711 or pinctrl-rp1. A line
// without a name is chip:line, with the chip's name or, better, its label: gpiochip2:5, pinctrl-rp1:17.
//
// A Pi's overlays take lines away: dtparam=i2c_arm=on has GPIO2 and 3, dtparam=spi=on 7 to 11, enable_uart=1 14 and 15,
// dtoverlay=w1-gpio GPIO4 unless it says another. A line that is used so is refused, or does nothing; take the overlay out of
// /boot/firmware/config.txt and reboot.
//
// Lines bear 3.3 V (Raspberry Pi: not 5 V, and a few mA out). 24 V, long wires and relays want an optocoupler or a driver between.
//
// # Lines as they are usually set
//
//	contact to ground (door, float, push button)  {mode: edge, pull: up, active_low: true, debounce: 20ms}
//	S0 output of a meter (open collector)         {mode: counter, pull: up, active_low: true, debounce: 5ms, most: 30, per_unit: 1000, unit: kWh}
//	reed contact of a water meter, 10 l a pulse   {mode: counter, pull: up, active_low: true, debounce: 50ms, most: 5, per_unit: 100, unit: m3}
//	flow meter, anemometer (push-pull)            {mode: frequency}
//	relay board that pulls in at low              {mode: output, active_low: true, safe: off}
//
// A debounce must be shorter than the pulse: the meter's manual says how long that is (S0 outputs: some 30 ms). "On" is the level
// high, or low with active_low; "rising" is the change to on.
//
// # When things are reported
//
// Read waits, so the device has no interval `every`: a change of a line of mode edge is reported at once, so that rules act on it
// within milliseconds, with the time of the change. Everything else is reported each `report`, 1s, and the level of the edge lines
// too: rules take the time from readings, and "open for 5 minutes" needs some. If Read came by a schedule, a short interval would be
// needed for the sake of the edges, which would report all levels and totals as often; and the kernel, which keeps 1,024 edges of a
// line, would drop those of a fast counter in between. Edges that come within 10 ms of the last look are taken together, so lines
// that chatter at 100 kHz cost a hundred looks a second and not a hundred thousand. What the kernel itself spends on an interrupt
// for each, nothing here can spare it: a chattering line wants a capacitor. A chip that was removed is noticed at once, or, with
// kernels that do not tell those who wait, at the next report.
//
// The time of a change is the kernel's stamp (CLOCK_MONOTONIC, taken in its interrupt; with a debounce, when the level had stayed
// for so long), told in wall time when the edge is taken. When the wall clock was set in between, the change is told by the new one,
// as the gateway's other readings are. A stamp that cannot be of that clock is not used: the reading gets the time of the Read.
//
// # Counting
//
// A counter adds up edges and keeps its total over restarts. Total = start + edges / per_unit.
//
//   - Edges while the gateway is down, restarts or opens the line anew are seen by nobody, and nothing tells how many there were.
//     Compare with the meter's own register now and then. To put a total right, set `start` to what the meter shows: another start
//     begins to count anew.
//   - The total is kept once a second while it changes, before it is reported, and at the end. A kill costs the edges of the last
//     second at most, a power cut those of the last minute; a total never goes back behind one that was reported but by a power cut,
//     or after a fault that said so.
//   - The kernel numbers the edges of a line. When it dropped some (more than 1,024 while nobody looked), the numbers tell how many:
//     they are in the total, and a fault of the channel says so. What the interrupt itself does not see (pulses closer together
//     than the processor answers, or shorter than the debounce) nobody counts.
//   - More than `most` edges within a second are a fault and not a total: a contact that bounces, a wire that picks up noise. They
//     are in the total that follows.
//   - While what was kept cannot be read, the total is a fault that says how much was counted meanwhile; nothing is kept then, so
//     that the old total is not lost.
//
// # Outputs
//
// An output is never read back: some kernel drivers turn it into an input then. What is reported is what was set last. To know
// whether a relay has really switched, wire a contact of it to an input.
//
// With `safe` the line goes to that level when it is opened, when the gateway stops, and by `tidegate safe` after it was killed.
// Without, it is left as it is until it is set, and as it is at the end; before it is set, its level is not known. How a line
// stands once nobody has it is the board's affair: Raspberry Pi OS keeps the level, unless dtparam=strict_gpiod (or
// pinctrl_bcm2835.persist_gpio_outputs=n) makes it an input, as the mainline kernel does. At power-on lines are inputs. So choose
// the relay's resting position, or a resistor, such that an input is safe: no software helps a machine without power.
//
// # Sources
//
// Linux, drivers/gpio/gpiolib-cdev.c (queue of 1,024 and its overflow, numbers, stamps, debounce); bcm2710-rpi-3-b.dts and
// bcm2711-rpi-4-b.dts of Raspberry Pi's kernel (names of lines); Raspberry Pi documentation, "GPIO" (levels after a program ended).
package gpio
