package release

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestReleasesAreListedNewestFirst(t *testing.T) {
	s := newStore(t)
	for _, n := range []int{2, 1, 3} {
		sealed(t, s, nameAt(n))
	}
	if diff := cmp.Diff([]string{nameAt(3), nameAt(2), nameAt(1)}, listed(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoWholeReleaseIsNotListed(t *testing.T) {
	s := newStore(t)
	r := sealed(t, s, nameAt(1))
	raw := read(t, filepath.Join(s.Dir(r), recordName))
	write(t, filepath.Join(s.root, releasesDir, nameAt(2), "backend/x"), "no record", 0o644)
	write(t, filepath.Join(s.root, releasesDir, nameAt(3), recordName), raw[:len(raw)/2], 0o644)
	write(t, filepath.Join(s.root, releasesDir, nameAt(4), recordName), raw, 0o644) // another's
	write(t, filepath.Join(s.root, releasesDir, "notes.txt"), "a file", 0o644)
	write(t, filepath.Join(s.root, releasesDir, nameAt(5)), "a file", 0o644)
	if err := os.Symlink(s.Dir(r), filepath.Join(s.root, releasesDir, nameAt(6))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{r.Name}, listed(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestAReleaseIsWhatItsRecordSays(t *testing.T) {
	s := newStore(t)
	r := sealed(t, s, nameAt(1))
	again, err := Open(s.root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Find(r.Name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
	if !got.Sealed || !slices.Contains([]string{s.PartDir(got, "backend")}, filepath.Join(s.root, "releases", r.Name, "backend")) {
		t.Errorf("got %+v in %s", got, s.PartDir(got, "backend"))
	}
}

func TestAReleaseIsFoundByTheBeginningOfItsNameOrRevision(t *testing.T) {
	s := newStore(t)
	first := sealed(t, s, "20261124T081501Z-aaaabbbb")
	second := sealed(t, s, "20261125T081501Z-ccccdddd")
	for _, prefix := range []string{second.Name, "20261125", "20261125T081501Z-cccc"} {
		if r, err := s.Find(prefix); err != nil || r.Name != second.Name {
			t.Errorf("%q: got %s, %v", prefix, r.Name, err)
		}
	}
	// Both were made of the same files.
	for _, prefix := range []string{first.Revision, first.Revision[:11], first.Revision[7:11], "2026"} {
		_, err := s.Find(prefix)
		wantError(t, err, ErrAmbiguous, first.Name, second.Name)
	}
	for _, name := range []string{"", "202", "sha256:", "20261126", "../../etc"} {
		_, err := s.Find(name)
		wantError(t, err, ErrNotFound)
	}
}

func TestARootThatOthersMayWriteIsRefused(t *testing.T) {
	base := t.TempDir()
	plant := map[string]func(root string) error{
		"writable root":   func(root string) error { return os.Chmod(root, 0o777) },
		"writable parent": func(root string) error { return os.Chmod(filepath.Dir(root), 0o777) },
		"writable releases": func(root string) error {
			return os.Chmod(filepath.Join(root, releasesDir), 0o775)
		},
		"drafts elsewhere": func(root string) error {
			return os.Rename(filepath.Join(root, draftsDir), filepath.Join(root, "moved")) // and a link instead
		},
	}
	for name, spoil := range plant {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(base, name, "root")
			if _, err := Open(root); err != nil {
				t.Fatal(err)
			}
			if err := spoil(root); err != nil {
				t.Fatal(err)
			}
			if name == "drafts elsewhere" {
				if err := os.Symlink("moved", filepath.Join(root, draftsDir)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(root)
			wantError(t, err, ErrUnsafe)
		})
	}
	if _, err := Open("relative"); err == nil {
		t.Error("a relative root was taken")
	}
}

func TestAStickyParentIsNoDanger(t *testing.T) {
	parent := t.TempDir()
	if err := os.Chmod(parent, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(parent, "root")); err != nil {
		t.Error(err)
	}
}

func TestNamesSortByTimeAndHoldTheRevision(t *testing.T) {
	at := time.Date(2026, 11, 24, 17, 15, 0, 0, time.FixedZone("JST", 9*3600))
	for revision, want := range map[string]string{
		"1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d": "20261124T081500Z-1a2b3c4d5e6f",
		"sha256:abcdef0123456789":                  "20261124T081500Z-abcdef012345",
	} {
		if got := NameOf(at, revision); got != want || checkName(got) != nil {
			t.Errorf("got %s, %v, want %s", got, checkName(got), want)
		}
	}
	for _, bad := range []string{"", "latest", "20261124T081500Z", "20261324T081500Z-abcd", "20261124T081500Z-../x", "20261124T081500Z-ABCD", "20261124T081500Z-abcd\n"} {
		if checkName(bad) == nil {
			t.Errorf("%q was taken for a name", bad)
		}
	}
}

func TestFreeRoomIsThatOfTheDisk(t *testing.T) {
	s := newStore(t)
	bytes, err := s.Free()
	files, err2 := s.FreeInodes()
	if err != nil || err2 != nil || bytes == 0 || files == 0 {
		t.Errorf("got %d bytes, %v; %d files, %v", bytes, err, files, err2)
	}
	wantError(t, s.room(bytes*2, 0), ErrNoSpace)
}

func TestOtherUsersPassThroughWhateverTheUmask(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	base := t.TempDir()
	s, _ := newStoreIn(t, filepath.Join(base, "srv/charactier"))
	r := sealed(t, s, nameAt(1))
	link := filepath.Join(s.root, "backend/blue")
	if err := s.Point(link, r, "backend"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		filepath.Dir(s.root): 0o755, s.root: 0o755, filepath.Dir(link): 0o755, filepath.Join(s.root, releasesDir): 0o755,
		filepath.Join(s.root, draftsDir): 0o711, s.Dir(r): 0o555, filepath.Join(s.PartDir(r, "backend"), "index.js"): 0o444,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}
