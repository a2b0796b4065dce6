package sandbox

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// mountOptions are fstab options sorted by who understands them.
type mountOptions struct {
	flags     uint64 // MS_*, for a new filesystem
	set       uint64 // MOUNT_ATTR_*, for a bind
	clear     uint64
	bind      bool
	recursive bool   // the whole tree is bound
	deep      bool   // set and clear are for the whole tree (rro and its kin)
	idmap     bool   // files look as the container's ids
	idmapDeep bool   // those of the whole tree do
	copyUp    bool   // what was there before is brought along
	spread    uint64 // MS_SHARED and its kin: where later mounts show up
	data      string // the filesystem's own
}

// option is one word: its flag for new mounts and its attribute for binds, which it sets or clears.
type option struct {
	clear bool
	flag  uint64
	attr  uint64
}

func optionTable() map[string]option {
	return map[string]option{
		"ro": {false, unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY}, "rw": {true, unix.MS_RDONLY, unix.MOUNT_ATTR_RDONLY},
		"nosuid": {false, unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID}, "suid": {true, unix.MS_NOSUID, unix.MOUNT_ATTR_NOSUID},
		"nodev": {false, unix.MS_NODEV, unix.MOUNT_ATTR_NODEV}, "dev": {true, unix.MS_NODEV, unix.MOUNT_ATTR_NODEV},
		"noexec": {false, unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC}, "exec": {true, unix.MS_NOEXEC, unix.MOUNT_ATTR_NOEXEC},
		"nodiratime":  {false, unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
		"diratime":    {true, unix.MS_NODIRATIME, unix.MOUNT_ATTR_NODIRATIME},
		"nosymfollow": {false, unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
		"symfollow":   {true, unix.MS_NOSYMFOLLOW, unix.MOUNT_ATTR_NOSYMFOLLOW},
		"noatime":     {false, unix.MS_NOATIME, unix.MOUNT_ATTR_NOATIME}, "atime": {true, unix.MS_NOATIME, unix.MOUNT_ATTR_NOATIME},
		"iversion": {false, unix.MS_I_VERSION, 0}, "noiversion": {true, unix.MS_I_VERSION, 0},
		"lazytime": {false, unix.MS_LAZYTIME, 0}, "nolazytime": {true, unix.MS_LAZYTIME, 0},
		"remount":       {false, unix.MS_REMOUNT, 0},
		"strictatime":   {false, unix.MS_STRICTATIME, unix.MOUNT_ATTR_STRICTATIME},
		"relatime":      {false, unix.MS_RELATIME, unix.MOUNT_ATTR_RELATIME},
		"sync":          {false, unix.MS_SYNCHRONOUS, 0},
		"async":         {true, unix.MS_SYNCHRONOUS, 0},
		"dirsync":       {false, unix.MS_DIRSYNC, 0},
		"silent":        {false, unix.MS_SILENT, 0},
		"loud":          {true, unix.MS_SILENT, 0},
		"defaults":      {},
		"nostrictatime": {true, unix.MS_STRICTATIME, 0},
		"norelatime":    {true, unix.MS_RELATIME, 0},
	}
}

// parseOptions reads the options of a mount at dest. Words nobody knows are the filesystem's.
func parseOptions(dest string, words []string) (mountOptions, error) {
	var o mountOptions
	var data []string
	table := optionTable()
	for _, w := range words {
		switch w {
		case "bind", "rbind":
			o.bind, o.recursive = true, w == "rbind"
		case "idmap", "ridmap":
			o.idmap, o.idmapDeep = true, w == "ridmap"
		case "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable":
			o.spread = propagation(w)
		case "tmpcopyup":
			o.copyUp = true
		case "mand":
			return o, naru.Errorf(naru.Unimplemented, "mount %s: option %q is not supported", dest, w)
		default:
			if !o.apply(table, w) {
				data = append(data, w)
			}
		}
	}
	o.data = strings.Join(data, ",")
	if o.bind && o.data != "" {
		return o, naru.Errorf(naru.InvalidArgument, "mount %s: a bind has no option %q", dest, o.data)
	}
	return o, nil
}

// propagation is the flag of a word like "shared" or "rshared". That of a bind is always for the whole of what is bound.
func propagation(word string) uint64 {
	return map[string]uint64{"private": unix.MS_PRIVATE, "slave": unix.MS_SLAVE, "shared": unix.MS_SHARED,
		"unbindable": unix.MS_UNBINDABLE}[strings.TrimPrefix(word, "r")]
}

// apply takes a flag word, or one with an r before it, which is for a whole tree.
func (o *mountOptions) apply(table map[string]option, word string) bool {
	opt, known := table[word]
	if !known {
		if opt, known = table[strings.TrimPrefix(word, "r")]; !known || opt.attr == 0 {
			return false
		}
		o.deep = true
	}
	if opt.clear {
		o.flags &^= opt.flag
		o.set, o.clear = o.set&^opt.attr, o.clear|opt.attr
		return true
	}
	o.flags |= opt.flag
	o.set, o.clear = o.set|opt.attr, o.clear&^opt.attr
	return true
}

// MountOptions are the words of a mount's options that this package understands itself, sorted.
func MountOptions() []string {
	words := []string{"bind", "idmap", "private", "rbind", "ridmap", "rprivate", "rshared", "rslave", "runbindable", "shared", "slave",
		"tmpcopyup", "unbindable"}
	for w, o := range optionTable() {
		words = append(words, w)
		if o.attr != 0 {
			words = append(words, "r"+w)
		}
	}
	slices.Sort(words)
	return words
}
