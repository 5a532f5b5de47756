package cli

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progressAfter is how long something may take before people are told that it goes on.
const progressAfter = 2 * time.Second

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// progress shows on w, if that is a terminal, what goes on and for how long already, from 2 s on until done is called; then the line is
// wiped.
func progress(w *os.File, what string) (done func()) {
	if !isTerminal(w) {
		return func() {}
	}
	var wg sync.WaitGroup
	ended := make(chan struct{})
	start := time.Now()
	wg.Go(func() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		shown := false
		for {
			select {
			case <-ended:
				if shown {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			case <-t.C:
			}
			if d := time.Since(start); d >= progressAfter {
				shown = true
				fmt.Fprintf(w, "\r%s: %d s", what, int(d.Seconds()))
			}
		}
	})
	return func() { close(ended); wg.Wait() }
}
