// Package session records what goes over ports and buses into text files, and replays such files to drivers in tests.
package session

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A session file is a recording of what went over ports and buses, as text:
//
//	tidegate session 1
//	# anything about the device, its firmware, the wiring, the date
//	0.000000 /dev/ttyUSB0 > 01 03 00 00 00 02 c4 0b
//	0.031200 /dev/ttyUSB0 < 01 03 04 00 06 00 05 da 31
//	7.500000 /dev/ttyUSB0 !
//
// The first line is as it stands. Then, one a line: seconds since the start of the recording with up to nine decimals, never falling;
// the name of the port (its path, network://address, i2c:BUS:ADDRESS with the address in hexadecimal, spi:PORT or onewire:BUS;
// without blanks); a direction: > written by the gateway, < read by it, ! the port was gone, or the transfer failed; and the bytes
// in hexadecimal, with or without blanks between them, at least one and at most 64 KiB. Empty lines and lines that begin with #
// are for people.
const head = "tidegate session 1"

// maxLine is the longest line of a session file, in bytes.
const maxLine = 256 << 10

// The directions of an Entry.
const (
	Out  = '>' // written by the gateway
	In   = '<' // read by the gateway
	Gone = '!' // the port was gone, or the transfer failed
)

// An Entry is one line of a session file.
type Entry struct {
	At    time.Duration // since the start of the recording
	Port  string        // name of the port, without blanks
	Dir   byte          // Out, In or Gone
	Bytes []byte        // empty with Gone, else 1 to 64 Ki
}

// String returns e as its line of the session file.
func (e Entry) String() string {
	s := fmt.Sprintf("%.6f %s %c", e.At.Seconds(), e.Port, e.Dir)
	if e.At%time.Microsecond != 0 {
		s = fmt.Sprintf("%d.%09d %s %c", e.At/time.Second, e.At%time.Second, e.Port, e.Dir)
	}
	if len(e.Bytes) > 0 {
		s += fmt.Sprintf(" % x", e.Bytes)
	}
	return s
}

// Parse reads a session file. Errors name the line.
func Parse(text []byte) ([]Entry, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxLine)
	var out []Entry
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		switch {
		case n == 1 && line != head:
			return nil, fmt.Errorf("session line 1: got %q, want %q", line, head)
		case n == 1, line == "", line[0] == '#':
			continue
		}
		e, err := parseEntry(line)
		if err == nil && len(out) > 0 && e.At < out[len(out)-1].At {
			err = fmt.Errorf("time falls from %v to %v", out[len(out)-1].At, e.At)
		}
		if err != nil {
			return nil, fmt.Errorf("session line %d: %w", n, err)
		}
		out = append(out, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	if len(text) == 0 {
		return nil, errors.New("session is empty")
	}
	return out, nil
}

func parseEntry(line string) (Entry, error) {
	f := strings.Fields(line)
	if len(f) < 3 {
		return Entry{}, fmt.Errorf("got %d words, want time, port, direction and bytes", len(f))
	}
	at, err := parseSeconds(f[0])
	if err != nil {
		return Entry{}, err
	}
	if len(f[2]) != 1 || !strings.Contains("><!", f[2]) {
		return Entry{}, fmt.Errorf("direction is %q, want >, ! or <", f[2])
	}
	e := Entry{At: at, Port: f[1], Dir: f[2][0]}
	if e.Bytes, err = hex.DecodeString(strings.Join(f[3:], "")); err != nil {
		return Entry{}, fmt.Errorf("bytes: %w", err)
	}
	switch {
	case (e.Dir == Gone) != (len(e.Bytes) == 0):
		return Entry{}, fmt.Errorf("direction %c with %d bytes", e.Dir, len(e.Bytes))
	case len(e.Bytes) > 64<<10:
		return Entry{}, fmt.Errorf("%d bytes, at most %d are allowed", len(e.Bytes), 64<<10)
	}
	if len(e.Bytes) == 0 {
		e.Bytes = nil
	}
	return e, nil
}

// parseSeconds parses a decimal number of seconds, with up to nine decimals and at most 24 days, exactly.
func parseSeconds(s string) (time.Duration, error) {
	whole, part, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseUint(whole, 10, 21)
	if err != nil || len(part) > 9 {
		return 0, fmt.Errorf("time is %q, want seconds such as 12.345678", s)
	}
	nanos, err := strconv.ParseUint((part + "000000000")[:9], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("time is %q, want seconds such as 12.345678", s)
	}
	return time.Duration(seconds)*time.Second + time.Duration(nanos), nil
}

// Write writes entries as a session file; remark becomes comment lines.
func Write(w io.Writer, remark string, entries []Entry) error {
	var b strings.Builder
	b.WriteString(head + "\n")
	if remark != "" {
		b.WriteString("# " + strings.ReplaceAll(strings.TrimSpace(remark), "\n", "\n# ") + "\n")
	}
	for _, e := range entries {
		b.WriteString(e.String() + "\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write session: %w", err)
	}
	return nil
}
