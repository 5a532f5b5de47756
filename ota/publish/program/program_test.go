package program

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/ota/publish/program/programtest"
	"github.com/tidegate-io/tidegate/ota/release"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	body := bytes.Repeat([]byte("what the program does. "), 100)
	for _, p := range platforms {
		path := filepath.Join(dir, p.Name)
		want := programtest.Make(p.GOOS, p.GOARCH, p.GOARM, body)
		if err := os.WriteFile(path, want, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, q := range platforms {
			got, err := Read(path, q)
			if p != q {
				if !errors.Is(err, ErrPlatform) {
					t.Errorf("%s as one for %s: got %v, want ErrPlatform", p.Name, q.Name, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Body, want) || got.Digest != Digest(want) || got.Build.Main.Path != "example.com/gateway" || got.Build.GoVersion != "go1.26.0" {
				t.Errorf("%s: got %d bytes, %+v, %+v", p.Name, len(got.Body), got.Digest, got.Build)
			}
		}
		if q, err := Find(p.Name); err != nil || q != p {
			t.Errorf("find %s: got %v, %v", p.Name, q, err)
		}
		if got := Of(release.File{GOOS: p.GOOS, GOARCH: p.GOARCH, GOARM: p.GOARM}); got != p.Name {
			t.Errorf("platform of %s: got %s", p.Name, got)
		}
	}
	if _, err := Find("linux-arm"); !errors.Is(err, ErrPlatform) {
		t.Errorf("find linux-arm: got %v, want ErrPlatform", err)
	}
}

// TestCheckItself looks at a real program: this one. Tests are linked dynamically or not as the toolchain likes.
func TestCheckItself(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range platforms {
		_, err := Check(self, p)
		switch {
		case p.GOARCH != runtime.GOARCH && !errors.Is(err, ErrPlatform):
			t.Errorf("%s: got %v, want ErrPlatform", p.Name, err)
		case p.GOARCH == runtime.GOARCH && p.GOARM == "" && err != nil && !errors.Is(err, ErrNoProgram):
			t.Errorf("%s: got %v", p.Name, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := programtest.Make("linux", "arm64", "", []byte("x"))
	dynamic := bytes.Clone(good)
	dynamic[64] = 3 // its only segment is PT_INTERP
	object := bytes.Clone(good)
	object[16] = 1 // ET_REL
	big := bytes.Clone(good)
	big[5] = 2 // big endian, of which nothing else is
	tests := map[string]struct {
		body []byte
		want error
	}{
		"nothing":                     {nil, ErrSize},
		"a script":                    {[]byte("#!/bin/sh\nsleep infinity\n"), ErrNoProgram},
		"a page of a proxy":           {[]byte("<html>log in first</html>"), ErrNoProgram},
		"an object file":              {object, ErrNoProgram},
		"linked dynamically":          {dynamic, ErrNoProgram},
		"big endian":                  {big, ErrNoProgram},
		"cut in its header":           {good[:40], ErrNoProgram},
		"not of Go":                   {bytes.Replace(good, []byte("Go buildinf"), []byte("no buildinf"), 1), ErrNoProgram},
		"its header for another":      {bytes.Replace(good, []byte{0xb7}, []byte{0x3e}, 1), ErrPlatform},
		"for another processor":       {programtest.Make("linux", "amd64", "", nil), ErrPlatform},
		"built for another system":    {programtest.Make("freebsd", "arm64", "", nil), ErrPlatform},
		"built for another processor": {bytes.Replace(good, []byte("GOARCH=arm64"), []byte("GOARCH=amd64"), 1), ErrPlatform},
		"says nothing of the kind":    {programtest.With("arm64", "path\tx\nmod\tx\t(devel)\t\n", nil), ErrPlatform},
	}
	p, err := Find("linux-arm64")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, filepath.Base(t.Name()))
			if err := os.WriteFile(path, tt.body, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(path, p); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	sparse := filepath.Join(dir, "sparse")
	if err := errors.Join(os.WriteFile(sparse, good, 0o600), os.Truncate(sparse, 10<<30)); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(sparse, p); !errors.Is(err, ErrSize) || !strings.Contains(err.Error(), "got 10737418240 bytes") {
		t.Errorf("a file of 10 GiB: got %v, want ErrSize before it is read", err)
	}
	if _, err := Read(dir, p); !errors.Is(err, ErrSize) {
		t.Errorf("a folder: got %v, want ErrSize", err)
	}
	if _, err := Read(filepath.Join(dir, "none"), p); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

func TestSoftFloat(t *testing.T) {
	p, err := Find("linux-armv7")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Check(programtest.Make("linux", "arm", "7,hardfloat", nil), p); err != nil {
		t.Errorf("GOARM=7,hardfloat: got %v", err)
	}
}
