// Command prog stands in a slot in the place of the gateway: as small as it can be, it says which release it is, and judges itself in a trial by
// what stands at its end.
//
//	prog report                            say what runs, and nothing else
//	prog live STATE LIB TIDEGATE CONFIG    in a trial, keep or give up this release; else note that the outcome was told
//
// It is kept by the real program, TIDEGATE, which it becomes for that.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidegate-io/tidegate/ota/slots"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "prog:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	body, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	// The last line of the file: "release 12 good".
	end := string(body[bytes.LastIndexByte(bytes.TrimRight(body, "\n"), '\n')+1:])
	var counter int
	var kind string
	if _, err := fmt.Sscanf(end, "release %d %s", &counter, &kind); err != nil {
		return fmt.Errorf("%s ends with %q: %w", self, end, err)
	}
	safe := args[len(args)-1] == "--safe"
	fmt.Printf("runs %d %x slot=%s safe=%v\n", counter, sha256.Sum256(body), os.Getenv("TIDEGATE_SLOT"), safe)
	if args[0] != "live" {
		return nil
	}
	builtin, err := slots.ReadBuiltin(args[2])
	if err != nil {
		return err
	}
	s, err := slots.Open(filepath.Join(args[1], "ota"), builtin)
	if err != nil {
		return err
	}
	st := s.State()
	switch {
	case !st.Trial.Own():
		return s.Told()
	case kind == "good":
		return syscall.Exec(args[3], []string{"tidegate", "update", "confirm", "--config", args[4]}, os.Environ())
	case kind == "bad":
		return s.Fail("device-lost")
	}
	return nil // crash
}
