package brick

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/publishtest"
	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// kinds are what release 13 can be: how the program behaves, and how it is published.
var kinds = map[string]struct {
	behaves string
	deltas  int
	rotate  bool // keys of snapshot and timestamp, with it
}{
	"base":    {},
	"whole":   {behaves: "good"},
	"delta":   {behaves: "good", deltas: 1},
	"rotated": {behaves: "good", rotate: true},
	"bad":     {behaves: "bad"},
	"crashes": {behaves: "crashes"},
	"script":  {behaves: "script"},
}

// A site is what all tests share: programs, and what an owner has published at several times, the shelves: folders KIND/13 and KIND/14 with that
// release as the newest, base/11 and base/12.
type site struct {
	dir, bin, lib string
	url, ca       string // of the server that hands out shelves
	owner         *publishtest.Owner

	mu   sync.Mutex
	made map[string]bool // shelves
}

var here *site

// withPrograms builds the programs and publishes 11 and 12 before the tests.
func withPrograms(m *testing.M) int {
	dir, err := os.MkdirTemp("/dev/shm", "tgrig-")
	if err == nil {
		here = &site{dir: dir, bin: dir + "/bin", lib: dir + "/lib", made: map[string]bool{"base": true}}
		err = here.prepare()
	}
	code := 1
	if err == nil {
		web := here.serve()
		code = m.Run()
		web.CloseClientConnections()
		web.Close()
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func (s *site) prepare() error {
	if os.Getuid() != 0 {
		return errors.New("this rig mounts disk images and traces programs: run it as root")
	}
	if err := errors.Join(os.Mkdir(s.bin, 0o755), os.Mkdir(s.lib, 0o755)); err != nil {
		return err
	}
	packages := []string{"./testdata/rig/brick/prog"}
	if bin := os.Getenv("TIDEGATE_BIN"); bin == "" {
		packages = append(packages, "./cmd/tidegate", "./cmd/tidegate-launch")
	} else if out, err := exec.Command("cp", filepath.Join(bin, "tidegate"), filepath.Join(bin, "tidegate-launch"), s.bin).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	build := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", s.bin + "/"}, packages...)...)
	build.Dir, build.Env = bed.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	body, err := s.program(10, "good")
	if err != nil {
		return err
	}
	said := fmt.Sprintf(`{"counter": 10, "version": "v10", "sha256": %q, "length": %d}`, program.Digest(body).SHA256, len(body))
	if err := errors.Join(os.WriteFile(s.lib+"/tidegate", body, 0o755), os.WriteFile(s.lib+"/release.json", []byte(said), 0o644), os.Setenv("TIDEGATE_LIB", s.lib)); err != nil {
		return err
	}
	if s.owner, err = publishtest.New(s.dir+"/owner", time.Now()); err != nil {
		return err
	}
	for _, n := range []int{11, 12} {
		if err := s.publish(s.owner, n, "good", 0, filepath.Join("base", strconv.Itoa(n))); err != nil {
			return err
		}
	}
	root, err := s.owner.Root()
	return errors.Join(err, os.WriteFile(s.root(), root, 0o644))
}

// root is the file that gateways trust.
func (s *site) root() string { return s.dir + "/root.json" }

// padding is how much longer programs are than they need to be, in bytes that do not get shorter by compression: a download has several chunks then.
const padding = 3 << 19

// program makes a program: its last line says how it behaves.
func (s *site) program(n int, behaves string) ([]byte, error) {
	if behaves == "script" {
		return []byte("#!/bin/sh\nexec sleep 1000000\n"), nil
	}
	body, err := os.ReadFile(s.bin + "/prog")
	if err != nil {
		return nil, err
	}
	same := rand.New(rand.NewPCG(1, 2))
	for range padding {
		body = append(body, byte(same.Uint32()))
	}
	return append(body, fmt.Sprintf("\nrelease %d %s\n", n, behaves)...), nil
}

// need publishes release 13 of a kind, and 14 behind it.
func (s *site) need(kind string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made[kind] {
		return nil
	}
	owner := *s.owner
	owner.Dir = s.dir + "/owner-" + kind
	if err := copyTo(s.owner.Dir, owner.Dir); err != nil {
		return err
	}
	k := kinds[kind]
	if k.rotate {
		if err := owner.Rotate(); err != nil {
			return err
		}
	}
	if err := s.publish(&owner, 13, k.behaves, k.deltas, filepath.Join(kind, "13")); err != nil {
		return err
	}
	if err := s.publish(&owner, 14, "good", k.deltas, filepath.Join(kind, "14")); err != nil {
		return err
	}
	s.made[kind] = true
	return os.RemoveAll(owner.Dir)
}

// publish publishes a release, and copies what is public then to a shelf.
func (s *site) publish(owner *publishtest.Owner, n int, behaves string, deltas int, shelf string) error {
	platform, err := program.Find("linux-" + runtime.GOARCH)
	if err != nil {
		return err
	}
	p, err := program.Read(s.lib+"/tidegate", platform)
	if err != nil {
		return err
	}
	// Signed by hand: `tidegate-release` takes no script.
	if p.Body, err = s.program(n, behaves); err != nil {
		return err
	}
	p.Digest = program.Digest(p.Body)
	err = owner.Release(publish.Release{
		Fields: release.File{Counter: uint64(n), Version: "v" + strconv.Itoa(n), Stage: release.All}, Programs: []*program.Program{p}, Deltas: deltas,
	})
	if err != nil {
		return err
	}
	to := filepath.Join(s.dir, "shelves", shelf)
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), copyTo(owner.Public(), to))
}

// serve hands out all shelves over HTTPS.
func (s *site) serve() *httptest.Server {
	web := httptest.NewUnstartedServer(http.FileServer(http.Dir(s.dir + "/shelves")))
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // who is killed breaks connections
	web.StartTLS()
	s.url, s.ca = web.URL, s.dir+"/ca.pem"
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o644); err != nil {
		panic(err)
	}
	return web
}

// copyTo makes to the same as from.
func copyTo(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp %s %s: %w: %s", from, to, err, strings.TrimSpace(string(out)))
	}
	return nil
}
