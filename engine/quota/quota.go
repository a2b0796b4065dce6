// Package quota bounds what a folder may hold of its file system, by the project quotas of ext4 and xfs. It receives a
// folder and a limit, and keeps no record of its own: the folder carries the id of a project, what is made in it
// inherits that, and the file system keeps the project's limit. A process in a user namespace cannot change the id of
// any file: that is the kernel's rule.
package quota

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// The project ids lie above those that people number by hand and that other engines count up from: "n" and three bytes.
const (
	firstProject = 0x6e000000
	projects     = 0x01000000
)

// inodeBytes is the room for each inode when only bytes are limited. What has a byte in it takes that much anyway, so
// that the limit meets nothing but empty files, which would use up the inodes of all others.
const inodeBytes = 4096

// Set bounds what is in the folders of one file system, in all of them together. They are empty, or were bounded
// before: then the limit is changed. A file system that cannot do it is a FailedPrecondition that says the cure.
func Set(limit naru.DiskLimit, dirs ...string) error {
	folders, err := openAll(dirs)
	defer closeAll(folders)
	if err != nil {
		return fmt.Errorf("limit its size: %w", err)
	}
	if limit.Inodes == 0 {
		limit.Inodes = (limit.Bytes + inodeBytes - 1) / inodeBytes
	}
	if err := set(limit, folders); err != nil {
		return fmt.Errorf("limit its size: %w", err)
	}
	return nil
}

func set(limit naru.DiskLimit, folders []*os.File) error {
	if err := checkEnforced(folders[0]); err != nil {
		return err
	}
	id, err := projectOf(folders[0])
	if err != nil {
		return err
	}
	if isOurs(id) {
		err = markAll(folders, id)
	} else {
		id, err = allot(folders)
	}
	if err != nil {
		return err
	}
	return setLimit(folders[0], id, limit)
}

func isOurs(id uint32) bool { return id-firstProject < projects }

// allot marks the folders with a project id that nobody uses: one that follows from the first folder's path, so that two
// engines on a file system rarely meet, or the next free one. When two take the same one at the same moment, each sees
// more in it than its own, and both go on.
func allot(folders []*os.File) (uint32, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(folders[0].Name())) // a hash takes all
	for i := range uint32(projects) {
		id := firstProject + (h.Sum32()+i)%projects
		ok, err := take(folders, id)
		if err != nil || ok {
			return id, err
		}
	}
	return 0, fmt.Errorf("all %d project ids are in use on this file system", projects)
}

// take marks the folders with the id when nothing else has it.
func take(folders []*os.File, id uint32) (bool, error) {
	p, err := readProject(folders[0], id)
	if err != nil || p != (project{}) {
		return false, err
	}
	if err := markAll(folders, id); err != nil {
		return false, err
	}
	p, err = readProject(folders[0], id)
	return p.used.Inodes == int64(len(folders)), err
}

func markAll(folders []*os.File, id uint32) error {
	for _, f := range folders {
		if err := mark(f, id); err != nil {
			return err
		}
	}
	return nil
}

// Of returns the limit of a folder; zero is none.
func Of(dir string) (naru.DiskLimit, error) {
	p, err := read(dir)
	return p.limit, err
}

// Check fails when a folder holds more than it may: what root writes, ext4 does not hold back.
func Check(dir string) error {
	p, err := read(dir)
	if err != nil {
		return err
	}
	if p.limit.Bytes > 0 && p.used.Bytes > p.limit.Bytes || p.limit.Inodes > 0 && p.used.Inodes > p.limit.Inodes {
		return naru.Errorf(naru.FailedPrecondition, "%d bytes in %d files are more than its limit of %d bytes in %d files: %w",
			p.used.Bytes, p.used.Inodes, p.limit.Bytes, p.limit.Inodes, unix.EDQUOT)
	}
	return nil
}

// read returns the project of a folder, zero when it is bounded by nothing of ours.
func read(dir string) (project, error) {
	f, err := open(dir)
	if err != nil {
		return project{}, fmt.Errorf("find its size limit: %w", err)
	}
	defer closeAll([]*os.File{f})
	id, err := projectOf(f)
	if err != nil || !isOurs(id) {
		return project{}, err
	}
	return readProject(f, id)
}

// Clear takes the limit off a folder that is about to be removed; the id is free when all is gone that has it.
func Clear(dir string) error {
	f, err := open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("give up its size limit: %w", err)
	}
	defer closeAll([]*os.File{f})
	return ClearOpen(f)
}

// ClearOpen is Clear for a folder that is open, and may be in no other any more.
func ClearOpen(f *os.File) error {
	id, err := projectOf(f)
	if err != nil || !isOurs(id) {
		return err
	}
	err = setLimit(f, id, naru.DiskLimit{})
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOSYS) {
		return nil // there are no quotas any more
	}
	return err
}

func open(dir string) (*os.File, error) {
	return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

func openAll(dirs []string) ([]*os.File, error) {
	var folders []*os.File
	for _, dir := range dirs {
		f, err := open(dir)
		if err != nil {
			return folders, err
		}
		folders = append(folders, f)
	}
	return folders, nil
}

func closeAll(folders []*os.File) {
	for _, f := range folders {
		_ = f.Close() // opened for reading
	}
}
