package serialtext

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// sends opens a talker with settings set at whose far end in comes, a write each second, and compares its Reads with want.
func sends(t *testing.T, set func(*Config), in []string, want ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, set, func(w io.Writer) {
			for _, s := range in {
				time.Sleep(time.Second + time.Millisecond)
				write(w, s)
			}
		})
		same(t, reads(t, d, len(want)), want...)
	})
}

// TestB01MegabyteWithoutNewline: one report of kind frame_too_long, and the next line is read.
func TestB01MegabyteWithoutNewline(t *testing.T) {
	sends(t, nil, []string{strings.Repeat("x", 1<<20) + "T=1 N=1\nT=2 N=2\n"},
		`line_fault!frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with "`+strings.Repeat("x", 64)+`"`,
		"temp=2:number n=2:number")
}

// TestB02NulAndHighBytes: they are refused, shown escaped and at most 64 of them, unless the field is binary.
func TestB02NulAndHighBytes(t *testing.T) {
	for shown, b := range map[string]string{`\x00`: "\x00", `\x80`: "\x80", `\xff`: "\xff", `\xc3`: "\xc3"} {
		sends(t, nil, []string{"T=1" + b + " N=1\nT=2 N=2\n"}, `line_fault!bad_bytes: character 4 is no ascii text: "T=1`+shown+` N=1"`, "temp=2:number n=2:number")
	}
	sends(t, nil, []string{strings.Repeat("\xff", 100) + "\n"}, `line_fault!bad_bytes: character 1 is no ascii text: "`+strings.Repeat(`\xff`, 64)+`" and 36 bytes more`)
	sends(t, func(c *Config) { c.Encoding = encUTF8 }, []string{"T=\xc3( N=1\n"}, `line_fault!bad_bytes: character 3 is no utf-8 text: "T=\xc3( N=1"`)
	sends(t, func(c *Config) {
		c.Encoding, c.Line = encBinary, `(?s)^(?<raw>.{4})$`
		c.Groups = map[string]Group{"raw": {Type: typeBytes}}
	}, []string{"\x00\x80\xff\xc3\n"}, "raw=0080ffc3:bytes")
}

// TestB03HalfFrame: the first half is dropped after the longest pause within a frame, and is never a part of what comes 10 s later.
func TestB03HalfFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := talk(t, nil, func(w io.Writer) {
			time.Sleep(2 * time.Second)
			write(w, "T=2")
			time.Sleep(10 * time.Second)
			write(w, "1.5 N=7\nT=22 N=8\n")
		})
		start := time.Now()
		same(t, reads(t, d, 1), `line_fault!half_frame: nothing more came of a frame; 3 bytes dropped: "T=2"`)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("dropped after %v, want 3 s", took)
		}
		same(t, reads(t, d, 2), `line_fault!no_match: line does not match the expression: "1.5 N=7"`, "temp=22:number n=8:number")
	})
}

// TestB04WrongChecksum: refused, counted, not forwarded.
func TestB04WrongChecksum(t *testing.T) {
	set := func(c *Config) { c.Start, c.Checksum = "$", Sum{Type: "xor", Mark: "*"} }
	good := fmt.Sprintf("$T=2 N=2*%02X\n", newCheck(&Config{Checksum: Sum{Type: "xor"}}).sum([]byte("T=2 N=2")))
	sends(t, set, []string{strings.Repeat("$T=1 N=1*00\n", 11), good},
		append(slices.Repeat([]string{`line_fault!checksum: got 00, want 3a: "T=1 N=1*00"`}, 11), "temp=2:number n=2:number")...)
}

// TestB06NoNumbers: what other programs take for numbers is a fault of its channel, whether its type is settled or not.
func TestB06NoNumbers(t *testing.T) {
	for shown, s := range map[string]string{`"NaN"`: "NaN", `"Inf"`: "Inf", `"1e999"`: "1e999", `"0x10"`: "0x10", `"\uff11\uff12"`: "１２"} {
		why := "not a decimal number: "
		if s == "1e999" {
			why = "beyond the range of a number: "
		}
		for _, settled := range []string{typeGuess, typeNumber} {
			sends(t, func(c *Config) {
				c.Encoding, c.Line, c.Groups = encUTF8, `^T=(?<temp>\S+) N=(?<n>[0-9]+)$`, map[string]Group{"temp": {Type: settled}}
			}, []string{"T=" + s + " N=1\n"}, "temp!"+why+shown+" n=1:number")
		}
	}
}

// TestB07ZeroByteReads: the port is gone at the first Read of it that returns nothing, and opened anew.
func TestB07ZeroByteReads(t *testing.T) {
	c, h := newConfig(), newHost()
	c.Port, c.Line = "/dev/ttyX", `^T=(?<temp>.+)$`
	opened := 0
	h.wrap = func(p net.Conn) drivers.Port { opened++; return &oddPort{Port: p} }
	d, err := c.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := d.Read(t.Context()); !errors.Is(err, drivers.ErrGone) || opened != i+1 {
			t.Fatalf("Read %d: %v, opened %d times", i+1, err, opened)
		}
	}
}
