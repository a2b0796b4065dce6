package vm

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// wantedModules are what containers need of a kernel beyond what Debian builds in. The guest has no modprobe: all of
// them are loaded at boot.
var wantedModules = []string{
	"overlay", "bridge", "veth", "dummy", "loop", "quota_v2", "xfs",
	"nf_tables", "nf_conntrack", "nf_conntrack_netlink", "nf_nat", "nft_chain_nat", "nft_ct", "nft_nat", "nft_masq",
	"nft_redir", "nft_fib_inet", "nft_fib_ipv4", "nft_fib_ipv6", "nft_hash", "nft_limit", "nft_log", "nft_numgen",
	"nft_objref", "nft_quota", "nft_reject_inet", "nft_socket",
}

// kernel is a kernel unpacked from a Debian package.
type kernel struct {
	image   string
	modules map[string]string // files by name
}

// findKernel finds what `make deps` unpacked, or skips the test.
func findKernel(t *testing.T) kernel {
	t.Helper()
	root := filepath.Join(testkit.DebianDir(), "kernel")
	images, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	if err != nil || len(images) == 0 {
		t.Skipf("needs a kernel in %s: run make deps", root)
	}
	k := kernel{image: images[0], modules: map[string]string{}}
	err = filepath.WalkDir(filepath.Join(root, "lib", "modules"), func(path string, _ fs.DirEntry, err error) error {
		if name, found := strings.CutSuffix(filepath.Base(path), ".ko"); found {
			k.modules[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		t.Fatalf("list the kernel's modules: %v", err)
	}
	return k
}

// installModules copies the wanted modules, and those that they depend on, and lists them in the order to load them.
func (k kernel) installModules(t *testing.T, root string) {
	t.Helper()
	var order []string
	done := map[string]bool{}
	for _, name := range wantedModules {
		if err := k.appendModule(&order, done, name); err != nil {
			t.Fatal(err)
		}
	}
	var list strings.Builder
	for _, name := range order {
		to := filepath.Join("/lib/modules", name+".ko")
		copyFile(t, k.modules[name], filepath.Join(root, to))
		fmt.Fprintln(&list, to)
	}
	writeFile(t, filepath.Join(root, "modules"), 0o644, []byte(list.String()))
}

// appendModule adds the module after those that it depends on. A name without a file is built into the kernel.
func (k kernel) appendModule(order *[]string, done map[string]bool, name string) error {
	if done[name] || k.modules[name] == "" {
		return nil
	}
	done[name] = true
	needs, err := dependencies(k.modules[name])
	if err != nil {
		return err
	}
	for _, need := range needs {
		if err := k.appendModule(order, done, need); err != nil {
			return err
		}
	}
	*order = append(*order, name)
	return nil
}

// dependencies reads the line "depends=a,b" of a module's .modinfo section.
func dependencies(path string) ([]string, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	defer file.Close()
	section := file.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read module %s: it has no .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	for line := range bytes.SplitSeq(info, []byte{0}) {
		if names, found := strings.CutPrefix(string(line), "depends="); found && names != "" {
			return strings.Split(strings.ReplaceAll(names, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
