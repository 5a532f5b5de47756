package serialtext

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
)

// TestPTY reads a talker on a real port at full speed: every line, once, in order, at 2,000 lines/s at the least; then the port is
// unplugged.
func TestPTY(t *testing.T) {
	p, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	c := newConfig()
	c.Port, c.Baud, c.Line = p.Path, 115200, `^T=(?<temp>-?[0-9.]+) N=(?<n>[0-9]+)$`
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d, err := c.Open(ctx, board.New(nil))
	if err != nil {
		t.Fatal(err)
	}
	const count = 10_000
	said := make(chan error, 1)
	go func() {
		w := bufio.NewWriterSize(p.Master, 37) // cuts lines anywhere
		_, err := w.WriteString(".5 N=4711\r\n")
		for i := range count {
			_, e := fmt.Fprintf(w, "T=%.2f N=%d\r\n", float64(i-count/2)/100, i)
			err = errors.Join(err, e)
		}
		said <- errors.Join(err, w.Flush())
	}()
	start := time.Now()
	for i := range count {
		got, err := d.Read(ctx)
		if err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		want := []tidegate.Value{tidegate.Float(float64(i-count/2) / 100), tidegate.Int(int64(i))}
		if len(got) != 2 || got[0].Value != want[0] || got[1].Value != want[1] {
			t.Fatalf("line %d: got %+v, want %v", i, got, want)
		}
	}
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	rate := count / time.Since(start).Seconds()
	t.Logf("%.0f lines/s", rate)
	if rate < 2000 {
		t.Errorf("%.0f lines/s, want 2000", rate)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(ctx); !errors.Is(err, drivers.ErrGone) {
		t.Fatalf("unplugged: got %v", err)
	}
}
