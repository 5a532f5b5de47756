package drivers

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestBusReopensAfterGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens := 0
		b := NewBus("p", func(context.Context) (Port, error) {
			opens++
			c, _ := net.Pipe()
			return c, nil
		})
		for range 2 {
			if err := b.Do(t.Context(), func(Port) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if opens != 1 {
			t.Fatalf("opened %d times, want 1", opens)
		}
		if err := b.Do(t.Context(), func(Port) error { return ErrGone }); !errors.Is(err, ErrGone) {
			t.Fatalf("got %v, want ErrGone", err)
		}
		if err := b.Do(t.Context(), func(Port) error { return nil }); err != nil || opens != 2 {
			t.Fatalf("after gone: %v, opened %d times, want 2", err, opens)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.Do(t.Context(), func(Port) error { return nil }); !errors.Is(err, ErrGone) {
			t.Fatalf("after Close: %v, want ErrGone", err)
		}
	})
}

func TestBusContextWinsOverDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus("p", func(context.Context) (Port, error) { c, _ := net.Pipe(); return c, nil })
		defer b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		err := b.Do(ctx, func(p Port) error {
			buf := make([]byte, 1)
			_, err := p.Read(buf) // ended by ctx
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
			if err := p.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
			_, err = p.Read(buf) // the deadline set after the end of ctx does not revive it
			return err
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		// The next user starts with fresh deadlines.
		err = b.Do(t.Context(), func(p Port) error {
			_ = p.SetReadDeadline(time.Now().Add(time.Minute))
			_, err := p.Read(make([]byte, 1))
			return err
		})
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute+time.Second {
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestBusOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus("p", func(context.Context) (Port, error) { c, _ := net.Pipe(); return c, nil })
		defer b.Close()
		var users, most int
		done := make(chan struct{})
		for range 5 {
			go func() {
				_ = b.Do(t.Context(), func(Port) error {
					users++
					most = max(most, users)
					time.Sleep(time.Second)
					users--
					return nil
				})
				done <- struct{}{}
			}()
		}
		for range 5 {
			<-done
		}
		if most != 1 || b.Busy() != 5*time.Second {
			t.Fatalf("most users %d, busy %v", most, b.Busy())
		}
	})
}
