package modbus

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/line"
	"github.com/tidegate-io/tidegate/drivers/modbus/doctor"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

var update = flag.Bool("update", false, "write the confusion matrix into drivers/README.md")

// wiringFaults are those that the doctor has to tell apart.
var wiringFaults = []doctor.Code{
	doctor.Swapped, doctor.NoTermination, doctor.NoBias, doctor.WrongBaud, doctor.WrongParity, doctor.WrongStop, doctor.TwoUnits,
	doctor.Dead, doctor.Slow, doctor.HalfFrames, doctor.Cut, doctor.SecondMaster, doctor.WrongUnit, doctor.WrongOrder,
}

// A scene is a line, a gateway on it, and perhaps a fault.
type scene struct {
	rng     *rand.Rand
	config  line.Config
	serial  drivers.Serial // as the gateway has it
	picky   bool           // its UART looks at both stop bits
	timeout time.Duration
	every   time.Duration
	polled  []int // unit numbers; the first is the one that is looked after
	counts  map[int]int
	order   string // of the first one's numbers, as configured
	isWell  bool   // there is no fault: the doctor is asked after each Read
	harm    int    // how many Reads of the first one have to fail at least, else there is no fault to speak of
}

const rounds = 12

// pick returns one of list.
func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

func between(rng *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(rng.Int64N(int64(b-a)+1))
}

// newScene draws a line without a fault.
func newScene(rng *rand.Rand) *scene {
	s := &scene{rng: rng, counts: map[int]int{}, order: pick(rng, "ABCD", "CDAB", "BADC", "DCBA")}
	frame := pick(rng, [2]string{"even", "1"}, [2]string{"none", "2"}, [2]string{"none", "1"}, [2]string{"odd", "1"})
	s.serial = drivers.Serial{Port: "/dev/ttyX", Baud: pick(rng, 9600, 9600, 19200, 38400, 115200), DataBits: 8, Parity: frame[0], StopBits: frame[1]}
	s.timeout = between(rng, 300*time.Millisecond, time.Second).Round(time.Millisecond)
	s.every = pick(rng, 20*time.Millisecond, 250*time.Millisecond, time.Second)
	s.config.Seed = rng.Uint64()
	s.config.Latency = pick(rng, 0, time.Millisecond, 16*time.Millisecond)
	s.config.Echo = rng.IntN(5) == 0
	numbers := rng.Perm(40)
	for i := range 1 + rng.IntN(4) {
		n := 1 + numbers[i]
		s.polled = append(s.polled, n)
		s.counts[n] = 6 + rng.IntN(18)
		u := line.Unit{
			UART: uartOf(s.serial), Delay: between(rng, 2*time.Millisecond, 60*time.Millisecond), Jitter: between(rng, 0, 5*time.Millisecond),
			Tolerant: rng.IntN(2) == 0,
		}
		u.PPM = rng.IntN(10001) - 5000
		u.Strength = 1.5 + 2*rng.Float64()
		u.Answer = s.answer(n, s.order, rng.IntN(1000))
		s.config.Units = append(s.config.Units, u)
	}
	switch rng.IntN(10) {
	default:
		s.config.Bias = 0.3
	case 0, 1, 2:
		s.config.Gateway.Bias = 0.3
	case 3:
		s.config.Units[0].Bias = 0.3
	}
	return s
}

func uartOf(s drivers.Serial) line.UART {
	u := line.UART{Baud: s.Baud, Bits: s.DataBits, Parity: s.Parity, Stop: 1}
	if s.StopBits == "2" {
		u.Stop = 2
	}
	return u
}

// answer returns a unit: a float in registers 0 and 1, a counter in 2 and 3, anything behind.
func (s *scene) answer(n int, order string, salt int) func([]byte) []byte {
	asked := 0
	sl := &slave.Slave{Units: []byte{byte(n)}, Values: func(q slave.Request, out []uint16) slave.Exception {
		asked++
		var regs [4]uint16
		split := func(at int, v uint32) {
			b := binary.BigEndian.AppendUint32(nil, v)
			if order == "BADC" || order == "DCBA" {
				b[0], b[1], b[2], b[3] = b[1], b[0], b[3], b[2]
			}
			regs[at], regs[at+1] = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
			if order == "CDAB" || order == "DCBA" {
				regs[at], regs[at+1] = regs[at+1], regs[at]
			}
		}
		split(0, math.Float32bits(float32(200+float64(n)+math.Sin(float64(asked+salt))*7)))
		split(2, uint32(salt*1000+n*100000+asked*(1+salt%5)))
		for i := range out {
			if at := int(q.Address) + i; at < 4 {
				out[i] = regs[at]
			} else {
				out[i] = uint16(at*2654435761>>3) ^ uint16(salt+asked/7)
			}
		}
		return slave.NoException
	}}
	return func(frame []byte) []byte {
		if len(frame) != 8 {
			return nil
		}
		rw := &once{in: bytes.NewReader(frame)}
		if err := sl.ServeRTU(context.Background(), rw); err != nil {
			return nil
		}
		return rw.out
	}
}

// once is a line on which one frame came.
type once struct {
	in  io.Reader
	out []byte
}

func (o *once) Read(b []byte) (int, error)  { return o.in.Read(b) }
func (o *once) Write(b []byte) (int, error) { o.out = append(o.out, b...); return len(b), nil }

// bit is how long a bit takes.
func (s *scene) bit() time.Duration { return time.Second / time.Duration(s.serial.Baud) }

// share returns part of d, between a and b of it.
func (s *scene) share(d time.Duration, a, b float64) time.Duration {
	return time.Duration(float64(d) * (a + (b-a)*s.rng.Float64()))
}

// target is the unit that is looked after.
func (s *scene) target() *line.Unit { return &s.config.Units[0] }

// spoil puts a fault into the scene.
func (s *scene) spoil(fault doctor.Code) {
	rng, u := s.rng, s.target()
	switch fault {
	case doctor.WrongOrder:
	case doctor.NoBias, doctor.NoTermination, doctor.SecondMaster:
		s.harm = max(s.harm, 1)
	default:
		s.harm = 4
	}
	switch fault {
	case doctor.Swapped:
		if rng.IntN(2) == 0 {
			s.config.Gateway.Swapped = true
		} else {
			u.Swapped = true
		}
	case doctor.NoTermination:
		s.config.Swing = line.Swing{Edge: s.share(s.bit(), 0.4, 0.55), Tail: s.share(s.bit(), 4, 30)}
	case doctor.NoBias:
		s.config.Bias, s.config.Gateway.Bias, u.Bias = 0, 0, 0
		s.config.Noise = line.Noise{Every: between(rng, 20*time.Millisecond, 120*time.Millisecond), Pulse: s.share(s.bit(), 0.7, 2), Pulses: 1 + rng.IntN(4)}
	case doctor.WrongBaud, doctor.WrongParity:
		other := u.UART
		for other.Baud == u.Baud && other.Parity == u.Parity {
			if fault == doctor.WrongBaud {
				other.Baud = pick(rng, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
			} else {
				other.Parity = pick(rng, "none", "even", "odd")
			}
		}
		all := rng.IntN(10) < 7
		for i := range s.config.Units {
			if x := &s.config.Units[i]; i == 0 || all {
				x.Baud, x.Parity = other.Baud, other.Parity
			}
		}
	case doctor.WrongStop:
		if rng.IntN(2) == 0 && s.serial.StopBits == "1" {
			u.Stop, u.Picky = 2, true
			break
		}
		s.serial.StopBits, s.picky = "2", true
		for i := range s.config.Units {
			s.config.Units[i].Stop = 1
		}
	case doctor.TwoUnits:
		twin := *u
		twin.Delay += between(rng, 0, 6*time.Millisecond)
		twin.Strength = 1.5 + 2*rng.Float64()
		twin.Answer = s.answer(s.polled[0], s.order, rng.IntN(1000))
		s.config.Units = append(s.config.Units, twin)
	case doctor.Dead:
		u.DiesAt = time.Nanosecond
		if rng.IntN(10) < 7 {
			u.DiesAt = time.Duration(3+rng.IntN(4)) * (s.every + 100*time.Millisecond)
		}
	case doctor.Slow:
		u.Delay = s.share(s.timeout, 1.15, 2.5) + 40*time.Millisecond
	case doctor.HalfFrames:
		u.Keep = 0.3 + 0.5*rng.Float64()
	case doctor.Cut:
		u.CutAfter = 3 + rng.IntN(6)
	case doctor.SecondMaster:
		s.addMaster()
	case doctor.WrongUnit:
		u.Answer = s.answer(50+rng.IntN(190), s.order, 1)
	case doctor.WrongOrder:
		for was := s.order; s.order == was; {
			s.order = pick(rng, "ABCD", "CDAB", "BADC", "DCBA")
		}
	}
}

// addMaster adds one that asks some of our units, and one of its own.
func (s *scene) addMaster() {
	m := &line.Master{UART: uartOf(s.serial), Every: between(s.rng, 150*time.Millisecond, 1500*time.Millisecond), Jitter: 50 * time.Millisecond}
	m.Strength = 1.5 + 2*s.rng.Float64()
	for range 1 + s.rng.IntN(3) {
		ask := []byte{byte(pick(s.rng, append(s.polled, 45)...)), 3, 0, 0, 0, byte(1 + s.rng.IntN(8))}
		crc := uint16(0xffff)
		for _, c := range ask {
			crc ^= uint16(c)
			for range 8 {
				odd := crc&1 == 1
				crc >>= 1
				if odd {
					crc ^= 0xa001
				}
			}
		}
		m.Frames = append(m.Frames, append(ask, byte(crc), byte(crc>>8)))
	}
	s.config.Master = m
}

// gateway is a Host whose serial port is the line.
type gateway struct {
	drivertest.Host
	l     *line.Line
	picky bool

	mu    sync.Mutex
	bus   *drivers.Bus   // guarded by mu; of the devices: those with other settings are opened for one use
	first drivers.Serial // guarded by mu
}

func (g *gateway) Serial(ctx context.Context, c drivers.Serial) (*drivers.Bus, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.bus != nil && c == g.first {
		return g.bus, nil
	}
	b := drivers.NewBus(c.Port, func(context.Context) (drivers.Port, error) {
		u := uartOf(c)
		u.Picky = g.picky
		return g.l.Open(u), nil
	})
	if g.bus == nil {
		g.bus, g.first = b, c
	}
	context.AfterFunc(ctx, func() {
		_ = b.Close()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.bus == b {
			g.bus = nil
		}
	})
	return b, nil
}

// configs returns a device for each unit.
func (s *scene) device(t *testing.T, ctx context.Context, n int, h drivers.Host) *device {
	t.Helper()
	c := Driver.New().(*Config)
	c.Address = fmt.Sprintf("rtu://%s?baud=%d&parity=%s&stop=%s", s.serial.Port, s.serial.Baud, s.serial.Parity, s.serial.StopBits)
	c.Unit, c.Timeout = n, s.timeout
	zero, two, four, count := 0, 2, 4, s.counts[n]-4
	c.Registers = []Register{
		{Channel: "volts", Address: &zero, Type: "float32", Order: s.order},
		{Channel: "count", Address: &two, Type: "uint32", Order: s.order},
		{Channel: "rest", Address: &four, Count: &count},
	}
	if errs := c.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	d, err := c.Open(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	return d.(*device)
}

// An outcome is what came of a scene.
type outcome struct {
	failed  int // Reads of the first unit
	others  int // Reads of the others that failed
	passive doctor.Diagnosis
	final   doctor.Diagnosis // after Examine
	early   []string         // what was said before the end
	texts   map[string]bool  // of the first unit's errors with advice
}

// play reads all units for some rounds, and asks the doctor.
func (s *scene) play(t *testing.T) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h := &gateway{l: line.New(s.config), picky: s.picky}
		var devices []*device
		for _, n := range s.polled {
			devices = append(devices, s.device(t, ctx, n, h))
		}
		start := time.Now()
		o.texts = map[string]bool{}
		for i := 0; i < rounds || time.Since(start) < s.target().DiesAt+4*s.every; i++ {
			for j, d := range devices {
				_, err := d.Read(ctx)
				if err != nil {
					o.others++
				}
				if j == 0 && err != nil {
					o.failed++
					o.others--
					if _, advice, ok := strings.Cut(err.Error(), "; probably "); ok {
						o.texts[advice] = true
					}
				}
				if s.isWell && d.Advice() != "" {
					o.early = append(o.early, d.Advice())
				}
			}
			time.Sleep(s.every)
		}
		o.passive = doctor.Diagnose(devices[0].patient.Case())
		cancel()
		synctest.Wait()
		var err error
		if o.final, err = devices[0].patient.Patient.Examine(t.Context(), h.Serial); err != nil {
			t.Fatal(err)
		}
	})
	return o
}

// stage draws scenes with faults until they do harm, and plays the first that does; ok is false when none of many does.
func stage(t *testing.T, seed uint64, faults ...doctor.Code) (o outcome, ok bool) {
	t.Helper()
	for try := range uint64(100) {
		s := newScene(rand.New(rand.NewPCG(seed, try)))
		for _, f := range faults {
			s.spoil(f)
		}
		if o := s.play(t); o.failed >= s.harm {
			return o, true
		}
	}
	return outcome{}, false
}

// matrix counts what the doctor said of each fault.
type matrix map[doctor.Code]map[doctor.Code]int

func (m matrix) add(is, said doctor.Code) {
	if m[is] == nil {
		m[is] = map[doctor.Code]int{}
	}
	m[is][said]++
}

// row lists what was said of a fault how often, the most frequent first.
func (m matrix) row(is doctor.Code) string {
	said := slices.SortedFunc(maps.Keys(m[is]), func(x, y doctor.Code) int {
		return cmp.Or(cmp.Compare(m[is][y], m[is][x]), cmp.Compare(x, y))
	})
	words := make([]string, len(said))
	for i, c := range said {
		words[i] = fmt.Sprintf("%s %d", cmp.Or(c, "nothing"), m[is][c])
	}
	return strings.Join(words, ", ")
}

func (m matrix) right() (right, all int) {
	for is, said := range m {
		for c, n := range said {
			all += n
			if c == is {
				right += n
			}
		}
	}
	return right, all
}

// seedOf returns a seed of its own for each part of a test that printed seed.
func seedOf(seed uint64, part string, i int) uint64 {
	h := fnv.New64a()
	fmt.Fprintln(h, seed, part, i)
	return h.Sum64()
}

// faultSeeds is how many lines have each fault.
const faultSeeds = 20

// TestDoctorFaults puts each of the faults on lines that are drawn anew each time, and wants the doctor to be right about 90 % of them.
// With -update, what came of it is written into drivers/README.md.
func TestDoctorFaults(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	passive, final := matrix{}, matrix{}
	t.Run("all", func(t *testing.T) {
		for _, f := range wiringFaults {
			t.Run(string(f), func(t *testing.T) {
				t.Parallel()
				for i := range faultSeeds {
					o, ok := stage(t, seedOf(seed, string(f), i), f)
					if !ok {
						t.Fatalf("line %d: none of 100 has a Read that fails", i)
					}
					if o.final.Code != f {
						t.Logf("line %d: %s; %s", i, o.final, o.final.Evidence)
					}
					mu.Lock()
					passive.add(f, o.passive.Code)
					final.add(f, o.final.Code)
					mu.Unlock()
				}
			})
		}
	})
	text := report(seed, passive, final)
	t.Log(text)
	right, all := final.right()
	if right*100 < all*90 || all != len(wiringFaults)*faultSeeds {
		t.Errorf("%d of %d right, want 90 %% of %d", right, all, len(wiringFaults)*faultSeeds)
	}
	keep(t, text)
}

// report is the confusion matrix as drivers/README.md has it.
func report(seed uint64, passive, final matrix) string {
	var b strings.Builder
	heard, all := passive.right()
	asked, _ := final.right()
	fmt.Fprintf(&b, "Right about %d of %d lines by listening, about %d of %d with `--examine` (seed %d).\n\n", heard, all, asked, all, seed)
	b.WriteString("| fault | named by listening | named with `--examine` |\n|---|---|---|\n")
	for _, f := range wiringFaults {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f, passive.row(f), final.row(f))
	}
	return b.String()
}

// keep writes text into drivers/README.md, or wants a record there that meets the mark.
func keep(t *testing.T, text string) {
	t.Helper()
	const path, first, last = "../README.md", "<!-- doctor: go test ./drivers/modbus -run TestDoctorFaults -update -->\n", "<!-- end of doctor -->\n"
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, okFirst := strings.Cut(string(readme), first)
	kept, tail, okLast := strings.Cut(rest, last)
	if !okFirst || !okLast {
		t.Fatalf("%s has no %s", path, first)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+first+text+last+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	var heard, all, asked int
	if _, err := fmt.Sscanf(kept, "Right about %d of %d lines by listening, about %d", &heard, &all, &asked); err != nil {
		t.Fatalf("%s: %v in %q; run with -update", path, err, kept)
	}
	if asked*100 < all*90 || strings.Count(kept, "\n") != strings.Count(text, "\n") {
		t.Errorf("%s has %d of %d right and %d lines, want 90 %% and %d; run with -update", path, asked, all, strings.Count(kept, "\n"), strings.Count(text, "\n"))
	}
}

// TestDoctorMixed puts two faults on each line: one of both has to be named on most.
func TestDoctorMixed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	right, all := 0, 0
	for i := 0; all < 60 && i < 400; i++ {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		a, b := pick(rng, wiringFaults...), pick(rng, wiringFaults...)
		if a == b {
			continue
		}
		o, ok := stage(t, seedOf(seed, "mixed", i), a, b)
		if !ok {
			continue // one undoes the other: a wrong number, and a second unit that has the right one
		}
		all++
		if o.final.Code == a || o.final.Code == b {
			right++
		} else {
			t.Logf("%s and %s: %s; %s", a, b, o.final, o.final.Evidence)
		}
	}
	t.Logf("%d of %d name one of both", right, all)
	if all < 60 || right*100 < all*50 {
		t.Errorf("%d of %d name one of both, want 50 %% of 60", right, all)
	}
}

// TestDoctorHealthy has lines in order, with every setting and under every load: whenever the doctor is asked, nothing is wrong.
func TestDoctorHealthy(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range 40 {
		s := newScene(rand.New(rand.NewPCG(seedOf(seed, "healthy", i), 0)))
		s.isWell = true
		o := s.play(t)
		if o.failed+o.others > 0 || len(o.early) > 0 || o.final.Code != "" {
			t.Errorf("line %d: %d Reads failed, said %q, %s %s", i, o.failed+o.others, o.early, o.final, o.final.Evidence)
		}
	}
}

// TestDoctorOnTerminal puts the model behind a pseudo-terminal, in real time: the real Host reads it, and the doctor's sentence stands in
// the error of the third failed Read.
func TestDoctorOnTerminal(t *testing.T) {
	pair, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(rand.New(rand.NewPCG(1, 1)))
	s.serial = drivers.Serial{Port: pair.Path, Baud: 115200, DataBits: 8, Parity: "even", StopBits: "1"}
	s.timeout, s.polled, s.counts = 100*time.Millisecond, []int{7}, map[int]int{7: 20}
	s.config = line.Config{Bias: 0.3, Units: []line.Unit{{UART: uartOf(s.serial), Delay: 5 * time.Millisecond, Answer: s.answer(7, s.order, 1), Keep: 0.5}}}
	port := line.New(s.config).Open(uartOf(s.serial))
	var pumps sync.WaitGroup
	pumps.Go(func() { _, _ = io.Copy(port, pair.Master) }) // both end when the test closes the ends
	pumps.Go(func() { _, _ = io.Copy(pair.Master, port) })
	defer func() {
		_, _ = pair.Close(), port.Close()
		pumps.Wait()
	}()
	d := s.device(t, t.Context(), 7, board.New(nil))
	for i := range 3 {
		_, err = d.Read(t.Context())
		if err == nil || strings.Contains(err.Error(), "probably the replies of unit 7 break off") != (i == 2) {
			t.Errorf("Read %d: %v", i+1, err)
		}
	}
}
