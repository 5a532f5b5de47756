package hil

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// Where a 32-bit ARM kernel of Debian's belongs on the board: start of its memory and the text offset of the multiplatform kernel.
const loadAt = 0x80208000

// unpacked writes the kernel inside a 32-bit ARM zImage as an image for U-Boot, which qemu loads as it is: unpacking itself in emulation
// takes a zImage longer than all of its boot.
func unpacked(t *testing.T, k *bed.Kernel, path string) string {
	t.Helper()
	z, err := os.ReadFile(k.Image)
	if err != nil {
		t.Fatal(err)
	}
	xz := bed.Need(t, "xz", "xz-utils")
	var image []byte
	for at := 0; len(image) < 1<<20; at++ { // the mark occurs in the unpacker too
		n := bytes.Index(z[at:], []byte("\xfd7zXZ\x00\x00"))
		if n < 0 {
			t.Fatalf("no packed kernel in %s", k.Image)
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
func deviceTree(t *testing.T, k *bed.Kernel, path string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(k.Root, "usr", "lib", "linux-image-*", "aspeed-ast2600-evb.dtb"))
	if err != nil || len(found) == 0 {
		t.Fatalf("kernel %s has no device tree of the ast2600-evb", k.Version)
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
