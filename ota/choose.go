package ota

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidegate-io/tidegate/ota/release"
	islots "github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/trust"
)

// An offer is one file by which a release can be had.
type offer struct {
	file   trust.File
	signed release.File
}

// chosen is what choose chooses by.
type chosen struct {
	machine release.Machine
	hold    release.Hold
	floor   uint64                   // no release below is taken, whatever runs
	failed  func(sha256 string) bool // this program was tried here
	bases   func() map[string]string // programs that a delta may be made from: SHA-256 to path; asked only where there is a delta
}

// choose returns the files by which the newest release can be had that is newer than what runs and meant for this machine, the shortest
// first. held is what stands in the way of those that are newer still, one error each, that of the newest first; fields that cannot be read are of
// release 0.
func choose(files []trust.File, by chosen) (list []offer, held []error) {
	refused := map[uint64]error{}
	refuse := func(counter uint64, err error) {
		if refused[counter] == nil { // a release has several files
			refused[counter] = err
		}
	}
	for _, f := range files {
		signed, err := release.Decode(f.Custom)
		if err != nil {
			refuse(0, fmt.Errorf("%s: %w", f.Name, err))
			continue
		}
		if signed.Encoding == release.SBOM || signed.Counter <= by.machine.Agent || signed.Counter < by.floor {
			continue
		}
		signed = by.hold.Narrow(signed)
		err = signed.Fits(by.machine)
		if err == nil && by.failed(signed.Program.SHA256) {
			err = fmt.Errorf("%w: release %d, %s", islots.ErrKnown, signed.Counter, signed.Version)
		}
		if errors.Is(err, release.ErrPlatform) {
			continue // each release has files for all of them
		}
		if err != nil {
			refuse(signed.Counter, fmt.Errorf("%s: %w", f.Name, err))
			continue
		}
		if signed.Encoding == release.Delta && by.bases()[signed.Base] == "" {
			continue // there are others
		}
		if len(list) > 0 && signed.Counter > list[0].signed.Counter {
			list = list[:0]
		}
		if len(list) == 0 || signed.Counter == list[0].signed.Counter {
			list = append(list, offer{f, signed})
		}
	}
	// A program for ARM v6 runs on v7 as well, if that is all there is.
	best := ""
	for _, o := range list {
		best = max(best, o.signed.GOARM)
	}
	list = slices.DeleteFunc(list, func(o offer) bool { return o.signed.GOARM != best })
	slices.SortFunc(list, func(a, b offer) int { return cmp.Compare(a.file.Length, b.file.Length) })
	for _, counter := range slices.Backward(slices.Sorted(maps.Keys(refused))) {
		if len(list) == 0 || counter >= list[0].signed.Counter {
			held = append(held, refused[counter])
		}
	}
	return list, held
}

// bases returns the programs that are here, by their hash.
func (u *Updater) bases() map[string]string {
	out := map[string]string{}
	list := []string{u.slots.State().Builtin.Path}
	for _, s := range [...]islots.Slot{islots.A, islots.B} {
		list = append(list, filepath.Join(u.o.Dir, "slots", string(s), "tidegate"))
	}
	for _, path := range list {
		f, err := os.Open(path)
		if err != nil {
			continue // a slot may be empty
		}
		h := sha256.New()
		if _, err := io.Copy(h, io.LimitReader(f, release.MaxProgram+1)); err == nil { // of a longer one it is the hash of no program
			out[hex.EncodeToString(h.Sum(nil))] = path
		}
		_ = f.Close()
	}
	return out
}

// openWhole opens a download that was verified by SHA-256, and verifies its SHA-512.
func openWhole(path string, f trust.File) (*os.File, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	h := sha512.New()
	n, err := io.Copy(h, io.LimitReader(in, f.Length+1))
	if got := hex.EncodeToString(h.Sum(nil)); err == nil && (n != f.Length || got != f.SHA512) {
		err = fmt.Errorf("%w: %s: got %d bytes whose SHA-512 begins with %.16s, want %d, with %.16s", islots.ErrHash, f.Name, n, got, f.Length, f.SHA512)
	}
	if err == nil {
		_, err = in.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}
