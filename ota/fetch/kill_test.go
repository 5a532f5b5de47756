package fetch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain is the gateway too, when a test starts it to kill it.
func TestMain(m *testing.M) {
	if job := os.Getenv("TIDEGATE_FETCH_JOB"); job != "" {
		f := strings.Fields(job) // place, rate, length, sum, into
		rate, _ := strconv.ParseInt(f[1], 10, 64)
		length, _ := strconv.ParseInt(f[2], 10, 64)
		s, err := New(f[:1], Options{Rate: rate})
		if err == nil {
			err = s.File(context.Background(), "tidegate.zst", length, f[3], f[4])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A line is a server's end of a link: it counts what the kernel took of it, keeps little in the kernel, and is as fast as it should be.
type line struct {
	net.Listener
	rate int64 // bytes/s, 0 = as fast as it goes
	sent atomic.Int64
}

func (l *line) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if err := c.(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
		return nil, err
	}
	return &lineConn{c, l}, nil
}

type lineConn struct {
	net.Conn
	line *line
}

func (c *lineConn) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := c.Conn.Write(b[done:min(done+8<<10, len(b))])
		c.line.sent.Add(int64(n))
		if done += n; err != nil {
			return done, err
		}
		if c.line.rate > 0 {
			<-time.After(time.Duration(n) * time.Second / time.Duration(c.line.rate))
		}
	}
	return done, nil
}

// TestKilledAgainAndAgain kills the gateway with SIGKILL again and again in a download. At the end the server has sent at most 1.05 times the
// file, headers included: what was received was kept. TIDEGATE_LONG=1 does it with 24 MiB at 1 MiB/s, about each second.
func TestKilledAgainAndAgain(t *testing.T) {
	type race struct {
		name       string
		size       int
		line, rate int64         // limits of the link and of the gateway, bytes/s
		each       int64         // what is sent of each life
		later      time.Duration // until the kill
	}
	races := []race{
		{"slow link", 24 << 20, 24 << 20, 0, 7 << 19, 0},
		{"slow gateway", 3 << 20, 0, 512 << 10, 256 << 10, 250 * time.Millisecond}, // in the pause behind what it asked for
	}
	if os.Getenv("TIDEGATE_LONG") != "" {
		races = []race{{"slow link", 24 << 20, 1 << 20, 0, 1 << 20, 0}, {"slow gateway", 24 << 20, 0, 1 << 20, 1 << 20, 0}}
	}
	for _, c := range races {
		t.Run(c.name, func(t *testing.T) {
			b := content(20, c.size)
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			l := &line{Listener: inner, rate: c.line}
			web := &http.Server{Handler: good(b)}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				web.Serve(l)
			}()
			defer func() {
				web.Close()
				<-ended
			}()
			g := wants(t, b)
			kills := 0
			for alive := true; alive; {
				if kills > 60 {
					t.Fatalf("killed %d times, and it is still not there", kills)
				}
				var said bytes.Buffer
				child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
				child.Env = append(os.Environ(), fmt.Sprintf("TIDEGATE_FETCH_JOB=http://%s/ %d %d %s %s", inner.Addr(), c.rate, len(b), sumOf(b), g.into))
				child.Stdout, child.Stderr = io.Discard, &said
				before := l.sent.Load()
				if err := child.Start(); err != nil {
					t.Fatal(err)
				}
				gone := make(chan error, 1)
				go func() { gone <- child.Wait() }()
				watch := time.NewTicker(time.Millisecond)
				for waits := true; waits; {
					select {
					case err := <-gone:
						if err != nil {
							t.Fatalf("%v: %s", err, said.String())
						}
						waits, alive = false, false
					case <-watch.C:
						if l.sent.Load()-before >= c.each {
							<-time.After(c.later)
							if err := child.Process.Kill(); err != nil {
								t.Log(err) // it ended just now
							}
							err := <-gone
							waits, alive = false, err != nil
							kills++
						}
					}
				}
				watch.Stop()
			}
			got, err := os.ReadFile(g.into + doneSuffix)
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("got %d other bytes, %v", len(got), err)
			}
			share := float64(l.sent.Load()) / float64(len(b))
			t.Logf("killed %d times, sent %d bytes for %d: %.4f", kills, l.sent.Load(), len(b), share)
			if kills < 6 || share > 1.05 {
				t.Errorf("killed %d times, sent %.4f times the file, want at most 1.05", kills, share)
			}
		})
	}
}
