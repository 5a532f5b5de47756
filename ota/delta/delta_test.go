package delta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// program returns n bytes that compress about as programs do.
func program(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 256)
	for i := range words {
		words[i] = make([]byte, 3+r.IntN(12))
		for k := range words[i] {
			words[i][k] = byte(r.IntN(256))
		}
	}
	out := make([]byte, 0, n+16)
	for len(out) < n {
		out = append(out, words[r.IntN(len(words))]...)
		out = append(out, byte(r.IntN(256)))
	}
	return out[:n]
}

// edited returns b with stretches removed, put in, moved and overwritten.
func edited(t *rapid.T, b []byte) []byte {
	out := bytes.Clone(b)
	for range rapid.IntRange(0, 8).Draw(t, "edits") {
		at := rapid.IntRange(0, len(out)).Draw(t, "at")
		n := rapid.IntRange(0, len(out)-at).Draw(t, "bytes")
		piece := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "piece")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			out = append(out[:at:at], out[at+n:]...)
		case 1:
			out = append(out[:at:at], append(piece, out[at:]...)...)
		case 2:
			out = append(bytes.Clone(out[at:at+n]), append(out[:at:at], out[at+n:]...)...)
		case 3:
			copy(out[at:], piece)
		}
	}
	return out
}

func TestApplyMakesWhatMakeWasGiven(t *testing.T) {
	base := [][]byte{program(1, 1), program(2, 700), program(3, 40<<10), program(4, 300<<10), make([]byte, 5000)}
	rapid.Check(t, func(t *rapid.T) {
		old := rapid.SampledFrom(base).Draw(t, "old")
		program := edited(t, old)
		if len(program) == 0 {
			program = []byte{1}
		}
		if rapid.IntRange(0, 19).Draw(t, "without") == 0 {
			old = nil
		}
		var out bytes.Buffer
		var err error
		if old != nil && rapid.IntRange(0, 19).Draw(t, "packed") > 0 { // to pack takes 100 ms
			err = applyScript(&output{dst: &out, length: int64(len(program))}, bytes.NewReader(writeScript(old, program)), old)
		} else {
			var frame []byte
			if frame, err = Make(old, program); err == nil {
				err = Apply(&out, bytes.NewReader(frame), old, int64(len(program)))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), program) {
			t.Fatalf("got %d other bytes of %d", out.Len(), len(program))
		}
	})
}

// TestOtherProgramsRead: what Make packs is a frame to somebody else's decoder too.
func TestOtherProgramsRead(t *testing.T) {
	next := program(5, 1<<20)
	frame, err := Make(nil, next)
	if err != nil {
		t.Fatal(err)
	}
	unzstd := exec.Command("zstd", "-d", "-c", "-q")
	unzstd.Stdin = bytes.NewReader(frame)
	if out, err := unzstd.Output(); err != nil || !bytes.Equal(out, next) {
		t.Errorf("zstd (Debian package zstd) made %d bytes, %v", len(out), err)
	}
}

// TestSameInSameOut: who publishes twice publishes the same.
func TestSameInSameOut(t *testing.T) {
	old := program(5, 300<<10)
	next := slices.Concat(old[:100<<10], []byte("a new function"), old[100<<10:])
	one, err := Make(old, next)
	two, again := Make(old, next)
	if err != nil || again != nil || !bytes.Equal(one, two) {
		t.Errorf("got %d bytes, %v, and other %d, %v", len(one), err, len(two), again)
	}
	if len(one) > 100 {
		t.Errorf("got %d bytes for one stretch of 14 put in", len(one))
	}
}

// TestMovedAddressesCostLittle: words that all changed by the same few numbers, as addresses do when code is put in.
func TestMovedAddressesCostLittle(t *testing.T) {
	old := program(12, 400<<10)
	next := slices.Concat(old[:100<<10], program(13, 64), old[100<<10:])
	for i := 0; i < len(next); i += 40 {
		x := next[i:]
		binary.LittleEndian.PutUint32(x, binary.LittleEndian.Uint32(x)+0x40)
	}
	frame, err := Make(old, next)
	if err != nil {
		t.Fatal(err)
	}
	if len(frame) > 1000 {
		t.Errorf("got %d bytes for 64 put in and 10,241 addresses moved", len(frame))
	}
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// TestDamagedFramesAreNoticed: no cut and no flipped bit of a frame makes other bytes unnoticed, or more of them.
func TestDamagedFramesAreNoticed(t *testing.T) {
	old := program(6, 60<<10)
	next := append(bytes.Clone(old[:20<<10]), append(program(7, 2<<10), old[21<<10:]...)...)
	frame, err := Make(old, next)
	if err != nil {
		t.Fatal(err)
	}
	length := int64(len(next))
	for n := range frame {
		c := &counter{}
		if err := Apply(c, bytes.NewReader(frame[:n]), old, length); err == nil || c.n > length {
			t.Fatalf("cut to %d of %d bytes: wrote %d, %v", n, len(frame), c.n, err)
		}
		bad := bytes.Clone(frame)
		bad[n] ^= 1 << (n % 8)
		var out bytes.Buffer
		err := Apply(&out, bytes.NewReader(bad), old, length)
		if err == nil && !bytes.Equal(out.Bytes(), next) || int64(out.Len()) > length {
			t.Fatalf("byte %d of %d flipped: wrote %d other bytes, %v", n, len(frame), out.Len(), err)
		}
	}
}

// endless is a source that never ends; it fails a test that reads on.
type endless struct {
	t    *testing.T
	left int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left -= len(b); e.left < 0 {
		e.t.Fatal("read on and on")
	}
	clear(b)
	return len(b), nil
}

func TestRefused(t *testing.T) {
	old, next := program(8, 5000), program(9, 4000)
	frame := func(old, next []byte) []byte {
		b, err := Make(old, next)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := frame(old, next)
	head := func(h zstd.Header) []byte {
		b, err := h.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	stream := func() []byte { // of unknown length, as a stream is
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(next)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Flush(), w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	bomb := frame(nil, make([]byte, 4<<20))
	for _, c := range []struct {
		name   string
		src    []byte
		length int64
		is     error
		text   string
	}{
		{"one byte less wanted", good, 3999, ErrLength, "unpack: wrong length: the delta makes 4000 bytes, want 3999"},
		{"one byte more wanted", good, 4001, ErrLength, "unpack: wrong length: the delta makes 4000 bytes, want 4001"},
		{"nothing", nil, 4000, ErrFrame, "unpack: bad frame: byte 0 of 4000: header: unexpected EOF"},
		{"no frame", []byte("\x7fELF and so on and on"), 4000, ErrFrame, "unpack: bad frame: byte 0 of 4000: header: invalid input: magic number mismatch"},
		{"two frames", append(bytes.Clone(good), good...), 4000, ErrFrame, "unpack: bad frame: byte 4000 of 4000: got more behind the end"},
		{"something behind", append(bytes.Clone(good), "something"...), 4000, ErrFrame, "unpack: bad frame: byte 4000 of 4000: got more behind the end\ninvalid input: magic number mismatch"},
		{
			"much memory behind it", append(bytes.Clone(good), head(zstd.Header{HasFCS: true, FrameContentSize: 4000, WindowSize: 1 << 28})...), 4000, ErrFrame,
			"unpack: bad frame: byte 4000 of 4000: got more behind the end\nwindow size exceeded",
		},
		{
			"much in one piece behind it", append(bytes.Clone(good), head(zstd.Header{HasFCS: true, FrameContentSize: 1 << 28, SingleSegment: true})...), 4000, ErrFrame,
			"unpack: bad frame: byte 4000 of 4000: got more behind the end\ndecompressed size exceeds configured limit",
		},
		{"no delta", bomb, 4000, ErrFrame, `unpack: bad frame: byte 0 of 4000: no delta: it begins with "\x00\x00\x00\x00\x00\x00\x00\x00", want "tgdelta1"`},
		{"of unknown length", stream(), 4000, ErrFrame, "unpack: bad frame: byte 0 of 4000: it does not say how much it holds"},
		{"skipped", head(zstd.Header{Skippable: true, SkippableSize: 1 << 31}), 4000, ErrFrame, "unpack: bad frame: byte 0 of 4000: got one that holds nothing"},
		{
			"other dictionary", head(zstd.Header{HasFCS: true, FrameContentSize: 4000, SingleSegment: true, DictionaryID: 7}), 4000, ErrFrame,
			"unpack: bad frame: byte 0 of 4000: got dictionary 7, want none",
		},
		{
			"much memory", head(zstd.Header{HasFCS: true, FrameContentSize: 100 << 20, SingleSegment: true}), 100 << 20, ErrFrame,
			"unpack: bad frame: byte 0 of 104857600: it needs a window of 104857600 bytes, want at most 8388608",
		},
		{
			"much memory for little", head(zstd.Header{HasFCS: true, FrameContentSize: 4000, WindowSize: 1 << 28}), 4000, ErrFrame,
			"unpack: bad frame: byte 0 of 4000: it needs a window of 268435456 bytes, want at most 8388608",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &counter{}
			err := Apply(w, bytes.NewReader(c.src), old, c.length)
			if !errors.Is(err, c.is) || err.Error() != c.text {
				t.Errorf("got %v, want %s", err, c.text)
			}
			if w.n > c.length {
				t.Errorf("wrote %d bytes", w.n)
			}
		})
	}
	// Whole programs bear their length in the frame.
	if err := Apply(io.Discard, bytes.NewReader(bomb), nil, 4000); !errors.Is(err, ErrLength) || err.Error() != "unpack: wrong length: the frame holds 4194304 bytes, want 4000" {
		t.Errorf("a bomb: %v", err)
	}
	// A last block of ten bytes behind a header that says 4,000.
	short := append(head(zstd.Header{HasFCS: true, FrameContentSize: 4000, SingleSegment: true}), 1|10<<3, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	if err := Apply(io.Discard, bytes.NewReader(short), nil, 4000); err == nil {
		t.Error("a frame that holds less than it says")
	}
	if err := Apply(io.Discard, io.MultiReader(bytes.NewReader(good), &endless{t, 1 << 20}), old, 4000); err == nil {
		t.Error("an endless source is no frame")
	}
	if _, err := Make(old, nil); !errors.Is(err, ErrLength) {
		t.Errorf("an empty program: %v", err)
	}
}

// script returns a frame of these parts.
func script(t *testing.T, old, length uint64, chunks ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(scriptMagic), old)
	b = binary.LittleEndian.AppendUint64(b, length)
	frame, err := compress(append(b, bytes.Join(chunks, nil)...))
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func TestScriptsRefused(t *testing.T) {
	old := program(14, 400)
	steps := func(words, fresh uint64, jump int64) []byte {
		return binary.AppendVarint(binary.AppendUvarint(binary.AppendUvarint(nil, words), fresh), jump)
	}
	one := []byte{1, 0, 0, 0}
	for _, c := range []struct {
		name, text string
		chunks     []chunk
		old        uint64
	}{
		{"of another program", "no delta of this program: got one of 400 bytes, want one of 401", nil, 401},
		{"nothing follows", "EOF", nil, 400},
		{"beyond the old program", "no delta: step of 101 words and 0 bytes leads out of the old program or the chunk", []chunk{{steps: steps(101, 0, 0)}}, 400},
		{"far beyond", "no delta: step of 4611686018427387905 words and 0 bytes leads out of the old program or the chunk", []chunk{{steps: steps(1<<62+1, 0, 0)}}, 400},
		{"before it", "no delta: step of 1 words and 0 bytes leads out of the old program or the chunk", []chunk{{steps: slices.Concat(steps(1, 0, -5), steps(1, 0, 0))}}, 400},
		{"behind it", "no delta: step of 1 words and 0 bytes leads out of the old program or the chunk", []chunk{{steps: slices.Concat(steps(100, 0, 1), steps(1, 0, 0))}}, 400},
		{"far before it", "no delta: step of 1 words and 0 bytes leads out of the old program or the chunk", []chunk{{steps: slices.Concat(steps(1, 0, math.MinInt64), steps(1, 0, 0))}}, 400},
		{"far behind it", "no delta: step of 1 words and 0 bytes leads out of the old program or the chunk", []chunk{{steps: slices.Concat(steps(1, 0, math.MaxInt64), steps(1, 0, 0))}}, 400},
		{"fresh ones missing", "no delta: step of 0 words and 3 bytes leads out of the old program or the chunk", []chunk{{steps: steps(0, 3, 0), fresh: []byte("ab")}}, 400},
		{"fresh ones left", "no delta: got 2 bytes and 0 words too many", []chunk{{steps: steps(1, 0, 0), fresh: []byte("ab")}}, 400},
		{"word left", "no delta: got 0 bytes and 1 words too many", []chunk{{steps: steps(1, 0, 0), gaps: []byte{1}, values: one}}, 400},
		{"gap without a word", "no delta: a word is missing", []chunk{{steps: steps(5, 0, 0), gaps: []byte{1, 1}, values: one}}, 400},
		{"word without a gap", "no delta: number cut short", []chunk{{steps: steps(5, 0, 0), values: one}}, 400},
		{"half a word", "no delta: a word is missing", []chunk{{steps: steps(5, 0, 0), gaps: []byte{1}, values: one[:3]}}, 400},
		{"number too long", "no delta: number cut short", []chunk{{steps: bytes.Repeat([]byte{0xff}, 11)}}, 400},
		{"step cut short", "no delta: step cut short", []chunk{{steps: steps(1, 0, 0)[:2]}}, 400},
		{"nothing made", "no delta: got a chunk that makes nothing", []chunk{{steps: steps(0, 0, 4)}}, 400},
		{"empty chunk", "no delta: got a chunk that makes nothing", []chunk{{}}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			var chunks [][]byte
			for _, x := range c.chunks {
				chunks = append(chunks, x.bytes(nil))
			}
			out := &counter{}
			err := Apply(out, bytes.NewReader(script(t, c.old, 1000, chunks...)), old, 1000)
			if want := fmt.Sprintf("unpack: bad frame: byte %d of 1000: %s", out.n, c.text); !errors.Is(err, ErrFrame) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	much := binary.LittleEndian.AppendUint32(nil, 0xffffffff)
	if err := Apply(io.Discard, bytes.NewReader(script(t, 400, 1000, much, much, much, much)), old, 1000); err == nil || !strings.Contains(err.Error(), "got a chunk of 17179869180 bytes, want at most") {
		t.Errorf("a chunk of 16 GiB: %v", err)
	}
	long := chunk{steps: steps(100, 0, -400)}
	out := &counter{}
	if err := Apply(out, bytes.NewReader(script(t, 400, 410, bytes.Repeat(long.bytes(nil), 3))), old, 410); !errors.Is(err, ErrLength) || out.n > 410 {
		t.Errorf("a script that makes 1,200 bytes of 410: wrote %d, %v", out.n, err)
	}
}

// full fails like a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestErrorsOfTheDiskAreNotThoseOfTheFrame(t *testing.T) {
	frame, err := Make(nil, program(10, 5000))
	if err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(bytes.NewReader(frame[:100]), iotest.ErrReader(errors.New("input/output error")))
	if err := Apply(io.Discard, broken, nil, 5000); err == nil || errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("got %v", err)
	}
	if err := Apply(full{}, bytes.NewReader(frame), nil, 5000); err == nil || errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}

func FuzzApply(f *testing.F) {
	old := program(11, 3000) // as in testdata/fuzz
	f.Fuzz(func(t *testing.T, frame []byte, length int64) {
		c := &counter{}
		err := Apply(c, bytes.NewReader(frame), old, length)
		if c.n > length && c.n > 0 || err == nil && c.n != length {
			t.Fatalf("wrote %d bytes of %d, %v", c.n, length, err)
		}
	})
}

// FuzzScript is behind zstd's checksum, which FuzzApply does not get through.
func FuzzScript(f *testing.F) {
	old := program(11, 3000)
	next := append(bytes.Clone(old[:1000]), old[1100:]...)
	next[2000]++
	f.Add(writeScript(old, next), int64(len(next)))
	f.Fuzz(func(t *testing.T, script []byte, length int64) {
		c := &counter{}
		err := applyScript(&output{dst: c, length: length}, bytes.NewReader(script), old)
		if c.n > length && c.n > 0 || err == nil && c.n != max(length, 0) {
			t.Fatalf("made %d bytes of %d, %v", c.n, length, err)
		}
	})
}
