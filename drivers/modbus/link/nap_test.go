package link

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A uart is a port that hands over so many bytes at a time, at the end what is left, to whoever reads.
type uart struct {
	line
	piece int
	reads int
}

func (u *uart) Read(b []byte) (int, error) {
	u.reads++
	if len(u.in) == 0 || !u.next(min(u.piece, len(u.in))).Before(u.deadline()) {
		time.Sleep(time.Until(u.deadline()))
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(time.Until(u.next(min(u.piece, len(u.in)))))
	n := 0
	for n < len(u.in) && !u.next(n+min(u.piece, len(u.in)-n)).After(time.Now()) {
		n += min(u.piece, len(u.in)-n)
	}
	copy(b, u.in[:n])
	u.from, u.in = u.next(n), u.in[n:]
	return n, nil
}

// next returns when the first n bytes that are not read yet have come.
func (u *uart) next(n int) time.Time { return u.from.Add(time.Duration(n) * u.char) }

// TestReplyInPiecesIsReadInFew: a UART hands a long reply over in 32 pieces. Most of them are slept through, and the reply is there when its last byte is.
func TestReplyInPiecesIsReadInFew(t *testing.T) {
	long := append([]byte{7, 3, 250}, make([]byte, 252)...)
	putCRC(long)
	for name, tt := range map[string]struct {
		quantity, baud, piece, most int
		reply                       []byte
	}{
		"125 registers":                    {125, 19200, 8, 4, long},
		"the same, slower than a nap":      {125, 9600, 8, 16, long},
		"2 registers, nearly all at once":  {2, 19200, 8, 3, unhex(t, sum(t, "07 03 04 00010002"))},
		"an exception where many may come": {125, 19200, 2, 3, unhex(t, sum(t, "07 83 02"))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewRTU(drivers.NewBus("line", nil), 7, time.Second, tt.baud)
				l.wary = 0
				p := &uart{piece: tt.piece, line: line{char: l.char, answer: func([]byte) []byte { return tt.reply }}}
				body, err := l.Exchange(p, Request{Table: Holding, Quantity: tt.quantity})
				if late := time.Since(p.quiet); late != 0 {
					t.Errorf("returned %v after the last byte", late)
				}
				if len(tt.reply) > minException && (err != nil || !bytes.Equal(body, tt.reply[3:len(tt.reply)-2])) {
					t.Errorf("%s, %v", hex.EncodeToString(body), err)
				}
				if len(tt.reply) == minException && !IsException(err) {
					t.Errorf("%s, %v, want an exception", hex.EncodeToString(body), err)
				}
				if got := p.reads - 1; got > tt.most { // one listens for silence
					t.Errorf("%d reads, want at most %d", got, tt.most)
				}
			})
		})
	}
}

// TestReplyThatBeganLateIsNotSleptAway: its first byte came just before the time-out; what remains is read as it comes, since after
// the deadline nothing can be read.
func TestReplyThatBeganLateIsNotSleptAway(t *testing.T) {
	long := append([]byte{7, 3, 250}, make([]byte, 252)...)
	putCRC(long)
	synctest.Test(t, func(t *testing.T) {
		l := NewRTU(drivers.NewBus("line", nil), 7, time.Second, 19200)
		l.wary = 0
		p := &lateUART{uart{piece: 8, line: line{char: l.char, answer: func([]byte) []byte { return long }}}}
		if body, err := l.Exchange(p, Request{Table: Holding, Quantity: 125}); err != nil || len(body) != 250 {
			t.Errorf("%d bytes, %v", len(body), err)
		}
		if p.reads < 30 {
			t.Errorf("%d reads: it slept close to the deadline", p.reads)
		}
	})
}

// A lateUART answers a moment before a second is over.
type lateUART struct{ uart }

func (u *lateUART) Write(b []byte) (int, error) {
	n, err := u.uart.Write(b)
	u.from = u.from.Add(time.Second - 5*time.Millisecond)
	return n, err
}

// TestStoppedHalfwayEndsInTime: a unit that stops within its reply costs no more than before: what it said is told at the deadline.
func TestStoppedHalfwayEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewRTU(drivers.NewBus("line", nil), 7, 300*time.Millisecond, 19200)
		l.wary = 0
		p := &uart{piece: 8, line: line{char: l.char, answer: func([]byte) []byte { return []byte{7, 3, 250, 1, 2, 3, 4, 5} }}}
		begin := time.Now()
		_, err := l.Exchange(p, Request{Table: Holding, Quantity: 125})
		want := l.gap + l.wire(8) + 300*time.Millisecond + l.wire(255)
		if got := time.Since(begin); err == nil || got != want {
			t.Errorf("%v after %v, want an error after %v", err, got, want)
		}
	})
}

// TestEndOfTheTurnEndsANap: at 300 bit/s the rest of a reply needs nine seconds; a turn that is to end ends within a fifth of one.
func TestEndOfTheTurnEndsANap(t *testing.T) {
	const most = 200 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		p := &uart{piece: 8, line: line{answer: func([]byte) []byte { return append([]byte{7, 3, 250}, make([]byte, 252)...) }}}
		bus := drivers.NewBus("line", func(context.Context) (drivers.Port, error) { return p, nil })
		defer bus.Close()
		l := NewRTU(bus, 7, time.Second, 300)
		p.char, l.wary = l.char, 0
		const end = 800 * time.Millisecond // the first bytes have come
		ctx, cancel := context.WithTimeout(t.Context(), end)
		defer cancel()
		begin := time.Now()
		err := bus.Do(ctx, func(p drivers.Port) error {
			_, err := l.Exchange(p, Request{Table: Holding, Quantity: 125})
			return err
		})
		if took := time.Since(begin); err == nil || took < end || took > end+most {
			t.Errorf("%v after %v, want an error after %v and at most %v more", err, took, end, most)
		}
	})
}
