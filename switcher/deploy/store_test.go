package deploy

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"charactier-proxy/switcher"
)

// workshop is a store with a repository of its own. Its commands run as they
// are: what keeps builds apart is systemd's, and tested with it.
type workshop struct {
	*Store
	t    *testing.T
	repo string
	svc  Service

	mu    sync.Mutex
	lines []string
	ran   []Command
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	w := &workshop{t: t, repo: t.TempDir()}
	root := filepath.Join(t.TempDir(), "charactier")
	w.Store, err = OpenStore(StoreOptions{Root: root, Repository: w.repo, Run: func(ctx context.Context, c Command) error {
		w.ran = append(w.ran, c)
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.Line)
		cmd.Dir, cmd.Env = c.Dir, append(os.Environ(), c.Environment...)
		out, err := os.OpenFile(c.Output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		return cmd.Run()
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.svc = Service{
		Name: "backend", Directory: "backend", User: me.Username, Timeout: 1 << 40,
		Commands: []string{"echo compiling $REVISION", "mkdir -p dist && cp src.txt dist/out.txt"},
		Slots:    map[switcher.Slot]SlotConfig{blue: {Link: filepath.Join(root, "backend", "blue")}},
	}
	w.git("init", "-q", "-b", "main")
	w.commit("one")
	return w
}

func (w *workshop) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", w.repo, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit makes a revision whose source is text.
func (w *workshop) commit(text string) string {
	w.t.Helper()
	dir := filepath.Join(w.repo, "backend")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "src.txt"), []byte(text), 0o644)); err != nil {
		w.t.Fatal(err)
	}
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "Say "+text)
	return w.git("rev-parse", "HEAD")
}

func (w *workshop) say(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

// make brings a source to a sealed release.
func (w *workshop) make(src Source) (Origin, error) {
	w.t.Helper()
	o, err := w.Resolve(w.t.Context(), src)
	if err != nil {
		return o, err
	}
	if err := w.Fetch(w.t.Context(), o, o.Release, []Service{w.svc}); err != nil {
		return o, err
	}
	svc := w.svc
	if o.Built {
		svc.Commands = nil
	}
	if err := w.Build(w.t.Context(), o.Release, svc, filepath.Join(w.t.TempDir(), "log"), w.say); err != nil {
		return o, err
	}
	return o, w.Seal(w.t.Context(), o.Release)
}

func (w *workshop) read(release, path string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.opts.Root, "releases", release, path))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func TestARevisionBecomesARelease(t *testing.T) {
	w := newWorkshop(t)
	o, err := w.make(Source{Ref: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.read(o.Release, "backend/dist/out.txt"); got != "one" {
		t.Errorf("the release was built from %q", got)
	}
	if o.Subject != "Say one" || !strings.HasSuffix(o.Release, "-"+short(o.Revision)) {
		t.Errorf("Resolve = %+v", o)
	}
	if want := "compiling " + o.Revision; !strings.Contains(strings.Join(w.lines, "\n"), want) {
		t.Errorf("the build said %q, want %q among it", w.lines, want)
	}
	link := w.svc.Slots[blue].Link
	if err := w.Point(link, o.Release, w.svc); err != nil {
		t.Fatal(err)
	}
	if aim, err := w.Pointed(link); err != nil || aim.Release != o.Release || aim.Revision != o.Revision || aim.Target == "" {
		t.Errorf("Pointed = %+v, %v", aim, err)
	}
	again, err := w.Resolve(t.Context(), Source{Release: short(o.Revision)})
	if err != nil || again.Release != o.Release || !again.Built {
		t.Errorf("by a part of its name: %+v, %v", again, err)
	}
}

func TestEachCommandOfABuildIsBounded(t *testing.T) {
	w := newWorkshop(t)
	w.svc.MemoryMax, w.svc.CPUWeight, w.svc.IOWeight, w.svc.TasksMax = 1, 2, 3, 4
	if _, err := w.make(Source{Ref: "main"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.ran {
		if c.MemoryMax != 1 || c.CPUWeight != 2 || c.IOWeight != 3 || c.TasksMax != 4 || c.Timeout <= 0 {
			t.Errorf("%s ran with %+v", c.Line, c)
		}
	}
	if len(w.ran) != len(w.svc.Commands) {
		t.Errorf("%d commands ran", len(w.ran))
	}
}

func TestALinkIsLedBackToWhereItWas(t *testing.T) {
	w := newWorkshop(t)
	o, err := w.make(Source{Ref: "main"})
	if err != nil {
		t.Fatal(err)
	}
	link := w.svc.Slots[blue].Link
	for _, before := range []string{"", "/home/ops/charactier/backend"} {
		if err := w.Restore(link, before); err != nil {
			t.Fatal(err)
		}
		aim, err := w.Pointed(link)
		if err != nil || aim != (Aim{Target: before}) {
			t.Errorf("before: %+v, %v", aim, err)
		}
		if err := errors.Join(w.Point(link, o.Release, w.svc), w.Restore(link, aim.Target), w.Restore(link, aim.Target)); err != nil {
			t.Fatal(err)
		}
		if target, _ := os.Readlink(link); target != before {
			t.Errorf("it leads to %q, before to %q", target, before)
		}
	}
}

func TestTheRevisionThatWasResolvedIsFetched(t *testing.T) {
	w := newWorkshop(t)
	o, err := w.Resolve(t.Context(), Source{Ref: "main"})
	if err != nil {
		t.Fatal(err)
	}
	w.commit("two") // while the deploy is between two steps
	if err := w.Fetch(t.Context(), o, o.Release, []Service{w.svc}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Build(t.Context(), o.Release, w.svc, filepath.Join(t.TempDir(), "log"), w.say), w.Seal(t.Context(), o.Release)); err != nil {
		t.Fatal(err)
	}
	if got := w.read(o.Release, "backend/dist/out.txt"); got != "one" {
		t.Errorf("built from %q, want the revision that was asked for", got)
	}
}

func TestABuildThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	w := newWorkshop(t)
	w.svc.Commands = []string{"echo Error: no such module >&2; exit 3"}
	o, err := w.make(Source{Ref: "main"})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(strings.Join(w.lines, "\n"), "no such module") {
		t.Fatalf("make = %v, and said %q", err, w.lines)
	}
	var failed interface{ Output() []string }
	if !errors.As(err, &failed) || !slices.Contains(failed.Output(), "Error: no such module") {
		t.Errorf("the error does not have the last lines: %v", err)
	}
	if sealed, err := w.Sealed(o.Release); sealed || err != nil {
		t.Errorf("Sealed = %t, %v", sealed, err)
	}
	if err := w.Discard(o.Release); err != nil {
		t.Fatal(err)
	}
	if all, err := w.List(); len(all) > 0 || err != nil {
		t.Errorf("List = %v, %v", all, err)
	}
}

func TestADirectoryBuiltElsewhereBecomesARelease(t *testing.T) {
	w := newWorkshop(t)
	dir := filepath.Join(t.TempDir(), "built")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "backend", "dist"), 0o755), os.WriteFile(filepath.Join(dir, "backend", "dist", "out.txt"), []byte("ci"), 0o644)); err != nil {
		t.Fatal(err)
	}
	w.svc.Commands = []string{"false"} // which is not run
	o, err := w.make(Source{Artifact: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.read(o.Release, "backend/dist/out.txt"); got != "ci" {
		t.Errorf("the release holds %q", got)
	}
}

func TestTheNextBuildBeginsWithWhatTheLastOneHad(t *testing.T) {
	w := newWorkshop(t)
	w.svc.Reuse = []string{"node_modules"}
	w.svc.Commands = append(w.svc.Commands, "ls node_modules 2>/dev/null; mkdir -p node_modules && touch node_modules/express")
	if _, err := w.make(Source{Ref: "main"}); err != nil {
		t.Fatal(err)
	}
	w.commit("two")
	w.lines = nil
	if _, err := w.make(Source{Ref: "main"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(w.lines, "\n"), "express") {
		t.Errorf("the second build found nothing of the first: %q", w.lines)
	}
}

func TestServicesAreBuiltTogetherWithWhatTheyShare(t *testing.T) {
	w := newWorkshop(t)
	other := w.svc
	other.Name, other.Directory = "frontend", "frontend"
	if err := os.CopyFS(filepath.Join(w.repo, "frontend"), os.DirFS(filepath.Join(w.repo, "backend"))); err != nil {
		t.Fatal(err)
	}
	w.commit("both")
	services := []Service{w.svc, other}
	for i := range services {
		shared := filepath.Join(w.opts.Root, "shared", services[i].Name, ".env")
		if err := errors.Join(os.MkdirAll(filepath.Dir(shared), 0o755), os.WriteFile(shared, []byte("of "+services[i].Name), 0o644)); err != nil {
			t.Fatal(err)
		}
		services[i].Shared = []string{".env"}
	}
	o, err := w.Resolve(t.Context(), Source{Ref: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Fetch(t.Context(), o, o.Release, services); err != nil {
		t.Fatal(err)
	}
	for _, svc := range services {
		if err := w.Build(t.Context(), o.Release, svc, filepath.Join(t.TempDir(), "log"), w.say); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(t.Context(), o.Release); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"backend/dist/out.txt": "both", "backend/.env": "of backend", "frontend/dist/out.txt": "one", "frontend/.env": "of frontend",
	} {
		if got := w.read(o.Release, path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}

	services[1].User = "somebody-else"
	again, err := w.Resolve(t.Context(), Source{Ref: "main"})
	if err == nil {
		again.Release = "20300101T000000Z-" + again.Revision[:12]
		err = w.Fetch(t.Context(), again, again.Release, services)
	}
	if err != nil {
		t.Fatal(err)
	}
	err = w.Build(t.Context(), again.Release, services[0], filepath.Join(t.TempDir(), "log"), w.say)
	if err == nil || !strings.Contains(err.Error(), "one release has one builder") {
		t.Errorf("two builders: %v", err)
	}
	if err := w.Discard(again.Release); err != nil {
		t.Error(err)
	}
}

func TestFollowFileTellsEveryLineOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	stop := followFile(path, func(line string) { got = append(got, line) })
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"one\ntw", "o\n", "\n", "without an end"} {
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	stop()
	if want := "one|two|without an end"; strings.Join(got, "|") != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestAnArtifactThatChangesMeanwhileIsRefused(t *testing.T) {
	w := newWorkshop(t)
	dir := filepath.Join(t.TempDir(), "built")
	write := func(text string) error {
		return errors.Join(os.MkdirAll(filepath.Join(dir, "backend"), 0o755), os.WriteFile(filepath.Join(dir, "backend", "out.txt"), []byte(text), 0o644))
	}
	if err := write("one"); err != nil {
		t.Fatal(err)
	}
	o, err := w.Resolve(t.Context(), Source{Artifact: dir})
	if err == nil {
		err = write("two")
	}
	if err != nil {
		t.Fatal(err)
	}
	err = w.Fetch(t.Context(), o, o.Release, []Service{w.svc})
	if err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("Fetch = %v", err)
	}
	if names, err := w.Sweep(); len(names) > 0 || err != nil {
		t.Errorf("left in drafts: %v, %v", names, err)
	}
}

func TestADirectoryInTheLinksPlaceIsSaidSo(t *testing.T) {
	w := newWorkshop(t)
	link := w.svc.Slots[blue].Link
	if err := os.MkdirAll(link, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := w.Pointed(link)
	if err == nil || !strings.Contains(err.Error(), "not a symbolic link") || !strings.Contains(hintOf(err), "ln -s") {
		t.Errorf("Pointed = %v", err)
	}
}
