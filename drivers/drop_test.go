package drivers

import (
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestDrop(t *testing.T) {
	for want, far := range map[string]func(c net.Conn){
		"<nil> after 350ms": func(c net.Conn) {
			for range 2 {
				time.Sleep(100 * time.Millisecond)
				_, _ = c.Write(make([]byte, 1000))
			}
			_, _ = io.Copy(io.Discard, c)
		},
		"<nil> after 150ms": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"EOF after 1ms": func(c net.Conn) {
			time.Sleep(time.Millisecond) // Drop waits by then
			_ = c.Close()
		},
		"line is never quiet for 150ms after 0s": func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = c.Write(make([]byte, 4096))
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, c := net.Pipe()
				defer near.Close()
				defer c.Close()
				start := time.Now()
				go far(c)
				err := Drop(near, 150*time.Millisecond)
				if got := fmt.Sprintf("%v after %v", err, time.Since(start)); got != want {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}
