package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is a small file system of its own below the state directory. It needs
// root; without it the disk is never broken.
type disk struct {
	dir     string
	mounted bool
}

// openDisk mounts it where it can.
func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &disk{dir: dir}
	if os.Geteuid() != 0 {
		return d, nil
	}
	if err := unix.Mount("chaos", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=32m,mode=0700"); err != nil {
		return nil, fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
	}
	d.mounted = true
	return d, nil
}

func (d *disk) close() error {
	if !d.mounted {
		return nil
	}
	return d.unmount()
}

func (d *disk) unmount() error {
	if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting %s: %w", d.dir, err)
	}
	return nil
}

// fill takes all room that is left; empty gives it back.
func (d *disk) fill() error {
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		_, err := io.WriteString(f, "x")
		if err == nil {
			_, err = f.Write(make([]byte, 4095))
		}
		if errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (d *disk) empty() error { return os.Remove(d.filler()) }

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// freeze lays a read-only view of the directory over it: a file system that is
// in use cannot be made read-only itself. thaw takes it away.
func (d *disk) freeze() error {
	if err := unix.Mount(d.dir, d.dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding %s: %w", d.dir, err)
	}
	if err := unix.Mount("", d.dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return errors.Join(fmt.Errorf("making %s read-only: %w", d.dir, err), d.unmount())
	}
	return nil
}

func (d *disk) thaw() error { return d.unmount() }
