package release

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// trust refuses a directory that others may write, or replace by another one:
// whoever may do that decides what the slots run.
func trust(dir string) error {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	if err := trustOne(resolved, 0); err != nil {
		return err
	}
	for at := filepath.Dir(resolved); ; at = filepath.Dir(at) {
		// In a sticky directory nobody can replace what is another's.
		if err := trustOne(at, os.ModeSticky); err != nil {
			return err
		}
		if at == "/" {
			return nil
		}
	}
}

func trustOne(dir string, unless os.FileMode) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is not a directory", ErrUnsafe, dir)
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&unless == 0 {
		return fmt.Errorf("%w: %s is writable by others than its owner (mode %04o): `chmod go-w %s`", ErrUnsafe, dir, info.Mode().Perm(), dir)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to user %d, who could put anything there: `chown root: %s`", ErrUnsafe, dir, st.Uid, dir)
	}
	return nil
}
