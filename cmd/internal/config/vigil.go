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

// vigil is what tells of changes until it is closed.
type vigil struct {
	events  <-chan struct{} // holds a value once something has happened
	forward func()          // fills events; blocks until close is called
	close   func() error
}

// newVigil watches every directory entry that decides what an absolute path
// means, as the file system is now. What happens later may make other entries
// decide, so a vigil is good for one burst of events and the next one begins
// anew: that costs a few system calls for each edit, and leaves no state to keep
// in step.
func newVigil(path string) (vigil, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return vigil{}, err
	}
	l := &lookout{events: make(chan struct{}, 1), watcher: watcher}
	if err := l.follow(path); err != nil {
		return vigil{}, errors.Join(err, watcher.Close())
	}
	return vigil{l.events, l.forward, watcher.Close}, nil
}

// lookout picks the events of some entries out of those of their directories.
type lookout struct {
	events  chan struct{}
	entries []string
	watcher *fsnotify.Watcher
}

// follow resolves the path as the kernel does. It watches each directory before
// it looks at the entry in it: what changes in between makes an event.
func (l *lookout) follow(path string) error {
	at, rest, links := "/", split(path), 0
	for len(rest) > 0 && links <= maxLinks {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		entry := filepath.Join(at, name)
		if err := l.watch(at, entry); err != nil {
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
func (l *lookout) watch(dir, entry string) error {
	l.entries = append(l.entries, entry)
	err := l.watcher.Add(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// forward passes on what concerns the entries until close is called.
func (l *lookout) forward() {
	for {
		select {
		case event, open := <-l.watcher.Events:
			if !open {
				return
			}
			if !slices.Contains(l.entries, filepath.Clean(event.Name)) {
				continue
			}
		case _, open := <-l.watcher.Errors: // events were lost, so there were some
			if !open {
				return
			}
		}
		select {
		case l.events <- struct{}{}:
		default:
		}
	}
}

// split returns the names in a path.
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(name string) bool { return name == "" || name == "." })
}
