package line

import (
	"errors"
	"fmt"
	"testing"
)

// TestBetweenForgetsNobody: rules may be replaced while another epoch is asked for, by different goroutines.
func TestBetweenForgetsNobody(t *testing.T) {
	j := &judge{wake: make(chan struct{}, 1)}
	var ran []int
	for i := range 3 {
		j.between(func() error { ran = append(ran, i); return nil })
	}
	if err := j.takeOver(); err != nil || fmt.Sprint(ran) != "[0 1 2]" {
		t.Errorf("ran %v, %v; want each once and in order", ran, err)
	}
	bad := errors.New("lease")
	j.between(func() error { return bad })
	if err := j.takeOver(); !errors.Is(err, bad) {
		t.Errorf("got %v, want %v", err, bad)
	}
	if err := j.takeOver(); err != nil || len(ran) != 3 {
		t.Errorf("got %v, ran %v; want nothing left to do", err, ran)
	}
}

// TestAfter: what is to be done behind a place in ring 1 waits for it, and so does what was asked for after that.
func TestAfter(t *testing.T) {
	j := &judge{wake: make(chan struct{}, 1)}
	var ran []int
	note := func(n int) func() error { return func() error { ran = append(ran, n); return nil } }
	j.between(note(1))
	j.after(100, note(2))
	j.between(note(3))
	for _, step := range []struct {
		at   uint64
		want string
	}{{0, "[1]"}, {99, "[1]"}, {100, "[1 2 3]"}, {200, "[1 2 3]"}} {
		j.input = step.at
		if err := j.takeOver(); err != nil || fmt.Sprint(ran) != step.want {
			t.Errorf("at %d: ran %v, %v; want %s", step.at, ran, err, step.want)
		}
	}
}
