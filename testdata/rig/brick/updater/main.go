// Command updater stages a program and switches to it, as an update does behind download and trust.
//
//	updater STATE LIB PROGRAM COUNTER WINDOW
package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "updater:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	builtin, err := slots.ReadBuiltin(args[1])
	if err != nil {
		return err
	}
	f, err := os.Open(args[2])
	if err != nil {
		return err
	}
	defer f.Close()
	s256, s512 := sha256.New(), sha512.New()
	length, err := io.Copy(io.MultiWriter(s256, s512), f)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	counter, err := strconv.ParseUint(args[3], 10, 64)
	if err != nil {
		return err
	}
	window, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	s, err := slots.Open(filepath.Join(args[0], "ota"), builtin)
	if err != nil {
		return err
	}
	rel := slots.Release{
		Counter: counter, Version: "v" + args[3], Length: length, SHA256: hex.EncodeToString(s256.Sum(nil)), SHA512: hex.EncodeToString(s512.Sum(nil)),
	}
	if err := stage.Stage(context.Background(), s, f, rel); err != nil {
		return err
	}
	return s.Switch([]byte(`{"devices":["meter1"]}`), window)
}
