package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/health"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// fakeWorld answers what a test sets.
type fakeWorld struct {
	status control.Status
	err    error
	units  map[string]Unit
	owner  map[string]Owner
	peers  map[string][]Process
	free   uint64
}

func (w *fakeWorld) Status(context.Context) (control.Status, error) { return w.status, w.err }

func (w *fakeWorld) Unit(_ context.Context, name string) (Unit, error) { return w.units[name], nil }

func (w *fakeWorld) Owner(address string) Owner              { return w.owner[address] }
func (w *fakeWorld) Peers(address string) ([]Process, error) { return w.peers[address], nil }
func (w *fakeWorld) Nginx(context.Context) Nginx             { return Nginx{Missing: true} }
func (w *fakeWorld) Clock() Clock                            { return Clock{Synchronised: true} }
func (w *fakeWorld) User(string) error                       { return nil }
func (w *fakeWorld) Directory(pid int) string                { return map[int]string{31: "/there"}[pid] }
func (w *fakeWorld) Gone(pid int) string                     { return map[int]string{31: "/removed"}[pid] }
func (w *fakeWorld) Texts() []Text                           { return nil }
func (w *fakeWorld) Disk(string) (free, inodes, all uint64, err error) {
	return w.free, 1, 1000, nil
}
func (w *fakeWorld) Repository(context.Context, string, string) error { return errors.New("away") }

// gather asks a fake world with a real directory below it.
func gather(t *testing.T, w *fakeWorld, yaml string, deep bool) *Facts {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	write(t, file, strings.ReplaceAll(yaml, "DIR", dir))
	return Gather(t.Context(), Sources{
		Now: time.Now(), UID: 1000, PID: 30, Deep: deep,
		Config: file, ConfigNamed: true, StateDir: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "sock"),
		Daemon: w, Units: w, Processes: w, Machine: w,
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestTheFactsAreThoseOfTheMachine(t *testing.T) {
	slot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Keep-Alive", "timeout=5") }))
	defer slot.Close()
	address := strings.TrimPrefix(slot.URL, "http://")
	w := &fakeWorld{
		status: control.Status{Services: []control.ServiceStatus{{
			Name: "backend", Active: switcher.Green, Slots: []control.SlotStatus{{Name: switcher.Green, Streams: 1}},
		}}},
		units: map[string]Unit{"charactier-backend-green.service": {Load: "loaded", Active: "active"}, "charactier-backend.service": {Load: "loaded", Enabled: "enabled"}},
		owner: map[string]Owner{address: {Process: Process{PID: 31}}},
		peers: map[string][]Process{address: {{PID: 30, Command: "we"}, {PID: 32, Command: "node"}}},
	}
	f := gather(t, w, `
deploy: {root: DIR/root, repository: DIR/repo, log: DIR/nowhere/deploy.log}
services:
  backend:
    listen: 127.0.0.1:5080
    shared: [.env]
    slots:
      blue: {address: "127.0.0.1:1"}
      green: {address: "`+address+`", link: DIR/green}
`, true)
	s := f.Services[0]
	green := s.Slots[1]
	if s.Active != switcher.Green || !green.Active || !green.Busy || green.Unit.Name != "charactier-backend-green.service" {
		t.Errorf("green is %+v", green)
	}
	if len(green.Peers) != 1 || green.Peers[0].PID != 32 || green.Gone != "/removed" || green.Runs != "/there" {
		t.Errorf("green's processes: %+v, gone %q, in %q", green.Peers, green.Gone, green.Runs)
	}
	if a := green.Answer; !a.Healthy || a.Status != 200 || a.KeepIdle != 5*time.Second {
		t.Errorf("green answers %+v", a)
	}
	if a := s.Slots[0].Answer; !a.Refused || a.Healthy {
		t.Errorf("blue answers %+v", a)
	}
	if s.Old.Name != "charactier-backend.service" || s.Old.Enabled != "enabled" {
		t.Errorf("the unit of before is %+v", s.Old)
	}
	if !s.Shared[0].Missing() || !green.Link.missing() || !f.Deploy.Missing() {
		t.Errorf("nothing is there, but: %+v, %+v, %+v", s.Shared[0], green.Link, f.Deploy)
	}
	if len(f.Disks) != 3 || f.Disks[1].Path != filepath.Dir(f.ConfigPath) || !f.Disks[0].Few {
		t.Errorf("disks: %+v", f.Disks)
	}
	if f.Repository.Err == nil {
		t.Error("the repository was not asked")
	}
}

func TestADeadDaemonsStateFileSaysWhatIsActive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	store, err := switcher.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	state := switcher.State{Generation: 1, Services: map[string]switcher.ServiceState{"backend": {Active: switcher.Green}}}
	if err := errors.Join(store.Save(state), store.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "state.json.damaged-1"), "x")
	w := &fakeWorld{err: unreachable("nobody")}
	f := Gather(t.Context(), Sources{Config: dir + "/none.yaml", StateDir: dir, Socket: dir + "/sock", Daemon: w, Units: w, Processes: w, Machine: w})
	if f.ConfigErr != nil || f.State.Err != nil || f.Services[0].Active != switcher.Green || len(f.State.Damaged) != 1 {
		t.Errorf("config %v, state %+v, active %s", f.ConfigErr, f.State, f.Services[0].Active)
	}
}

func TestABadConfigurationIsAFactAndNotTheEnd(t *testing.T) {
	f := gather(t, &fakeWorld{}, "services: {backend: {listne: 1}}", false)
	var problems config.Problems
	if !errors.As(f.ConfigErr, &problems) || len(f.Services) != 1 {
		t.Errorf("%v, %d services", f.ConfigErr, len(f.Services))
	}
}

func TestAnswersAreToldApart(t *testing.T) {
	const route = "/api/v1/health"
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		is     func(Answer) bool
	}{
		"healthy":  {func(http.ResponseWriter, *http.Request) {}, func(a Answer) bool { return a.Healthy && a.Status == 200 }},
		"missing":  {http.NotFound, func(a Answer) bool { return !a.Healthy && a.Status == 404 && a.OtherHost == "" }},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, func(a Answer) bool { return a.Location == "/login" }},
		"another host": {func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "example.jp" {
				http.NotFound(w, r)
			}
		}, func(a Answer) bool { return a.OtherHost == "example.jp" }},
		"unhealthy": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, strings.Repeat("mongo down ", 99), http.StatusServiceUnavailable)
		},
			func(a Answer) bool {
				return a.Status == 503 && strings.HasPrefix(a.Excerpt, "mongo down") && len(a.Excerpt) <= excerptSize
			}},
		"the proxy's own": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(causeField, "held-too-long")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
			func(a Answer) bool { return a.Ours == "held-too-long" }},
		"cut short": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			panic(http.ErrAbortHandler)
		}, func(a Answer) bool { return a.Err != nil && !a.Refused && !a.Silent }},
		"silent after the connection": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(a Answer) bool { return a.Err != nil && !a.Silent }},
	} {
		t.Run(name, func(t *testing.T) {
			slot := httptest.NewServer(c.answer)
			defer slot.Close()
			check := health.Check{Path: route, Timeout: 500 * time.Millisecond}
			a := examineAnswer(t.Context(), strings.TrimPrefix(slot.URL, "http://"), check, []string{"localhost", "example.jp"})
			if !a.Asked || !c.is(a) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// A full queue of connections is what a firewall that drops looks like.
func TestAConnectionThatDoesNotComeAboutIsSilence(t *testing.T) {
	l := fullListener(t)
	a := ask(t.Context(), l, health.Check{Path: "/", Timeout: 200 * time.Millisecond}.WithDefaults())
	if !a.Silent || a.Refused {
		t.Errorf("%+v", a)
	}
}

// fullListener is an address at which the kernel answers no SYN any more.
func fullListener(t *testing.T) string {
	t.Helper()
	address := listenWithoutAccepting(t)
	for range 64 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		cancel()
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue does not fill up")
	return ""
}

func TestFilesOfVariablesAreFound(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a.env", "A=1\n")
	write(t, dir+"/b.env", "B=1\n")
	if got := ReadEnvironment(dir+"/*.env", "u", false); len(got) != 2 || got[1].Text.Content != "B=1\n" {
		t.Errorf("%+v", got)
	}
	if got := ReadEnvironment(dir+"/c*.env", "u", true); len(got) != 1 || !errors.Is(got[0].Err, fs.ErrNotExist) || !got[0].Optional {
		t.Errorf("%+v", got)
	}
	if got := ReadEnvironment(dir, "u", true); len(got) != 1 || got[0].Err == nil {
		t.Errorf("%+v", got)
	}
}

func TestTextsAreUnitFilesAndWhatTheyRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/units/a.service", "[Service]\nWorkingDirectory="+dir+"/app\nEnvironmentFile=-"+dir+"/a.env\nEnvironmentFile=-"+dir+"/none.env\n")
	write(t, dir+"/units/b.service.d/x.conf", "[Service]\n")
	write(t, dir+"/app/.env.production", "URL=http://localhost:5000\n")
	write(t, dir+"/a.env", "A=1\n")
	units := map[string]string{}
	for _, text := range (Local{UnitDirs: []string{dir + "/units"}}).Texts() {
		if rel, err := filepath.Rel(dir, text.Path); err == nil && filepath.IsLocal(rel) {
			units[rel] = text.Unit
		}
	}
	want := map[string]string{"units/a.service": "a.service", "units/b.service.d/x.conf": "b.service", "app/.env.production": "a.service", "a.env": "a.service"}
	for path, unit := range want {
		if units[path] != unit {
			t.Errorf("%s belongs to %q, want %q", path, units[path], unit)
		}
	}
	if len(units) != len(want) {
		t.Errorf("found %v", units)
	}
}

func TestTheMachineItself(t *testing.T) {
	if free, inodes, _, err := (Local{}).Disk(t.TempDir()); free == 0 || inodes == 0 || err != nil {
		t.Errorf("disk: %d bytes, %d inodes, %v", free, inodes, err)
	}
	if _, _, _, err := (Local{}).Disk("/nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing disk: %v", err)
	}
	if c := (Local{}).Clock(); c.Err != nil {
		t.Errorf("clock: %v", c.Err)
	}
	if err := (Local{}).User("root"); err != nil {
		t.Errorf("root: %v", err)
	}
	if err := (Local{}).User("nobody-of-this-name"); err == nil {
		t.Error("there is a nobody-of-this-name")
	}
	if dir, err := os.Getwd(); err != nil || (Local{}).Directory(os.Getpid()) != dir {
		t.Errorf("we run in %s, %v; want %s", (Local{}).Directory(os.Getpid()), err, dir)
	}
	if dir := (Local{}).Gone(os.Getpid()); dir != "" {
		t.Errorf("we run in %s, which is gone", dir)
	}
}

func TestAProcessWhoseDirectoryIsGoneIsFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "release")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "cat")
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err := errors.Join(err, cmd.Start(), os.Remove(dir)); err != nil {
		t.Fatal(err)
	}
	if got := (Local{}).Gone(cmd.Process.Pid); got != dir {
		t.Errorf("gone is %q, want %q", got, dir)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

func TestARepositoryIsAskedForOneReference(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	git("init", "--quiet", "--initial-branch=main")
	git("commit", "--quiet", "--allow-empty", "--message=first")
	if os.Geteuid() == 0 { // as in an operator's home
		if err := os.Chown(dir+"/.git", 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ repository, ref, says string }{
		{dir, "main", ""},
		{dir, "other", "it has no other"},
		{dir + "/none", "main", "does not"},
	} {
		err := (Local{}).Repository(t.Context(), c.repository, c.ref)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v", c.repository, c.ref, err)
		}
	}
}

// The words are nginx's own.
func TestARealNginxIsAsked(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	if _, err := nginx.Find(""); err != nil {
		t.Fatal(err)
	}
	n := Local{}.Nginx(t.Context())
	if n.Missing || n.Err != nil {
		t.Fatalf("%+v", n)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(n.Directives, func(d Directive) bool { return d.name() == name })
	}
	if n.Refused == "" && (!has("events") || !has("http")) {
		t.Errorf("of nginx's own configuration only %d directives were read", len(n.Directives))
	}
}
