package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// The bus that both sides read: units 1 to units, each with registers values of two holding registers from address 0.
const (
	units     = 50
	registers = 40
)

// Registers of a unit with a meaning of their own.
const (
	regNumber = 0  // running number of the unit's replies, from 1: the identity of a reply
	regTime   = 1  // milliseconds of the wall clock when the reply was made, modulo 2^32
	regWave   = 20 // from here on slow waveforms, before it slow counters
	regRandom = 39 // the one random in forty
)

// value returns what register reg of unit holds in reply n. All but regTime can be known beforehand, so that every value that
// arrives can be checked.
func value(seed uint64, unit, n uint32, reg int) uint32 {
	switch {
	case reg == regNumber:
		return n
	case reg == regRandom:
		return uint32(mix(seed ^ uint64(unit)<<40 ^ uint64(n)))
	case reg < regWave:
		return 1_000_000*uint32(reg) + 10_000*unit + n/(1+(unit+uint32(reg))%10)
	default:
		period := 600 + 300*float64(reg-regWave) // replies: 1 to 10 minutes at 10 Hz
		return uint32(50_000 + 20_000*math.Sin(2*math.Pi*(float64(n)/period+float64(unit)/units)))
	}
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// A slave is a Modbus TCP slave that counts what it answers.
type slave struct {
	seed    uint64
	replies [units + 1]atomic.Uint32
	refused atomic.Uint64
}

// counts is what the slave tells of itself.
type counts struct {
	Units   [units + 1]uint32 // replies of each unit so far; [0] is unused
	Refused uint64            // requests answered by an exception
}

// runSlave serves Modbus on one port of the loopback, its counts on another, and Modbus RTU on a serial line, all three printed, until the
// process is ended.
func runSlave(seed uint64) error {
	s := &slave{seed: seed}
	bus, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ask, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l, err := newLine()
	if err != nil {
		return err
	}
	fmt.Printf("%s %s %s\n", bus.Addr(), ask.Addr(), l.path)
	go func() {
		fmt.Fprintln(os.Stderr, "slave:", s.serveLine(l))
		os.Exit(1)
	}()
	go func() {
		for {
			c, err := bus.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, "slave:", err)
				os.Exit(1)
			}
			go func() {
				if err := s.serve(c); err != nil && !errors.Is(err, io.EOF) {
					fmt.Fprintln(os.Stderr, "slave:", err)
				}
			}()
		}
	}()
	return http.Serve(ask, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(s.counts()); err != nil {
			fmt.Fprintln(os.Stderr, "slave:", err)
		}
	}))
}

func (s *slave) counts() counts {
	c := counts{Refused: s.refused.Load()}
	for u := range s.replies {
		c.Units[u] = s.replies[u].Load()
	}
	return c
}

// serve answers one connection: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1; Application Protocol V1.1b3, 6.3.
func (s *slave) serve(c net.Conn) error {
	defer c.Close()
	r := bufio.NewReader(c)
	var q [12]byte
	out := make([]byte, 0, 260)
	for {
		if _, err := io.ReadFull(r, q[:]); err != nil {
			return err
		}
		if n := binary.BigEndian.Uint16(q[4:]); n != 6 {
			return fmt.Errorf("length field: got %d, want 6", n)
		}
		out = s.reply(out[:0], q)
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
}

// reply appends the answer to the request q.
func (s *slave) reply(out []byte, q [12]byte) []byte {
	unit, code := uint32(q[6]), q[7]
	first, count := binary.BigEndian.Uint16(q[8:]), binary.BigEndian.Uint16(q[10:])
	out = append(out, q[0], q[1], 0, 0)
	refuse := func(why byte) []byte {
		s.refused.Add(1)
		return append(out, 0, 3, q[6], code|0x80, why)
	}
	if unit < 1 || unit > units {
		return refuse(0x0b)
	}
	if code != 3 {
		return refuse(1)
	}
	// Whole replies only: a part would break the account, in which one reply is 40 readings.
	if first != 0 || count != 2*registers {
		return refuse(2)
	}
	n := s.replies[unit].Add(1)
	out = binary.BigEndian.AppendUint16(out, 3+4*registers)
	out = append(out, q[6], code, 4*registers)
	for reg := range registers {
		v := value(s.seed, unit, n, reg)
		if reg == regTime {
			v = uint32(time.Now().UnixMilli())
		}
		out = binary.BigEndian.AppendUint32(out, v)
	}
	return out
}
