package salvage

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"time"

	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// within is how long All takes at most, beside one transaction: a gateway is to start within ten seconds.
const within = 5 * time.Second

// All brings what can be read of the stores that were set aside in the state directory into o.Store, once for each of them; start returns the
// stream of one. It takes 5 s at most: what is not read by then stays where it is, and is not looked at again. Only where o.Store fails does it
// return an error.
func All(stateDir string, start func(dir string) (io.ReadCloser, error), o Options, log *slog.Logger) (Found, error) {
	all := Found{Whole: true, Epochs: map[uint32]stored.Epoch{}, Cursors: map[string]stored.Cursor{}}
	o.Until = time.Now().Add(within)
	for _, dir := range disk.Unsalvaged(stateDir) {
		found, err := one(dir, start, o)
		if err != nil {
			return all, fmt.Errorf("salvage %s: %w", dir, err)
		}
		log.Warn("what can be read of a damaged store was brought over", "path", dir, "frames", found.Frames, "records", found.Records, "whole", found.Whole,
			"frames of epochs without a name", found.Left, "why", found.Why)
		all.Whole = all.Whole && found.Whole
		all.Frames, all.Records, all.Left = all.Frames+found.Frames, all.Records+found.Records, all.Left+found.Left
		maps.Copy(all.Epochs, found.Epochs)
		maps.Copy(all.Cursors, found.Cursors)
		if err := disk.Salvaged(dir); err != nil {
			return all, err
		}
	}
	return all, nil
}

// one brings over what can be read of the store in dir.
func one(dir string, start func(dir string) (io.ReadCloser, error), o Options) (Found, error) {
	stream, err := start(dir)
	if err != nil {
		return Found{Why: err}, nil
	}
	defer stream.Close()
	return Into(stream, o)
}
