package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
)

// A passphrase comes from the terminal or from a file, never from the command line or the environment, which others see.
type passphrase struct{ file string }

func passphraseFlag(c *cobra.Command) *passphrase {
	p := &passphrase{}
	c.Flags().StringVar(&p.file, "passphrase-file", "", "file whose first line is the passphrase; default: ask on the terminal")
	return p
}

// key reads a key.
func (p *passphrase) key(path string) (*keyfile.Private, error) {
	return keyfile.Read(path, func() ([]byte, error) { return p.get("Passphrase of " + path + ": ") })
}

// keys reads several.
func (p *passphrase) keys(paths []string) ([]*keyfile.Private, error) {
	var out []*keyfile.Private
	for _, path := range paths {
		k, err := p.key(path)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

func (p *passphrase) get(prompt string) ([]byte, error) {
	if p.file != "" {
		return firstLine(p.file)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for a passphrase: there is no terminal: give --passphrase-file (%w)", err)
	}
	defer tty.Close()
	return ask(tty, prompt)
}

// ask asks on a terminal, which does not show what is typed: that is so before it asks.
func ask(tty *os.File, prompt string) (line []byte, err error) {
	fd := int(tty.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("ask for a passphrase: %w", err)
	}
	silent := *was
	silent.Lflag = silent.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	silent.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
		return nil, fmt.Errorf("ask for a passphrase: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETS, was)) }()
	fmt.Fprint(tty, prompt)
	defer fmt.Fprintln(tty)
	b := make([]byte, 1<<10)
	n, err := tty.Read(b) // a line
	if err != nil && n == 0 {
		return nil, fmt.Errorf("ask for a passphrase: %w", err)
	}
	return bytes.TrimRight(b[:n], "\r\n"), nil
}

// choose has a new passphrase chosen for path.
func (p *passphrase) choose(path string) ([]byte, error) {
	one, err := p.get("New passphrase of " + path + ", 12 characters or more: ")
	if err != nil || p.file != "" {
		return one, err
	}
	two, err := p.get("Once more: ")
	if err == nil && !bytes.Equal(one, two) {
		err = errors.New("the passphrases are not the same; nothing was written")
	}
	return one, err
}

// firstLine reads a passphrase from a file that nobody else can read, or from a pipe.
func firstLine(path string) ([]byte, error) {
	const longest = 1 << 10
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	defer f.Close()
	s, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	if s.Mode().IsRegular() && s.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read passphrase: others can read %s: mode %04o; chmod 600 it", path, s.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return nil, fmt.Errorf("read passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return nil, fmt.Errorf("read passphrase: the first line of %s is empty", path)
	}
	return line, nil
}
