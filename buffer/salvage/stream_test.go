package salvage

import (
	"bytes"
	"testing"
)

// FuzzRead gives any bytes as a stream: what is taken comes back the same.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	for _, p := range []piece{{kindSmall, 7, []byte("mpos"), []byte("x")}, {kindFrame, 8, []byte("f"), bytes.Repeat([]byte("y"), 300)}, {kindEnd, 0, nil, nil}} {
		if err := write(&b, p.kind, p.version, p.key, p.value); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:20])
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		r := bytes.NewReader(in)
		for {
			at := len(in) - r.Len()
			p, err := read(r)
			if err != nil {
				if !bytes.Equal(out.Bytes(), in[:at]) {
					t.Errorf("came back as %x, want %x", out.Bytes(), in[:at])
				}
				return
			}
			if err := write(&out, p.kind, p.version, p.key, p.value); err != nil {
				t.Fatal(err)
			}
		}
	})
}
