package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Checkout puts a commit's files into a new draft, which is outside of the list
// until it is sealed. It has no .git. The name is [NameOf]'s if it is empty.
// What a release cannot have, such as submodules, is refused before anything is
// written.
func (s *Store) Checkout(ctx context.Context, c Commit, name string, parts map[string]string) (Draft, error) {
	if name == "" {
		name = NameOf(time.Now(), c.Revision)
	}
	d, err := s.checkout(ctx, c, name, parts)
	if err != nil {
		return Draft{}, fmt.Errorf("checking out %s: %w", c.Revision, full(err))
	}
	return Draft{d}, nil
}

func (s *Store) checkout(ctx context.Context, c Commit, name string, parts map[string]string) (*draft, error) {
	if !hashPattern.MatchString(c.Revision) {
		return nil, fmt.Errorf("%w: %q is not a full revision", ErrNoSuchRef, c.Revision)
	}
	if err := checkParts(parts); err != nil {
		return nil, err
	}
	m, err := s.lockMirror(ctx, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := m.survey(ctx, c.Revision); err != nil {
		return nil, err
	}
	d, err := s.begin(name, Release{
		Name: name, Revision: c.Revision, Ref: c.Ref, Source: c.Source, Subject: c.Subject, Author: c.Author,
		Committed: c.Committed, Created: time.Now().UTC().Truncate(time.Second), Parts: parts,
	})
	if err != nil {
		return nil, err
	}
	err = m.unpack(ctx, c.Revision, d)
	if err == nil {
		err = d.inspect()
	}
	if err != nil {
		return nil, errors.Join(err, d.discard())
	}
	return d, nil
}

// unpack writes the commit's files with an index of its own, beside the tree.
func (m *mirror) unpack(ctx context.Context, revision string, d *draft) error {
	outer := filepath.Join(m.store.root, draftsDir, d.base)
	index := filepath.Join(outer, "index")
	env := []string{"GIT_INDEX_FILE=" + index, "GIT_WORK_TREE=" + filepath.Join(outer, treeName)}
	for _, args := range [][]string{{"read-tree", revision}, {"checkout-index", "--all", "--force"}} {
		if err := m.git(ctx, gitCall{args: args, env: env}); err != nil {
			// checkout-index does not say why a file could not be written.
			if ctx.Err() == nil && errors.Is(m.store.room(1<<20, 16), ErrNoSpace) {
				return fmt.Errorf("%w: %w", ErrNoSpace, err)
			}
			return err
		}
	}
	return gone(d.outer.unlink("index"))
}

// inspect looks through a tree that nobody else has had yet.
func (d *draft) inspect() error {
	tree, err := d.tree()
	if err != nil {
		return err
	}
	defer tree.Close()
	if _, err := tree.stat(recordName); !missing(err) {
		return errors.Join(err, fmt.Errorf("%w: it has a %s, which is our name for what a release is", ErrUnsupported, recordName))
	}
	links := map[string]string{}
	if err := tree.walk(visitor{entry: func(in *dir, name, rel string, st unix.Stat_t) error {
		if !printable(name) {
			return fmt.Errorf("%w: the name %q has characters that are not to be printed", ErrUnsafe, rel)
		}
		if kind(st) != unix.S_IFLNK {
			return plain(in.path(name), st)
		}
		target, err := in.readlink(name)
		links[rel] = target
		return err
	}}); err != nil {
		return err
	}
	for rel, target := range links {
		if err := tree.inside(rel, target); err != nil {
			return err
		}
	}
	return d.checkParts(tree)
}

// maxAttributes bounds the .gitattributes that are read.
const maxAttributes = 1 << 20

// survey refuses commits that a release cannot be made of, and those that the
// disk has no room for.
func (m *mirror) survey(ctx context.Context, revision string) error {
	var v survey
	list := &records{each: v.entry}
	err := m.git(ctx, gitCall{args: []string{"ls-tree", "-r", "-l", "-z", "--full-tree", revision}, stdout: list})
	if list.err != nil {
		return list.err
	}
	if err != nil {
		return err
	}
	for _, file := range v.attributes {
		text, err := m.gitOutput(ctx, "cat-file", "blob", file.hash)
		if err != nil {
			return err
		}
		if usesLFS(text) {
			return fmt.Errorf("%w: %s stores files in Git LFS, and only pointers to them would be deployed: build elsewhere and deploy the artifact", ErrUnsupported, file.path)
		}
	}
	return m.store.room(v.bytes, v.files)
}

type survey struct {
	bytes, files uint64
	attributes   []attributesFile
}

type attributesFile struct{ path, hash string }

// entry takes one entry of a tree: "<mode> <type> <hash> <size>\t<path>".
func (v *survey) entry(record string) error {
	head, name, ok := strings.Cut(record, "\t")
	fields := strings.Fields(head)
	if !ok || len(fields) != 4 {
		return fmt.Errorf("git lists what is not understood: %q", record)
	}
	if !printable(name) {
		return fmt.Errorf("%w: the name %q has characters that are not to be printed", ErrUnsafe, name)
	}
	if fields[1] == "commit" || name == ".gitmodules" {
		return fmt.Errorf("%w: the revision has submodules (%s), which would be missing: build elsewhere and deploy the artifact", ErrUnsupported, name)
	}
	size, _ := strconv.ParseUint(fields[3], 10, 64)
	v.bytes += size
	v.files++
	if path.Base(name) == ".gitattributes" && size <= maxAttributes {
		v.attributes = append(v.attributes, attributesFile{name, fields[2]})
	}
	return nil
}

// usesLFS reports that a .gitattributes has the filter, as such or in a macro.
func usesLFS(attributes string) bool {
	for line := range strings.Lines(attributes) {
		fields := strings.Fields(line)
		if len(fields) > 1 && !strings.HasPrefix(fields[0], "#") && slices.Contains(fields[1:], "filter=lfs") {
			return true
		}
	}
	return false
}

// records splits what git writes at its NULs.
type records struct {
	each func(string) error
	part []byte
	err  error
}

func (r *records) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.part = append(r.part, p...)
	for {
		record, rest, ok := bytes.Cut(r.part, []byte{0})
		if !ok {
			break
		}
		if r.err = r.each(string(record)); r.err != nil {
			return 0, r.err
		}
		r.part = rest
	}
	if len(r.part) > 2*os.Getpagesize()+unix.PathMax {
		r.err = errors.New("git lists a path without an end")
	}
	return len(p), r.err
}
