// Package delta packs programs for the way: whole as a zstd frame (RFC 8878), or as what has changed since the one before. It unpacks both in
// bounded memory, never more than was asked for.
//
// It does not know whether a frame is the right one: whoever calls it has checked the digest of the frame and of the old program before, and
// checks that of what comes out.
//
// Of a Go program a small change moves half the addresses, so that a frame with the old program as zstd's dictionary takes a fifth of the whole.
// Here the new program is laid over the old one and the differences are kept, by words: 6 % of the whole, see testdata/rig/delta.
package delta

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// window bounds what a decoder keeps of its output, in bytes, and so how far back a frame may look. Programs gain little from more.
const window = 8 << 20

var (
	// ErrFrame is wrapped by errors about what is no frame or no delta, is cut short, or wants another old program or more memory.
	ErrFrame = errors.New("bad frame")
	// ErrLength is wrapped by errors about a frame that holds more or less than was asked for.
	ErrLength = errors.New("wrong length")
)

// Make returns what Apply makes program of with old, or without it where old is empty. The same bytes give the same frame. It takes about ten
// times as much memory as the programs, and seconds: it is for whoever publishes. What it returns was applied once.
func Make(old, program []byte) ([]byte, error) {
	if len(program) == 0 {
		return nil, fmt.Errorf("pack: %w: got an empty program", ErrLength)
	}
	body := program
	if len(old) > 0 {
		body = writeScript(old, program)
	}
	frame, err := compress(body)
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	var out bytes.Buffer
	if err := Apply(&out, bytes.NewReader(frame), old, int64(len(program))); err != nil {
		return nil, fmt.Errorf("pack: applied again: %w", err)
	}
	if !bytes.Equal(out.Bytes(), program) {
		return nil, errors.New("pack: applied again, it makes another program")
	}
	return frame, nil
}

func compress(b []byte) ([]byte, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true),
		zstd.WithWindowSize(window), zstd.WithSingleSegment(len(b) <= zstd.MinWindowSize)) // so short a frame says its length only then
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return e.EncodeAll(b, nil), nil
}

// Apply writes to dst the length bytes that the frame in src stands for, with the old program that it was made with. It never writes more. It
// keeps the last 8 MiB of what it unpacks, and of a delta up to 20 MiB more. Errors of dst and src are wrapped; with any error dst has bytes
// that are worth nothing.
func Apply(dst io.Writer, src io.Reader, old []byte, length int64) error {
	in := &input{src: src}
	out := &output{dst: dst, length: length}
	err := apply(out, bufio.NewReaderSize(in, 64<<10), old)
	switch {
	case err == nil:
		return nil
	case out.err != nil:
		err = out.err
	case in.err != nil:
		err = in.err
	case !errors.Is(err, ErrLength):
		err = fmt.Errorf("%w: byte %d of %d: %w", ErrFrame, out.written, length, err)
	}
	return fmt.Errorf("unpack: %w", err)
}

func apply(out *output, in *bufio.Reader, old []byte) error {
	if err := checkHead(in, out.length, len(old) > 0); err != nil {
		return err
	}
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), // in this goroutine
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return err
	}
	defer d.Close()
	if len(old) > 0 {
		err = applyScript(out, d, old)
	} else {
		_, err = d.WriteTo(out)
	}
	if err != nil {
		return err
	}
	if n, err := d.Read(make([]byte, 1)); err != io.EOF || n > 0 {
		return errors.Join(errors.New("got more behind the end"), err)
	}
	return nil
}

// checkHead looks at the frame's header before anything is allocated for it.
func checkHead(in *bufio.Reader, length int64, script bool) error {
	b, err := in.Peek(zstd.HeaderMaxSize)
	if err != nil && err != io.EOF {
		return err
	}
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	needs := h.WindowSize
	if h.SingleSegment {
		needs = h.FrameContentSize
	}
	switch {
	case h.Skippable:
		return errors.New("got one that holds nothing")
	case !h.HasFCS:
		return errors.New("it does not say how much it holds")
	case !script && h.FrameContentSize != uint64(length):
		return fmt.Errorf("%w: the frame holds %d bytes, want %d", ErrLength, h.FrameContentSize, length)
	case h.DictionaryID != 0:
		return fmt.Errorf("got dictionary %d, want none", h.DictionaryID)
	case needs > window:
		return fmt.Errorf("it needs a window of %d bytes, want at most %d", needs, window)
	}
	return nil
}

// An input remembers that it was the source that failed.
type input struct {
	src io.Reader
	err error
}

func (i *input) Read(b []byte) (int, error) {
	n, err := i.src.Read(b)
	if err != nil && err != io.EOF {
		i.err = err
	}
	return n, err
}

// An output writes no more than length bytes, and remembers that it was the destination that failed.
type output struct {
	dst             io.Writer
	length, written int64
	err             error
}

func (o *output) Write(b []byte) (int, error) {
	if int64(len(b)) > o.length-o.written {
		return 0, fmt.Errorf("%w: got more than the %d bytes that were asked for", ErrLength, o.length)
	}
	n, err := o.dst.Write(b)
	o.written += int64(n)
	o.err = err
	return n, err
}
