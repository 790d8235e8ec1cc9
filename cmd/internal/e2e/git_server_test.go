package e2e

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"strings"
)

// The repository of a team is seldom on the server itself. Theirs is served here
// as a forge does it: git's own program for HTTP, behind a password.

const (
	gitVar      = "CHARACTIER_PROXY_E2E_GIT" // makes the binary a server of the repositories in this directory
	gitAddr     = "127.0.0.1:8418"
	gitLog      = "/run/git-server.log"
	gitUser     = "deploy-token"
	gitPassword = "correct-horse"
)

// serveRepositories writes a line for each answer to the log: what was asked
// for, and how many bytes the answer had.
func serveRepositories(root string) error {
	log, err := os.OpenFile(gitLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	backend := &cgi.Handler{
		Path: "/usr/bin/git", Args: []string{"http-backend"},
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "HOME=/root",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	return http.ListenAndServe(gitAddr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != gitUser || password != gitPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		counted := &countingWriter{ResponseWriter: w}
		backend.ServeHTTP(counted, r)
		fmt.Fprintln(log, r.Method, r.URL.Path, counted.n)
	}))
}

type countingWriter struct {
	http.ResponseWriter
	n int
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n += n
	return n, err
}

// serveGit starts the server in the machine.
func (p *production) serveGit() {
	p.t.Helper()
	p.Run("systemd-run", "--quiet", "--unit=git-server", "--setenv="+gitVar+"=/opt", testProgram())
	p.answers(gitAddr)
}

// served is what the server was asked for since the last time, and how much it
// answered.
func (p *production) served() (requests, bytes int) {
	p.t.Helper()
	for line := range strings.Lines(p.Read(gitLog)) {
		var method, path string
		var n int
		if _, err := fmt.Sscan(line, &method, &path, &n); err != nil {
			p.t.Fatalf("%s: %v in %q", gitLog, err, line)
		}
		requests, bytes = requests+1, bytes+n
	}
	p.Write(gitLog, "")
	return requests, bytes
}
