package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository is the git repository that a machine deploys from: a directory for
// each service, as the team has it.
type repository struct {
	t   *testing.T
	dir string
	n   int
}

// trouble is what a release is made sick with: variables of the sample app.
type trouble map[string]string

// good is a release without.
var good trouble

func newRepository(t *testing.T, services map[string]string) *repository {
	t.Helper()
	r := &repository{t: t, dir: t.TempDir()}
	for service, sources := range services {
		r.copyTo(filepath.Join(r.dir, service), sources)
	}
	r.git("init", "--quiet", "--initial-branch=main")
	return r
}

// copyTo copies a service's sources, without what npm and builds left in them.
func (r *repository) copyTo(dir, sources string) {
	r.t.Helper()
	entries, err := os.ReadDir(sources)
	r.must(err)
	r.must(os.MkdirAll(dir, 0o755))
	for _, e := range entries {
		from, to := filepath.Join(sources, e.Name()), filepath.Join(dir, e.Name())
		switch {
		case e.Name() == "node_modules", e.Name() == "dist", e.Name() == ".next":
		case e.IsDir():
			r.must(os.CopyFS(to, os.DirFS(from)))
		default:
			text, err := os.ReadFile(from)
			r.must(err)
			r.must(os.WriteFile(to, text, 0o644))
		}
	}
}

// commit makes a revision with the trouble and returns it.
func (r *repository) commit(subject string, with trouble) string {
	r.t.Helper()
	r.n++
	text, err := json.Marshal(with)
	r.must(err)
	if with == nil {
		text = []byte("{}")
	}
	r.must(os.WriteFile(filepath.Join(r.dir, "backend/release.json"), text, 0o644))
	r.must(os.WriteFile(filepath.Join(r.dir, "CHANGES"), fmt.Appendf(nil, "%d %s\n", r.n, subject), 0o644))
	r.git("add", "--all")
	r.git("commit", "--quiet", "--message="+subject)
	return r.git("rev-parse", "HEAD")
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=ops", "GIT_AUTHOR_EMAIL=ops@example.com", "GIT_COMMITTER_NAME=ops", "GIT_COMMITTER_EMAIL=ops@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repository) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}
