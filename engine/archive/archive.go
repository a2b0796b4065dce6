// Package archive carries files as tar streams: it receives an opened folder and writes what is below a name in it, or
// reads a stream and makes its files in an opened folder. It never follows a symlink out of that folder, whoever changes
// it meanwhile: every name is resolved inside of it by package os's Root.
package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// Options say how owners are carried.
type Options struct {
	Base  uint32 // the id on disk that is 0 in the stream: where the range of a user namespace begins
	Owner *Owner // of every file, whatever its owner in the stream or on disk; nil: its own

	// Unpack calls From, the name of a file or folder at the top of the stream, As instead; "." is all of the stream.
	From, As string
}

// Owner is a user and a group.
type Owner struct{ UID, GID int }

// Pack writes the file or folder name of root, with all below it, as a tar stream in which it is called as. Sockets are
// left out: they mean nothing elsewhere.
func Pack(w io.Writer, root *os.Root, name, as string, o Options) error {
	p := &packer{tar: tar.NewWriter(w), root: root, options: o, links: map[inode]string{}}
	err := fs.WalkDir(root.FS(), name, func(file string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && file != name {
			return nil // it went while we looked
		}
		if err != nil {
			return err
		}
		return p.add(file, path.Join(as, strings.TrimPrefix(strings.TrimPrefix(file, name), "/")))
	})
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	if err := p.tar.Close(); err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return nil
}

type inode struct{ device, number uint64 }

type packer struct {
	tar     *tar.Writer
	root    *os.Root
	options Options
	links   map[inode]string // the first name of files that have several
}

func (p *packer) add(file, as string) error {
	info, err := p.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Mode()&fs.ModeSocket != 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		return p.addFile(file, as)
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = p.root.Readlink(file); err != nil {
			return err
		}
	}
	h, err := p.header(info, as, target)
	if err != nil {
		return err
	}
	return p.tar.WriteHeader(h)
}

// addFile describes the file from its descriptor: what has the name may change meanwhile.
func (p *packer) addFile(file, as string) error {
	f, err := p.root.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	h, err := p.header(info, as, "")
	if err != nil {
		return err
	}
	if err := attributes(f, h); err != nil {
		return err
	}
	if err := p.tar.WriteHeader(h); err != nil || h.Typeflag == tar.TypeLink {
		return err
	}
	return p.content(f, h.Size)
}

// content writes exactly as many bytes as the header says, also of a file that shrinks meanwhile.
func (p *packer) content(f io.Reader, size int64) error {
	n, err := io.Copy(p.tar, io.LimitReader(f, size))
	if err != nil || n == size {
		return err
	}
	_, err = io.CopyN(p.tar, zeros{}, size-n)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (p *packer) header(info fs.FileInfo, as, target string) (*tar.Header, error) {
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	h.Name, h.Format, h.Uname, h.Gname = as, tar.FormatPAX, "", ""
	if info.IsDir() {
		h.Name += "/"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return h, nil
	}
	h.Uid, h.Gid = p.options.inStream(st.Uid), p.options.inStream(st.Gid)
	if p.options.Owner != nil {
		h.Uid, h.Gid = p.options.Owner.UID, p.options.Owner.GID
	}
	if info.Mode().IsRegular() && st.Nlink > 1 {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			p.links[id] = as
		}
	}
	return h, nil
}

// inStream translates an id on disk; one outside of the range is nobody's.
func (o Options) inStream(id uint32) int {
	if id < o.Base || id-o.Base >= 1<<16 && o.Base > 0 {
		return nobody
	}
	return int(id - o.Base)
}

const nobody = 65534

const attributePrefix = "SCHILY.xattr."

// attributes adds the file's extended attributes: capabilities, and what users set.
func attributes(f *os.File, h *tar.Header) error {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX and XATTR_SIZE_MAX
	n, err := unix.Flistxattr(int(f.Fd()), buf)
	if errors.Is(err, unix.ENOTSUP) || n <= 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	names := strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00")
	for _, name := range names {
		if !carried(name) {
			continue
		}
		size, err := unix.Fgetxattr(int(f.Fd()), name, buf)
		if err != nil {
			continue // it went, or is not for us
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[attributePrefix+name] = string(buf[:size])
	}
	return nil
}

// carried leaves out an overlay's own marks, which mean something else in another place.
func carried(attribute string) bool {
	return attribute == "security.capability" || (strings.HasPrefix(attribute, "user.") && !strings.HasPrefix(attribute, "user.overlay."))
}

// errName is for names in a stream that lead out of the folder.
func errName(name string) error {
	return naru.Errorf(naru.InvalidArgument, "the archive has a file named %q, which is not inside of a folder", name)
}
