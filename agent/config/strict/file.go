package strict

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A Refusal says why a file is not used.
type Refusal struct {
	Site Site
	Args []any // for the blanks of Site
	Got  string
	Hint string
}

// Kind says what a file holds, which decides who may read it.
type Kind int

// The kinds.
const (
	Public Kind = iota // everybody may read it
	Secret             // only its owner and group may read it
)

// Open opens the file at path for reading, unless it is none, is a symbolic link (it could be made to point elsewhere), can be
// changed by every user of the machine, or is Secret and can be read by every user.
func Open(path string, kind Kind) (*os.File, *Refusal) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, openRefused(err)
	}
	if st.Mode().Type() == fs.ModeSymlink {
		hint := "name the file itself"
		if to, err := os.Readlink(path); err == nil {
			hint += ", it points to " + Show(to)
		}
		return nil, &Refusal{Site: symbolicLink, Got: Show(path), Hint: hint}
	}
	if !st.Mode().IsRegular() {
		return nil, &Refusal{Site: notRegular, Args: []any{fileType(st.Mode())}, Got: Show(path), Hint: "name a file"}
	}
	if st.Mode().Perm()&0o002 != 0 {
		return nil, &Refusal{Site: worldWritable, Got: fmt.Sprintf("mode %04o", st.Mode().Perm()), Hint: "run: chmod o-w " + path}
	}
	if kind == Secret && st.Mode().Perm()&0o007 != 0 {
		return nil, &Refusal{Site: worldReadable, Got: fmt.Sprintf("mode %04o", st.Mode().Perm()), Hint: "run: chmod 0600 " + path}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, openRefused(err)
	}
	return f, nil
}

// openRefused words the refusal of the system.
func openRefused(err error) *Refusal {
	hint := "check the path, which is relative to the working directory"
	if errors.Is(err, fs.ErrPermission) {
		hint = "let the user that runs the gateway read it"
	}
	refusal := &Refusal{Site: openFile, Args: []any{err}, Hint: hint}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		refusal.Args[0], refusal.Got = pe.Err, Show(pe.Path)
	}
	return refusal
}

func fileType(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// ReadFile reads the file at path as Open opens it, if it is at most limit bytes long.
func ReadFile(path string, kind Kind, limit int64) ([]byte, *Refusal) {
	f, refusal := Open(path, kind)
	if refusal != nil {
		return nil, refusal
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, &Refusal{Site: readFile, Args: []any{err}, Hint: "check the disk that holds it"}
	}
	if int64(len(text)) > limit {
		return nil, &Refusal{Site: tooLarge, Args: []any{limit}, Got: Show(path), Hint: "is it the right file?"}
	}
	return text, nil
}
