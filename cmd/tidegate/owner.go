package main

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

// becomeOwner makes this process that of the user who owns path, for the rest of its life, where it is root's. Opening a store makes
// files in it: as root's, the gateway could not open them ever after. The kernel then gives all that is made to the right user, on
// every way out, a kill included.
func becomeOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := ownerOf(path)
	if err != nil || uid == 0 {
		return err
	}
	err = errors.Join(syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid))
	if err != nil {
		return fmt.Errorf("become user %s, who owns %s: %w; run it as that user: %s", nameOf(uid), path, err, sudo(uid))
	}
	return nil
}

// mayUse returns an error that names the owner of path where this user may not read and write there.
func mayUse(path string) error {
	if err := unix.Access(path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return asOwner(fmt.Errorf("open %s: %w", path, err), path)
	}
	return nil
}

// asOwner adds to err, where a permission is missing, who has it: the owner of path.
func asOwner(err error, path string) error {
	if !errors.Is(err, fs.ErrPermission) || os.Geteuid() == 0 {
		return err
	}
	uid, _, e := ownerOf(path)
	if e != nil || uid == os.Geteuid() {
		return err
	}
	return fmt.Errorf("%w; it belongs to user %s: %s", err, nameOf(uid), sudo(uid))
}

// nearest returns the deepest directory on the way to path that can be looked at.
func nearest(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func ownerOf(path string) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, fmt.Errorf("stat %s: %w", path, err)
	}
	return int(st.Uid), int(st.Gid), nil
}

// nameOf returns the user's name, its number where it has none.
func nameOf(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// sudo returns the command line of this process as the user would be given it.
func sudo(uid int) string {
	who := nameOf(uid)
	if who == strconv.Itoa(uid) {
		who = "'#" + who + "'"
	}
	return "sudo -u " + who + " tidegate " + strings.Join(os.Args[1:], " ")
}
