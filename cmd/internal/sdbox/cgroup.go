package sdbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// cgroups are the box's own: a systemd that boots in the test's cgroup would
// move the test, and whoever shares the cgroup, about.
type cgroups []string

// newCgroups makes one in each hierarchy that systemd uses: the only one of a
// host with cgroup v2, or v1's named one and its companion.
func newCgroups(name string) (cgroups, error) {
	const root = "/sys/fs/cgroup"
	parents := []string{root}
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); errors.Is(err, fs.ErrNotExist) {
		parents = []string{filepath.Join(root, "systemd"), filepath.Join(root, "unified")}
	}
	var made cgroups
	for _, parent := range parents {
		group := filepath.Join(parent, name)
		switch err := os.Mkdir(group, 0o755); {
		case errors.Is(err, fs.ErrNotExist): // v1 without its companion
		case err != nil:
			return nil, errors.Join(fmt.Errorf("making a cgroup of its own: %w", err), made.remove())
		default:
			made = append(made, group)
		}
	}
	if len(made) == 0 {
		return nil, fmt.Errorf("making a cgroup of its own: no hierarchy of systemd below %s", root)
	}
	return made, nil
}

// command is argv, run within the cgroups.
func (g cgroups) command(argv ...string) *exec.Cmd {
	const join = `while [ "$1" != -- ]; do echo $$ >"$1"/cgroup.procs || exit; shift; done; shift; exec "$@"`
	args := append([]string{"-c", join, "sdbox"}, g...)
	return exec.Command("/bin/sh", append(append(args, "--"), argv...)...)
}

// remove takes the cgroups away. The kernel buries the processes of a box that
// was killed a moment after the box itself, hence the patience.
func (g cgroups) remove() error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		err = nil
		for _, group := range g {
			// Where the kernel has it; process 1 is dead, so are its children.
			_ = os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
			err = errors.Join(err, removeTree(group))
		}
		if err == nil {
			return nil
		}
	}
	return err
}

// removeTree removes directories only, the inner ones first: a cgroup's files
// go with it.
func removeTree(group string) error {
	var dirs []string
	err := filepath.WalkDir(group, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case e.IsDir():
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		if rm := os.Remove(dir); !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}
