package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// TestStoreToBeReopened: a store that takes nothing until it is opened anew ends the process, unless the way to memory and back does that.
func TestStoreToBeReopened(t *testing.T) {
	none := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	memory := tmpfs.Dir(t)
	for name, tt := range map[string]struct {
		err   error
		rings string
		ends  bool
	}{
		"a disk that fails":                    {fmt.Errorf("%w: %w", buffer.ErrReopen, unix.EIO), memory, false},
		"a disk that fails, without tmpfs":     {fmt.Errorf("%w: %w", buffer.ErrReopen, unix.EIO), none, true},
		"a disk that was full":                 {fmt.Errorf("%w: %w", buffer.ErrReopen, unix.ENOSPC), memory, true},
		"a disk that fails, and a sound store": {unix.EIO, none, false},
		"nothing":                              {nil, none, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			claim, err := place.Take(dir)
			if err == nil {
				err = os.Mkdir(filepath.Join(dir, "buffer"), 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer claim.Release()
			a := &Agent{cfg: &config.Config{StateDir: dir}, parts: Parts{RingDir: tt.rings}, sits: sitting{dir: dir}}
			a.trouble.note(tt.err)
			got := a.watchDisk(&opened{claim: claim}, time.Now())
			if (got != nil) != tt.ends || tt.ends && !errors.Is(got, buffer.ErrReopen) {
				t.Errorf("got %v, want the process to end: %v", got, tt.ends)
			}
		})
	}
}
