package fetch

import (
	"fmt"
	"net/http"
	"os"
	"strings"
)

// An origin is what the first bytes of a download are of: a place, and by what it knows its file again.
type origin struct {
	place    string // base URL or folder
	tag      string // strong ETag with its quotes, "" = none
	modified string // Last-Modified as it was sent, "" = none
}

const (
	originMagic = "tgorigin1"
	maxOrigin   = 4096 // bytes of the file, and of each line
)

// originOf reads what an answer says of its file. A weak tag is no promise of the same bytes (RFC 9110 section 8.8.1).
func originOf(place string, h http.Header) origin {
	o := origin{place: place, tag: h.Get("ETag"), modified: h.Get("Last-Modified")}
	if !strings.HasPrefix(o.tag, `"`) || !strings.HasSuffix(o.tag, `"`) || len(o.tag) < 2 {
		o.tag = ""
	}
	if _, err := decodeOrigin(o.encode()); err != nil {
		return origin{place: place} // longer than we keep, or with bytes of no use
	}
	return o
}

// validator is what If-Range asks by; "" = nothing.
func (o origin) validator() string {
	if o.tag != "" {
		return o.tag
	}
	return o.modified
}

// changed says whether a part that was asked for by o is of another file: what it says of it may be less than o has (RFC 9110 section 15.3.7).
func (o origin) changed(part origin) bool {
	if o.tag != "" {
		return part.tag != "" && part.tag != o.tag
	}
	return o.modified != "" && part.modified != "" && part.modified != o.modified
}

// encode returns the file beside a .part: four lines, each ended by LF: "tgorigin1", place, ETag, Last-Modified.
func (o origin) encode() []byte {
	return []byte(strings.Join([]string{originMagic, o.place, o.tag, o.modified, ""}, "\n"))
}

// decodeOrigin is the inverse of encode.
func decodeOrigin(b []byte) (origin, error) {
	lines := strings.Split(string(b), "\n")
	if len(b) > maxOrigin || len(lines) != 5 || lines[0] != originMagic || lines[4] != "" {
		return origin{}, fmt.Errorf("got %d bytes that are none of ours", len(b))
	}
	for _, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
			return origin{}, fmt.Errorf("got a line with characters that no header has: %.80q", line)
		}
	}
	return origin{place: lines[1], tag: lines[2], modified: lines[3]}, nil
}

// readOrigin reads the file beside a .part. Whatever is wrong with it, the download goes on without: the hash decides.
func readOrigin(path string) origin {
	b, err := readSmall(path, maxOrigin)
	if err != nil {
		return origin{}
	}
	o, err := decodeOrigin(b)
	if err != nil {
		return origin{}
	}
	return o
}

// write writes it as what need not last: of half of it nothing is read.
func (o origin) write(path string) error {
	_ = os.Remove(path) // whatever it is, it is not written through
	if err := os.WriteFile(path, o.encode(), 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}
