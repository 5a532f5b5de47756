package listed

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/delta"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
)

// file returns what is listed of body, a file that holds or makes whole.
func file(counter uint64, as release.Encoding, base string, body, whole []byte) File {
	d := program.Digest(body)
	return File{
		Name: fmt.Sprintf("tidegate-%d-%s", counter, as), Length: d.Length, SHA256: d.SHA256, SHA512: d.SHA512,
		Signed: release.File{
			Counter: counter, Version: "v1", GOOS: "linux", GOARCH: "arm64", Stage: release.All, Encoding: as, Base: base,
			Program: program.Digest(whole), SBOM: d.SHA256,
		},
	}
}

// TestUnpack wants nothing to come out but the program that is signed, of nothing but the file that is signed.
func TestUnpack(t *testing.T) {
	old, whole := bytes.Repeat([]byte("old program "), 100), bytes.Repeat([]byte("new program "), 100)
	packed, err := delta.Make(nil, whole)
	if err != nil {
		t.Fatal(err)
	}
	d, err := delta.Make(old, whole)
	if err != nil {
		t.Fatal(err)
	}
	base := program.Digest(old).SHA256
	other := file(7, release.Zstd, "", packed, old) // signed by mistake for another program of the same length
	longer := file(7, release.Zstd, "", packed, append(bytes.Clone(whole), 1))
	flipped := bytes.Clone(packed)
	flipped[len(flipped)/2] ^= 1
	for name, tt := range map[string]struct {
		f         File
		body, old []byte
		want      error
	}{
		"plain":                      {file(7, release.Plain, "", whole, whole), whole, nil, nil},
		"zstd":                       {file(7, release.Zstd, "", packed, whole), packed, nil, nil},
		"delta":                      {file(7, release.Delta, base, d, whole), d, old, nil},
		"a bit flipped":              {file(7, release.Zstd, "", packed, whole), flipped, nil, ErrDamaged},
		"a byte less":                {file(7, release.Plain, "", whole, whole), whole[1:], nil, ErrDamaged},
		"becomes another program":    {other, packed, nil, ErrDamaged},
		"becomes one of that length": {longer, packed, nil, ErrDamaged},
		"plain of another program":   {file(7, release.Plain, "", whole, old), whole, nil, ErrDamaged},
		"delta without the old one":  {file(7, release.Delta, base, d, whole), d, nil, ErrDamaged},
		"delta of another old one":   {file(7, release.Delta, base, d, whole), d, bytes.ToUpper(old), ErrDamaged},
		"not packed":                 {file(7, release.Zstd, "", whole, whole), whole, nil, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Unpack(tt.f, tt.body, tt.old)
			if !errors.Is(err, tt.want) || tt.want == nil && !bytes.Equal(got, whole) || tt.want != nil && got != nil {
				t.Errorf("got %d bytes, %v, want %v", len(got), err, tt.want)
			}
		})
	}
	twisted := file(7, release.Zstd, "", packed, whole)
	twisted.SHA512 = program.Digest(old).SHA512
	if _, err := Unpack(twisted, packed, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("right SHA-256, wrong SHA-512: got %v", err)
	}
}

func TestPutOfKeep(t *testing.T) {
	m := metadata.Targets(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, counter := range []uint64{9, 10, 2, 7} {
		body := fmt.Append(nil, counter)
		if err := Put(m, []File{file(counter, release.Zstd, "", body, body), file(counter, release.Plain, "", body, body)}); err != nil {
			t.Fatal(err)
		}
	}
	names := func() string {
		all, err := Of(m)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range all {
			out = append(out, f.Name[len("tidegate-"):])
			if f.Stored() != f.SHA256+"."+f.Name {
				t.Errorf("%s is stored as %s", f.Name, f.Stored())
			}
		}
		return strings.Join(out, " ")
	}
	if got, want := names(), "2-plain 2-zstd 7-plain 7-zstd 9-plain 9-zstd 10-plain 10-zstd"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, x := range []struct {
		n    int
		want string
	}{{9, "2-plain 2-zstd 7-plain 7-zstd 9-plain 9-zstd 10-plain 10-zstd"}, {2, "9-plain 9-zstd 10-plain 10-zstd"}, {0, "10-plain 10-zstd"}} {
		if err := Keep(m, x.n); err != nil || names() != x.want {
			t.Errorf("of %d: got %s (%v), want %s", x.n, names(), err, x.want)
		}
	}
	bad := file(7, release.Zstd, "", []byte("x"), []byte("x"))
	bad.Signed.Version = ""
	if err := Put(m, []File{bad}); !errors.Is(err, release.ErrCustom) {
		t.Errorf("no version: got %v", err)
	}
	m.Signed.Targets["x"] = &metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": {1}}}
	if _, err := Of(m); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "x has no signed fields") {
		t.Errorf("no fields: got %v", err)
	}
}

func TestSummary(t *testing.T) {
	m := metadata.Targets(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	body := []byte("x")
	f := file(7, release.Zstd, "", body, body)
	f.Signed.Stage, f.Signed.Halt = 1250, true
	same := file(7, release.Plain, "", body, body) // another file of the same program
	same.Signed.Stage, same.Signed.Halt = 1250, true
	if err := Put(m, []File{f, same}); err != nil {
		t.Fatal(err)
	}
	draft, err := meta.Render(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Summary(keyfile.Targets, draft)
	want := "targets 1, expires 2027-01-01T00:00:00Z\nrelease 7 v1 linux-arm64 for 12.5 %, halt true: program " + program.Digest(body).SHA256
	if err != nil || strings.Join(got, "\n") != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := Summary(keyfile.Root, draft); !errors.Is(err, meta.ErrDraft) {
		t.Errorf("as a root: got %v", err)
	}
	if _, err := Summary(keyfile.Targets, draft[1:]); !errors.Is(err, meta.ErrDraft) {
		t.Errorf("cut: got %v", err)
	}
}
