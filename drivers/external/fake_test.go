package external

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// A fake is a program in the test itself, for bubbles of fake time: start n has standard input and output, and returns how it ended. It is
// killed by closing both.
type fake func(n int, in io.Reader, out io.Writer) (exit string)

// starter returns what starts f.
func (f fake) starter() starter {
	n := 0
	return func(d *device) (*process, error) {
		n++
		inNear, inFar := net.Pipe()
		outNear, outFar := net.Pipe()
		p := &process{device: d, in: inNear, out: outNear, kill: func(syscall.Signal) { _, _ = inFar.Close(), outFar.Close() }}
		p.begin()
		n := n
		p.all.Go(func() {
			exit := f(n, inFar, outFar)
			_, _ = inFar.Close(), outFar.Close()
			p.over(func() string { return exit })
		})
		return p, nil
	}
}

func fakeSettings(f fake) *Config {
	c := settings()
	c.Command, c.start = []string{"/bin/true"}, f.starter()
	return c
}

// TestStartsAreRationed has a program that ends at once, for two hours.
func TestStartsAreRationed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Duration
		begin := time.Now()
		c := fakeSettings(func(int, io.Reader, io.Writer) string {
			starts = append(starts, time.Since(begin).Round(time.Second))
			return "exit status 1"
		})
		c.Starts = 5
		d := open(t, c)
		texts := map[string]int{}
		for time.Since(begin) < 2*time.Hour {
			_, err := readFor(t, d, 10*time.Minute)
			if err == nil {
				t.Fatal("a reading")
			}
			texts[err.Error()]++
			time.Sleep(time.Second)
		}
		want := "[0s 1s 3s 7s 15s 1h0m0s 1h0m32s 1h1m36s 1h3m44s 1h8m0s 2h0m0s]"
		if got := fmt.Sprint(starts); got != want {
			t.Errorf("starts at %s, want %s", got, want)
		}
		spent := "program true has ended: exit status 1; it was started 5 times within an hour (starts) and is again when that is over, or when its file has changed"
		if len(texts) != 2 || texts[spent] < 50 || texts[spent] > 130 {
			t.Errorf("it is said: %v", texts)
		}
	})
}

// TestMendedProgramIsStartedAtOnce has its file written while it waits for the next start.
func TestMendedProgramIsStartedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "probe")
	if err := os.WriteFile(path, []byte("bad"), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := fakeSettings(func(_ int, in io.Reader, out io.Writer) string {
			if b, _ := os.ReadFile(path); string(b) == "bad" {
				return "exit status 1"
			}
			fmt.Fprintln(out, `{"channel":"n","value":1}`)
			_, _ = io.Copy(io.Discard, in)
			return "exit status 0"
		})
		c.Command, c.Starts = []string{path}, 1
		d := open(t, c)
		for range 3 {
			if _, err := readFor(t, d, time.Hour); err == nil {
				t.Fatal("a reading of a bad program")
			}
		}
		time.AfterFunc(10*time.Second, func() {
			if err := os.WriteFile(path, []byte("good now"), 0o700); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		if got := show(readFor(t, d, time.Hour)); got != "n=1" {
			t.Errorf("got %s", got)
		}
		if took := time.Since(start); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("started after %v, want 1 or 2 s after it was mended at 10s", took)
		}
	})
}

// TestLinesThatWaitedAreNoHang: nobody reads for an hour, then everything that was said comes.
func TestLinesThatWaitedAreNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeSettings(func(_ int, in io.Reader, out io.Writer) string {
			for i := 1; ; i++ {
				fmt.Fprintf(out, "{\"channel\":\"n\",\"value\":%d}\n", i)
				select {
				case <-ended(in):
					return "exit status 0"
				case <-time.After(20 * time.Second):
				}
			}
		})
		d := open(t, c)
		for i := range 300 {
			if i == 1 {
				time.Sleep(time.Hour)
			}
			if got := show(readFor(t, d, time.Hour)); got != fmt.Sprintf("n=%d", i+1) {
				t.Fatalf("got %s, want n=%d", got, i+1)
			}
		}
	})
}

// ended returns a channel that is closed when in has ended.
func ended(in io.Reader) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		_, _ = io.Copy(io.Discard, in)
	}()
	return c
}

// TestRefusedLinesAreCounted: 1,000 in a second make two reports whose numbers add up, and the good line behind them is read.
func TestRefusedLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fakeSettings(func(_ int, in io.Reader, out io.Writer) string {
			for i := range 1000 {
				fmt.Fprintf(out, "rubbish %d\n", i)
			}
			fmt.Fprintln(out, `{"channel":"n","value":5}`)
			_, _ = io.Copy(io.Discard, in)
			return "exit status 0"
		})
		d := open(t, c)
		var got []string
		for range 3 {
			got = append(got, show(readFor(t, d, 10*time.Second)))
		}
		want := []string{
			`line_fault: line is no JSON: "rubbish 0"`, "n=5",
			`line_fault: line is no JSON: "rubbish 999" (the last of 999 refused since the previous report)`,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// polled is a program that answers what answer says to question n, which is 1 for the first.
func polled(answer func(n int) string) fake {
	return func(_ int, in io.Reader, out io.Writer) string {
		for s := bufio.NewScanner(in); s.Scan(); {
			var q struct{ Read int }
			if err := json.Unmarshal(s.Bytes(), &q); err != nil {
				return "signal: bad question"
			}
			if _, err := io.WriteString(out, strings.ReplaceAll(answer(q.Read), "ID", fmt.Sprint(q.Read))); err != nil {
				break
			}
		}
		return "exit status 0"
	}
}

func TestAnswers(t *testing.T) {
	const n, text, done = `{"channel":"n","value":1}` + "\n", `{"channel":"text","value":"on"}` + "\n", `{"done":ID}` + "\n"
	for name, tc := range map[string]struct{ answer, want string }{
		"whole":               {n + text + done, "n=1, text=on"},
		"with a blank line":   {n + "\n \n" + text + done, "n=1, text=on"},
		"with an output":      {n + text + `{"channel":"level","value":2,"unit":"V"}` + "\n" + done, "n=1, text=on, level=2V"},
		"without a channel":   {n + done, "n=1, text: it is missing in the program's answer"},
		"with one twice":      {n + text + n + done, `n=1, text=on, line_fault: line of "n" came twice in one answer`},
		"with a fault":        {`{"channel":"n","fault":"probe broken"}` + "\n" + text + done, "n: probe broken, text=on"},
		"with rubbish":        {n + "rubbish\n" + text + done, `n=1, text=on, line_fault: line is no JSON: "rubbish"`},
		"without an end":      {n + text, "error: read program true: context deadline exceeded"},
		"to another question": {n + text + `{"done":99}` + "\n" + done, "n: it is missing in the program's answer, text: it is missing in the program's answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fakeSettings(polled(func(int) string { return tc.answer }))
				c.Mode = modePoll
				if got := show(readFor(t, open(t, c), 5*time.Second)); got != tc.want {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
			})
		})
	}
}

// TestLateAnswersAreDropped: each answer comes only with the next question, and must not be taken for that one's; then all is well again.
func TestLateAnswersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := func(n int) string {
			return fmt.Sprintf("{\"channel\":\"n\",\"value\":%d}\n{\"channel\":\"text\",\"value\":\"x\"}\n{\"done\":%d}\n", n, n)
		}
		c := fakeSettings(polled(func(n int) string {
			switch {
			case n == 1:
				return ""
			case n < 4:
				return answer(n - 1)
			case n == 4:
				return answer(3) + answer(4)
			}
			return answer(n)
		}))
		c.Mode = modePoll
		d := open(t, c)
		for n := range 7 {
			want := fmt.Sprintf("n=%d, text=x", n+1)
			if n < 3 {
				want = "error: read program true: context deadline exceeded"
			}
			if got := show(readFor(t, d, 5*time.Second)); got != want {
				t.Errorf("question %d: got %s, want %s", n+1, got, want)
			}
		}
	})
}

// TestLateAnswerIsNoHang: the answer comes after Read has ended, and the next Read is later than the program's timeout.
func TestLateAnswerIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		answer := polled(func(n int) string {
			if n == 1 {
				time.Sleep(10 * time.Second)
			}
			return fmt.Sprintf("{\"channel\":\"n\",\"value\":%d}\n{\"channel\":\"text\",\"value\":\"x\"}\n{\"done\":ID}\n", n)
		})
		c := fakeSettings(func(n int, in io.Reader, out io.Writer) string {
			starts = n
			return answer(n, in, out)
		})
		c.Mode = modePoll
		d := open(t, c)
		got := show(readFor(t, d, 5*time.Second))
		time.Sleep(5 * time.Minute)
		for range 2 {
			got += "; " + show(readFor(t, d, 5*time.Second))
			time.Sleep(10 * time.Second)
		}
		if want := "error: read program true: context deadline exceeded; n=2, text=x; n=3, text=x"; got != want || starts != 1 {
			t.Errorf("got %s after %d starts, want %s after 1", got, starts, want)
		}
	})
}

// TestUnaskedLinesAreNoAnswer: what a program says before it is asked is refused.
func TestUnaskedLinesAreNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := polled(func(int) string {
			return `{"channel":"n","value":2}` + "\n" + `{"channel":"text","value":"x"}` + "\n" + `{"done":ID}` + "\n"
		})
		c := fakeSettings(func(n int, in io.Reader, out io.Writer) string {
			go func() { // between two Reads
				time.Sleep(30 * time.Second)
				fmt.Fprintln(out, `{"channel":"n","value":1}`)
			}()
			return answer(n, in, out)
		})
		c.Mode = modePoll
		d := open(t, c)
		first := show(readFor(t, d, 5*time.Second))
		time.Sleep(time.Minute)
		want := `n=2, text=x; n=2, text=x, line_fault: line of "n" came before there was a question`
		if got := first + "; " + show(readFor(t, d, 5*time.Second)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestOnce: the answer is whole only if the program ends well.
func TestOnce(t *testing.T) {
	for name, tc := range map[string]struct{ text, exit, want string }{
		"ends well":         {`{"channel":"n","value":1}` + "\n", "exit status 0", "n=1"},
		"without a newline": {`{"channel":"n","value":1}`, "exit status 0", "n=1"},
		"cut":               {`{"channel":"n","value":1`, "exit status 0", `n: it is missing in the program's answer, line_fault: line is no JSON: "{\"channel\":\"n\",\"value\":1"`},
		"says nothing":      {"", "exit status 0", "n: it is missing in the program's answer"},
		"ends badly":        {`{"channel":"n","value":1}` + "\n", "exit status 1", "error: program true has ended: exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fakeSettings(func(_ int, _ io.Reader, out io.Writer) string {
					_, _ = io.WriteString(out, tc.text)
					return tc.exit
				})
				c.Mode, c.List = modeOnce, c.List[:1]
				d := open(t, c)
				for range 30 { // it is rationed by nothing but the gateway's schedule
					if got := show(readFor(t, d, 5*time.Second)); got != tc.want {
						t.Fatalf("got  %s\nwant %s", got, tc.want)
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// overHost starts a program whose standard output and input are a port of a fake Host, so that the bytes of drivertest's hostile far ends
// come from it.
func overHost(d *device) (*process, error) {
	ctx, cancel := context.WithCancel(context.Background())
	bus, err := d.host.Dial(ctx, "tcp", "program:1")
	if err != nil {
		cancel()
		return nil, err
	}
	near, far := net.Pipe()
	in := &portInput{ready: make(chan struct{})}
	p := &process{device: d, in: in, out: near, kill: func(syscall.Signal) { cancel(); _ = far.Close() }}
	p.begin()
	p.all.Go(func() {
		defer cancel()
		err := bus.Do(ctx, func(port drivers.Port) error {
			in.port = port
			close(in.ready)
			_, err := io.Copy(far, port)
			return err
		})
		_ = far.Close()
		p.over(func() string { return strings.ReplaceAll(fmt.Sprint("signal: ", err), "\n", " ") })
	})
	return p, nil
}

// portInput is a standard input that goes to a port.
type portInput struct {
	port  drivers.Port
	ready chan struct{} // closed when there is a port
}

func (i *portInput) Write(b []byte) (int, error) {
	select {
	case <-i.ready:
		return i.port.Write(b)
	case <-time.After(writeWait):
		return 0, os.ErrDeadlineExceeded
	}
}

func (i *portInput) SetWriteDeadline(time.Time) error { return nil }

func (i *portInput) Close() error { return nil }

// TestConformance has the suite's hostile bytes come out of a program.
func TestConformance(t *testing.T) {
	channels := func(mode string) func() drivers.Config {
		return func() drivers.Config {
			c := settings()
			c.Command, c.start, c.Mode = []string{"/bin/true"}, overHost, mode
			c.List = []Channel{{Name: "n", Type: typeInteger}, {Name: "temp", Type: typeNumber, Unit: "Cel"}}
			return c
		}
	}
	t.Run("talk", func(t *testing.T) {
		conformance.Run(t, Driver, conformance.Options{IsUnchecked: true, Config: channels(modeTalk), Far: func(h *drivertest.Host) {
			h.Ports = map[string]drivertest.Opener{drivertest.Any: drivertest.Says(200*time.Millisecond,
				`{"channel":"n","value":1}`+"\n", `{"channel":"temp","value":21.5,"unit":"Cel"}`+"\n")}
		}})
	})
	t.Run("poll", func(t *testing.T) {
		conformance.Run(t, Driver, conformance.Options{IsUnchecked: true, Config: channels(modePoll), Far: func(h *drivertest.Host) {
			h.Ports = map[string]drivertest.Opener{drivertest.Any: drivertest.Answers(func(b []byte) []byte {
				var q struct{ Read int }
				if json.Unmarshal(b, &q) != nil {
					return nil
				}
				return fmt.Appendf(nil, "{\"channel\":\"n\",\"value\":1}\n{\"channel\":\"temp\",\"value\":21.5}\n{\"done\":%d}\n", q.Read)
			})}
		}})
	})
}
