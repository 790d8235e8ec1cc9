package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/sdbox"
	"charactier-proxy/switcher"
)

const sampleFrontend = "../../../testdata/sample-frontend"

// buildFrontend makes a release with a built frontend and returns the frontend's
// directory in it.
func buildFrontend(t *testing.T, root, release, revision string) string {
	t.Helper()
	program(t, "npm", "npm")
	dir := filepath.Join(root, "releases", release, "frontend")
	if err := os.CopyFS(dir, os.DirFS(sampleFrontend)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"ci", "--offline"}, {"run", "build"}} {
		cmd := exec.Command("npm", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "REVISION="+revision)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// startFrontend runs a built frontend as a slot and returns its address.
func startFrontend(t *testing.T, dir, slot, backend string) string {
	t.Helper()
	addr := freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, "node", "nodejs"), "server.js")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PORT="+port, "SLOT="+slot, "BACKEND_URL=http://"+backend)
	start(t, "frontend "+slot, cmd).awaitListening(addr)
	return addr
}

// product is a backend and a frontend behind one daemon.
type product struct {
	*daemon
	t        *testing.T
	root     string
	frontend string // where it is reached
}

func startProduct(t *testing.T) *product {
	s := &product{t: t, root: t.TempDir(), frontend: freeAddr(t)}
	old := buildFrontend(t, s.root, "20250101T000000Z-r-blue", "r-blue")
	next := buildFrontend(t, s.root, "20250201T000000Z-r-green", "r-green")
	s.daemon = newDaemon(t, freeAddr(t), "", "")
	s.configure(fmt.Sprintf(`services:
  backend:
    listen: %s
    slots: {blue: {address: %q, unit: ""}, green: {address: %q, unit: ""}}
    health: {interval: 200ms}
  frontend:
    listen: %s
    slots: {blue: {address: %q, unit: ""}, green: {address: %q, unit: ""}}
    health: {path: /healthz, interval: 200ms}
    assets: {path: /_next/static/, directory: .next/static}
deploy: {root: %s}
admin: {listen: %s}
control: {group: ""}
`, s.addr, startSlot(t, "blue").addr, startSlot(t, "green").addr,
		s.frontend, startFrontend(t, old, "blue", s.addr), startFrontend(t, next, "green", s.addr), s.root, s.admin))
	s.start()
	return s
}

// page is what a browser learns from a page of the frontend.
type page struct {
	files []string // that it loads or may load later
	props struct {
		Slot, Revision string
		Backend        struct {
			Status         int
			Slot, Revision string
		}
	}
}

var (
	fileInPage = regexp.MustCompile(`(?:href|src)="(/_next/static/[^"]+)"`)
	fileInCode = regexp.MustCompile(`import\("(/_next/static/[^"]+)"\)`)
	nextData   = regexp.MustCompile(`__NEXT_DATA__" type="application/json">(.*?)</script>`)
)

func (s *product) page(path string) (page, error) {
	var p page
	status, _, body, err := s.get(path)
	if err != nil || status != http.StatusOK {
		return p, fmt.Errorf("GET %s: %d %s %w", path, status, body, err)
	}
	for _, m := range fileInPage.FindAllStringSubmatch(body, -1) {
		p.files = append(p.files, m[1])
	}
	var data struct{ Props any }
	data.Props = &p.props
	return p, json.Unmarshal([]byte(nextData.FindStringSubmatch(body)[1]), &data)
}

func (s *product) get(path string) (status int, h http.Header, body string, err error) {
	resp, err := http.Get("http://" + s.frontend + path)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// open is a tab: its page with the files that it has not loaded yet.
func (s *product) open() page {
	s.t.Helper()
	tab, err := s.page("/")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range tab.files {
		_, _, code, err := s.get(file)
		if err != nil {
			s.t.Fatal(err)
		}
		if lazy := fileInCode.FindStringSubmatch(code); lazy != nil {
			return page{append(tab.files, lazy[1]), tab.props}
		}
	}
	s.t.Fatalf("no file is loaded later, of %v", tab.files)
	return tab
}

// answers are what the files of a page get, without what belongs to one answer.
func (s *product) answers(files []string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, file := range files {
		status, h, body, err := s.get(file)
		if err != nil {
			s.t.Fatal(err)
		}
		all[file] = fmt.Sprint(status, body, h.Values("Content-Type"), h.Values("Cache-Control"), h.Values("ETag"), h.Values("Last-Modified"))
	}
	return all
}

// readers load pages that the frontend renders from what the backend says, until
// they are told to leave.
type readers struct {
	stop          chan struct{}
	wg            sync.WaitGroup
	pages, failed atomic.Int64
	problem       atomic.Value
}

func (s *product) readers(n int) *readers {
	v := &readers{stop: make(chan struct{})}
	for range n {
		v.wg.Go(func() {
			for {
				select {
				case <-v.stop:
					return
				default:
				}
				if _, err := s.page("/ssr"); err != nil {
					v.failed.Add(1)
					v.problem.Store(err.Error())
				}
				v.pages.Add(1)
			}
		})
	}
	return v
}

func (v *readers) leave(t *testing.T) {
	t.Helper()
	close(v.stop)
	v.wg.Wait()
	if v.failed.Load() > 0 || v.pages.Load() == 0 {
		t.Errorf("%d pages, %d failed: %v", v.pages.Load(), v.failed.Load(), v.problem.Load())
	}
}

// Backend and frontend move together, pages are rendered all the while, and a tab
// of the release before finds each of its files as it was.
func TestTabsOutliveASwitchOfBackendAndFrontend(t *testing.T) {
	s := startProduct(t)
	tab := s.open()
	before := s.answers(tab.files)
	if tab.props.Revision != "r-blue" || len(before) != 6 {
		t.Fatalf("the tab is of %q and needs %d files", tab.props.Revision, len(before))
	}
	v := s.readers(4)
	s.switchTo(switcher.Green, patience)
	if p, err := s.page("/ssr"); err != nil || p.props.Revision != "r-green" || p.props.Backend.Revision != "r-green" {
		t.Errorf("after the switch: %+v %v", p.props, err)
	}
	after := s.answers(tab.files)
	for _, shared := range s.open().files { // which the new slot has too, built at another time
		delete(before, shared)
		delete(after, shared)
	}
	if diff := cmp.Diff(before, after); diff != "" || len(after) != 5 {
		t.Errorf("files of the old tab (-before +after):\n%s", diff)
	}
	s.switchTo(switcher.Blue, patience)
	s.switchTo(switcher.Green, patience)
	v.leave(t)

	if err := os.RemoveAll(filepath.Join(s.root, "releases", "20250101T000000Z-r-blue")); err != nil {
		t.Fatal(err)
	}
	if status, _, body, err := s.get(tab.files[len(tab.files)-1]); status != http.StatusNotFound || fileInPage.FindString(body) == "" {
		t.Errorf("a file of a release that is gone: %d %q %v, want the slot's own page", status, body, err)
	}
}

// The unit of docs/frontend.md, as it stands there, runs a release that it cannot
// change, by the slot's link, and has a cache of its own in it.
func TestSystemdTheFrontendsUnitOfTheDocsRuns(t *testing.T) {
	text, err := os.ReadFile("../../../docs/frontend.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```ini\n")
	unit, _, _ := strings.Cut(rest, "```")
	program(t, "node", "nodejs")
	root := t.TempDir()
	dir := buildFrontend(t, root, "1-r-one", "r-one")
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, ".next/cache"), 0o755), os.Chmod(root, 0o755), os.Mkdir(filepath.Join(root, "frontend"), 0o755),
		os.Symlink("../releases/1-r-one/frontend", filepath.Join(root, "frontend/blue")),
	); err != nil {
		t.Fatal(err)
	}
	const name = "charactier-frontend-blue.service"
	box := sdbox.Boot(t, sdbox.Options{
		Binds: map[string]string{"/srv/charactier": root},
		Files: map[string]string{
			"/etc/sysusers.d/frontend.conf": "u charactier-frontend - \"Charactier frontend\"\n",
			"/etc/systemd/system/" + name:   strings.Replace(unit, "node_modules/next/dist/bin/next start", "server.js", 1),
			"/etc/systemd/system/" + name + ".d/test.conf": "[Service]\n" +
				"ExecStartPre=/bin/sh -c 'echo kept >.next/cache/image; ! echo changed >server.js'\n",
		},
	})
	box.Run("systemd-sysusers")
	box.Run("systemctl", "start", name)
	box.Eventually("the frontend answers", func() error {
		conn, err := box.Dial(t.Context(), "tcp", "127.0.0.1:3000")
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /healthz HTTP/1.0\r\nHost: a\r\n\r\n")
		answer, err := io.ReadAll(conn)
		if !strings.Contains(string(answer), `"revision":"r-one"`) {
			return fmt.Errorf("it says %q, %w", answer, err)
		}
		return nil
	})
	if got := box.Read("/var/cache/charactier-frontend-blue/image"); got != "kept\n" {
		t.Errorf("the slot's cache holds %q", got)
	}
}
