// Package ads1x15 reads voltages with the converters ADS1115 (16 bits) and ADS1015 (12 bits) of Texas Instruments on an I2C bus.
//
// # Sources
//
// SBAS444E, ADS1113, ADS1114 and ADS1115, December 2024: the Config register with its input multiplexer, ranges, rates and the bit OS.
// Conversion register and rates of the ADS1015: Linux, drivers/iio/adc/ti-ads1015.c, commit 0ca269a4ae3982845a7ff97b8feaaf3562ac1c8d,
// which also reckons with an internal clock that is 10 % off.
//
// # Wiring
//
// Address by the pin ADDR: to ground 0x48, to the supply 0x49, to SDA 0x4a, to SCL 0x4b. An input must not go below ground or above the
// supply, whatever its range is: with 3.3 V the ranges of 6.144 and 4.096 V end at 3.3 V. Unconnected inputs float and read as anything.
//
// # Traps
//
//   - There is one converter for all inputs. Its register keeps the last result, of whatever input: who reads it too early has the value
//     of another input. Here a result is used only if the Config register reads back as it was written and says that the conversion is
//     done.
//   - A value at the end of the range is not that voltage but at least that: 0x7fff and 0x8000 are faults.
//   - An ADS1015 has the low four bits zero. Where they are not, the part is an ADS1115 whatever is printed on it, converted at another
//     rate: a fault. The other way round cannot be told.
//   - Neither has an identity. `scan` can only say that one of them may be at the address; a TMP105 and many others live there as well.
//
// # Tried on
//
// Fakes of the converters, written from the data sheets, and periph's driver as the judge. Not on hardware.
//
// # Why periph's driver is not used
//
// periph.io/x/devices/v3/ads1x15 (v3.7.4) waits for exactly one period of the nominal rate, although the clock may be slower, and does
// not ask whether the conversion is done: with several inputs it then returns the value of another one. It does not tell the ends of
// the range from values and sleeps without a ctx. It serves as the judge in tests.
package ads1x15
