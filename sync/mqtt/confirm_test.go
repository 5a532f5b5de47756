package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate-io/tidegate/sync/forward/uplink"
)

// fakeToken is a publish as the library tells of it.
type fakeToken struct {
	paho.Token
	done chan struct{}
	err  error
}

func (f *fakeToken) Done() <-chan struct{} { return f.done }
func (f *fakeToken) Error() error          { return f.err }

func completed(err error) *fakeToken {
	f := &fakeToken{done: make(chan struct{}), err: err}
	close(f.done)
	return f
}

// TestBothMustAgree: the PUBACK that was read and the library. Neither alone confirms a batch.
func TestBothMustAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &fakeToken{done: make(chan struct{})}
		u := &Uplink{endpoint: "mqtt://b:1883", guard: newGuard(nil), came: make(chan struct{}, 1), sent: map[uint16]inFlight{
			1: {batch: 11, token: completed(nil)},
			2: {batch: 12, token: completed(errors.New("connection lost before Publish completed"))},
			3: {batch: 13, token: completed(nil)}, // no PUBACK came: the library lies
			4: {batch: 14, token: late},
			5: {batch: 15, token: &fakeToken{done: make(chan struct{})}},
		}}
		u.guard.acks = []uint16{1, 2, 4, 5, 99}
		ids, err := confirmed(u, 9, time.Second)
		if fmt.Sprint(ids) != "[11]" || err != nil {
			t.Errorf("confirmed %v, %v; want 11", ids, err)
		}
		time.AfterFunc(100*time.Millisecond, func() { close(late.done) })
		u.guard.end(io.EOF)
		cs, err := u.Confirmed(context.Background(), nil)
		if len(cs) != 1 || cs[0].Batch != 14 || err != nil {
			t.Errorf("confirmed %v, %v; want 14, which was acknowledged before the end", cs, err)
		}
		cs, err = u.Confirmed(context.Background(), nil)
		if len(cs) != 0 || err == nil || err.Error() != "connection to mqtt://b:1883 is lost: EOF" {
			t.Errorf("confirmed %v, %v", cs, err)
		}
	})
}

// fickleToken is done when it is asked for the second time.
type fickleToken struct {
	fakeToken
	asked int
}

func (f *fickleToken) Done() <-chan struct{} {
	if f.asked++; f.asked == 2 {
		close(f.done)
	}
	return f.done
}

// TestAcknowledgedTwice: the library completes a publish between two PUBACKs for it.
func TestAcknowledgedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &Uplink{guard: newGuard(nil), came: make(chan struct{}, 1), sent: map[uint16]inFlight{
			1: {batch: 11, token: &fickleToken{fakeToken: fakeToken{done: make(chan struct{})}}},
			2: {batch: 12, token: &fakeToken{done: make(chan struct{})}},
		}}
		u.guard.acks = []uint16{1, 1}
		ids, err := confirmed(u, 1, time.Second)
		if fmt.Sprint(ids) != "[11]" || err != nil {
			t.Errorf("confirmed %v, %v; want 11", ids, err)
		}
		u.guard.end(io.EOF)
		if _, err := u.Confirmed(context.Background(), nil); err == nil {
			t.Error("no error at the end")
		}
	})
}

// TestSendEndsWithTheConnection although it waits for the broker to read.
func TestSendEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		b := &script{answer: func(net.Conn, packet, int) { <-stuck }}
		u := mustOpen(t, options(t, b.dial))
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		time.AfterFunc(2*time.Second, func() { u.guard.Conn.Close() })
		began := time.Now()
		var err error
		for i := uint64(1); i < 10 && err == nil; i++ {
			err = u.Send(ctx, uplink.Batch{ID: i, Payload: []byte("x")})
		}
		if err == nil || time.Since(began) != 2*time.Second {
			t.Errorf("Send: %v after %v", err, time.Since(began))
		}
		close(stuck)
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
}
