package buffer

import (
	"context"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// TestDiskStaysWithinTheLimit turns the limit's bytes over and over: in an outage, where the oldest goes, and while all is delivered. What the store's files take
// on disk stays within the limit and a tenth. TIDEGATE_LONG turns it over thirty times.
func TestDiskStaysWithinTheLimit(t *testing.T) {
	if testing.Short() {
		return // under an emulator it takes too long
	}
	turns := 3
	if os.Getenv("TIDEGATE_LONG") != "" {
		turns = 30
	}
	for name, delivers := range map[string]bool{"in an outage": false, "delivering": true} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.MaxBytes, o.Keep, o.Compactors = MinBytes, 365*24*time.Hour, 0
			f := newFeeder(t, o)
			ctx, cancel := context.WithCancel(t.Context())
			merged := make(chan error, 1)
			go func() { merged <- f.q.Compact(ctx) }()
			r := rand.New(rand.NewPCG(1, 2))
			var written, kept int64
			var peak atomic.Int64 // also in the midst of a commit, or of a merge behind it
			stop := make(chan struct{})
			watched := make(chan struct{})
			go func() {
				defer close(watched)
				for tick := time.NewTicker(2 * time.Millisecond); ; {
					select {
					case <-stop:
						return
					case <-tick.C:
						peak.Store(max(peak.Load(), f.q.disk.Bytes()))
					}
				}
			}()
			for n := 0; written < int64(turns)*MinBytes; n++ {
				x := f.frame(tidegate.ClassReading, 10, 1)
				size := 20<<10 + r.IntN(60<<10)
				for range size / 8 {
					v := r.Uint64()
					x.Body = append(x.Body, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
				}
				written += int64(len(x.Body))
				frames := []Frame{x}
				if n%20 == 0 {
					frames = append(frames, f.frame(tidegate.ClassAlarm, 1, 200))
				}
				f.lived += time.Minute
				f.commit(frames...)
				if delivers {
					if err := cursor(t, f.q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: f.next - 1}}); err != nil {
						t.Fatal(err)
					}
				}
				kept = max(kept, f.q.Stats().Bytes)
			}
			close(stop)
			<-watched
			cancel()
			if err := <-merged; err != nil {
				t.Error(err)
			}
			most := peak.Load()
			t.Logf("%d MB written, at most %.1f MB of frames kept, at most %.1f MB on disk: %.2f of the limit of %d MB", written/1e6, float64(kept)/1e6, float64(most)/1e6, float64(most)/MinBytes, MinBytes/1_000_000)
			if most > MinBytes+MinBytes/10 {
				t.Errorf("%d bytes are on disk, the limit is %d", most, int64(MinBytes))
			}
			if kept < 35_000_000 {
				t.Errorf("only %d bytes of frames are kept of %d", kept, int64(MinBytes))
			}
		})
	}
}
