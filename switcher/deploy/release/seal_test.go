package release

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// wantFrozen checks that nobody but root can change anything of a release.
func wantFrozen(t testing.TB, s *Store, r Release) {
	t.Helper()
	err := filepath.WalkDir(s.Dir(r), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid() {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		if path == s.Dir(r) && info.Mode().Perm() == fs.FileMode(topMode()) {
			return nil // of one who is not root, and was ended just after the rename
		}
		if e.Type() != fs.ModeSymlink && (info.Mode().Perm()&0o222 != 0 || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0) {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		if e.IsDir() && info.Mode().Perm() != 0o555 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestASealedReleaseIsReadOnlyAndRoots(t *testing.T) {
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	backend := d.PartDir("backend")
	for name, mode := range map[string]uint32{"suid": 0o4755, "sgid": 0o2755, "world": 0o666, "secret": 0o600, "plain": 0o640, "tool": 0o700} {
		write(t, filepath.Join(backend, name), name, 0o600)
		if err := unix.Chmod(filepath.Join(backend, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(backend, "open"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Chmod(filepath.Join(backend, "open"), 0o3777); err != nil {
		t.Fatal(err)
	}
	r, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	wantFrozen(t, s, r)
	for name, want := range map[string]fs.FileMode{"suid": 0o555, "sgid": 0o555, "world": 0o444, "secret": 0o444, "plain": 0o444, "tool": 0o555, "start.sh": 0o555, "index.js": 0o444} {
		if info, err := os.Stat(filepath.Join(s.PartDir(r, "backend"), name)); err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestLinksThatLeadOutAreRefused(t *testing.T) {
	for target, safe := range map[string]bool{
		"index.js": true, "../frontend": true, "../frontend/../backend/index.js": true, "nowhere": true, "self": true, "node_modules/.bin/a": true,
		"/etc/passwd": false, "../../x": false, "../../../../etc": false, "hop/../../..": false, "hop/../../../etc": false, "..": true, "/proc/self/root": false, "a\x1bb": false,
	} {
		t.Run(strings.ReplaceAll(target, "/", "|"), func(t *testing.T) {
			s := newStore(t)
			d := drafted(t, s, nameAt(1), built(t))
			// hop/.. is the release's own directory, and not the link's.
			for link, to := range map[string]string{"self": target, "hop": "../frontend"} {
				if err := os.Symlink(to, filepath.Join(d.PartDir("backend"), link)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := d.Seal()
			if safe && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !safe {
				wantError(t, err, ErrUnsafe, "backend/self")
			}
		})
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"pipe":   func(path string) error { return unix.Mkfifo(path, 0o644) },
		"socket": func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o644, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			d := drafted(t, s, nameAt(1), built(t))
			if err := plant(filepath.Join(d.PartDir("backend"), name)); err != nil {
				t.Fatal(err)
			}
			_, err := d.Seal()
			wantError(t, err, ErrUnsafe, "backend/"+name)
		})
	}
}

func TestAFileWithAnotherNameElsewhereGetsContentsOfItsOwn(t *testing.T) {
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	store := filepath.Join(s.root, cacheDir, "package.js")
	write(t, store, "as it was", 0o755)
	for _, name := range []string{"linked.js", "again.js"} {
		if err := os.Link(store, filepath.Join(d.PartDir("backend"), name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	write(t, store, "changed by the next build", 0o755)
	for _, name := range []string{"linked.js", "again.js"} {
		if got := read(t, filepath.Join(s.PartDir(r, "backend"), name)); got != "as it was" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if info, err := os.Stat(store); err != nil || info.Mode() != 0o755 {
		t.Errorf("the other name: %v, %v", info.Mode(), err)
	}
	wantFrozen(t, s, r)
}

func TestAFileThatIsStillWrittenIsRefused(t *testing.T) {
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	name := filepath.Join(d.PartDir("backend"), "growing.log")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Seal()
	wantError(t, err, ErrUnsafe, "growing.log", "open for writing")
	if names := listed(t, s); len(names) > 0 {
		t.Errorf("listed: %v", names)
	}
	f.Close()
	if _, err := d.Seal(); err != nil {
		t.Errorf("after it was closed: %v", err)
	}
}

func TestASealThatFailedCanBeTriedAgain(t *testing.T) {
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	out := filepath.Join(d.PartDir("backend"), "out")
	if err := os.Symlink("/etc", out); err != nil {
		t.Fatal(err)
	}
	_, err := d.Seal()
	wantError(t, err, ErrUnsafe)
	loosenAll(filepath.Dir(out))
	if err := os.Remove(out); err != nil {
		t.Fatal(err)
	}
	r, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	wantFrozen(t, s, r)
}

func TestANameIsGivenOnce(t *testing.T) {
	s := newStore(t)
	sealed(t, s, nameAt(1))
	_, err := s.Import(t.Context(), built(t), nameAt(1), parts)
	wantError(t, err, ErrExists)
	drafted(t, s, nameAt(2), built(t))
	_, err = s.Import(t.Context(), built(t), nameAt(2), parts)
	wantError(t, err, ErrBusy)
	// Something that is no release is in the way, which only the rename sees.
	d := drafted(t, s, nameAt(3), built(t))
	write(t, filepath.Join(s.root, releasesDir, nameAt(3), "stranger"), "x", 0o644)
	_, err = d.Seal()
	wantError(t, err, ErrExists)
	if got := read(t, filepath.Join(s.root, releasesDir, nameAt(3), "stranger")); got != "x" {
		t.Error("it was overwritten")
	}
}

func TestABuildThatLosesAPartIsRefused(t *testing.T) {
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	if err := os.RemoveAll(d.PartDir("frontend")); err != nil {
		t.Fatal(err)
	}
	_, err := d.Seal()
	wantError(t, err, ErrUnsupported, "frontend")
}

func TestARecordThatABuildMadeIsReplaced(t *testing.T) {
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	write(t, filepath.Join(d.Dir(), recordName), `{"name":"lies"}`, 0o644)
	r, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Find(nameAt(1)); err != nil || got.Revision != r.Revision {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestADraftThatIsOverCannotBeUsed(t *testing.T) {
	s := newStore(t)
	r := sealed(t, s, nameAt(1))
	d := drafted(t, s, nameAt(2), built(t))
	if err := d.Discard(); err != nil {
		t.Fatal(err)
	}
	_, err := d.Seal()
	for _, err := range []error{err, d.Chown(0, 0), d.Reuse(r, "backend", []string{"node_modules"})} {
		if !errors.Is(err, errOver) {
			t.Errorf("got %v", err)
		}
	}
	if err := d.Discard(); err != nil {
		t.Error(err)
	}
}

// nobody is who builds in the tests.
const nobody = 65534

func TestTheBuildsUserOwnsADraftAndNoRelease(t *testing.T) {
	asRoot(t)
	s := newStore(t)
	d := drafted(t, s, nameAt(1), built(t))
	if err := d.Chown(nobody, nobody); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(d.Dir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != nobody {
			t.Errorf("%s is not the build's", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, d.Chown(nobody, nobody), ErrUnsafe)
	wantError(t, d.Share("backend", []string{"x"}), fs.ErrNotExist)
	r, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	wantFrozen(t, s, r)
}

// attack is a process of the build that was left over. It has directories of the
// draft open, and exchanges what is in them for links to what is root's, as fast
// as it can.
func attack(args []string) error {
	inTree, victims := args[0], args[1]
	fd, err := unix.Open(inTree, unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	for link, target := range map[string]string{"file-link": "file", "directory-link": "directory"} {
		if err := unix.Symlinkat(filepath.Join(victims, target), fd, link); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	for {
		for _, name := range []string{"file", "directory"} {
			_ = unix.Renameat2(fd, name, fd, name+"-link", unix.RENAME_EXCHANGE)
		}
	}
}

func TestALeftOverProcessCannotTrickRoot(t *testing.T) {
	asRoot(t)
	base := t.TempDir()
	if err := os.Chmod(filepath.Dir(base), 0o755); err != nil {
		t.Fatal(err)
	}
	victims := filepath.Join(base, "victims")
	write(t, filepath.Join(victims, "file"), "root's", 0o600)
	write(t, filepath.Join(victims, "directory/file"), "root's", 0o600)
	for _, path := range []string{"file", "directory/file"} {
		if err := os.Chown(filepath.Join(victims, path), 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := newStoreIn(t, filepath.Join(base, "root"))
	artifact := built(t)
	write(t, filepath.Join(artifact, "backend/swap/file"), "x", 0o644)
	write(t, filepath.Join(artifact, "backend/swap/directory/file"), "x", 0o644)
	for n := range 20 {
		d := drafted(t, s, nameAt(n), artifact)
		if err := d.Chown(nobody, nobody); err != nil {
			t.Fatal(err)
		}
		attackedSeal(t, d, victims)
		for _, path := range []string{"file", "directory/file"} {
			info, err := os.Stat(filepath.Join(victims, path))
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); info.Mode() != 0o600 || st.Uid != 1 {
				t.Fatalf("%s outside of the release became %v of %d", path, info.Mode(), st.Uid)
			}
		}
	}
}

// attackedSeal seals a draft, or discards it, in the midst of an attack.
func attackedSeal(t *testing.T, d *Draft, victims string) {
	t.Helper()
	cmd := child(t, "attack", filepath.Join(d.PartDir("backend"), "swap"), victims)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the attacker says %q, %v", line, err)
	}
	// There is a link out of the release whatever happens.
	if _, err := d.Seal(); err == nil {
		t.Error("sealed with a link out of it")
	}
	if err := d.Discard(); err != nil {
		t.Error(err)
	}
}
