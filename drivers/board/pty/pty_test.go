package pty

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// every returns all 256 byte values, those that a terminal would interpret included.
func every() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func openPort(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEveryByteBothWays(t *testing.T) {
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	port := openPort(t, p.Path)
	defer port.Close()
	for name, way := range map[string][2]*os.File{"down": {p.Master, port}, "up": {port, p.Master}} {
		if _, err := way[0].Write(every()); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 256)
		if err := way[1].SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, every()) {
			t.Errorf("%s: %v, % x", name, err, got)
		}
	}
}

// TestMasterOutlivesThePort: the far end is not hung up when the gateway is killed, and bytes wait for the next one.
func TestMasterOutlivesThePort(t *testing.T) {
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 3 {
		port := openPort(t, p.Path)
		if _, err := port.Write([]byte("up")); err != nil {
			t.Fatal(err)
		}
		if err := port.Close(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 8)
		if n, err := p.Master.Read(buf); err != nil || string(buf[:n]) != "up" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		_ = p.Master.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := p.Master.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v, want a deadline", err)
		}
		_ = p.Master.SetReadDeadline(time.Time{})
		if _, err := p.Master.Write([]byte("wait")); err != nil {
			t.Fatal(err)
		}
		port = openPort(t, p.Path)
		if n, err := port.Read(buf); err != nil || string(buf[:n]) != "wait" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		_ = port.Close()
	}
}

func TestCloseUnplugs(t *testing.T) {
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	port := openPort(t, p.Path)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := port.Read(make([]byte, 1)); err == nil {
		t.Error("Read of an unplugged port returned no error")
	}
	if _, err := port.Write([]byte{1}); !errors.Is(err, unix.EIO) {
		t.Errorf("Write: %v, want EIO", err)
	}
	_ = port.Close()
	if _, err := os.Stat(p.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want it gone", p.Path, err)
	}
}

func TestCloseEndsReadOfMaster(t *testing.T) {
	p, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := p.Master.Read(make([]byte, 1))
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	_ = p.Close()
	select {
	case err := <-done:
		if err == nil {
			t.Error("got no error")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Read of Master goes on after Close")
	}
}
