package subscribe

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
)

// A stream is a net.Conn that reads from r.
type stream struct {
	net.Conn
	r      io.Reader
	closed int
}

func (s *stream) Read(b []byte) (int, error) { return s.r.Read(b) }
func (s *stream) Close() error               { s.closed++; return nil }

// packet returns an MQTT packet of that type with n bytes behind its header.
func packet(kind byte, n int) []byte {
	b := []byte{kind}
	for x := n; ; {
		c := byte(x & 0x7f)
		if x >>= 7; x > 0 {
			b = append(b, c|0x80)
			continue
		}
		return append(append(b, c), bytes.Repeat([]byte{0x30}, n)...)
	}
}

func TestGuard(t *testing.T) {
	join := func(bs ...[]byte) []byte { return bytes.Join(bs, nil) }
	tests := map[string]struct {
		in   []byte
		want string // the error behind what is let in
		n    int    // bytes let in, at most
	}{
		"packets of all sizes":           {join(packet(0x40, 2), packet(0x30, 0), packet(0x30, 127), packet(0x30, 128), packet(0x30, 16384), packet(0x30, 65639)), "EOF", 1 << 20},
		"one byte too long":              {packet(0x30, 100+headerRoom+1), "read packet: it is 65640 bytes long, at most 65639 are taken", 0},
		"256 MiB, a header only":         {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, "read packet: it is 268435455 bytes long, at most 65639 are taken", 0},
		"length of five bytes":           {[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, "read packet: its length takes more than four bytes", 0},
		"SUBACK of one filter":           {packet(0x90, 3), "EOF", 5},
		"SUBACK of two filters":          {packet(0x90, 4), "read SUBACK: it is 4 bytes long, 3 answer one filter", 0},
		"a good one before the long one": {join(packet(0x40, 2), []byte{0x30, 0xff, 0xff, 0xff, 0x7f}), "read packet: it is 268435455 bytes long, at most 65639 are taken", 4},
	}
	for name, tt := range tests {
		for way, r := range map[string]io.Reader{"at once": bytes.NewReader(tt.in), "byte by byte": iotest.OneByteReader(bytes.NewReader(tt.in))} {
			t.Run(name+" "+way, func(t *testing.T) {
				s := &stream{r: r}
				ended := 0
				g := newGuard(s, 100, func() { ended++ })
				n, err := io.Copy(io.Discard, readerOnly{g})
				if err == nil {
					err = io.EOF
				}
				if err.Error() != tt.want || n > int64(max(tt.n, 8)) {
					t.Errorf("%d bytes, %v; want %s", n, err, tt.want)
				}
				if _, again := g.Read(make([]byte, 1)); tt.want != "EOF" && (again == nil || s.closed == 0) {
					t.Errorf("read again: %v, closed %d", again, s.closed)
				}
				if err := g.Close(); err != nil || ended != 1 {
					t.Errorf("close: %v, ended %d", err, ended)
				}
			})
		}
	}
}

// readerOnly hides all but Read.
type readerOnly struct{ io.Reader }

// FuzzGuard compares the guard with a plain reading of the same bytes, cut at any place.
func FuzzGuard(f *testing.F) {
	f.Add(packet(0x30, 200), 3)
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 1)
	f.Add([]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, 2)
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		const limit = 300
		g := &guard{limit: limit}
		var got error
		cut = max(1, cut)
		for rest := in; len(rest) > 0 && got == nil; {
			n := min(cut, len(rest))
			got, rest = g.look(rest[:n]), rest[n:]
		}
		if want := plain(in, limit); (got == nil) != (want == nil) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// plain reads packets one after the other and returns what is wrong with the first bad one.
func plain(b []byte, limit int) error {
	for len(b) > 0 {
		n, i := 0, 1
		for ; ; i++ {
			if i == len(b) {
				return nil // cut off
			}
			n |= int(b[i]&0x7f) << (7 * (i - 1))
			if b[i]&0x80 == 0 {
				break
			}
			if i == 4 {
				return errors.New("length")
			}
		}
		if n > limit || b[0]>>4 == suback && n > subackLength {
			return errors.New("long")
		}
		b = b[min(len(b), i+1+n):]
	}
	return nil
}
