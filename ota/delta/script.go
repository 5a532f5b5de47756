package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What the frame of a delta holds, a script; README.md has it byte by byte.
const (
	scriptMagic = "tgdelta1"
	scriptHead  = len(scriptMagic) + 8 + 8
	chunkHead   = 4 * 4
	chunkBytes  = 4 << 20  // of the program that a chunk makes, at most
	maxChunk    = 20 << 20 // bytes of a chunk
)

var errScript = errors.New("no delta")

// A chunk is some steps, and what they need. The parts stand behind each other: alike lies with alike.
type chunk struct {
	steps  []byte // uvarints: words, fresh bytes; varint: jump
	fresh  []byte
	gaps   []byte // uvarints: words that are the same, up to one that is not
	values []byte // uint32, little endian: what is added to that one
	out    int    // bytes of the program
	same   uint64
}

func (c *chunk) bytes(b []byte) []byte {
	for _, part := range [][]byte{c.steps, c.fresh, c.gaps, c.values} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(part)))
	}
	for _, part := range [][]byte{c.steps, c.fresh, c.gaps, c.values} {
		b = append(b, part...)
	}
	return b
}

// add has the chunk make program of old.
func (c *chunk) add(old, program []byte, fresh, jump int) {
	words := len(old) / word
	c.steps = binary.AppendUvarint(c.steps, uint64(words))
	c.steps = binary.AppendUvarint(c.steps, uint64(fresh))
	c.steps = binary.AppendVarint(c.steps, int64(jump))
	for i := range words {
		x := binary.LittleEndian.Uint32(program[i*word:]) - binary.LittleEndian.Uint32(old[i*word:])
		if x == 0 {
			c.same++
			continue
		}
		c.gaps = binary.AppendUvarint(c.gaps, c.same)
		c.values = binary.LittleEndian.AppendUint32(c.values, x)
		c.same = 0
	}
	c.fresh = append(c.fresh, program[words*word:words*word+fresh]...)
	c.out += words*word + fresh
}

// writeScript returns what applyScript makes program of with old.
func writeScript(old, program []byte) []byte {
	b := append(make([]byte, 0, len(program)/4), scriptMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(old)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(program)))
	c := &chunk{}
	place, at := 0, 0
	for _, s := range plan(old, program) {
		for done := false; !done; {
			space := chunkBytes - c.out
			words := min(s.words, space/word)
			fresh, jump := 0, 0
			s.words -= words
			if s.words == 0 {
				fresh = min(s.fresh, space-words*word)
				s.fresh -= fresh
			}
			if done = s.words == 0 && s.fresh == 0; done {
				jump = s.jump
			}
			c.add(old[place:place+words*word], program[at:at+words*word+fresh], fresh, jump)
			place += words*word + jump
			at += words*word + fresh
			if c.out == chunkBytes {
				b, c = c.bytes(b), &chunk{}
			}
		}
	}
	if c.out > 0 {
		b = c.bytes(b)
	}
	return b
}

// applyScript writes the program that the script in d makes of old.
func applyScript(out *output, d io.Reader, old []byte) error {
	head := make([]byte, scriptHead)
	if _, err := io.ReadFull(d, head); err != nil {
		return fmt.Errorf("%w: %w", errScript, err)
	}
	if got := head[:len(scriptMagic)]; string(got) != scriptMagic {
		return fmt.Errorf("%w: it begins with %q, want %q", errScript, got, scriptMagic)
	}
	if n := binary.LittleEndian.Uint64(head[len(scriptMagic):]); n != uint64(len(old)) {
		return fmt.Errorf("%w of this program: got one of %d bytes, want one of %d", errScript, len(old), n)
	}
	if n := binary.LittleEndian.Uint64(head[len(scriptMagic)+8:]); n != uint64(out.length) {
		return fmt.Errorf("%w: the delta makes %d bytes, want %d", ErrLength, n, out.length)
	}
	p := &patcher{out: out, old: old, buffer: make([]byte, 64<<10)}
	var body []byte
	for out.written < out.length {
		var sizes [chunkHead]byte
		if _, err := io.ReadFull(d, sizes[:]); err != nil {
			return err
		}
		var bounds [5]uint64
		for i := range 4 {
			bounds[i+1] = bounds[i] + uint64(binary.LittleEndian.Uint32(sizes[4*i:]))
		}
		if bounds[4] > maxChunk {
			return fmt.Errorf("%w: got a chunk of %d bytes, want at most %d", errScript, bounds[4], maxChunk)
		}
		if uint64(cap(body)) < bounds[4] {
			body = make([]byte, bounds[4])
		}
		body = body[:bounds[4]]
		if _, err := io.ReadFull(d, body); err != nil {
			return err
		}
		part := func(i int) []byte { return body[bounds[i]:bounds[i+1]] }
		before := out.written
		if err := p.apply(&chunk{steps: part(0), fresh: part(1), gaps: part(2), values: part(3)}); err != nil {
			return err
		}
		if out.written == before {
			return fmt.Errorf("%w: got a chunk that makes nothing", errScript)
		}
	}
	return nil
}

// A patcher goes through the old program.
type patcher struct {
	out    io.Writer
	old    []byte
	place  int64
	buffer []byte // whole words
}

func (p *patcher) apply(c *chunk) error {
	if err := c.skip(); err != nil {
		return err
	}
	for len(c.steps) > 0 {
		words, err := uvarint(&c.steps)
		if err != nil {
			return err
		}
		fresh, err := uvarint(&c.steps)
		if err != nil {
			return err
		}
		jump, n := binary.Varint(c.steps)
		if n <= 0 {
			return fmt.Errorf("%w: step cut short", errScript)
		}
		c.steps = c.steps[n:]
		if p.place < 0 || p.place > int64(len(p.old)) || words > uint64(int64(len(p.old))-p.place)/word || fresh > uint64(len(c.fresh)) {
			return fmt.Errorf("%w: step of %d words and %d bytes leads out of the old program or the chunk", errScript, words, fresh)
		}
		if err := p.lay(c, p.old[p.place:p.place+int64(words)*word]); err != nil {
			return err
		}
		if _, err := p.out.Write(c.fresh[:fresh]); err != nil {
			return err
		}
		c.fresh = c.fresh[fresh:]
		p.place += int64(words)*word + jump // where that is nowhere, the next step is refused, as it is behind the end of all numbers
	}
	if len(c.fresh) > 0 || len(c.values) > 0 {
		return fmt.Errorf("%w: got %d bytes and %d words too many", errScript, len(c.fresh), len(c.values)/word)
	}
	return nil
}

// lay writes old with what the chunk adds to it.
func (p *patcher) lay(c *chunk, old []byte) error {
	for len(old) > 0 {
		b := p.buffer[:copy(p.buffer, old)]
		old = old[len(b):]
		at := uint64(0)
		for len(c.values) > 0 && c.same < uint64(len(b)/word)-at {
			at += c.same
			x := b[at*word:]
			binary.LittleEndian.PutUint32(x, binary.LittleEndian.Uint32(x)+binary.LittleEndian.Uint32(c.values))
			at++
			c.values = c.values[word:]
			if err := c.skip(); err != nil {
				return err
			}
		}
		if len(c.values) > 0 {
			c.same -= uint64(len(b)/word) - at
		}
		if _, err := p.out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// skip reads how far it is to the next word that differs.
func (c *chunk) skip() (err error) {
	if len(c.gaps) == 0 && len(c.values) == 0 {
		return nil
	}
	if len(c.values) < word {
		return fmt.Errorf("%w: a word is missing", errScript)
	}
	c.same, err = uvarint(&c.gaps)
	return err
}

func uvarint(b *[]byte) (uint64, error) {
	x, n := binary.Uvarint(*b)
	if n <= 0 {
		return 0, fmt.Errorf("%w: number cut short", errScript)
	}
	*b = (*b)[n:]
	return x, nil
}
