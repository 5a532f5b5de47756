// Package release says what a release of the gateway is, what is signed of it, and whether it is meant for this machine. It decides by what
// it is given: it reads no file and asks nobody.
package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// MaxProgram is how long a program may be, in bytes.
const MaxProgram = 256 << 20

// MaxCounter is the highest counter: numbers up to here are exact in every reader of JSON (RFC 8259 section 6).
const MaxCounter = 1<<53 - 1

// A File is what is signed of one file of a release, as the `custom` field of its TUF target. The files of one release for one machine
// differ in Encoding and Base only.
type File struct {
	Counter  uint64   `json:"counter"`  // rises with each release, 1 to MaxCounter: the only order there is
	Version  string   `json:"version"`  // for people: "v1.4.0", 1 to 64 characters
	GOOS     string   `json:"goos"`     // "linux"
	GOARCH   string   `json:"goarch"`   // "amd64", "arm64", "arm"
	GOARM    string   `json:"goarm"`    // "6" or "7" for arm, else ""
	Hardware []string `json:"hardware"` // one of these must be the machine's; none = any
	MinAgent uint64   `json:"min_agent"`
	MaxAgent uint64   `json:"max_agent"` // counters of the running release that it may follow, both included; 0 = no bound
	Tenant   string   `json:"tenant"`    // "" = any
	Percent  float64  `json:"percent"`   // stage: of how many gateways in a hundred, 0 to 100
	Halt     bool     `json:"halt"`      // nobody starts it any more
	Encoding Encoding `json:"encoding"`
	Base     string   `json:"base"`    // Delta: SHA-256 of the program that it is made from, else ""
	Program  Digest   `json:"program"` // what the file becomes
	SBOM     string   `json:"sbom"`    // SHA-256 of the list of what is in it (CycloneDX)
}

// Encoding is how a file holds the program.
type Encoding string

// The encodings.
const (
	Plain Encoding = "plain"
	Zstd  Encoding = "zstd"  // one zstd frame (RFC 8878) with its content size
	Delta Encoding = "delta" // one zstd frame whose dictionary is the program of Base, as raw content
)

// A Digest binds bytes: all three are always there.
type Digest struct {
	Length int64  `json:"length"` // bytes, 1 to MaxProgram
	SHA256 string `json:"sha256"` // lower-case hex
	SHA512 string `json:"sha512"`
}

// ErrCustom is wrapped by errors about a signed field that cannot be read. Reason maps it and the errors of Fits to their names.
var ErrCustom = errors.New("signed fields of a release")

// Decode reads a File strictly: all fields once and no other, nothing behind.
func Decode(custom []byte) (f File, err error) {
	d := json.NewDecoder(bytes.NewReader(custom))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrCustom, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return File{}, fmt.Errorf("%w: got more than one value", ErrCustom)
	}
	if err := f.check(custom); err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrCustom, err)
	}
	return f, nil
}

// check says what is wrong with f, which custom was read as.
func (f *File) check(custom []byte) error {
	fields, err := names(custom)
	if err != nil {
		return err
	}
	for _, name := range fileFields {
		if n := fields[name]; n != 1 {
			return fmt.Errorf("got %q %d times, want it once", name, n)
		}
	}
	arm := f.GOARCH == "arm"
	switch {
	case f.Counter < 1 || f.Counter > MaxCounter:
		return fmt.Errorf("got counter %d, want 1 to %d", f.Counter, uint64(MaxCounter))
	case f.Version == "" || len(f.Version) > 64:
		return fmt.Errorf("got a version of %d characters, want 1 to 64", len(f.Version))
	case arm && f.GOARM != "6" && f.GOARM != "7", !arm && f.GOARM != "":
		return fmt.Errorf("got goarm %q with goarch %q, want 6 or 7 with arm, else none", f.GOARM, f.GOARCH)
	case f.MaxAgent != 0 && f.MinAgent > f.MaxAgent:
		return fmt.Errorf("got min_agent %d above max_agent %d", f.MinAgent, f.MaxAgent)
	case !(f.Percent >= 0 && f.Percent <= 100):
		return fmt.Errorf("got percent %v, want 0 to 100", f.Percent)
	case f.Encoding != Plain && f.Encoding != Zstd && f.Encoding != Delta:
		return fmt.Errorf("got encoding %q, want %s, %s or %s", f.Encoding, Plain, Zstd, Delta)
	case (f.Encoding == Delta) != (f.Base != ""), f.Base != "" && !isHex(f.Base, sha256.Size):
		return fmt.Errorf("got base %q with encoding %s, want a SHA-256 with %s, else none", f.Base, f.Encoding, Delta)
	case f.SBOM != "" && !isHex(f.SBOM, sha256.Size):
		return fmt.Errorf("got sbom %q, want a SHA-256", f.SBOM)
	}
	return f.Program.check()
}

func (d Digest) check() error {
	switch {
	case d.Length < 1 || d.Length > MaxProgram:
		return fmt.Errorf("got a program of %d bytes, want 1 to %d", d.Length, MaxProgram)
	case !isHex(d.SHA256, 32):
		return fmt.Errorf("got sha256 %q, want 64 lower-case hex digits", d.SHA256)
	case !isHex(d.SHA512, 64):
		return fmt.Errorf("got sha512 %q, want 128 lower-case hex digits", d.SHA512)
	}
	return nil
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && hex.EncodeToString(b) == s
}

// fileFields are the fields of a File.
var fileFields = []string{
	"counter", "version", "goos", "goarch", "goarm", "hardware", "min_agent", "max_agent", "tenant", "percent", "halt", "encoding", "base", "program", "sbom",
}

// names counts the names of a JSON object's fields as they stand there: the decoder takes "COUNTER" for "counter", and the last of two.
func names(object []byte) (map[string]int, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("got no object")
	}
	out := map[string]int{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		out[name]++
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// A Machine is what a release has to fit.
type Machine struct {
	Gateway  string // its id
	GOOS     string
	GOARCH   string
	GOARM    string   // the highest that it runs, "" unless arm
	Hardware []string // names that it goes by, as /proc/device-tree/compatible has them
	Tenant   string
	Agent    uint64 // counter of the release that runs; 0 = not known
}

// What a release is refused for, by name; Fits wraps one of them.
var (
	ErrPlatform = errors.New("release is for another platform")
	ErrHardware = errors.New("release is for other hardware")
	ErrTenant   = errors.New("release is another tenant's")
	ErrAgent    = errors.New("release does not follow the one that runs")
	ErrHalted   = errors.New("release is halted")
	ErrStage    = errors.New("release has not reached this gateway's stage")
)

// Fits says why f is not for m; nil = it is.
func (f *File) Fits(m Machine) error {
	switch {
	case f.GOOS != m.GOOS || f.GOARCH != m.GOARCH || f.GOARM > m.GOARM:
		return fmt.Errorf("%w: got %s/%s%s, this is %s/%s%s", ErrPlatform, f.GOOS, f.GOARCH, f.GOARM, m.GOOS, m.GOARCH, m.GOARM)
	case len(f.Hardware) > 0 && !slices.ContainsFunc(f.Hardware, func(h string) bool { return slices.Contains(m.Hardware, h) }):
		return fmt.Errorf("%w: got %q, this is %q", ErrHardware, f.Hardware, m.Hardware)
	case f.Tenant != "" && f.Tenant != m.Tenant:
		return fmt.Errorf("%w: got %q, this gateway is of %q", ErrTenant, f.Tenant, m.Tenant)
	case m.Agent < f.MinAgent || f.MaxAgent != 0 && m.Agent > f.MaxAgent:
		return fmt.Errorf("%w: it follows %d to %d (0 = no bound), %d runs", ErrAgent, f.MinAgent, f.MaxAgent, m.Agent)
	case f.Halt:
		return fmt.Errorf("%w: release %d", ErrHalted, f.Counter)
	}
	if at := Bucket(m.Gateway, f.Counter); at >= f.Percent {
		return fmt.Errorf("%w: it is for %v %%, this gateway is at %.2f %%", ErrStage, f.Percent, at)
	}
	return nil
}

// Bucket is where a gateway stands in the stages of a release, 0 to 99.99, another place for each release.
func Bucket(gateway string, counter uint64) float64 {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(gateway+"\x00"), counter))
	return float64(binary.BigEndian.Uint64(h[:])%10000) / 100
}
