// Package nmea reads GNSS receivers (GPS, GLONASS, Galileo, BeiDou) that send NMEA 0183 sentences by themselves, on a serial port or through a
// serial device server.
//
// Wiring: most receivers on boards have 3.3 V lines: TX of the receiver to the gateway's RX, GND, supply as its manual says. Those with RS-232
// or RS-422 need an adapter. 8N1 at 9600 (most), 4800 (the standard, old ones) or 38400 (u-blox 10 and others); see the receiver's manual.
//
// One Read is one epoch: the sentences of one instant (RMC, GGA, GNS, GLL, GSA, VTG, ZDA) put together. An epoch ends where a sentence of
// another time begins, or after a pause of 200 ms. Talkers are GP, GN, GL, GA, GB, BD, GQ, QZ and GI; what others say (compasses, AIS)
// and sentences of other kinds are passed over without a word. Where two sentences give the same quantity, GNS counts more than GGA, then
// RMC, GLL, VTG and GSA; where one of them gives what cannot be, the channel is a fault.
//
// The standard itself (NMEA 0183, IEC 61162-1) is for sale only. What is known here of fields and modes is from E. S. Raymond, "NMEA
// Revealed" (gpsd, www/NMEA.adoc, v2.23), and from the logs in testdata/gpsd.
//
// Traps, and what is done about them:
//
//   - Without a fix, fields are empty, zero, or what they were last. A position is reported only when every sentence of the epoch says that it
//     has one; else it is a fault. Positions that the receiver estimates, simulates or was told are no measured ones either: the standard
//     has them marked void.
//   - The date is in RMC and ZDA only, and it may be wrong by 1024 weeks: the week number that satellites send has 10 bits and old firmware
//     guesses the rest. A date outside 2026 to 2045 is not used, time_fault says so, and the gateway's own time stands instead. A good
//     one, with a fix, is the time of the readings.
//   - In the first minutes after a cold start the time may be off by the leap seconds (18 s) that the receiver has not heard of yet. It cannot
//     be told.
//   - In a 2D fix (GSA) the altitude is held, not measured: a fault.
//   - GGA's number of satellites stops at 12 in many receivers (the standard's limit before 4.0); GNS goes on to 99.
//   - Receivers give no course below walking pace: then channel course is left out, as it is by receivers that give none at all.
//   - The checksum is 8 bits: one in 256 garbled sentences passes it. Each field is checked for form and range besides.
//   - github.com/adrianmo/go-nmea cuts sentences up, but its fields are not used as it reads them: empty is 0 there, NaN and 0x10 are
//     numbers, and one bad field costs the whole sentence.
//
// Not done: no sentence is ever sent to the receiver, so what it sends and how often is set by the maker's tool; binary protocols (UBX, SiRF)
// on the same line are refused as noise.
package nmea
