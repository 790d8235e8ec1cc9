package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"charactier-proxy/cmd/internal/sdbox"
	"charactier-proxy/switcher"
)

const (
	deployRoot = "/srv/charactier"
	ledgerPath = "/var/lib/charactier-backend/ledger"
	siteAddr   = "127.0.0.1:80" // where nginx listens
	byHand     = "by-hand"      // the revision of what ran before the first deploy
)

// production is a machine as the team has it: a repository, nginx, the shipped
// units, and before the first deploy a backend that was built by hand.
type production struct {
	*server
	repo    *repository
	traffic *traffic // nil while there are no users
	unitOf  func(switcher.Slot) string
	table   caseTable

	// What is expected: the active slot, the revision that answers, and the one
	// that the other slot has.
	active            switcher.Slot
	revision, standby string
}

// settings are a production's configuration below services.backend and the rest.
type settings struct {
	backend, rest string
	frontend      string // its sources, if it is there
	template      bool   // the backend's units are instances of charactier-backend@.service
	repository    string // another way to the repository than its path
	npmCache      string // a directory of the host; none means an empty one
}

// quick builds without npm, which needs seconds; other tests build with it.
const quick = `    shared: [.env]
    build: {commands: ["cp -r /opt/sample-app/node_modules .", "node build.js"], reuse: []}
    gate: {tries: 30, interval: 2s, smoke: ["/api/v1/orders 200"], warm_up: [/api/v1/echo]}
    bake: {time: 3s, min_requests: 50}
`

func bootProduction(t *testing.T, s settings) *production {
	t.Helper()
	t.Parallel()
	for _, name := range []string{"node", "npm", "git", "nginx"} {
		program(t, name, name)
	}
	if err := errors.Join(npmCI(), dependOnSources()); err != nil {
		t.Fatal(err)
	}
	app, err := filepath.Abs(sampleApp)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if s.npmCache == "" {
		s.npmCache = t.TempDir()
	}
	services := map[string]string{"backend": sampleApp}
	if s.frontend != "" {
		services["frontend"] = s.frontend
	}
	p := &production{repo: newRepository(t, services), active: switcher.Blue, revision: byHand, unitOf: unitOf}
	if s.template {
		p.unitOf = instanceOf
	}
	p.server = &server{t: t, Box: sdbox.Boot(t, sdbox.Options{
		Binds: map[string]string{
			"/usr/local/bin":      shippedPrograms(t),
			"/opt/sample-app":     app,
			"/opt/charactier-ai":  p.repo.dir,
			"/opt/legacy/backend": legacyBackend(t),
			"/opt/npm-cache":      s.npmCache,
			insideDir:             filepath.Dir(self),
		},
		Keep:  []string{"/srv"},
		Files: productionFiles(t, s),
	})}
	p.client = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: p.Dial}}
	p.install()
	return p
}

// install is what the operator does once.
func (p *production) install() {
	p.t.Helper()
	p.Run("mkdir", "-p", "/srv/charactier/backend")
	p.Write(deployRoot+"/shared/backend/.env", "SHARED=1\n")
	p.Run("ln", "-s", "/opt/legacy/backend", "/srv/charactier/backend/blue")
	p.Run("systemctl", "enable", "--quiet", "--now", p.unitOf(switcher.Blue), "nginx.service")
	p.answers("127.0.0.1:5000")
	p.Run("systemctl", "enable", "--quiet", "--now", trafficSocket, controlSocket, proxyUnit,
		"charactier-proxy-reconcile.path", "charactier-proxy-reconcile.timer")
	p.Eventually("blue is healthy", func() error {
		if h := p.status().Services[0].Slots[0].Health; h.State != "healthy" {
			return errors.New(h.State)
		}
		return nil
	})
	workers := func() []string { return strings.Fields(p.Run("pgrep", "-f", "nginx: worker process")) }
	before := workers()
	p.Run("charactier-proxyctl", "migrate", "--yes")
	p.Eventually("nginx's workers of before its reload have gone", func() error {
		for _, worker := range workers() {
			if slices.Contains(before, worker) {
				return fmt.Errorf("%s is there, and will break the connections that it has", worker)
			}
		}
		return nil
	})
}

// productionFiles are the machine's /etc and /var.
func productionFiles(t *testing.T, s settings) map[string]string {
	t.Helper()
	files := shippedUnits(t)
	files[configPath] = configOf(s)
	files["/etc/charactier/backend.env"] = "LEDGER=" + ledgerPath + "\nSTOP_TIMEOUT_MS=300\n"
	if s.template {
		files["/etc/charactier/backend-blue.env"] = "PORT=5000\n"
		files["/etc/charactier/backend-green.env"] = "PORT=5001\n"
	}
	files["/etc/systemd/system/nginx.service"] = "[Service]\nType=exec\nExecStart=/usr/sbin/nginx -c /etc/nginx/nginx.conf\nExecReload=/usr/sbin/nginx -s reload\n[Install]\nWantedBy=multi-user.target\n"
	files["/etc/nginx/conf.d/charactier-backend-upstream.conf"] = "# Blue-Green\r\nupstream backend {\r\n    # Blue (5000)\r\n    server 127.0.0.1:5000;\r\n    # Green (5001)\r\n    # server 127.0.0.1:5001;\r\n\r\n    keepalive 32;\r\n}\r\n"
	for name, to := range map[string]string{"guide.conf.tmpl": "nginx.conf", "site.conf.tmpl": "sites-enabled/site.conf"} {
		tmpl, err := template.ParseFiles(filepath.Join(nginxTemplates, name))
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		err = tmpl.Execute(&text, map[string]string{"Dir": "/etc/nginx", "User": "root", "Listen": siteAddr, "Frontend": "127.0.0.1:3080"})
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Join("/etc/nginx", to)] = text.String()
	}
	return files
}

func configOf(s settings) string {
	if s.repository == "" {
		s.repository = "/opt/charactier-ai"
	}
	unit := unitOf
	if s.template {
		unit = instanceOf
	}
	return fmt.Sprintf(`services:
  backend:
    listen: %s
    slots:
      blue: {address: "127.0.0.1:5000", unit: %q}
      green: {address: "127.0.0.1:5001", unit: %q}
    health: {interval: 200ms}
%sdeploy:
  repository: %s
  min_free: 64MiB
  keep: 3
%s`, serviceAddr, unit(switcher.Blue), unit(switcher.Green), s.backend, s.repository, s.rest)
}

// configure changes the configuration for a while.
func (p *production) configure(s settings) {
	p.t.Helper()
	p.Write(configPath, configOf(s))
	p.Run("charactier-proxyctl", "reload")
}

// legacyBackend is what the team built by hand before.
func legacyBackend(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	index := "Object.assign(process.env, { SLOT: 'blue', REVISION: '" + byHand + "' });\nimport('/opt/sample-app/server.js');\n"
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "dist/src"), 0o755),
		os.WriteFile(filepath.Join(dir, "dist/src/index.js"), []byte(index), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
