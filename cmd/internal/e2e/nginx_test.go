package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
)

const nginxTemplates = "../../../testdata/nginx"

// nginx is a real one with the site of testdata/nginx.
type nginx struct {
	*process
	t    *testing.T
	dir  string
	site nginxSite
}

// nginxSite fills the templates.
type nginxSite struct {
	User     string
	Listen   string
	Backend  string
	Frontend string
}

// startNginx runs nginx before backend; the frontend answers "frontend".
func startNginx(t *testing.T, backend string) *nginx {
	t.Helper()
	path := program(t, "nginx", "nginx-light")
	frontend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "frontend")
	}))
	t.Cleanup(frontend.Close)
	n := &nginx{t: t, dir: t.TempDir(), site: nginxSite{
		Listen: freeAddr(t), Backend: backend, Frontend: strings.TrimPrefix(frontend.URL, "http://"),
	}}
	if os.Geteuid() == 0 {
		n.site.User = "root" // or the workers cannot enter the test's directory
	}
	for _, file := range []string{"nginx.conf", "upstream.conf", "site.conf"} {
		n.write(file)
	}
	n.process = start(t, "nginx", exec.Command(path, "-p", n.dir, "-c", "nginx.conf", "-e", filepath.Join(n.dir, "error.log")))
	n.awaitListening(n.site.Listen)
	t.Cleanup(func() {
		// The master takes its workers along only when it is asked to.
		n.signal(syscall.SIGTERM)
		<-n.done
		if log, err := os.ReadFile(filepath.Join(n.dir, "error.log")); t.Failed() && err == nil && len(log) > 0 {
			t.Logf("nginx's error.log:\n%.8000s", log)
		}
	})
	return n
}

// reload is what a deploy did before: write the upstream file, reload.
func (n *nginx) reload(backend string) {
	n.t.Helper()
	n.site.Backend = backend
	n.write("upstream.conf")
	n.signal(syscall.SIGHUP)
}

func (n *nginx) write(file string) {
	n.t.Helper()
	tmpl, err := template.ParseFiles(filepath.Join(nginxTemplates, file+".tmpl"))
	if err != nil {
		n.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(n.dir, file))
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	if err := tmpl.Execute(f, n.site); err != nil {
		n.t.Fatal(err)
	}
}
