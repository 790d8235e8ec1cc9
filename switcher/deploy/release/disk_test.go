package release

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts one and returns a directory on it.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	asRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, options+",mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "root")
}

// fillUp leaves room for so many pages.
func fillUp(t *testing.T, s *Store, pages int) (ballast string) {
	t.Helper()
	free, err := s.Free()
	if err != nil {
		t.Fatal(err)
	}
	ballast = filepath.Join(filepath.Dir(s.root), "ballast")
	size := int(free) - pages*os.Getpagesize()
	if err := os.WriteFile(ballast, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return ballast
}

func TestAFullDiskWhileCheckingOut(t *testing.T) {
	r := newRepo(t)
	for n := range 800 {
		r.write(fmt.Sprint("backend/src/", n, ".js"), "x")
	}
	r.commit("each takes a page of the disk")
	s, _ := newStoreIn(t, smallDisk(t, "size=2m"))
	c, err := s.Resolve(t.Context(), r.dir, "main")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Checkout(t.Context(), c, "", parts)
	wantError(t, err, ErrNoSpace, "checkout-index")
	wantNothing(t, s)
}

func TestARevisionTooLargeForTheDiskIsRefusedAtOnce(t *testing.T) {
	r := newRepo(t)
	r.write("backend/zeros", strings.Repeat("\x00", 3<<20))
	r.commit("small only in the mirror")
	for _, options := range []string{"size=2m", "size=2m,nr_inodes=60"} {
		s, _ := newStoreIn(t, smallDisk(t, options))
		c, err := s.Resolve(t.Context(), r.dir, "main")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Checkout(t.Context(), c, "", parts)
		wantError(t, err, ErrNoSpace, "are needed")
		wantNothing(t, s)
	}
}

func TestAFullDiskWhileFetching(t *testing.T) {
	r := newRepo(t)
	noise := make([]byte, 3<<20)
	rand.Read(noise)
	r.write("backend/noise", string(noise))
	r.commit("large in the mirror too")
	s, _ := newStoreIn(t, smallDisk(t, "size=1m"))
	_, err := s.Resolve(t.Context(), r.dir, "main")
	wantError(t, err, ErrNoSpace, "fetching")
	wantNothing(t, s)
}

func TestAFullDiskWhileReusingSealingAndPointing(t *testing.T) {
	s, _ := newStoreIn(t, smallDisk(t, "size=4m"))
	old := sealed(t, s, nameAt(1))
	d := drafted(t, s, nameAt(2), built(t))
	if err := os.RemoveAll(filepath.Join(d.PartDir("backend"), "node_modules")); err != nil {
		t.Fatal(err)
	}
	ballast := fillUp(t, s, 0)
	wantError(t, d.Reuse(old, "backend", []string{"node_modules"}), ErrNoSpace)
	_, err := d.Seal()
	wantError(t, err, ErrNoSpace, "sealing "+nameAt(2))
	if names := listed(t, s); len(names) != 1 || names[0] != nameAt(1) {
		t.Errorf("listed: %v", names)
	}
	_, err = s.Import(t.Context(), built(t), nameAt(3), parts)
	wantError(t, err, ErrNoSpace, "importing")
	// Making room is what helps, and a full disk is no hindrance to it.
	if _, err := s.Prune(0, nil); err != nil {
		t.Errorf("pruning: %v", err)
	}
	if err := d.Discard(); err != nil {
		t.Errorf("discarding: %v", err)
	}
	if _, err := s.Sweep(); err != nil {
		t.Errorf("sweeping: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	sealed(t, s, nameAt(4))
}

func TestADiskWithoutInodesIsCalledFull(t *testing.T) {
	s, _ := newStoreIn(t, smallDisk(t, "size=4m,nr_inodes=25"))
	artifact := built(t)
	for n := range 30 {
		write(t, filepath.Join(artifact, fmt.Sprint("backend/", n)), "x", 0o644)
	}
	_, err := s.Import(t.Context(), artifact, nameAt(1), parts)
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	wantNothing(t, s)
}
