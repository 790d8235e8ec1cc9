package e2e

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const nextApp = "../../../testdata/next-app"

// nextBackend is built as quickly as may be; the frontend is what is looked at.
const nextBackend = quick + `  frontend:
    listen: 127.0.0.1:3080
    slots: {blue: {address: "127.0.0.1:3000"}, green: {address: "127.0.0.1:3001"}}
    health: {path: /healthz, interval: 200ms}
    gate: {smoke: ["/ssr 200 __NEXT_DATA__"]}
    assets: {path: /_next/static/}
    build:
`

// inPlaceOfNext is where the example units look for Next.js, and starts the
// sample frontend as they start that.
const inPlaceOfNext = `const [, , , , PORT, , HOST] = process.argv;
Object.assign(process.env, { PORT, HOST, SLOT: PORT === '3001' ? 'green' : 'blue' });
import(process.cwd() + '/server.js');
`

// nextSettings have the real Next.js in the long form. In the short one the sample
// frontend makes the same shape of .next without half a gigabyte of packages.
func nextSettings(t *testing.T) settings {
	if size(t, "SOAK_NEXT", 0, 1) == 0 {
		return settings{frontend: sampleFrontend, backend: nextBackend +
			`      commands: [npm run build, mkdir -p node_modules/next/dist/bin, cp /etc/in-place-of-next node_modules/next/dist/bin/next]` + "\n"}
	}
	return settings{frontend: nextApp, npmCache: npmCache(t, nextApp), backend: nextBackend +
		`      commands: ["cp -r /opt/npm-cache/. $npm_config_cache", npm ci --offline --no-audit --no-fund, npm run build]
      environment: [NEXT_TELEMETRY_DISABLED=1, npm_config_registry=` + npmSetting(t, "registry") + "]\n"}
}

// TestSoakANextFrontendMovesWithItsBackend uses the frontend's example units as
// they are shipped.
func TestSoakANextFrontendMovesWithItsBackend(t *testing.T) {
	p := bootProduction(t, nextSettings(t))
	p.Write("/etc/in-place-of-next", inPlaceOfNext)
	p.users()
	defer p.table.print(t)
	one := p.repo.commit("one", good)
	p.deployed("Next.js for the first time", one)
	p.bothAre(one)
	tabs := p.assets()

	two := p.repo.commit("two", good)
	var newest atomic.Value
	newest.Store(two)
	leave := p.readPages(&newest)
	p.deployed("Next.js and the backend in one instant", two)
	p.bothAre(two)
	p.stillHas("while the old slot runs", tabs)
	p.oldSlotStops()
	p.stillHas("after the old slot has stopped", tabs)

	newest.Store(one)
	tabsOfTwo := p.assets()
	p.try("rollback of both, cold", 0, func() *command { c := p.ctl("rollback"); p.moved(one); return c })
	p.bothAre(one)
	p.stillHas("after the rollback", tabsOfTwo)
	if pages, failed := leave(); pages == 0 || failed > 0 {
		t.Errorf("%d of %d pages were wrong", failed, pages)
	}
	t.Log(p.usersLeave().Summary())
}

// bothAre checks that a page of the revision is made from a backend of it.
func (p *production) bothAre(revision string) {
	p.t.Helper()
	page, err := p.page("/ssr")
	if err != nil || page.props.Revision != revision || page.props.Backend.Revision != revision || len(page.files) == 0 {
		p.t.Fatalf("the page is %+v, %v; want frontend and backend of %s", page, err, revision)
	}
}

// asset is what a browser got.
type asset struct{ body, tag, caching string }

// assets are all files that the active release may be asked for, as a tab of
// today gets them. That is more than a page names: some are loaded later.
func (p *production) assets() map[string]asset {
	p.t.Helper()
	release, err := os.Readlink(p.Path("/srv/charactier/frontend/" + string(p.active)))
	p.must(err)
	static := p.Path(release + "/.next/static")
	found, folders := map[string]asset{}, map[string]int{}
	p.must(filepath.WalkDir(static, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, static)
		folders[strings.SplitN(name, "/", 3)[1]]++
		got, status, err := p.asset("/_next/static" + name)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET /_next/static%s: %d", name, status)
		}
		found["/_next/static"+name] = got
		return err
	}))
	id := p.Read(release + "/.next/BUILD_ID")
	if folders["chunks"] == 0 || folders[id] == 0 || found["/_next/static/"+id+"/_buildManifest.js"].body == "" {
		p.t.Fatalf("the release %s is not like one of Next.js: %v", id, folders)
	}
	return found
}

func (p *production) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *production) asset(path string) (asset, int, error) {
	resp, err := p.client.Get("http://" + siteAddr + path)
	if err != nil {
		return asset{}, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return asset{string(body), resp.Header.Get("ETag"), resp.Header.Get("Cache-Control")}, resp.StatusCode, err
}

// stillHas asks for the files of tabs that were opened earlier.
func (p *production) stillHas(when string, tabs map[string]asset) {
	p.t.Helper()
	now := p.assets()
	for path, want := range tabs {
		if newer, ok := now[path]; ok {
			want.tag = newer.tag // the active release has the same file, as its own
		}
		if got, status, err := p.asset(path); err != nil || status != http.StatusOK || got != want {
			p.t.Errorf("%s, %s: %d, %v; ETag %s, want %s; Cache-Control %q, want %q; the same file: %v",
				when, path, status, err, got.tag, want.tag, got.caching, want.caching, got.body == want.body)
		}
	}
}

// oldSlotStops is what happens after the warm time.
func (p *production) oldSlotStops() {
	for _, service := range []string{"frontend", "backend"} {
		p.Run("systemctl", "stop", "charactier-"+service+"-"+string(p.active.Other())+".service")
	}
}
