package demo

import (
	"context"
	"testing"
)

// TestStoppedWaitsForTheBus: a gateway that was killed has sent a request that nobody has looked at yet, and half of another one. The reply to
// the whole one is in flight.
func TestStoppedWaitsForTheBus(t *testing.T) {
	b := &bus{}
	if err := b.open(); err != nil {
		t.Fatal(err)
	}
	request := []byte{2, 3, 0, 0, 0, 6, 0xc5, 0xfb}
	for _, sent := range [][]byte{request, request[:5]} {
		if err := b.pair.WritePort(sent); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- b.serve(ctx) }()
	if err := b.stopped(); err != nil {
		t.Fatal(err)
	}
	if answered, ends := b.truth(); answered[2] != 1 || len(ends[2]) != 1 || ends[2][0] != 1 {
		t.Errorf("unit 2 has answered %d, in flight may be %v; want 1 and [1]", answered[2], ends[2])
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}
