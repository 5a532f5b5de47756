package delta

import (
	"encoding/binary"
	"math/bits"
)

// A step makes words of the new program from as many of the old one, and then some bytes from nothing. Then it goes on in the old program, jump
// bytes from where it stands.
type step struct {
	words int // of 4 bytes
	fresh int
	jump  int
}

// A planner lays the new program over the old one. When code is put in or taken out, what follows moves as a whole, and the addresses in it
// change all over, mostly by the same few numbers. So long stretches are laid over the old program although many of their words differ: the
// differences compress well. (Colin Percival, "Naive differences of executable code", 2003, has the idea, for bytes.)
type planner struct {
	old, program []byte
	index        *index
	steps        []step
	begin        int // of the stretch that is laid over the old program now: at a whole word
	shift        int // byte i of it lies over byte i+shift
}

const word = 4

// better is by how many bytes another place in the old program must fit better to go there.
const better = 8

// plan returns the steps from old to program.
func plan(old, program []byte) []step {
	p := &planner{old: old, program: program, index: newIndex(old)}
	for at := 0; at < len(program); {
		if n := p.same(at, at+p.shift); n > 0 {
			at += n
			continue
		}
		place, n := p.longest(at)
		if n > p.fits(at, n)+better {
			p.turn(at, place-at)
			at += n
			continue
		}
		at++
	}
	p.turn(len(program), 0)
	return p.steps
}

// same returns how many bytes of the new program from at on are those of the old one from place on.
func (p *planner) same(at, place int) int {
	if place < 0 || place >= len(p.old) {
		return 0
	}
	return common(p.program[at:], p.old[place:])
}

// common returns how many bytes a and b begin with in common.
func common(a, b []byte) int {
	n := 0
	for len(a) >= n+8 && len(b) >= n+8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// fits returns how many of n bytes from at on are the same as they lie now.
func (p *planner) fits(at, n int) int {
	out := 0
	for i := at; i < at+n; i++ {
		if p.lies(i, p.shift) {
			out++
		}
	}
	return out
}

func (p *planner) lies(at, shift int) bool {
	place := at + shift
	return place >= 0 && place < len(p.old) && p.old[place] == p.program[at]
}

// turn ends the stretch that lies at p.shift somewhere before at, and begins one at shift there or before. Of the bytes between the two, each
// goes where it fits; those that fit nowhere are fresh.
func (p *planner) turn(at, shift int) {
	last := at == len(p.program)
	behind := 0 // how well the rest fits the new stretch: same bytes less others
	if !last {
		for i := p.begin; i < at; i++ {
			behind += score(p.lies(i, shift))
		}
	}
	before, bestBefore, end := 0, 0, p.begin
	best, stop, next := bestBefore+behind, p.begin, p.begin
	for i := p.begin; i < at; i++ {
		if before += score(p.lies(i, p.shift)); before > bestBefore {
			bestBefore, end = before, i+1
		}
		if !last {
			behind -= score(p.lies(i, shift))
		}
		if bestBefore+behind >= best {
			best, stop, next = bestBefore+behind, end, i+1
		}
	}
	stop -= stop % word
	if last {
		next, shift = at, p.shift+stop-at // there is nowhere to go
	} else {
		next = min((next+word-1)/word*word, len(p.program))
	}
	p.steps = append(p.steps, step{words: (stop - p.begin) / word, fresh: next - stop, jump: next + shift - (stop + p.shift)})
	p.begin, p.shift = next, shift
}

func score(same bool) int {
	if same {
		return 1
	}
	return -1
}

// An index finds places of the old program by gram bytes.
type index struct {
	old  []byte
	bits int     // of a hash
	head []int32 // by hash: the first place, 0 = none, else place+1
	next []int32 // by place: the next one of the same hash
}

const (
	gram     = 16
	hashBits = 22   // at most
	maxTried = 32   // places of one hash
	maxSame  = 4096 // bytes compared of a place
)

func newIndex(old []byte) *index {
	n := min(bits.Len(uint(len(old))), hashBits)
	x := &index{old: old, bits: n, head: make([]int32, 1<<n), next: make([]int32, len(old))}
	for i := len(old) - gram; i >= 0; i-- {
		h := x.hash(old[i:])
		x.next[i] = x.head[h]
		x.head[h] = int32(i) + 1
	}
	return x
}

func (x *index) hash(b []byte) uint32 {
	a, c := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	return uint32((a*0x9e3779b97f4a7c15 ^ bits.RotateLeft64(c, 29)*0xbf58476d1ce4e5b9) * 0x94d049bb133111eb >> (64 - x.bits))
}

// longest returns where the longest stretch of the new program from at on stands in the old one, and its length; 0 = nowhere.
func (p *planner) longest(at int) (place, length int) {
	rest := p.program[at:]
	if len(rest) < gram {
		return 0, 0
	}
	rest = rest[:min(len(rest), maxSame)]
	for i, tried := p.index.head[p.index.hash(rest)], 0; i != 0 && tried < maxTried; i, tried = p.index.next[i-1], tried+1 {
		if n := common(rest, p.old[i-1:]); n >= gram && n > length {
			place, length = int(i-1), n
		}
	}
	return place, length
}
