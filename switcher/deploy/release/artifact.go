package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Fingerprint is the revision of an artifact: for an archive the SHA-256 of the
// file, as sha256sum prints it, for a directory that of the names, contents and
// executable bits of all in it. Equal artifacts have equal ones.
func Fingerprint(ctx context.Context, path string) (string, error) {
	sum, err := fingerprint(ctx, path)
	if err != nil {
		return "", fmt.Errorf("reading the artifact %s: %w", path, err)
	}
	return sum, nil
}

func fingerprint(ctx context.Context, path string) (string, error) {
	f, err := openArtifact(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return "", err
	} else if info.IsDir() {
		return manifest(ctx, &dir{f, int(f.Fd()), new(disk)})
	}
	sum := sha256.New()
	_, err = io.Copy(sum, reader{ctx, f})
	return revisionOf(sum), err
}

func revisionOf(sum hash.Hash) string { return sha256Prefix + hex.EncodeToString(sum.Sum(nil)) }

// openArtifact opens a directory or a file, of which the operator may give a
// link.
func openArtifact(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is neither a directory nor a file", ErrUnsupported)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// manifest is the fingerprint of a directory.
func manifest(ctx context.Context, d *dir) (string, error) {
	sum := sha256.New()
	line := func(kind, rel string, more any) error {
		_, err := fmt.Fprintf(sum, "%s\x00%s\x00%v\x00", kind, rel, more)
		return err
	}
	err := d.walk(visitor{
		skip:  isRepository,
		enter: func(_ *dir, rel string) error { return line("directory", rel, "") },
		entry: func(in *dir, name, rel string, st unix.Stat_t) error {
			if err := plain(in.path(name), st); err != nil {
				return err
			}
			if kind(st) == unix.S_IFLNK {
				target, err := in.readlink(name)
				return errors.Join(err, line("link", rel, target))
			}
			f, err := in.open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			of := sha256.New()
			_, err = io.Copy(of, reader{ctx, f})
			return errors.Join(err, line("file", rel, fmt.Sprintf("%t %x", st.Mode&0o100 != 0, of.Sum(nil))))
		},
	})
	return revisionOf(sum), err
}

// isRepository is true of what makes a directory a working copy, which a release
// is not.
func isRepository(rel string) bool { return rel == ".git" }

// Import makes a draft of an artifact: a directory that was built already, which
// is copied, or a .tar, .tar.gz or .tgz archive. A single directory at the top
// of an archive is left out if the parts are below it and not beside it. The
// name is [NameOf]'s if it is empty.
func (s *Store) Import(ctx context.Context, path, name string, parts map[string]string) (Draft, error) {
	d, err := s.importArtifact(ctx, path, name, parts)
	if err != nil {
		return Draft{}, fmt.Errorf("importing %s: %w", path, full(err))
	}
	return Draft{d}, nil
}

func (s *Store) importArtifact(ctx context.Context, path, name string, parts map[string]string) (*draft, error) {
	if err := checkParts(parts); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if !printable(path) {
		return nil, fmt.Errorf("%w: its path is not to be printed", ErrUnsafe)
	}
	f, err := openArtifact(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	base := name
	if base == "" {
		base = scratch("import")
	}
	d, err := s.begin(base, Release{Name: name, Source: path, Created: time.Now().UTC().Truncate(time.Second), Parts: parts})
	if err != nil {
		return nil, err
	}
	if err := d.fill(ctx, f); err != nil {
		return nil, errors.Join(err, d.discard())
	}
	return d, nil
}

func (d *draft) fill(ctx context.Context, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = d.copyIn(ctx, f)
	} else {
		err = d.extract(ctx, f, uint64(info.Size()))
	}
	if err != nil {
		return err
	}
	if d.release.Name == "" {
		d.release.Name = NameOf(d.release.Created, d.release.Revision)
		if err := d.store.vacant(d.release.Name); err != nil {
			return err
		}
	}
	return d.inspect()
}

// copyIn copies a directory, and takes the fingerprint of the copy.
func (d *draft) copyIn(ctx context.Context, f *os.File) error {
	path, err := filepath.EvalSymlinks(d.release.Source)
	if err != nil {
		return err
	}
	if d.store.root == path || strings.HasPrefix(d.store.root, strings.TrimSuffix(path, "/")+"/") {
		return fmt.Errorf("%w: the releases are in it", ErrUnsupported)
	}
	tree, err := d.tree()
	if err != nil {
		return err
	}
	defer tree.Close()
	c := &copier{ctx: ctx}
	from := &dir{f, int(f.Fd()), &d.store.disk}
	if err := c.copyTree(from, tree, func(rel, _ string) bool { return !isRepository(rel) }); err != nil {
		return err
	}
	d.release.Revision, err = manifest(ctx, tree)
	return err
}
