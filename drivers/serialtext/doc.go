// Package serialtext reads talkers on a serial port: devices that send lines of text, or frames of a fixed length or between
// pauses, without being asked. Named groups of an expression become channels.
//
// One Read returns one line, however many are waiting: two lines in one record would share one time, and whoever draws them would
// see one of them vanish. Every line that the talker sent ends up in exactly one place:
//
//   - it matched: its Read returned its channels, a field that does not fit its type as a fault of that channel;
//   - it was refused: the channel line_fault, which never has a value, says why. Ten refusals are told one by one, further ones at most
//     once a second, and then the text says for how many it stands: noise at full speed costs a record a second, and the numbers add up;
//   - it was on its way when the gateway ended or the port went: at most 256 bytes read ahead (none with fixed length), the
//     unfinished line, and what the kernel held (4 KiB). Blank lines and lines that match `ignore` are dropped without a word.
//
// The port may be opened in the middle of a line, so what comes before the first boundary is dropped: a delimiter, a start text, or a
// pause of `gap` (of `idle` with framing by idle time). A talker that is quiet for so long after the opening begins with a whole line.
//
// When nothing comes for `gap` in the middle of a line, the half is dropped and reported. What follows is used only if it is no rest of
// that line: if the two halves put together would do as well, checksum included, it is refused too.
package serialtext
