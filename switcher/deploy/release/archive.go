package release

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxAfter bounds what may follow the end of an archive: tar fills up its last
// block with zeros.
const maxAfter = 64 << 20

// extract unpacks an archive, and takes the checksum of the file.
func (d *draft) extract(ctx context.Context, f *os.File, size uint64) error {
	tree, err := d.tree()
	if err != nil {
		return err
	}
	defer tree.Close()
	free, err := d.store.Free()
	if err != nil {
		return err
	}
	inodes, err := d.store.FreeInodes()
	if err != nil {
		return err
	}
	sum := sha256.New()
	whole := io.TeeReader(reader{ctx, f}, sum)
	u := &unpacker{tree: tree, at: ".", bytes: free, files: inodes}
	defer u.leave()
	if err := unpackArchive(whole, u); err != nil {
		return fmt.Errorf("unpacking (%d bytes): %w", size, err)
	}
	// What follows is nothing to unpack, but the file's checksum covers it.
	if _, err := io.Copy(io.Discard, whole); err != nil {
		return err
	}
	d.release.Revision = revisionOf(sum)
	return d.strip(tree)
}

// unpackArchive reads a tar archive, compressed with gzip or not, to its end.
func unpackArchive(r io.Reader, u *unpacker) error {
	file := bufio.NewReaderSize(r, 64<<10)
	head, _ := file.Peek(512)
	if err := compression(head); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		return u.unpack(file)
	}
	gz, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("reading gzip: %w", truncated(err))
	}
	if err := u.unpack(gz); err != nil {
		return err
	}
	// Its checksum comes at the very end.
	if n, err := io.Copy(io.Discard, io.LimitReader(gz, maxAfter)); err != nil {
		return fmt.Errorf("reading gzip: %w", truncated(err))
	} else if n == maxAfter {
		return fmt.Errorf("%w: it goes on after its end", ErrUnsafe)
	}
	return nil
}

// compression names what we cannot unpack, by its first bytes.
func compression(head []byte) error {
	for name, magic := range map[string]string{
		"zstd": "\x28\xb5\x2f\xfd", "xz": "\xfd7zXZ\x00", "bzip2": "BZh", "lz4": "\x04\x22\x4d\x18",
		"zip": "PK\x03\x04", "compress": "\x1f\x9d", "7z": "7z\xbc\xaf\x27\x1c",
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return fmt.Errorf("%w: it is compressed with %s, and we know tar and gzip only: unpack it and give the directory", ErrUnsupported, name)
		}
	}
	return nil
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("it ends in the middle: it was cut off (%w)", io.ErrUnexpectedEOF)
	}
	return err
}

// unpacker writes the entries of an archive into a tree. It keeps the directory
// that the last one was in, because the next is often there too.
type unpacker struct {
	tree  *dir
	at    string
	dir   *dir   // at, if it is not nil
	bytes uint64 // that may still be written
	files uint64
}

func (u *unpacker) unpack(r io.Reader) error {
	end := &endMark{r: r}
	for archive := tar.NewReader(end); ; {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return end.check()
		case errors.Is(err, tar.ErrHeader):
			return fmt.Errorf("it is no tar archive, or a damaged one: %w", err)
		case err != nil:
			return truncated(err)
		}
		if err := u.entry(h, archive); err != nil {
			return err
		}
	}
}

// entry unpacks one.
func (u *unpacker) entry(h *tar.Header, contents io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // git archive writes one
		return nil
	}
	name, err := entryName(h.Name)
	if err != nil || isRepository(name) || strings.HasPrefix(name, ".git/") {
		return err
	}
	if u.files == 0 {
		return fmt.Errorf("%w: it has more files than the disk has room for", ErrNoSpace)
	}
	u.files--
	if h.Typeflag == tar.TypeDir {
		return u.enter(name)
	}
	if name == "." {
		return fmt.Errorf("%w: its top is no directory", ErrUnsafe)
	}
	if err := u.enter(path.Dir(name)); err != nil {
		return err
	}
	if err := u.other(h, name, contents); err != nil {
		return fmt.Errorf("its entry %q: %w", name, err)
	}
	return nil
}

// other unpacks what is no directory.
func (u *unpacker) other(h *tar.Header, name string, contents io.Reader) error {
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(h, base, contents)
	case tar.TypeSymlink:
		return u.dir.symlink(h.Linkname, base)
	case tar.TypeLink:
		return u.hardLink(h, base)
	}
	return fmt.Errorf("%w: neither a file nor a directory nor a link, but of type %q", ErrUnsafe, string(h.Typeflag))
}

// entryName is the path of an entry below the tree.
func entryName(raw string) (string, error) {
	if !printable(raw) {
		return "", fmt.Errorf("%w: the name %q has characters that are not to be printed", ErrUnsafe, raw)
	}
	if strings.HasPrefix(raw, "/") {
		return "", fmt.Errorf("%w: the name %q is absolute", ErrUnsafe, raw)
	}
	for part := range strings.SplitSeq(raw, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: the name %q leads out", ErrUnsafe, raw)
		}
	}
	name := path.Clean(raw)
	if strings.Count(name, "/") >= maxDepth {
		return "", tooDeep(name)
	}
	return name, nil
}

// enter goes to a directory, and makes what is missing of it. A link on the way
// is not followed, wherever it leads.
func (u *unpacker) enter(name string) error {
	if u.dir != nil && u.at == name {
		return nil
	}
	u.leave()
	d, err := u.tree.ensure(name)
	if err != nil {
		return err
	}
	u.at, u.dir = name, d
	return nil
}

func (u *unpacker) leave() {
	if u.dir != nil {
		u.dir.Close()
		u.dir = nil
	}
}

func (u *unpacker) file(h *tar.Header, base string, contents io.Reader) error {
	if h.Size < 0 || uint64(h.Size) > u.bytes {
		return fmt.Errorf("%w: it has %d bytes, and %d are free", ErrNoSpace, h.Size, u.bytes)
	}
	u.bytes -= uint64(h.Size)
	// Of the mode only one bit counts: no setuid, nothing that others may write.
	mode := uint32(0o644)
	if h.Mode&0o100 != 0 {
		mode = 0o755
	}
	f, err := u.dir.create(base, mode)
	if err != nil {
		return err
	}
	err = u.dir.disk.do("writing", f.Name(), func() error { _, err := io.Copy(f, contents); return truncated(err) })
	if err == nil {
		err = u.dir.disk.chmod(f, mode)
	}
	return errors.Join(err, f.Close())
}

// hardLink makes a file with the contents of an earlier one: a copy, because
// what has two names can be written under either.
func (u *unpacker) hardLink(h *tar.Header, base string) error {
	name, err := entryName(h.Linkname)
	if err != nil {
		return err
	}
	from, err := u.tree.descend(path.Dir(name))
	if err != nil {
		return err
	}
	defer from.Close()
	st, err := from.stat(path.Base(name))
	if err != nil {
		return err
	}
	if kind(st) != unix.S_IFREG {
		return fmt.Errorf("%w: a hard link to %q, which is no file", ErrUnsafe, name)
	}
	if uint64(st.Size) > u.bytes {
		return fmt.Errorf("%w: it has %d bytes, and %d are free", ErrNoSpace, st.Size, u.bytes)
	}
	u.bytes -= uint64(st.Size)
	f, err := from.open(path.Base(name))
	if err != nil {
		return err
	}
	defer f.Close()
	return new(copier).copyFile(f, u.dir, base, st)
}

// endMark knows whether what was read ends with a block of zeros, as an archive
// does: the tar package takes one that was cut off between two entries for
// whole.
type endMark struct {
	r     io.Reader
	zeros int
}

func (e *endMark) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	rest := bytes.TrimRight(p[:n], "\x00")
	if len(rest) > 0 {
		e.zeros = 0
	}
	e.zeros += n - len(rest)
	return n, err
}

func (e *endMark) check() error {
	if e.zeros < 512 {
		return truncated(io.ErrUnexpectedEOF)
	}
	return nil
}

// strip leaves out a single directory at the top if all parts are below it and
// not all are beside it.
func (d *draft) strip(tree *dir) error {
	names, err := tree.names()
	if err != nil || len(names) != 1 || d.checkParts(tree) == nil {
		return err
	}
	top, err := tree.sub(names[0])
	if err != nil {
		return nil // no directory: what is missing is said later
	}
	defer top.Close()
	if d.checkParts(top) != nil {
		return nil
	}
	d.store.say("the directory %s at the top of the archive is left out", names[0])
	return d.hoist(names[0])
}

// hoist puts the tree's directory of that name in the place of the tree.
func (d *draft) hoist(name string) error {
	const old = "stripped"
	if err := d.outer.rename(treeName, d.outer, old); err != nil {
		return err
	}
	around, err := d.outer.sub(old)
	if err != nil {
		return err
	}
	defer around.Close()
	if err := around.rename(name, d.outer, treeName); err != nil {
		return err
	}
	return d.outer.rmdir(old)
}
