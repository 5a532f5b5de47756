package drivertest

import (
	"fmt"
	"testing"
)

// TestI2CPartOfCommands has a part that knows one command, of two bytes, and whose answer is read in a transfer of its own.
func TestI2CPartOfCommands(t *testing.T) {
	b := &I2CBus{Parts: map[uint16]*I2CPart{0x44: {Told: func(w []byte) ([]byte, bool) {
		return []byte{1, 2, 3}, string(w) == "\x24\x00"
	}}}}
	for i, c := range []struct {
		w    string
		n    int
		want string
	}{
		{"", 3, "ff ff ff: drivertest: read of 3 bytes: remote I/O error (I2CPart.Told has left no answer)"},
		{"\x24\x00", 0, ": <nil>"},
		{"", 4, "01 02 03 ff: <nil>"},
		{"", 3, "ff ff ff: drivertest: read of 3 bytes: remote I/O error (I2CPart.Told has left no answer)"}, // it is read once
		{"\x24\x00", 2, "01 02: <nil>"},
		{"\x24", 1, "ff: drivertest: command 24: remote I/O error (I2CPart.Told does not know it)"},
		{"\x24\x0b", 0, ": drivertest: command 24 0b: remote I/O error (I2CPart.Told does not know it)"},
		{"", 1, "ff: drivertest: read of 1 bytes: remote I/O error (I2CPart.Told has left no answer)"},
	} {
		r := make([]byte, c.n)
		Always(0xff)(r)
		err := b.Tx(0x44, []byte(c.w), r)
		if got := fmt.Sprintf("% x: %v", r, err); got != c.want {
			t.Errorf("transfer %d: got %s, want %s", i+1, got, c.want)
		}
	}
}
