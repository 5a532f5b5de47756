// Package hil runs the gateway's own program on emulated ARM boards, on Debian's own kernels: lines and chips are driven from outside, and what
// arrives at a broker on this machine is compared. `make hil` fetches the kernels and runs it.
//
//	board  ast2600-evb, 32-bit ARM: GPIO with interrupts, I2C with a thermometer, a UART
//	virt   virt, 64-bit ARM: PL061 GPIO without names, a USB serial adapter that is pulled and plugged
//
// No bus has real time here (baud rates, clocks of I2C), no pull resistors, nothing analogue. There is no BME280 and no ADS1115 in qemu: these are
// simulated register by register behind a fake bus, in their drivers' own tests.
package hil
