// Package external reads any program over its standard output, and asks it and sets its outputs over its standard input: a driver in
// fifteen lines of any language.
//
// The program writes one line of JSON a reading, at most 4096 bytes long, each an object of these keys and no others:
//
//	{"channel":"temp","value":21.5}                       a reading
//	{"channel":"temp","value":21.5,"unit":"Cel","time":"2026-11-02T10:00:00Z"}
//	{"channel":"temp","fault":"probe broken"}             a channel that cannot be trusted, and why
//	{"done":7}                                            mode poll: the answer to {"read":7} is complete
//	{"ack":8}  {"nack":8,"error":"fuse blown"}            what became of {"set":"relay","value":true,"id":8}
//
// Channels are declared in the settings; unit and time may be left out; a blank line is a sign of life. There are three modes:
//
//   - talk: the program runs on and writes when it likes. One Read returns one line.
//   - poll: it runs on, gets {"read":7} on its standard input for each Read, and answers with its readings and {"done":7}. An answer to an
//     earlier question is dropped; a channel that is missing in an answer is a fault.
//   - once: it is started for each Read, writes its readings, and ends.
//
// A line that is anything else (no JSON, a key twice or unknown, not UTF-8, too long, a channel that is not declared) is never a value. The
// channel line_fault, which has no values, says why, at most once a second and with how many; the next line is read as if nothing had been. A
// value that does not fit its channel (text for a number, 1e999, another unit) is a fault of that channel.
//
// The program is executed as it is, never by a shell. It gets PATH, LANG, PYTHONUNBUFFERED and what `env` says, nothing of the gateway's
// environment, and runs in a process group of its own, with the gateway's user and sandbox. It is killed
//
//   - when it was silent for `timeout` (mode poll: did not answer; once: did not end), closed its standard output, or wrote more than `lines`
//     lines a second (a line without an end counts each 4096 bytes);
//   - when its own file, or the script that is its first argument, has changed: then it is started anew at once. What it had written is read
//     to the end first;
//   - when the gateway ends, also by kill -9 (PR_SET_PDEATHSIG, prctl(2), set from a thread that lives as long as the program). Of the programs
//     that it has started itself, those in its process group end with it while the gateway lives; after kill -9 of the gateway they are the
//     service manager's (KillMode=control-group is systemd's default).
//
// Killed means: its standard input ends; a third of `grace` later SIGTERM, at `grace` SIGKILL, both to its group. When the device is closed
// grace is 50 ms, so that nothing of it runs when Close returns: what must be safe then has to be safe by itself.
//
// A program that ends (modes talk and poll) is started again after 1 s, 2 s, 4 s up to 5 min, at most `starts` times an hour; until then Read
// returns why it ended, with its last words on standard error. A new file makes up for all that.
//
// `memory` is RLIMIT_DATA (setrlimit(2)): what it allocates, not the address space that many run-time systems reserve and never use. It
// is set right behind the start: what was allocated in between counts.
package external
