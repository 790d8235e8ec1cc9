package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entries is an archive to be.
type entries []tar.Header

func file(name, text string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Linkname: text}
}

func link(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

// tarOf is an archive of these, where the contents of a file are its Linkname.
func tarOf(t testing.TB, es entries) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range es {
		text := ""
		if h.Typeflag == tar.TypeReg {
			text, h.Linkname = h.Linkname, ""
			h.Size = int64(len(text))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func archive(t testing.TB, raw []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.tar")
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// plainApp has both parts.
func plainApp(more ...tar.Header) entries {
	return append(entries{
		{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "of git archive"}},
		{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		file("./backend/index.js", "code"),
		file("frontend/package.json", "{}"),
	}, more...)
}

func TestAnArchiveBecomesARelease(t *testing.T) {
	raw := tarOf(t, plainApp(
		link("backend/main.js", "index.js"),
		tar.Header{Typeflag: tar.TypeLink, Name: "backend/same.js", Linkname: "./backend/index.js"},
		tar.Header{Typeflag: tar.TypeReg, Name: "backend/suid", Linkname: "tool", Mode: 0o6777},
		tar.Header{Typeflag: tar.TypeDir, Name: "frontend/empty/", Mode: 0},
		file(".git/config", "[core]"),
		file("frontend/.gitignore", "x"),
	))
	for name, raw := range map[string][]byte{"app.tar": raw, "app.tar.gz": gzipped(t, raw), "app.tgz": gzipped(t, raw)} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			path := archive(t, raw)
			d, err := s.Import(t.Context(), path, "", parts)
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Seal()
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(raw)
			revision, err := Fingerprint(t.Context(), path)
			if want := "sha256:" + hex.EncodeToString(sum[:]); r.Revision != want || revision != want || err != nil {
				t.Errorf("got %s and %s, %v, want %s", r.Revision, revision, err, want)
			}
			if !strings.HasSuffix(r.Name, hex.EncodeToString(sum[:6])) || r.Source != path {
				t.Errorf("got %+v", r)
			}
			want := []string{
				". dir", "backend dir", "backend/index.js code", "backend/main.js -> index.js", "backend/same.js code", "backend/suid tool",
				"frontend dir", "frontend/.gitignore x", "frontend/empty dir", "frontend/package.json {}",
			}
			if diff := cmp.Diff(want, contents(t, s.Dir(r))); diff != "" {
				t.Error(diff)
			}
			wantFrozen(t, s, r)
		})
	}
}

func TestADirectoryAtTheTopIsLeftOutIfThePartsAreBelowIt(t *testing.T) {
	for name, c := range map[string]struct {
		es    entries
		parts map[string]string
		want  string // the file that must be in the release, or what the error says
	}{
		"below":           {entries{file("app-1.2/backend/a", ""), file("app-1.2/frontend/b", "")}, parts, "backend/a"},
		"beside":          {plainApp(), parts, "backend/index.js"},
		"one of them":     {entries{file("app/backend/a", "")}, parts, "no directory"},
		"two at the top":  {entries{file("app/backend/a", ""), file("app/frontend/b", ""), file("README", "")}, parts, "no directory"},
		"all of it":       {entries{file("dist/index.js", "")}, map[string]string{"backend": "."}, "dist/index.js"},
		"its own name":    {entries{file("backend/backend/a", "")}, onlyBackend, "backend/backend/a"},
		"its own, deeper": {entries{file("x/backend/a", "")}, onlyBackend, "backend/a"},
		"a file":          {entries{file("README", "")}, onlyBackend, "no directory backend"},
		"a link":          {entries{link("x", "/srv")}, onlyBackend, "out of the release"},
		"nothing":         {entries{}, onlyBackend, "no directory backend"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			d, err := s.Import(t.Context(), archive(t, tarOf(t, c.es)), nameAt(1), c.parts)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want it to say %q", err, c.want)
				}
				wantNothing(t, s)
				return
			}
			r, err := d.Seal()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(s.Dir(r), c.want)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestArchivesThatWouldDoHarmAreRefused(t *testing.T) {
	long := strings.Repeat("d/", maxDepth+1)
	for name, c := range map[string]struct {
		es   entries
		want error
		text string
	}{
		"up":                      {plainApp(file("backend/../../x", "")), ErrUnsafe, "leads out"},
		"up within":               {plainApp(file("backend/../x", "")), ErrUnsafe, "leads out"},
		"absolute":                {plainApp(file("/etc/x", "")), ErrUnsafe, "absolute"},
		"control":                 {plainApp(file("backend/a\x1b[2J", "")), ErrUnsafe, "printed"},
		"new line":                {plainApp(file("backend/a\nb", "")), ErrUnsafe, "printed"},
		"bidi":                    {plainApp(file("backend/\u202egnp.js", "")), ErrUnsafe, "printed"},
		"link out":                {plainApp(link("backend/x", "/etc/passwd")), ErrUnsafe, "out of the release"},
		"link up":                 {plainApp(link("backend/x", "../../../x")), ErrUnsafe, "out of the release"},
		"through a link":          {plainApp(link("backend/x", "/tmp"), file("backend/x/y", "")), nil, "not a directory"},
		"through a link within":   {plainApp(link("backend/x", "../frontend"), file("backend/x/y", "")), nil, "not a directory"},
		"over a link":             {plainApp(link("backend/x", "/tmp/y"), file("backend/x", "")), nil, "exists"},
		"twice":                   {plainApp(file("backend/index.js", "again")), nil, "exists"},
		"device":                  {plainApp(tar.Header{Typeflag: tar.TypeChar, Name: "backend/null", Devmajor: 1, Devminor: 3}), ErrUnsafe, "backend/null"},
		"block device":            {plainApp(tar.Header{Typeflag: tar.TypeBlock, Name: "backend/disk", Devmajor: 8}), ErrUnsafe, "backend/disk"},
		"pipe":                    {plainApp(tar.Header{Typeflag: tar.TypeFifo, Name: "backend/pipe"}), ErrUnsafe, "backend/pipe"},
		"hard link out":           {plainApp(tar.Header{Typeflag: tar.TypeLink, Name: "backend/x", Linkname: "/etc/passwd"}), ErrUnsafe, "absolute"},
		"hard link up":            {plainApp(tar.Header{Typeflag: tar.TypeLink, Name: "backend/x", Linkname: "../../../etc/passwd"}), ErrUnsafe, "leads out"},
		"hard link to a link":     {plainApp(link("backend/x", "/etc/passwd"), tar.Header{Typeflag: tar.TypeLink, Name: "backend/y", Linkname: "backend/x"}), ErrUnsafe, "no file"},
		"hard link through":       {plainApp(link("backend/x", "/etc"), tar.Header{Typeflag: tar.TypeLink, Name: "backend/y", Linkname: "backend/x/passwd"}), nil, "not a directory"},
		"hard link to nothing":    {plainApp(tar.Header{Typeflag: tar.TypeLink, Name: "backend/y", Linkname: "backend/z"}), nil, "no such file"},
		"too deep":                {plainApp(file(long+"x", "")), ErrUnsupported, "deeper"},
		"a record of ours":        {plainApp(file(recordName, "{}")), ErrUnsupported, recordName},
		"a file as a directory":   {plainApp(file("backend/index.js/x", "")), nil, "not a directory"},
		"the top as a file":       {plainApp(file(".", "x")), ErrUnsafe, "top"},
		"a directory over a link": {plainApp(link("backend/x", "/tmp"), tar.Header{Typeflag: tar.TypeDir, Name: "backend/x/"}), nil, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			_, err := s.Import(t.Context(), archive(t, tarOf(t, c.es)), nameAt(1), parts)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want it to say %q", err, c.text)
			}
			if c.want != nil {
				wantError(t, err, c.want)
			}
			wantNothing(t, s)
		})
	}
}

func TestAnArchiveThatWasCutOffIsRefused(t *testing.T) {
	s := newStore(t)
	raw := tarOf(t, plainApp(file("backend/last.js", strings.Repeat("x", 700))))
	whole := len(raw) - 1024 // two blocks of zeros
	zipped := gzipped(t, raw)
	for name, cut := range map[string][]byte{
		"nothing": nil, "within a header": raw[:100], "between two entries": raw[:whole], "within a file": raw[:whole-600],
		"gzip's head": zipped[:5], "gzip's middle": zipped[:len(zipped)/2], "gzip's checksum": zipped[:len(zipped)-3],
	} {
		_, err := s.Import(t.Context(), archive(t, cut), nameAt(1), parts)
		if err == nil || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	bad := bytes.Clone(zipped)
	bad[len(bad)-6] ^= 1
	if _, err := s.Import(t.Context(), archive(t, bad), nameAt(1), parts); !errors.Is(err, gzip.ErrChecksum) {
		t.Errorf("a wrong checksum: got %v", err)
	}
	wantNothing(t, s)
	// One block of zeros is what some programs write.
	if _, err := s.Import(t.Context(), archive(t, raw[:whole+512]), nameAt(1), parts); err != nil {
		t.Errorf("a single block of zeros: %v", err)
	}
}

func TestOtherFormatsAreNamed(t *testing.T) {
	s := newStore(t)
	raw := archive(t, tarOf(t, plainApp()))
	for _, program := range []string{"xz", "bzip2"} {
		if _, err := exec.LookPath(program); err != nil {
			continue // the bytes below stand for it
		}
		out, err := exec.Command(program, "-c", raw).Output()
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Import(t.Context(), archive(t, out), nameAt(1), parts)
		wantError(t, err, ErrUnsupported, "compressed with "+program)
	}
	for magic, want := range map[string]string{
		"\x28\xb5\x2f\xfd": "compressed with zstd", "\xfd7zXZ\x00": "compressed with xz", "BZh9": "compressed with bzip2", "PK\x03\x04": "compressed with zip",
		"#!/bin/sh\nexit 0\n": "no tar archive",
	} {
		_, err := s.Import(t.Context(), archive(t, []byte(magic+strings.Repeat("x", 2000))), nameAt(1), parts)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to say %q", magic, err, want)
		}
	}
	_, err := s.Import(t.Context(), "/dev/null", nameAt(1), parts)
	wantError(t, err, ErrUnsupported)
	_, err = s.Import(t.Context(), filepath.Join(t.TempDir(), "missing"), nameAt(1), parts)
	wantError(t, err, os.ErrNotExist)
}

func TestAnArchiveLargerThanTheDiskIsRefusedBeforeItIsWritten(t *testing.T) {
	s := newStore(t)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "backend/huge", Size: 1 << 60}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Import(t.Context(), archive(t, out.Bytes()), nameAt(1), parts)
	wantError(t, err, ErrNoSpace, "backend/huge")
	wantNothing(t, s)
	u := unpackerIn(t, 100, 5)
	if err := unpackArchive(bytes.NewReader(tarOf(t, plainApp(file("backend/x", strings.Repeat("x", 200))))), u); !errors.Is(err, ErrNoSpace) {
		t.Errorf("together too large: got %v", err)
	}
	u = unpackerIn(t, 1000, 3)
	if err := unpackArchive(bytes.NewReader(tarOf(t, plainApp(file("backend/x", "")))), u); !errors.Is(err, ErrNoSpace) {
		t.Errorf("too many: got %v", err)
	}
}

// unpackerIn writes to a new directory, not more than so much.
func unpackerIn(t testing.TB, bytes, files uint64) *unpacker {
	t.Helper()
	tree, err := new(disk).openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	u := &unpacker{tree: tree, at: ".", bytes: bytes, files: files}
	t.Cleanup(func() { u.leave(); tree.Close() })
	return u
}

func TestArchivesOfRealProgramsAreRead(t *testing.T) {
	dir := built(t)
	// npm and pnpm leave hard links, which tar writes as such.
	if err := os.Link(filepath.Join(dir, "backend/index.js"), filepath.Join(dir, "backend/linked.js")); err != nil {
		t.Fatal(err)
	}
	want := contents(t, dir)
	for name, args := range map[string][]string{
		"gnu": {"-cf"}, "gnu gzip": {"-czf"}, "pax": {"--format=pax", "-cf"}, "ustar": {"--format=ustar", "-czf"}, "sparse": {"-S", "-cf"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app")
			if out, err := exec.Command("tar", append(args, path, "-C", dir, ".")...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			s := newStore(t)
			r, err := drafted(t, s, nameAt(1), path).Seal()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, contents(t, s.Dir(r))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADirectoryIsCopiedWithoutItsRepository(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	r.link("index.js", "backend/main.js")
	revision, err := Fingerprint(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(r.dir, link); err != nil {
		t.Fatal(err)
	}
	d := drafted(t, s, "", link)
	if d.Release().Revision != revision || !strings.HasSuffix(d.Release().Name, revision[7:19]) {
		t.Errorf("got %+v, want %s", d.Release(), revision)
	}
	rel, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(s.Dir(rel), ".git")); err == nil {
		t.Error("the release has a .git")
	}
	again, err := Fingerprint(t.Context(), r.dir)
	if err != nil || again != revision {
		t.Errorf("got %s, %v, want %s", again, err, revision)
	}
	for what, change := range map[string]func() error{
		"content":    func() error { return os.WriteFile(filepath.Join(r.dir, "backend/index.js"), []byte("x"), 0o644) },
		"executable": func() error { return os.Chmod(filepath.Join(r.dir, "backend/index.js"), 0o755) },
		"a name":     func() error { return os.Mkdir(filepath.Join(r.dir, "backend/empty"), 0o755) },
		"a link": func() error {
			return errors.Join(os.Remove(filepath.Join(r.dir, "backend/main.js")), os.Symlink("start.sh", filepath.Join(r.dir, "backend/main.js")))
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		changed, err := Fingerprint(t.Context(), r.dir)
		if err != nil || changed == again {
			t.Errorf("%s does not count: %s, %v", what, changed, err)
		}
		again = changed
	}
}

func TestADirectoryThatHoldsTheReleasesIsRefused(t *testing.T) {
	s := newStore(t)
	_, err := s.Import(t.Context(), filepath.Dir(s.root), nameAt(1), map[string]string{"backend": "."})
	wantError(t, err, ErrUnsupported, "the releases are in it")
	wantNothing(t, s)
}

func TestAnImportEndsWithItsContext(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	for _, path := range []string{built(t), archive(t, gzipped(t, tarOf(t, plainApp())))} {
		_, err := s.Import(ctx, path, nameAt(1), parts)
		if !errors.Is(err, errEnough) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", path, err)
		}
		if _, err := Fingerprint(ctx, path); !errors.Is(err, errEnough) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	wantNothing(t, s)
}

func TestPartsThatLeadOutAreRefused(t *testing.T) {
	s := newStore(t)
	for _, bad := range []map[string]string{
		nil, {"backend": ".."}, {"backend": "/etc"}, {"backend": ""}, {"backend": "a/../b"}, {"": "backend"}, {"../x": "backend"}, {"backend": "a\nb"},
	} {
		if _, err := s.Import(t.Context(), built(t), nameAt(1), bad); err == nil {
			t.Errorf("%q were taken", bad)
		}
	}
	if _, err := s.Import(t.Context(), built(t), "../../etc", parts); err == nil {
		t.Error("a name that leads out was taken")
	}
	wantNothing(t, s)
}
