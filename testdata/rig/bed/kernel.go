package bed

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A Kernel is an unpacked Debian linux-image package.
type Kernel struct {
	Root, Version, Image string

	files   map[string]string // of modules, by name
	builtin map[string]bool
}

// module returns the name of the module in the file at path, as modules call each other.
func module(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// OpenKernel opens the kernel that testdata/rig/hil/kernels.sh has unpacked under root.
func OpenKernel(t *testing.T, root string) *Kernel {
	t.Helper()
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		t.Fatalf("no kernel under %s: testdata/rig/hil/kernels.sh fetches it", root)
	}
	slices.Sort(images)
	k := &Kernel{Root: root, Image: images[len(images)-1], files: map[string]string{}, builtin: map[string]bool{}}
	k.Version = strings.TrimPrefix(filepath.Base(k.Image), "vmlinuz-")
	lib := filepath.Join(root, "lib", "modules", k.Version)
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

// With returns the files of the modules called names and of all that they need, in the order of loading.
func (k *Kernel) With(t *testing.T, names ...string) (out []string) {
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
			t.Fatalf("kernel %s has no module %s", k.Version, name)
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

// Initramfs writes an archive (cpio, newc) of the guest, the gateway and modules. It is not compressed: inflating is slow in emulation.
func (k *Kernel) Initramfs(t *testing.T, path, guest, gateway string, modules []string) {
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
