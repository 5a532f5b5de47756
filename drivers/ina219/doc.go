// Package ina219 reads voltage, current and power with the INA219 of Texas Instruments on an I2C bus.
//
// # Source
//
// SBOS448G, December 2015 (0 to 26 V: section 8.1; bus voltage: page 23), and SBOS448F, September 2011 (configuration: pages 26 and 27;
// what the registers hold after a reset: page 25; bus voltage: page 30).
//
// # Wiring
//
// The shunt lies in the plus line: VIN+ to the supply, VIN- to the load. Voltage is that of VIN- against ground, 0 to 26 V. Address by the
// pins A1 and A0, 0x40 (both to ground) to 0x4f. Most boards bear a shunt of 0.1 Ohm, marked R100, for 3.2 A: above that the result
// is at its end, which is a fault.
//
// # Traps
//
//   - The part computes current and power only after a calibration register was written. After a dip of its supply that register is zero,
//     and both read zero without an error. Here they are computed from the two voltages instead, and nothing is written but the
//     configuration, which is read back with each result: a part that was reset is seen, and set up again.
//   - Results that are read too early are those of before. Here each Read starts a conversion and asks whether it is done (CNVR).
//   - The overflow flag (OVF) is that of the part's own computing, which is not used; the ends of the range are looked for instead.
//   - There is no identity. `scan` can only say that an INA219 may be at the address.
//
// # Tried on
//
// Fakes of the part, written from the data sheets, and periph's driver as the judge. Not on hardware.
//
// # Why periph's driver is not used
//
// periph.io/x/devices/v3/ina219 (v3.7.4) writes 0x1fff into the configuration, and so the range of 16 V: what is above reads as 16 V. It
// does not notice a lost calibration, nor the end of the shunt's range, and its errors drop their causes, so that nobody learns that the
// adapter is gone. It serves as the judge in tests.
package ina219
