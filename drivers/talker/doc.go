// Package talker is what the drivers of devices have in common that talk by themselves on a serial port: GNSS receivers, dust
// devices, scales, consoles. It takes the port for one device, cuts what comes into frames, and knows what pauses mean; what a frame says
// is the driver's to know.
//
// Every byte ends up in exactly one place: in a frame that is handed to the driver; in a refusal, which is counted and told (Report); or dropped
// without a word before the first boundary, since the port may be opened in the middle of a frame. What is kept is bounded: one frame of at
// most MaxFrame bytes, and with framing by delimiter or idle time 256 bytes read ahead.
//
// When nothing comes for Rules.Patience in the middle of a frame, the half is dropped and refused. What comes next has it in Frame.Half, so that
// a driver whose frames have neither start nor checksum can see whether it is the other half.
package talker
