package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/proxy"
)

const (
	// maxAssetReleases bounds the releases that one request is looked for in, the
	// newest of those that have assets: tabs are not open for ever.
	maxAssetReleases = 32
	// assetListAge is how long a list of them holds, so that a flood of requests
	// for what never was does not read the directory for each.
	assetListAge = time.Second
	// assetComplaintEvery is how often what cannot be read is told of.
	assetComplaintEvery = time.Minute
)

// keptAssets are the assets of a service's kept releases as one file system, in
// which a newer release hides an older one. It keeps nothing open between two
// requests, so that a release that is pruned is gone.
type keptAssets struct {
	releases string // the directory that they are in, each by a name that sorts by time
	inside   string // where a release has its assets
	log      *zap.Logger

	known   atomic.Pointer[assetList]
	listing singleflight.Group // of one, which nobody waits for who need not

	mu         sync.Mutex
	complained time.Time
}

// assetList is never changed: another one takes its place.
type assetList struct {
	dirs []string // the newest release's first
	read time.Time
}

func (l *assetList) fresh() bool { return l != nil && time.Since(l.read) < assetListAge }

// withAssets describes the services to the data path, with the assets of their
// kept releases.
func withAssets(cfg *config.Config, log *zap.Logger) []proxy.Service {
	all := cfg.ProxyServices()
	for i := range all {
		s := cfg.Services[all[i].Name]
		if s.Assets.Path == "" {
			continue
		}
		all[i].Assets = &proxy.Assets{Prefix: s.Assets.Path, Files: &keptAssets{
			releases: filepath.Join(cfg.Deploy.Root, "releases"),
			inside:   filepath.Join(s.Build.Directory, s.Assets.Directory),
			log:      log.With(zap.String("service", s.Name)),
		}}
	}
	return all
}

// Open opens the file of the newest release that has it. A list that is old may
// lack the newest releases and is read anew beside; only who finds nothing in it
// waits for that.
func (k *keptAssets) Open(name string) (fs.File, error) {
	known := k.known.Load()
	if known.fresh() {
		return k.openIn(known.dirs, name)
	}
	fresh := k.listing.DoChan("", k.readAgain)
	if known != nil {
		if file, err := k.openIn(known.dirs, name); err == nil {
			return file, nil
		}
	}
	<-fresh
	return k.openIn(k.known.Load().dirs, name)
}

func (k *keptAssets) openIn(dirs []string, name string) (fs.File, error) {
	for _, dir := range dirs {
		file, err := openWithin(dir, name)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			k.complain(err)
		}
	}
	return nil, fs.ErrNotExist
}

// openWithin opens a regular file that is within dir and not behind a symbolic
// link that leads elsewhere. What else a build may have left in its place, such
// as a pipe, must not be waited for.
func openWithin(dir, name string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // nothing was written by it
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		file.Close() //nolint:errcheck // nothing was written to it
		return nil, fs.ErrNotExist
	}
	return file, nil
}

// readAgain reads the list, unless who came before has just done so.
func (k *keptAssets) readAgain() (any, error) {
	if k.known.Load().fresh() {
		return nil, nil
	}
	dirs, err := k.read()
	if err != nil {
		k.complain(err)
	}
	k.known.Store(&assetList{dirs, time.Now()})
	return nil, nil
}

// read finds the releases that have assets. What cannot be read does not hide
// the others.
func (k *keptAssets) read() (dirs []string, failed error) {
	root, err := os.OpenRoot(k.releases)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // nothing was written by it
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	for _, e := range slices.Backward(entries) {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		inside := filepath.Join(e.Name(), k.inside)
		switch plain, err := plainDirectory(root, inside); {
		case err != nil:
			failed = err
		case plain:
			dirs = append(dirs, filepath.Join(k.releases, inside))
		}
		if len(dirs) == maxAssetReleases {
			break
		}
	}
	return dirs, failed
}

// plainDirectory reports whether a path consists of directories only: a build
// could have made a symbolic link of one that leads to another service's files.
func plainDirectory(root *os.Root, path string) (bool, error) {
	for i, c := range path + "/" {
		if c != '/' {
			continue
		}
		info, err := root.Lstat(path[:i])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return false, err
		case !info.IsDir():
			return false, nil
		}
	}
	return true, nil
}

// complain tells the operator, now and then, of what we may not read.
func (k *keptAssets) complain(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.complained.IsZero() && time.Since(k.complained) < assetComplaintEvery {
		return
	}
	k.complained = time.Now()
	hint := "is deploy.root right?"
	if errors.Is(err, fs.ErrPermission) {
		hint = "run: chmod -R o+rX " + k.releases
	}
	k.log.Warn("kept releases cannot be read, so open tabs of earlier releases miss files", zap.Error(err), zap.String("hint", hint))
}
