package hil

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// A kernel is an unpacked Debian linux-image package.
type kernel struct {
	root, version, image string
	files                map[string]string // of modules, by name
	builtin              map[string]bool
}

// module returns the name of the module in the file at path, as modules call each other.
func module(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// openKernel opens the kernel that kernels.sh unpacked for arch.
func openKernel(t *testing.T, arch string) *kernel {
	t.Helper()
	root := filepath.Join(*kernels, arch)
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no kernel under %s: run make hil, which fetches it", root)
	}
	slices.Sort(images)
	k := &kernel{root: root, image: images[len(images)-1], files: map[string]string{}, builtin: map[string]bool{}}
	k.version = strings.TrimPrefix(filepath.Base(k.image), "vmlinuz-")
	lib := filepath.Join(root, "lib", "modules", k.version)
	err = filepath.WalkDir(lib, func(p string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".ko") {
			k.files[module(p)] = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(lib, "modules.builtin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Fields(string(list)) {
		k.builtin[module(p)] = true
	}
	return k
}

// with returns the files of the modules called names and of all that they need, in the order of loading.
func (k *kernel) with(t *testing.T, names ...string) (out []string) {
	t.Helper()
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		name = strings.ReplaceAll(name, "-", "_")
		if seen[name] || k.builtin[name] {
			return
		}
		seen[name] = true
		path := k.files[name]
		if path == "" {
			t.Fatalf("kernel %s has no module %s", k.version, name)
		}
		for _, need := range needs(t, path) {
			visit(need)
		}
		out = append(out, path)
	}
	for _, n := range names {
		visit(n)
	}
	return out
}

// needs returns the modules that the one at path depends on, as it says itself.
func needs(t *testing.T, path string) []string {
	t.Helper()
	e, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	text, err := e.Section(".modinfo").Data()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// initramfs writes an archive (cpio, newc) of the guest, the gateway and modules. It is not compressed: inflating is slow in emulation.
func (k *kernel) initramfs(t *testing.T, path, guest, gateway string, modules []string) {
	t.Helper()
	var b bytes.Buffer
	number := 0
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	add := func(name string, mode int, content []byte) {
		number++
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		pad()
		b.Write(content)
		pad()
	}
	file := func(name string, mode int, from string) {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		add(name, mode, content)
	}
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run", "modules"} {
		add(dir, 0o40755, nil)
	}
	file("init", 0o100755, guest)
	file("tidegate", 0o100755, gateway)
	var list strings.Builder
	for _, m := range modules {
		file("modules/"+filepath.Base(m), 0o100644, m)
		fmt.Fprintln(&list, filepath.Base(m))
	}
	add("modules.list", 0o100644, []byte(list.String()))
	add("TRAILER!!!", 0, nil)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Where a 32-bit ARM kernel of Debian's belongs on the board: start of its memory and the text offset of the multiplatform kernel.
const loadAt = 0x80208000

// unpacked writes the kernel inside a 32-bit ARM zImage as an image for U-Boot, which qemu loads as it is: unpacking itself in emulation
// takes a zImage longer than all of its boot.
func (k *kernel) unpacked(t *testing.T, path string) string {
	t.Helper()
	z, err := os.ReadFile(k.image)
	if err != nil {
		t.Fatal(err)
	}
	xz := bed.Need(t, "xz", "xz-utils")
	var image []byte
	for at := 0; len(image) < 1<<20; at++ { // the mark occurs in the unpacker too
		n := bytes.Index(z[at:], []byte("\xfd7zXZ\x00\x00"))
		if n < 0 {
			t.Fatalf("no packed kernel in %s", k.image)
		}
		at += n
		c := exec.Command(xz, "-dc", "--single-stream")
		c.Stdin = bytes.NewReader(z[at:])
		image, _ = c.Output() // what stands behind the stream makes it fail
	}
	head := make([]byte, 64)
	be := binary.BigEndian
	be.PutUint32(head[0:], 0x27051956) // the mark
	be.PutUint32(head[12:], uint32(len(image)))
	be.PutUint32(head[16:], loadAt)
	be.PutUint32(head[20:], loadAt) // entry
	be.PutUint32(head[24:], crc32.ChecksumIEEE(image))
	copy(head[28:], []byte{5, 2, 2, 0}) // Linux, ARM, kernel, not packed
	be.PutUint32(head[4:], crc32.ChecksumIEEE(head))
	if err := os.WriteFile(path, append(head, image...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// deviceTree copies the board's device tree to path, with lines 8 to 15 called GPIO0 to GPIO7, those before MUXED0 to MUXED7 (the board's I2C has
// some of them), and its UART1 switched on.
func (k *kernel) deviceTree(t *testing.T, path string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(k.root, "usr", "lib", "linux-image-*", "aspeed-ast2600-evb.dtb"))
	if err != nil || len(found) == 0 {
		t.Fatalf("kernel %s has no device tree of the ast2600-evb", k.version)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{"-t", "s", path, "/ahb/apb/gpio@1e780000", "gpio-line-names"}
	for _, stem := range []string{"MUXED", "GPIO"} {
		for i := range 8 {
			names = append(names, fmt.Sprintf("%s%d", stem, i))
		}
	}
	fdtput := bed.Need(t, "fdtput", "device-tree-compiler")
	for _, args := range [][]string{names, {"-t", "s", path, "/ahb/apb/serial@1e783000", "status", "okay"}} {
		if out, err := exec.Command(fdtput, args...).CombinedOutput(); err != nil {
			t.Fatalf("fdtput: %v: %s", err, out)
		}
	}
	return path
}
