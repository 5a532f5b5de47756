package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A store is suspect where the process before this one ended while it opened it, or three in a row soon after: a table that ends whoever compacts it
// does that. The file says it: a letter, o while the store is being opened and r while it is in use, for each start since the last that lasted.
const (
	startsName = "starts"
	mostStarts = 3
)

func startsPath(dir string) string { return filepath.Join(dir, startsName) }

// IsSuspect reports whether the store of the state directory is suspect.
func IsSuspect(dir string) bool {
	b, err := os.ReadFile(startsPath(dir))
	s := string(b)
	return err == nil && (strings.HasSuffix(s, "o") || strings.Count(s, "r") >= mostStarts)
}

// NoteOpening notes that the store is about to be opened. anew forgets the starts before this one, as the store was verified.
func NoteOpening(dir string, anew bool) error {
	var s string
	if b, err := os.ReadFile(startsPath(dir)); err == nil && !anew && len(b) < mostStarts {
		s = strings.TrimSuffix(string(b), "o")
	}
	return writeStarts(dir, s+"o")
}

// NoteOpened notes that the store is open and used, or that it did not open, which this process has outlived.
func NoteOpened(dir string, used bool) error {
	b, err := os.ReadFile(startsPath(dir))
	if err != nil {
		return fmt.Errorf("note that the store is open: %w", err)
	}
	left := strings.TrimSuffix(string(b), "o")
	if used {
		left += "r"
	}
	return writeStarts(dir, left)
}

// NoteSound notes that the store was in use for so long, or was closed in order, that the starts before do not count.
func NoteSound(dir string) error {
	if err := os.Remove(startsPath(dir)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("note that the store is sound: %w", err)
	}
	return nil
}

// writeStarts writes the file. It is not synced: the ends of a process are what it is for, not those of the machine.
func writeStarts(dir, s string) error {
	if err := os.WriteFile(startsPath(dir), []byte(s), 0o600); err != nil {
		return fmt.Errorf("note a start: %w", err)
	}
	return nil
}
