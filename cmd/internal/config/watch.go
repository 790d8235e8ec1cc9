package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

const (
	// quiet is how long nothing may happen before the file is looked at: an
	// editor truncates, writes, renames and sets modes in a burst.
	quiet = 100 * time.Millisecond
	// patience bounds that wait while things go on happening.
	patience = time.Second
)

// Version stands for what [Load] would make of a file: what is in it, and
// whether it can be read and trusted. The zero Version is that of no file.
type Version struct{ sum [sha256.Size]byte }

// VersionOf returns the version of the file as it is now.
func VersionOf(path string) Version {
	data, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Version{}
	case err != nil:
		data = []byte("unreadable: " + err.Error())
	}
	return Version{sha256.Sum256(data)}
}

// Watch calls changed, one call at a time, whenever the file at path has
// become another one since the call; see [WatchSince].
func Watch(ctx context.Context, path string, changed func()) error {
	return WatchSince(ctx, path, VersionOf(path), changed)
}

// WatchSince calls changed, one call at a time, whenever the file at path has
// become another [Version] than the last one, which is first that of since:
// take it before [Load], and no change is missed. A file that is missing has
// not changed; what counts is what comes after it. It does not matter how the
// file is replaced: written in place, renamed over, by a symbolic link on the
// way to it, or with its directory.
//
// WatchSince blocks until ctx ends and then returns nil. It fails only if the
// system refuses to watch at all.
func WatchSince(ctx context.Context, path string, since Version, changed func()) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("watching the configuration: %w", err)
	}
	w := &watch{
		seen: since, changed: changed,
		version: func() Version { return VersionOf(path) },
		begin:   func() (vigil, error) { return newVigil(path) },
	}
	return w.run(ctx)
}

// watch remembers which version was told of last. Its functions are what it
// knows of the file system.
type watch struct {
	seen    Version
	changed func()
	version func() Version
	begin   func() (vigil, error)
}

func (w *watch) run(ctx context.Context) error {
	if err := w.once(ctx); err != nil {
		return fmt.Errorf("watching the configuration: %w", err)
	}
	for ctx.Err() == nil {
		if err := w.once(ctx); err != nil {
			pause(ctx, patience) // out of descriptors, say: that may pass
		}
	}
	return nil
}

// once waits for the next burst of events, if the file has not changed already,
// and looks at the file when the burst is over: what is read in the middle of
// one may be half a file. The vigil begins before the first look, so nothing
// falls between the two; what happens after the last look is found by the first
// one of the next call.
func (w *watch) once(ctx context.Context) error {
	v, err := w.begin()
	if err != nil {
		return err
	}
	var forwarding sync.WaitGroup
	forwarding.Go(v.forward)
	if !w.hasChanged(w.version()) {
		await(ctx, v.events)
	}
	settle(ctx, v.events)
	err = v.close()
	forwarding.Wait()
	if now := w.version(); ctx.Err() == nil && w.hasChanged(now) {
		w.seen = now
		w.changed()
	}
	return err
}

func (w *watch) hasChanged(now Version) bool { return now != w.seen && now != (Version{}) }

func await(ctx context.Context, events <-chan struct{}) {
	select {
	case <-events:
	case <-ctx.Done():
	}
}

// settle returns once nothing has happened for a while, or things have gone on
// happening for long, or ctx has ended.
func settle(ctx context.Context, events <-chan struct{}) {
	enough := time.After(patience)
	for {
		select {
		case <-events:
		case <-time.After(quiet):
			return
		case <-enough:
			return
		case <-ctx.Done():
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
