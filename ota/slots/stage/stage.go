// Package stage writes programs to slots, through selfupdate and around what selfupdate leaves open: it reads updates of any length, verifies
// nothing unless told to, syncs nothing, replaces the program that runs unless told another path, and leaves no program at all where it is
// killed between its two renames. So it is given a reader that ends where it must, a checksum and a path always, and writes only where nothing
// is started from before ota/slots says so; what it wrote is synced, read again and judged there.
package stage

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/minio/selfupdate"

	"github.com/tidegate-io/tidegate/ota/slots"
)

// Stage writes the program that r has to the slot of s that is not in use. See slots.Slots.Stage, which it goes through; errors wrap ctx's as
// well.
//
// It takes memory of one program, as selfupdate reads all of it before it writes: call it in a process that ends.
func Stage(ctx context.Context, s *slots.Slots, r io.Reader, rel slots.Release) error {
	sum, err := hex.DecodeString(rel.SHA256) // slots looks at it more closely
	if err != nil {
		return fmt.Errorf("stage: got sha256 %q, want 64 hex digits: %w", rel.SHA256, err)
	}
	return s.Stage(rel, &placer{ctx: ctx, from: r, rel: rel, sum: sum})
}

// placer writes by selfupdate.
type placer struct {
	ctx  context.Context
	from io.Reader
	rel  slots.Release
	sum  []byte
}

func (p *placer) options(target string) selfupdate.Options {
	return selfupdate.Options{TargetPath: target, TargetMode: 0o755, Checksum: p.sum, Hash: crypto.SHA256}
}

// Prepare is slots.Placer's.
func (p *placer) Prepare(target string) error {
	in := &bounded{ctx: p.ctx, from: p.from, left: p.rel.Length, want: p.rel, sum256: sha256.New(), sum512: sha512.New()}
	opts := p.options(target)
	opts.Patcher = whole{p.rel.Length}
	return selfupdate.PrepareAndCheckBinary(in, opts)
}

// whole is a patch that is all of the new program. By this way selfupdate has it in one buffer, of which the length is known, and not in one
// that is made longer again and again: memory of one program in the place of two and a quarter.
type whole struct{ length int64 }

// Patch is selfupdate.Patcher's.
func (w whole) Patch(_ io.Reader, to io.Writer, from io.Reader) error {
	if b, ok := to.(*bytes.Buffer); ok {
		b.Grow(int(w.length) + bytes.MinRead)
	}
	_, err := io.Copy(to, from)
	return err
}

// Commit is slots.Placer's.
func (p *placer) Commit(target string) error {
	err := selfupdate.CommitBinary(p.options(target))
	return errors.Join(err, selfupdate.RollbackError(err))
}

// bounded gives what from has, as long as it is what was signed: not a byte more is read than one beyond the length, and the end comes only
// behind the right bytes.
type bounded struct {
	ctx            context.Context
	from           io.Reader
	left           int64
	want           slots.Release
	sum256, sum512 hash.Hash
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left+1)])
	if int64(n) > b.left {
		return 0, fmt.Errorf("%w: got more than %d bytes", slots.ErrLength, b.want.Length)
	}
	b.left -= int64(n)
	b.sum256.Write(p[:n])
	b.sum512.Write(p[:n])
	if err == io.EOF {
		if wrong := b.wrong(); wrong != nil {
			return 0, wrong
		}
	}
	return n, err
}

// wrong says how what was read differs from what was signed.
func (b *bounded) wrong() error {
	if b.left > 0 {
		return fmt.Errorf("%w: got %d bytes, want %d", slots.ErrLength, b.want.Length-b.left, b.want.Length)
	}
	if got := hex.EncodeToString(b.sum256.Sum(nil)); got != b.want.SHA256 {
		return fmt.Errorf("%w: got SHA-256 %s, want %s", slots.ErrHash, got, b.want.SHA256)
	}
	if got := hex.EncodeToString(b.sum512.Sum(nil)); got != b.want.SHA512 {
		return fmt.Errorf("%w: got SHA-512 %s, want %s", slots.ErrHash, got, b.want.SHA512)
	}
	return nil
}
