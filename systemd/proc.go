package systemd

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// What proc(5) tells of processes.

func processes() (pids []int, err error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// holdsSocket reports whether the process has one of the sockets open.
func holdsSocket(pid int, inodes map[string]bool) (bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer fds.Close()
	names, err := fds.Readdirnames(-1)
	for _, name := range names {
		to, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			continue // closed meanwhile
		}
		if inode, ok := strings.CutPrefix(to, "socket:["); ok && inodes[strings.TrimSuffix(inode, "]")] {
			return true, nil
		}
	}
	return false, err
}

func describe(pid int) (Listener, error) {
	dir := fmt.Sprintf("/proc/%d", pid)
	info, err := os.Stat(dir)
	if err != nil {
		return Listener{}, err
	}
	l := Listener{PID: pid}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		l.UID = stat.Uid
	}
	if l.Command, err = commandOf(dir); err != nil {
		return Listener{}, err
	}
	groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	l.Unit = unitOf(string(groups))
	return l, err
}

// Directory is where the process runs now.
func (l Listener) Directory() (string, error) {
	return os.Readlink(fmt.Sprintf("/proc/%d/cwd", l.PID))
}

// Arguments are the words of its command line, which it may have overwritten
// with anything.
func (l Listener) Arguments() ([]string, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", l.PID))
	return strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), err
}

// commandOf is the command line, which a process may have overwritten with
// anything.
func commandOf(dir string) (string, error) {
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return "", err
	}
	words := strings.Fields(strings.Map(printable, string(line)))
	if len(words) > 0 {
		return strings.Join(words, " "), nil
	}
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	return "[" + strings.TrimSpace(strings.Map(printable, string(name))) + "]", err
}

func printable(r rune) rune {
	if strconv.IsPrint(r) {
		return r
	}
	return ' '
}

// unitOf is the unit that /proc/PID/cgroup tells of. Systems with cgroup v1
// have a hierarchy that is named for systemd, which it may or may not use.
func unitOf(text string) string {
	var named, unified string
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // number, controllers, path
		switch {
		case len(fields) != 3:
		case fields[1] == "name=systemd":
			named = unitOfCgroup(fields[2])
		case fields[0] == "0" && fields[1] == "":
			unified = unitOfCgroup(fields[2])
		}
	}
	return cmp.Or(named, unified)
}

// unitOfCgroup is the unit that a control group belongs to: the first on the
// way down that is no slice. What lies below is the unit's own affair, be it a
// manager of a user's units or a container. Processes of none, or seen from
// within a container outside of it, give "".
func unitOfCgroup(path string) string {
	for name := range strings.SplitSeq(path, "/") {
		// systemd puts an underscore before names that the kernel has for itself.
		name = strings.TrimPrefix(name, "_")
		switch filepath.Ext(name) {
		case ".slice", "":
		case ".service", ".scope", ".socket", ".mount", ".swap":
			return name
		default:
			return ""
		}
	}
	return ""
}
