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
