package line

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

// TestThinningIsAllOrNothing: wherever the process is killed while segments are thinned out, what goes and what stands for it are kept together: nothing is lost,
// and nothing counted twice.
func TestThinningIsAllOrNothing(t *testing.T) {
	explore(t, func(w *world) {
		w.start()
		for range rapid.IntRange(1, 12).Draw(w.t, "rounds") {
			if !w.running {
				w.start()
			}
			w.work(rapid.IntRange(1, 8).Draw(w.t, "reads"))
			for range rapid.IntRange(0, 2).Draw(w.t, "thins") {
				w.overflow(tidegate.CauseThinned)
			}
			w.fuse = rapid.IntRange(0, 30).Draw(w.t, "fuse")
			killed := w.guarded(func() {
				w.must(w.s.commitAll()) // takes the requests, and makes pieces
				w.judge()               // puts them
				w.must(w.s.commitAll())
			})
			if !killed && rapid.Bool().Draw(w.t, "sends") {
				w.send(rapid.IntRange(1, 30).Draw(w.t, "records"), true)
			}
		}
	})
}
