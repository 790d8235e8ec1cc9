package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"charactier-proxy/cmd/internal/sdbox"
)

const (
	proxyUnit     = "charactier-proxy.service"
	trafficSocket = "charactier-proxy.socket"
	controlSocket = "charactier-proxy-control.socket"
	configPath    = "/etc/charactier-proxy/config.yaml"
	serviceAddr   = "127.0.0.1:5080"
)

// server is a machine as the operator has it: the shipped units, the programs
// built as they are shipped, and the sample app in both slots.
type server struct {
	*sdbox.Box
	t      *testing.T
	client *http.Client // a connection of its own for each request
}

// bootServer starts both slots; the daemon is installed and left to the test.
// Like all tests with a machine of their own, which mostly wait, the test runs
// beside others.
func bootServer(t *testing.T) *server {
	t.Helper()
	t.Parallel()
	program(t, "node", "nodejs")
	if err := npmCI(); err != nil {
		t.Fatal(err)
	}
	app, err := filepath.Abs(sampleApp)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, Box: sdbox.Boot(t, sdbox.Options{
		Binds: map[string]string{
			"/usr/local/bin":                shippedPrograms(t),
			"/opt/sample-app":               app,
			"/srv/charactier/backend/blue":  slotRelease(t, "blue"),
			"/srv/charactier/backend/green": slotRelease(t, "green"),
		},
		Files: shippedUnits(t),
	})}
	s.client = &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.Dial},
	}
	s.Run("systemctl", "enable", "--quiet", "--now", "charactier-backend-blue", "charactier-backend-green")
	for _, addr := range []string{"127.0.0.1:5000", "127.0.0.1:5001"} {
		s.Eventually(addr+" answers", func() error {
			_, err := s.get("http://" + addr + "/api/v1/health")
			return err
		})
	}
	return s
}

// buildShipped builds without the race detector, which the units' hardening
// would not let run.
var buildShipped = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp(filepath.Dir(built.daemon), "shipped-"); err != nil {
		return "", err
	}
	for _, name := range []string{"charactier-proxy", "charactier-proxyctl"} {
		if err := goBuild([]string{"CGO_ENABLED=0"}, filepath.Join(dir, name), name, "-trimpath"); err != nil {
			return "", err
		}
	}
	return dir, os.Chmod(dir, 0o755)
})

func shippedPrograms(t *testing.T) string {
	t.Helper()
	dir, err := buildShipped()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// shippedUnits are the files of systemd/units where they belong.
func shippedUnits(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for folder, to := range map[string]string{
		"charactier-*": "/etc/systemd/system", "sysusers.d/*": "/etc/sysusers.d", "tmpfiles.d/*": "/etc/tmpfiles.d",
		"polkit-1/rules.d/*": "/etc/polkit-1/rules.d",
	} {
		paths, err := filepath.Glob(filepath.Join("../../../systemd/units", folder))
		if err != nil || len(paths) == 0 {
			t.Fatalf("shipped units: %v, %v", paths, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Join(to, filepath.Base(path))] = string(text)
		}
	}
	return files
}

// visitors send requests one after the other, each by a connection of its own.
type visitors struct {
	s     *server
	leave func() // ends the visits, each with its answer
	gone  sync.WaitGroup

	mu      sync.Mutex
	visits  int
	answers map[string]int // by slot
	failed  []error
}

func (s *server) visit(n int) *visitors {
	ctx, leave := context.WithCancel(context.Background())
	v := &visitors{s: s, answers: map[string]int{}}
	v.leave = func() { leave(); v.gone.Wait() }
	for range n {
		v.gone.Go(func() { v.keepAsking(ctx) })
	}
	s.t.Cleanup(v.leave)
	return v
}

func (v *visitors) keepAsking(ctx context.Context) {
	for ctx.Err() == nil {
		slot, err := v.s.ask()
		v.mu.Lock()
		v.visits++
		if err != nil {
			v.failed = append(v.failed, err)
		} else {
			v.answers[slot]++
		}
		v.mu.Unlock()
	}
}

func (v *visitors) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.visits
}

// awaitMore waits for n further requests.
func (v *visitors) awaitMore(n int) {
	v.s.t.Helper()
	from := v.count()
	v.s.Eventually(fmt.Sprintf("%d further requests", n), func() error {
		if got := v.count() - from; got < n {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
}

// failures are those that excused does not excuse.
func (v *visitors) failures(excused func(error) bool) []error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(v.failed), func(err error) bool { return excused != nil && excused(err) })
}

// answersBut counts the answers of all other slots.
func (v *visitors) answersBut(slot string) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s, count := range v.answers {
		if s != slot {
			n += count
		}
	}
	return n
}
