// Package release says what a release of the gateway is, what is signed of it, and whether it is meant for this machine. It decides by what
// it is given: it reads no file and asks nobody.
package release

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// MaxProgram is how long a program may be, in bytes.
const MaxProgram = 256 << 20

// MaxCounter is the highest counter: numbers up to here are exact in every reader of JSON (RFC 8259 section 6).
const MaxCounter = 1<<53 - 1

// Longest texts of a File, in bytes, and how many names of hardware it may have.
const (
	maxVersion  = 64
	maxTenant   = 64
	maxName     = 128
	maxHardware = 32
)

// A File is what is signed of one file of a release, as the `custom` field of its TUF target. The files of one release for one machine
// differ in Encoding and Base only. All numbers are integers: the canonical JSON that TUF signs knows no others.
type File struct {
	Counter  uint64   `json:"counter"`  // rises with each release, 1 to MaxCounter: the only order there is
	Version  string   `json:"version"`  // for people: "v1.4.0", 1 to 64 printable characters of ASCII, no space
	GOOS     string   `json:"goos"`     // "linux"
	GOARCH   string   `json:"goarch"`   // "amd64", "arm64", "arm"
	GOARM    string   `json:"goarm"`    // "6" or "7" for arm, else ""
	Hardware []string `json:"hardware"` // one of these must be the machine's; none = any; at most 32 of at most 128 characters
	MinAgent uint64   `json:"min_agent"`
	MaxAgent uint64   `json:"max_agent"` // counters of the running release that it may follow, both included; 0 = no bound
	Tenant   string   `json:"tenant"`    // "" = any; at most 64 characters
	Stage    Stage    `json:"stage"`     // for how many of the gateways
	Halt     bool     `json:"halt"`      // nobody starts it any more
	Encoding Encoding `json:"encoding"`
	Base     string   `json:"base"`    // Delta: SHA-256 of the program that it is made from, else ""
	Program  Digest   `json:"program"` // what the file becomes; with SBOM: what it is about
	SBOM     string   `json:"sbom"`    // SHA-256 of the list of what is in it (CycloneDX), "" = none; with SBOM as Encoding: its own
}

// Encoding is how a file holds the program.
type Encoding string

// The encodings.
const (
	Plain Encoding = "plain"
	Zstd  Encoding = "zstd"  // one zstd frame (RFC 8878) with its content size
	Delta Encoding = "delta" // what package delta makes of the program and that of Base
	SBOM  Encoding = "sbom"  // no program: the list of what is in it, for people; a gateway passes over it
)

// A Digest binds bytes: all three are always there.
type Digest struct {
	Length int64  `json:"length"` // bytes, 1 to MaxProgram
	SHA256 string `json:"sha256"` // lower-case hex
	SHA512 string `json:"sha512"`
}

// check says what is wrong with f.
func (f *File) check() error {
	arm := f.GOARCH == "arm"
	switch {
	case f.Counter < 1 || f.Counter > MaxCounter:
		return fmt.Errorf("got counter %d, want 1 to %d", f.Counter, uint64(MaxCounter))
	case f.Version == "" || !printable(f.Version, maxVersion):
		return fmt.Errorf("got version %q, want 1 to %d printable characters of ASCII", f.Version, maxVersion)
	case f.GOOS == "" || !printable(f.GOOS, maxName), f.GOARCH == "" || !printable(f.GOARCH, maxName):
		return fmt.Errorf("got goos %q and goarch %q, want both", f.GOOS, f.GOARCH)
	case arm && f.GOARM != "6" && f.GOARM != "7", !arm && f.GOARM != "":
		return fmt.Errorf("got goarm %q with goarch %q, want 6 or 7 with arm, else none", f.GOARM, f.GOARCH)
	case len(f.Hardware) > maxHardware, slices.ContainsFunc(f.Hardware, func(h string) bool { return h == "" || !printable(h, maxName) }):
		return fmt.Errorf("got hardware %q, want at most %d names of 1 to %d printable characters of ASCII", f.Hardware, maxHardware, maxName)
	case f.MinAgent > MaxCounter || f.MaxAgent > MaxCounter || f.MaxAgent != 0 && f.MinAgent > f.MaxAgent:
		return fmt.Errorf("got min_agent %d and max_agent %d, want them in this order and at most %d", f.MinAgent, f.MaxAgent, uint64(MaxCounter))
	case !printable(f.Tenant, maxTenant):
		return fmt.Errorf("got tenant %q, want at most %d printable characters of ASCII", f.Tenant, maxTenant)
	case f.Stage < 0 || f.Stage > All:
		return fmt.Errorf("got stage %d, want 0 to %d", f.Stage, All)
	case f.Encoding != Plain && f.Encoding != Zstd && f.Encoding != Delta && f.Encoding != SBOM:
		return fmt.Errorf("got encoding %q, want %s, %s, %s or %s", f.Encoding, Plain, Zstd, Delta, SBOM)
	case (f.Encoding == Delta) != (f.Base != ""), f.Base != "" && !IsHex(f.Base, sha256.Size):
		return fmt.Errorf("got base %q with encoding %s, want a SHA-256 with %s, else none", f.Base, f.Encoding, Delta)
	case f.SBOM != "" && !IsHex(f.SBOM, sha256.Size), f.SBOM == "" && f.Encoding == SBOM:
		return fmt.Errorf("got sbom %q with encoding %s, want a SHA-256", f.SBOM, f.Encoding)
	}
	return f.Program.check()
}

func (d Digest) check() error {
	switch {
	case d.Length < 1 || d.Length > MaxProgram:
		return fmt.Errorf("got a program of %d bytes, want 1 to %d", d.Length, MaxProgram)
	case !IsHex(d.SHA256, 32):
		return fmt.Errorf("got sha256 %q, want 64 lower-case hex digits", d.SHA256)
	case !IsHex(d.SHA512, 64):
		return fmt.Errorf("got sha512 %q, want 128 lower-case hex digits", d.SHA512)
	}
	return nil
}

// IsHex reports whether s is so many bytes in lower-case hex.
func IsHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && hex.EncodeToString(b) == s
}

// printable reports whether s is at most limit printable characters of ASCII, none of them a space: it ends up in logs and on terminals.
func printable(s string, limit int) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) <= limit
}

// A Machine is what a release has to fit.
type Machine struct {
	Gateway  string // its id
	GOOS     string
	GOARCH   string
	GOARM    string   // the highest that it runs, whatever the running program was built for: "6" or "7"; "" unless arm
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

// Reason returns the short name of what a release is refused for, as status, records and logs have it; "" = err is none of this package's.
func Reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return ""
}

var reasons = []struct {
	err  error
	name string
}{
	{ErrCustom, "bad-fields"},
	{ErrPlatform, "wrong-platform"},
	{ErrHardware, "other-hardware"},
	{ErrTenant, "other-tenant"},
	{ErrAgent, "does-not-follow"},
	{ErrHalted, "halted"},
	{ErrStage, "not-yet"},
}

// Fits says why f is not for m; nil = it is.
func (f *File) Fits(m Machine) error {
	switch {
	case f.GOOS != m.GOOS || f.GOARCH != m.GOARCH || f.GOARM > m.GOARM: // one digit each
		return fmt.Errorf("%w: got %s/%s%s, this is %s/%s%s", ErrPlatform, f.GOOS, f.GOARCH, f.GOARM, m.GOOS, m.GOARCH, m.GOARM)
	case len(f.Hardware) > 0 && !slices.ContainsFunc(f.Hardware, func(h string) bool { return slices.Contains(m.Hardware, h) }):
		return fmt.Errorf("%w: got %q, this is %q", ErrHardware, f.Hardware, m.Hardware)
	case f.Tenant != "" && f.Tenant != m.Tenant:
		return fmt.Errorf("%w: got %q, this gateway is of %q", ErrTenant, f.Tenant, m.Tenant)
	case m.Agent < f.MinAgent, f.MaxAgent != 0 && (m.Agent == 0 || m.Agent > f.MaxAgent):
		return fmt.Errorf("%w: it follows %d to %d (0 = no bound), %d runs (0 = not known)", ErrAgent, f.MinAgent, f.MaxAgent, m.Agent)
	case f.Halt:
		return fmt.Errorf("%w: release %d", ErrHalted, f.Counter)
	}
	if at := Bucket(m.Gateway, f.Counter); at >= f.Stage {
		return fmt.Errorf("%w: it is for %v, this gateway comes at %v", ErrStage, f.Stage, at+1)
	}
	return nil
}

// Bucket is where a gateway stands in the stages of a release, 0 to All-1, another place for each release: it is reached as soon as the
// stage is above.
func Bucket(gateway string, counter uint64) Stage {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(gateway+"\x00"), counter))
	return Stage(binary.BigEndian.Uint64(h[:]) % uint64(All))
}
