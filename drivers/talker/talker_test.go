package talker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// listen returns a Talker at whose far end say speaks.
func listen(t *testing.T, r Rules, say func(w *drivertest.Wire)) *Talker {
	t.Helper()
	h := &drivertest.Host{Ports: map[string]drivertest.Opener{drivertest.Any: func(context.Context) (drivers.Port, error) {
		w := &drivertest.Wire{}
		say(w)
		return w, nil
	}}}
	bus, err := Open(t.Context(), h, drivers.Serial{Port: "/dev/ttyX"})
	if err != nil {
		t.Fatal(err)
	}
	return New(bus, r)
}

// hear returns the next n things that happen, each with its time, as text.
func hear(t *testing.T, k *Talker, n int) string {
	t.Helper()
	var out []string
	for start := time.Now(); len(out) < n; {
		h, err := k.Next(t.Context())
		text := h.Text
		switch {
		case err != nil:
			text = "error: " + err.Error()
		case h.What == Framed:
			text = string(h.Frame.Text)
			k.Verdict("")
		case h.What == Rested:
			text = "rest"
		case h.What == Refused:
			text = k.Report(nil, "line_fault")[0].Fault
		}
		out = append(out, fmt.Sprintf("%v %s", time.Since(start), text))
	}
	return strings.Join(out, "\n")
}

// TestRest: a pause after a frame is told once, as soon as it is over; one within a frame is none.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := lineRules()
		r.Rest, r.Silence, r.Name = 200*time.Millisecond, time.Minute, "receiver"
		k := listen(t, r, func(w *drivertest.Wire) {
			w.SayAfter(2*time.Second, []byte("a\nb\nc"))
			w.SayAfter(500*time.Millisecond, []byte("d\n"))
			w.SayAfter(150*time.Millisecond, []byte("e\n"))
			w.SayAfter(time.Second, []byte("f"))
			w.SayAfter(2*time.Second, []byte("g\nh\n"))
		})
		got := hear(t, k, 10)
		want := strings.Join([]string{
			"2s a", "2s b", "2.5s cd", "2.65s e", "2.85s rest", `4.65s half_frame: nothing more came of a frame; 1 bytes dropped: "f"`,
			"5.65s g", "5.65s h", "5.85s rest", "1m5.65s nothing came for 1m0s: is the receiver on, and the cable right?",
		}, "\n")
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// TestPortThatIsGone: what came of a frame is forgotten with the port, and so is the pause after one.
func TestPortThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := lineRules()
		r.Rest = 200 * time.Millisecond
		k := listen(t, r, func(w *drivertest.Wire) {
			w.SayAfter(2*time.Second, []byte("a\nb"))
			w.HangUp()
		})
		const want = "2s a\n2s error: bus /dev/ttyX: gone: unplugged\n4s a"
		if got := hear(t, k, 3); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestDeadlineThatCannotBeSet(t *testing.T) {
	near, far := net.Pipe()
	_, _ = near.Close(), far.Close()
	k := New(nil, lineRules())
	if err := k.fill(t.Context(), near); err == nil || err.Error() != "set deadline: gone (io: read/write on closed pipe)" {
		t.Fatal(err)
	}
}

// empty is a port that returns no bytes and no error, as one does that was unplugged under some drivers of kernels and libraries.
type empty struct {
	drivers.Port
	reads *int
}

func (e empty) Read([]byte) (int, error) { *e.reads++; return 0, nil }

// TestB07ZeroByteReads is row B-07 for all drivers that are made of a Talker: the port counts as gone at the first empty read, and is
// not asked again before it is opened anew.
func TestB07ZeroByteReads(t *testing.T) {
	reads := 0
	bus := drivers.NewBus("/dev/ttyX", func(context.Context) (drivers.Port, error) {
		return empty{&drivertest.Wire{}, &reads}, nil
	})
	k := New(bus, lineRules())
	for i := range 3 {
		_, err := k.Next(t.Context())
		if !errors.Is(err, drivers.ErrGone) || err.Error() != "bus /dev/ttyX: port returned nothing: gone" || reads != i+1 {
			t.Fatalf("Next %d: %v after %d reads", i+1, err, reads)
		}
	}
}

func TestNextWithACtxThatIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k := listen(t, lineRules(), func(w *drivertest.Wire) { w.Say([]byte("a\n")) })
	if _, err := k.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestRefuseIsReported(t *testing.T) {
	k := listen(t, lineRules(), func(*drivertest.Wire) {})
	if got := k.Report(nil, "line_fault"); got != nil {
		t.Fatalf("got %v of nothing", got)
	}
	k.Refuse("checksum: wrong")
	k.Verdict("no_match: other")
	want := tidegate.Reading{Channel: "line_fault", Fault: "no_match: other (the last of 2 refused since the previous report)"}
	if got := k.Report(nil, "line_fault"); len(got) != 1 || got[0] != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestCheckPort(t *testing.T) {
	for port, want := range map[string]string{
		"":                     "port: is missing; give the serial port, for instance /dev/serial/by-id/usb-... or /dev/ttyUSB0",
		"tcp://192.0.2.7":      "port: is no address (got tcp://192.0.2.7); write tcp://host:port",
		"tcp://:4001":          "port: is no address (got tcp://:4001); write tcp://host:port",
		"tcp://192.0.2.7:4001": "",
		"/dev/ttyUSB0":         "",
	} {
		var got string
		for _, e := range CheckPort(port) {
			got += e.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", port, got, want)
		}
	}
}

func TestOpenIsForOne(t *testing.T) {
	for _, port := range []string{"/dev/ttyX", "tcp://192.0.2.7:4001"} {
		h := &drivertest.Host{Ports: map[string]drivertest.Opener{drivertest.Any: drivertest.Says(time.Second, "a\n")}}
		one, cancel := context.WithCancel(t.Context())
		if _, err := Open(one, h, drivers.Serial{Port: port}); err != nil {
			t.Fatal(err)
		}
		two, end := context.WithCancel(t.Context())
		if _, err := Open(two, h, drivers.Serial{Port: port}); err == nil || !strings.Contains(err.Error(), "give each a port of its own") {
			t.Errorf("second on %s: %v", port, err)
		}
		end()
		cancel()
		if _, err := Open(t.Context(), h, drivers.Serial{Port: port}); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
	}
}
