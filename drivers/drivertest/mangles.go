package drivertest

import "time"

// The Mangles below are what lines and adapters do to frames; conformance has all of them.

// Halves lets the first half of every burst through, and none of the rest.
func Halves(_ int, b []byte) []Piece { return []Piece{{Bytes: b[:len(b)/2]}} }

// Splits lets every byte through on its own, without pauses.
func Splits(_ int, b []byte) []Piece {
	var out []Piece
	for i := range b {
		out = append(out, Piece{Bytes: b[i : i+1]})
	}
	return out
}

// Slowly lets a byte through every 700 ms.
func Slowly(_ int, b []byte) []Piece {
	out := Splits(0, b)
	for i := range out {
		out[i].Pause = 700 * time.Millisecond
	}
	return out
}

// Noisily puts three bytes of noise before every burst.
func Noisily(n int, b []byte) []Piece {
	return []Piece{{Bytes: append([]byte{0, byte(n), 0xff}, b...)}}
}

// Lately holds every burst up, by more and more: 0, 100 ms, 200 ms, 400 ms ... 12.8 s.
func Lately(n int, b []byte) []Piece {
	var pause time.Duration
	if n = n % 9; n > 0 {
		pause = 100 * time.Millisecond << (n - 1)
	}
	return []Piece{{Bytes: b, Pause: pause}}
}

// Doubly lets every burst through twice.
func Doubly(_ int, b []byte) []Piece { return []Piece{{Bytes: b}, {Bytes: b}} }
