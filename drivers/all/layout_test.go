package all

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLaidOutDriver lays out the folder of a new driver and runs its tests where it will be, without putting it there: Go sees the files over
// an overlay.
func TestLaidOutDriver(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, bus := range []string{"", "i2c"} {
		t.Run("BUS="+bus, func(t *testing.T) {
			t.Setenv("BUS", bus)
			testLaidOut(t, root)
		})
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"Fresh", filepath.Join(dir, "a")}, {"my-driver", filepath.Join(dir, "b")}, {"fresh", dir}} {
		testRefused(t, root, args)
	}
	t.Setenv("BUS", "spi")
	testRefused(t, root, []string{"fresh", filepath.Join(dir, "c")})
}

// testRefused runs driver.sh with args that are wrong.
func testRefused(t *testing.T, root string, args []string) {
	t.Helper()
	out, err := exec.Command(filepath.Join(root, "etc", "driver.sh"), args...).CombinedOutput()
	if err == nil || !strings.HasPrefix(string(out), "driver.sh: ") {
		t.Errorf("driver.sh %v: %v, %s; want it refused", args, err, out)
	}
}

func testLaidOut(t *testing.T, root string) {
	dir := t.TempDir()
	made := filepath.Join(dir, "fresh")
	if out, err := exec.Command(filepath.Join(root, "etc", "driver.sh"), "fresh", made).CombinedOutput(); err != nil {
		t.Fatalf("driver.sh: %v: %s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(made, "*.go"))
	if err != nil || len(files) != 2 {
		t.Fatalf("laid out %v, %v; want a driver and its test", files, err)
	}
	replace := map[string]string{}
	for _, f := range files {
		replace[filepath.Join(root, "drivers", "fresh", filepath.Base(f))] = f
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "fresh.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", program, "./drivers/fresh") // vet does not know overlays
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build its tests: %v\n%s", err, out)
	}
	run := exec.Command(program)
	run.Dir = made
	if out, err := run.CombinedOutput(); err != nil {
		t.Errorf("its tests: %v\n%s", err, out)
	}
}
