package systemd_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The shipped units are tested with systemd's own tool; a machine without it
// cannot say that they are right, so there these tests fail.

// installed copies the units to a directory of their own, with every program
// they name replaced by one that exists here.
func installed(t *testing.T) (paths []string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := strings.NewReplacer("/usr/local/bin/charactier-proxyctl", program, "/usr/local/bin/charactier-proxy", program, "/usr/bin/node", program)
	sources, err := filepath.Glob("units/charactier-*")
	if err != nil || len(sources) == 0 {
		t.Fatalf("units: %v, %v", sources, err)
	}
	dir := t.TempDir()
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(source))
		if err := os.WriteFile(path, []byte(programs.Replace(string(text))), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestUnitsAreUnderstoodBySystemd(t *testing.T) {
	// It only warns of keys and values it does not know, and ends well.
	out, err := analyze(t, append([]string{"verify"}, installed(t)...)...)
	if err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestServicesAreHardened(t *testing.T) {
	for _, path := range installed(t) {
		if filepath.Ext(path) != ".service" {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			// The threshold is in tenths: an exposure of 2.0.
			out, err := analyze(t, "security", "--offline=true", "--threshold=20", path)
			if err != nil || !strings.Contains(out, "Overall exposure level") {
				t.Errorf("systemd-analyze security: %v\n%s", err, out)
			}
		})
	}
}

func TestBlueAndGreenAreTheSameSlot(t *testing.T) {
	for service, ports := range map[string][]string{"backend": {"5000", "5001"}, "frontend": {"3000", "3001"}} {
		swap := strings.NewReplacer("blue", "green", "green", "blue", ports[0], ports[1])
		green := swap.Replace(unitText(t, "charactier-"+service+"-blue.service"))
		if green != unitText(t, "charactier-"+service+"-green.service") {
			t.Errorf("the unit of %s's green is not that of blue, want it to be:\n%s", service, green)
		}
	}
}

func TestTheTemplateIsTheSameSlotToo(t *testing.T) {
	settings := func(text string) (lines []string) {
		for line := range strings.Lines(strings.ReplaceAll(text, "%i", "blue")) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "EnvironmentFile=") {
				lines = append(lines, strings.TrimSuffix(strings.TrimSpace(line), " PORT=5000"))
			}
		}
		return lines
	}
	plain, template := settings(unitText(t, "charactier-backend-blue.service")), settings(unitText(t, "charactier-backend@.service"))
	if diff := cmp.Diff(plain, template); diff != "" {
		t.Errorf("the template differs from the plain unit (-plain +template):\n%s", diff)
	}
}

func TestEveryUnitFileIsInstalledOrAnExample(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	listed := strings.Fields(string(makefile))
	err = filepath.WalkDir("units", func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel("units", path)
		if err == nil && !e.IsDir() && !slices.Contains(listed, name) {
			t.Errorf("the Makefile does not know %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func unitText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("units", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
