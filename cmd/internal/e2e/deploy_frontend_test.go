package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/switcher"
)

// withNpm builds both services as the team does, "npm ci" included, from a cache
// instead of a registry.
func withNpm(t *testing.T) settings {
	return settings{frontend: sampleFrontend, npmCache: npmCache(t, sampleApp), backend: `    build:
      commands: ["cp -r /opt/npm-cache/. $npm_config_cache", npm ci --offline --no-audit --no-fund, npm run build]
      environment: [npm_config_registry=` + npmSetting(t, "registry") + `]
    gate: {smoke: ["/api/v1/orders 200"]}
  frontend:
    listen: 127.0.0.1:3080
    slots: {blue: {address: "127.0.0.1:3000"}, green: {address: "127.0.0.1:3001"}}
    health: {path: /healthz, interval: 200ms}
    build: {commands: [npm ci --offline --no-audit --no-fund, npm run build]}
    gate: {smoke: ["/ 200 __NEXT_DATA__"]}
    assets: {path: /_next/static/}
`}
}

func npmSetting(t *testing.T, key string) string {
	t.Helper()
	out, err := exec.Command("npm", "config", "get", key).Output()
	if err != nil {
		t.Fatalf("npm config get %s: %v", key, err)
	}
	return strings.TrimSpace(string(out))
}

// npmCache is one with all that the sources need.
func npmCache(t *testing.T, sources string) string {
	t.Helper()
	app, cache := t.TempDir(), t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc"} {
		text, err := os.ReadFile(filepath.Join(sources, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(app, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--cache", cache)
	cmd.Dir = app
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("filling npm's cache: %v\n%s", err, out)
	}
	return cache
}

// frontendDropIns have the example units start the sample.
func (p *production) frontendDropIns() {
	for slot, port := range map[switcher.Slot]string{switcher.Blue: "3000", switcher.Green: "3001"} {
		p.Write("/etc/systemd/system/charactier-frontend-"+string(slot)+".service.d/sample.conf",
			"[Service]\nEnvironment=PORT="+port+" SLOT="+string(slot)+"\nExecStart=\nExecStart=/usr/bin/node server.js\n")
	}
	p.Run("systemctl", "daemon-reload")
}

// readPages renders pages on the server, through nginx, until it is told to
// leave. One of the frontend's release must never be made of an older backend's
// answer: want is that release.
func (p *production) readPages(want *atomic.Value) (leave func() (pages, failed int64)) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var pages, failed atomic.Int64
	for range 3 {
		wg.Go(func() {
			think := time.NewTicker(5 * time.Millisecond) // or nothing else would get the processors
			defer think.Stop()
			for {
				select {
				case <-stop:
					return
				case <-think.C:
				}
				page, err := p.page("/ssr")
				pages.Add(1)
				if err != nil {
					failed.Add(1)
					p.t.Errorf("a page: %v", err)
				} else if newest := want.Load().(string); page.props.Revision == newest && page.props.Backend.Revision != newest {
					failed.Add(1)
					p.t.Errorf("a page of the frontend %s was made with the backend %s", newest, page.props.Backend.Revision)
				}
			}
		})
	}
	return func() (int64, int64) { close(stop); wg.Wait(); return pages.Load(), failed.Load() }
}

func (p *production) get(path string) (status int, body string, err error) {
	resp, err := p.client.Get("http://" + siteAddr + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// page is one of the frontend's, through nginx.
func (p *production) page(path string) (page, error) {
	var found page
	status, body, err := p.get(path)
	if err != nil || status != http.StatusOK {
		return found, fmt.Errorf("GET %s: %d %s %w", path, status, body, err)
	}
	for _, m := range fileInPage.FindAllStringSubmatch(body, -1) {
		found.files = append(found.files, m[1])
	}
	var data struct{ Props json.RawMessage }
	if err := json.Unmarshal([]byte(nextData.FindStringSubmatch(body)[1]), &data); err != nil {
		return found, err
	}
	var wrapped struct{ PageProps json.RawMessage } // by Next.js itself
	if err := json.Unmarshal(data.Props, &wrapped); err == nil && wrapped.PageProps != nil {
		data.Props = wrapped.PageProps
	}
	return found, json.Unmarshal(data.Props, &found.props)
}

// TestADeployMovesBackendAndFrontendInOneInstant builds both with a real npm.
func TestADeployMovesBackendAndFrontendInOneInstant(t *testing.T) {
	p := bootProduction(t, withNpm(t))
	p.frontendDropIns()
	p.users()
	defer p.table.print(t)
	one := p.repo.commit("one", good)
	p.deployed("backend and frontend for the first time", one)
	tab, err := p.page("/")
	if err != nil || tab.props.Revision != one || len(tab.files) == 0 {
		t.Fatalf("the first page is %+v, %v", tab, err)
	}
	bodies := map[string]string{}
	for _, file := range tab.files {
		status, body, err := p.get(file)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d, %v", file, status, err)
		}
		bodies[file] = body
	}

	two := p.repo.commit("two", good)
	var newest atomic.Value
	newest.Store(two)
	leave := p.readPages(&newest)
	p.deployed("backend and frontend in one instant", two)
	for _, file := range tab.files {
		if status, body, err := p.get(file); err != nil || status != http.StatusOK || body != bodies[file] {
			t.Errorf("%s of the old release: %d, %v", file, status, err)
		}
	}
	if now, err := p.page("/ssr"); err != nil || now.props.Revision != two || now.props.Backend.Revision != two {
		t.Errorf("a page after the deploy: %+v, %v", now.props, err)
	}
	newest.Store(one)
	p.try("rollback of both", 0, func() *command {
		c := p.ctl("rollback")
		p.moved(one)
		return c
	})
	if now, err := p.page("/ssr"); err != nil || now.props.Revision != one || now.props.Backend.Revision != one {
		t.Errorf("a page after the rollback: %+v, %v", now.props, err)
	}
	pages, failed := leave()
	t.Logf("%d pages were rendered on the server, %d of them wrong", pages, failed)
	t.Log(p.usersLeave().Summary())
}
