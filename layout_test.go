package charactierproxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "charactier-proxy"

// floors is policy: what each package may import of ours and of others. A build
// that breaks it is mended in the build, not here.
var floors = []struct {
	pkg   string   // a package, or a folder with everything below it if it ends in "/..."
	ours  []string // allowed packages of this module, same notation
	third []string // allowed modules of others
}{
	{"proxy/http1", nil, nil},
	{"proxy", []string{"proxy/http1"}, []string{"go.uber.org/zap", "golang.org/x/net", "golang.org/x/sys"}},
	{"proxy/proxytest", nil, nil},
	{"switcher", nil, []string{"golang.org/x/sys"}},
	{"switcher/storetest", []string{"switcher"}, []string{"github.com/google/go-cmp"}},
	{"switcher/deploy/release", nil, []string{"golang.org/x/sys"}},
	{"switcher/bake", []string{"switcher"}, nil},
	{"switcher/role", []string{"switcher"}, nil},
	{"switcher/control", []string{"switcher"}, []string{"go.uber.org/zap", "golang.org/x/sys"}},
	{"switcher/deploy", []string{"switcher", "switcher/deploy/release"}, []string{"golang.org/x/sys"}},
	{"health", nil, nil},
	{"systemd", nil, []string{"github.com/coreos/go-systemd/v22", "github.com/godbus/dbus/v5", "golang.org/x/sys"}},
	{"cmd/internal/paths", []string{"switcher/control"}, nil},
	{"cmd/internal/load", nil, nil},
	{"cmd/internal/notify", nil, nil},
	{"cmd/internal/handover", nil, []string{"golang.org/x/sys"}},
	{"cmd/internal/spelling", nil, nil},
	{"cmd/internal/nginx", nil, nil},
	{"cmd/internal/sdbox", nil, []string{"golang.org/x/sys"}},
	{"cmd/internal/config", []string{"proxy", "switcher", "switcher/deploy", "health", "cmd/internal/spelling"}, []string{"github.com/goccy/go-yaml", "github.com/fsnotify/fsnotify"}},
	{"cmd/internal/doctor", []string{"switcher", "switcher/control", "switcher/deploy", "switcher/deploy/release", "health", "cmd/internal/config", "cmd/internal/nginx", "cmd/internal/reconcile"}, []string{"golang.org/x/sys"}},
	{"cmd/internal/logs", []string{"switcher"}, []string{"golang.org/x/sync"}},
	{"cmd/internal/reconcile", []string{"switcher", "systemd"}, nil},
	{"cmd/internal/bench/report", nil, nil},
	{"cmd/internal/bench/drive", nil, []string{"golang.org/x/sys"}},
	{"cmd/internal/bench", []string{"cmd/internal/bench/...", "switcher/control"}, []string{"golang.org/x/sync", "golang.org/x/sys"}},
	{"cmd/internal/chaos", []string{"switcher", "switcher/control", "cmd/internal/load"}, []string{"github.com/coder/websocket", "golang.org/x/sys"}},
	{"cmd/internal/e2e", []string{"cmd/internal/...", "switcher", "switcher/control", "systemd"}, nil},
	{
		"cmd/charactier-proxy",
		[]string{"proxy", "switcher", "switcher/...", "health", "systemd", "cmd/internal/..."},
		[]string{"go.uber.org/zap", "golang.org/x/sync", "golang.org/x/term"},
	},
	{
		"cmd/charactier-proxyctl",
		[]string{"switcher", "switcher/...", "health", "systemd", "cmd/internal/..."},
		[]string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term", "golang.org/x/sync"},
	},
}

// topLevel is every folder the repository may have at its root.
var topLevel = []string{".ci", ".git", "bench-out", "bin", "cmd", "docs", "health", "proxy", "switcher", "systemd", "testdata"}

type goPackage struct {
	ImportPath, Name, Doc string
	Imports, Deps         []string
	GoFiles               []string
	Module                *struct{ Path string }
	Standard              bool
}

func TestEveryImportKeepsToItsFloor(t *testing.T) {
	owner := modulesOf(t)
	seen := map[string]bool{}
	for _, p := range goList(t, "./...") {
		rel := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if rel == "" || len(p.GoFiles) == 0 {
			continue
		}
		i := slices.IndexFunc(floors, func(f struct {
			pkg         string
			ours, third []string
		}) bool {
			return f.pkg == rel
		})
		seen[rel] = true
		if i < 0 {
			t.Errorf("package %s has no row in the floors table", rel)
			continue
		}
		for _, imported := range p.Imports {
			if sub, ours := strings.CutPrefix(imported, module+"/"); ours {
				if !matches(floors[i].ours, sub) {
					t.Errorf("%s imports %s, which its floor does not allow", rel, sub)
				}
			} else if m := owner[imported]; m != "" && !slices.Contains(floors[i].third, m) {
				t.Errorf("%s imports %s of module %s, which its row does not allow", rel, imported, m)
			}
		}
	}
	for _, f := range floors {
		if !seen[f.pkg] && f.pkg != "cmd/internal/e2e" { // which has tests only
			t.Errorf("the floors table has a row for %s, but there is no such package", f.pkg)
		}
	}
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	for _, p := range goList(t, "./...") {
		if len(p.GoFiles) == 0 {
			continue
		}
		dir := filepath.Join(".", strings.TrimPrefix(p.ImportPath, module))
		docs := 0
		for _, f := range p.GoFiles {
			src, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(string(src), "\npackage ")
			lines := strings.Split(strings.TrimSpace(head), "\n")
			if strings.HasPrefix(lines[len(lines)-1], "//") {
				docs++
			}
		}
		if docs != 1 {
			t.Errorf("package %s has %d package comments, want 1", p.ImportPath, docs)
		}
	}
}

func TestTheProgramsLinkNoTestCode(t *testing.T) {
	for _, p := range goList(t, "-deps", "./cmd/charactier-proxy", "./cmd/charactier-proxyctl") {
		if p.ImportPath == "testing" || strings.HasPrefix(p.ImportPath, "github.com/google/go-cmp") {
			t.Errorf("a program links %s", p.ImportPath)
		}
	}
}

func TestTheRootHasOnlyTheAgreedFolders(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("folder %s is not one of %v", e.Name(), topLevel)
		}
	}
}

func TestNothingIsLeftOpenInTheDocs(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "README.md", "SECURITY.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, mark := range []string{"@@", "TODO", "FIXME"} {
			if bytes.Contains(text, []byte(mark)) {
				t.Errorf("%s holds %s", page, mark)
			}
		}
	}
}

// matches reports whether pkg is one of the patterns.
func matches(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if folder, ok := strings.CutSuffix(pattern, "/..."); ok {
			return strings.HasPrefix(pkg, folder+"/")
		}
		return pattern == pkg
	})
}

// modulesOf maps each imported package of a foreign module to that module.
func modulesOf(t *testing.T) map[string]string {
	owner := map[string]string{}
	for _, p := range goList(t, "-deps", "./...") {
		if !p.Standard && p.Module != nil && p.Module.Path != module {
			owner[p.ImportPath] = p.Module.Path
		}
	}
	return owner
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-pgo=off", "-json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, &stderr)
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
