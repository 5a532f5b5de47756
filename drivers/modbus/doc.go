// Package modbus reads meters, inverters, controllers and I/O blocks that speak Modbus RTU (RS-485, RS-232) or Modbus TCP, by the functions
// 01, 02, 03 and 04, and writes coils and holding registers that the configuration names as outputs, by 05, 06, 15 and 16.
//
// # Sources
//
// "MODBUS Application Protocol Specification V1.1b3" (the requests: sections 6.1 to 6.6, 6.11, 6.12; exceptions: section 7), "MODBUS over
// Serial Line Specification and Implementation Guide V1.02" (RTU frames: section 2.5.1.1; CRC: 2.5.1.2; the master's states:
// 2.4.1; wiring: 3.4) and "MODBUS Messaging on TCP/IP Implementation Guide V1.0b" (the MBAP header: section 3.1.3).
//
// # Wiring
//
// RS-485 is a line, not a star: A to A (also called D- or -), B to B (D+ or +), common to common, 120 Ohm at both ends and
// bias resistors at one place. Makers do not agree on A and B: when no unit answers, swap the two wires first. All units of
// a line share baud rate, parity and stop bits; each has a unit number of its own. Who turns the line around, and what is done about an
// adapter that echoes, is in README.md beside this file.
//
// # What a register is
//
// Addresses are those on the wire, from 0. Manuals often count from 1 and put the table in front: "40001" is holding 0,
// "30013" is input 12, "10001" is discrete 0, "00001" is coil 0. When all values look shifted by one register, the manual
// counted from 1.
//
// The letters of an order name the bytes of the number, A the highest, in the order in which they come over the wire:
//
//	order   16 bit   32 bit     64 bit               known as
//	ABCD    AB       AB CD      AB CD EF GH          big-endian; what the specification says, and the default
//	CDAB    AB       CD AB      GH EF CD AB          low register first ("word swap")
//	BADC    BA       BA DC      BA DC FE HG          bytes swapped within each register
//	DCBA    BA       DC BA      HG FE DC BA          little-endian
//
// So an order is two independent facts: whether the low register comes first, and whether bytes are swapped within a
// register. The first has no meaning for 16 bits and is refused for text.
//
// A float that is no number (NaN) or infinite is a fault: that is how devices say "no value". Integers without scale and
// offset stay integers to the last bit; with them a value is computed in decimals, so that 213 at scale 0.1 is 21.3.
//
// # How it asks
//
// Registers that touch are read with one request, as are those with at most max_gap others between them, up to max_quantity
// registers (coils and discrete inputs: sixteen times as many). No value is ever spread over two requests. A request that is
// answered with exception 02 or 03 is cut in two, at a gap if it has one, and stays cut: the next Read does not ask for what
// was refused. What cannot be cut and is refused (01, 02, 03) is left alone for 10 s, then 20 s, and so on up to 10 min, and
// reports a fault meanwhile; the other channels go on. A request that three Reads in a row get no reply to, while the unit
// answers others, is treated in the same way; one that was answered before, after twelve. When a unit answers nothing at all,
// what was learned is forgotten: it may be another unit when it comes back.
//
// Two requests in a row without a reply end a Read, and a unit that was silent is asked one request only, each time another
// one, until it answers: so a dead unit costs its line one timeout a Read.
//
// # Outputs
//
// An entry with write: true is an output. A coil is written by 05, one register by 06, a wider number by 16; write_with: multiple has 15
// and 16 for units that know no other. A bit of a register is not written: that would write the fifteen others too, which may have changed
// since they were read. A string is not written.
//
// What is set has to be a value that the register holds: a number between two steps of its scale, beyond min, max or the register, or a
// text that enum does not list is refused before anything is sent. Of a float register, only the fraction is rounded.
//
// A Set reads the register, writes it once, and reads it again; only what is read counts. So a unit that is silent is known before
// anything was written, and a reply to the write that was lost, late, damaged or another's leaves nothing open, unless the unit cannot
// be read either: then the error says that the outcome is not known. A write is never made twice. What cannot be read cannot be an output.
//
// The right reply to 05 and 06 is the request itself. On a line that echoes it looks like the echo; which of both it is, is told by whether
// the read ahead was echoed.
//
// # Maps
//
// map names the registers of a known kind of device: package maps has those that come with the gateway, each with the document or source
// it was made by. A file of your own looks the same; README.md has one.
//
// # Late replies
//
// On TCP the transaction number tells a late reply from the right one. On a serial line nothing does: a reply holds neither
// number nor address, and one that arrives after its timeout looks like the reply to the next request of the same shape
// (unit, function and byte count; of writes, the function). So:
//
//   - before each request the line is listened to until it has been silent for 3.5 characters, and what came is dropped: the
//     rest of a frame, a reply that came after its timeout, noise;
//   - replies of other units, echoes, damaged frames and frames of another shape are passed over, and the timeout goes on;
//   - as long as a reply is owed, no request of its shape is sent to that unit. Where one is due, a probe goes ahead: a request
//     of another shape, which reads, and the values of which are dropped. It reads a part of what is configured, if that has a shape left;
//     a unit of a single register, or one that owes many replies, is asked for registers behind, as many as make another shape. A
//     unit answers in order, so values for the probe prove that nothing older can come any more; an exception proves it of the oldest debt only. When four probes bring no values, the debts older
//     than these are written off: replies to them would be four timeouts late. A reply that comes even later could be mistaken;
//     only a longer timeout helps against that;
//   - when a frame came that nobody asked for, the line is listened to for 50 ms before each of the next hundred requests to that
//     unit, as before the first four: it may send its replies twice.
//
// That holds for writes and reads alike: a late reply to a write is passed over by the read behind it, and is never taken for that to another
// write. It holds for the unit, in however many device blocks it is read (two blocks are how registers are read at two intervals), and
// over the reload of a block while another device keeps the line open.
package modbus
