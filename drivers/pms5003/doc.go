// Package pms5003 reads Plantower's laser particle counters PMS5003, PMS7003 and PMSA003, which send a frame of 32 bytes by themselves
// (active mode, as after power-up): every 2.3 s while the air stays the same, every 200 to 800 ms while it changes.
//
// Wiring: 5 V for the fan, but 3.3 V on the serial lines, which do not stand 5 V. VCC pin 1, GND pin 2, TX pin 5 to the gateway's RX; SET and
// RESET stay open. 9600 8N1. This driver never writes to the part.
//
// A frame (PMS5003 series data manual V2.3, 2016-06-01, appendix I, as published with Adafruit 3686): 42 4d, the length of the rest (28), 13
// words, the sum of the 30 bytes before; all of them big endian. Words 1 to 3 are the mass for factories ("CF=1"), 4 to 6 that for outdoor
// air, which is what is reported; 7 to 12 are counts of particles beyond a diameter in 0.1 l of air. Word 13 is reserved there; later manuals
// of the series have the firmware's version in its upper and an error code in its lower byte (so does ESPHome, pmsx003.cpp, for the PMS1003).
//
// Traps:
//
//   - The parts' own cousins send frames that look the same. A PMS5003T has temperature and humidity in words 11 and 12, a PMS5003S
//     formaldehyde in word 13, Honeywell's HPM nothing in words 4 to 12. The first and the last are told by what cannot be: more large
//     particles than small ones, mass by one measure and none by the other.
//   - In the first 30 s after power-up and after sleep the fan has not settled; the frames look like any other. The gateway is not told
//     when that was.
//   - The sum does not see two bytes that changed places; that the counts must fall helps a little.
//   - A part whose fan is stuck or whose laser is dead goes on sending zeros. Zero is also what a clean room has, so it is reported.
//   - In passive mode or asleep (SET low) it says nothing: after `silence` that is a fault of all channels.
//
// Not served: PMS3003 (24 bytes), PMS5003ST (40 bytes), PMS5003T, PMS5003S.
package pms5003
