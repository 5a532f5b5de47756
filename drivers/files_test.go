package drivers

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"
)

// patient is a ContextFS whose files never come.
type patient struct{ fs.FS }

func (patient) ReadFileContext(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestReadFile(t *testing.T) {
	files := fstest.MapFS{"sys/t": {Data: []byte("21\n")}}
	if b, err := ReadFile(t.Context(), files, "sys/t"); string(b) != "21\n" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := ReadFile(t.Context(), files, "sys/u"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadFile(ctx, files, "sys/t"); !errors.Is(err, context.Canceled) || err.Error() != "read /sys/t: context canceled" {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 1)
	defer cancel()
	if _, err := ReadFile(ctx, patient{files}, "sys/t"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
