package switcher

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
)

// memDisk is a disk that forgets, at a power cut, what was not synced: bytes
// that were written without a sync of their file, and names that were changed
// without a sync of their directory. It is one directory.
type memDisk struct {
	faults *faults

	mu      sync.Mutex
	live    map[string]*inode
	durable map[string]*inode
	pending []nameChange // from durable to live, in order
}

type inode struct{ data, synced []byte }

// nameChange makes names mean an inode, or nothing where that is nil, all at
// once.
type nameChange map[string]*inode

func newMemDisk(f *faults) *memDisk {
	return &memDisk{faults: f, live: map[string]*inode{}, durable: map[string]*inode{}}
}

// powerCuts calls test with every disk that a power cut at this moment may
// leave: the first k of the name changes, and of unsynced bytes none, half or
// all.
func (d *memDisk) powerCuts(f *faults, test func(*memDisk)) {
	tears := 1
	if d.unsynced() {
		tears = 3
	}
	for k := range len(d.pending) + 1 {
		for tear := range tears {
			test(d.after(f, k, tear))
		}
	}
}

// unsynced reports whether any bytes would be lost at all.
func (d *memDisk) unsynced() bool {
	for _, n := range d.live {
		if !bytes.Equal(n.data, n.synced) {
			return true
		}
	}
	return false
}

func (d *memDisk) after(f *faults, changes, tear int) *memDisk {
	names := maps.Clone(d.durable)
	for _, c := range d.pending[:changes] {
		c.apply(names)
	}
	next := newMemDisk(f)
	for name, n := range names {
		data := slices.Clone(n.remains(tear))
		next.live[name] = &inode{data: data, synced: data}
	}
	next.durable = maps.Clone(next.live)
	return next
}

func (n *inode) remains(tear int) []byte {
	switch {
	case tear == 0:
		return n.synced
	case tear == 1 && !slices.Equal(n.data, n.synced):
		return n.data[:len(n.data)/2]
	}
	return n.data
}

func (c nameChange) apply(names map[string]*inode) {
	for name, n := range c {
		if n == nil {
			delete(names, name)
		} else {
			names[name] = n
		}
	}
}

func (d *memDisk) change(c nameChange) {
	c.apply(d.live)
	d.pending = append(d.pending, c)
}

// do runs effect as the fault plan says.
func (d *memDisk) do(label string, effect func() error) error {
	return d.faults.do("disk "+label, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return effect()
	})
}

func (d *memDisk) read(path string) (data []byte, err error) {
	err = d.do("read", func() error {
		n := d.live[filepath.Base(path)]
		if n == nil {
			return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		data = slices.Clone(n.data)
		return nil
	})
	return data, err
}

func (d *memDisk) list(string) (names []string, err error) {
	err = d.do("list", func() error {
		names = slices.Sorted(maps.Keys(d.live))
		return nil
	})
	return names, err
}

func (d *memDisk) create(path string) (file, error) { return d.open("create", path, true) }

func (d *memDisk) grow(path string) (file, error) { return d.open("grow", path, false) }

func (d *memDisk) open(label, path string, empty bool) (f file, err error) {
	err = d.do(label, func() error {
		name := filepath.Base(path)
		n := d.live[name]
		if n == nil {
			n = &inode{}
			d.change(nameChange{name: n})
		}
		if empty {
			n.data = nil
		}
		f = &memFile{d, n}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *memDisk) rename(from, to string) error {
	return d.do("rename", func() error {
		n := d.live[filepath.Base(from)]
		if n == nil {
			return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
		}
		d.change(nameChange{filepath.Base(to): n, filepath.Base(from): nil})
		return nil
	})
}

func (d *memDisk) remove(path string) error {
	return d.do("remove", func() error {
		d.change(nameChange{filepath.Base(path): nil})
		return nil
	})
}

func (d *memDisk) syncDir(string) error {
	return d.do("sync dir", func() error {
		d.durable, d.pending = maps.Clone(d.live), nil
		return nil
	})
}

type memFile struct {
	d *memDisk
	n *inode
}

func (f *memFile) Write(p []byte) (int, error) {
	err := f.d.do("write", func() error {
		f.n.data = append(slices.Clip(f.n.data), p...)
		return nil
	})
	if errors.Is(err, errShort) {
		f.n.data = append(slices.Clip(f.n.data), p[:len(p)/2]...)
		return len(p) / 2, err
	}
	return len(p), err
}

func (f *memFile) end() (size int64, last byte, err error) {
	err = f.d.do("end", func() error {
		size = int64(len(f.n.data))
		if size > 0 {
			last = f.n.data[size-1]
		}
		return nil
	})
	return size, last, err
}

func (f *memFile) Sync() error {
	return f.d.do("sync", func() error {
		f.n.synced = slices.Clone(f.n.data)
		return nil
	})
}

func (f *memFile) Close() error { return f.d.do("close", func() error { return nil }) }
