package engine_test

import (
	"path/filepath"
	"strings"
	"testing"

	"naru/engine"
	"naru/engine/quota"
	"naru/internal/testkit"
	"naru/naru"
)

// TestAContainersLayerIsBoundedThroughItsLife writes too much over an image, before and after a daemon's death.
func TestAContainersLayerIsBoundedThroughItsLife(t *testing.T) {
	t.Setenv("TMPDIR", testkit.QuotaExt4(t))
	r := newRig(t)
	const script = `dd if=/dev/zero of=/big bs=1M count=20 2>&1; rm /big; df -m / | tail -1; cp /bin/busybox /bin/moved && mv /bin/moved /tmp/moved; echo ended`
	c := r.start(script, func(s *engine.ContainerSpec) { s.Limits.Disk.Bytes = 8 << 20 })
	for range 2 {
		r.wait(c.ID)
		out := r.output(c.ID)
		if !strings.Contains(out, "quota exceeded") || !strings.Contains(out, "ended") || !strings.Contains(out, " 8 ") {
			t.Errorf("it says %s", out)
		}
		r.Shut()
		r.Open()
		if err := r.Start(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
	}
	r.wait(c.ID)
	root, err := r.Images.Prepare(t.Context(), c.ID, c.Image)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), c.ID, false); err != nil {
		t.Fatal(err)
	}
	images := filepath.Dir(filepath.Dir(filepath.Dir(root.Upper)))
	aside, err := filepath.Glob(filepath.Join(images, "removed", "*", "upper"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v", aside, err)
	}
	if limit, err := quota.Of(aside[0]); err != nil || limit != (naru.DiskLimit{}) {
		t.Errorf("the layer of a container that was removed has the limit %+v, %v", limit, err)
	}
}

// TestACopyIsHeldToTheSameLimits copies too much into a container and its volume, as root of the host.
func TestACopyIsHeldToTheSameLimits(t *testing.T) {
	t.Setenv("TMPDIR", testkit.QuotaExt4(t))
	r := newRig(t)
	small := naru.DiskLimit{Bytes: 8 << 20}
	c := r.start(forever, func(s *engine.ContainerSpec) {
		s.Limits.Disk = small
		s.Mounts = []engine.Mount{{Volume: "v", Target: "/v", Limit: small}, {Volume: "free", Target: "/free"}}
	})
	tooMuch := func(when, dir string) {
		err := r.CopyIn(t.Context(), c.ID, dir, tarOf(t, map[string]string{"big": strings.Repeat("x", 20<<20)}), false)
		if err == nil || !strings.Contains(err.Error(), "quota exceeded") {
			t.Errorf("%s, into %s: %v", when, dir, err)
		}
	}
	tooMuch("running", "/")
	tooMuch("running", "/v")
	if err := r.CopyIn(t.Context(), c.ID, "/free", tarOf(t, map[string]string{"big": strings.Repeat("x", 20<<20)}), false); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	if err := r.Stop(t.Context(), c.ID, -1); err != nil {
		t.Fatal(err)
	}
	tooMuch("stopped", "/")
}

// TestLimitsThatCannotHoldAreRefused asks for what a file system, or a user namespace that is not there, does not give.
func TestLimitsThatCannotHoldAreRefused(t *testing.T) {
	t.Setenv("TMPDIR", testkit.Disk(t, 128<<20, "rw", "mke2fs", "-q", "-t", "ext4"))
	r := newRig(t)
	small := naru.Limits{Disk: naru.DiskLimit{Bytes: 8 << 20}}
	for what, tc := range map[string]struct {
		spec engine.ContainerSpec
		code naru.Code
		says string
	}{
		"no quotas":         {engine.ContainerSpec{Limits: small}, naru.FailedPrecondition, "tune2fs"},
		"no user namespace": {engine.ContainerSpec{Limits: small, HostUserNS: true}, naru.InvalidArgument, "user namespace"},
		"less than nothing": {engine.ContainerSpec{Limits: naru.Limits{Disk: naru.DiskLimit{Inodes: -1}}}, naru.InvalidArgument, "-1 inodes"},
		"more than a disk": {engine.ContainerSpec{Mounts: []engine.Mount{{Volume: "v", Target: "/v", Limit: naru.DiskLimit{Bytes: 1 << 62}}}},
			naru.InvalidArgument, "4611686018427387904 bytes"},
	} {
		tc.spec.Image = "busybox"
		if _, err := r.Create(t.Context(), tc.spec); naru.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := r.CreateVolume(t.Context(), "v", naru.DiskLimit{Bytes: 1 << 20}); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("a volume: %v", err)
	}
	if list, err := r.Volumes(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("there is %+v, %v", list, err)
	}
}
