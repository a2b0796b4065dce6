package inside

import (
	"os"
	"strconv"
	"strings"
)

// home reads a user's home folder from the container's /etc/passwd.
func home(uid int) string {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return "/"
	}
	want := strconv.Itoa(uid)
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) == 7 && f[2] == want && strings.HasPrefix(f[5], "/") {
			return f[5]
		}
	}
	return "/"
}
