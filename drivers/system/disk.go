package system

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// diskChannels returns the channels of the file system that holds path; "/" is called root.
func diskChannels(path string) []drivers.Channel {
	prefix := "disk_root"
	if path != "/" {
		prefix = "disk_" + plain(path)
	}
	return []drivers.Channel{
		{Name: prefix + "_total", Kind: tidegate.KindInt, Unit: "B", Meaning: "size of the file system at " + path},
		{Name: prefix + "_available", Kind: tidegate.KindInt, Unit: "B", Meaning: "room for programs without special rights at " + path},
		{Name: prefix + "_used", Kind: tidegate.KindFloat, Unit: "/100", Meaning: "share in use at " + path + ", as df shows it"},
		{Name: prefix + "_inodes_used", Kind: tidegate.KindFloat, Unit: "/100", Meaning: "share of inodes in use at " + path},
	}
}

// usage returns the fill level of the file system that holds path. Some file systems have no fixed number of inodes.
func (m machine) usage(path string) part {
	return part{channels: diskChannels(path), wanted: true, read: func() ([]tidegate.Value, error) {
		st, err := m.statfs(path)
		if err != nil {
			return nil, fmt.Errorf("statfs %s: %w", path, err)
		}
		return fill(st)
	}}
}

// fill computes the values of diskChannels from statfs(2).
func fill(st unix.Statfs_t) ([]tidegate.Value, error) {
	size := uint64(st.Frsize)
	if size == 0 {
		size = uint64(st.Bsize)
	}
	if size == 0 || st.Blocks == 0 {
		return nil, errors.New("the file system has no size")
	}
	if st.Blocks > 1<<62/size || st.Bavail > 1<<62/size || st.Bfree > st.Blocks || st.Ffree > st.Files {
		return nil, fmt.Errorf("the file system contradicts itself: %d of %d blocks of %d bytes and %d of %d inodes free",
			st.Bfree, st.Blocks, size, st.Ffree, st.Files)
	}
	used := st.Blocks - st.Bfree
	out := []tidegate.Value{
		tidegate.Int(int64(st.Blocks * size)), tidegate.Int(int64(st.Bavail * size)), share(used, max(used+st.Bavail, 1)), {},
	}
	if st.Files > 0 {
		out[3] = share(st.Files-st.Ffree, st.Files)
	}
	return out, nil
}

// written returns the bytes written to the disk that holds path.
func (m machine) written(path string) part {
	var name string
	var sectors counter
	return part{channels: fixed("disk_written"), wanted: path != "/", read: func() ([]tidegate.Value, error) {
		disks, err := m.disks()
		if err != nil {
			return nil, err
		}
		if name == "" {
			if name, err = m.diskOf(path, disks); err != nil {
				return nil, err
			}
		}
		i := slices.IndexFunc(disks, func(d disk) bool { return d.name == name })
		if i < 0 {
			return nil, fmt.Errorf("disk %s is gone from /proc/diskstats", name)
		}
		return []tidegate.Value{tidegate.Int(sectors.count(disks[i].wrote) * 512)}, nil
	}}
}

func (m machine) disks() ([]disk, error) {
	s, err := m.text("proc/diskstats")
	if err != nil {
		return nil, err
	}
	disks, err := parseDisks(s)
	if err != nil {
		return nil, fmt.Errorf("parse /proc/diskstats: %w", err)
	}
	return disks, nil
}

// diskOf returns the name of the whole disk that holds the file system at path, or at the nearest directory above it that is there. An
// error wrapping fs.ErrNotExist means that none does: it is in memory, on a network, or an overlay.
func (m machine) diskOf(where string, disks []disk) (string, error) {
	major, minor, err := m.device(where)
	for errors.Is(err, fs.ErrNotExist) && where != "/" {
		where = path.Dir(where)
		major, minor, err = m.device(where)
	}
	if err != nil {
		return "", fmt.Errorf("stat %s: %w", where, err)
	}
	number, source, kind := fmt.Sprintf("%d:%d", major, minor), "", "no disk"
	if major == 0 { // btrfs and others that may span disks have a number of their own: take the device that was mounted
		mounts, err := m.text("proc/self/mountinfo")
		if err != nil {
			return "", err
		}
		if kind, source, err = parseMounts(mounts, where); err != nil {
			return "", fmt.Errorf("parse /proc/self/mountinfo: %w", err)
		}
	}
	for _, d := range disks {
		if d.number == number || m.isCalled(d.name, source) {
			return m.wholeDisk(d.name)
		}
	}
	return "", fmt.Errorf("find the disk of %s, which is on %s (%s): %w", where, kind, number, fs.ErrNotExist)
}

// isCalled reports whether the disk called name is the device file source: /dev/sda2, or /dev/mapper/NAME.
func (m machine) isCalled(name, source string) bool {
	if source == "/dev/"+name {
		return true
	}
	alias, ok := strings.CutPrefix(source, "/dev/mapper/")
	if !ok {
		return false
	}
	label, err := m.line(path.Join("sys/block", name, "dm/name"))
	return err == nil && label == alias
}

// wholeDisk follows a partition to its disk, and a mapped disk (LVM, dm-crypt) to the one that it lies on, while there is only one.
func (m machine) wholeDisk(name string) (string, error) {
	for range 8 { // layers; more are a loop
		disks, err := m.names("sys/block")
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(disks, func(d string) bool { return m.exists(path.Join("sys/block", d, name, "partition")) }); i >= 0 {
			name = disks[i]
		}
		below, err := m.names(path.Join("sys/block", name, "slaves"))
		if err != nil {
			return "", err
		}
		if len(below) != 1 {
			return name, nil
		}
		name = below[0]
	}
	return name, nil
}
