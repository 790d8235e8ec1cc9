package release

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestACommitBecomesARelease(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	revision := r.git("rev-parse", "HEAD")
	c, err := s.Resolve(t.Context(), r.dir, "main")
	if err != nil {
		t.Fatal(err)
	}
	want := Commit{revision, "main", r.dir, "the first one", "Hanako", time.Date(2026, 11, 24, 8, 15, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	d, err := s.Checkout(t.Context(), c, "", parts)
	if err != nil {
		t.Fatal(err)
	}
	if names := listed(t, s); len(names) != 0 {
		t.Errorf("a draft is listed: %v", names)
	}
	write(t, filepath.Join(d.PartDir("backend"), "dist/index.js"), "built", 0o600)
	rel, err := d.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Discard(); err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(rel.Name, "Z-"+revision[:12]) || rel.Revision != revision || rel.Source != r.dir || rel.Ref != "main" {
		t.Errorf("got %+v", rel)
	}
	if got := read(t, filepath.Join(s.PartDir(rel, "backend"), "dist/index.js")); got != "built" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Lstat(filepath.Join(s.Dir(rel), ".git")); err == nil {
		t.Error("the release has a .git")
	}
	if entries, _ := os.ReadDir(filepath.Join(s.root, draftsDir)); len(entries) > 0 {
		t.Errorf("left: %v", entries)
	}
}

func TestBranchTagAndRevisionAreFound(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	first := r.git("rev-parse", "HEAD")
	r.git("tag", "-a", "-m", "annotated", "v1")
	r.git("tag", "light")
	r.git("checkout", "-q", "-b", "feature/login")
	second := r.commit("the second one")
	for ref, want := range map[string]string{
		"main": first, "v1": first, "light": first, "feature/login": second, "refs/heads/feature/login": second,
		"refs/tags/v1": first, first: first, second[:7]: second, second[:4]: second,
	} {
		c, err := s.Resolve(t.Context(), r.dir, ref)
		if err != nil || c.Revision != want || c.Ref != ref {
			t.Errorf("%s: got %+v, %v, want %s", ref, c, err, want)
		}
	}
}

func TestABranchThatMovedOrWentIsSeen(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	r.git("branch", "old")
	if _, err := s.Resolve(t.Context(), r.dir, "old"); err != nil {
		t.Fatal(err)
	}
	r.git("branch", "-D", "old")
	r.git("branch", "old/nested") // which the mirror cannot have beside old
	r.git("commit", "-q", "--amend", "--allow-empty", "-m", "forced")
	want := r.git("rev-parse", "HEAD")
	if c, err := s.Resolve(t.Context(), r.dir, "main"); err != nil || c.Revision != want {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err := s.Resolve(t.Context(), r.dir, "old")
	wantError(t, err, ErrNoSuchRef, "old/nested")
}

func TestAMissingRefNamesThoseNear(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	r.git("branch", "release-2026")
	for ref, want := range map[string]string{"mian": "main", "Main": "main", "release": "release-2026", "origin/main": "main"} {
		_, err := s.Resolve(t.Context(), r.dir, ref)
		wantError(t, err, ErrNoSuchRef, "did you mean "+want)
	}
	_, err := s.Resolve(t.Context(), r.dir, strings.Repeat("0", 40))
	wantError(t, err, ErrNoSuchRef)
	_, err = s.Resolve(t.Context(), r.dir, "deadbeef")
	wantError(t, err, ErrNoSuchRef)
}

func TestWhatIsABranchAndATagIsAmbiguous(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	r.git("tag", "twice")
	r.commit("later")
	r.git("branch", "twice")
	_, err := s.Resolve(t.Context(), r.dir, "twice")
	wantError(t, err, ErrAmbiguous, "refs/heads/twice", "refs/tags/twice")
}

func TestAShortRevisionOfTwoIsAmbiguous(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	seen := map[string]bool{}
	for n := 0; ; n++ {
		short := r.git("commit-tree", "HEAD^{tree}", "-m", strings.Repeat("x", n+1))
		r.git("update-ref", "refs/heads/b"+short, short)
		if seen[short[:4]] {
			_, err := s.Resolve(t.Context(), r.dir, short[:4])
			wantError(t, err, ErrAmbiguous)
			return
		}
		seen[short[:4]] = true
	}
}

func TestARevisionThatIsKnownNeedsNoRepository(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	c, err := s.Resolve(t.Context(), r.dir, "main")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.dir, r.dir+".away"); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Resolve(t.Context(), r.dir, c.Revision); err != nil || again.Revision != c.Revision {
		t.Errorf("got %+v, %v", again, err)
	}
	if _, err := s.Resolve(t.Context(), r.dir, "main"); err == nil || !strings.Contains(err.Error(), "fetching "+r.dir) {
		t.Errorf("got %v", err)
	}
}

func TestAnotherRepositoryTakesTheMirrorOver(t *testing.T) {
	s, first, second := newStore(t), newRepo(t), newRepo(t)
	second.write("backend/other.js", "other")
	want := second.commit("of another")
	first.git("branch", "only-here")
	for _, r := range []repo{first, second} {
		if _, err := s.Resolve(t.Context(), r.dir, "main"); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := s.Resolve(t.Context(), second.dir, "main"); err != nil || c.Revision != want {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err := s.Resolve(t.Context(), second.dir, "only-here")
	wantError(t, err, ErrNoSuchRef)
}

func TestACommitOfNoBranchIsFetchedByItsRevision(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	r.git("config", "uploadpack.allowAnySHA1InWant", "true")
	want := r.git("commit-tree", "HEAD^{tree}", "-m", "of a pull request")
	r.git("update-ref", "refs/pull/1/head", want)
	if c, err := s.Resolve(t.Context(), r.dir, want); err != nil || c.Revision != want {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestRepositoriesAndRefsThatGitWouldMistakeAreRefused(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	witness := filepath.Join(t.TempDir(), "ran")
	for _, repository := range []string{
		"--upload-pack=touch " + witness, "-oProxyCommand=touch " + witness, "ext::sh -c touch% " + witness, "fd::3", "",
		"ssh://-oProxyCommand=touch/x", "relative/path", "ftp://example.org/x", "https:///x", "/srv/x\n", "/srv/\x1b[2J", "transport::/x", "http://[::1",
	} {
		if _, err := s.Resolve(t.Context(), repository, "main"); err == nil {
			t.Errorf("%q was taken", repository)
		}
	}
	for _, ref := range []string{
		"", "-x", "--upload-pack=x", "main..dev", "main~1", "main^", "HEAD@{1}", "a b", "a:b", "*", "main\n", "/etc", "a//b", "x.lock", ".x", "a/.b", "@", "\u202emain",
	} {
		_, err := s.Resolve(t.Context(), r.dir, ref)
		wantError(t, err, ErrNoSuchRef)
	}
	if _, err := os.Stat(witness); err == nil {
		t.Error("a program was run")
	}
}

func TestCredentialsAreNotShown(t *testing.T) {
	for url, want := range map[string]string{
		"https://user:s3cret@127.0.0.1:1/x.git?token=s3cret": "https://127.0.0.1:1/x.git",
		"https://s3cret@127.0.0.1:1/x.git":                   "https://127.0.0.1:1/x.git",
		"ssh://git:s3cret@127.0.0.1:1/x.git":                 "ssh://git@127.0.0.1:1/x.git",
	} {
		s, told := newStoreIn(t, filepath.Join(t.TempDir(), "root"))
		_, err := s.Resolve(t.Context(), url, "main")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
		if text := err.Error() + told.text(); strings.Contains(text, "s3cret") {
			t.Errorf("shown: %s", text)
		}
	}
}

func TestWhatAReleaseCannotHaveIsRefusedBeforeItIsMade(t *testing.T) {
	sub := newRepo(t)
	for name, c := range map[string]struct {
		plant func(r repo)
		want  error
		text  string
	}{
		"submodule": {func(r repo) { r.git("submodule", "--quiet", "add", sub.dir, "sub") }, ErrUnsupported, "submodules"},
		"gitlink alone": {func(r repo) {
			r.git("update-index", "--add", "--cacheinfo", "160000,"+sub.git("rev-parse", "HEAD")+",x")
		}, ErrUnsupported, "submodules"},
		"lfs":              {func(r repo) { r.write("frontend/img/.gitattributes", "# images\n*.png filter=lfs diff=lfs -text\n") }, ErrUnsupported, "frontend/img/.gitattributes"},
		"lfs in a macro":   {func(r repo) { r.write(".gitattributes", "[attr]big filter=lfs\n*.bin big\n") }, ErrUnsupported, "LFS"},
		"control":          {func(r repo) { r.write("frontend/a\x1b[2Jb", "x") }, ErrUnsafe, "printed"},
		"a record":         {func(r repo) { r.write(recordName, "{}") }, ErrUnsupported, recordName},
		"a link out":       {func(r repo) { r.link("/etc/passwd", "backend/passwd") }, ErrUnsafe, "backend/passwd"},
		"a link up":        {func(r repo) { r.link("../../../../etc/passwd", "backend/passwd") }, ErrUnsafe, "backend/passwd"},
		"no part":          {func(r repo) { r.git("rm", "-rq", "frontend") }, ErrUnsupported, "frontend"},
		"a part as a file": {func(r repo) { r.git("rm", "-rq", "frontend"); r.write("frontend", "x") }, nil, "frontend"},
		"a part as a link": {func(r repo) { r.git("rm", "-rq", "frontend"); r.link("backend", "frontend") }, nil, "frontend"},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newStore(t), newRepo(t)
			c.plant(r)
			if name == "gitlink alone" {
				r.git("commit", "-q", "-m", name)
			} else {
				r.commit(name)
			}
			commit, err := s.Resolve(t.Context(), r.dir, "main")
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Checkout(t.Context(), commit, "", parts)
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

func TestACheckoutIsWhatWasCommitted(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	r.write(".gitattributes", "*.dropped export-ignore\nversion.txt export-subst ident\n*.crlf text eol=crlf\n*.x filter=own\n")
	r.write("backend/a.dropped", "still there")
	r.write("backend/version.txt", "$Format:%H$")
	r.write("backend/dos.crlf", "a\n")
	r.write("backend/a.x", "as it is")
	r.write("backend/日本語.txt", "名前")
	r.link("index.js", "backend/main.js")
	r.commit("attributes")
	d := checkedOut(t, s, r)
	for name, want := range map[string]string{
		"a.dropped": "still there", "version.txt": "$Format:%H$", "dos.crlf": "a\r\n", "a.x": "as it is", "日本語.txt": "名前",
	} {
		if got := read(t, filepath.Join(d.PartDir("backend"), name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(d.PartDir("backend"), "main.js")); err != nil || target != "index.js" {
		t.Errorf("got %q, %v", target, err)
	}
}

func checkedOut(t testing.TB, s *Store, r repo) *Draft {
	t.Helper()
	c, err := s.Resolve(t.Context(), r.dir, "main")
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Checkout(t.Context(), c, "", parts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Discard(); err != nil {
			t.Error(err)
		}
	})
	return &d
}

func TestConfigurationOfOthersRunsNothing(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	witness := filepath.Join(t.TempDir(), "ran")
	run := "sh -c 'touch " + witness + "; cat'"
	home := t.TempDir()
	write(t, filepath.Join(home, ".gitconfig"), "[filter \"own\"]\n\tsmudge = "+run+"\n[core]\n\tfsmonitor = touch "+witness+"\n\tsshCommand = touch "+witness+"\n[uploadpack]\n\tpackObjectsHook = "+run+"\n", 0o644)
	t.Setenv("HOME", home) // as sudo may leave it
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, ".gitconfig"))
	t.Setenv("GIT_SSH_COMMAND", "touch "+witness)
	t.Setenv("GIT_DIR", home)
	t.Setenv("GIT_EXEC_PATH", home)
	r.write(".gitattributes", "*.js filter=own\n")
	t.Setenv("GIT_TRACE", witness)
	plain := repo{t, r.dir}
	for _, name := range []string{"GIT_DIR", "GIT_EXEC_PATH", "GIT_TRACE"} {
		os.Unsetenv(name)
	}
	plain.commit("with a filter")
	// The repository itself is somebody else's, and so is its configuration.
	plain.git("config", "uploadpack.packObjectsHook", run)
	plain.git("config", "core.fsmonitor", "touch "+witness)
	for _, hook := range []string{"post-checkout", "pre-receive", "reference-transaction", "post-upload-pack"} {
		plain.run(".git/hooks/"+hook, "#!/bin/sh\ntouch "+witness+"\n")
	}
	t.Setenv("GIT_DIR", home)
	t.Setenv("GIT_EXEC_PATH", home)
	t.Setenv("GIT_TRACE", witness)
	checkedOut(t, s, plain)
	if _, err := os.Stat(witness); err == nil {
		t.Error("somebody's configuration was followed")
	}
}

func TestARepositoryOfAnotherUserIsRead(t *testing.T) {
	asRoot(t)
	s, r := newStore(t), newRepo(t)
	err := filepath.WalkDir(r.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 65534, 65534)
	})
	if err != nil {
		t.Fatal(err)
	}
	checkedOut(t, s, r)
}

func TestAKilledFetchIsMendedByTheNext(t *testing.T) {
	r := newRepo(t)
	s, told := newStoreIn(t, filepath.Join(t.TempDir(), "root"))
	checkedOut(t, s, r)
	mirror := filepath.Join(s.root, mirrorDir)
	for _, name := range []string{"packed-refs.lock", "HEAD.lock", "config.lock", "refs/heads/main.lock", "shallow.lock", "gc.pid", "objects/pack/tmp_pack_x", "objects/maintenance.lock"} {
		write(t, filepath.Join(mirror, name), "", 0o600)
	}
	write(t, filepath.Join(s.root, spareDir, "HEAD"), "half", 0o600)
	want := r.commit("later")
	if c, err := s.Resolve(t.Context(), r.dir, "main"); err != nil || c.Revision != want {
		t.Fatalf("got %+v, %v", c, err)
	}
	if _, err := os.Stat(filepath.Join(mirror, "objects/pack/tmp_pack_x")); err == nil {
		t.Error("the half of a pack is still there")
	}
	if strings.Contains(told.text(), "anew") {
		t.Errorf("all was fetched again: %s", told.text())
	}
}

func TestADamagedMirrorIsMadeAnew(t *testing.T) {
	for name, damage := range map[string]func(mirror string) error{
		"no HEAD":      func(m string) error { return os.Remove(filepath.Join(m, "HEAD")) },
		"empty config": func(m string) error { return os.Truncate(filepath.Join(m, "config"), 0) },
		"broken config": func(m string) error {
			return os.WriteFile(filepath.Join(m, "config"), []byte("[core"), 0o600)
		},
		"no objects": func(m string) error { return os.RemoveAll(filepath.Join(m, "objects/pack")) },
		"all empty packs": func(m string) error {
			packs, _ := filepath.Glob(filepath.Join(m, "objects/pack/*.pack"))
			for _, pack := range packs {
				if err := os.Chmod(pack, 0o600); err != nil {
					return err
				}
				if err := os.Truncate(pack, 0); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newStore(t), newRepo(t)
			checkedOut(t, s, r)
			if err := damage(filepath.Join(s.root, mirrorDir)); err != nil {
				t.Fatal(err)
			}
			r.commit("later")
			checkedOut(t, s, r)
		})
	}
}

func TestAFetchThatIsEndedLeavesNoProcess(t *testing.T) {
	s := newStore(t)
	// A repository that never answers: git's remote helper waits for it.
	ctx, cancel := context.WithCancelCause(t.Context())
	silent := silentServer(t, cancel)
	_, err := s.Resolve(ctx, "http://"+silent.addr+"/x.git", "main")
	wantError(t, err, errEnough, "fetching http://"+silent.addr)
	await(t, "all of git to end", func() bool { return len(processesIn(t, s.root)) == 0 })
	r := newRepo(t)
	if _, err := s.Resolve(t.Context(), r.dir, "main"); err != nil {
		t.Error(err)
	}
}

func TestTwoFetchesWaitForEachOther(t *testing.T) {
	s, r := newStore(t), newRepo(t)
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := s.Resolve(t.Context(), r.dir, "main")
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestTheConfiguredSSHIsMadeToAskNothing(t *testing.T) {
	s := newStore(t)
	m, err := s.lockMirror(t.Context(), unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	const quiet = " -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15"
	for configured, want := range map[string]string{
		"": "ssh" + quiet, "ssh -i /root/.ssh/deploy": "ssh -i /root/.ssh/deploy" + quiet, "/usr/bin/ssh -4": "/usr/bin/ssh -4" + quiet, "plink -batch": "plink -batch",
	} {
		home := t.TempDir()
		if configured != "" {
			write(t, filepath.Join(home, ".gitconfig"), "[core]\n\tsshCommand = "+configured+"\n", 0o600)
		}
		got, err := m.sshCommand(t.Context(), []string{"HOME=" + home, "GIT_CONFIG_SYSTEM=/dev/null"})
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", configured, got, err, want)
		}
	}
}
