package builder

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/user"
)

// maxUserFile bounds what is read of an image's /etc/passwd or /etc/group.
const maxUserFile = 10 << 20

// lookUpUser finds the numbers of "user", "user:group" or their numbers in the image's own files. Nobody named is root.
func lookUpUser(dir, name string) (uid, gid uint32, groups []uint32, err error) {
	if name == "" {
		return 0, 0, nil, nil
	}
	u, err := user.GetExecUser(name, nil, readInRoot(dir, "/etc/passwd"), readInRoot(dir, "/etc/group"))
	if err != nil {
		return 0, 0, nil, err
	}
	for _, g := range u.Sgids {
		groups = append(groups, uint32(g))
	}
	return uint32(u.Uid), uint32(u.Gid), groups, nil
}

// readInRoot reads a file of an image, following links as the image would; what is not a plain file reads as empty.
func readInRoot(dir, name string) io.Reader {
	b, err := readFileInRoot(dir, name)
	if err != nil {
		return strings.NewReader("")
	}
	return strings.NewReader(string(b))
}

func readFileInRoot(dir, name string) ([]byte, error) {
	handle, err := pathrs.OpenInRoot(dir, name)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	if st, err := handle.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", name) // opening a pipe would wait for its other end
	}
	f, err := pathrs.Reopen(handle, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxUserFile))
}
