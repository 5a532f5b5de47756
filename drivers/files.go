package drivers

import (
	"context"
	"fmt"
	"io/fs"
)

// A ContextFS is a file system that can be read with a ctx. Some files of /sys keep their reader waiting: 1-Wire parts measure while they are
// read, and the kernel lets nobody go before they are done. The Files of the real Host are one.
type ContextFS interface {
	fs.FS
	// ReadFileContext is fs.ReadFile, but returns when ctx is done, with an error wrapping ctx.Err(). The kernel may still be at it; until it is
	// done, further reads of that file wait as well.
	ReadFileContext(ctx context.Context, name string) ([]byte, error)
}

// ReadFile returns what the file called name holds. Where files is a ContextFS, it returns an error wrapping ctx.Err() when ctx is done.
func ReadFile(ctx context.Context, files fs.FS, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read /%s: %w", name, err)
	}
	if f, ok := files.(ContextFS); ok {
		return f.ReadFileContext(ctx, name)
	}
	return fs.ReadFile(files, name)
}
