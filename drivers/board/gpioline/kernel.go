package gpioline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// consumerName is what gpioinfo shows as the user of our lines.
const consumerName = "tidegate"

// keptEdges is how many edges the kernel keeps of one line while nobody takes them: the most that it can (its default is 16).
const keptEdges = 1024

// edgeSize is the size of one edge as the kernel writes it: struct gpio_v2_line_event of linux/gpio.h.
const edgeSize = 48

// A kernelLine is a requested line, but for the file that its edges are read from.
type kernelLine interface {
	get() (bool, error)
	set(level bool) error
	configure(c uapi.LineConfig) error
}

// request requests line offset of the chip called name, and returns the file that stands for it.
func request(name string, offset int, c uapi.LineConfig) (*os.File, kernelLine, error) {
	f, err := os.OpenFile("/dev/"+name, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r := uapi.LineRequest{Lines: 1, EventBufferSize: keptEdges, Config: c}
	r.Offsets[0] = uint32(offset)
	copy(r.Consumer[:], consumerName)
	if err := uapi.GetLine(f.Fd(), &r); err != nil {
		return nil, nil, err
	}
	if err := unix.SetNonblock(int(r.Fd), true); err != nil {
		return nil, nil, fmt.Errorf("set non-blocking: %w", errors.Join(err, unix.Close(int(r.Fd))))
	}
	line := os.NewFile(uintptr(r.Fd), name) // in Go's own poller, as it does not block
	conn, err := line.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("use line: %w", errors.Join(err, line.Close()))
	}
	return line, ioctls{conn}, nil
}

// ioctls is a kernelLine behind a file.
type ioctls struct{ conn syscall.RawConn }

func (l ioctls) get() (bool, error) {
	v := uapi.LineValues{Mask: 1}
	err := l.do(func(fd uintptr) error { return uapi.GetLineValuesV2(fd, &v) })
	return v.Bits&1 != 0, err
}

func (l ioctls) set(level bool) error {
	return l.do(func(fd uintptr) error { return uapi.SetLineValuesV2(fd, uapi.LineValues{Mask: 1, Bits: bit(level)}) })
}

func (l ioctls) configure(c uapi.LineConfig) error {
	return l.do(func(fd uintptr) error { return uapi.SetLineConfigV2(fd, &c) })
}

func (l ioctls) do(f func(fd uintptr) error) (err error) {
	if e := l.conn.Control(func(fd uintptr) { err = f(fd) }); e != nil {
		return e
	}
	return err
}

// lineConfig translates c. An output is given level.
func lineConfig(c drivers.PinConfig, level bool) (uapi.LineConfig, error) {
	var out uapi.LineConfig
	add := func(a uapi.LineAttribute) { out.AddAttribute(uapi.LineConfigAttribute{Attr: a, Mask: 1}) }
	if c.ActiveLow {
		out.Flags |= uapi.LineFlagV2ActiveLow
	}
	if c.Output {
		if c.Edge != "" || c.Pull != "" || c.Debounce != 0 {
			return out, errors.New("edges, pull and debounce are for inputs only")
		}
		out.Flags |= uapi.LineFlagV2Output
		add(uapi.OutputValues(bit(level)).Encode())
		return out, nil
	}
	pull, ok := map[string]uapi.LineFlagV2{
		"": 0, "up": uapi.LineFlagV2BiasPullUp, "down": uapi.LineFlagV2BiasPullDown, "none": uapi.LineFlagV2BiasDisabled,
	}[c.Pull]
	if !ok {
		return out, fmt.Errorf("pull is %q, want up, down or none", c.Pull)
	}
	edge, ok := map[string]uapi.LineFlagV2{
		"": 0, "rising": uapi.LineFlagV2EdgeRising, "falling": uapi.LineFlagV2EdgeFalling, "both": uapi.LineFlagV2EdgeBoth,
	}[c.Edge]
	if !ok {
		return out, fmt.Errorf("edge is %q, want rising, falling or both", c.Edge)
	}
	out.Flags |= uapi.LineFlagV2Input | pull | edge
	if c.Debounce > 0 {
		add(uapi.DebouncePeriod(max(c.Debounce, time.Microsecond)).Encode())
	}
	return out, nil
}

func bit(level bool) uapi.LineBitmap {
	if level {
		return 1
	}
	return 0
}

// readNow reads what waits behind conn into b. No bytes and no error: nothing waits.
func readNow(conn syscall.RawConn, b []byte) (n int, err error) {
	e := conn.Control(func(fd uintptr) {
		for {
			n, err = unix.Read(int(fd), b)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case e != nil:
		return 0, e
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// isReadable reports whether a read of fd would not wait: something is there, or it fails.
func isReadable(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 || err != nil
}

// appendEdges appends to into the edges in b, as the kernel wrote them, read when the clocks stood at wall and mono. Those stamped before
// since, or after mono, are of another clock than we think: they get no wall time.
func appendEdges(into []drivers.Edge, b []byte, wall time.Time, mono, since time.Duration) []drivers.Edge {
	order := binary.NativeEndian
	for ; len(b) >= edgeSize; b = b[edgeSize:] {
		e := drivers.Edge{
			Stamp: time.Duration(order.Uint64(b)),
			Level: uapi.LineEventID(order.Uint32(b[8:])) == uapi.LineEventRisingEdge,
			Seq:   order.Uint32(b[20:]),
		}
		if e.Stamp >= since && e.Stamp <= mono {
			e.Time = wall.Add(e.Stamp - mono).Round(0)
		}
		into = append(into, e)
	}
	return into
}

// monotonic returns the clock of the kernel's stamps.
func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every Linux has it
	return time.Duration(t.Nano())
}
