package main

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSlaveAnswersOnTheLine asks through the serial port: the reply is whole, has its CRC, and took as long as on a line.
func TestSlaveAnswersOnTheLine(t *testing.T) {
	l, err := newLine()
	if err != nil {
		t.Fatal(err)
	}
	s := &slave{seed: 7}
	go func() { _ = s.serveLine(l) }() // ends with the test
	near, err := os.OpenFile(l.path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	q := []byte{3, 3, 0, 0, 0, 2 * registers}
	q = append(q, byte(crc(q)), byte(crc(q)>>8))
	const whole = 3 + 4*registers + 2
	for n := uint32(1); n <= 2; n++ {
		asked := time.Now()
		if _, err := near.Write(append([]byte{0x55}, q...)); err != nil { // a byte of noise ahead
			t.Fatal(err)
		}
		b := make([]byte, whole)
		if _, err := io.ReadFull(near, b); err != nil {
			t.Fatal(err)
		}
		if crc(b) != 0 {
			t.Errorf("reply %d has a wrong CRC: % x", n, b)
		}
		if got := value(7, 3, n, 5); string(b[3+4*5:3+4*6]) != string([]byte{byte(got >> 24), byte(got >> 16), byte(got >> 8), byte(got)}) {
			t.Errorf("reply %d: register 5 is % x, want %d", n, b[3+4*5:3+4*6], got)
		}
		if took := time.Since(asked); took < (8+whole)*character {
			t.Errorf("reply %d took %v, on a line it takes %v", n, took, (8+whole)*character)
		}
	}
	if c := s.counts(); c.Units[3] != 2 {
		t.Errorf("counts %v", c.Units)
	}
}

// TestCRC is the example of MODBUS over Serial Line V1.02, appendix B.
func TestCRC(t *testing.T) {
	if got := crc([]byte{0x02, 0x07}); got != 0x1241 {
		t.Errorf("got 0x%04x, want 0x1241", got)
	}
}

// TestWithPart puts a part into a report that has none, and in place of one that it has, whatever stands behind.
func TestWithPart(t *testing.T) {
	const first, second, other = idleHeading + "\n\nfirst\n", idleHeading + "\n\nsecond\n", rulesHeading + "\n\nother\n"
	for _, x := range [][3]string{
		{"# Benchmarks\n", first, "# Benchmarks\n" + first},
		{"# Benchmarks\n" + first, second, "# Benchmarks\n" + second},
		{"# Benchmarks\n" + first, other, "# Benchmarks\n" + first + other},
		{"# Benchmarks\n" + first + other, second, "# Benchmarks\n" + second + other},
	} {
		if got := withPart(x[0], x[1]); got != x[2] {
			t.Errorf("%q into %q: got %q, want %q", x[1], x[0], got, x[2])
		}
	}
}

// TestIdleReport has a row for each load, with the median and both ends.
func TestIdleReport(t *testing.T) {
	costs := make([][]cost, len(loads))
	for i := range costs {
		costs[i] = []cost{{CPU: 2, Delivered: 100}, {CPU: 4, Delivered: 100}}
	}
	got := idleReport("Today.", plan{idleRuns: 2}, costs)
	for _, l := range loads {
		if want := "\n| " + l.name + " | 3 (2 to 4) | " + l.reach + " | 0 |"; !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestThreads counts a switch of this process that certainly happens.
func TestThreads(t *testing.T) {
	before, rss, err := threads(os.Getpid())
	if err != nil || rss < 1<<20 {
		t.Fatalf("resident set of %d bytes, %v", rss, err)
	}
	for range 20 {
		time.Sleep(2 * time.Millisecond)
	}
	if after, _, err := threads(os.Getpid()); err != nil || after < before+10 {
		t.Errorf("slept 20 times: %d switches, then %d, %v", before, after, err)
	}
}
