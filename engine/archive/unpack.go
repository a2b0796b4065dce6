package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// Unpack makes the files of a tar stream in root. What is there stays, unless the stream has something of that name: a
// file replaces a file, and a folder is merged with a folder.
func Unpack(r io.Reader, root *os.Root, o Options) error {
	u := &unpacker{tar: tar.NewReader(r), root: root, options: o}
	for {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			return u.setFolderTimes()
		}
		if err != nil {
			return naru.Errorf(naru.InvalidArgument, "read the archive: %w", err)
		}
		if err := u.make(h); err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}

type unpacker struct {
	tar     *tar.Reader
	root    *os.Root
	options Options
	folders []*tar.Header // their times are set last: what is made in them changes them
}

func (u *unpacker) make(h *tar.Header) error {
	name, err := u.options.local(h.Name)
	if err != nil {
		return err
	}
	h.Name = name
	if dir := path.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if h.Typeflag != tar.TypeDir {
		if err := u.clear(name); err != nil {
			return err
		}
	}
	if err := u.create(h); err != nil {
		return err
	}
	return u.describe(h)
}

// local is where in the folder a name of the stream is.
func (o Options) local(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if !filepath.IsLocal(clean) {
		return "", errName(name)
	}
	if o.As == "" {
		return clean, nil
	}
	if rest, ok := strings.CutPrefix(clean, o.From); ok && (rest == "" || rest[0] == '/') {
		return path.Join(o.As, rest), nil
	}
	if o.From == "." {
		return path.Join(o.As, clean), nil
	}
	return clean, nil
}

// clear removes what has the name of a file to be made; a folder with something in it stays, and is an error.
func (u *unpacker) clear(name string) error {
	if name == "." {
		return naru.Errorf(naru.InvalidArgument, "the archive has a file where a folder is")
	}
	if err := u.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (u *unpacker) create(h *tar.Header) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(h)
	case tar.TypeReg:
		return u.file(h)
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, h.Name)
	case tar.TypeLink:
		to, err := u.options.local(h.Linkname)
		if err != nil {
			return err
		}
		return u.root.Link(to, h.Name)
	case tar.TypeFifo:
		return u.fifo(h)
	}
	return naru.Errorf(naru.InvalidArgument, "a device, or something else that is no file, folder, link or pipe, cannot be made")
}

func (u *unpacker) folder(h *tar.Header) error {
	u.folders = append(u.folders, h)
	err := u.root.Mkdir(h.Name, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := u.root.Stat(h.Name); err != nil || info.IsDir() {
		return err
	}
	return naru.Errorf(naru.InvalidArgument, "a file is there, which cannot become a folder")
}

func (u *unpacker) file(h *tar.Header) (err error) {
	f, err := u.root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, u.tar); err != nil {
		return err
	}
	uid, gid := u.owner(h)
	if err := f.Chown(uid, gid); err != nil { // before the attributes: it takes capabilities away
		return err
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, attributePrefix); ok && carried(name) {
			if err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
				return fmt.Errorf("set attribute %s: %w", name, err)
			}
		}
	}
	return nil
}

// fifo is made in its folder's descriptor: os.Root cannot.
func (u *unpacker) fifo(h *tar.Header) error {
	dir, err := u.root.Open(path.Dir(h.Name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Mknodat(int(dir.Fd()), path.Base(h.Name), unix.S_IFIFO|0o600, 0)
}

func (u *unpacker) owner(h *tar.Header) (uid, gid int) {
	uid, gid = h.Uid, h.Gid
	if u.options.Owner != nil {
		uid, gid = u.options.Owner.UID, u.options.Owner.GID
	}
	return uid + int(u.options.Base), gid + int(u.options.Base)
}

// describe sets owner, mode and time, in the order in which none undoes another.
func (u *unpacker) describe(h *tar.Header) error {
	if h.Typeflag == tar.TypeLink {
		return nil // its other name has them
	}
	if h.Typeflag != tar.TypeReg {
		uid, gid := u.owner(h)
		if err := u.root.Lchown(h.Name, uid, gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if err := u.root.Chmod(h.Name, h.FileInfo().Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return err
	}
	return u.setTime(h)
}

func (u *unpacker) setTime(h *tar.Header) error {
	if h.ModTime.IsZero() || h.ModTime.Equal(time.Unix(0, 0)) {
		return nil
	}
	return u.root.Chtimes(h.Name, h.ModTime, h.ModTime)
}

func (u *unpacker) setFolderTimes() error {
	for i := len(u.folders) - 1; i >= 0; i-- {
		if err := u.setTime(u.folders[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set the time of %s: %w", u.folders[i].Name, err)
		}
	}
	return nil
}
