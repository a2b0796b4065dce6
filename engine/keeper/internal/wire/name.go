package wire

import (
	"fmt"
	"strings"
)

const maxName = 200

// CheckName says whether name can be a child's id. The characters are those of container ids, and a slash, without the
// one that FileName uses, so that an id is a file name and back.
func CheckName(name string) error {
	bad := strings.IndexFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:", r))
	})
	if name == "" || len(name) > maxName || name[0] == '.' || bad >= 0 {
		return fmt.Errorf("%q is not an id for the keeper: up to %d letters, digits, - _ . / : and no dot first", name, maxName)
	}
	return nil
}

// FileName is the file name for a checked name, and Name the way back.
func FileName(name string) string { return strings.ReplaceAll(name, "/", "%") }

// Name is the name that a file name stands for.
func Name(file string) string { return strings.ReplaceAll(file, "%", "/") }
