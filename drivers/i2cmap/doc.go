// Package i2cmap reads parts on an I2C bus whose registers are described in words: in the device's block, in a file, or in one of the maps
// that are built in (maps/*.yaml), each with the public document or source that it was written from.
//
// # What a map says
//
//   - identity: registers that have to read a certain value, whatever happens. They are asked for before anything is written.
//   - init: values that are written when the part is set up, and read back in the bits of a mask. These are real writes.
//   - settle: how long the part needs after that until its registers hold results.
//   - registers: one for each channel. The bytes from `at` on, in their order, become a number; `zero` are bits that have to be zero;
//     then it is shifted, cut to its bits, signed, scaled, offset, and compared with min and max. Nothing is clamped.
//
// Identity and init are compared again in each Read, so a part that was reset, or another one that was plugged in, is an error and not a
// value. A bus without a part reads as 0x00 or 0xff everywhere: a map needs a comparison that neither of them passes, or a checksum.
// A register whose bytes are all 0xff is a fault, unless the map says that this is a value (`ones`).
//
// # Tried on
//
// tmp105 and tmp421: the parts that qemu 7.2 emulates, behind /dev/i2c-1 of a Debian 12 kernel for ARM (23.5, 85.25 and -12.75 Cel set from
// outside and read; the adapter taken away and back). mcp9808 and sht4x: fakes written from their documents only.
//
// # What it does not do
//
// No arithmetic beyond scale and offset, no values spread over registers that are not read together, no bank switching, no waiting for
// a ready bit. Such parts want a driver.
package i2cmap
