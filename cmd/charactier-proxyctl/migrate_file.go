package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"charactier-proxy/cmd/internal/nginx"
)

// replaceFile gives a file another content in one instant, with its mode,
// owner and extended attributes. path must not be a link.
func replaceFile(path string, text []byte) error {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is not a regular file")
	}
	if err == nil {
		err = writeFile(path, text, info)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// draft is where a file's next content is written. It begins with a dot: what
// nginx includes by a pattern must not match it, even if we die here.
func draft(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".charactier-proxy-migrate")
}

// writeFile writes a file so that after a crash it holds the old or the new
// text, like the old file if there is one, and for its owner only if not.
func writeFile(path string, text []byte, like fs.FileInfo) (err error) {
	temp := draft(path)
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	_, err = f.Write(text)
	if err == nil && like != nil {
		err = resemble(f, path, like)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// resemble gives f the owner, mode and extended attributes of the file at path.
func resemble(f *os.File, path string, like fs.FileInfo) error {
	if stat, ok := like.Sys().(*syscall.Stat_t); ok {
		if err := f.Chown(int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	copyAttributes(path, f.Name())
	return f.Chmod(like.Mode().Perm())
}

// copyAttributes copies what the file system and our rights allow: a label that
// cannot be set is the one that the directory gives.
func copyAttributes(from, to string) {
	names := make([]byte, 4096)
	n, err := syscall.Listxattr(from, names)
	if err != nil {
		return
	}
	for _, name := range bytes.Split(bytes.TrimRight(names[:n], "\x00"), []byte{0}) {
		value := make([]byte, 64<<10)
		if size, err := syscall.Getxattr(from, string(name), value); err == nil {
			_ = syscall.Setxattr(to, string(name), value[:size], 0) // as the comment says
		}
	}
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// applyWithin makes edits of a file in the block of it that goes from start to
// end.
func applyWithin(block string, start, end int, edits []nginx.Edit) string {
	var within []nginx.Edit
	for _, e := range edits {
		if e.Start >= start && e.End <= end {
			within = append(within, nginx.Edit{Start: e.Start - start, End: e.End - start, Text: e.Text})
		}
	}
	return string(nginx.Apply([]byte(block), within))
}
