package reach

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// BecomeOwner makes this process that of the user who owns path, for the rest of its life, where it is root's. Opening a store makes
// files in it: as root's, the gateway could not open them ever after. The kernel then gives all that is made to the right user, on
// every way out, a kill included.
func BecomeOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := OwnerOf(path)
	if err != nil || uid == 0 {
		return err
	}
	err = errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid))
	if err != nil {
		return fmt.Errorf("become user %s, who owns %s: %w; run it as that user: %s", NameOf(uid), path, err, sudo(uid))
	}
	return nil
}

// MayUse returns an error that names the owner of path where this user may not read and write there.
func MayUse(path string) error {
	if err := unix.Access(path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return AsOwner(fmt.Errorf("open %s: %w", path, err), path)
	}
	return nil
}

// AsOwner adds to err, where a permission is missing, who has it: the owner of path.
func AsOwner(err error, path string) error {
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return err
	}
	uid, _, e := OwnerOf(path)
	if e != nil || uid == os.Geteuid() {
		return err
	}
	return fmt.Errorf("%w; it belongs to user %s: %s", err, NameOf(uid), sudo(uid))
}

// Nearest returns the deepest directory on the way to path that can be looked at.
func Nearest(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// OwnerOf returns the user and the group that path belongs to.
func OwnerOf(path string) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, fmt.Errorf("stat %s: %w", path, err)
	}
	return int(st.Uid), int(st.Gid), nil
}

// NameOf returns the user's name, its number where it has none.
func NameOf(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// sudo returns the command line of this process as the user would be given it.
func sudo(uid int) string {
	who := NameOf(uid)
	if who == strconv.Itoa(uid) {
		who = "'#" + who + "'"
	}
	return "sudo -u " + who + " tidegate " + strings.Join(os.Args[1:], " ")
}
