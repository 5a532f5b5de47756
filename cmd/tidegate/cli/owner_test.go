package cli

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
)

// nobody has no file and no group of its own on any machine.
const nobody = 65534

// house is a gateway of user nobody, and what others do to it.
type house struct {
	*testing.T
	dir, exe string
}

// newHouse makes a directory of nobody's with a configuration, and a copy of the program that nobody may run.
func newHouse(t *testing.T) *house {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("two users are needed for this test: run it as root")
	}
	dir, err := os.MkdirTemp("/dev/shm", "tidegate-owner-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	h := &house{t, dir, filepath.Join(dir, "tidegate")}
	text := "gateway: {id: gw-t}\nstate_dir: " + dir + "/home/state\ndevices: [{name: fan, driver: sim, every: 50ms}]\n" +
		"buffer: {max_bytes: 64MB, sync: 100ms}\nuplink: {url: \"mqtt://127.0.0.1:1\"}\n"
	err = errors.Join(
		err, os.Chmod(dir, 0o755), os.WriteFile(h.exe, self, 0o755), os.WriteFile(filepath.Join(dir, "t.yaml"), []byte(text), 0o644),
		os.Mkdir(filepath.Join(dir, "home"), 0o755), os.Chown(filepath.Join(dir, "home"), nobody, nobody),
		os.Mkdir(filepath.Join(dir, "rings"), 0o700), os.Chown(filepath.Join(dir, "rings"), nobody, nobody),
	)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) command(uid uint32, args ...string) *exec.Cmd {
	c := exec.Command(h.exe, append(args, "--config", filepath.Join(h.dir, "t.yaml"))...)
	c.Dir = h.dir
	c.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+filepath.Join(h.dir, "rings"))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return c
}

// says runs the program as uid and compares what it answers, as a pattern, and its exit status.
func (h *house) says(uid uint32, status int, pattern string, args ...string) {
	h.Helper()
	c := h.command(uid, args...)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		h.Fatal(err)
	}
	if got := c.ProcessState.ExitCode(); got != status || !regexp.MustCompile(pattern).Match(out) {
		h.Errorf("user %d, %s: status %d and\n%s\nwant %d and %s", uid, strings.Join(args, " "), got, out, status, pattern)
	}
}

// begun is a pattern of what a gateway says that has read something.
const begun = `"epoch":"[^"]`

// run runs the gateway as nobody until status --json says what is wanted, a pattern.
func (h *house) run(wanted string) {
	h.Helper()
	c := h.command(nobody, "run")
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		h.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-ended:
			h.Fatalf("the gateway ended by itself: %v\n%s", err, log.String())
		default:
		}
		out, _ := h.command(0, "status", "--json").Output() // its exit status tells of conditions
		if regexp.MustCompile(wanted).Match(out) {
			break
		}
		if time.Now().After(end) {
			h.Fatalf("status is\n%s\nwant %s\n%s", out, wanted, log.String())
		}
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		h.Fatal(err)
	}
	if err := <-ended; err != nil {
		h.Fatalf("run: %v\n%s", err, log.String())
	}
}

// strangers returns what below the directory is not nobody's.
func (h *house) strangers() (list []string) {
	err := filepath.WalkDir(filepath.Join(h.dir, "home"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if uid, _, err := reach.OwnerOf(path); err != nil || uid != nobody {
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
	return list
}

// TestQueueOfAnotherUser: root looks into the buffer of a stopped gateway that runs as somebody else, before its first start and after:
// nothing that it makes is in the gateway's way.
func TestQueueOfAnotherUser(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, made := range []bool{false, true} {
		if made {
			if err := errors.Join(os.Mkdir(h.dir+"/home/state", 0o700), os.Chown(h.dir+"/home/state", nobody, nobody)); err != nil {
				t.Fatal(err)
			}
		}
		h.says(0, 0, `^no buffer yet in \S+; the gateway makes it when it first starts\n$`, "queue", "status")
		h.says(0, 0, `^no buffer yet in `, "queue", "list")
		h.says(0, 0, `^no buffer yet in `, "queue", "check")
		h.says(0, 0, `^{"gateway":"gw-t".*"version":"dev",.*"link":{"state":"down",.*"queue":{"records":0,"readings":0,`, "queue", "status", "--json")
		h.says(0, 0, `^\[\]\n$`, "queue", "list", "--json")
		h.says(0, 0, `^{"segments":0,.*"faults":\[\],`, "queue", "check", "--json")
		if list, err := os.ReadDir(h.dir + "/home/state"); made && err != nil || len(list) > 0 {
			t.Errorf("made %v, %v", list, err)
		}
	}
	h.run(begun)
	for _, verb := range []string{"status", "list", "check"} {
		h.says(0, 0, `reading`, "queue", verb)
	}
	if list := h.strangers(); len(list) > 0 {
		t.Errorf("not nobody's: %s", strings.Join(list, ", "))
	}
	h.run(begun)
}

// TestNotAllowed says to a user who may not, who may; and what to do about a store that root has spoiled.
func TestNotAllowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run(begun)
	who := reach.NameOf(nobody)
	tail := `permission denied; it belongs to user ` + who + `: sudo -u ` + who + ` tidegate `
	h.says(1, 1, `^tidegate: ask the gateway: .*`+tail+`status --config \S+t.yaml\n$`, "status")
	h.says(1, 1, `^tidegate: ask the gateway: .*`+tail+`queue status --config \S+t.yaml\n$`, "queue", "status")
	state := filepath.Join(h.dir, "home/state")
	if err := os.Chmod(state, 0o755); err != nil {
		t.Fatal(err)
	}
	h.says(1, 1, `^tidegate: look for a buffer: open \S+/buffer: `+tail+`queue status --config \S+t.yaml\n$`, "queue", "status")
	if err := os.Chmod(filepath.Join(state, "buffer"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.says(1, 1, `^tidegate: open \S+/buffer: `+tail+`queue check --config \S+t.yaml\n$`, "queue", "check")
	files, err := filepath.Glob(filepath.Join(state, "buffer/*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Chown(f, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	h.run(`"no_disk",.*open store .*permission denied; give the directory and all that is in it to the user that runs the ` +
		`gateway \(chown -R USER DIRECTORY\), or set state_dir to one of its own`)
}
