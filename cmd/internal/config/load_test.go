package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/config"
)

// info is a file as the system describes it.
type info struct {
	mode     fs.FileMode
	uid, gid uint32
}

func (i info) Name() string       { return "c.yaml" }
func (i info) Size() int64        { return 0 }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return config.Owner(i.uid, i.gid) }

func TestAFileThatOthersMayWriteIsNotTrusted(t *testing.T) {
	const root, daemon, user = 0, 990, 1000
	for _, c := range []struct {
		name    string
		file    info
		by      uint32 // user and group
		trusted bool
	}{
		{"root's own", info{0o644, root, root}, root, true},
		{"root's, read by the daemon", info{0o640, root, daemon}, daemon, true},
		{"root's with its group writing", info{0o664, root, root}, daemon, true},
		{"root's with the daemon's group writing", info{0o664, root, daemon}, daemon, false},
		{"everybody writes", info{0o646, root, root}, root, false},
		{"everybody but its owner writes", info{0o066, user, user}, user, false},
		{"another user's, as root", info{0o600, user, user}, root, false},
		{"another user's, as the daemon", info{0o600, user, user}, daemon, false},
		{"one's own", info{0o644, user, user}, user, true},
		{"one's own with a umask of 002", info{0o664, user, user}, user, true},
		{"one's own in a shared group", info{0o664, user, daemon}, user, false},
		{"a sticky directory", info{fs.ModeDir | fs.ModeSticky | 0o777, root, root}, user, true},
		{"a sticky directory of another user", info{fs.ModeDir | fs.ModeSticky | 0o777, daemon, root}, user, false},
		{"a directory that everybody writes", info{fs.ModeDir | 0o777, root, root}, user, false},
		{"a file with the sticky bit", info{fs.ModeSticky | 0o666, root, root}, root, false},
	} {
		err := config.WritableByOthers(c.file, c.by, c.by)
		if (err == nil) != c.trusted {
			t.Errorf("%s (%v, %d:%d, read by %d): %v", c.name, c.file.mode, c.file.uid, c.file.gid, c.by, err)
		}
	}
}

func TestTheMessageNamesTheCommandThatHelps(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", "")
	chmod(t, path, 0o666)
	_, err := config.Load(path)
	if err == nil || !strings.Contains(err.Error(), "run: chmod go-w "+path) {
		t.Errorf("Load = %v, want the command", err)
	}
}

func TestTheDirectoryOfEachLinkMustBeTrustedToo(t *testing.T) {
	root := t.TempDir()
	safe, open := mkdir(t, root, "safe"), mkdir(t, root, "open")
	file := write(t, safe, "c.yaml", "log: {}\n")
	middle := link(t, file, filepath.Join(open, "middle"))
	first := link(t, middle, filepath.Join(safe, "first"))
	if _, err := config.Load(first); err != nil {
		t.Fatalf("before the directory is open: %v", err)
	}
	chmod(t, open, 0o777)
	for _, path := range []string{first, middle} {
		if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), open+" may be written by others") {
			t.Errorf("Load(%s) = %v, want a complaint about %s", path, err, open)
		}
	}
	if _, err := config.Load(file); err != nil {
		t.Errorf("the file itself, which is in a safe place: %v", err)
	}
}

func TestWhatIsNoFileOrTooLargeIsRefused(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:  "is not a regular file",
		fifo: "is not a regular file",
		write(t, dir, "large.yaml", strings.Repeat("#", config.MaxSize+1)): "has more than 64KiB",
		link(t, filepath.Join(dir, "round"), filepath.Join(dir, "round")):  "too many levels of symbolic links",
		filepath.Join(write(t, dir, "not-a-directory", ""), "c.yaml"):      "not a directory",
		write(t, dir, "bad.yaml", "log: {level: loud}\n"):                  "bad.yaml:1:14: log.level:",
		"/dev/null": "is not a regular file",
	} {
		if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want %q", path, err, want)
		}
	}
	const start = "log: {} "
	if _, err := config.Load(write(t, dir, "largest.yaml", start+strings.Repeat("#", config.MaxSize-len(start)))); err != nil {
		t.Errorf("the largest file: %v", err)
	}
}

// An emptied file is not a missing one: taking it for the defaults would remove
// every service but the built-in one.
func TestAnEmptyFileIsNoWishForTheDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "\ufeff", "# services:\n", "---\n", "---\n---\n", "~\n", "\r\n \n"} {
		_, err := config.Load(write(t, t.TempDir(), "c.yaml", text))
		var problems config.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), "c.yaml: the file is empty: ") {
			t.Errorf("Load of %q = %v, want a refusal", text, err)
		}
	}
	if diff := cmp.Diff(config.Default(), mustParse(t, "services: {backend: {}}"), compare); diff != "" {
		t.Errorf("what the refusal advises is not the defaults (-defaults +advice):\n%s", diff)
	}
}

func TestAMissingFileIsToldApart(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "c.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load = %v, want fs.ErrNotExist", err)
	}
}

// write makes a file that only its owner may write, whatever the umask.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, 0o644)
	return path
}

func mkdir(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, 0o755)
	return path
}

func link(t *testing.T, to, path string) string {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
