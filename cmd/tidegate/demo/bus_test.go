package demo

import (
	"context"
	"testing"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
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

// TestRuleActs: the boiler goes over and below the rule's thresholds, and the lines of the demo say what the rule does then.
func TestRuleActs(t *testing.T) {
	b, low, high := &bus{}, false, false
	for n := range uint32(320) { // 32 s
		b.answered[1] = n
		var regs [6]uint16
		if b.values(slave.Request{Unit: 1, Table: slave.Holdings, Quantity: 6}, regs[:]) != slave.NoException {
			t.Fatal("no answer")
		}
		low, high = low || int16(regs[2]) < 750, high || int16(regs[2]) > 800
	}
	if !low || !high {
		t.Errorf("below 75 degrees: %v, above 80: %v", low, high)
	}
	s := &status.Status{
		Rules: []status.Rule{{Name: "overheat", Active: true}},
		Devices: []status.Device{
			{Name: "boiler", Values: []status.Value{{Channel: "temp", Value: "81.5", Unit: "Cel"}, {Channel: "power", Value: "3"}}},
			{Name: "fan", Values: []status.Value{{Channel: "relay", Value: "true"}}},
		},
	}
	if got := ruleActs(s); got != "; overheat active, boiler 81.5 Cel, fan true" {
		t.Errorf("got %q", got)
	}
	s.Rules[0].Active, s.Devices = false, nil
	if got := ruleActs(s); got != "; overheat idle" {
		t.Errorf("got %q", got)
	}
}
