package release

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// FuzzArchive unpacks anything, and looks whether something came to be outside
// of the tree, or something in it that must not be.
func FuzzArchive(f *testing.F) {
	f.Add(tarOf(f, plainApp(link("backend/x", "index.js"))))
	f.Add(gzipped(f, tarOf(f, plainApp())))
	f.Add(tarOf(f, entries{link("x", ".."), file("x/y", "through"), file("../y", "up"), file("/y", "absolute")}))
	f.Add(tarOf(f, plainApp(tar.Header{Typeflag: tar.TypeLink, Name: "frontend/same", Linkname: "backend/index.js"})))
	f.Add(tarOf(f, entries{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}}))
	f.Add(tarOf(f, plainApp())[:1300])
	f.Fuzz(func(t *testing.T, raw []byte) {
		outer := t.TempDir()
		if err := os.Mkdir(filepath.Join(outer, treeName), 0o755); err != nil {
			t.Fatal(err)
		}
		tree, err := new(disk).openDir(filepath.Join(outer, treeName))
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		u := &unpacker{tree: tree, at: ".", bytes: 1 << 16, files: 64}
		_ = unpackArchive(bytes.NewReader(raw), u)
		u.leave()
		if entries, err := os.ReadDir(outer); err != nil || len(entries) != 1 {
			t.Fatalf("outside of the tree: %v, %v", entries, err)
		}
		err = tree.walk(visitor{entry: func(in *dir, name, rel string, st unix.Stat_t) error {
			if !printable(name) || st.Nlink != 1 || st.Mode&0o6022 != 0 && kind(st) != unix.S_IFLNK {
				t.Errorf("%q has the mode %o and %d names", rel, st.Mode, st.Nlink)
			}
			return plain(rel, st)
		}})
		if err != nil {
			t.Error(err)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, seed := range []string{nameAt(1), "20261124T081500Z-", "99999999T999999Z-abcd", "../20261124T081500Z-abcd", "20261124T081500Z-abcd/..", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if checkName(name) == nil && (filepath.Base(name) != name || !filepath.IsLocal(name) || !printable(name)) {
			t.Errorf("%q is no plain name", name)
		}
		if got := releaseOfPath("/srv/charactier/releases/" + name + "/backend"); got != "" && checkName(got) != nil {
			t.Errorf("%q leads to %q", name, got)
		}
	})
}

func FuzzRefAndRepository(f *testing.F) {
	for _, seed := range []string{
		"main", "-x", "--upload-pack=x", "a..b", "refs/heads/x", "HEAD@{1}", "ext::sh -c x", "https://u:p@h/x?q=1", "git@host:x.git", "ssh://-o/x", "/srv/x", "file:///x", "a::b", "ssh://u:p@h",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckRef(s) == nil && (strings.HasPrefix(s, "-") || strings.ContainsAny(s, " :^~*?[\\\n\x00") || strings.Contains(s, "..")) {
			t.Errorf("%q was taken as a ref", s)
		}
		repo, err := parseRepository(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "ext::") || !printable(s) || repo.url != s {
			t.Errorf("%q was taken as a repository", s)
		}
		if again, err := parseRepository(repo.source); err != nil || again.source != repo.source {
			t.Errorf("%q is shown as %q, which is shown as %q, %v", s, repo.source, again.source, err)
		}
		if shown := repo.hide.Replace("at " + s); strings.Contains(shown, "?") && strings.Contains(s, "://") {
			t.Errorf("shown: %q", shown)
		}
	})
}

func FuzzRecord(f *testing.F) {
	raw, err := encodeRecord(Release{Name: nameAt(1), Revision: "sha256:ab", Source: "/srv/x", Sealed: true, Parts: parts})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte(`{"name":"20261124T081501Z-1a2b","revision":"x","sealed":true,"parts":{"backend":"../../etc"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decodeRecord(raw)
		if err != nil {
			return
		}
		for service, directory := range r.Parts {
			if !filepath.IsLocal(directory) || !filepath.IsLocal(service) {
				t.Errorf("the part %q is %q", service, directory)
			}
		}
		out, err := json.Marshal(r)
		if err != nil {
			return // a time beyond what JSON can say
		}
		again, err := decodeRecord(out)
		if diff := cmp.Diff(r, again); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

func FuzzTreeListing(f *testing.F) {
	f.Add([]byte("100644 blob 1a2b3c 12\ta.js\x00160000 commit 1a2b -\tsub\x00"))
	f.Add([]byte("100644 blob 1a2b3c 12\ta\nb\x00"))
	f.Add([]byte("100644 blob\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var whole, bytewise survey
		a, b := &records{each: whole.entry}, &records{each: bytewise.entry}
		_, _ = a.Write(raw)
		for i := range raw {
			if _, err := b.Write(raw[i : i+1]); err != nil {
				break
			}
		}
		if (a.err == nil) != (b.err == nil) || a.err == nil && whole.bytes != bytewise.bytes {
			t.Errorf("%v and %v differ by how it is read", a.err, b.err)
		}
	})
}
