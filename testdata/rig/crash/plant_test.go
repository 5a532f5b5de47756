package crash

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// What the plant's units are.
const (
	meterUnit = 1 // registers that make every kind of rule fire
	gaugeUnit = 2 // one register, which it refuses now and then
	relayUnit = 3 // coils that rules set
)

// meterChannels are the channels of m1, two registers each. Each but one and still has the reply's running number in its low digits, so
// that an alarm names the reply that decided.
var meterChannels = [...]string{"n", "level", "hold", "one", "load2", "load10", "jump", "still"}

// A plant is the far end of a gateway with rules: it makes the truth, and keeps it.
type plant struct {
	t     *testing.T
	ports []*bed.Port // by unit-1
	lost  int64       // of units: 1 where a reply is missing that is to be there, and the rest was not looked at

	mu      sync.Mutex                   // guards all below
	steps   uint32                       // how far the meter's course has come
	still   *[2]bool                     // level and hold while the course stands still; nil = it goes on
	replies [][len(meterChannels)]uint32 // what m1 answered, by running number - 1
	asked   []bool                       // what m2 was asked: true = it answered, with its next running number
	good    uint32                       // running number of m2's last answer
	coils   [2]bool                      // valve, pump
	writes  []int                        // which of them was written to, each time
	times   [2][]time.Time               // when replies was answered, and asked
	lives   []life                       // of the gateway
}

// life is one process of the gateway.
type life struct {
	began time.Time // before its start
	up    time.Time // it was seen judging; zero = it was not
	next  uint64    // records with lower numbers were seen judged
	ended time.Time // it was dead; zero = it lives
	meter int       // replies of m1 by then
	gauge int       // requests to m2 by then
}

func newPlant(t *testing.T) *plant {
	p := &plant{t: t}
	s := &slave.Slave{Units: []byte{meterUnit, gaugeUnit, relayUnit}, Values: p.values, Write: p.write}
	for range s.Units {
		p.ports = append(p.ports, bed.NewPort(t, s)) // a port each: none waits for another
	}
	return p
}

// devices is the configuration of the units; far away, nobody listens.
func (p *plant) devices(away bool) string {
	address := func(unit int) string {
		if away {
			return "tcp://127.0.0.1:1"
		}
		return p.ports[unit-1].Address()
	}
	every := map[bool]string{true: "1h", false: "20ms"}[away]
	text := fmt.Sprintf("  - name: m1\n    driver: modbus\n    every: %s\n    address: %s\n    unit: %d\n    timeout: 20s\n    registers:\n", every, address(meterUnit), meterUnit)
	for i, ch := range meterChannels {
		text += fmt.Sprintf("      - {channel: %s, table: holding, address: %d, type: uint32}\n", ch, 2*i)
	}
	return text + fmt.Sprintf(`  - name: m2
    driver: modbus
    every: %s
    address: %s
    unit: %d
    timeout: 20s
    registers: [{channel: v, table: holding, address: 0, type: uint32}]
  - name: plc
    driver: modbus
    every: 200ms
    address: %s
    unit: %d
    timeout: 20s
    registers:
      - {channel: valve, table: coil, address: 0, write: true}
      - {channel: pump, table: coil, address: 1, write: true}
`, every, address(gaugeUnit), gaugeUnit, address(relayUnit), relayUnit)
}

// values answers.
func (p *plant) values(q slave.Request, out []uint16) slave.Exception {
	p.mu.Lock()
	defer p.mu.Unlock()
	put := func(at int, v uint32) { out[at], out[at+1] = uint16(v>>16), uint16(v) }
	switch {
	case q.Unit == meterUnit && q.Table == slave.Holdings && q.Address == 0 && int(q.Quantity) == 2*len(meterChannels):
		for i, v := range p.courseLocked() {
			put(2*i, v)
		}
	case q.Unit == gaugeUnit && q.Table == slave.Holdings && q.Address == 0 && q.Quantity == 2:
		step := len(p.asked) % 80
		answers := p.still != nil || !(step >= 30 && step < 33 || step >= 50) // 3 refusals, and 30
		p.asked, p.times[1] = append(p.asked, answers), append(p.times[1], time.Now())
		if !answers {
			return 6 // busy: it may be asked again at once
		}
		p.good++
		put(0, p.good)
	case q.Unit == relayUnit && q.Table == slave.Coils && int(q.Address)+len(out) <= len(p.coils):
		for i := range out {
			out[i] = map[bool]uint16{true: 1}[p.coils[int(q.Address)+i]]
		}
	default:
		return slave.IllegalAddress
	}
	return slave.NoException
}

// courseLocked returns the next reply of the meter.
func (p *plant) courseLocked() (v [len(meterChannels)]uint32) {
	s, n := p.steps, uint32(len(p.replies)+1)
	high := func(is bool, times uint32) uint32 { return map[bool]uint32{true: times}[is] + n }
	level := [...]uint32{50e6, 50e6, 150e6, 250e6, 250e6, 150e6}[s/4%6]
	hold := s%50 >= 10 && s%50 < 13 || s%50 >= 25 && s%50 < 45 // 3 replies, and 20
	if p.still != nil {
		level, hold = map[bool]uint32{true: 250e6, false: 50e6}[p.still[0]], p.still[1]
	} else {
		p.steps++
	}
	v = [...]uint32{
		n, level + n, high(hold, 1e9), 1, high(s%200 >= 100, 100e6), high(s%1000 >= 500, 100e6), s/10*500_000 + n, s/40*1000 + max(s%40, 20),
	}
	p.replies, p.times[0] = append(p.replies, v), append(p.times[0], time.Now())
	return v
}

// write takes an order.
func (p *plant) write(q slave.Request, values []uint16) slave.Exception {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.Unit != relayUnit || q.Table != slave.Coils || int(q.Address)+len(values) > len(p.coils) {
		return slave.IllegalAddress
	}
	for i, v := range values {
		at := int(q.Address) + i
		p.coils[at] = v != 0
		p.writes = append(p.writes, at)
	}
	return slave.NoException
}

// begins notes that the gateway is about to be started.
func (p *plant) begins() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lives = append(p.lives, life{began: time.Now()})
}

// ended notes that the gateway's process has ended, when all that it had asked is answered. Then somebody turns each output around: what a start
// finds there is not what the process before has left.
func (p *plant) ended() {
	now := time.Now()
	for _, port := range p.ports {
		port.Stopped()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &p.lives[len(p.lives)-1]
	l.ended, l.meter, l.gauge = now, len(p.replies), len(p.asked)
	p.coils = [2]bool{!p.coils[0], !p.coils[1]}
}

// watch asks the gateway what it has judged, until over. The answers only make more of what rules do decidable: what was judged before a kill
// and what after it, no far end can know.
func (p *plant) watch(g *bed.Gateway, over <-chan struct{}) {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		before := p.lived()
		s, ok := g.Status()
		p.mu.Lock()
		if l := &p.lives[len(p.lives)-1]; ok && s.NextRecord > 0 && len(p.lives) == before && l.ended.IsZero() {
			l.next = s.NextRecord
			if l.up.IsZero() {
				l.up = time.Now()
			}
		}
		p.mu.Unlock()
	}
}

func (p *plant) lived() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lives)
}

// stand has the course stand still with level high or low and hold as given, or go on.
func (p *plant) stand(at *[2]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.still = at
}

// course returns how far the meter's course has come.
func (p *plant) course() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.steps)
}

// relays returns how the coils are, how often they were written to, and how many replies the meter has given.
func (p *plant) relays() (coils [2]bool, writes, replies int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.coils, len(p.writes), len(p.replies)
}

// lifeOf returns in which of the gateway's lives the meter gave reply n, or the gauge was asked for the n-th time.
func lifeOf(lives []life, n int, count func(*life) int) int {
	return slices.IndexFunc(lives, func(l life) bool { return n <= count(&l) })
}
