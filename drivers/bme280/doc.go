// Package bme280 reads the barometers BME280 (with humidity), BMP280 and BMP180 of Bosch Sensortec on an I2C bus.
//
// # Sources
//
// BME280: data sheets BST-BME280-DS001-10, revision 1.1 (read-out in one burst: page 21; trimming values: page 22, table 16; registers and
// what they hold after a reset: page 25; time of a conversion: page 51), and BST-BME280-DS002-15, revision 1.6. BMP280:
// BST-BMP280-DS001-23, revision 1.23 (trimming values: page 21, table 17; status and ctrl_meas: page 25; compensation in floating point:
// page 44). BMP180: BST-BMP180-DS000-07, revision 2.3 (the whole calculation: page 15), and for what it has in common with its predecessor
// BST-BMP085-DS000-06, revision 1.3 (conversion times and calibration values: page 12).
//
// # Wiring
//
// 3.3 V; many boards have a regulator and take 5 V as well. SDO of the BME280 and BMP280 low is address 0x76, high is 0x77, open is
// either, and changes. CSB has to be high. The BMP180 is at 0x77, always.
//
// # Traps
//
//   - Boards sold as BME280 often bear a BMP280, which has no humidity. The identity tells: 0x60 against 0x58. It is asked for, and the
//     wrong part is an error, not a channel that is silently absent.
//   - A part that was not converted for, or was reset in between, holds 0x80000 (humidity: 0x8000), which compensates to values that look
//     good. That is a fault here, and the settings are read back with each result.
//   - Trimming values that are all zero or all ones compensate to numbers, too. They are refused.
//   - The formulas of the data sheets clamp humidity to 0 and 100 %, and return 0 Pa rather than divide by zero. Here what is outside of
//     the operating range, -40 to 85 Cel, 300 to 1100 hPa, 0 to 100 %RH, is a fault that says both numbers. In condensing air, the part
//     may thus report faults: its humidity is then not known.
//   - The part warms itself by a degree or so when it is read all the time: one conversion a Read, asleep in between.
//
// # Tried on
//
// Fakes of the parts, written from the data sheets, and periph's driver as the judge. Not on hardware.
//
// # Why periph's driver is not used
//
// periph.io/x/devices/v3/bmxx80 (v3.7.4) clamps humidity within its compensation and hands out neither raw nor trimming values, so what
// was clamped cannot be seen from outside. It reads H4 and H5 without their signs, polls the busy bit without an end (an absent part reads as busy for ever), sleeps without
// a ctx, compensates skipped conversions, takes any trimming values on a BME280, divides by zero with some on a BMP180, and drops what
// its errors wrap. Its formulas are the judge of ours in tests.
package bme280
