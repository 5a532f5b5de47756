// Package tmpfs gives tests folders in memory: for rings, which belong there, and where thousands of histories are tried and it does not matter
// what a sync costs.
package tmpfs

import (
	"os"
	"testing"
)

// Dir returns a new folder on tmpfs, which is gone when the test has ended.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "tidegate-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
