// Package vm runs tests of the engine, and a few end-to-end ones, in a virtual machine: on another kernel than this
// machine's (Debian's cloud kernel), and with cgroup v2 in every controller. It receives compiled test programs, puts
// them with busybox on a small disk, boots it in qemu and reads the results from the serial console; each test in the
// guest becomes a subtest here. It runs as `make test-vm`.
package vm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

// suites are what runs in the guest, in this order: add a package here.
var suites = []suite{
	{pkg: "store"},
	{pkg: "engine/logs"},
	{pkg: "engine/quota"},
	{pkg: "engine/volume"},
	{pkg: "engine/image"},
	{pkg: "engine/network"},
	{pkg: "engine/sandbox/fork"},
	{pkg: "engine/sandbox", builds: []string{"./testdata/init"}},
	{pkg: "ociruntime", run: kernels, builds: []string{"../engine/sandbox/testdata/init"}},
	{pkg: "engine/keeper", builds: []string{keeper}},
	{pkg: "engine", builds: []string{keeper}},
	{pkg: "test/e2e", run: "^Test(Smoke|AppArmor)$"},
	{pkg: "test/faults", run: "^TestTheClockIsSet$"},
	{pkg: "test/escape", run: "^TestQuotasHold$", builds: []string{"./attacker"}},
	{pkg: "test/rootless", run: "DelegatedCgroup$"},
}

// kernels are the tests of the OCI runtime that another kernel, AppArmor and cgroup v2 make a difference to.
const kernels = "^Test(Labels|Limits|Time|Namespaces|UserNamespace|MountNamespace|CgroupsPath|DeviceRules|PauseUpdate|SeccompListener|MountsWith|Propagation|NetDevices)"

// keeper is the tiny binary that several suites build for themselves.
const keeper = "naru/cmd/naru-keeper"

// programs of this machine that suites call beside busybox's.
var programs = []string{"nft", "ip", "mke2fs", "mkfs.xfs", "unshare", "nsenter", "setpriv", "newuidmap", "newgidmap"}

// bootTimeout bounds a whole run: the boot takes seconds, and the tests some minutes on a machine that is emulated.
const bootTimeout = 18 * time.Minute

func TestInVM(t *testing.T) {
	suites := chosen(os.Getenv("NARU_VM"))
	if len(suites) == 0 {
		t.Skip("takes minutes: run make test-vm")
	}
	kernel := requireVM(t)
	disk := filepath.Join(t.TempDir(), "disk")
	buildDisk(t, disk, kernel, suites)
	runIn(t, kernel, disk, suites)
}

// TestInVMWithSELinux boots the same kernel with SELinux in AppArmor's place, and a policy as small as can be.
func TestInVMWithSELinux(t *testing.T) {
	if variable := os.Getenv("NARU_VM"); variable != "1" && variable != "selinux" {
		t.Skip("takes most of a minute: run make test-vm")
	}
	kernel := requireVM(t)
	compiler := filepath.Join(testkit.DebianDir(), "labels")
	if _, err := os.Stat(compiler); err != nil {
		t.Skip("needs SELinux's compiler: run make deps:", err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	suites := []suite{{pkg: "ociruntime", run: "^TestLabels", builds: []string{"../engine/sandbox/testdata/init"}, policy: "selinux.cil"}}
	buildDisk(t, disk, kernel, suites)
	runIn(t, kernel, disk, suites, "security=selinux")
}

// runIn boots a disk, and makes a subtest of each test that ran.
func runIn(t *testing.T, k kernel, disk string, suites []suite, parameters ...string) {
	t.Helper()
	console, err := boot(t.Context(), k.image, disk, parameters...)
	results := parse(console)
	for _, s := range suites {
		t.Run(s.name(), func(t *testing.T) { results.report(t, s.name()) })
	}
	if err != nil || t.Failed() {
		t.Errorf("the guest's console: %v\n%s", err, tail(console, 200))
	}
}

// requireVM returns the kernel to boot, or skips the test.
func requireVM(t *testing.T) kernel {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("needs an amd64 machine: the lane boots an amd64 kernel")
	}
	testkit.RequireCommand(t, "qemu-system-x86_64")
	testkit.RequireCommand(t, "mke2fs")
	return findKernel(t)
}

// chosen are all suites for NARU_VM=1, and for NARU_VM=engine/network,engine these.
func chosen(variable string) []suite {
	if variable == "1" {
		return suites
	}
	var some []suite
	for _, s := range suites {
		if slices.Contains(strings.Split(variable, ","), s.pkg) {
			some = append(some, s)
		}
	}
	return some
}

// boot runs the machine until it turns itself off, and returns what it wrote to its serial console.
func boot(ctx context.Context, kernel, disk string, parameters ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	var console bytes.Buffer
	cmd := machine(ctx, kernel, disk, parameters...)
	cmd.Stdout, cmd.Stderr = &console, &console
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, errors.New("the guest did not turn itself off in time"))
	}
	return console.Bytes(), err
}

// machine is the machine, not yet turned on; killing it is pulling its plug. What the guest has handed to its disk stays
// there, and nothing else does. The kernel gets the parameters beside its usual ones; the guest can read them too.
func machine(ctx context.Context, kernel, disk string, parameters ...string) *exec.Cmd {
	usual := []string{"console=ttyS0", "root=/dev/nvme0n1", "rw", "init=/init", "panic=-1", "loglevel=4"}
	return exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "q35", "-accel", accelerator(), "-cpu", "max",
		"-smp", "2", "-m", "2048", "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-drive", "if=none,id=disk,format=raw,cache=unsafe,file="+disk, "-device", "nvme,drive=disk,serial=naru",
		"-kernel", kernel, "-append", strings.Join(append(usual, parameters...), " "))
}

// accelerator is emulation unless asked otherwise: KVM inside another virtual machine is often there and broken.
func accelerator() string {
	if accel := os.Getenv("NARU_VM_ACCEL"); accel != "" {
		return accel
	}
	return "tcg,thread=multi"
}

func tail(text []byte, lines int) []byte {
	all := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines):], nil)
}
