// Package program looks at a program that is to be released: what it was built for by its ELF header, and by what Go wrote into it. It is
// never run.
package program

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tidegate-io/tidegate/ota/release"
)

// A Platform is what a program is built for.
type Platform struct {
	Name                string // as in dist/: "linux-armv7"
	GOOS, GOARCH, GOARM string
	machine             elf.Machine
}

// platforms are all that there are releases for.
var platforms = []Platform{
	{Name: "linux-amd64", GOOS: "linux", GOARCH: "amd64", machine: elf.EM_X86_64},
	{Name: "linux-arm64", GOOS: "linux", GOARCH: "arm64", machine: elf.EM_AARCH64},
	{Name: "linux-armv7", GOOS: "linux", GOARCH: "arm", GOARM: "7", machine: elf.EM_ARM},
	{Name: "linux-armv6", GOOS: "linux", GOARCH: "arm", GOARM: "6", machine: elf.EM_ARM},
}

// What a program is refused for.
var (
	ErrNoProgram = errors.New("no program of Go for Linux")
	ErrPlatform  = errors.New("program for another platform")
	ErrSize      = errors.New("program of the wrong size")
)

// Find returns the platform of that name.
func Find(name string) (Platform, error) {
	var names []string
	for _, p := range platforms {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Platform{}, fmt.Errorf("%w: got %q, want one of %s", ErrPlatform, name, strings.Join(names, ", "))
}

// Of returns the platform that f is for, by name where it has one.
func Of(f release.File) string {
	for _, p := range platforms {
		if p.GOOS == f.GOOS && p.GOARCH == f.GOARCH && p.GOARM == f.GOARM {
			return p.Name
		}
	}
	return f.GOOS + "-" + f.GOARCH + f.GOARM
}

// A Program is one that is to be released.
type Program struct {
	Platform Platform
	Body     []byte
	Digest   release.Digest
	Build    *buildinfo.BuildInfo
}

// Read reads the program in a file and checks that it is one for p.
func Read(path string, p Platform) (*Program, error) {
	out, err := read(path, p)
	if err != nil {
		return nil, fmt.Errorf("%s for %s: %w", path, p.Name, err)
	}
	return out, nil
}

func read(path string, p Platform) (*Program, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !s.Mode().IsRegular() || s.Size() < 1 || s.Size() > release.MaxProgram { // before it is read: it may be sparse
		return nil, fmt.Errorf("%w: got %d bytes (%v), want a file of 1 to %d", ErrSize, s.Size(), s.Mode(), release.MaxProgram)
	}
	body, err := io.ReadAll(io.LimitReader(f, release.MaxProgram+1))
	if err != nil {
		return nil, err
	}
	build, err := Check(body, p)
	if err != nil {
		return nil, err
	}
	return &Program{Platform: p, Body: body, Digest: Digest(body), Build: build}, nil
}

// Digest returns what binds body.
func Digest(body []byte) release.Digest {
	a, b := sha256.Sum256(body), sha512.Sum512(body)
	return release.Digest{Length: int64(len(body)), SHA256: hex.EncodeToString(a[:]), SHA512: hex.EncodeToString(b[:])}
}

// Check says what body was built for, if it is p.
func Check(body []byte, p Platform) (*buildinfo.BuildInfo, error) {
	f, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil, fmt.Errorf("%w: got %v, want an executable", ErrNoProgram, f.Type)
	}
	if f.Machine != p.machine { // what else of one machine there is (x32, big endian) Go calls otherwise, see below
		return nil, fmt.Errorf("%w: its ELF header says %v, want %v", ErrPlatform, f.Machine, p.machine)
	}
	for _, s := range f.Progs {
		if s.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%w: it is linked dynamically, and a gateway may not have the libraries; build it with CGO_ENABLED=0", ErrNoProgram)
		}
	}
	b, err := buildinfo.Read(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProgram, err)
	}
	set := map[string]string{}
	for _, s := range b.Settings {
		set[s.Key] = s.Value
	}
	arm, _, _ := strings.Cut(set["GOARM"], ",") // "7,hardfloat"
	if set["GOOS"] != p.GOOS || set["GOARCH"] != p.GOARCH || arm != p.GOARM {
		return nil, fmt.Errorf("%w: it was built for %s/%s%s, want %s/%s%s", ErrPlatform, set["GOOS"], set["GOARCH"], arm, p.GOOS, p.GOARCH, p.GOARM)
	}
	return b, nil
}
