// Package ds18b20 reads 1-Wire temperature parts through the kernel's driver w1_therm: DS18B20 and MAX31820 (family 28), DS18S20 (10), DS1822
// (22), DS1825 (3b), DS28EA00 (42). Tested are texts of families 28 and 10 as such parts give them; for the others the kernel writes the same.
//
// Wiring: DQ to the GPIO line of the kernel's bus (GPIO4 on a Raspberry Pi with dtoverlay=w1-gpio in /boot/firmware/config.txt), a resistor of
// 4.7 kOhm from DQ to 3.3 V, VDD to 3.3 V, GND. On two wires (parasite power, VDD to GND) a part draws up to 1.5 mA from DQ while it measures,
// which that resistor does not give: long cables and heat then bring 85.0 and 127.9. Three wires are worth it.
//
// The files are those of Linux, Documentation/w1/slaves/w1_therm.rst and drivers/w1/slaves/w1_therm.c: reading w1_slave starts a measurement,
// waits for it (750 ms at 12 bits, up to five tries), and gives the nine bytes of the part's memory with the kernel's verdict on their
// checksum. It is read because the newer file `temperature` has the number without the verdict. Nothing is ever written, so the resolution
// stays as it is; parts are read one after another.
//
// Not through Host.OneWire: the kernel's netlink interface, which that has, needs root, and works behind the back of w1_therm, which
// talks to the same parts.
//
// Traps (DS18B20 data sheet, Maxim, REV 042208, "Features" and "Memory"; w1_therm.rst, last paragraph; w1_therm.c as of Linux commit
// 021da53e65fd):
//
//   - 85.0 is in the part's memory at power-up and stays there when a measurement fails: it looks like a temperature, checksum included. It is a
//     fault, unless the reading before was within 2 degrees of it; then the error cannot be more than that. After ten such in a row it is
//     a fault again.
//   - 127.9375 is a measurement that ran out of power; -127 is what other programs make of a part that is gone. Both are outside -55 to 125.
//   - Nine zero bytes have a right checksum: a shorted data line reads as 0.0 degrees, and the kernel says YES.
//   - With CRC=NO the second line of the file has the last good bytes: only the first is looked at.
//   - Where older kernels say NO, today's try five times and then give an empty file, and no error; so they do for a part that does not answer.
//   - Clones exist that need longer than 750 ms, or have the resolution fixed. They show as 85.0.
package ds18b20
