package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// vigil watches every directory entry that decides what a path means, as the
// file system is when the vigil begins. What happens later may make other
// entries decide, so a vigil is good for one burst of events and the next one
// begins anew: that costs a few system calls for each edit, and leaves no state
// to keep in step.
type vigil struct {
	// events holds a value once something has happened to one of the entries.
	events  chan struct{}
	entries []string
	watcher *fsnotify.Watcher
}

// newVigil begins a vigil for an absolute path.
func newVigil(path string) (*vigil, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	v := &vigil{events: make(chan struct{}, 1), watcher: watcher}
	if err := v.follow(path); err != nil {
		return nil, errors.Join(err, watcher.Close())
	}
	return v, nil
}

// follow resolves the path as the kernel does. It watches each directory before
// it looks at the entry in it: what changes in between makes an event.
func (v *vigil) follow(path string) error {
	at, rest, links := "/", split(path), 0
	for len(rest) > 0 && links <= maxLinks {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		entry := filepath.Join(at, name)
		if err := v.watch(at, entry); err != nil {
			return err
		}
		target, err := os.Readlink(entry)
		switch {
		case err == nil:
			links++
			rest = append(split(target), rest...)
			if filepath.IsAbs(target) {
				at = "/"
			}
		case errors.Is(err, syscall.EINVAL): // not a link
			at = entry
		default: // missing: what makes it appear happens in the directory above
			return nil
		}
	}
	return nil
}

// watch adds an entry of a directory. One that is gone by now has made an event
// above; one that we may not list can hide only renames from us.
func (v *vigil) watch(dir, entry string) error {
	v.entries = append(v.entries, entry)
	err := v.watcher.Add(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// forward passes on what concerns the entries until close is called.
func (v *vigil) forward() {
	for {
		select {
		case event, open := <-v.watcher.Events:
			if !open {
				return
			}
			if !slices.Contains(v.entries, filepath.Clean(event.Name)) {
				continue
			}
		case _, open := <-v.watcher.Errors: // events were lost, so there were some
			if !open {
				return
			}
		}
		select {
		case v.events <- struct{}{}:
		default:
		}
	}
}

func (v *vigil) close() error { return v.watcher.Close() }

// split returns the names in a path.
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}
