package crash

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestPowerCutOfGuest cuts the power of an emulated machine, with a kernel of Debian's and ext4 on a disk that loses a random half of what was not flushed,
// under a whole gateway. In every third life its clock is set a year on and back.
func TestPowerCutOfGuest(t *testing.T) {
	if *guestCuts == 0 {
		t.Log("without -guest nothing is booted: make crash")
		return
	}
	t.Parallel()
	measure(t, cutOfGuest, *guestCuts, func(t *testing.T, draw *rand.Rand, n int) *outcome {
		p := newPower(t, draw)
		g := newGuest(t, p)
		p.machine = g
		p.cutOff(n)
		p.disk.Again() // what is left is delivered from here
		o := p.judge()
		o.most = 30 * time.Second // of an emulated processor
		return o
	})
}

// guestSees is how a guest reaches the loopback of this machine.
const guestSees = "10.0.2.2"

// A guest is that machine: testdata/rig/hil/guest is its process 1, and does what it is told on the console.
type guest struct {
	*power
	disk  *bed.CacheDisk
	image string   // behind the disk
	args  []string // of qemu
	dir   string
	runs  int

	cmd *exec.Cmd

	mu    sync.Mutex // guards all below: one question at a time
	in    io.Writer
	lines chan string
}

func newGuest(t *testing.T, p *power) *guest {
	dir := bed.Dir(t, false)
	k := bed.OpenKernel(t, filepath.Join(*kernels, "amd64"))
	program := filepath.Join(dir, "guest")
	if err := bed.Compile("./testdata/rig/hil/guest", program); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "initramfs")
	k.Initramfs(t, archive, program, programs.Gateway, k.With(t, "virtio_pci", "virtio_blk", "virtio_net"))
	image := p.disk.Off()
	disk := bed.NewCacheDisk(t, image, p.draw.Uint64())
	return &guest{power: p, dir: dir, disk: disk, image: image, args: []string{
		// Not by KVM: what a machine inside a machine has of it is not always whole.
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512", "-kernel", k.Image, "-initrd", archive,
		"-append", "console=ttyS0 quiet panic=-1 no_timer_check", "-drive", "file=nbd+unix:///?socket=" + disk.Socket + ",if=virtio,format=raw",
		"-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net", "-display", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio",
	}}
}

// on boots it and starts the gateway.
func (g *guest) on() time.Time {
	g.t.Helper()
	g.boot()
	begin := time.Now()
	g.run()
	return begin
}

func (g *guest) boot() {
	g.t.Helper()
	g.runs++
	g.cmd = exec.Command(bed.Need(g.t, "qemu-system-x86_64", "qemu-system-x86"), g.args...)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(g.dir, fmt.Sprintf("console-%d.log", g.runs)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.cmd.Stderr = log
	in, err := g.cmd.StdinPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = g.cmd.Process.Kill() }) // it is gone where all went well
	lines := make(chan string, 1024)
	g.mu.Lock()
	g.in, g.lines = in, lines
	g.mu.Unlock()
	go func() {
		defer close(lines)
		defer log.Close() // what is missing there is missed by nobody
		s := bufio.NewScanner(out)
		s.Buffer(nil, 4<<20)
		for s.Scan() {
			fmt.Fprintln(log, s.Text())
			lines <- strings.TrimRight(s.Text(), "\r")
		}
	}()
	if said, ok := g.hear("@@BOOT"); !ok || said != "" {
		g.t.Fatalf("the guest does not boot: %s; its consoles: %s", said, g.dir)
	}
}

func (g *guest) run() {
	g.t.Helper()
	text, err := os.ReadFile(g.gateway.Config())
	if err != nil {
		g.t.Fatal(err)
	}
	config := strings.ReplaceAll(strings.ReplaceAll(string(text), "127.0.0.1", guestSees), g.gateway.State, "/disk/state")
	for _, q := range []question{
		{Do: "mount", Args: []string{"/dev/vda", "/disk"}},
		{Do: "write", Args: []string{"/tmp/tidegate.yaml"}, Text: config},
		{Do: "start", Args: []string{"/tidegate", "run", "--config", "/tmp/tidegate.yaml"}},
	} {
		if a, ok := g.ask(q); !ok || a.Err != "" {
			g.t.Fatalf("%s %v: %s; consoles: %s", q.Do, q.Args, a.Err, g.dir)
		}
	}
	if g.runs%3 == 0 {
		for _, by := range []string{"31536000", "-31536000"} {
			if a, ok := g.ask(question{Do: "clock", Args: []string{by}}); !ok || a.Err != "" {
				g.t.Errorf("clock by %s s: %s", by, a.Err)
			}
			time.Sleep(2 * time.Second)
		}
	}
}

// A question is what the guest is asked to do, an answer what came of it (testdata/rig/hil/guest).
type question struct {
	Do      string   `json:"do"`
	Args    []string `json:"args"`
	Text    string   `json:"text"`
	Seconds int      `json:"seconds"`
}

type answer struct {
	Out  string
	Code int
	Err  string
}

// ask asks the guest; ok is false where it is gone.
func (g *guest) ask(q question) (a answer, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.Seconds = 20
	b, err := json.Marshal(q)
	if err == nil {
		_, err = fmt.Fprintf(g.in, "@@DO %s\n", b)
	}
	if err != nil {
		return answer{Err: err.Error()}, false
	}
	said, ok := g.hear("@@RET ")
	if !ok {
		return answer{Err: "the guest says nothing any more"}, false
	}
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		return answer{Err: err.Error()}, false
	}
	return a, true
}

// hear waits for a line with that mark, and returns the rest of it.
func (g *guest) hear(mark string) (string, bool) {
	late := time.After(patience)
	for {
		select {
		case l, ok := <-g.lines:
			if !ok {
				return "the machine has ended", false
			}
			if i := strings.Index(l, mark); i >= 0 {
				return strings.TrimSpace(l[i+len(mark):]), true
			}
		case <-late:
			return "nothing", false
		}
	}
}

// get asks the gateway.
func (g *guest) get(path string, v any) bool {
	a, ok := g.ask(question{Do: "get", Args: []string{"/disk/state/tidegate.sock", path}})
	return ok && a.Err == "" && json.Unmarshal([]byte(a.Out), v) == nil
}

func (g *guest) committed() (high uint64) {
	var list []status.Segment
	g.get("/api/segments", &list)
	for _, s := range list {
		high = max(high, s.Last)
	}
	return high
}

func (g *guest) link() string {
	var s status.Status
	g.get("/api/status", &s)
	return s.Link.State
}

func (g *guest) commit() time.Duration {
	var s status.Status
	g.get("/api/status", &s)
	return seconds(s.Queue.CommitP99S)
}

// poise waits until something is written and not flushed, which comes with each commit.
func (g *guest) poise() {
	for end := time.Now().Add(10 * time.Second); g.disk.Unflushed() == 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Microsecond)
	}
}

func (g *guest) cut() time.Time {
	now := time.Now()
	_ = g.cmd.Process.Kill()
	g.mu.Lock() // who asks is told that it is gone
	defer g.mu.Unlock()
	for range g.lines {
	}
	_ = g.cmd.Wait() // killed
	unflushed, kept := g.disk.Cut()
	g.t.Logf("power cut %d: of %d sectors that were not flushed %d are there", g.runs, unflushed, kept)
	g.repair()
	return now
}

// repair does what a boot with fsck.repair=yes does before it mounts the disk: the file system's own first block, of which a cut may leave one sector new and
// one old, is taken from a copy of it.
func (g *guest) repair() {
	out, err := exec.Command(bed.Need(g.t, "e2fsck", "e2fsprogs"), "-y", g.image).CombinedOutput()
	var ended *exec.ExitError
	if err != nil && (!errors.As(err, &ended) || ended.ExitCode() > 3) {
		g.t.Fatalf("e2fsck: %v: %s", err, out)
	}
	if bytes.Contains(out, []byte("trying backup blocks")) {
		g.t.Log("the file system was read by a copy of its first block")
	}
}
