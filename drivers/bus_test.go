package drivers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
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

// TestBusCutDoesNotHitTheNext ends each turn's ctx at the very moment when its f returns: the cut must not reach the next turn.
func TestBusCutDoesNotHitTheNext(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	b := NewBus("p", func(context.Context) (Port, error) { return near, nil })
	defer b.Close()
	for i := range 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		if err := b.Do(ctx, func(Port) error { cancel(); return nil }); err != nil {
			t.Fatal(err)
		}
		err := b.Do(t.Context(), func(p Port) error {
			if err := p.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return err
			}
			go far.Write([]byte{1})
			_, err := p.Read(make([]byte, 1))
			return err
		})
		if err != nil {
			t.Fatalf("turn %d: %v", i, err)
		}
	}
}

func TestBusPortIsOfNoUseAfterItsTurn(t *testing.T) {
	b := NewBus("p", func(context.Context) (Port, error) { c, _ := net.Pipe(); return c, nil })
	defer b.Close()
	var kept Port
	if err := b.Do(t.Context(), func(p Port) error { kept = p; return nil }); err != nil {
		t.Fatal(err)
	}
	_, errRead := kept.Read(make([]byte, 1))
	_, errWrite := kept.Write([]byte{1})
	for _, err := range []error{errRead, errWrite, kept.SetReadDeadline(time.Now()), kept.SetWriteDeadline(time.Now()), kept.Close()} {
		if !errors.Is(err, errTurnOver) {
			t.Errorf("got %v, want %v", err, errTurnOver)
		}
	}
	if err := b.Do(t.Context(), func(Port) error { return nil }); err != nil {
		t.Errorf("the kept port has closed the next turn's: %v", err)
	}
}

// TestBusOpenFailureIsShared has 30 devices on a port that takes 5 s to be found dead: all know it after 5 s, not after 150 s.
func TestBusOpenFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens := 0
		dead := errors.New("no route to host")
		b := NewBus("p", func(context.Context) (Port, error) {
			opens++
			time.Sleep(5 * time.Second)
			return nil, dead
		})
		start := time.Now()
		done := make(chan error)
		for range 30 {
			go func() { done <- b.Do(t.Context(), func(Port) error { return nil }) }()
		}
		for range 30 {
			if err := <-done; !errors.Is(err, dead) || err.Error() != "open p: no route to host" {
				t.Errorf("got %v", err)
			}
		}
		if opens != 1 || time.Since(start) != 5*time.Second {
			t.Fatalf("opened %d times in %v, want once in 5s", opens, time.Since(start))
		}
		if err := b.Do(t.Context(), func(Port) error { return nil }); !errors.Is(err, dead) || opens != 2 {
			t.Fatalf("a later Do must try again: %v, opened %d times", err, opens)
		}
	})
}

// TestBusOpenEndedByOneCallerIsNotShared: a caller whose own ctx ends while the port is opened does not speak for the others.
func TestBusOpenEndedByOneCallerIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus("p", func(ctx context.Context) (Port, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(3 * time.Second):
				c, _ := net.Pipe()
				return c, nil
			}
		})
		defer b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error)
		go func() { done <- b.Do(ctx, func(Port) error { return nil }) }()
		synctest.Wait()
		if err := b.Do(t.Context(), func(Port) error { return nil }); err != nil {
			t.Errorf("got %v", err)
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want deadline exceeded", err)
		}
	})
}

func TestBusErrorWrapsBothErrAndCause(t *testing.T) {
	cause := errors.New("gateway stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	b := NewBus("p", func(context.Context) (Port, error) { return nil, errors.New("opened") })
	err := b.Do(ctx, func(Port) error { return nil })
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Fatalf("got %v", err)
	}
	if want := "wait for bus p: context canceled: gateway stops"; err.Error() != want {
		t.Fatalf("got %q, want %q", err, want)
	}
}

func TestBusTraceSeesBothDirections(t *testing.T) {
	near, far := net.Pipe()
	b := NewBus("p", func(context.Context) (Port, error) { return near, nil })
	defer b.Close()
	var seen string
	b.Trace(func(out bool, p []byte) { seen += map[bool]string{true: ">", false: "<"}[out] + string(p) })
	go func() {
		buf := make([]byte, 2)
		_, _ = far.Read(buf)
		_, _ = far.Write([]byte("ok"))
	}()
	exchange := func(p Port) error {
		_, err := p.Write([]byte("hi"))
		if err != nil {
			return err
		}
		_, err = p.Read(make([]byte, 2))
		return err
	}
	if err := b.Do(t.Context(), exchange); err != nil || seen != ">hi<ok" {
		t.Fatalf("got %q, %v", seen, err)
	}
}

func TestBusCloseEndsDoInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus("p", func(context.Context) (Port, error) { c, _ := net.Pipe(); return c, nil })
		done := make(chan error)
		go func() {
			done <- b.Do(t.Context(), func(p Port) error { _, err := p.Read(make([]byte, 1)); return err })
		}()
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil {
			t.Fatal("Read of a closed bus returned no error")
		}
		if err := b.Close(); err != nil {
			t.Fatalf("second Close: %v", err)
		}
	})
}

// TestKeep: one thing for each key, for as long as the bus lives.
func TestKeep(t *testing.T) {
	type mine int
	b := NewBus("x", nil)
	made := 0
	get := func(key any) *int {
		return b.Keep(key, func() any { made++; return new(int) }).(*int)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { get(mine(1)) })
	}
	wg.Wait()
	one, other := get(mine(1)), get(mine(2))
	if one == other || one == get(1) || one != get(mine(1)) || made != 3 {
		t.Errorf("made %d things, want one each for mine(1), mine(2) and 1", made)
	}
	if err := b.Close(); err != nil || get(mine(1)) != one {
		t.Errorf("forgot it when closed, %v", err)
	}
}

// TestMeter: what a device takes of a bus is the time in which it had it, not the time in which it waited for another's turn.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus("x", func(context.Context) (Port, error) {
			time.Sleep(time.Second)
			c, _ := net.Pipe()
			return c, nil
		})
		var mine, others Meter
		ctx, end := context.WithCancel(t.Context())
		if err := b.Join(ctx); err != nil {
			t.Fatal(err)
		}
		hold := func(ctx context.Context, m *Meter, d time.Duration) {
			if err := b.Do(WithMeter(ctx, m), func(Port) error { time.Sleep(d); return nil }); err != nil {
				t.Error(err)
			}
		}
		hold(ctx, &mine, time.Second)
		if got, want := mine.Take(), (Use{Turns: 1, Held: 2 * time.Second}); got != want {
			t.Errorf("alone: %+v, want %+v", got, want)
		}
		other, leave := context.WithCancel(t.Context())
		if err := b.Join(other); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { hold(other, &others, time.Minute) })
		time.Sleep(time.Second)
		hold(ctx, &mine, 3*time.Second)
		hold(ctx, &mine, 4*time.Second)
		wg.Wait()
		if got, want := mine.Take(), (Use{Turns: 2, Held: 7 * time.Second, IsShared: true}); got != want {
			t.Errorf("beside another: %+v, want %+v", got, want)
		}
		leave()
		synctest.Wait()
		hold(ctx, &mine, 0)
		if got, want := mine.Take(), (Use{Turns: 1}); got != want {
			t.Errorf("alone again: %+v, want %+v", got, want)
		}
		end()
		if err := b.Do(WithMeter(ctx, &mine), nil); err == nil || mine.Take() != (Use{}) {
			t.Errorf("a turn that was not had counts, %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestClaim: a device that needs the port for itself and another do not get it together, whichever comes first.
func TestClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		device := func(name string) (context.Context, context.CancelFunc) {
			return context.WithCancel(WithMeter(t.Context(), &Meter{Device: name}))
		}
		b := NewBus("/dev/ttyUSB0", nil)
		join := func(ctx context.Context, isSole bool) string {
			err := b.Join(ctx)
			if err == nil && isSole {
				err = b.Claim(ctx)
			}
			if err != nil {
				return err.Error()
			}
			return ""
		}
		const taken = "/dev/ttyUSB0 is used by device %s, and one of both needs it for itself; give each a port of its own"
		talker, endTalker := device("talker")
		meter, endMeter := device("meter")
		if got := join(talker, true); got != "" {
			t.Error(got)
		}
		if got, want := join(meter, false), fmt.Sprintf(taken, "talker"); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		endTalker()
		talker, endTalker = device("talker") // opened again at once
		if got := join(talker, true); got != "" {
			t.Error(got)
		}
		endTalker()
		if got := join(meter, false); got != "" {
			t.Error(got)
		}
		talker, endTalker = device("talker")
		if got, want := join(talker, true), fmt.Sprintf(taken, "meter"); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		endTalker()
		endMeter()
	})
}
