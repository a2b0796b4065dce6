package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// TestASizeIsRefusedWhereThereAreNoQuotas asks for sizes in each way on a disk that cannot hold anybody to them: each
// error names the disk and the cure, and nothing is made.
func TestASizeIsRefusedWhereThereAreNoQuotas(t *testing.T) {
	disk := testkit.Disk(t, 128<<20, "rw", "mke2fs", "-q", "-t", "ext4")
	d := testkit.NewDaemon(t)
	d.Data = filepath.Join(disk, "data")
	d.Start()
	d.ImportBusybox(busybox)
	d.OK("container", "run", "--rm", busybox, "true") // makes the default network
	before := d.Kernel()
	refuses(t, d.Naru("volume", "create", "-o", "size=1m", "data"), disk, "tune2fs -O project,quota")
	refuses(t, d.Naru("container", "run", "--rm", "--storage-opt", "size=1m", busybox, "true"), disk, "tune2fs")
	refuses(t, d.Naru("container", "run", "--rm", "--mount", "src=data,dst=/data,volume-opt=size=1m", busybox, "true"), disk, "tune2fs")
	for key, text := range map[string]string{
		"a service":   "    storage_opt: {size: 1m}\n",
		"its volumes": "    volumes: [\"data:/data\"]\nvolumes: {data: {driver_opts: {size: 1m}}}\n",
	} {
		folder := t.TempDir()
		app := "name: sized\nservices:\n  web:\n    image: " + busybox + "\n    command: [\"sleep\", \"100\"]\n" + text
		if err := os.WriteFile(filepath.Join(folder, "compose.yaml"), []byte(app), 0o644); err != nil {
			t.Fatal(err)
		}
		if r := d.Naru("up", folder); r.Code == 0 || !strings.Contains(r.Stderr, "tune2fs") {
			t.Errorf("up with a size of %s: %v", key, r)
		}
	}
	d.OK("down", "-a", "sized")
	if out := d.OK("volume", "ls", "-q"); out != "" {
		t.Errorf("there are volumes %q", out)
	}
	d.Settles(before)
}
