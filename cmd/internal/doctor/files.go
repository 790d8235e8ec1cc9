package doctor

import (
	"os"
	"path/filepath"
	"syscall"
)

// look is what is known of a path without opening it; links are followed.
func look(path string) File {
	f := File{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		f.Err = err
		return f
	}
	f.Mode, f.Changed = info.Mode(), info.ModTime()
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = owner.Uid, owner.Gid
	}
	return f
}

// follow is where a link leads.
func follow(path string) Link {
	l := Link{Path: path}
	if path == "" {
		return l
	}
	if l.Target, l.Err = os.Readlink(path); l.Err != nil {
		return l
	}
	l.Real, l.Err = filepath.EvalSymlinks(path)
	return l
}

// maxText is more than any unit file or file of variables has.
const maxText = 256 << 10

// readText is a file that has not too much in it.
func readText(path, unit string) (Text, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Text{Path: path, Unit: unit}, err
	}
	if !info.Mode().IsRegular() {
		return Text{Path: path, Unit: unit}, &os.PathError{Op: "read", Path: path, Err: syscall.EINVAL}
	}
	if info.Size() > maxText {
		return Text{Path: path, Unit: unit}, &os.PathError{Op: "read", Path: path, Err: syscall.EFBIG}
	}
	content, err := os.ReadFile(path)
	return Text{Path: path, Unit: unit, Content: string(content)}, err
}

// ReadEnvironment reads the files that an EnvironmentFile= names, which may be a
// pattern. One that matches nothing is told as missing.
func ReadEnvironment(pattern, unit string, optional bool) []EnvironmentFile {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		paths = []string{pattern}
	}
	var all []EnvironmentFile
	for _, path := range paths {
		text, err := readText(path, unit)
		all = append(all, EnvironmentFile{Path: path, Optional: optional, Text: text, Err: err})
	}
	return all
}

// ReadTexts reads unit files; those that cannot be read are left out.
func ReadTexts(unit string, paths ...string) []Text {
	var all []Text
	for _, path := range paths {
		if text, err := readText(path, unit); err == nil {
			all = append(all, text)
		}
	}
	return all
}
