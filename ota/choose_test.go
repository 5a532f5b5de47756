package ota

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/ota/delta"
	"github.com/tidegate-io/tidegate/ota/fetch"
	"github.com/tidegate-io/tidegate/ota/release"
	islots "github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/trust"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// signed returns the file of a release for this test's machine.
func signed(counter uint64, change func(*release.File)) release.File {
	f := release.File{
		Counter: counter, Version: fmt.Sprintf("v%d", counter), GOOS: "linux", GOARCH: "arm64", Hardware: []string{}, Stage: release.All, Encoding: release.Zstd,
		Program: release.Digest{Length: 1000, SHA256: fmt.Sprintf("%064x", counter), SHA512: strings.Repeat("c", 128)},
	}
	if change != nil {
		change(&f)
	}
	return f
}

func file(t testing.TB, name string, length int64, f release.File) trust.File {
	custom, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return trust.File{Name: name, Stored: name, Length: length, SHA256: hashA, SHA512: strings.Repeat("d", 128), Custom: custom}
}

// machine runs release 5.
func machine() chosen {
	return chosen{
		machine: release.Machine{Gateway: "gw-1", GOOS: "linux", GOARCH: "arm64", Agent: 5}, floor: 5,
		failed: func(string) bool { return false }, bases: func() map[string]string { return map[string]string{hashB: "/slots/a/tidegate"} },
	}
}

func TestChoose(t *testing.T) {
	delta := func(base string) func(*release.File) {
		return func(f *release.File) { f.Encoding, f.Base = release.Delta, base }
	}
	other := func(f *release.File) { f.GOARCH = "amd64" }
	arm := func(v string) func(*release.File) { return func(f *release.File) { f.GOARCH, f.GOARM = "arm", v } }
	of := func(name string, counter uint64, tenant, hardware string) trust.File {
		return file(t, name, 9, signed(counter, func(f *release.File) {
			if f.Tenant = tenant; hardware != "" {
				f.Hardware = []string{hardware}
			}
		}))
	}
	bad := trust.File{Name: "bad", Custom: []byte(`{"counter":9}`)}
	for _, c := range []struct {
		name   string
		files  []trust.File
		change func(*chosen)
		want   string // files by which it can be had
		why    error
		more   []error // of older ones
	}{
		{name: "nothing"},
		{name: "what runs, and older", files: []trust.File{file(t, "5", 9, signed(5, nil)), file(t, "4", 9, signed(4, nil))}},
		{name: "the newest", files: []trust.File{file(t, "6", 9, signed(6, nil)), file(t, "8", 9, signed(8, nil)), file(t, "7", 9, signed(7, nil))}, want: "8"},
		{name: "the shortest first", files: []trust.File{file(t, "full", 90, signed(6, nil)), file(t, "delta", 9, signed(6, delta(hashB)))}, want: "delta full"},
		{name: "a delta of a program that is not here", files: []trust.File{file(t, "delta", 9, signed(6, delta(hashA))), file(t, "full", 90, signed(6, nil))}, want: "full"},
		{name: "another platform is no reason", files: []trust.File{file(t, "6", 9, signed(6, other))}},
		{name: "other hardware", files: []trust.File{file(t, "6", 9, signed(6, func(f *release.File) { f.Hardware = []string{"x"} }))}, why: release.ErrHardware},
		{
			name:  "the newest is not for us, one before is",
			files: []trust.File{file(t, "7", 9, signed(7, func(f *release.File) { f.Tenant = "x" })), file(t, "6", 9, signed(6, nil))}, want: "6", why: release.ErrTenant,
		},
		{
			name:  "the newest is for us, one before is not",
			files: []trust.File{file(t, "6", 9, signed(6, func(f *release.File) { f.Tenant = "x" })), file(t, "7", 9, signed(7, nil))}, want: "7",
		},
		{name: "it failed here", files: []trust.File{file(t, "6", 9, signed(6, nil))}, change: func(by *chosen) { by.failed = func(string) bool { return true } }, why: islots.ErrKnown},
		{name: "held back", files: []trust.File{file(t, "6", 9, signed(6, nil))}, change: func(by *chosen) { by.hold = release.Hold{6: 0} }, why: release.ErrHalted},
		{name: "fields of tomorrow", files: []trust.File{bad, file(t, "6", 9, signed(6, nil))}, want: "6"},
		{name: "nothing but fields of tomorrow", files: []trust.File{bad}, why: release.ErrCustom},
		{name: "of two refusals that of the newer one first", files: []trust.File{of("6", 6, "x", ""), of("7", 7, "", "x")}, why: release.ErrHardware, more: []error{release.ErrTenant}},
		{name: "whichever comes first", files: []trust.File{of("7", 7, "", "x"), of("6", 6, "x", "")}, why: release.ErrHardware, more: []error{release.ErrTenant}},
		{name: "one refusal a release", files: []trust.File{of("7", 7, "", "x"), of("7b", 7, "x", ""), of("6", 6, "x", "")}, why: release.ErrHardware, more: []error{release.ErrTenant}},
		{
			name: "all that are newer than the best", files: []trust.File{of("9", 9, "x", ""), of("8", 8, "", "x"), file(t, "7", 9, signed(7, nil)), of("6", 6, "x", "")}, want: "7",
			why: release.ErrTenant, more: []error{release.ErrHardware},
		},
		{
			name:  "slots are lost, and slot 0 is older than the floor",
			files: []trust.File{file(t, "6", 9, signed(6, nil)), file(t, "7", 9, signed(7, nil))}, change: func(by *chosen) { by.floor = 7 }, want: "7",
		},
		{name: "below the floor", files: []trust.File{file(t, "6", 9, signed(6, nil))}, change: func(by *chosen) { by.floor = 7 }},
		{
			name: "for ARM v6 and v7", change: func(by *chosen) { by.machine.GOARCH, by.machine.GOARM = "arm", "7" }, want: "v7",
			files: []trust.File{file(t, "v6", 9, signed(6, arm("6"))), file(t, "v7", 90, signed(6, arm("7")))},
		},
		{
			name: "for ARM v6", change: func(by *chosen) { by.machine.GOARCH, by.machine.GOARM = "arm", "6" }, want: "v6",
			files: []trust.File{file(t, "v7", 9, signed(6, arm("7"))), file(t, "v6", 90, signed(6, arm("6")))},
		},
		{name: "a list of what is in it", files: []trust.File{file(t, "sbom", 9, signed(6, func(f *release.File) { f.Encoding, f.SBOM = release.SBOM, hashA }))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			by := machine()
			if c.change != nil {
				c.change(&by)
			}
			list, held := choose(c.files, by)
			why := (&Look{Held: held}).Why()
			isAll := len(held) == 0 || len(held) == 1+len(c.more)
			for i := range min(len(c.more), max(0, len(held)-1)) {
				isAll = isAll && errors.Is(held[i+1], c.more[i])
			}
			var names []string
			for _, o := range list {
				names = append(names, o.file.Name)
			}
			if got := strings.Join(names, " "); got != c.want || !errors.Is(why, c.why) || (c.why == nil) != (why == nil) {
				t.Errorf("got %q, %v, want %q, %v", got, why, c.want, c.why)
			}
			if !isAll {
				t.Errorf("got %v, want behind the first %v", held, c.more)
			}
		})
	}
}

// TestChooseNeverGoesBack: whatever is signed, what is chosen is newer than what runs and not below the floor, fits, has not failed, and is the newest such.
func TestChooseNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		by := machine()
		by.machine.Agent, by.floor = rapid.Uint64Range(0, 6).Draw(r, "runs"), rapid.Uint64Range(0, 8).Draw(r, "floor")
		var files []trust.File
		var all []release.File
		for i := range rapid.IntRange(0, 6).Draw(r, "files") {
			f := signed(rapid.Uint64Range(1, 9).Draw(r, "counter"), func(f *release.File) {
				f.Stage = release.Stage(rapid.SampledFrom([]int{0, int(release.All)}).Draw(r, "stage"))
				f.MinAgent = rapid.Uint64Range(0, 7).Draw(r, "min")
			})
			files, all = append(files, file(t, fmt.Sprint(i), rapid.Int64Range(1, 9).Draw(r, "length"), f)), append(all, f)
		}
		may := func(f release.File) bool {
			return f.Counter > by.machine.Agent && f.Counter >= by.floor && f.Fits(by.machine) == nil
		}
		best := uint64(0)
		for _, f := range all {
			if may(f) {
				best = max(best, f.Counter)
			}
		}
		list, _ := choose(files, by)
		if (len(list) > 0) != (best > 0) {
			r.Fatalf("got %d offers, best is %d of %+v", len(list), best, all)
		}
		for _, o := range list {
			if o.signed.Counter != best || !may(o.signed) {
				r.Fatalf("got release %d, best is %d of %+v", o.signed.Counter, best, all)
			}
		}
		if !slices.IsSortedFunc(list, func(a, b offer) int { return int(a.file.Length - b.file.Length) }) {
			r.Fatalf("not the shortest first: %+v", list)
		}
	})
}

// TestRefused: programs that are none are remembered, so many, and damage remembers none.
func TestRefused(t *testing.T) {
	u, err := Open(Options{Dir: filepath.Join(t.TempDir(), "ota"), Lib: t.TempDir()})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	sum := func(i int) string { return fmt.Sprintf("%064x", i) }
	for i := range maxRefused + 3 {
		if u.isBad(sum(i)) {
			t.Errorf("program %d is bad before it was refused", i)
		}
		if err := errors.Join(u.refuse(sum(i)), u.refuse(sum(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxRefused + 3 {
		if got, want := u.isBad(sum(i)), i >= 3; got != want {
			t.Errorf("program %d is bad: got %v, want %v", i, got, want)
		}
	}
	if err := os.WriteFile(filepath.Join(u.o.Dir, "refused"), bytes.Repeat([]byte{'a'}, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if u.isBad(sum(9)) {
		t.Error("damage is believed")
	}
}

// TestOpenWhole: what was verified by SHA-256 is held against length and SHA-512 too.
func TestOpenWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha512.Sum512([]byte("program")))
	for name, c := range map[string]struct {
		f    trust.File
		want error
	}{
		"as signed":          {trust.File{Length: 7, SHA512: sum}, nil},
		"another SHA-512":    {trust.File{Length: 7, SHA512: fmt.Sprintf("%x", sha512.Sum512(nil))}, islots.ErrHash},
		"longer by a byte":   {trust.File{Length: 6, SHA512: sum}, islots.ErrHash},
		"shorter by a byte":  {trust.File{Length: 8, SHA512: sum}, islots.ErrHash},
		"longer by two":      {trust.File{Length: 5, SHA512: sum}, islots.ErrHash},
		"its first six only": {trust.File{Length: 6, SHA512: fmt.Sprintf("%x", sha512.Sum512([]byte("progra")))}, islots.ErrHash},
	} {
		in, err := openWhole(path, c.f)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if err == nil {
			if b, err := io.ReadAll(in); string(b) != "program" || errors.Join(err, in.Close()) != nil {
				t.Errorf("%s: read %q, %v", name, b, err)
			}
		}
	}
}

// TestFinal: errors that no other file of the same release helps against, and such that one may.
func TestFinal(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{
		{t.Context(), fetch.ErrUnreachable, false},
		{t.Context(), delta.ErrFrame, false},
		{t.Context(), fmt.Errorf("a: %w", islots.ErrTrial), true},
		{t.Context(), fmt.Errorf("a: %w", fetch.ErrSpace), true},
		{over, fetch.ErrUnreachable, true},
	} {
		if got := final(c.ctx, c.err); got != c.want {
			t.Errorf("%v (%v): got %v, want %v", c.err, c.ctx.Err(), got, c.want)
		}
	}
}

// TestReason: the package that knows best names it.
func TestReason(t *testing.T) {
	for want, err := range map[string]error{
		"":               nil,
		"bad-signature":  errors.Join(fmt.Errorf("a: %w", fs.ErrNotExist), fmt.Errorf("b: %w", trust.ErrSignature)),
		"unreachable":    errors.Join(fmt.Errorf("a: %w", fs.ErrNotExist), fmt.Errorf("b: %w", fetch.ErrUnreachable)),
		"missing":        fmt.Errorf("a: %w", fs.ErrNotExist),
		"no-elf":         fmt.Errorf("stage: %w: %w", islots.ErrELF, fs.ErrInvalid),
		"busy":           fmt.Errorf("a: %w", ErrBusy),
		"other-hardware": fmt.Errorf("a: %w", release.ErrHardware),
		"bad-frame":      fmt.Errorf("a: %w", delta.ErrFrame),
	} {
		if got := Reason(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
