package buffer

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/seal"
)

// busyFrame is what a busy gateway commits in a second: 500 records of 40 readings in about 40 KB.
func busyFrame(first uint64) Frame {
	f := Frame{Epoch: 1, Class: tidegate.ClassReading, First: first, Last: first + 499, Count: 20_000, T0: int64(first), T1: int64(first)}
	f.Body = make([]byte, 40<<10)
	r := rand.New(rand.NewPCG(1, first))
	for i := range f.Body {
		f.Body[i] = byte(r.Uint32())
	}
	for i := range 500 {
		f.Body[i] = 40
	}
	return f
}

func benchQueue(b *testing.B, frames int) (*Queue, *Cursor) { return sealedQueue(b, frames, nil) }

func sealedQueue(b *testing.B, frames int, keys *seal.Keys) (*Queue, *Cursor) {
	o := testOptions(b.TempDir())
	o.Keys = keys
	q, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := q.Close(); err != nil {
			b.Error(err)
		}
	})
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := range frames {
		f := busyFrame(uint64(i)*500 + 1)
		q.Put(f)
		if err := q.Commit(Commit{Frames: []Frame{f}, Position: Position{Epoch: 1, Next: f.Last + 1}}); err != nil {
			b.Fatal(err)
		}
	}
	c, err := q.Cursor("a")
	if err != nil {
		b.Fatal(err)
	}
	return q, c
}

// written returns how many bytes this process had written to disks.
func written(b *testing.B) uint64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nwrite_bytes: ")
	number, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkSecond is one second of a busy gateway: 500 records put, one commit, their acknowledgement in parts, retention. It tells how
// many bytes go to the disk for one of a frame.
func BenchmarkSecond(b *testing.B) {
	q, c := benchQueue(b, 0)
	next, payload, before := uint64(1), 0, written(b)
	defer func() { b.ReportMetric(float64(written(b)-before)/float64(payload), "written/byte") }()
	for b.Loop() {
		f := busyFrame(next)
		for i := range uint64(500) {
			one := Frame{Epoch: 1, Class: f.Class, First: next + i, Last: next + i, Count: 40, Body: f.Body[i : i+80]}
			q.Put(one)
		}
		if err := q.Commit(Commit{Frames: []Frame{f}, Position: Position{Epoch: 1, Next: f.Last + 1}}); err != nil {
			b.Fatal(err)
		}
		for n := f.First; n <= f.Last; n += 5 {
			if err := c.Ack("e1", tidegate.Ranges{{First: n, Last: n + 4}}); err != nil {
				b.Fatal(err)
			}
		}
		payload += len(f.Body)
		next = f.Last + 1
		if err := q.Retain(time.Duration(int64(next)) * time.Millisecond); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCatchUp reads a backlog of 40 MB from disk, and acknowledges each frame in batches of 200 readings.
func BenchmarkCatchUp(b *testing.B) {
	q, c := benchQueue(b, 1000)
	_ = q
	b.SetBytes(1000 * 40 << 10)
	for b.Loop() {
		for at := (Place{}); ; {
			looks, err := c.Next(tidegate.ClassReading, at, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if len(looks) == 0 {
				break
			}
			at = Place{1, looks[len(looks)-1].Last + 1}
		}
	}
}

// BenchmarkSealedCommit commits frames of 40 KB to a store in the clear and to a sealed one, in turn, and tells the time of each, on the clock
// and of processors, and the ratios.
func BenchmarkSealedCommit(b *testing.B) {
	next := uint64(1)
	beside(b, 0, func(q *Queue, _ *Cursor) {
		f := busyFrame(next)
		if err := q.Commit(Commit{Frames: []Frame{f}, Position: Position{Epoch: 1, Next: f.Last + 1}}); err != nil {
			b.Fatal(err)
		}
	}, func() { next += 500 })
}

// BenchmarkSealedRead reads a backlog of 40 MB likewise.
func BenchmarkSealedRead(b *testing.B) {
	beside(b, 1000, func(_ *Queue, c *Cursor) {
		for at := (Place{}); ; {
			looks, err := c.Next(tidegate.ClassReading, at, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if len(looks) == 0 {
				break
			}
			at = Place{1, looks[len(looks)-1].Last + 1}
		}
	}, func() {})
}

// beside times f on a store in the clear and on a sealed one, in turn, and calls then behind both.
func beside(b *testing.B, frames int, f func(*Queue, *Cursor), then func()) {
	var took, worked [2]time.Duration
	var queues [2]*Queue
	var cursors [2]*Cursor
	for i, keys := range []*seal.Keys{nil, keysFor(b, 0)} {
		queues[i], cursors[i] = sealedQueue(b, frames, keys)
	}
	for b.Loop() {
		for i := range queues {
			began, before := time.Now(), processorTime(b)
			f(queues[i], cursors[i])
			took[i] += time.Since(began)
			worked[i] += processorTime(b) - before
		}
		then()
	}
	for name, x := range map[string][2]time.Duration{"": took, "cpu-": worked} {
		b.ReportMetric(float64(x[0].Microseconds())/float64(b.N), name+"clear-us/op")
		b.ReportMetric(float64(x[1].Microseconds())/float64(b.N), name+"sealed-us/op")
		b.ReportMetric(float64(x[1])/float64(x[0]), name+"sealed/clear")
	}
}

// processorTime returns what this process has had of processors, which others on the machine change little.
func processorTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkAckFromDisk acknowledges 5 of 500 records of a frame that was read from disk.
func BenchmarkAckFromDisk(b *testing.B) {
	_, c := benchQueue(b, 1000)
	n, shown := uint64(1), uint64(0)
	for b.Loop() {
		if n+5 > 400_000 {
			b.StopTimer()
			_, c = benchQueue(b, 1000)
			n, shown = 1, 0
			b.StartTimer()
		}
		if n > shown {
			looks, err := c.Next(tidegate.ClassReading, Place{1, n}, 1<<20)
			if err != nil || len(looks) == 0 {
				b.Fatal(len(looks), err)
			}
			shown = looks[len(looks)-1].Last
		}
		if err := c.Ack("e1", tidegate.Ranges{{First: n, Last: n + 4}}); err != nil {
			b.Fatal(err)
		}
		n += 5
	}
}
