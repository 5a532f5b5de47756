package drivers

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestRecentModel compares the ring with a list that forgets nothing.
func TestRecentModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			var r ring
			var model []Traffic
			for i := range rapid.IntRange(0, 700).Draw(rt, "pieces") {
				size := rapid.SampledFrom([]int{1, 1, 2, 8, 8, 30, 255, 1000, 5000}).Draw(rt, "size")
				p := bytes.Repeat([]byte{byte(i)}, size)
				p[0] ^= 0xff
				out := rapid.Bool().Draw(rt, "out")
				time.Sleep(rapid.SampledFrom([]time.Duration{0, time.Millisecond, ringPause, 2 * time.Millisecond, time.Second}).Draw(rt, "pause"))
				now := time.Now()
				r.add(out, p)
				if n := len(model); n > 0 && !out && !model[n-1].Out && now.Sub(model[n-1].Last) <= ringPause {
					model[n-1].Last = now
					model[n-1].Bytes = append(model[n-1].Bytes, p...)
				} else {
					model = append(model, Traffic{now, now, out, p})
				}
			}
			model = model[max(0, len(model)-ringEntries):]
			left := ringBytes
			first := len(model)
			for first > 0 && left > 0 {
				first--
				b := model[first].Bytes
				model[first].Bytes = b[max(0, len(b)-left):]
				left -= len(model[first].Bytes)
			}
			want, got := model[first:], r.all()
			if len(want) != len(got) {
				rt.Fatalf("%d pieces, want %d", len(got), len(want))
			}
			for i := range got {
				if !got[i].At.Equal(want[i].At) || !got[i].Last.Equal(want[i].Last) || got[i].Out != want[i].Out || !bytes.Equal(got[i].Bytes, want[i].Bytes) {
					rt.Fatalf("piece %d of %d: got %v, want %v", i, len(got), got[i], want[i])
				}
			}
		})
	})
}

// TestRecentOfBus: what a Do wrote and read is there afterwards, without a Trace.
func TestRecentOfBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		b := NewBus("p", func(context.Context) (Port, error) { return near, nil })
		defer b.Close()
		go func() {
			_, _ = far.Read(make([]byte, 9))
			time.Sleep(time.Second)
			_, _ = far.Write([]byte("answer"))
		}()
		err := b.Do(t.Context(), func(p Port) error {
			if _, err := p.Write([]byte("question")); err != nil {
				return err
			}
			_, err := p.Read(make([]byte, 9))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		r := b.Recent()
		if len(r) != 2 || !r[0].Out || string(r[0].Bytes) != "question" || r[1].Out || string(r[1].Bytes) != "answer" || r[1].At.Sub(r[0].At) != time.Second {
			t.Errorf("got %v", r)
		}
	})
}

// TestRecentWhileInUse reads the ring while it is written to; the race detector judges.
func TestRecentWhileInUse(t *testing.T) {
	var r ring
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20000 {
			r.add(i%2 == 0, bytes.Repeat([]byte{byte(i)}, 1+i%9))
		}
	})
	for range 200 {
		for _, x := range r.all() {
			for _, c := range x.Bytes {
				if x.Out && c != x.Bytes[0] {
					t.Fatalf("torn piece % x", x.Bytes)
				}
			}
		}
	}
	wg.Wait()
}

// TestRingAllocatesOnce: a poll costs no memory.
func TestRingAllocatesOnce(t *testing.T) {
	var r ring
	p := make([]byte, 100)
	r.add(true, p)
	if n := testing.AllocsPerRun(1000, func() { r.add(true, p); r.add(false, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRing(b *testing.B) {
	var r ring
	p := make([]byte, 30)
	for b.Loop() {
		r.add(false, p)
	}
}

// counting is a Port that counts.
type counting struct{ net.Conn }

func (counting) LineErrors() (LineErrors, error) { return LineErrors{Framing: 7}, nil }

func TestLineErrors(t *testing.T) {
	for want, p := range map[string]Port{
		"{7 0 0 0} <nil>": counting{nopConn{}},
		"{0 0 0 0} count errors of p: port does not count them": nopConn{},
	} {
		b := NewBus("p", func(context.Context) (Port, error) { return p, nil })
		if _, err := b.LineErrors(); err == nil || !strings.Contains(err.Error(), "port is not open") {
			t.Errorf("before the first use: %v", err)
		}
		if err := b.Do(t.Context(), func(Port) error { return nil }); err != nil {
			t.Fatal(err)
		}
		c, err := b.LineErrors()
		if got := fmt.Sprint(c, err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// nopConn is a Port that takes deadlines.
type nopConn struct{ net.Conn }

func (nopConn) SetReadDeadline(time.Time) error  { return nil }
func (nopConn) SetWriteDeadline(time.Time) error { return nil }

// TestDump: the last pieces in words, for the log, of the bus that a meter saw last.
func TestDump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus("p", func(context.Context) (Port, error) { return nopConn{}, nil })
		var m Meter
		if m.Bus() != nil || len(b.Dump()) != 0 {
			t.Errorf("before the first use: %v, %q", m.Bus(), b.Dump())
		}
		if err := b.Do(WithMeter(t.Context(), &m), func(Port) error { return nil }); err != nil || m.Bus() != b {
			t.Fatalf("meter has %v, %v", m.Bus(), err)
		}
		for i := range 20 {
			b.note(true, []byte{byte(i)})
		}
		time.Sleep(1500 * time.Millisecond)
		b.note(false, bytes.Repeat([]byte{0xab}, 40))
		got := b.Dump()
		if len(got) != dumpPieces || got[0] != "1.500s ago > 09" || got[11] != "0.000s ago <"+strings.Repeat(" ab", 32)+" and 8 more" {
			t.Errorf("got %q", got)
		}
		b.Speaks(func(out bool, b []byte) string {
			if out {
				return ""
			}
			return fmt.Sprintf("%d times ab", len(b))
		})
		got = b.Dump()
		if got[0] != "1.500s ago > 09" || !strings.HasSuffix(got[11], " and 8 more (40 times ab)") {
			t.Errorf("got %q", got)
		}
		for secret, want := range []int{dumpPieces, 0} { // of the bus of others, too
			if err := b.Join(WithMeter(t.Context(), &Meter{Device: "door", IsSecret: secret == 1})); err != nil || len(b.Dump()) != want {
				t.Errorf("%v, %q", err, b.Dump())
			}
		}
	})
}
