package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// releases is a deploy.root with kept releases of a frontend.
type releases struct {
	t    *testing.T
	root string
}

func newReleases(t *testing.T) releases { return releases{t, shortDir(t)} }

// path is one in a release.
func (r releases) path(release, name string) string {
	return filepath.Join(r.root, "releases", release, name)
}

// add gives a release a file below its static directory.
func (r releases) add(release, name, content string) {
	r.t.Helper()
	r.write(r.path(release, filepath.Join("frontend/.next/static", name)), content)
}

func (r releases) write(path, content string) {
	r.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o444)); err != nil {
		r.t.Fatal(err)
	}
}

func (r releases) link(target, path string) {
	r.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(target, path)); err != nil {
		r.t.Fatal(err)
	}
}

func (r releases) remove(release string) {
	r.t.Helper()
	if err := os.RemoveAll(r.path(release, "")); err != nil {
		r.t.Fatal(err)
	}
}

// kept are the assets as the daemon finds them.
func (r releases) kept() *keptAssets {
	return &keptAssets{releases: filepath.Join(r.root, "releases"), inside: "frontend/.next/static", log: zap.NewNop()}
}

func content(t *testing.T, k *keptAssets, name string) string {
	t.Helper()
	b, err := fs.ReadFile(k, name)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

const notKept = "error: file does not exist"

func TestTheNewestReleaseThatHasAFileGivesIt(t *testing.T) {
	r := newReleases(t)
	r.add("20250101T000000Z-aaa", "both.js", "old")
	r.add("20250101T000000Z-aaa", "old.js", "old only")
	r.add("20250301T000000Z-bbb", "both.js", "new")
	r.write(r.path("20250401T000000Z-ccc", "backend/dist/index.js"), "a release without a frontend")
	r.add(".building-20250501T000000Z-ddd", "both.js", "half")
	r.write(filepath.Join(r.root, "releases", "notes.txt"), "not a release")
	k := r.kept()
	for name, want := range map[string]string{"both.js": "new", "old.js": "old only", "none.js": notKept} {
		if got := content(t, k, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	r.remove("20250301T000000Z-bbb") // pruned a moment ago, still in the list
	if got := content(t, k, "both.js"); got != "old" {
		t.Errorf("after pruning: %q", got)
	}
	r.add("20250601T000000Z-eee", "both.js", "newest")
	await(t, "the new release to be seen", func() bool { return content(t, k, "both.js") == "newest" })
}

// What a build leaves behind is not ours: it must not lead out of its static
// directory, nor make us wait.
func TestNothingOutsideOfAReleasesAssetsIsGiven(t *testing.T) {
	r := newReleases(t)
	r.add("1-one", "a.js", "code")
	r.add("1-one", "chunks/b.js", "code")
	r.write(r.path("1-one", "frontend/.next/BUILD_ID"), "secret")
	r.write(r.path("1-one", "backend/config.js"), "secret")
	static := r.path("1-one", "frontend/.next/static")
	for name, target := range map[string]string{
		"passwd.js": "/etc/passwd", "up.js": "../BUILD_ID", "far.js": "../../../backend/config.js", "dir": "../../../backend",
		"self.js": "self.js", "dangling.js": "nowhere", "absolute.js": r.path("1-one", "backend/config.js"),
	} {
		r.link(target, filepath.Join(static, name))
	}
	if err := syscall.Mkfifo(filepath.Join(static, "pipe.js"), 0o666); err != nil {
		t.Fatal(err)
	}
	// Releases whose static directory, or one above it, leads elsewhere.
	r.link("../../backend", r.path("2-two", "frontend/.next/static"))
	r.write(r.path("2-two", "backend/config.js"), "secret")
	r.link("/etc", r.path("3-three", "frontend/.next/static"))
	r.link("../1-one/backend", r.path("4-four", "frontend"))
	r.link("1-one", filepath.Join(r.root, "releases", "5-five"))
	k := r.kept()
	for _, name := range []string{
		"passwd.js", "passwd", "up.js", "far.js", "dir/config.js", "config.js", "self.js", "dangling.js", "absolute.js", "pipe.js",
		"chunks", ".", "", "..", "../BUILD_ID", "/etc/passwd", "chunks/../../BUILD_ID", "a.js/", "a.js/x", "a\x00.js", strings.Repeat("x", 300), strings.Repeat("x/", 3000),
	} {
		if got := content(t, k, name); got != notKept {
			t.Errorf("%.40q gave %q", name, got)
		}
	}
	if got := content(t, k, "chunks/b.js"); got != "code" {
		t.Errorf("chunks/b.js: %q", got)
	}
	if dirs := k.known.Load().dirs; len(dirs) != 1 {
		t.Errorf("looked into %v", dirs)
	}
}

func TestAFloodOfMissesReadsTheListOnce(t *testing.T) {
	r := newReleases(t)
	for i := range maxAssetReleases + 10 {
		r.add(fmt.Sprintf("%03d-rev", i), "a.js", "code")
	}
	k := r.kept()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				if got := content(t, k, fmt.Sprint("none-", i)); got != notKept {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	wg.Wait()
	first := k.known.Load().read
	content(t, k, "none")
	if dirs := k.known.Load().dirs; len(dirs) != maxAssetReleases || !strings.Contains(dirs[0], fmt.Sprintf("%03d-rev", maxAssetReleases+9)) {
		t.Errorf("%d directories, the first %s", len(dirs), dirs[0])
	}
	if got := k.known.Load().read.Sub(first); got != 0 && got < assetListAge {
		t.Errorf("listed again after %s", got)
	}
}

// A directory may be slow to read. Who finds a file in what is known does not
// wait for it; who finds none must, for the newest release may have it.
func TestAFileThatIsKnownWaitsForNoList(t *testing.T) {
	r := newReleases(t)
	r.add("1-one", "a.js", "one")
	k := r.kept()
	content(t, k, "a.js")
	r.add("2-two", "b.js", "two")
	k.known.Store(&assetList{dirs: k.known.Load().dirs, read: time.Now().Add(-time.Hour)})
	slow := make(chan struct{})
	k.listing.DoChan("", func() (any, error) {
		<-slow
		return k.readAgain()
	})
	found, missed := make(chan string, 8), make(chan string, 8)
	for range 8 {
		go func() { found <- content(t, k, "a.js") }()
		go func() { missed <- content(t, k, "b.js") }()
	}
	await(t, "what is known", func() bool { return len(found) == 8 })
	if len(missed) > 0 {
		t.Errorf("before the list was read: %q", <-missed)
	}
	close(slow)
	for range 8 {
		if one, two := <-found, <-missed; one != "one" || two != "two" {
			t.Errorf("got %q and %q", one, two)
		}
	}
}

func TestNoFileOfAReleaseStaysOpen(t *testing.T) {
	r := newReleases(t)
	r.add("1-one", "a.js", "code")
	r.link("/etc/passwd", filepath.Join(r.path("1-one", "frontend/.next/static"), "out.js"))
	k := r.kept()
	content(t, k, "a.js")
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would close what we forgot
	before := openFiles(t)
	for range 100 {
		k.known.Store(nil)
		for _, name := range []string{"a.js", "none.js", "out.js", "."} {
			content(t, k, name)
		}
	}
	if now := openFiles(t); now > before {
		t.Errorf("%d files are open, %d before", now, before)
	}
}

func openFiles(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && strings.HasPrefix(target, "/") {
			n++
		}
	}
	return n
}

func TestReleasesThatCannotBeReadAreToldOfOnce(t *testing.T) {
	core, log := observer.New(zap.WarnLevel)
	r := newReleases(t)
	k := r.kept()
	k.log = zap.New(core)
	for range 20 {
		k.known.Store(nil) // as after a while
		content(t, k, "a.js")
	}
	lines := log.TakeAll()
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0].ContextMap()), "deploy.root") {
		t.Errorf("the log says %v", lines)
	}
}

// nextSlot is a slot as Next.js is one: it has the files of its own build only.
func nextSlot(t *testing.T, revision string) string {
	own := "/_next/static/chunks/" + revision + ".js"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == own:
			fmt.Fprint(w, revision+" from the slot")
		case strings.HasPrefix(r.URL.Path, "/_next/"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "not found in "+revision)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id":%q,"slot":%q}`, r.Header.Get("X-Request-Id"), revision)
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func frontendWith(address, blue, green, root, more string) string {
	return services(service("frontend", address, blue, green), more) + "deploy: {root: " + root + "}\n"
}

const nextAssets = "    assets: {path: /_next/static/}\n"

func TestOpenTabsFindTheirFilesAfterASwitch(t *testing.T) {
	r := newReleases(t)
	r.add("20250101T000000Z-one", "chunks/one.js", "one from its release")
	r.add("20250201T000000Z-two", "chunks/two.js", "two from its release")
	address := freeAddress(t)
	yaml := frontendWith(address, nextSlot(t, "one"), nextSlot(t, "two"), r.root, nextAssets)
	w := newWorld(t, yaml+"access_log: {enabled: true}\n")
	expect := func(chunk string, status int, body string) {
		t.Helper()
		if s, b, err := get(address, "/_next/static/chunks/"+chunk+".js"); s != status || b != body {
			t.Errorf("%s.js: %d %q %v, want %d %q", chunk, s, b, err, status, body)
		}
	}
	expect("one", 200, "one from the slot")
	w.switchTo(switcher.Green)
	expect("one", 200, "one from its release")
	expect("two", 200, "two from the slot")
	expect("three", 404, "not found in two")
	w.switchTo(switcher.Blue) // and a rollback has the same the other way round
	expect("two", 200, "two from its release")
	if !w.log.contains(`"assets":true`) {
		t.Error("the access log does not tell of the kept file")
	}
	for _, slot := range w.status().Services[0].Slots {
		if slot.Errors != 0 {
			t.Errorf("%s counts %d errors", slot.Name, slot.Errors)
		}
	}
}

func (w *world) switchTo(slot switcher.Slot) {
	w.Helper()
	if _, err := w.client.Switch(w.Context(), control.SwitchRequest{To: slot, Force: true}); err != nil {
		w.Fatal(err)
	}
}

// While a service is under load its assets are turned on, moved and turned off,
// and its targets and listeners are left alone.
func TestAssetsFollowTheConfiguration(t *testing.T) {
	first, second := newReleases(t), newReleases(t)
	first.add("1-old", "chunks/old.js", "first")
	second.add("1-old", "chunks/old.js", "second")
	second.write(second.path("1-old", "web/out/chunks/old.js"), "elsewhere")
	address, blue, green := freeAddress(t), nextSlot(t, "new"), nextSlot(t, "newer")
	w := newWorld(t, frontendWith(address, blue, green, first.root, ""))
	stop := w.load(address)
	for _, step := range []struct{ root, more, body string }{
		{first.root, nextAssets, "first"},
		{second.root, nextAssets, "second"},
		{second.root, "    build: {directory: web}\n    assets: {path: /_next/static/, directory: out}\n", "elsewhere"},
		{second.root, "    assets: {path: /other/}\n", "not found in new"},
		{second.root, "", "not found in new"},
		{first.root, nextAssets, "first"},
	} {
		if about := w.change(frontendWith(address, blue, green, step.root, step.more)); about.Rejected != "" || len(about.NeedsRestart) != 0 {
			t.Fatalf("%q: rejected %q, restart for %v", step.more, about.Rejected, about.NeedsRestart)
		}
		if _, body, err := get(address, "/_next/static/chunks/old.js"); body != step.body {
			t.Errorf("with %q: %q %v, want %q", step.more, body, err, step.body)
		}
	}
	if r := stop(); r.Failed > 0 || r.Good == 0 {
		t.Errorf("%v", r)
	}
}

// load keeps the service busy until the returned function is called.
func (w *world) load(address string) (stop func() load.Report) {
	result := make(chan load.Report, 1)
	ctx, cancel := context.WithCancel(w.Context())
	go func() {
		result <- load.New(load.Options{
			Addr: address, Clients: 4, PostPath: "/", GetPath: "/", Slots: []string{"new", "newer"},
		}).Run(ctx)
	}()
	return func() load.Report {
		cancel()
		return <-result
	}
}
